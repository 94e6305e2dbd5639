"""Where a connection's frames go: the seam between the hub and whatever moves bytes.

`AsgiSink` is the portable one: it works on every ASGI server. One pending list, no task per message; all frames that
are ready when the writer gets its turn leave as one WebSocket message, so that a busy channel costs fewer writes.
`_transport_sink` has the one for servers that give access to the connection's transport.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from ._frames import SEPARATOR, CloseCode
from ._packet import BATCH_BYTES

if TYPE_CHECKING:
    from starlette.types import Message, Send

    from ._packet import Packet

__all__ = ["AsgiSink", "ServedSink", "Sink", "close_message"]

_MAX_REASON_BYTES: Final = 120
"""A close frame holds at most 123 bytes of reason."""


class Sink(Protocol):
    """Takes one connection's outgoing frames. Everything but `drained` returns at once."""

    @property
    def transport(self) -> asyncio.Transport | None:
        """What takes WebSocket frames past this sink while nothing waits; None for no such thing, or when closed."""
        ...

    @property
    def backlog(self) -> int:
        """Bytes that are accepted but not yet handed to the network."""
        ...

    def write(self, packet: Packet, /) -> bool:
        """Accept one or more frames; False where more would wait than may, and nothing was accepted.

        Who has taken everything is not slow, however large the packet is. A closed sink accepts and forgets.
        """
        ...

    def close(self, code: int, reason: str, /, *, discard: bool) -> None:
        """Close after what is pending, or with `discard` instead of it. Nothing is accepted afterwards."""
        ...

    async def drained(self) -> None:
        """Wait until the backlog is empty or the sink is closed."""
        ...


def close_message(code: int, reason: str) -> Message:
    """Return the ASGI message that closes, with as much of the reason as a close frame holds."""
    short = reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore")
    return {"type": "websocket.close", "code": code, "reason": short}


class ServedSink(Sink, Protocol):
    """A sink whose writing the endpoint awaits."""

    closing: asyncio.Future[None]
    """Done as soon as somebody asked to close."""

    async def run(self) -> None:
        """Write until closed, or until the client is gone. Cancelling loses what is pending."""
        ...


class AsgiSink:
    """Writes to an ASGI server's `send`. `run` is the writer; the endpoint awaits it.

    Args:
        send: the connection's ASGI `send`.
        max_backlog: bytes that may wait.
    """

    def __init__(self, send: Send, *, max_backlog: int) -> None:
        self.closing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done as soon as somebody asked to close."""
        self._send = send
        self._max_backlog = max_backlog
        self._pending: deque[Packet] = deque()
        self._backlog = 0
        self._closing: tuple[int, str] | None = None
        self._wake: asyncio.Future[None] | None = None
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def transport(self) -> None:
        """There is no access."""

    @property
    def backlog(self) -> int:
        """Bytes that are accepted but not yet handed to the server."""
        return self._backlog

    def write(self, packet: Packet, /) -> bool:
        """Accept one or more frames; False where more would wait than may."""
        if self._closing is not None:
            return True
        if self._backlog and self._backlog + packet.size > self._max_backlog:
            return False
        self._pending.append(packet)
        self._backlog += packet.size
        self._idle.clear()
        self._wake_up()
        return True

    def close(self, code: int, reason: str, /, *, discard: bool) -> None:
        """Close after what is pending, or with `discard` instead of it."""
        if self._closing is None:
            self._closing = (code, reason)
            self.closing.set_result(None)
        if discard:
            self._pending.clear()
        self._wake_up()

    async def drained(self) -> None:
        """Wait until the backlog is empty or the writer has ended."""
        await self._idle.wait()

    async def run(self) -> None:
        """Write until closed, or until the server says that the client is gone. Cancelling loses what is pending."""
        try:
            while True:
                while self._pending:
                    await self._write_batch()
                self._idle.set()
                if self._closing is not None:
                    break
                self._wake = asyncio.get_running_loop().create_future()
                await self._wake
            await self._send(close_message(*self._closing))
        except (OSError, RuntimeError):
            pass  # how ASGI servers say that the client is gone; the reader hears it too, with the close code
        finally:
            self._closing = self._closing or (CloseCode.LOST, "")
            self._pending.clear()
            self._backlog = 0
            self._idle.set()

    async def _write_batch(self) -> None:
        batch = [self._pending.popleft()]
        size = batch[0].size
        while self._pending and size + self._pending[0].size <= BATCH_BYTES:
            batch.append(self._pending.popleft())
            size += batch[-1].size
        await self._send({"type": "websocket.send", "text": SEPARATOR.join(packet.text for packet in batch)})
        self._backlog = max(0, self._backlog - size)

    def _wake_up(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
