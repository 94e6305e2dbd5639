"""An application for several workers, each of which says who it is. Run by uvicorn; the preset is the environment's.

``WORKERS_REFUSED`` is a file with the users whom nobody lets in any more, and stands for a database; with
``WORKERS_LIFESPAN`` the application has a lifespan, in which it enters its `Realtime`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tanstack_realtime import Channel
from tanstack_realtime.server import Permissions, Realtime, bearer_token

REFUSED = Path(os.environ["WORKERS_REFUSED"])
HERE = str(os.getpid())


def authorize(user_id: str, channel: Channel) -> Permissions:
    known = channel.namespace == "news" and user_id not in REFUSED.read_text().split()
    return Permissions(subscribe=known, publish=known, presence=known)


realtime = Realtime(authorize=authorize, get_user=bearer_token, channels={"news": {"room"}})


async def act(request: Request) -> Response:
    """Publish or revoke, if the request has reached the worker that it is for."""
    order: dict[str, Any] = await request.json()
    if order["worker"] != HERE:
        return Response(status_code=421)
    channel = ("news", {"room": "1"})
    if "publish" in order:
        await realtime.publish(channel, order["publish"])
    else:
        await realtime.revoke(order["revoke"], channel)
    return Response(status_code=204)


@contextlib.asynccontextmanager
async def lifespan(_: Starlette) -> AsyncGenerator[None]:
    async with realtime:
        yield


class Signed:
    """Puts the worker's name on every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def signed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-worker", HERE.encode())]
            await send(message)

        await self._app(scope, receive, signed)


app = Signed(
    Starlette(
        routes=[Route("/act", act, methods=["POST"]), Mount("/_realtime", realtime)],
        lifespan=lifespan if os.environ.get("WORKERS_LIFESPAN") else None,
    )
)
