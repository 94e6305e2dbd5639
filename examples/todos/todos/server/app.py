"""The application: server functions and realtime side by side. Start it with ``uvicorn todos.server.app:app``."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import Mount

from tanstack_realtime.server import Realtime
from tanstack_start import ServerFunctions

from .. import db
from .functions import todos
from .realtime_auth import authorize
from .users import get_user

__all__ = ["app"]

realtime = Realtime(authorize=authorize, get_user=get_user)
functions = ServerFunctions(todos, get_user=get_user)


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncGenerator[None, None]:
    await db.create_tables()
    yield
    await realtime.aclose()
    await db.dispose()


app = Starlette(
    routes=[Mount("/_realtime", realtime), Mount("/functions", functions)],
    lifespan=lifespan,
)
