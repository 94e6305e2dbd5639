"""A WebSocket protocol class for uvicorn that lets the node preset write to the transport.

    uvicorn app:app --ws realtime_preset_node.uvicorn:FastProtocol --ws-per-message-deflate false

or ``uvicorn.run(app, ws=FastProtocol, ws_per_message_deflate=False)``. It is uvicorn's own ``websockets-sansio``
implementation with one more entry in the ASGI scope; every other WebSocket endpoint of the application behaves as
before. Messages of the node preset are written past middleware that wraps ASGI `send`.

Where a client has negotiated compression, the preset's messages are sent uncompressed, which RFC 7692 allows for each
message. Without the second option uvicorn still keeps a compressor in memory for each connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from ._transport_sink import EXTENSION

if TYPE_CHECKING:
    from websockets.http11 import Request

__all__ = ["FastProtocol"]


class FastProtocol(WebSocketsSansIOProtocol):
    """uvicorn's ``websockets-sansio`` protocol that gives the application its transport."""

    def handle_connect(self, event: Request) -> None:
        """Add the access to the scope. The application's task, which this creates, has not begun yet."""
        super().handle_connect(event)
        if self.response.status_code == 101:
            extensions = cast("dict[str, Any]", self.scope.get("extensions"))
            extensions[EXTENSION] = {"transport": self.transport, "writable": self.writable}
