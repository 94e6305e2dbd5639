"""Functions of columns, in both forms that the compiler makes of them; collected values; groups by plain functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

import pytest

from tanstack_db import (
    Collection,
    QueryBuilder,
    QueryError,
    case,
    col,
    collect,
    concat,
    count,
    create_collection,
    live_query,
    local_only_collection_options,
)
from tanstack_db._base.ir import ExprIR
from tanstack_db.query._compile import value
from tanstack_db.query._trace import Shape, values

ROW: dict[str, Any] = {
    "id": "1",
    "text": " Ab ",
    "n": -2.567,
    "at": datetime(2024, 2, 29, 13, 5, tzinfo=UTC),
    "none": None,
    "odd": [],
}

Function = Callable[[Any], Any]
CASES: list[tuple[Function, Any]] = [
    (lambda r: r["text"].strip(), "Ab"),
    (lambda r: r["text"].replace("A", "b").strip().upper(), "BB"),
    (lambda r: r["text"].ilike(" a_ "), True),
    (lambda r: r["text"].ilike("%B%"), True),
    (lambda r: r["text"].like("%B%"), False),
    (lambda r: r["none"].ilike("%"), None),
    (lambda r: r["odd"].ilike("%"), None),
    (lambda r: abs(r["n"]), 2.567),
    (lambda r: round(r["n"]), -3),
    (lambda r: round(r["n"], 1), -2.6),
    (lambda r: math.floor(r["n"]), -3),
    (lambda r: math.ceil(r["n"]), -2),
    (lambda r: abs(r["none"]), None),
    (lambda r: round(r["text"], 1), None),
    (lambda r: r["at"].date(), date(2024, 2, 29)),
    (lambda r: r["at"].time(), time(13, 5)),
    (lambda r: r["at"].weekday(), 3),
    (lambda r: r["at"].isoweekday(), 4),
    (lambda r: r["at"].strftime("%Y-%m"), "2024-02"),
    (lambda r: r["at"].year * 100 + r["at"].month, 202402),
    (lambda r: r["none"].date(), None),
    (lambda r: concat(r["id"], "-", r["none"], r["text"], 7, None), "1- Ab 7"),
    (lambda r: case((r["n"] > 0, "up"), (col(r["none"]) == 1, "never"), default="down"), "down"),
    (lambda r: case((r["n"] < 0, r["id"]), default=None), "1"),
    (lambda r: case((r["odd"] < 0, 1), (r["none"].is_none(), 2), default=3), 2),
]


def column_of(function: Function) -> ExprIR:
    (expr,) = values(function, [Shape("rows")], "select")
    return expr


@pytest.mark.parametrize(("function", "expected"), CASES)
def test_values(function: Function, expected: Any) -> None:
    compiled = value(column_of(function), sources=1, accessors=["item"])
    assert compiled(ROW) == expected
    # A row that does not fit the fast form is read by the total one, which agrees.
    total = value(column_of(lambda r: case((r["absent"] == 1, 0), default=function(r))), sources=1, accessors=["item"])
    assert total(ROW) == expected


def test_the_same_on_plain_values() -> None:
    assert concat("a", None, 1) == "a1"
    assert case((False, 1), (True, 2), default=3) == 2
    assert case((None, 1), default=3) == 3
    with pytest.raises(QueryError, match="takes the texts to join"):
        concat()
    with pytest.raises(QueryError, match="pairs of a condition and a value"):
        case(default=1)


@dataclass(frozen=True)
class Todo:
    id: str
    project_id: str
    text: str = ""
    points: int | None = None


def table() -> Collection[Todo, str]:
    return create_collection(local_only_collection_options(id="todos", schema=Todo, get_key=lambda todo: todo.id))


q = QueryBuilder()


async def test_collected_values_do_not_depend_on_the_order_of_arrival() -> None:
    todos = table()
    todos.insert(Todo("1", "a", points=3), Todo("2", "a", points=1), Todo("3", "a"), Todo("4", "a", points=3))
    query = live_query(
        q.from_(todos)
        .group_by("project_id")
        .aggregate(lambda t: (t.project_id, collect(t.points), collect(t.points, distinct=True), collect(t.id)))
    )
    told: list[object] = []
    query.subscribe_changes(told.append)
    assert query.get() == [("a", (1, 3, 3), (1, 3), ("1", "2", "3", "4"))]
    todos.update("1", points=2)
    assert query.get() == [("a", (1, 2, 3), (1, 2, 3), ("1", "2", "3", "4"))]
    todos.update("1", text="other")
    assert len(told) == 1, "a column that nobody collects"
    todos.delete("2", "3", "4")
    assert query.get() == [("a", (2,), (2,), ("1",))]
    rows = live_query(q.from_(todos).aggregate(lambda t: (collect(t), count())))
    assert rows.get() == ((Todo("1", "a", "other", 2),), 1)


async def test_groups_by_paths_and_plain_functions() -> None:
    todos = table()
    todos.insert(Todo("1", "a", "x"), Todo("2", "a", "y"), Todo("3", "b", "x"))
    query = live_query(
        q.from_(todos).group_by("project_id", "todos.text").select(total=len, ids=lambda rows: [r.id for r in rows])
    )
    assert [(row.project_id, row.text, row.total, row.ids) for row in query.get()] == [
        ("a", "x", 1, ["1"]),
        ("a", "y", 1, ["2"]),
        ("b", "x", 1, ["3"]),
    ]
    todos.update("2", text="x")
    assert [(row.project_id, row.total) for row in query.get()] == [("a", 2), ("b", 1)]
    many = live_query(
        q.from_(todos).group_by(lambda t: t.project_id).select(total=len).where("total", ">", 1).order_by("project_id")
    )
    assert [row.project_id for row in many.get()] == ["a"]
    pairs = q.from_(todos).inner_join(others=todos, on=lambda t, o: t.text == o.text)
    sizes = live_query(pairs.group_by("todos.project_id").select(ids=lambda rows: sorted(o.id for _, o in rows)))
    assert {row.project_id: row.ids for row in sizes.get()}["b"] == ["1", "2", "3"]


def test_what_groups_refuse() -> None:
    todos = table()
    with pytest.raises(QueryError, match="has no name that its group could have"):
        q.from_(todos).group_by(lambda t: t.text.lower()).select(total=len)
    with pytest.raises(QueryError, match="would be called 'text'"):
        q.from_(todos).group_by("text").select(text=len)
    with pytest.raises(QueryError, match="total must be a function of all rows"):
        q.from_(todos).group_by("text").select(total=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(QueryError, match="group_by takes columns"):
        q.from_(todos).group_by()  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    assert live_query(q.from_(todos).where("text", "ilike", "A%").aggregate(lambda t: count())).get() == 0
