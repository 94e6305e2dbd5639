"""The server of test_pyodide.py: ``uvicorn wasm_app:app``. Its rows are in the SQLite file that TODOS names.

It gives away the page of docs/browser.md and what that asks for: Pyodide, and the wheels in the folder WHEELS.
"""

from __future__ import annotations

import os
import re
import sqlite3
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from tanstack_realtime import Channel
from tanstack_realtime.server import Permissions, Realtime, bearer_token

HERE = Path(__file__).parent
TEXT = (HERE.parent / "docs" / "browser.md").read_text(encoding="utf-8")
WHEELS = Path(os.environ["WHEELS"])

database = sqlite3.connect(os.environ["TODOS"], isolation_level=None)
database.execute("create table if not exists todos (id text primary key, project_id text, text text)")


def block(language: str) -> str:
    """Return the one block of the documentation in a language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)
    return str(found)


def get_user(connection: HTTPConnection) -> str | None:
    return bearer_token(connection) or connection.cookies.get("user")


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


def show_page(_: Request) -> Response:
    response = HTMLResponse(block("html"))
    response.set_cookie("user", "ann", samesite="strict", httponly=True)
    return response


def list_wheels(_: Request) -> Response:
    return JSONResponse(sorted(path.name for path in WHEELS.iterdir()))


def show_program(_: Request) -> Response:
    return PlainTextResponse(block("python"))


app = Starlette(
    routes=[
        Mount("/_realtime", Realtime(authorize=authorize, get_user=get_user, preset="node")),
        Route("/todos/{project_id}", list_todos),
        Route("/todos", add_todo, methods=["POST"]),
        Route("/", show_page),
        Route("/page.py", show_program),
        Route("/wheels.json", list_wheels),
        Mount("/wheels", StaticFiles(directory=WHEELS)),
        Mount("/pyodide", StaticFiles(directory=HERE / "wasm" / "node_modules" / "pyodide")),
    ]
)
