"""`Realtime`: the ASGI application, and publishing from the server."""

from __future__ import annotations

import contextlib
import logging
import weakref
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from starlette.routing import Router

from tanstack_realtime._errors import ConfigurationError, RealtimeError
from tanstack_realtime._keys import Channel, ChannelLike, parse_channel, serialize_key
from tanstack_realtime._presets import Preset, load_preset
from tanstack_realtime._settings import resolve_preset

from ._declared import Channels, DeclaredChannels
from ._gate import Gate
from ._limiter import PublishLimiter
from ._observe import GuardedObserver
from ._origin import OriginPolicy
from ._permissions import Authorize, GetUser, Validate
from ._preset import LocalServerPreset, MeasuredServerPreset, Publication, ServerContext, ServerObserver
from ._routes import common_routes
from ._statistics import CountingObserver, ServerStatistics

if TYPE_CHECKING:
    from typing import Self

    from starlette.types import Receive, Scope, Send

    from tanstack_realtime._transport import RealtimeTransport

__all__ = ["Realtime", "publish"]

OnError: TypeAlias = Callable[[RealtimeError], object]

_logger: Final = logging.getLogger("tanstack_realtime.server")
_instances: Final[weakref.WeakSet[Realtime]] = weakref.WeakSet()


def _log_error(error: RealtimeError) -> None:
    _logger.error("%s", error, exc_info=error)


