"""The one gate through which everything passes that enters from outside.

authenticate -> canonical channel -> declared and not reserved -> authorize -> size and shape -> validate -> the preset

It does no I/O of its own. Every refusal is a `RealtimeError` whose `code`, `reason` and `retryable` are made to be sent
to the client; the message, and a `__cause__`, are for the people who run the server. A hook that raises is never a
grant: the client is told to try again, and the failure reaches `on_error`.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeVar, cast

from starlette.exceptions import HTTPException

from tanstack_realtime._errors import AuthenticationError, ChannelDeniedError, ChannelError, PublishError, RealtimeError
from tanstack_realtime._json import encode_json
from tanstack_realtime._keys import Channel, parse_channel

from ._declared import DeclaredChannels
from ._origin import OriginPolicy
from ._permissions import ANONYMOUS, Authorize, GetUser, Identity, Permissions, Reject, Validate
from ._preset import Publication, ServerObserver

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

__all__ = ["Gate", "Operation"]

Operation: TypeAlias = Literal["subscribe", "publish", "presence"]

_T = TypeVar("_T")
_E = TypeVar("_E", bound=RealtimeError)

_KNOWN_CHANNELS: Final = 1024
"""Channels that are parsed already and kept."""

_RESERVED: Final = "$"
"""Namespaces that begin with it belong to the library and its presets."""

_NOT_SIGNED_IN: Final = (401, 403)
"""What an application's own dependencies raise as an `HTTPException` for a request of nobody."""

_TEMPORARY: Final = "the server cannot decide this now; try again"


