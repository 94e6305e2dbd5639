"""The application: server functions, realtime and the web page side by side.

Start it with ``uvicorn todos.server.app:app``, or with ``python -m todos``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from reactpy.config import REACTPY_ASYNC_RENDERING
from reactpy.executors.asgi import ReactPy
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from tanstack_db import default_client
from tanstack_realtime import RealtimeClient, create_realtime_client
from tanstack_realtime.server import Realtime
from tanstack_start import ServerFunctions

from .. import db
from ..web.page import HEAD, make_page
from .functions import todos
from .realtime_auth import authorize
from .session import SignedIn
from .users import get_user

__all__ = ["app"]

# ReactPy 2 renders in parallel and sends what is ready in any order: on a busy server an older picture may come last.
REACTPY_ASYNC_RENDERING.current = False

realtime = Realtime(authorize=authorize, get_user=get_user)
functions = ServerFunctions(todos, get_user=get_user)


def connect(user_id: str) -> RealtimeClient:
    """Make the client of a window. It is in this process: the page renders here."""
    return create_realtime_client(transport=realtime.local_transport(user_id=user_id))


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncGenerator[None]:
    await db.create_tables()
    yield
    await realtime.aclose()
    await default_client().close()
    await db.dispose()


app = Starlette(
    routes=[
        Mount("/_realtime", realtime),
        Mount("/functions", functions),
        Mount("/static", StaticFiles(directory=Path(__file__).parent.parent / "static")),
        # Last, since it answers everything else. Without retries at ever longer intervals a server that is back stays
        # unnoticed for a minute.
        Mount("/", SignedIn(ReactPy(make_page(connect), html_head=HEAD, reconnect_max_interval=3000))),
    ],
    lifespan=lifespan,
)
