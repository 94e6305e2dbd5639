"""Law 5 of ``ivm/ARCHITECTURE.md``: a change costs the same whatever the number of rows. Counted, not timed.

Work is counted as executed bytecode, memory taken at the peak, and comparisons and reads of rows: a scan, a re-sort, a
copied list of keys or a recomputed group shows in at least one of them.
"""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from statistics import median
from types import FrameType
from typing import Any

import pytest

from tanstack_db._base.delta import Deltas
from tanstack_db._base.ir import AggregateCall
from tanstack_db.ivm._distinct import Distinct
from tanstack_db.ivm._filter import Filter
from tanstack_db.ivm._group import Group
from tanstack_db.ivm._include import Include
from tanstack_db.ivm._join import Join, match_on
from tanstack_db.ivm._order import Order
from tanstack_db.ivm._project import Project
from tanstack_db.ivm._union import union_all

SMALL, LARGE = 1_000, 32_000

CHUNKS = 8_192
"""Bytes that one change may take for the lists that it changes, which have a largest size."""

Push = Callable[[Deltas], object]


class Row(dict[str, Any]):
    """Counts how often rows are read or compared."""

    touched = 0

    def __getitem__(self, name: str) -> Any:
        Row.touched += 1
        return super().__getitem__(name)

    def __eq__(self, other: object) -> bool:
        Row.touched += 1
        return super().__eq__(other)

    __hash__ = None


def row(number: int, value: int) -> Row:
    return Row(id=number, group=number // 10, value=value)


def value_of(item: Any) -> Any:
    return item["value"]


def group_of(item: Any) -> Any:
    return item["group"]


def of_value(key: Any, item: Any) -> tuple[Any, ...]:
    return (item["value"], key)


def of_pair(key: Any, pair: Any) -> tuple[Any, ...]:
    return of_value(key, pair[0])


def parent_of(item: Any) -> int:
    return 0


def by_parity(item: Any) -> tuple[Any, ...]:
    return (item["value"] % 2,)


def built(keys: tuple[Any, ...], values: tuple[Any, ...]) -> Any:
    return (*keys, *values)


def filtered() -> Push:
    return Filter(lambda item: item["value"] % 2 == 0).push


def projected() -> Push:
    return Project(value_of).push


def inner_joined() -> Push:
    join = Join("inner", match_on([group_of]), match_on([group_of]))
    return lambda deltas: join.push(deltas, deltas)


def left_joined() -> Push:
    join = Join("left", match_on([group_of]), match_on([group_of]))
    return lambda deltas: join.push(deltas, [delta for delta in deltas if delta[0] % 3])


def grouped() -> Push:
    calls = [AggregateCall("count"), AggregateCall("sum"), AggregateCall("avg"), AggregateCall("min")]
    calls += [AggregateCall("max"), AggregateCall("count", distinct=True)]
    return Group(by_parity, [(call, value_of) for call in calls], built, is_total=False).push


def totalled() -> Push:
    return Group(lambda item: (), [(AggregateCall("max"), value_of)], built, is_total=True).push


def ordered() -> Push:
    order = Order(of_value, limit=None)

    def push(deltas: Deltas) -> object:
        return order.push(deltas), order.index(deltas[0][0])

    return push


def window() -> Push:
    order = Order(of_value, limit=20, offset=10)

    def push(deltas: Deltas) -> object:
        return order.push(deltas), order.index(deltas[0][0])

    return push


def different() -> Push:
    return Distinct().push


def united() -> Push:
    return lambda deltas: union_all((), deltas)


def included() -> Push:
    """All rows are children of one parent, the worst case; its list is not read."""
    include = Include(match_on([parent_of]), match_on([parent_of]), lambda: Order(of_pair, limit=None), None)
    include.push([(0, None, row(0, 0))], ())
    return lambda deltas: include.push((), deltas)


def included_few() -> Push:
    include = Include(match_on([group_of]), match_on([group_of]), lambda: Order(of_pair, limit=3), None)
    return lambda deltas: include.push(deltas, deltas)


def work(action: Callable[[], object]) -> tuple[int, int, int]:
    """Bytecode instructions, peak memory in bytes, touched rows."""
    instructions = 0

    def count(frame: FrameType, event: str, _: object) -> Any:
        nonlocal instructions
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        instructions += event == "opcode"
        return count

    Row.touched = 0
    tracemalloc.start()
    tracer = sys.gettrace()
    sys.settrace(count)
    try:
        action()
    finally:
        sys.settrace(tracer)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return instructions, peak, Row.touched


def costs(stage: Callable[[], Push], size: int) -> tuple[float, ...]:
    """The median work of updates spread over the rows, each moving its row far."""
    push = stage()
    rows = {number: row(number, (number * 7) % size) for number in range(size)}
    push([(number, None, item) for number, item in rows.items()])
    measured: list[tuple[int, int, int]] = []
    for step in range(31):
        number = (step * size // 31) | 1
        old, new = rows[number], row(number, (number * 7 + size // 2 + step) % size)
        rows[number] = new
        measured.append(work(lambda old=old, new=new, number=number: push([(number, old, new)])))  # type: ignore[misc]
    return tuple(median(each) for each in zip(*measured, strict=True))


STAGES = [
    *(filtered, projected, inner_joined, left_joined, grouped, totalled, ordered, window),
    *(different, united, included, included_few),
]


@pytest.mark.parametrize("stage", STAGES)
def test_a_change_costs_the_same_among_many_rows(stage: Callable[[], Push]) -> None:
    """Kills: a group recomputed from its rows; a window cut from a sorted copy; a match found by a scan; a
    copy of all keys."""
    small, large = costs(stage, SMALL), costs(stage, LARGE)

    assert large[0] < small[0] * 1.6, f"executes {small[0]} instructions among {SMALL} rows, {large[0]} among {LARGE}"
    assert large[1] < small[1] + CHUNKS, f"takes {small[1]} bytes among {SMALL} rows, {large[1]} among {LARGE}"
    assert large[2] <= small[2] * 1.6, f"touches {small[2]} rows among {SMALL}, {large[2]} among {LARGE}"