class Realtime:
    """The server half of the application's realtime: an ASGI 3 application.

    Mount it at ``/_realtime`` under Starlette, FastAPI, Litestar or Django. It needs no lifespan; a host that has one
    can enter the instance (``async with realtime:``) so that clients are told when the server stops.

    Args:
        authorize: ``authorize(user_id, channel) -> Permissions``, sync or async. Decides about every channel, on every
            preset. What it raises is never a grant.
        get_user: ``get_user(connection) -> str | Identity | None``, sync or async: who a request or a WebSocket belongs
            to, and until when. It gets a starlette `HTTPConnection`; `bearer_token(connection)` is the client's token.
        preset: name of the preset, or None for the environment, then pyproject.toml, then ``"node"``.
        channels: parameter names per namespace (``{"todos": {"project_id"}}``), or the collections themselves. A
            channel with other names is refused before `authorize` runs.
        validate: ``validate(user_id, channel, data)``, sync or async, for what clients publish: returns the payload to
            publish, or raises `Reject`.
        allowed_origins: origins of other sites whose pages may connect, for example ``["https://app.example.com"]``.
            Pages of the server's own host always may.
        allow_anonymous: let a connection in for which `get_user` returns None. `authorize` sees it as `ANONYMOUS`.
        max_message_bytes: largest payload, as UTF-8 JSON.
        publish_rate: requests per second with which one user may publish over HTTP in the long run; ``math.inf`` for no
            limit. Connections have the preset's limits.
        publish_burst: requests that may come at once after a pause. What exceeds it is answered with 429.
        hook_timeout: seconds that an async hook may take; then it counts as failed.
        on_error: takes failures that no caller can be told about: a hook that raised, or a provider that did not take a
            client's message. Default: the logger ``tanstack_realtime.server``.
        observer: hears what happens; see `ServerObserver`.

    Raises:
        ConfigurationError: an argument cannot be used, or the preset cannot run here.
    """

    def __init__(
        self,
        *,
        authorize: Authorize,
        get_user: GetUser,
        preset: str | Preset | None = None,
        channels: Channels | None = None,
        validate: Validate | None = None,
        allowed_origins: Iterable[str] | None = None,
        allow_anonymous: bool = False,
        max_message_bytes: int = 65536,
        publish_rate: float = 50.0,
        publish_burst: int = 500,
        hook_timeout: float = 10.0,
        on_error: OnError | None = None,
        observer: ServerObserver | None = None,
    ) -> None:
        hooks: Mapping[str, object] = {"authorize": authorize, "get_user": get_user}
        for name, hook in hooks.items():
            if not callable(hook):
                raise ConfigurationError(
                    f"Realtime({name}={hook!r}): pass a function. Nothing is allowed by default; a public app "
                    "writes get_user=lambda connection: None with allow_anonymous=True"
                )
        if isinstance(max_message_bytes, bool) or max_message_bytes < 1:
            raise ConfigurationError(f"max_message_bytes={max_message_bytes!r}: pass a positive number of bytes")
        if not (publish_rate > 0 and publish_burst > 0):
            raise ConfigurationError(
                f"publish_rate={publish_rate!r}, publish_burst={publish_burst!r}: pass positive numbers; math.inf "
                "is no limit"
            )
        self._on_error = on_error or _log_error
        self._observer = CountingObserver(
            ServerObserver() if observer is None else GuardedObserver(observer, self._report)
        )
        self._gate = Gate(
            authorize=authorize,
            get_user=get_user,
            validate=validate,
            declared=DeclaredChannels(channels),
            origins=OriginPolicy(allowed_origins),
            max_message_bytes=max_message_bytes,
            allow_anonymous=allow_anonymous,
            hook_timeout=hook_timeout,
            report=self._report,
            observer=self._observer,
        )
        self._preset = load_preset(resolve_preset(preset)) if preset is None or isinstance(preset, str) else preset
        self._server = self._preset.create_server(
            ServerContext(self._gate, self._report, self._observer, max_message_bytes)
        )
        common = common_routes(
            gate=self._gate,
            preset_name=self._preset.name,
            preset=self._server,
            publish=self._deliver_for_client,
            max_message_bytes=max_message_bytes,
            limiter=PublishLimiter(rate=publish_rate, burst=publish_burst),
        )
        self._router = Router([*common, *self._server.routes()], lifespan=self._lifespan)
        self._closed = False
        _instances.add(self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, WebSocket or lifespan."""
        if scope["type"] != "lifespan" and not self._closed:
            await self._server.startup()
        await self._router(scope, receive, send)

    async def __aenter__(self) -> Self:
        """Serve from now on; after `aclose` too, as when tests enter one application's lifespan several times."""
        self._closed = False
        _instances.add(self)
        await self._server.startup()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Tell every client to come back later, and release everything. Idempotent."""
        self._closed = True
        _instances.discard(self)
        await self._server.aclose()

    async def publish(self, channel: ChannelLike | str, data: Any, /) -> None:
        """Publish as the server itself. `authorize` and `validate` are not asked.

        Args:
            channel: ``("todos", {"project_id": "1"})``, a `Channel`, or a channel's wire string.
            data: anything that `json.dumps` writes.

        Raises:
            ChannelError: not a channel.
            PublishError: not JSON, too large, or not delivered.
            ConfigurationError: this process cannot reach the clients; the message names the way out.
        """
        parsed = parse_channel(channel if isinstance(channel, str) else serialize_key(channel))
        await self._deliver(self._gate.prepare(parsed, data, None))

    async def revoke(self, user_id: str, channel: ChannelLike | str | None = None, /) -> None:
        """End a user's access to one channel, or to everything, on every connection of the user.

        It takes effect within the preset's `Capabilities.revocation_delay`: on the node preset before this returns.
        `authorize` and `get_user` decide whether the user may come back, so change what they look at first, then call
        this.

        Args:
            user_id: as `get_user` returns it.
            channel: the channel whose subscriptions end; the client's state of it becomes ``denied``. None closes the
                user's connections, and its clients do not come back before they call ``connect()`` again.

        Raises:
            ChannelError: not a channel.
            ConfigurationError: this process cannot reach the clients.
        """
        if not isinstance(cast("object", user_id), str) or not user_id:
            raise ConfigurationError(f"revoke({user_id!r}): pass the user's id as a non-empty str")
        parsed = None
        if channel is not None:
            parsed = parse_channel(channel if isinstance(channel, str) else serialize_key(channel))
        await self._server.revoke(user_id, parsed)

    def statistics(self) -> ServerStatistics:
        """Return numbers about this process's clients. Cheap; on the node preset it takes a look at every channel."""
        server = self._server
        return self._observer.statistics(server.measure() if isinstance(server, MeasuredServerPreset) else {})

    def local_transport(self, *, user_id: str) -> RealtimeTransport:
        """Return a transport for a client in this very process, without sockets.

        It passes the same gate as a remote client; only `get_user` is not asked, since the caller knows the user.

        Args:
            user_id: who the client acts for.

        Raises:
            ConfigurationError: the preset has no clients in process.
        """
        if not isinstance(self._server, LocalServerPreset):
            raise ConfigurationError(
                f"preset {self._preset.name!r} has no in-process transport; connect with create_realtime_client(url)"
            )
        return self._server.local_transport(user_id=user_id)

    async def _deliver(self, publication: Publication) -> None:
        await self._server.publish(publication)
        self._observer.published(publication)

    async def _deliver_for_client(self, publication: Publication) -> None:
        # The client is told a reason that is fit to be sent; what is to be done is for whoever runs the server.
        try:
            await self._deliver(publication)
        except RealtimeError as error:
            self._report(error)
            raise

    def _report(self, error: RealtimeError) -> None:
        try:
            self._on_error(error)
        except Exception:
            _logger.exception("on_error raised while it was told: %s", error)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: object) -> AsyncGenerator[None]:
        async with self:
            yield


async def publish(channel: Channel | ChannelLike | str, data: Any, /) -> None:
    """Publish through the process's only `Realtime`. See `Realtime.publish`.

    Raises:
        ConfigurationError: there is none in this process, or more than one.
    """
    found = list(_instances)
    if len(found) != 1:
        what = "no Realtime exists in this process" if not found else f"{len(found)} Realtime instances exist"
        raise ConfigurationError(
            f"publish() cannot choose: {what}. Call `await realtime.publish(channel, data)` on the instance that your "
            "application mounts; from another process, POST to its /_realtime/publish"
        )
    await found[0].publish(channel, data)
