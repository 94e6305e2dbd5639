"""The server of test_pyodide.py: ``uvicorn wasm_app:app``. Its rows are in the SQLite file that TODOS names."""

from __future__ import annotations

import os
import sqlite3
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from tanstack_realtime import Channel
from tanstack_realtime.server import Permissions, Realtime, bearer_token

database = sqlite3.connect(os.environ["TODOS"], isolation_level=None)
database.execute("create table if not exists todos (id text primary key, project_id text, text text)")


def authorize(user_id: str, channel: Channel) -> Permissions:
    """Everybody with a token may read and write the project that is there."""
    granted = channel == Channel("todos", {"project_id": "p1"})
    return Permissions(subscribe=granted, publish=granted)


async def list_todos(request: Request) -> Response:
    rows = database.execute(
        "select id, project_id, text from todos where project_id = ?", [request.path_params["project_id"]]
    )
    return JSONResponse([dict(zip(("id", "project_id", "text"), row, strict=True)) for row in rows])


async def add_todo(request: Request) -> Response:
    todo: dict[str, Any] = await request.json()
    if todo["text"] == "spam":
        return JSONResponse({"error": "no spam here"}, 422)
    database.execute("insert into todos values (:id, :project_id, :text)", todo)
    return JSONResponse(todo)


app = Starlette(
    routes=[
        Mount("/_realtime", Realtime(authorize=authorize, get_user=bearer_token, preset="node")),
        Route("/todos/{project_id}", list_todos),
        Route("/todos", add_todo, methods=["POST"]),
    ]
)
