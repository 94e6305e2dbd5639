"""The node preset, with everything on: authorization, numbered messages, history, bounded readers."""

from __future__ import annotations

import sys
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from realtime_preset_node import ConnectionLimits, NodePreset
from realtime_preset_node.uvicorn import FastProtocol
from tanstack_realtime import Channel
from tanstack_realtime.server import Permissions, Realtime, bearer_token

EVERYTHING, NOTHING = Permissions(subscribe=True, publish=True), Permissions()


def authorize(user_id: str, channel: Channel) -> Permissions:
    """Everybody may do everything on the two channels of the benchmark."""
    return EVERYTHING if channel.namespace in ("news", "other") else NOTHING


# The load generator answers no pings, hence the long heartbeat. The limits are checked as usual: all connections are
# one user's, and the publisher sends more than one may.
limits = ConnectionLimits(connections_per_user=10_000, rate=1e9, burst=10**9)
realtime = Realtime(authorize=authorize, get_user=bearer_token, preset=NodePreset(limits=limits, heartbeat=600))
app = Starlette(routes=[Mount("/_realtime", realtime)])
protocol: Any = FastProtocol if sys.argv[2] == "fast" else "websockets-sansio"
uvicorn.run(
    app,
    port=int(sys.argv[1]),
    ws=protocol,
    ws_per_message_deflate=False,
    ws_ping_interval=None,
    log_level="warning",
    loop="asyncio",
    backlog=4096,
)
