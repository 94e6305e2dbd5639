"""A list of todos beside a realtime server: `nicegui` serves it as a NiceGUI page, `react` as a ReactPy page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast
from uuid import uuid4

from nicegui import ui
from reactpy import component, html
from reactpy.config import REACTPY_ASYNC_RENDERING
from reactpy.executors.asgi import ReactPy
from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from tanstack_db import Transaction, create_collection
from tanstack_db.react import DBProvider, use_live_query
from tanstack_realtime import Channel, RealtimeClient, create_realtime_client, realtime_collection_options
from tanstack_realtime.nicegui import RealtimePage
from tanstack_realtime.react import RealtimeProvider
from tanstack_realtime.server import Permissions, Realtime


@dataclass(frozen=True)
class Todo:
    id: str
    text: str
    done: bool = False


database = {"1": Todo("1", "write docs")}
fetches = 0


async def fetch() -> list[Todo]:
    global fetches  # noqa: PLW0603 -- the tests ask for it
    fetches += 1
    return list(database.values())


async def save(transaction: Transaction[Todo]) -> Todo:
    todo = transaction.mutations[0].modified
    if todo.text == "refuse this":
        raise ValueError("refused")
    database[todo.id] = todo
    return todo


async def remove(transaction: Transaction[Todo]) -> None:
    del database[transaction.mutations[0].original.id]


todos = create_collection(
    realtime_collection_options(
        id="todos",
        schema=Todo,
        get_key=lambda todo: todo.id,
        channel=lambda: ("todos", {}),
        query_fn=fetch,
        on_insert=save,
        on_update=save,
        on_delete=remove,
    )
)


def nobody(_: HTTPConnection) -> str | None:
    """Nobody connects from outside; the pages connect in process."""
    return None


def authorize(_user_id: str, channel: Channel) -> Permissions:
    granted = channel.namespace == "todos"
    return Permissions(subscribe=granted, publish=granted)


realtime = Realtime(authorize=authorize, get_user=nobody, preset="node")


def connect() -> RealtimeClient:
    return create_realtime_client(transport=realtime.local_transport(user_id="ann"))


@ui.page("/")
def todo_page() -> None:
    live = RealtimePage(connect)
    mine = live.collection(todos)
    live.show_status(ui.label().classes("status").set_text)
    draft = ui.input("Todo").props("id=draft")

    def add() -> None:
        mine.insert(Todo(uuid4().hex, draft.value or ""))
        draft.value = ""

    ui.button("add", on_click=add).props("id=add")

    @live.list(lambda q: q.from_(todos).order_by("text"))
    def todo(row: Todo) -> None:
        with ui.row().classes("todo"):
            ui.label(f"{row.text}{', done' if row.done else ''}")
            ui.button("toggle", on_click=lambda: mine.update(row.id, done=not row.done))
            ui.button("remove", on_click=lambda: mine.delete(row.id))


@component
def TodoTexts() -> Any:
    return html.ul(*(html.li({"key": todo.id}, todo.text) for todo in use_live_query(todos)))


@component
def ReactPage() -> Any:
    return DBProvider(RealtimeProvider(TodoTexts(), client=connect))


async def counted(_: Request) -> Response:
    return JSONResponse({"fetches": fetches, "connections": realtime.statistics().connections})


shared = [Mount("/_realtime", realtime), Route("/counted", counted)]
REACTPY_ASYNC_RENDERING.current = False  # as docs/bindings.md says
react = Starlette(routes=[*shared, Mount("/", ReactPy(ReactPage))])
nicegui = Starlette(routes=shared)
cast("Any", ui).run_with(nicegui, show_welcome_message=False)
