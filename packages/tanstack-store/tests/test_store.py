"""Store, Derived and batch."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tanstack_store import Derived, Readable, Store, batch


def heard(node: Readable[int]) -> list[int]:
    values: list[int] = []
    node.subscribe(values.append)
    return values


def test_a_store_takes_a_value_or_a_function() -> None:
    store = Store(1)
    values = heard(store)

    store.set_state(5)
    store.set_state(lambda n: n + 1)

    assert store.state == store.get() == 6
    assert values == [5, 6]


def test_an_equal_value_is_not_told() -> None:
    store = Store(1)
    values = heard(store)

    store.set_state(1)

    assert values == []


def test_a_custom_equality_decides() -> None:
    store = Store(10, equal=lambda a, b: a // 10 == b // 10)
    values = heard(store)

    store.set_state(19)
    store.set_state(20)

    assert values == [20]


def test_stop_is_immediate_and_idempotent() -> None:
    store = Store(0)
    values: list[int] = []
    stop = store.subscribe(values.append)

    stop()
    stop()
    store.set_state(1)

    assert values == []


async def asynchronous(_: int) -> None:
    """Nobody would await it."""


@pytest.mark.parametrize("callback", [asynchronous, None, 5])
def test_what_nobody_could_call_or_await_is_refused(callback: Any) -> None:
    store = Store(1)

    with pytest.raises(TypeError, match="plain function"):
        store.subscribe(callback)


def test_the_same_callback_can_subscribe_twice() -> None:
    store = Store(0)
    values: list[int] = []
    stop = store.subscribe(values.append)
    store.subscribe(values.append)

    stop()
    store.set_state(1)

    assert values == [1]


def test_a_subscriber_that_stops_another_during_delivery() -> None:
    store = Store(0)
    late: list[int] = []

    def first(_: int) -> None:
        stop_late()

    store.subscribe(first)
    stop_late = store.subscribe(late.append)
    store.set_state(1)

    assert late == []


def test_a_subscriber_that_stops_itself_during_delivery() -> None:
    store = Store(0)
    once: list[int] = []
    after: list[int] = []

    def first(value: int) -> None:
        once.append(value)
        stop()

    stop = store.subscribe(first)
    store.subscribe(after.append)
    store.set_state(1)
    store.set_state(2)

    assert once == [1]
    assert after == [1, 2]


def test_a_subscriber_added_during_delivery_hears_of_the_next_change() -> None:
    store = Store(0)
    late: list[int] = []
    store.subscribe(lambda value: store.subscribe(late.append) if value == 1 else None)

    store.set_state(1)
    store.set_state(2)

    assert late == [2]


def test_a_raising_subscriber_does_not_stop_the_others() -> None:
    store = Store(0)

    def bad(_: int) -> None:
        raise ValueError("bad")

    store.subscribe(bad)
    values = heard(store)

    with pytest.raises(ExceptionGroup) as caught:
        store.set_state(1)

    assert [str(error) for error in caught.value.exceptions] == ["bad"]
    assert values == [1]
    assert store.state == 1


def test_a_batch_tells_once_and_only_of_the_net_change() -> None:
    a, b = Store(0), Store(0)
    values_a, values_b = heard(a), heard(b)

    with batch():
        a.set_state(1)
        with batch():
            a.set_state(2)
        b.set_state(1)
        b.set_state(0)
        assert values_a == []

    assert values_a == [2]
    assert values_b == []


def test_a_batch_that_raises_still_tells() -> None:
    store = Store(0)
    values = heard(store)

    def failing() -> None:
        with batch():
            store.set_state(1)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        failing()

    assert values == [1]


def test_a_write_in_a_subscriber_is_told_after_everybody_heard_of_the_first() -> None:
    store = Store(0)
    order: list[tuple[str, int]] = []

    def writer(value: int) -> None:
        order.append(("writer", value))
        if value == 1:
            store.set_state(2)

    store.subscribe(writer)
    store.subscribe(lambda value: order.append(("other", value)))
    store.set_state(1)

    assert order == [("writer", 1), ("other", 1), ("writer", 2), ("other", 2)]


def test_a_diamond_computes_its_corner_once_and_shows_no_mixture() -> None:
    source = Store(1)
    left = Derived(lambda: source.state + 1, deps=[source])
    right = Derived(lambda: source.state * 10, deps=[source])
    runs: list[tuple[int, int]] = []

    def corner() -> int:
        runs.append((left.state, right.state))
        return left.state + right.state

    both = Derived(corner, deps=[left, right])
    values = heard(both)
    runs.clear()

    source.set_state(2)

    assert runs == [(3, 20)]
    assert values == [23]


def test_a_derived_value_that_stays_equal_is_not_told_nor_passed_on() -> None:
    source = Store(1)
    parity = Derived(lambda: source.state % 2, deps=[source])
    runs: list[int] = []

    def watch() -> int:
        runs.append(parity.state)
        return parity.state

    label = Derived(watch, deps=[parity])
    values = heard(label)
    runs.clear()

    source.set_state(3)

    assert values == []
    assert runs == []


def test_a_derived_value_is_fresh_inside_a_batch_and_unmounted() -> None:
    source = Store(1)
    double = Derived(lambda: source.state * 2, deps=[source])

    with batch():
        source.set_state(4)
        assert double.state == 8

    assert double.state == 8


def test_an_unmounted_derived_value_computes_only_after_a_change() -> None:
    source = Store(1)
    runs: list[int] = []

    def compute() -> int:
        runs.append(source.state)
        return source.state

    derived = Derived(compute, deps=[source])
    assert (derived.state, derived.state, runs) == (1, 1, [1])

    source.set_state(2)
    assert runs == [1], "nobody watches: nothing runs"
    assert (derived.state, runs) == (2, [1, 2])


def test_a_derived_value_that_nobody_watches_is_freed() -> None:
    source = Store(1)
    derived = Derived(lambda: source.state, deps=[source])
    gone = weakref.ref(derived)
    stop = Derived(lambda: 0, deps=[derived]).subscribe(lambda _: None)
    del derived
    gc.collect()
    assert gone() is not None
    stop()

    del stop
    gc.collect()

    assert gone() is None


def test_a_failing_derived_value_does_not_hide_the_change_from_others() -> None:
    source = Store(1)

    def compute() -> int:
        if source.state == 2:
            raise ZeroDivisionError("two")
        return source.state

    derived = Derived(compute, deps=[source])
    derived_values, values = heard(derived), heard(source)

    with pytest.raises(ExceptionGroup, match="stay set"):
        source.set_state(2)
    with pytest.raises(ZeroDivisionError):
        _ = derived.state
    source.set_state(3)

    assert values == [2, 3]
    assert derived_values == [3]


@given(st.lists(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=4), max_size=12))
def test_random_batches_tell_each_net_change_once(history: list[list[tuple[int, int]]]) -> None:
    """A chain and a diamond over three stores, against plain arithmetic after every batch.

    Kills: computing before all stores of a batch are set; comparing with the last write instead of the last value told.
    """
    stores = [Store(0) for _ in range(3)]
    total = Derived(lambda: sum(store.state for store in stores), deps=stores)
    top = Derived(lambda: max(store.state for store in stores), deps=stores)
    gap = Derived(lambda: 3 * top.state - total.state, deps=[top, total])
    told = {node: heard(node) for node in (*stores, total, top, gap)}
    plain = [0, 0, 0]

    def expected() -> list[int]:
        return [*plain, sum(plain), max(plain), 3 * max(plain) - sum(plain)]

    for writes in history:
        before = expected()
        with batch():
            for index, value in writes:
                plain[index] = value
                stores[index].set_state(value)
                assert gap.state == expected()[-1]
        for node, old, new in zip(told, before, expected(), strict=True):
            assert told[node] == ([] if old == new else [new])
            told[node].clear()
