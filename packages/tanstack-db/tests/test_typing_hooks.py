"""What type checkers infer from the hooks and bindings, in every framework.

Both checkers read this file in `make types`; `assert_type` fails there. Nothing of it is rendered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, assert_type

from tanstack_db import (
    Change,
    Collection,
    DbClient,
    LiveQuery,
    Rows,
    Tx,
    collection_options,
    count,
    create_collection,
    flet,
    live_query,
    react,
    solara,
)
from tanstack_db.hooks import Transact
from tanstack_db.nicegui import LivePage
from tanstack_db.testing import ManualSource
from tanstack_db.textual import LiveMixin


@dataclass(frozen=True)
class Todo:
    id: str
    project_id: str
    text: str = ""


def todo_id(todo: Todo) -> str:
    return todo.id


todos = create_collection(collection_options(id="todos", schema=Todo, get_key=todo_id, sync=ManualSource[Todo, str]()))
rows = create_collection(
    collection_options(id="rows", get_key=lambda row: row["id"], sync=ManualSource[dict[str, Any], Any]())
)


async def save() -> None:
    raise NotImplementedError


def in_react(project_id: str) -> None:
    assert_type(react.use_live_query(todos), Rows[Todo])
    assert_type(react.use_live_query(lambda q: q.from_(todos)), Rows[Todo])
    assert_type(react.use_live_query(lambda q: q.from_(todos).where(lambda t: t.project_id == project_id)), Rows[Todo])
    assert_type(react.use_live_query(lambda q: q.from_(t=todos).where("t.project_id", "=", project_id)), Rows[Todo])
    assert_type(
        react.use_live_query(lambda q: q.from_(todos).order_by("text", "desc").limit(3), [project_id]), Rows[Todo]
    )
    assert_type(react.use_live_query(lambda q: q.from_(todos).find_one()), Todo | None)
    assert_type(react.use_live_query(lambda q: q.from_(todos).select(lambda t: t.text)), Rows[str])
    assert_type(react.use_live_query(lambda q: q.from_(todos).aggregate(lambda t: count())), int)
    joined = react.use_live_query(lambda q: q.from_(todos).join(todos, on=lambda a, b: a.id == b.id))
    assert_type(joined, Rows[tuple[Todo, Todo | None]])
    assert_type(react.use_live_query(live_query(lambda q: q.from_(todos))), Rows[Todo])
    assert_type(react.use_live_query(rows), Rows[dict[str, Any]])
    assert_type(react.use_collection(todos), Collection[Todo, str])
    assert_type(react.use_client(), DbClient)
    transact = react.use_transact()
    assert_type(transact, Transact)
    assert_type(transact(lambda tx: tx.insert(todos, Todo("1", project_id)), save), Tx)


def in_solara(project_id: str) -> None:
    assert_type(solara.use_live_query(todos), Rows[Todo])
    assert_type(solara.use_live_query(lambda q: q.from_(todos).where(lambda t: t.project_id == project_id)), Rows[Todo])
    assert_type(solara.use_live_query(lambda q: q.from_(t=todos).where("t.project_id", "=", project_id)), Rows[Todo])
    assert_type(solara.use_live_query(lambda q: q.from_(todos).find_one(), [project_id]), Todo | None)
    assert_type(solara.use_collection(todos), Collection[Todo, str])
    assert_type(solara.use_client(), DbClient)
    assert_type(solara.use_transact()(lambda tx: tx.delete(todos, "1"), save), Tx)


def in_flet(project_id: str) -> None:
    assert_type(flet.use_live_query(todos), Rows[Todo])
    assert_type(flet.use_live_query(lambda q: q.from_(todos).where(lambda t: t.project_id == project_id)), Rows[Todo])
    assert_type(flet.use_live_query(lambda q: q.from_(t=todos).where("t.project_id", "=", project_id)), Rows[Todo])
    assert_type(flet.use_live_query(lambda q: q.from_(todos).find_one(), [project_id]), Todo | None)
    assert_type(flet.use_collection(todos), Collection[Todo, str])
    assert_type(flet.use_client(), DbClient)
    assert_type(flet.use_transact()(lambda tx: tx.delete(todos, "1"), save), Tx)


def in_nicegui() -> None:
    page = LivePage()
    assert_type(page.collection(todos), Collection[Todo, str])
    assert_type(page.transact(lambda tx: tx.delete(todos, "1"), save), Tx)

    def show_all(shown: Rows[Todo]) -> None:
        raise NotImplementedError

    def show_one(todo: Todo) -> None:
        raise NotImplementedError

    assert_type(page.follow(todos, show_all), LiveQuery[Rows[Todo]])
    assert_type(page.follow(lambda q: q.from_(todos).aggregate(lambda t: count()), lambda n: n + 1), LiveQuery[int])
    assert_type(page.show(lambda q: q.from_(todos).order_by("text"))(show_all), LiveQuery[Rows[Todo]])
    assert_type(page.list(lambda q: q.from_(todos).order_by("text"))(show_one), LiveQuery[Rows[Todo]])


def in_textual(widget: LiveMixin) -> None:
    def show_all(shown: Rows[Todo]) -> None:
        raise NotImplementedError

    def apply(changes: Sequence[Change[Todo, Any]]) -> None:
        raise NotImplementedError

    assert_type(widget.show_live(todos, show_all), LiveQuery[Rows[Todo]])
    assert_type(widget.show_live(lambda q: q.from_(todos).find_one(), print), LiveQuery[Todo | None])
    assert_type(widget.follow_live(lambda q: q.from_(todos).order_by("text"), apply), LiveQuery[Rows[Todo]])


def test_the_names_are_there() -> None:
    names = ["use_live_query", "use_collection", "use_transact", "use_client", "DBProvider"]
    for module in (react, solara, flet):
        assert [name for name in names if name not in module.__all__] == []
