"""The application that test_node_sockets.py starts as a process of its own: ``uvicorn node_app:app``."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.routing import Mount

from tanstack_realtime import Channel
from tanstack_realtime.server import Permissions, Realtime, bearer_token


def authorize(user_id: str, channel: Channel) -> Permissions:
    """Everybody with a token may chat."""
    return Permissions(subscribe=channel.namespace == "chat", publish=channel.namespace == "chat")


app = Starlette(routes=[Mount("/_realtime", Realtime(authorize=authorize, get_user=bearer_token, preset="node"))])
