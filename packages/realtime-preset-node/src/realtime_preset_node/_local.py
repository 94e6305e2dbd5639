"""Clients in the server's own process: the same session, the same gate, no sockets.

Frames cross as JSON text, like on a socket, so that a client can never change an object that another one holds, and
what works here works there.
"""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from typing import TYPE_CHECKING, Protocol

from tanstack_realtime import Capabilities, CloseReason, ConnectionLostError, Link, LinkSink, OpenRequest

from ._frames import SEPARATOR, CloseCode
from ._link import NodeLink
from ._peer import Peer, PeerFactory

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._packet import Packet

__all__ = ["LocalServer", "LocalTransport"]


class LocalServer(Protocol):
    """What a local client needs of the server."""

    @property
    def shared(self) -> PeerFactory:
        """What connections share."""
        ...

    def attach(self, peer: Peer) -> None:
        """Take a new connection into account."""
        ...

    def detach(self, peer: Peer) -> None:
        """Forget a connection."""
        ...


class LocalTransport:
    """Connects a client in this process, for a user whom the caller has authenticated."""

    def __init__(self, server: LocalServer, *, user_id: str, capabilities: Capabilities) -> None:
        self._server = server
        self._user_id = user_id
        self._capabilities = capabilities

    @property
    def capabilities(self) -> Capabilities:
        """What the preset guarantees."""
        return self._capabilities

    async def open(self, request: OpenRequest, sink: LinkSink, /) -> Link:
        """Connect. The request's address and token are not used."""
        wire = _LocalWire(self._server, self._user_id)
        link = NodeLink(sink, wire, asyncio.get_running_loop())
        wire.start(link)
        try:
            await link.handshake(None, request.client_id)
        except BaseException:
            await link.close()
            raise
        return link


class _LocalSink:
    """The server's way to the client: what is written in one turn of the loop is read in the next.

    It is read with the context variables of the task that connected, as on a socket, and not with those of whoever
    publishes: one user's message must not let another user's client act on behalf of the first.
    """

    def __init__(self, link: NodeLink, on_close: Callable[[int], None], *, max_backlog: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()
        self._link = link
        self._on_close = on_close
        self._max_backlog = max_backlog
        self._frames: list[str] = []
        self._backlog = 0
        self._closing: CloseReason | None = None
        self._scheduled = False
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def transport(self) -> None:
        """There is no network."""

    @property
    def backlog(self) -> int:
        """Bytes that wait for the client's turn."""
        return self._backlog

    @property
    def closed(self) -> bool:
        """Whether the server accepts nothing more."""
        return self._closing is not None

    def write(self, packet: Packet, /) -> bool:
        """Accept one or more frames; False where more would wait than may."""
        if self._closing is not None:
            return True
        if self._backlog and self._backlog + packet.size > self._max_backlog:
            return False
        self._frames.append(packet.text)
        self._backlog += packet.size
        self._empty.clear()
        self._schedule()
        return True

    def close(self, code: int, reason: str, /, *, discard: bool) -> None:
        """Close after what is pending, or with `discard` instead of it."""
        if self._closing is None:
            self._closing = CloseReason(code, reason, retry=not CloseCode.is_final(code))
            self._on_close(code)
        if discard:
            self._frames.clear()
        self._schedule()

    async def drained(self) -> None:
        """Wait for the client's turn, which always comes."""
        await self._empty.wait()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush, context=self._context)

    def _flush(self) -> None:
        self._scheduled = False
        frames, self._frames = self._frames, []
        self._backlog = 0
        self._empty.set()
        if frames:
            self._link.feed(SEPARATOR.join(frames))
        if self._closing is not None:
            self._link.lost(self._closing)


class _LocalWire:
    """The client's way to the server."""

    def __init__(self, server: LocalServer, user_id: str) -> None:
        self._server = server
        self._user_id = user_id
        self._sink: _LocalSink | None = None
        self._peer: Peer | None = None
        self._ending: asyncio.Task[None] | None = None

    def start(self, link: NodeLink) -> None:
        self._sink = _LocalSink(link, self._end, max_backlog=self._server.shared.max_backlog)
        self._peer = Peer(self._server.shared, sink=self._sink, authenticate=self._authenticate)
        self._server.attach(self._peer)

    async def send(self, text: str, /) -> None:
        if self._peer is not None:
            await self._peer.room()
        if self._peer is None or self._sink is None or self._sink.closed:
            raise ConnectionLostError("the connection is gone")
        self._peer.feed(text)

    def send_now(self, _: str, /) -> bool:
        # The server's hooks would run inside of what the publisher is doing.
        return False

    def abort(self) -> None:
        if self._peer is not None:
            self._peer.close(CloseCode.LOST, "", discard=True)

    async def close(self) -> None:
        if self._peer is not None:
            self._peer.close(CloseCode.NORMAL, "closed by the client", discard=True)
        if self._ending is not None:
            await asyncio.wait([self._ending])

    async def _authenticate(self, _token: str | None) -> tuple[str, float | None]:
        return self._user_id, None

    def _end(self, code: int) -> None:
        """Called once, as soon as either side closes."""
        if self._peer is not None:
            self._server.detach(self._peer)
            self._ending = asyncio.get_running_loop().create_task(self._peer.end(code))
