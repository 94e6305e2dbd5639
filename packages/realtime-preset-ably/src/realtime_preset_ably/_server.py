"""The server half: signs token requests, publishes and revokes over REST. It keeps nothing in memory.

So it works under several workers, and without lifespan events. Only a revocation has an afterlife in the process that
made it: see `AblyServer.revoke`.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, cast

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from tanstack_realtime import (
    Channel,
    ChannelDeniedError,
    ChannelError,
    ConfigurationError,
    MessageError,
    PublishError,
    RealtimeError,
)
from tanstack_realtime._http import DefaultHttp
from tanstack_realtime._json import decode_json
from tanstack_realtime.server._requests import error_response, read_body, require_json

from ._api import AblyApi
from ._grant import MAX_CHANNELS, TOKEN_PATH, Denial, Grant
from ._local import LocalApplication, LocalTransport
from ._names import client_id_of
from ._settings import SHORTEST_TTL
from ._tokens import REQUEST_LIFETIME, capability_of, token_request

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

    from tanstack_realtime import Capabilities, RealtimeTransport
    from tanstack_realtime.server import Permissions, Publication, ServerContext

    from ._settings import ServerSettings

__all__ = ["AblyServer"]

_MAX_BODY: Final = 65536
_AT_ONCE: Final = 16
"""Decisions of `authorize` that one request for a token has under way."""

_AFTERWARDS: Final = REQUEST_LIFETIME + 5.0


@dataclass(eq=False, slots=True)
class _Decision:
    """Questions to `authorize` that are open; a revocation meanwhile makes their answers worthless."""

    user_id: str
    stale: bool = False


class AblyServer:
    """The server half of one `Realtime`.

    Args:
        context: the gate, and where failures go.
        settings: the key, and where Ably is.
        capabilities: for in-process transports.
        now: seconds since 1970.
    """

    def __init__(
        self,
        context: ServerContext,
        settings: ServerSettings,
        capabilities: Capabilities,
        *,
        now: Callable[[], float] = lambda: datetime.now(UTC).timestamp(),
    ) -> None:
        self._context = context
        self._settings = settings
        self._capabilities = capabilities
        self._now = now
        self._api = AblyApi(settings)
        self._http = DefaultHttp()
        self._open: set[_Decision] = set()
        self._afterwards: set[asyncio.Task[None]] = set()

    def routes(self) -> Sequence[BaseRoute]:
        """Return ``/ably/token``."""
        return [Route(TOKEN_PATH, self._token, methods=["POST"])]

    def public_url(self, _connection: HTTPConnection, /) -> str:
        """Return Ably's address."""
        return self._settings.socket_url

    async def publish(self, publication: Publication, /) -> None:
        """Hand a message to Ably.

        Raises:
            PublishError: it was not taken.
        """
        size, most = len(publication.text.encode()), self._capabilities.max_message_bytes
        if size > most:
            raise PublishError(
                f"the payload for {publication.channel.raw!r} has {size} bytes, and Ably takes {most}; send less, or a "
                "hint, and let readers fetch the rest",
                channel=publication.channel.raw,
                code="too_large",
                reason=f"{size} bytes are more than {most}",
            )
        await self._api.publish(publication)

    async def revoke(self, user_id: str, channel: Channel | None, /) -> None:
        """End a user's access to a channel, or with None to everything.

        A user's tokens are revoked all together. Where only a channel ends, clients have half a minute to get another
        token, which is without it, and stay connected. A token request that was signed before can still be exchanged
        for two minutes; when those have passed, what came of it is revoked too.

        Where the key has no revocable tokens nothing can be told to Ably: access ends with the token.

        Raises:
            PublishError: Ably could not be told.
        """
        for decision in self._open:
            decision.stale |= decision.user_id == user_id
        client_id = client_id_of(user_id)
        revoked_at = self._now()
        if await self._api.revoke(client_id, issued_before=None, margin=channel is not None):
            task = asyncio.get_running_loop().create_task(self._revoke_again(client_id, revoked_at + REQUEST_LIFETIME))
            self._afterwards.add(task)
            task.add_done_callback(self._afterwards.discard)

    async def startup(self) -> None:
        """Nothing to prepare."""

    def local_transport(self, *, user_id: str) -> RealtimeTransport:
        """Return a transport for a client in this process: it asks by a call, and goes through Ably as all do."""
        if not isinstance(cast("object", user_id), str) or not user_id:
            raise ConfigurationError(f"local_transport(user_id={user_id!r}): pass the user's id as a non-empty str")
        application = LocalApplication(context=self._context, user_id=user_id, sign=self._grant, deliver=self.publish)
        return LocalTransport(application, self._http, self._capabilities)

    async def aclose(self) -> None:
        """Close what is open to Ably. Idempotent."""
        tasks = list(self._afterwards)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._api.aclose()
        await self._http.aclose()

    # -- inside --------------------------------------------------------------------------------------------------------

    async def _token(self, request: Request) -> Response:
        gate = self._context.gate
        try:
            gate.check_origin(request)
            require_json(request)
            user_id, expires_in = await gate.authenticate(request)
            grant = await self._grant(user_id, _channels(await read_body(request, _MAX_BODY)), expires_in)
        except RealtimeError as error:
            return error_response(error)
        # In ASCII, since a name that was refused is told as it came, with whatever JSON can hold.
        return Response(
            json.dumps(grant.to_json()), media_type="application/json", headers={"cache-control": "no-store"}
        )

    async def _grant(self, user_id: str, channels: Sequence[str], expires_in: float | None = None) -> Grant:
        """Ask about every channel once, and sign what was granted."""
        decisions = await self._decide(user_id, channels)
        granted = {name: found for name, found in decisions.items() if not isinstance(found, Denial)}
        ends = [end for end in (expires_in, *(found.expires_in for found in granted.values())) if end is not None]
        again = min([self._settings.token_ttl, *ends])
        operations = {name: _operations(found) for name, found in granted.items()}
        client_id = client_id_of(user_id)
        return Grant(
            token_request=token_request(
                self._settings,
                client_id,
                capability_of(operations),
                ttl=max(SHORTEST_TTL, again),
                now=self._now(),
                nonce=secrets.token_urlsafe(18),
            ),
            user_id=user_id,
            client_id=client_id,
            endpoint=self._settings.endpoint,
            tls=self._settings.tls,
            expires_in=again,
            granted=operations,
            denied={name: found for name, found in decisions.items() if isinstance(found, Denial)},
        )

    async def _decide(self, user_id: str, channels: Sequence[str]) -> dict[str, Permissions | Denial]:
        limit = asyncio.Semaphore(_AT_ONCE)
        names = list(dict.fromkeys(channels))

        async def decide(name: str) -> Permissions | Denial:
            async with limit:
                try:
                    return await self._context.gate.permissions(user_id, self._context.gate.parse(name))
                except (ChannelError, ChannelDeniedError) as error:
                    return Denial(error.code, error.reason, error.retryable)

        while True:
            decision = _Decision(user_id)
            self._open.add(decision)
            try:
                found = await asyncio.gather(*map(decide, names))
            finally:
                self._open.discard(decision)
            if not decision.stale:
                return dict(zip(names, found, strict=True))

    async def _revoke_again(self, client_id: str, issued_before: float) -> None:
        await asyncio.sleep(_AFTERWARDS)
        try:
            await self._api.revoke(client_id, issued_before=issued_before, margin=True)
        except PublishError as error:
            self._context.report(error)


def _operations(permissions: Permissions) -> frozenset[str]:
    return frozenset(name for name in ("subscribe", "publish", "presence") if getattr(permissions, name))


def _channels(body: bytes) -> list[str]:
    try:
        parsed: object = decode_json(body)
    except ValueError as error:
        raise MessageError(f"the body is not JSON: {error}", code="bad_request", reason="not JSON") from error
    asked: object = cast("dict[str, object]", parsed).get("channels") if isinstance(parsed, dict) else None
    listed = cast("list[object]", asked) if isinstance(asked, list) else None
    names = [name for name in listed or () if isinstance(name, str)]
    if listed is None or len(names) != len(listed):
        raise MessageError('the body must be {"channels": ["…", …]}', code="bad_request")
    if len(names) > MAX_CHANNELS:
        raise MessageError(
            f"a token covers {MAX_CHANNELS} channels, not {len(names)}; unsubscribe from what is not shown",
            code="too_many_channels",
            reason=f"more than {MAX_CHANNELS} channels",
        )
    return names
