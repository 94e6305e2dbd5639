"""Groups against aggregating everything anew after each batch."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tanstack_db._base.delta import Delta
from tanstack_db._base.ir import AggregateCall
from tanstack_db.ivm._accumulators import accumulator
from tanstack_db.ivm._group import Group

Row: TypeAlias = tuple[Any, Any]
Function: TypeAlias = Literal["count", "sum", "avg", "min", "max"]
FUNCTIONS: tuple[Function, ...] = ("count", "sum", "avg", "min", "max")


def by_first(row: Row) -> tuple[Any, ...]:
    return (row[0],)


def second(row: Row) -> Any:
    return row[1]


def nothing(_: Row) -> tuple[Any, ...]:
    return ()


def build(keys: tuple[Any, ...], values: tuple[Any, ...]) -> Any:
    return (keys, values)


def group(*, is_total: bool = False) -> Group:
    calls = [(AggregateCall(function), second) for function in FUNCTIONS]
    return Group(nothing if is_total else by_first, [(AggregateCall("count"), None), *calls], build, is_total=is_total)


def naive(rows: list[Row]) -> tuple[Any, ...]:
    """SQL's aggregates of the second column, computed once."""
    values = [row[1] for row in rows if row[1] is not None]
    total = sum(values) if values else None
    return (
        len(rows),
        len(values),
        total,
        total / len(values) if total is not None else None,
        min(values, default=None),
        max(values, default=None),
    )


rows = st.tuples(st.sampled_from(["a", "b", None]), st.none() | st.integers(-5, 5))
batches = st.lists(st.dictionaries(st.integers(0, 8), st.none() | rows, max_size=4), max_size=20)


@pytest.mark.parametrize("is_total", [False, True])
@given(history=batches)
def test_groups_are_what_aggregating_anew_gives(is_total: bool, history: list[dict[int, Row | None]]) -> None:
    """f.2 36. Kills: not taking an old value back; keeping an empty group; null as a value; a total without its row."""
    stage = group(is_total=is_total)
    held: dict[int, Row] = {}
    shown: dict[Any, Any] = {key: new for key, _, new in stage.start()}
    for batch in history:
        deltas: list[Delta] = []
        for key, new in batch.items():
            old = held.pop(key, None)
            if new is not None:
                held[key] = new
            if old != new:
                deltas.append((key, old, new))
        if not deltas:
            continue
        for key, old, new in stage.push(deltas):
            assert shown.get(key) == old
            assert old != new
            if new is None:
                del shown[key]
            else:
                shown[key] = new
        if is_total:
            expected: dict[Any, Any] = {(): ((), naive(list(held.values())))}
        else:
            names = {row[0] for row in held.values()}
            expected = {name: ((name,), naive([row for row in held.values() if row[0] == name])) for name in names}

        assert shown == expected


def test_a_change_that_no_aggregate_reads_is_silent() -> None:
    stage = group()
    stage.push([(1, None, ("a", 3))])

    assert stage.push([(1, ("a", 3), ("a", 3))]) == []


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=30), st.data())
def test_a_sum_of_floats_is_exact_whatever_came_and_went(values: list[float], data: st.DataObject) -> None:
    """Kills: a running float total."""
    total = accumulator(AggregateCall("sum"))
    for value in values:
        total.add(value)
    gone = data.draw(st.sets(st.integers(0, len(values) - 1), max_size=len(values) - 1))
    for index in gone:
        total.remove(values[index])
    left = [value for index, value in enumerate(values) if index not in gone]

    assert total.value() == math.fsum(left)
    assert total.value() == float(sum(map(Fraction, left)))


def test_sums_keep_the_type_of_what_they_add() -> None:
    for values, expected in (
        ([1, 2], 3),
        ([True, True], 2),
        ([Decimal("0.1"), Decimal("0.2")], Decimal("0.3")),
        ([Decimal("0.5"), 1], Decimal("1.5")),
        ([1, 0.5], 1.5),
        ([dt.timedelta(hours=1), dt.timedelta(minutes=30)], dt.timedelta(minutes=90)),
        (["text"], None),
        ([], None),
    ):
        total = accumulator(AggregateCall("sum"))
        for value in values:
            total.add(value)

        assert total.value() == expected
        assert type(total.value()) is type(expected)


def test_infinity_and_nan_come_and_go() -> None:
    total = accumulator(AggregateCall("sum"))
    total.add(1.0)
    total.add(math.inf)
    assert total.value() == math.inf

    total.add(-math.inf)
    assert math.isnan(total.value())

    total.remove(math.inf)
    total.remove(-math.inf)
    assert total.value() == 1.0


def test_distinct_counts_each_value_once_until_its_last_row_is_gone() -> None:  # f.2 37
    total = accumulator(AggregateCall("count", distinct=True))
    for value in ("a", "a", "b"):
        total.add(value)
    assert total.value() == 2

    total.remove("a")
    assert total.value() == 2
    total.remove("a")
    assert total.value() == 1


def test_the_work_of_a_change_does_not_grow_with_the_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts how many values are read per change."""
    reads = 0

    def counting(row: Row) -> Any:
        nonlocal reads
        reads += 1
        return row[1]

    def cost(size: int) -> int:
        nonlocal reads
        stage = Group(by_first, [(AggregateCall("sum"), counting)], build, is_total=False)
        stage.push([(number, None, ("a", number)) for number in range(size)])
        reads = 0
        stage.push([(0, ("a", 0), ("a", 1))])
        return reads

    assert cost(10) == cost(10_000) == 2


def test_a_row_that_stays_in_its_group_touches_only_what_changed() -> None:
    """Kills: comparing values without their types; taking back a null."""
    stage = Group(by_first, [(AggregateCall("sum"), second), (AggregateCall("count"), None)], build, is_total=False)
    stage.push([(1, None, ("a", 1)), (2, None, ("a", None))])

    stage.push([(1, ("a", 1), ("a", 1.0))])
    assert stage.push([(2, ("a", None), ("a", 4))])[0][2] == (("a",), (5.0, 2))
    assert stage.push([(2, ("a", 4), ("a", None))])[0][2] == (("a",), (1.0, 2))
