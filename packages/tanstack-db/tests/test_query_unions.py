"""Unions and `distinct`: what the builder makes of them, and what they show."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from tanstack_db import (
    Change,
    Collection,
    QueryBuilder,
    QueryError,
    UnknownColumnError,
    count,
    create_collection,
    live_query,
    local_only_collection_options,
)
from tanstack_db._base.ir import Call, Const, Ref


@dataclass(frozen=True)
class Todo:
    id: str
    project_id: str
    priority: int = 0


@dataclass(frozen=True)
class Note:
    id: str
    text: str


def table(name: str) -> Collection[Todo, str]:
    return create_collection(local_only_collection_options(id=name, schema=Todo, get_key=lambda todo: todo.id))


q = QueryBuilder()


async def test_rows_of_both_sources_with_keys_that_do_not_clash() -> None:
    todos, archived = table("todos"), table("archived")
    query = live_query(
        lambda q: q.union_all(todos, q.from_(archived).where(lambda t: t.priority > 0)).order_by("priority", "desc")
    )
    told: list[Change[Any, Any]] = []
    query.subscribe_changes(told.extend)
    todos.insert(Todo("1", "a", 5), Todo("2", "a", 1))
    archived.insert(Todo("1", "a", 3), Todo("3", "a"))

    assert query.get() == [Todo("1", "a", 5), Todo("1", "a", 3), Todo("2", "a", 1)]
    assert [(change.type, change.key) for change in told] == [
        ("insert", (0, "1")),
        ("insert", (0, "2")),
        ("insert", (1, "1")),
    ]
    todos.delete("1")
    assert query.get() == [Todo("1", "a", 3), Todo("2", "a", 1)]


async def test_a_union_is_a_source_like_any_other() -> None:
    todos, archived = table("todos"), table("archived")
    everything = q.union_all(todos, archived, todos)
    sizes = live_query(everything.group_by(lambda t: t.project_id).aggregate(lambda t: (t.project_id, count())))
    pairs = live_query(q.from_(todos).inner_join(q.union_all(archived), on=lambda t, a: t.id == a.id))
    wider = live_query(everything.inner_join(archived, on=lambda t, a: t.id == a.id).select(lambda t, a: (t, a)))
    with todos.client.batch():
        todos.insert(Todo("1", "a", 5), Todo("2", "b", 1))
        archived.insert(Todo("1", "a", 3))

    assert sizes.get() == [("a", 3), ("b", 2)]
    assert pairs.get() == [(Todo("1", "a", 5), Todo("1", "a", 3))]
    assert len(wider.get()) == 3


def test_conditions_are_tested_in_every_source_and_columns_are_checked() -> None:
    todos, archived = table("todos"), table("archived")
    united = q.union_all(todos, archived).where(project_id="a")
    assert united.ir.union
    assert united.ir.width == 1
    assert united.ir.where == (Call("eq", (Ref(0, ("project_id",)), Const("a"))),)
    with pytest.raises(UnknownColumnError, match=r"'todos' .*'projectid'"):
        q.union_all(todos, archived).where("projectid", "=", "a")

    # A column that only some rows have is no error, but absent from the others.
    notes = create_collection(local_only_collection_options(id="notes", schema=Note, get_key=lambda note: note.id))
    assert q.union_all(todos, notes).order_by("text").ir.order_by[0].expr == Ref(0, ("text",))
    with pytest.raises(QueryError, match="union_all takes the sources"):
        q.union_all()


async def test_a_union_that_keeps_one_of_equal_rows() -> None:  # f.2 37
    todos, archived = table("todos"), table("archived")
    query = live_query(lambda q: q.union(todos, archived))
    told: list[Change[Any, Any]] = []
    query.subscribe_changes(told.extend)
    one = Todo("1", "a")
    todos.insert(one)
    archived.insert(one)
    todos.delete("1")
    assert query.get() == [one]
    assert [change.type for change in told] == ["insert"]
    archived.update("1", priority=2)
    assert query.get() == [replace(one, priority=2)]


async def test_different_results_ordered_and_cut() -> None:  # f.2 37
    todos = table("todos")
    todos.insert(Todo("1", "b", 1), Todo("2", "a", 1), Todo("3", "b", 2), Todo("4", "c", 3))
    projects = q.from_(todos).select(lambda t: {"project": t.project_id}).distinct()
    first = live_query(projects.order_by("project", "desc").limit(2))
    number = live_query(projects.where("project", "!=", "c").aggregate(lambda p: count()))
    per_project = live_query(projects.inner_join(rows=todos, on=lambda p, t: p["project"] == t.project_id))
    told: list[Change[Any, Any]] = []
    first.subscribe_changes(told.extend)

    assert first.get() == [{"project": "c"}, {"project": "b"}]
    assert number.get() == 2
    assert len(per_project.get()) == 4
    todos.delete("1")
    assert not told, "the other row with it is still there"
    todos.delete("4")
    assert first.get() == [{"project": "b"}, {"project": "a"}]


async def test_different_rows_of_a_window() -> None:
    todos = table("todos")
    todos.insert(Todo("1", "a", 3), Todo("2", "a", 2), Todo("3", "b", 1))
    best = q.from_(todos).order_by("priority", "desc").limit(2).select(lambda t: t.project_id)

    assert live_query(best.distinct()).get() == ["a"]
    assert live_query(best.distinct().limit(1).distinct()).get() == ["a"]


def test_what_distinct_refuses() -> None:
    todos = table("todos")
    with pytest.raises(QueryError, match="every row of a collection is a different one"):
        q.from_(todos).distinct()
    with pytest.raises(QueryError, match="distinct after select\\(\\) would lose the order"):
        q.from_(todos).order_by("priority").select(lambda t: t.project_id).distinct()


def test_the_order_of_a_union_is_not_lost_in_silence() -> None:
    todos = table("todos")
    ordered = q.union_all(todos, todos).order_by("priority")
    with pytest.raises(QueryError, match="include after a union would lose the order"):
        ordered.include(lambda t: q.from_(kids=todos).where("id", "=", t.project_id))
    with pytest.raises(QueryError, match="join after a union would lose the order"):
        ordered.join(others=todos, on=lambda t, other: t.id == other.id)
