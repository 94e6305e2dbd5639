"""What tutorials show: a list of sockets, and a loop that sends to each of them."""

from __future__ import annotations

import sys

import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

subscribers: list[WebSocket] = []


async def endpoint(socket: WebSocket) -> None:
    """Serve one client. Its first message tells what it is."""
    await socket.accept()
    try:
        if await socket.receive_text() == "subscribe":
            subscribers.append(socket)
        await socket.send_text("ready")
        while True:
            text = await socket.receive_text()
            for subscriber in subscribers:
                await subscriber.send_text(text)
    except WebSocketDisconnect:
        if socket in subscribers:
            subscribers.remove(socket)


uvicorn.run(
    Starlette(routes=[WebSocketRoute("/ws", endpoint)]),
    port=int(sys.argv[1]),
    ws="websockets-sansio",
    ws_per_message_deflate=False,
    ws_ping_interval=None,
    log_level="warning",
    loop="asyncio",
    backlog=4096,
)
