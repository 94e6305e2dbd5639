"""What the type checkers see: the signature that was written. They check this file; a line that must not pass is marked
with an ignore, and both checkers report an ignore that hides nothing."""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import assert_type

from tanstack_start import FunctionsClient, ServerFunctions, connect_functions, current_user, server_fn


@dataclass
class Todo:
    id: str


@server_fn
async def add_todo(project_id: str, text: str = "") -> Todo:
    return Todo(project_id + text)


@server_fn(method="GET")
async def get_todos(project_id: str) -> list[Todo]:
    return [Todo(project_id)]


def use_query(query_fn: Callable[[str], Awaitable[list[Todo]]]) -> None: ...


async def accepted() -> None:
    assert_type(await add_todo("p", text="milk"), Todo)
    assert_type(await get_todos(project_id="p"), list[Todo])
    use_query(get_todos)
    ServerFunctions(add_todo, get_todos, get_user=lambda request: request.headers.get("x-user"), allowed_origins=["x"])
    assert_type(connect_functions("http://a", add_todo, get_token=lambda: None, headers={"a": "b"}), FunctionsClient)
    assert_type(current_user(), str | None)


async def refused() -> None:
    await add_todo(5)  # type: ignore[arg-type]
    await add_todo()  # type: ignore[call-arg]
    await add_todo("p", txt="x")  # type: ignore[call-arg]
    (await get_todos("p")).id  # type: ignore[attr-defined]  # noqa: B018
    use_query(add_todo)  # type: ignore[arg-type]
    ServerFunctions(add_todo)  # type: ignore[call-arg]
    ServerFunctions(add_todo, get_user=lambda request: 5)  # type: ignore[arg-type]
    server_fn(method="PUT")  # type: ignore[call-overload]


def not_async() -> None: ...


def refused_decorators() -> None:
    server_fn(not_async)  # type: ignore[arg-type]


def test_the_checkers_read_this_file() -> None:
    assert callable(accepted)
    assert callable(refused)
