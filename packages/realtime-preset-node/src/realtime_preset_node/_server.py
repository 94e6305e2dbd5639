"""The server half of the preset: the WebSocket endpoint, publishing, and the one process it runs in."""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, cast

from starlette.routing import BaseRoute, WebSocketRoute

from tanstack_realtime import AuthenticationError, Channel, ConfigurationError, PublishError
from tanstack_realtime.server import Publication, ServerContext, connection_with_token

from ._frames import CloseCode
from ._hub import Hub, HubStatistics
from ._inflow import DirectInflow, read_messages
from ._local import LocalTransport
from ._peer import Peer, PeerFactory
from ._presence import FLUSH, Rooms
from ._registry import Registry
from ._settings import HistoryLimits, SessionSettings
from ._sink import AsgiSink, ServedSink
from ._slow import SlowReader, SlowReaders
from ._transport_sink import Reading, TransportSink, direct_reading, transport_access
from ._workers import Claim, served_address, worker_count

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection
    from starlette.types import Receive, Scope, Send

    from tanstack_realtime import Capabilities, RealtimeTransport

__all__ = ["NodeServer"]

_WAY_OUT: Final = (
    "The node preset keeps its channels in the memory of one process. Run one worker, or name another preset: "
    '[tool.tanstack-realtime] preset = "centrifugo" in pyproject.toml, or REALTIME_PRESET=centrifugo'
)

_CLOSE_GRACE: Final = 5.0
"""Seconds that a client has to take what is left and the close frame."""

_PUBLISHED_IN_A_ROW: Final = 65_536
"""So many characters the server itself publishes before the readers have their turn."""


