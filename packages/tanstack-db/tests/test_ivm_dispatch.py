"""`EqualityDispatch` against a filter per query, and what it keeps: laws 1 to 4 and 7 of ``ivm/ARCHITECTURE.md``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tanstack_db._base.delta import Deltas, DeltaSink
from tanstack_db._base.relation import Lease, LoadSubset, Relation
from tanstack_db.ivm._dispatch import EqualityDispatch
from tanstack_db.ivm._laws import apply, change


class Table(Relation):
    """A relation that is written in batches."""

    def __init__(self) -> None:
        self.id = "table"
        self.shared = {}
        self.table: dict[Any, Any] = {}
        self.sinks: list[DeltaSink] = []

    @property
    def rows(self) -> Mapping[Any, Any]:
        return self.table

    def attach(self, sink: DeltaSink) -> Callable[[], None]:
        self.sinks.append(sink)
        return lambda: self.sinks.remove(sink)

    def acquire(self, subset: LoadSubset, on_status: Callable[[], None]) -> Lease:
        raise AssertionError("a dispatch loads nothing")

    def run(self) -> None:
        raise AssertionError("a dispatch schedules nothing")

    def publish(self) -> None:
        raise AssertionError("a dispatch publishes nothing")

    def write(self, batch: Mapping[Any, Any]) -> None:
        deltas = change(self.table, batch)
        for sink in list(self.sinks):
            sink(deltas)


class Reader:
    """One query: what it was told, and how often."""

    def __init__(self, table: Table, values: Sequence[Any]) -> None:
        dispatch = EqualityDispatch.of(table, "p")
        self.values = values
        self.calls = 0
        self.detach = dispatch.attach(values, self.take)
        self.rows = dict(dispatch.rows(values))

    def take(self, deltas: Deltas) -> None:
        assert deltas
        self.calls += 1
        apply(self.rows, deltas)


values = st.none() | st.integers(0, 3) | st.builds(float, st.just("nan"))
rows = st.fixed_dictionaries({"p": values, "v": st.integers(0, 1)})
batches = st.lists(st.dictionaries(st.integers(0, 5), st.none() | rows, max_size=4), max_size=8)


def matches(row: dict[str, Any], asked: Sequence[Any]) -> bool:
    p = row["p"]
    return p is not None and any(p == value or (p != p and value != value) for value in asked)


@given(batches, st.lists(st.lists(values, max_size=3), min_size=1, max_size=4), batches)
def test_every_query_sees_its_rows(
    before: list[dict[int, Any]], asked: list[list[Any]], after: list[dict[int, Any]]
) -> None:
    """Kills: a moved row that only comes, or only goes; a move between two values of one query told twice; an index
    that keeps a moved row under its old value; rows of null."""
    table = Table()
    first = Reader(table, [0, 1])
    for batch in before:
        table.write(batch)
    readers = [first, *(Reader(table, wanted) for wanted in asked)]
    for batch in [{}, *after]:
        calls = [reader.calls for reader in readers]
        table.write(batch)
        for reader, already in zip(readers, calls, strict=True):
            assert reader.rows == {key: row for key, row in table.table.items() if matches(row, reader.values)}
            assert reader.calls <= already + 1


def test_a_moved_row_leaves_one_query_and_enters_the_other() -> None:
    table = Table()
    table.write({1: {"p": "a"}})
    a, b, other = Reader(table, ["a"]), Reader(table, ["b"]), Reader(table, ["c"])

    table.write({1: {"p": "b"}})

    assert (a.rows, b.rows) == ({}, {1: {"p": "b"}})
    assert (a.calls, b.calls, other.calls) == (1, 1, 0)


def test_many_queries_share_one_index_and_one_sink() -> None:
    table = Table()
    readers = [Reader(table, [n]) for n in range(10)]

    assert len(table.sinks) == len(table.shared) == 1

    for reader in readers:
        reader.detach()
        reader.detach()
    assert not table.sinks
    assert not table.shared


def test_who_has_detached_hears_nothing_while_others_still_do() -> None:
    table = Table()
    gone, stays = Reader(table, [1, 2]), Reader(table, [1])

    gone.detach()
    table.write({1: {"p": 1}})

    assert (gone.calls, stays.calls) == (0, 1)


def test_a_query_that_asks_for_nothing_does_not_disturb_the_others() -> None:
    table = Table()
    nothing, one = Reader(table, [None]), Reader(table, [1])

    nothing.detach()
    table.write({1: {"p": 1}, 2: {"p": None}})

    assert (nothing.rows, one.rows) == ({}, {1: {"p": 1}})


def test_a_dispatch_can_be_used_again_after_its_last_sink_left() -> None:
    table = Table()
    dispatch = EqualityDispatch.of(table, "p")
    dispatch.attach([1], lambda deltas: None)()
    table.write({1: {"p": 1}})
    reader = Reader(table, [1])
    stop = dispatch.attach([1], lambda deltas: None)

    assert dict(dispatch.rows([1])) == reader.rows == {1: {"p": 1}}

    stop()
    reader.detach()
    assert not table.sinks
    assert not table.shared
