"""A collection of todos over a small HTTP interface: the same lines run in CPython and in Pyodide."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from tanstack_db import DbClient, Transaction
from tanstack_realtime import RealtimeClient, RealtimeCollection, create_realtime_client, realtime_collection_options
from tanstack_realtime._http import DefaultHttp

__all__ = ["Todo", "connect_todos"]


@dataclass(frozen=True)
class Todo:
    id: str
    project_id: str
    text: str


def connect_todos(url: str, token: str) -> tuple[RealtimeClient, RealtimeCollection[Todo, str]]:
    """Make a client of a server with wasm_app.py, and its collection of todos."""
    http = DefaultHttp()

    async def request(method: str, path: str, body: object = None) -> Any:
        text = None if body is None else json.dumps(body).encode()
        response = await http(method, f"{url}{path}", headers={"content-type": "application/json"}, body=text)
        if response.status != 200:
            raise ValueError(f"{method} {path} answered {response.status}")
        return json.loads(response.body)

    async def get_todos(project_id: str) -> list[Todo]:
        return [Todo(**row) for row in await request("GET", f"/todos/{project_id}")]

    async def on_insert(transaction: Transaction[Todo]) -> Todo:
        return Todo(**await request("POST", "/todos", asdict(transaction.mutations[0].modified)))

    db = DbClient()
    db.on_close(http.aclose)
    client = create_realtime_client(url, preset="node", get_token=lambda: token, db=db)
    todos = db.build(
        realtime_collection_options(
            id="todos",
            schema=Todo,
            get_key=lambda todo: todo.id,
            channel=lambda project_id: ("todos", {"project_id": project_id}),
            query_fn=get_todos,
            on_insert=on_insert,
        )
    )
    return client, todos
