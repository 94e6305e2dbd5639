"""A WebSocket protocol class for uvicorn that lets the node preset write to the transport.

    uvicorn app:app --ws realtime_preset_node.uvicorn:FastProtocol --ws-per-message-deflate false

or ``uvicorn.run(app, ws=FastProtocol, ws_per_message_deflate=False)``. It is uvicorn's own ``websockets-sansio``
implementation with one more entry in the ASGI scope; every other WebSocket endpoint of the application behaves as
before. Messages of the node preset are written past middleware that wraps ASGI `send`.

Where a client has negotiated compression, the preset's messages are sent uncompressed, which RFC 7692 allows for each
message. Without the second option uvicorn still keeps a compressor in memory for each connection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from ._inflow import message_text
from ._splitter import FrameSplitter
from ._transport_sink import EXTENSION

if TYPE_CHECKING:
    from websockets.http11 import Request

__all__ = ["FastProtocol"]


class FastProtocol(WebSocketsSansIOProtocol):
    """uvicorn's ``websockets-sansio`` protocol that gives the application its transport and its messages."""

    _receive: Callable[[Sequence[str]], None] | None = None
    _splitter: FrameSplitter | None = None
    _reading_paused = False

    def handle_connect(self, event: Request) -> None:
        """Add the access to the scope. The application's task, which this creates, has not begun yet."""
        super().handle_connect(event)
        if self.response.status_code == 101:
            extensions = cast("dict[str, Any]", self.scope.get("extensions"))
            extensions[EXTENSION] = {"transport": self.transport, "writable": self.writable, "reading": self}

    def data_received(self, data: bytes) -> None:
        """Hand plain text messages over at once; give everything else to uvicorn, frame by frame."""
        if self._splitter is None or self._receive is None:
            # A client may not send before it has our answer. Whose messages are with uvicorn already, stay there.
            is_request = not self.handshake_initiated and data.endswith(b"\r\n\r\n")
            super().data_received(data)
            self._splitter = FrameSplitter(self.config.ws_max_size) if is_request else None
            return
        texts: list[str] = []
        for part in self._splitter.split(data):
            if isinstance(part, str):
                texts.append(part)
                continue
            if texts:
                self._receive(texts)
                texts = []
            super().data_received(part)
        if texts and not self.close_sent:
            self._receive(texts)

    def send_receive_event_to_app(self) -> None:
        """Hand a message over that came in fragments, compressed or binary."""
        super().send_receive_event_to_app()
        if self._receive is None:
            return
        events = [self.queue.get_nowait() for _ in range(self.queue.qsize())]
        for event in events:
            if event["type"] == "websocket.receive":
                self._receive([message_text(event)])
            else:
                self.queue.put_nowait(event)
        if not self._reading_paused:
            self.resume_reading()

    def start_reading(self, receive: Callable[[Sequence[str]], None], /) -> bool:
        """Hand every message to `receive` from now on, unless uvicorn has some already."""
        if self._splitter is None:
            return False
        self._receive = receive
        return True

    def pause_reading(self) -> None:
        """Read no more for now."""
        self._reading_paused = True
        if not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        self._reading_paused = False
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
