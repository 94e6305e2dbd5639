"""Writing straight to a connection's transport, where the server gives access to it.

A server that can hands the connection over in the ASGI scope: ``scope["extensions"]["realtime_preset_node.transport"]``
is ``{"transport": asyncio.Transport, "writable": asyncio.Event}``, where the event is clear while the protocol is asked
to pause writing. `realtime_preset_node.uvicorn.FastProtocol` does so. Then a message costs one `transport.write` per
reader, with bytes that are made once: no task, no queue, no coroutine. Accepting and closing stay with ASGI `send`.
With a `Reading` as ``"reading"`` as well, messages come in without ASGI `receive`, which only tells the end.

The transport's own buffer is the backlog: while it is empty, a write goes to the network at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from ._sink import close_message

if TYPE_CHECKING:
    from starlette.types import Scope, Send

    from ._packet import Packet

__all__ = ["EXTENSION", "Reading", "TransportSink", "direct_reading", "transport_access"]

EXTENSION: Final = "realtime_preset_node.transport"
"""Where the access lies among the scope's extensions."""


class Reading(Protocol):
    """A connection that hands messages over in the moment in which they arrive."""

    def start_reading(self, receive: Callable[[Sequence[str]], None], /) -> bool:
        """Hand every message to `receive` from now on, or return False: then they all come from ASGI `receive`."""
        ...

    def pause_reading(self) -> None:
        """Read no more for now. What has been read may still come."""
        ...

    def resume_reading(self) -> None:
        """Read again."""
        ...


def direct_reading(scope: Scope) -> Reading | None:
    """Return what hands the connection's messages over, or None where the server has no such thing."""
    extensions = cast("dict[str, Any]", scope.get("extensions") or {})
    return cast("Reading | None", extensions.get(EXTENSION, {}).get("reading"))


def transport_access(scope: Scope) -> tuple[asyncio.Transport, asyncio.Event] | None:
    """Return the connection's transport and its event, or None where the server gives no access."""
    extensions = cast("dict[str, Any]", scope.get("extensions") or {})
    access = extensions.get(EXTENSION)
    return None if access is None else (access["transport"], access["writable"])


class TransportSink:
    """Writes to a transport.

    Args:
        transport: carries WebSocket frames after the handshake.
        writable: clear while the transport holds more than `high_water`, set when it holds little or is gone.
        send: the connection's ASGI `send`, for the end.
        high_water: bytes in the transport's buffer above which `drained` waits.
        max_backlog: bytes that may wait in it.
    """

    __slots__ = ("_closing", "_max_backlog", "_send", "_transport", "_writable", "closing")

    def __init__(
        self,
        transport: asyncio.Transport,
        writable: asyncio.Event,
        send: Send,
        *,
        high_water: int,
        max_backlog: int,
    ) -> None:
        self.closing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done as soon as somebody asked to close."""
        self._transport = transport
        self._writable = writable
        self._send = send
        self._max_backlog = max_backlog
        self._closing: tuple[int, str] | None = None
        transport.set_write_buffer_limits(high=high_water)

    @property
    def transport(self) -> asyncio.Transport | None:
        """What takes WebSocket frames, until this is closed."""
        return None if self._closing is not None else self._transport

    @property
    def backlog(self) -> int:
        """Bytes in the transport's buffer."""
        return self._transport.get_write_buffer_size()

    def write(self, packet: Packet, /) -> bool:
        """Write to the transport, unless the connection is closing: nothing may follow a close frame."""
        transport = self._transport
        if self._closing is not None or transport.is_closing():
            return True
        waiting = transport.get_write_buffer_size()
        if waiting and waiting + packet.size > self._max_backlog:
            return False
        transport.write(packet.wire)
        return True

    def close(self, code: int, reason: str, /, *, discard: bool) -> None:
        """Close after what is in the buffer.

        It cannot be taken out again, not even with `discard`: a frame may be half written. What the client does not
        take in time is dropped together with the connection.
        """
        if self._closing is None:
            self._closing = (code, reason)
            self.closing.set_result(None)

    async def drained(self) -> None:
        """Wait until the buffer is nearly empty, or the connection is gone."""
        await self._writable.wait()

    async def run(self) -> None:
        """Wait until closed and send the close frame. Cancelled while it waits to send, it drops the connection."""
        try:
            await asyncio.wait([self.closing])  # awaited itself, it would be cancelled together with the task
            if self._closing is not None:
                await self._send(close_message(*self._closing))
        except (OSError, RuntimeError):
            pass  # how ASGI servers say that the client is gone; the reader hears it too, with the close code
        except asyncio.CancelledError:
            if self._closing is not None:
                self._transport.abort()
            raise
