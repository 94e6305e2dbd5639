"""The second oracle: it counts the work of one change, from the write to the last subscriber, and does not time it.

The same query over the same kind of data, once among 1,000 rows and once among 16,000: a changed row must cost the
same, but for the logarithm where an order is kept. Three things are counted, since each hides a kind of work:

- executed bytecode: loops;
- values compared, hashed or negated: what C does in one instruction, such as ``in list``, ``sorted`` and ``min``;
- memory at the peak: copies.

`test_ivm_cost` does the same for each operator alone.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import tracemalloc
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from statistics import median
from types import FrameType
from typing import Any, NamedTuple, TypeAlias

import pytest

from tanstack_db import (
    Collection,
    DbClient,
    LiveQuery,
    LiveSource,
    Query,
    QueryBuilder,
    avg,
    collection_options,
    count,
    live_query,
    max_,
    min_,
    sum_,
)
from tanstack_db.testing import ManualSource, VirtualClockLoop

SMALL, LARGE = 1_000, 16_000
SPOTS = 3
"""Places in the tables where rows are changed."""

GROWTH = 1.5
"""How much more work a change may be among sixteen times as many rows. log 16,000 / log 1,000 is 1.4."""

SLACK = 16_384
"""Bytes that a change may take besides: chunks of an order have a largest size, dicts grow at some moment."""

Row: TypeAlias = dict[str, Any]


class Value(int):
    """A number that counts what is done with it."""

    touched = 0

    def __hash__(self) -> int:
        Value.touched += 1
        return super().__hash__()

    def __eq__(self, other: object) -> bool:
        Value.touched += 1
        return super().__eq__(other)

    def __ne__(self, other: object) -> bool:
        Value.touched += 1
        return super().__ne__(other)

    def __lt__(self, other: int) -> bool:
        Value.touched += 1
        return super().__lt__(other)

    def __gt__(self, other: int) -> bool:
        Value.touched += 1
        return super().__gt__(other)

    def __le__(self, other: int) -> bool:
        Value.touched += 1
        return super().__le__(other)

    def __ge__(self, other: int) -> bool:
        Value.touched += 1
        return super().__ge__(other)

    def __neg__(self) -> Value:
        Value.touched += 1
        return Value(super().__neg__())


class Work(NamedTuple):
    """What one change took."""

    instructions: float
    touched: float
    peak: float


@contextmanager
def instructions() -> Generator[list[int]]:
    """Count executed bytecode; the number is in the list."""
    number = [0]
    if sys.version_info >= (3, 12):  # where `f_trace_opcodes` misses what runs for the first time
        monitoring = sys.monitoring
        tool, event = monitoring.PROFILER_ID, monitoring.events.INSTRUCTION

        def executed(*_: object) -> None:
            number[0] += 1

        monitoring.use_tool_id(tool, "work")
        monitoring.register_callback(tool, event, executed)
        monitoring.set_events(tool, event)
        try:
            yield number
        finally:
            monitoring.set_events(tool, 0)
            monitoring.free_tool_id(tool)
        return

    def trace(frame: FrameType, event: str, _: object) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        number[0] += event == "opcode"
        return trace

    tracer = sys.gettrace()
    sys.settrace(trace)
    try:
        yield number
    finally:
        sys.settrace(tracer)


def work(action: Callable[[], object]) -> Work:
    """Count the work of a call."""
    tracemalloc.start()
    Value.touched = 0
    try:
        with instructions() as number:
            action()
    finally:
        touched, peak = Value.touched, tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return Work(number[0], touched, peak)


# -- the data: as many matches, groups and rows in a window, however many rows -----------------------------------------


class World:
    """Items, and two notes for each second one."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.client = DbClient()
        self.item_source, self.note_source = ManualSource[Row, int](), ManualSource[Row, int]()
        self.items = self._table("items", self.item_source)
        self.notes = self._table("notes", self.note_source)
        self.item_source.write(*map(self.item, range(size)))
        self.note_source.write(*map(self.note, range(size)))

    def _table(self, name: str, source: ManualSource[Row, int]) -> Collection[Row, int]:
        table = self.client.build(collection_options(id=name, get_key=lambda row: row["id"], sync=source))
        table.subscribe_changes(lambda _: None)
        return table

    def item(self, number: int, step: int = 0) -> Row:
        """An item; another `step` gives it other values, far away in every order."""
        value = (number * 7 + step * (self.size // 2 + 1)) % self.size
        return {"id": number, "value": Value(value), "few": Value((number + step) % 100), "group": Value(number // 10)}

    def note(self, number: int, step: int = 0) -> Row:
        return {"id": number, "item": Value((number // 2 * 2 + step * 5) % self.size), "weight": number % 10 + step}


def items(world: World) -> Query[Row, Row]:
    return QueryBuilder().from_(world.items)


def on_items(build: Callable[[Query[Row, Row]], Any]) -> Callable[[World], Any]:
    return lambda world: build(items(world))


def matching(item: Any, note: Any) -> Any:
    return item["id"] == note["item"]


def totals(item: Any) -> Row:
    return {"few": item["few"], "rows": count(), "sum": sum_(item["value"]), "avg": avg(item["value"])}


def extremes(item: Any) -> Row:
    return {"min": min_(item["value"]), "max": max_(item["value"]), "kinds": count(item["few"], distinct=True)}


def shown(*rows: Row | None) -> tuple[Any, ...]:
    return tuple(row and row["id"] for row in rows)


def more_than_one(group: Row) -> Any:
    return group["rows"] > 1


def heavy(item: Any, note: Any) -> Any:
    return note["weight"] > 1


def weights(item: Any, note: Any) -> Row:
    return {"few": item["few"], "weight": sum_(note["weight"])}


def above_the_tenth(world: World) -> Query[Row, Row]:
    bound = world.size // 10
    return items(world).where(lambda item: item["value"] > bound)


def of_group(world: World, group: int) -> Query[Row, Row]:
    return items(world).where(lambda item: item["group"] == group)


def children(world: World, item: Any) -> Query[Row, Row]:
    return QueryBuilder().from_(world.notes).where(lambda note: note["item"] == item["id"]).order_by("weight").limit(1)


QUERIES: dict[str, Callable[[World], Any]] = {
    "the collection": items,
    "filter": above_the_tenth,
    "filter that keeps nobody": on_items(lambda q: q.where(lambda item: item["value"] < 0)),
    "filter by one value": lambda world: of_group(world, 3),
    "select": on_items(lambda q: q.select(shown)),
    "left join": lambda world: items(world).join(world.notes, on=matching),
    "inner join": lambda world: items(world).inner_join(world.notes, on=matching),
    "right join": lambda world: items(world).right_join(world.notes, on=matching),
    "full join": lambda world: items(world).full_join(world.notes, on=matching),
    "one total": on_items(lambda q: q.aggregate(extremes)),
    "min and max of groups": on_items(lambda q: q.group_by(lambda item: item["few"]).aggregate(extremes)),
    "groups, and having": on_items(
        lambda q: q.group_by(lambda item: item["few"]).aggregate(totals).where(more_than_one)
    ),
    "order": on_items(lambda q: q.order_by("value", "desc")),
    "window at the start": on_items(lambda q: q.order_by("value").limit(50)),
    "window in the middle": lambda world: items(world).order_by("value").offset(world.size // 2).limit(50),
    "everything behind an offset": on_items(lambda q: q.order_by("value").offset(50)),
    "window of a join": lambda world: (
        items(world).join(world.notes, on=matching).where(heavy).order_by(lambda item, note: item["value"]).limit(20)
    ),
    "group of a join": lambda world: (
        items(world).inner_join(world.notes, on=matching).group_by(lambda item, note: item["few"]).aggregate(weights)
    ),
    "window of a query": lambda world: QueryBuilder().from_(above_the_tenth(world)).order_by("value").limit(50),
    "union": lambda world: QueryBuilder().union_all(world.items, world.notes),
    "distinct": on_items(lambda q: q.select(lambda item: item["few"]).distinct()),
    "list of children": lambda world: items(world).include(notes=lambda item: children(world, item)),
    "find one": on_items(lambda q: q.order_by("value").find_one()),
}


# -- counting ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def worlds() -> Iterator[tuple[World, World]]:
    """Both sizes. Every test leaves the rows as they were."""
    loop = VirtualClockLoop()
    asyncio.set_event_loop(None)
    gc.disable()  # or it would go over all rows again and again
    made = World(SMALL), World(LARGE)
    yield made
    for world in made:
        loop.run_until_complete(world.client.close())
    loop.close()
    gc.enable()


def followed(world: World, query: LiveSource[Any]) -> LiveQuery[Any]:
    live = live_query(query, client=world.client)
    live.subscribe(lambda: None)
    live.subscribe_changes(lambda _: None)
    return live


Change: TypeAlias = tuple[str, Callable[[], object], Callable[[], object]]


def changes(world: World) -> Iterator[Change]:
    """Single changes of every kind, spread over the rows, and how they are taken back."""
    for index in range(SPOTS):
        number = (index * world.size // SPOTS) | 1
        for name, source, row in (("items", world.item_source, world.item), ("notes", world.note_source, world.note)):
            back = partial(source.write, row(number))
            yield f"update of {name}", partial(source.write, row(number, index + 1)), back
            yield f"delete of {name}", partial(source.write, delete=[number]), back
            new = row(world.size + number)
            yield f"insert into {name}", partial(source.write, new), partial(source.write, delete=[new["id"]])


def middle(measured: list[Work]) -> Work:
    return Work(*(median(each) for each in zip(*measured, strict=True)))


def per_change(world: World, query: LiveSource[Any]) -> dict[str, Work]:
    """Return the median work of each kind of change."""
    live = followed(world, query)
    measured: dict[str, list[Work]] = {}
    for kind, change, undo in changes(world):
        measured.setdefault(kind, []).append(work(change))
        undo()
    live.close()
    live._result.stop_if_unused()
    return {kind: middle(works) for kind, works in measured.items()}


def check(small: Work, large: Work) -> None:
    assert large.instructions < small.instructions * GROWTH, (small, large)
    assert large.touched < small.touched * GROWTH + 4, (small, large)
    assert large.peak < small.peak + SLACK, (small, large)


@pytest.mark.parametrize("name", QUERIES)
def test_a_change_costs_the_same_among_sixteen_times_as_many_rows(name: str, worlds: tuple[World, World]) -> None:
    """g 8, 9.

    Kills: a copy of the made rows in each projection; a group whose rows are counted again; a join that goes over
    all names; places of changed rows found by a walk; an order that is listed to cut a window from it.
    """
    small, large = (per_change(world, QUERIES[name](world)) for world in worlds)

    for kind, few in small.items():
        check(few, large[kind])


def test_a_change_costs_the_same_among_many_queries_with_other_values(worlds: tuple[World, World]) -> None:
    """g 8. Kills: a sink of its own for every query that compares a column with a constant."""

    def with_queries(number: int) -> Work:
        world = worlds[0]
        lives = [followed(world, of_group(world, -group)) for group in range(1, number)]
        costs = per_change(world, of_group(world, 33))
        for live in lives:
            live.close()
            live._result.stop_if_unused()
        return costs["update of items"]

    check(with_queries(6), with_queries(96))


def test_a_query_for_one_value_starts_at_the_cost_of_its_rows(worlds: tuple[World, World]) -> None:
    """Kills: an index that is built for each query, or a first run that goes over all rows."""

    def start(world: World) -> Work:
        first = followed(world, of_group(world, 1))
        cost = work(lambda: followed(world, of_group(world, 2)))
        first.close()
        first._result.stop_if_unused()
        return cost

    small, large = map(start, worlds)
    check(small, large)


def test_a_window_moves_at_the_cost_of_the_rows_that_come_and_go(worlds: tuple[World, World]) -> None:
    """Kills: a window that is cut anew from all rows when it moves."""

    def move(world: World) -> Work:
        live = followed(world, items(world).order_by("value").limit(20))
        live.set_window(limit=20, offset=world.size // 2)
        cost = work(lambda: live.set_window(limit=20, offset=world.size // 2 + 5))
        live.close()
        live._result.stop_if_unused()
        return cost

    small, large = map(move, worlds)
    check(small, large)


@pytest.mark.parametrize("kind", ["insert", "update", "commit", "rollback"])
async def test_an_optimistic_write_costs_the_same_among_a_thousand_pending(kind: str) -> None:
    """Kills: an overlay that is built anew from all open transactions."""

    async def write(pending: int) -> Work:
        world = World(SMALL)
        live = followed(world, items(world).order_by("value").limit(20))
        opened = [world.client.create_transaction(forever) for _ in range(pending)]
        for number, tx in enumerate(opened):
            tx.insert(world.items, world.item(2 * SMALL + number))
        # The first change that reaches into the window pays for all that were noted behind it.
        world.client.create_transaction(forever).update(world.items, 6, value=Value(2))
        tx = world.client.create_transaction(forever)
        actions: dict[str, Callable[[], object]] = {
            "insert": lambda: tx.insert(world.items, world.item(SMALL + 1)),
            "update": lambda: tx.update(world.items, 5, value=Value(1)),
            "commit": tx.commit,
            "rollback": tx.rollback,
        }
        if kind not in ("insert", "update"):
            actions["update"]()
        cost = work(actions[kind])
        live.close()
        await world.client.close()
        return cost

    check(await write(0), await write(1_000))


async def forever() -> None:
    await asyncio.Event().wait()