class Gate:
    """Decides who may do what. Built by `Realtime`; used by the routes and by presets.

    Args:
        authorize: the application's decision.
        get_user: tells who a connection belongs to.
        validate: looks at a payload before it is published, or None.
        declared: parameter names per namespace.
        origins: which web pages may talk to the server.
        max_message_bytes: largest payload, as UTF-8 JSON.
        allow_anonymous: whether a connection without a user is let in, as user `ANONYMOUS`.
        hook_timeout: seconds that an async hook may take; then it counts as failed.
        report: takes failures of the hooks.
        observer: hears refusals.
    """

    def __init__(
        self,
        *,
        authorize: Authorize,
        get_user: GetUser,
        validate: Validate | None,
        declared: DeclaredChannels,
        origins: OriginPolicy,
        max_message_bytes: int,
        allow_anonymous: bool,
        hook_timeout: float,
        report: Callable[[RealtimeError], None],
        observer: ServerObserver,
    ) -> None:
        self._authorize = authorize
        self._get_user = get_user
        self._validate = validate
        self._declared = declared
        # Every message names its channel, and few channels get most messages. Neither channels nor rules change.
        self._usable_channel = lru_cache(maxsize=_KNOWN_CHANNELS)(self._parse)
        self._origins = origins
        self._max_message_bytes = max_message_bytes
        self._allow_anonymous = allow_anonymous
        self._hook_timeout = hook_timeout
        self._report = report
        self._observer = observer

    def check_origin(self, connection: HTTPConnection, /) -> None:
        """Refuse a web page of another site.

        Raises:
            AuthenticationError: code ``bad_origin``.
        """
        origin, host = connection.headers.get("origin"), connection.headers.get("host")
        if not self._origins.allows(origin, host, connection.scope.get("scheme", "http")):
            raise self._refuse(
                AuthenticationError(
                    f"refused a request from origin {origin!r} to host {host!r}; add the origin to allowed_origins if "
                    "that site is yours",
                    code="bad_origin",
                    reason="this origin is not allowed",
                )
            )

    async def authenticate(self, connection: HTTPConnection, /) -> tuple[str, float | None]:
        """Return the connection's user id, and the seconds until it must be asked again, or None.

        The id is `ANONYMOUS` for nobody, where that is allowed.

        Raises:
            AuthenticationError: nobody, which an `HTTPException` of 401 or 403 says too (``unauthenticated``), or
                `get_user` failed (``unavailable``, retryable).
        """
        try:
            user: object = await self._call(self._get_user(connection))
        except Exception as error:
            if isinstance(error, HTTPException) and error.status_code in _NOT_SIGNED_IN:
                refusal = AuthenticationError(f"get_user raised {error!r}", reason="not signed in")
                raise self._refuse(refusal) from error
            raise self._fault(
                AuthenticationError(
                    f"get_user raised {error!r}; the connection was refused",
                    code="unavailable",
                    reason=_TEMPORARY,
                    retryable=True,
                )
            ) from error
        if user is None:
            if self._allow_anonymous:
                return ANONYMOUS, None
            raise self._refuse(AuthenticationError("get_user returned None", reason="not signed in"))
        if isinstance(user, Identity):
            return user.user_id, user.expires_in
        if isinstance(user, str) and user:
            return user, None
        raise self._fault(
            AuthenticationError(
                f"get_user returned {user!r}; return the user's id as a non-empty str (for example str(user.id)), an "
                "Identity, or None for nobody",
                code="unavailable",
                reason=_TEMPORARY,
                retryable=True,
            )
        )

    def parse(self, channel: object, /) -> Channel:
        """Return the channel of a wire string that came from outside.

        Raises:
            ChannelError: not a str, not canonical, other parameters than declared, or a reserved namespace.
        """
        if not isinstance(channel, str):
            raise self._refuse(ChannelError(f"a channel is a string, not {channel!r}", reason="not a string"))
        try:
            return self._usable_channel(channel)
        except ChannelError as error:
            raise self._refuse(error, channel=channel[:256]) from None

    def _parse(self, wire: str) -> Channel:
        parsed = parse_channel(wire)
        self._declared.check(parsed)
        if parsed.namespace.startswith(_RESERVED):
            raise ChannelError(
                f"namespace {parsed.namespace!r} is reserved; choose one that does not begin with {_RESERVED!r}",
                channel=wire,
                reason="reserved namespace",
            )
        return parsed

    async def admit(self, user_id: str, channel: Channel, operation: Operation, /) -> Permissions:
        """Ask `authorize` and return its grant if that covers `operation`.

        Raises:
            ChannelDeniedError: not granted (``denied``), or `authorize` failed (``unavailable``, retryable).
        """
        return self._covering(await self._ask(user_id, channel), user_id, channel, operation)

    async def permissions(self, user_id: str, channel: Channel, /) -> Permissions:
        """Ask `authorize` once and return the whole grant, for a preset whose tokens hold several operations.

        Raises:
            ChannelDeniedError: nothing at all is granted (``denied``), or `authorize` failed (``unavailable``,
                retryable).
        """
        granted = await self._ask(user_id, channel)
        if not (granted.subscribe or granted.publish or granted.presence):
            raise self._refuse(
                ChannelDeniedError(
                    f"user {user_id!r} may do nothing on {channel.raw!r}",
                    channel=channel.raw,
                    reason="nothing is granted",
                ),
                user_id=user_id,
            )
        return granted

    async def admit_publish(self, user_id: str, channel: object, data: Any, /) -> Publication:
        """Pass a client's message through the whole gate.

        Raises:
            ChannelError: see `parse`.
            ChannelDeniedError: see `admit`.
            PublishError: too large (``too_large``), not JSON (``bad_data``), refused by `validate` (``rejected``), or
                `validate` failed (``unavailable``, retryable).
        """
        admitted = self.begin_publish(user_id, channel, data)
        return admitted if isinstance(admitted, Publication) else await admitted

    def begin_publish(
        self, user_id: str, channel: object, data: Any, /, *, text: str | None = None
    ) -> Publication | Coroutine[Any, Any, Publication]:
        """Pass a client's message through the whole gate, at once where no hook must be awaited.

        Args:
            user_id: the authenticated publisher.
            channel: wire string.
            data: the payload.
            text: the JSON that `data` was read from, where `scan_json` has read it. It is passed on as it is, unless
                `validate` has a say in what is published.

        Returns:
            The publication; or, where a hook is to be awaited, a coroutine that returns it and raises the same.

        Raises:
            RealtimeError: see `admit_publish`.
        """
        parsed = self.parse(channel)
        try:
            publication = self.prepare(parsed, data, user_id, text=text)
        except PublishError as error:
            self._observer.denied(user_id, error.channel, error)
            raise
        if self._declared.is_server_published(parsed):
            raise self._refuse(
                ChannelDeniedError(
                    f"user {user_id!r} may not publish on {parsed.raw!r}: its collection has publish='server'",
                    channel=parsed.raw,
                    reason="only the server publishes here",
                ),
                user_id=user_id,
            )
        granted = self._consult(user_id, parsed)
        if self._validate is None and isinstance(granted, Permissions):
            self._covering(granted, user_id, parsed, "publish")
            return publication
        return self._finish_publish(publication, granted, user_id)

    async def _finish_publish(self, publication: Publication, granted: object, user_id: str) -> Publication:
        channel = publication.channel
        self._covering(await self._settle(granted, user_id, channel), user_id, channel, "publish")
        if self._validate is None:
            return publication
        wire = channel.raw
        try:
            rewritten = await self._call(self._validate(user_id, channel, publication.data))
        except Reject as rejection:
            raise self._refuse(
                PublishError(
                    f"validate rejected a message of user {user_id!r} on {wire!r}: {rejection.reason}",
                    channel=wire,
                    code="rejected",
                    reason=rejection.reason,
                ),
                user_id=user_id,
            ) from None
        except Exception as error:
            raise self._fault(
                PublishError(
                    f"validate raised {error!r} on {wire!r}; nothing was published. Raise Reject(reason) to refuse",
                    channel=wire,
                    code="unavailable",
                    reason=_TEMPORARY,
                    retryable=True,
                )
            ) from error
        try:
            return self.prepare(channel, rewritten, user_id)
        except PublishError as error:
            raise self._fault(
                PublishError(
                    f"validate returned a payload that cannot be published: {error}",
                    channel=wire,
                    code="unavailable",
                    reason=_TEMPORARY,
                    retryable=True,
                )
            ) from error

    def prepare(self, channel: Channel, data: Any, user_id: str | None, /, *, text: str | None = None) -> Publication:
        """Encode a payload and check its size; the part of the gate that also holds for the server's own messages.

        Raises:
            PublishError: too large, or not JSON.
        """
        wire = channel.raw
        try:
            # Text that is too long as it came may be short enough without its white space.
            if text is None or len(text) > self._max_message_bytes:
                text = encode_json(data)
        except ValueError as error:
            raise PublishError(
                f"the payload for {wire!r} is not JSON: {error}", channel=wire, code="bad_data", reason="not JSON"
            ) from error
        size = len(text) if text.isascii() else len(text.encode())
        if size > self._max_message_bytes:
            raise PublishError(
                f"the payload for {wire!r} has {size} bytes, more than max_message_bytes={self._max_message_bytes}; "
                "send less, or send a hint and let readers fetch the rest",
                channel=wire,
                code="too_large",
                reason=f"{size} bytes are more than {self._max_message_bytes}",
            )
        return Publication(channel, data, text, user_id or None)

    async def _ask(self, user_id: str, channel: Channel) -> Permissions:
        return await self._settle(self._consult(user_id, channel), user_id, channel)

    def _consult(self, user_id: str, channel: Channel) -> object:
        """Return what `authorize` gives, awaitable or not."""
        try:
            return self._authorize(user_id, channel)
        except Exception as error:
            raise self._fault(self._undecided(channel.raw, user_id, f"raised {error!r}")) from error

    async def _settle(self, granted: object, user_id: str, channel: Channel) -> Permissions:
        wire = channel.raw
        try:
            granted = await self._call(granted)
        except Exception as error:
            raise self._fault(self._undecided(wire, user_id, f"raised {error!r}")) from error
        if not isinstance(granted, Permissions):
            advice = f"returned {granted!r}; return a Permissions, for example Permissions() to deny"
            raise self._fault(self._undecided(wire, user_id, advice))
        return granted

    def _covering(self, granted: Permissions, user_id: str, channel: Channel, operation: Operation) -> Permissions:
        if not getattr(granted, operation):
            raise self._refuse(
                ChannelDeniedError(
                    f"user {user_id!r} may not {operation} {channel.raw!r}",
                    channel=channel.raw,
                    reason=f"{operation} is not granted",
                ),
                user_id=user_id,
            )
        return granted

    async def _call(self, result: _T | Any) -> _T:
        if inspect.isawaitable(result):
            async with asyncio.timeout(self._hook_timeout):
                return cast("_T", await result)
        return cast("_T", result)

    @staticmethod
    def _undecided(wire: str, user_id: str, what: str) -> ChannelDeniedError:
        return ChannelDeniedError(
            f"authorize({user_id!r}, {wire!r}) {what}; nothing was granted",
            channel=wire,
            code="unavailable",
            reason=_TEMPORARY,
            retryable=True,
        )

    def _fault(self, error: _E) -> _E:
        self._report(error)
        return error

    def _refuse(self, error: _E, *, user_id: str | None = None, channel: str | None = None) -> _E:
        self._observer.denied(user_id, error.channel or channel, error)
        return error
