"""What test_pyodide.py runs in Pyodide: it shows a project's todos, and does as it is told."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from wasm_todos import Todo, connect_todos

from tanstack_db import live

__all__ = ["run"]


async def run(url: str, token: str, next_line: Callable[[], Awaitable[str]], emit: Callable[[str], object]) -> None:
    """Take commands until there are no more: ``{"add": text}``.

    Emits ``{"rows": [...]}`` and ``{"status": ...}`` at each change, and what came of a command.
    """

    def tell(**what: Any) -> None:
        emit(json.dumps(what))

    client, todos = connect_todos(url, token)

    async def show() -> None:
        async for rows in live(
            lambda q: q.from_(todos).where(lambda t: t.project_id == "p1").order_by(lambda t: t.id), client=client.db
        ):
            tell(rows=[todo.text for todo in rows], error=rows.error and repr(rows.error))

    async def add(text: str) -> None:
        transaction = todos.insert(Todo(id=text, project_id="p1", text=text))
        try:
            await transaction.persisted()
        except ValueError as error:
            tell(failed=text, error=str(error))
        else:
            tell(saved=text)

    stop = client.store.subscribe(lambda state: tell(status=state.status))
    async with asyncio.TaskGroup() as tasks:
        showing = tasks.create_task(show())
        client.connect()
        while line := await next_line():
            tasks.create_task(add(json.loads(line)["add"]))
        showing.cancel()
    stop()
    await client.close()
    await client.db.close()
    others = [str(task) for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    strangers = sorted({name.partition(".")[0] for name in sys.modules} & {"websockets", "httpx", "starlette"})
    tell(left=others, modules=strangers)
