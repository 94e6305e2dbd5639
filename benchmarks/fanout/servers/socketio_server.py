"""python-socketio on uvicorn: one room, and an event that is emitted to it."""

from __future__ import annotations

import sys
from typing import Any

import socketio  # type: ignore[import-untyped]
import uvicorn

sio: Any = socketio.AsyncServer(async_mode="asgi", cors_allowed_origins="*", ping_interval=600)


async def subscribe(sid: str, _data: object) -> None:
    """Let a client into the room."""
    await sio.enter_room(sid, "news")
    await sio.emit("ready", to=sid)


async def other(sid: str, _data: object) -> None:
    """Answer a client that stays outside."""
    await sio.emit("ready", to=sid)


async def publish(_sid: str, data: object) -> None:
    """Tell the room."""
    await sio.emit("message", data, room="news")


sio.on("subscribe", subscribe)
sio.on("other", other)
sio.on("publish", publish)
uvicorn.run(
    socketio.ASGIApp(sio),
    port=int(sys.argv[1]),
    ws="websockets-sansio",
    ws_per_message_deflate=False,
    ws_ping_interval=None,
    log_level="warning",
    loop="asyncio",
    backlog=4096,
)
