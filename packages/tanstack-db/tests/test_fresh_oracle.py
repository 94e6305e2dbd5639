"""The third oracle: a query that has lived through a history shows what the same query shows when it is made anew.

That needs no second evaluation, so it takes everything: lists of children in lists of children, queries over queries
over queries, and columns in which numbers, texts, NaN, lists and null are mixed. What a fresh query shows is held by
`test_live_oracle` and `test_sqlite_oracle`.

``TANSTACK_DB_ORACLE_RUNS=20`` runs twenty times as many histories.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, TypeAlias

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tanstack_db import (
    Change,
    Collection,
    DbClient,
    LiveQuery,
    QueryBuilder,
    avg,
    col,
    collection_options,
    count,
    live_query,
    max_,
    min_,
    sum_,
)
from tanstack_db.testing import ManualSource, VirtualClockLoop, settle

RUNS = int(os.environ.get("TANSTACK_DB_ORACLE_RUNS", "1"))

Row: TypeAlias = dict[str, Any]
Tables: TypeAlias = Sequence[Collection[Row, Any]]
Make: TypeAlias = Callable[[Tables], Any]
"""Builds the same query over any tables."""

COLUMNS = ("a", "b")
# No two values that are equal and look different: which of them stands for a group is not said.
VALUES = (
    *(None, None, 0, 1, 2, -3, 0.5, float("nan"), float("inf"), Decimal("2.5"), 10**30),
    *("", "x", "X", "é", b"x", (1, 2), [1, 2], {"n": 1}),
    *(dt.date(2020, 1, 1), dt.datetime(2020, 1, 1), dt.datetime(2020, 1, 1, tzinfo=dt.UTC)),
)
KEYS = (1, 2, 3, 4, "k", "l")


# -- random queries ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Made:
    """A query.

    Attributes:
        make: builds it.
        arity: how many rows lambdas get.
        is_ordered: whether the result has an order.
        is_union: whether it is a union still: a join or an include then begins a new level, which has no order.
        text: how it was made.
    """

    make: Make
    arity: int = 1
    is_ordered: bool = False
    text: str = ""
    is_union: bool = False

    def then(self, clause: Callable[[Any], Any], text: str, *, is_ordered: bool = False) -> Made:
        """The same with one more clause of its level."""

        def make(tables: Tables) -> Any:
            return clause(self.make(tables))

        return replace(self, make=make, is_ordered=self.is_ordered or is_ordered, text=f"{self.text}.{text}")

    def level(self) -> Made:
        """The same as a source of its own, if it is a union."""
        make = self.make
        return Made(lambda t: QueryBuilder().from_(sub=make(t)), text=f"from({self.text})") if self.is_union else self


def cell(rows: Sequence[Any], place: int, name: str) -> Any:
    return col(rows[place % len(rows)][name])


@st.composite
def wheres(draw: st.DrawFn) -> Callable[..., Any]:
    place, name = draw(st.integers(0, 2)), draw(st.sampled_from(COLUMNS))
    value = draw(st.sampled_from([value for value in VALUES if value is not None]))
    tests: list[Callable[[Any], Any]] = [
        lambda it: it == value,
        lambda it: it != value,
        lambda it: it < value,
        lambda it: ~(it >= value),
        lambda it: it.is_none(),
        lambda it: it.one_of([value, 1]),
        lambda it: it.between(0, value),
        lambda it: (it + 1) > 1,
        lambda it: it.lower() == "x",
    ]
    test = draw(st.sampled_from(tests))
    is_negated = draw(st.booleans())

    def condition(*rows: Any) -> Any:
        found = test(cell(rows, place, name))
        return ~found if is_negated else found

    return condition


def has_several(group: Any) -> Any:
    return group["n"] > 1


def table_of(index: int) -> Made:
    return Made(lambda tables: QueryBuilder().from_(tables[index]), text=f"t{index}")


@st.composite
def queries(draw: st.DrawFn, depth: int = 2) -> Made:
    """A query of rows with the columns of a table, or of tuples of such rows."""
    made = table_of(draw(st.integers(0, 1))) if not depth else draw(queries(depth - 1))
    name, desc = draw(st.sampled_from(COLUMNS)), draw(st.booleans())
    nulls = draw(st.sampled_from(["first", "last"]))
    place, number = draw(st.integers(0, 2)), draw(st.sampled_from([0, 1, 2, 3]))
    make, text = made.make, made.text
    match draw(st.sampled_from(["where", "order", "window", "join", "union", "nested", "none"])):
        case "where":
            test = draw(wheres())
            return made.then(lambda query: query.where(test), "where")
        case "order":

            def term(*rows: Any) -> Any:
                return cell(rows, place, name)

            return made.then(lambda query: query.order_by(term, desc=desc, nulls=nulls), "order", is_ordered=True)
        case "window":
            return made.then(lambda query: query.limit(number + 1).offset(number // 2), "window", is_ordered=True)
        case "join" if made.arity == 1:
            kind = draw(st.sampled_from(["join", "inner_join", "right_join", "full_join"]))
            other = table_of(draw(st.integers(0, 1)))
            right, level = draw(st.sampled_from(["id", *COLUMNS])), made.level()

            def on(*rows: Any) -> Any:
                return rows[place % (len(rows) - 1)][name] == rows[-1][right]

            return Made(
                lambda t: getattr(level.make(t), kind)(on=on, other=other.make(t)),
                2,
                level.is_ordered,
                f"{text}.{kind}",
            )
        case "union" if made.arity == 1:
            other = table_of(draw(st.integers(0, 1)))
            both = f"union({text}, {other.text})"
            return Made(lambda t: QueryBuilder().union_all(make(t), other.make(t)), text=both, is_union=True)
        case "nested" if made.arity == 1:
            return Made(lambda t: QueryBuilder().from_(sub=make(t)), text=f"from({text})")
        case _:
            return made


@st.composite
def outputs(draw: st.DrawFn) -> Made:
    made = draw(queries(draw(st.integers(0, 3))))
    name, other = draw(st.sampled_from(COLUMNS)), draw(st.sampled_from(COLUMNS))
    make, text = made.make, made.text

    def key(*rows: Any) -> Any:
        return rows[0][name]

    def totals(*rows: Any) -> Row:
        it = rows[-1][other]
        low, high = min_(it), max_(it)
        return {"n": count(), "known": count(it), "kinds": count(it, distinct=True), "low": low, "high": high}

    def sums(*rows: Any) -> Any:
        return (sum_(rows[-1]["n"]), avg(rows[-1]["n"]))

    def only(*rows: Any) -> Any:
        return tuple(None if row is None else repr(row.get(name)) for row in rows)

    match draw(st.sampled_from(["rows", "rows", "select", "distinct", "groups", "total", "sums", "lists", "lists"])):
        case "select":
            return Made(lambda t: make(t).select(only), is_ordered=made.is_ordered, text=f"{text}.select")
        case "distinct":
            # An order that decides nothing would be lost, which is refused; with a window it decides.
            return Made(
                lambda t: (make(t).limit(4) if made.is_ordered else make(t)).select(only).distinct(),
                text=f"{text}.distinct",
            )
        case "groups":

            def by_key(*rows: Any) -> Row:
                return {"key": rows[0][name], **totals(*rows)}

            return Made(lambda t: make(t).group_by(key).aggregate(by_key).where(has_several), text=f"{text}.groups")
        case "total":
            return Made(lambda t: make(t).aggregate(totals), text=f"{text}.total")
        case "sums":
            return Made(lambda t: make(t).aggregate(sums), text=f"{text}.sums")
        case "lists" if made.arity == 1:
            child, grandchild = draw(st.integers(0, 1)), draw(st.integers(0, 1))
            column, number = draw(st.sampled_from(["id", *COLUMNS])), draw(st.sampled_from([None, 1, 2]))
            is_deep, level = draw(st.booleans()), made.level()

            def children(t: Tables) -> Callable[[Any], Any]:
                def of(row: Any) -> Any:
                    found: Any = QueryBuilder().from_(kid=t[child]).where(lambda kid: kid[name] == row[column])
                    found = found.order_by(other)
                    found = found if number is None else found.limit(number)
                    return found.include(kids=grandchildren(t)) if is_deep else found

                return of

            def grandchildren(t: Tables) -> Callable[[Any], Any]:
                return lambda row: QueryBuilder().from_(grandkid=t[grandchild]).where(lambda kid: kid["a"] == row["b"])

            return Made(
                lambda t: level.make(t).include(lists=children(t)),
                is_ordered=level.is_ordered,
                text=f"{text}.lists({is_deep})",
            )
        case _:
            return made


# -- histories ---------------------------------------------------------------------------------------------------------


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, Any]]:
    """Few values each, so that rows match and groups fill."""
    some = draw(st.lists(st.sampled_from(range(len(VALUES))), min_size=2, max_size=4, unique=True))
    cells = st.sampled_from([1, *(VALUES[index] for index in some)])
    rows = st.dictionaries(st.sampled_from(COLUMNS), cells, min_size=1).map(
        lambda row: {name: row[name] for name in sorted(row)} | {"n": len(row)}
    )
    writes = st.dictionaries(st.sampled_from(KEYS), st.one_of(st.none(), rows, rows, rows), min_size=1, max_size=5)
    kinds = st.sampled_from(["sync", "sync", "truncate", "optimistic", "rollback"])
    return draw(st.lists(st.tuples(kinds, st.tuples(writes, writes)), min_size=3, max_size=8))


class World:
    """Two tables."""

    def __init__(self, rows: Sequence[Mapping[Any, Row]] = ({}, {})) -> None:
        self.errors: list[Exception] = []
        self.client = DbClient(on_error=self.errors.append)
        self.sources = [ManualSource[Row, Any](list(table.values())) for table in rows]
        self.tables = [
            self.client.build(collection_options(id=f"t{index}", get_key=lambda row: row["id"], sync=source))
            for index, source in enumerate(self.sources)
        ]
        for table in self.tables:
            table.subscribe_changes(lambda _: None)
        self.tx: Any = None

    def do(self, kind: str, writes: Sequence[Mapping[Any, Row | None]]) -> None:
        if kind == "rollback":
            if self.tx is not None:
                self.tx.rollback()
                self.tx = None
            return
        with self.client.batch():
            for index, (table, rows) in enumerate(zip(self.tables, writes, strict=True)):
                if kind == "optimistic":
                    self.write(table, rows)
                    continue
                puts = [{"id": key, **row} for key, row in rows.items() if row is not None]
                gone = [key for key, row in rows.items() if row is None]
                self.sources[index].write(*puts, delete=gone, truncate=kind == "truncate")

    def write(self, table: Collection[Row, Any], rows: Mapping[Any, Row | None]) -> None:
        if self.tx is None:
            self.tx = self.client.create_transaction(nobody)
        for key, row in rows.items():
            if table.has(key):
                if row is None:
                    self.tx.delete(table, key)
                else:
                    self.tx.update(table, key, **row)
            elif row is not None:
                self.tx.insert(table, {"id": key, **row})


async def nobody() -> None:
    raise AssertionError("it is never committed")


def look(value: Any) -> str:
    """What a result looks like; also NaN is then equal to itself, and a list to one of another class."""
    if is_mapping(value):
        return "{" + ", ".join(sorted(f"{key}: {look(item)}" for key, item in value.items())) + "}"
    return "[" + ", ".join(map(look, value)) + "]" if is_list(value) else repr(value)


def is_mapping(value: object) -> bool:
    return isinstance(value, Mapping)


def is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


@dataclass
class Watched:
    """A live query, and what a subscriber makes of what it is told."""

    made: Made
    query: LiveQuery[Any]
    rows: dict[Any, Any]

    def change(self, changes: Sequence[Change[Any, Any]]) -> None:
        for change in changes:
            if change.type == "delete":
                del self.rows[change.key]
            else:
                assert (change.key in self.rows) == (change.type == "update")
                self.rows[change.key] = change.value

    def shown(self) -> list[str]:
        value = self.query.get()
        lines = list(map(look, value)) if hasattr(value, "is_ready") else [look(value)]
        assert sorted(map(look, self.rows.values())) == sorted(lines), self.made.text
        return lines if self.made.is_ordered else sorted(lines)


def watch(world: World, made: Made) -> Watched:
    watched = Watched(made, live_query(made.make(world.tables), client=world.client), {})
    watched.query.subscribe_changes(watched.change, include_initial_state=True)
    assert watched.query.error is None, made.text
    return watched


async def follow(queries: Sequence[Made], history: Sequence[tuple[str, Any]]) -> None:
    world = World()
    watched = [watch(world, made) for made in queries]
    for kind, writes in history:
        world.do(kind, writes)
        await settle()
        fresh = World([table.rows for table in world.tables])
        for item in watched:
            assert item.query.error is None, item.made.text
            assert item.shown() == watch(fresh, item.made).shown(), item.made.text
        await fresh.client.close()
    assert world.errors == []
    await world.client.close()


@settings(max_examples=30 * RUNS, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(outputs(), min_size=2, max_size=5), histories())
def test_a_query_that_lived_equals_a_fresh_one(queries: list[Made], history: list[tuple[str, Any]]) -> None:
    """f.2 28, 38, 40; g 13.

    Kills: a list that is not told when only a child changed; a child that stays in the list of its old parent.
    """
    loop = VirtualClockLoop()
    try:
        loop.run_until_complete(follow(queries, history))
    finally:
        loop.close()
