"""The servers: the application on a preset, or a bare `websockets` echo.

`python server.py PRESET PORT`, where the preset is ``node``, ``centrifugo`` or ``echo``.
"""

from __future__ import annotations

import asyncio
import logging
import math
import sys
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from websockets.asyncio.server import ServerConnection, serve

from realtime_preset_node import ConnectionLimits, NodePreset
from realtime_preset_node.uvicorn import FastProtocol
from tanstack_realtime import Channel
from tanstack_realtime.server import Permissions, Realtime, bearer_token


def authorize(user_id: str, channel: Channel) -> Permissions:
    """Everybody may read and write notes."""
    known = channel.namespace == "notes"
    return Permissions(subscribe=known, publish=known)


def application(preset: str, port: int) -> None:
    """Serve the application as the preset's README says."""
    # The limits are checked as usual, and out of reach: the writer is one user who writes as fast as it goes.
    limits = ConnectionLimits(rate=1e9, burst=10**9)
    realtime = Realtime(
        authorize=authorize,
        get_user=bearer_token,
        channels={"notes": {"room"}},
        preset=NodePreset(limits=limits) if preset == "node" else preset,
        publish_rate=math.inf,
    )
    app = Starlette(routes=[Mount("/_realtime", realtime)])
    # The same loop as the echo's: uvicorn would take uvloop where that is installed.
    options: dict[str, Any] = {"ws": FastProtocol, "ws_per_message_deflate": False, "loop": "asyncio"}
    uvicorn.run(app, port=port, log_level="warning", access_log=False, **options)


async def echo(port: int) -> None:
    """Send what one client sends to all clients, itself included, as the hub of a preset does."""
    connections: set[ServerConnection] = set()

    async def handler(connection: ServerConnection) -> None:
        connections.add(connection)
        async for message in connection:
            for each in connections:
                await each.send(message)

    # Who asks whether it listens connects and goes, of which it would tell.
    logging.getLogger("websockets.server").setLevel(logging.CRITICAL)
    async with serve(handler, "127.0.0.1", port, compression=None) as server:
        await server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1] == "echo":
        asyncio.run(echo(int(sys.argv[2])))
    else:
        application(sys.argv[1], int(sys.argv[2]))
