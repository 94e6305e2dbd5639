"""The application. Start it with ``uvicorn chat.server.app:app``, or with ``python -m chat``."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs

from reactpy.config import REACTPY_ASYNC_RENDERING
from reactpy.executors.asgi import ReactPy
from starlette.applications import Starlette
from starlette.datastructures import QueryParams
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from tanstack_realtime import RealtimeClient, create_realtime_client
from tanstack_realtime.server import Realtime
from tanstack_start import as_user

from ..page import HEAD, make_page
from ..rooms import PEOPLE
from . import archive
from .realtime_auth import authorize, validate

__all__ = ["app"]

# ReactPy 2 renders in parallel and sends what is ready in any order: on a busy server an older picture may come last.
REACTPY_ASYNC_RENDERING.current = False

# Nobody connects from outside: the pages render here, and each window's client is in this process. It is mounted all
# the same, for providers that ask the application who may do what.
realtime = Realtime(
    authorize=authorize,
    validate=validate,
    get_user=lambda connection: None,
    channels={"chat": {"room_id"}, "chat:typing": {"room_id"}},
)


def connect(user_id: str) -> RealtimeClient:
    return create_realtime_client(transport=realtime.local_transport(user_id=user_id))


class SignedIn:
    """Says who a window belongs to, for all that runs for it: the address does (``/?as=ann``).

    A real application looks its session up here. It is not to be believed, so a stranger is nobody.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        page = QueryParams(scope.get("query_string", b"")).get("qs", "")
        user_id = parse_qs(page.removeprefix("?")).get("as", [""])[0]
        with as_user(user_id if user_id in PEOPLE else None):
            await self._app(scope, receive, send)


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncGenerator[None]:
    await archive.create_tables()
    async with realtime:
        yield


app = Starlette(
    routes=[
        Mount("/_realtime", realtime),
        Mount("/static", StaticFiles(directory=Path(__file__).parent.parent / "static")),
        Mount("/", SignedIn(ReactPy(make_page(connect), html_head=HEAD))),
    ],
    lifespan=lifespan,
)
