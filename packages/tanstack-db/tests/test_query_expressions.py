"""What lambdas become: one tree for each operator and method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import pytest

from tanstack_db import Collection, QueryBuilder, col, create_collection, local_only_collection_options
from tanstack_db._base.ir import Call, Const, Ref


@dataclass
class Place:
    city: str
    lower: str


@dataclass
class Todo:
    id: str
    project_id: str
    text: str
    priority: int = 0
    done: bool = False
    completed_at: datetime | None = None
    place: Place | None = None

    @property
    def title(self) -> str:
        return self.text.title()

    @cached_property
    def words(self) -> int:
        return len(self.text.split())


todos: Collection[Todo, Any] = create_collection(
    local_only_collection_options(id="todos", schema=Todo, get_key=lambda row: row.id)
)


def condition(function: Callable[[Any], Any]) -> Any:
    (term,) = QueryBuilder().from_(todos).where(function).ir.where
    return term


def eq(column: str, value: Any) -> Call:
    return Call("eq", (Ref(0, tuple(column.split("."))), Const(value)))


EXPRESSIONS: list[tuple[Callable[[Any], Any], Any]] = [
    (lambda t: t.done, Ref(0, ("done",))),
    (lambda t: t["done"], Ref(0, ("done",))),
    (lambda t: t.title == "X", eq("title", "X")),
    (lambda t: t.words == 2, eq("words", 2)),
    (lambda t: t.place.city == "Rome", eq("place.city", "Rome")),
    (lambda t: t.place["lower"] == "x", eq("place.lower", "x")),
    (lambda t: "p" == t.project_id, eq("project_id", "p")),  # noqa: SIM300
    (lambda t: 3 < t.priority, Call("gt", (Ref(0, ("priority",)), Const(3)))),  # noqa: SIM300
    (lambda t: t.priority != 3, Call("ne", (Ref(0, ("priority",)), Const(3)))),
    (lambda t: t.priority <= t.words, Call("le", (Ref(0, ("priority",)), Ref(0, ("words",))))),
    (lambda t: col(t.priority) >= 3, Call("ge", (Ref(0, ("priority",)), Const(3)))),
    (lambda t: ~col(t.done), Call("not", (Ref(0, ("done",)),))),
    (lambda t: t.done | ~t.done, Call("or", (Ref(0, ("done",)), Call("not", (Ref(0, ("done",)),))))),
    (lambda t: col(t.completed_at).is_none(), Call("is_none", (Ref(0, ("completed_at",)),))),
    (lambda t: col(t).is_none(), Call("is_none", (Ref(0),))),
    (lambda t: col(t.priority).one_of((1, 2)), Call("in", (Ref(0, ("priority",)), Const(frozenset({1, 2}))))),
    (lambda t: col(t.priority).one_of(range(2)), Call("in", (Ref(0, ("priority",)), Const(frozenset({0, 1}))))),
    (lambda t: col(t.priority).between(1, 3), Call("between", (Ref(0, ("priority",)), Const(1), Const(3)))),
    (lambda t: t.text.startswith("a"), Call("startswith", (Ref(0, ("text",)), Const("a")))),
    (lambda t: t.text.endswith(t.id), Call("endswith", (Ref(0, ("text",)), Ref(0, ("id",))))),
    (lambda t: col(t.text).contains("a"), Call("contains", (Ref(0, ("text",)), Const("a")))),
    (lambda t: col(t.text).like("a_%"), Call("like", (Ref(0, ("text",)), Const("a_%")))),
    (lambda t: t.text.lower() == "a", Call("eq", (Call("lower", (Ref(0, ("text",)),)), Const("a")))),
    (lambda t: t.text.upper() == "A", Call("eq", (Call("upper", (Ref(0, ("text",)),)), Const("A")))),
    (lambda t: col(t.text).length() > 3, Call("gt", (Call("length", (Ref(0, ("text",)),)), Const(3)))),
    (
        lambda t: col(t.text).coalesce("") == "",
        Call("eq", (Call("coalesce", (Ref(0, ("text",)), Const(""))), Const(""))),
    ),
    (lambda t: t.priority + 1 == 2, Call("eq", (Call("add", (Ref(0, ("priority",)), Const(1))), Const(2)))),
    (lambda t: 1 - t.priority == 2, Call("eq", (Call("sub", (Const(1), Ref(0, ("priority",)))), Const(2)))),
    (lambda t: t.priority - 1 == 2, Call("eq", (Call("sub", (Ref(0, ("priority",)), Const(1))), Const(2)))),
    (lambda t: 2 * t.priority == 2, Call("eq", (Call("mul", (Const(2), Ref(0, ("priority",)))), Const(2)))),
    (lambda t: t.priority * 2 == 2, Call("eq", (Call("mul", (Ref(0, ("priority",)), Const(2))), Const(2)))),
    (lambda t: 1 + t.priority == 2, Call("eq", (Call("add", (Const(1), Ref(0, ("priority",)))), Const(2)))),
    (lambda t: t.priority / 2 == 2, Call("eq", (Call("div", (Ref(0, ("priority",)), Const(2))), Const(2)))),
    (lambda t: 4 / t.priority == 2, Call("eq", (Call("div", (Const(4), Ref(0, ("priority",)))), Const(2)))),
    (lambda t: t.priority // 2 == 2, Call("eq", (Call("floordiv", (Ref(0, ("priority",)), Const(2))), Const(2)))),
    (lambda t: 4 // t.priority == 2, Call("eq", (Call("floordiv", (Const(4), Ref(0, ("priority",)))), Const(2)))),
    (lambda t: t.priority % 2 == 2, Call("eq", (Call("mod", (Ref(0, ("priority",)), Const(2))), Const(2)))),
    (lambda t: 4 % t.priority == 2, Call("eq", (Call("mod", (Const(4), Ref(0, ("priority",)))), Const(2)))),
    (lambda t: -t.priority == 2, Call("eq", (Call("neg", (Ref(0, ("priority",)),)), Const(2)))),
]


@pytest.mark.parametrize(("function", "tree"), EXPRESSIONS)
def test_expressions(function: Callable[[Any], Any], tree: Any) -> None:
    assert condition(function) == tree


def test_values_that_cannot_be_hashed() -> None:
    rows = [["a"], ["b"]]
    term = condition(lambda t: col(t.text).one_of(rows))
    assert term.args[1].value == (["a"], ["b"])


def test_long_conditions_are_flat() -> None:
    def any_of(row: Any) -> Any:
        found = row.priority == 0
        for number in range(1, 3000):
            found = found | (row.priority == number)
        return found

    term = condition(any_of)
    assert term.op == "or"
    assert len(term.args) == 3000
    both = condition(lambda t: (t.done | t.title.startswith("a")) | ((t.words == 1) | t.text.endswith("b")))
    assert term.args[:2] == (eq("priority", 0), eq("priority", 1))
    assert len(both.args) == 4