class NodeServer:
    """Hub, connections and routes of one `Realtime`. Two of them share nothing.

    Args:
        context: the gate, and where failures go.
        capabilities: for in-process transports.
        settings: times and bounds of a session; payload size and preset name are filled in.
        history: how much is kept for replay.
        slow_readers: by namespace, what a slow reader may do without.
        max_backlog: bytes that may wait for one reader.

    Raises:
        ConfigurationError: several worker processes are configured.
    """

    def __init__(
        self,
        context: ServerContext,
        *,
        capabilities: Capabilities,
        settings: SessionSettings,
        history: HistoryLimits,
        slow_readers: Mapping[str, SlowReader],
        max_backlog: int,
    ) -> None:
        workers = worker_count(os.environ, sys.argv)
        if workers > 1:
            raise ConfigurationError(f"{workers} worker processes are configured. {_WAY_OUT}", code="several_workers")
        token, numbers = secrets.token_hex(6), itertools.count(1)
        self._capabilities = capabilities
        self._context = context
        self._hub = Hub(
            limits=history,
            new_epoch=lambda: f"{token}-{next(numbers)}",
            defer=lambda flush: asyncio.get_running_loop().call_soon(flush),
            slow_readers=SlowReaders(slow_readers, context.report),
            observer=context.observer,
        )
        self._rooms = Rooms(
            defer=lambda flush: asyncio.get_running_loop().call_later(FLUSH, flush), observer=context.observer
        )
        self._registry = Registry(settings.limits)
        self._shared = PeerFactory(
            context=context,
            hub=self._hub,
            rooms=self._rooms,
            settings=settings,
            registry=self._registry,
            max_backlog=max_backlog,
            new_id=lambda: secrets.token_urlsafe(12),
        )
        self._claim = Claim()
        self._claimed: set[str] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._in_a_row = 0
        """Characters that the server published since it let the readers have their turn."""

    def routes(self) -> Sequence[BaseRoute]:
        """Return the WebSocket endpoint ``/ws``."""
        return [WebSocketRoute("/ws", _Endpoint(self), name="realtime")]

    def public_url(self, connection: HTTPConnection, /) -> str:
        """Return the WebSocket address next to the route that `connection` came to."""
        root, path = connection.scope.get("root_path", ""), connection.scope["path"]
        full = path if path.startswith(root) else root + path
        scheme = "wss" if connection.url.scheme in ("https", "wss") else "ws"
        return f"{scheme}://{connection.url.netloc}{full.rpartition('/')[0]}/ws"

    async def publish(self, publication: Publication, /) -> None:
        """Deliver a message to every subscriber.

        Raises:
            ConfigurationError: no client can ever be reached from here.
            PublishError: the server has been closed.
        """
        channel = publication.channel
        if self._closed:
            raise PublishError("the server is closed", channel=channel.raw, code="closed", retryable=True)
        if self._loop is None:
            raise ConfigurationError(
                f"published to {channel.raw!r} from a process that serves no realtime client. If this is another "
                "process than the web server, POST the message to the server's /_realtime/publish, or use a preset "
                "with an external service. If it is the web server before its first request, enter the instance in "
                "the lifespan: async with realtime: yield",
                channel=channel.raw,
                code="not_serving",
            )
        self._bind()
        self._hub.publish(channel.raw, publication.text, publication.user_id, self._loop.time(), data=publication.data)
        self._in_a_row += len(publication.text)
        if self._in_a_row >= _PUBLISHED_IN_A_ROW:
            # Who publishes in a loop without a pause must not make every reader look slow.
            self._in_a_row = 0
            await asyncio.sleep(0)

    async def revoke(self, user_id: str, channel: Channel | None, /) -> None:
        """End a user's access to a channel now, or with None to everything: the user's connections are closed.

        Raises:
            ConfigurationError: no client is served by this process or loop.
        """
        if self._loop is None:
            raise ConfigurationError(
                "revoke() was called in a process that serves no realtime client; call it in the web server, on the "
                "instance that it mounts",
                code="not_serving",
            )
        self._bind()
        for peer in self._registry.perhaps_of(user_id):
            peer.revoke(user_id, None if channel is None else channel.raw)

    def local_transport(self, *, user_id: str) -> RealtimeTransport:
        """Return a transport for a client in this process."""
        if not isinstance(cast("object", user_id), str) or not user_id:
            raise ConfigurationError(f"local_transport(user_id={user_id!r}): pass the user's id as a non-empty str")
        return LocalTransport(self, user_id=user_id, capabilities=self._capabilities)

    async def startup(self) -> None:
        """Say that this process and loop serve the clients. After `aclose` it begins anew."""
        self._bind()
        self._closed = False

    async def aclose(self) -> None:
        """Send every client away with 1012 and wait until they are gone, at most the close grace. Idempotent."""
        self._closed = True
        peers = self._registry.peers
        for peer in peers:
            peer.close(CloseCode.RESTART, "the server stops; reconnect")
        if peers:
            await asyncio.wait([peer.gone for peer in peers], timeout=_CLOSE_GRACE + 1.0)
        self._claim.release()

    def statistics(self) -> HubStatistics:
        """Return the hub's numbers."""
        return self._hub.statistics()

    def measure(self) -> Mapping[str, int]:
        """Return the hub's numbers by name."""
        return asdict(self._hub.statistics())

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._registry)

    def look_for_workers(self, scope: Mapping[str, Any]) -> None:
        """Report it if another worker process serves the same address, which no configuration told."""
        address = served_address(scope)
        if address is None or address in self._claimed or self._closed:
            return
        self._claimed.add(address)
        if not self._claim.make(address):
            self._context.report(
                ConfigurationError(
                    f"several worker processes serve {address}, and each has only its own clients: messages get lost. "
                    f"{_WAY_OUT}",
                    code="several_workers",
                )
            )

    def attach(self, peer: Peer) -> None:
        """Take a new connection into account; refuse it when closed, or where there are too many."""
        room = self._registry.add(peer)
        if self._closed:
            peer.close(CloseCode.RESTART, "the server stops; reconnect")
        elif not room:
            peer.close(CloseCode.TOO_MANY_CONNECTIONS, "the server has too many connections; come back later")

    def detach(self, peer: Peer) -> None:
        """Forget a connection."""
        self._registry.discard(peer)

    @property
    def shared(self) -> PeerFactory:
        """What connections share."""
        self._bind()
        return self._shared

    @property
    def context(self) -> ServerContext:
        """The gate, and where failures go."""
        return self._context

    def _bind(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is None or self._loop.is_closed():
            if self._loop is not None:
                # What the former loop was to deliver in its next turn.
                self._hub.flush()
                self._rooms.flush()
            self._loop = loop
        elif self._loop is not loop:
            raise ConfigurationError(
                "one Realtime was used from two event loops; its clients live on the first. Publish from the loop that "
                "serves them; with starlette's TestClient, use one `with TestClient(app) as client:` for everything",
                code="two_loops",
            )


class _Endpoint:
    """The WebSocket endpoint, as plain ASGI."""

    def __init__(self, server: NodeServer) -> None:
        self._server = server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        server = self._server
        shared = server.shared
        if (await receive())["type"] != "websocket.connect":
            return
        server.look_for_workers(scope)
        # Accepted even if it is refused next: a browser sees a close code, but no HTTP status.
        await send({"type": "websocket.accept"})
        sink = _sink(scope, send, shared)

        async def authenticate(token: str | None) -> tuple[str, float | None]:
            return await shared.context.gate.authenticate(connection_with_token(scope, token))

        peer = Peer(shared, sink=sink, authenticate=authenticate)
        server.attach(peer)
        try:
            shared.context.gate.check_origin(connection_with_token(scope, None))
        except AuthenticationError as error:
            peer.close(CloseCode.BAD_ORIGIN, error.reason)
        code: int = CloseCode.LOST
        try:
            code = await _move_frames(peer, sink, receive, direct_reading(scope))
        finally:
            server.detach(peer)
            await peer.end(code)


def _sink(scope: Scope, send: Send, shared: PeerFactory) -> ServedSink:
    access = transport_access(scope)
    if access is None:
        return AsgiSink(send, max_backlog=shared.max_backlog)
    transport, writable = access
    return TransportSink(transport, writable, send, high_water=shared.high_water, max_backlog=shared.max_backlog)


async def _move_frames(peer: Peer, sink: ServedSink, receive: Receive, reading: Reading | None) -> int:
    """Read and write until one side ends the connection, and return the close code."""
    loop = asyncio.get_running_loop()
    inflow = None if reading is None else DirectInflow(peer, reading)
    if inflow is not None:
        inflow.start()
    reader, writer = loop.create_task(read_messages(peer, receive)), loop.create_task(sink.run())
    first_end: list[asyncio.Future[Any]] = [reader, writer, sink.closing]
    try:
        await asyncio.wait(first_end, return_when=asyncio.FIRST_COMPLETED)
        if not reader.done():
            # Closing from this side: what is left, then the close frame, for as long as the client takes it.
            await asyncio.wait(first_end[:2], timeout=_CLOSE_GRACE, return_when=asyncio.FIRST_COMPLETED)
    finally:
        reader.cancel()
        writer.cancel()
        await asyncio.wait(first_end[:2])
        if inflow is not None:
            await inflow.end()
    closing = peer.session.closing
    if closing is not None:
        return closing.code
    return CloseCode.LOST if reader.cancelled() else reader.result()
