"""The collections. Their type is all that makes the application live."""

from __future__ import annotations

from tanstack_db import Transaction, create_collection
from tanstack_realtime import realtime_collection_options

from .schemas import Todo
from .server.functions.todos import add_todo, delete_todo, get_todos, update_todo

__all__ = ["todos"]


async def on_insert(transaction: Transaction[Todo]) -> Todo:
    todo = transaction.mutations[0].modified
    return await add_todo(project_id=todo.project_id, text=todo.text)


async def on_update(transaction: Transaction[Todo]) -> Todo:
    todo = transaction.mutations[0].modified
    return await update_todo(todo_id=todo.id, text=todo.text, completed_at=todo.completed_at)


async def on_delete(transaction: Transaction[Todo]) -> None:
    await delete_todo(todo_id=transaction.mutations[0].original.id)


todos = create_collection(
    realtime_collection_options(
        id="todos",
        schema=Todo,
        get_key=lambda todo: todo.id,
        channel=lambda project_id: ("todos", {"project_id": project_id}),
        query_fn=get_todos,
        version=lambda todo: todo.version,
        on_insert=on_insert,
        on_update=on_update,
        on_delete=on_delete,
    )
)
