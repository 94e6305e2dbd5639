"""Minimum and maximum of a group against those of a list: laws 4 and 5 of ``ivm/ARCHITECTURE.md``."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tanstack_db._base.ir import AggregateCall
from tanstack_db.ivm import _accumulators
from tanstack_db.ivm._accumulators import accumulator


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=80))
@example([*((True, n) for n in range(10)), *((False, n) for n in range(3, 10)), (True, 5)])
def test_extremes_are_those_of_what_is_left(changes: list[tuple[bool, int]]) -> None:
    """Kills: a removed value that stays at the top; a heap built anew that is no heap; a value that is there twice and
    goes with its first removal."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_accumulators, "_SPARE", 1)
        smallest, largest = accumulator(AggregateCall("min")), accumulator(AggregateCall("max"))
        left: list[int] = []
        for is_added, value in changes:
            if is_added:
                left.append(value)
                smallest.add(value)
                largest.add(value)
            elif value in left:
                left.remove(value)
                smallest.remove(value)
                largest.remove(value)
            assert (smallest.value(), largest.value()) == (min(left, default=None), max(left, default=None))


def test_an_extreme_is_a_value_that_is_there_not_an_equal_one_that_was() -> None:
    smallest = accumulator(AggregateCall("min"))
    smallest.add(0)
    smallest.add(True)
    smallest.remove(True)
    smallest.add(1.0)
    smallest.remove(0)

    assert type(smallest.value()) is float


def test_values_without_an_order_of_their_own_are_kept_apart() -> None:
    smallest = accumulator(AggregateCall("min"))
    values: list[Any] = [{"a": 1}, {"b": 1}, [1], {2}, frozenset({3}), None.__class__, "text", 5]
    for value in values:
        smallest.add(value)
    for value in values[:-1]:
        smallest.remove(value)

    assert smallest.value() == 5


def test_removed_values_do_not_pile_up() -> None:
    """A queue: values come at one end and go at the other. Kills: a heap that is never built anew."""
    largest = accumulator(AggregateCall("max"))
    largest.add(10**9)
    for value in range(5_000):
        largest.add(value)
        largest.remove(value)
    tracemalloc.start()
    try:
        for value in range(5_000, 10_000):
            largest.add(value)
            largest.remove(value)
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()

    assert largest.value() == 10**9
    assert taken < 20_000
