"""Order and window against sorting everything anew after each batch."""

from __future__ import annotations

from bisect import bisect_left as bisect_left_of_library
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tanstack_db._base.delta import Delta
from tanstack_db.ivm import _sorted
from tanstack_db.ivm._laws import apply, change
from tanstack_db.ivm._order import Order
from tanstack_db.ivm._sorted import SortedRows


def sort_key(key: int, row: tuple[int, str]) -> tuple[int, int]:
    return (row[0], key)


batch = st.dictionaries(st.integers(0, 12), st.none() | st.tuples(st.integers(0, 5), st.sampled_from("xy")), max_size=5)
batches = st.lists(batch, max_size=25)


@given(batches, st.none() | st.integers(0, 5), st.integers(0, 4))
def test_the_window_is_what_sorting_and_slicing_gives_and_its_deltas_lead_there(
    history: list[dict[int, tuple[int, str] | None]], limit: int | None, offset: int
) -> None:
    """f.2 31, 32. Kills: taking a wrong neighbour in or out; forgetting to move the ends; handing a key out twice."""
    order = Order(sort_key, limit=limit, offset=offset)
    rows: dict[int, tuple[int, str]] = {}
    shown: dict[int, tuple[int, str]] = {}
    for batch in history:
        deltas: list[Delta] = []
        for key, new in batch.items():
            old = rows.pop(key, None)
            if new is not None:
                rows[key] = new
            if old != new:
                deltas.append((key, old, new))
        if not deltas:
            continue
        seen: set[int] = set()
        for key, old, new in order.push(deltas):
            assert key not in seen
            seen.add(key)
            assert shown.get(key) == old
            assert old != new
            if new is None:
                del shown[key]
            else:
                shown[key] = new
        ordered = sorted(rows, key=lambda key: sort_key(key, rows[key]))
        expected = ordered[offset:] if limit is None else ordered[offset : offset + limit]

        assert list(order.rows()) == [rows[key] for key in expected]
        assert [row for chunk in order.chunks() for row in chunk] == [rows[key] for key in expected]
        assert shown == {key: rows[key] for key in expected}
        assert [order.index(key) for key in expected] == list(range(len(expected)))
        assert all(order.index(key) is None for key in range(13) if key not in expected)


moves = st.none() | st.tuples(st.none() | st.integers(0, 12), st.integers(0, 12))


@given(st.lists(st.tuples(moves, batch)))
def test_a_moved_window_is_what_slicing_gives_and_is_reached_over_neighbours(
    history: list[tuple[tuple[int | None, int] | None, dict[int, tuple[int, str] | None]]],
) -> None:
    """f.2 32. Kills: the ends found from the old offset; a batch that is lost where the window moves with it."""
    order = Order(sort_key, limit=3)
    limit: int | None = 3
    offset = 0
    rows: dict[int, tuple[int, str]] = {}
    shown: dict[int, tuple[int, str]] = {}
    for move, changes in history:
        if move is not None:
            limit, offset = move
            order.move(limit=limit, offset=offset)
        deltas = order.push(change(rows, changes))
        apply(shown, deltas)
        ordered = sorted(rows, key=lambda key: sort_key(key, rows[key]))
        expected = ordered[offset:] if limit is None else ordered[offset : offset + limit]

        assert list(order.row_keys()) == expected
        assert shown == {key: rows[key] for key in expected}
        assert [order.index(key) for key in expected] == list(range(len(expected)))


def test_an_order_that_shows_everything_becomes_a_window_in_the_batch_that_moves_it() -> None:
    order = Order(sort_key, limit=None)
    rows: dict[int, tuple[int, str]] = {}
    order.push(change(rows, {key: (key, "x") for key in range(5)}))

    order.move(limit=2, offset=1)
    deltas = order.push(change(rows, {0: None, 1: (9, "x"), 7: (0, "x")}))

    assert sorted(deltas) == [(0, (0, "x"), None), (1, (1, "x"), None), (4, (4, "x"), None)]
    assert list(order.row_keys()) == [2, 3]


def test_a_window_is_moved_without_reading_it_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    order = Order(lambda key, row: (row,), limit=50, offset=100)
    order.push([(number, None, number) for number in range(1000)])
    monkeypatch.setattr(Order, "_rebuild", None)

    for offset, limit, number in ((103, 50, 3), (60, 50, 43), (60, 90, 40), (600, 90, 90), (700, 10, 90)):
        order.move(limit=limit, offset=offset)
        assert len([key for key, old, _ in order.push(()) if old is None]) <= number
        assert list(order.row_keys()) == list(range(offset, offset + limit))
    for gone in (700, 709, 0, 999, 705):
        assert len(order.push([(gone, gone, None)])) in (0, 2)
    assert len(list(order.rows())) == 10


def test_snapshots_do_not_change_and_share_what_did_not() -> None:
    rows = SortedRows()
    rows.load([((number,), number, number) for number in range(1000)])

    before = rows.snapshot()
    rows.replace((500,), "changed")
    rows.insert((1000,), 1000, 1000)
    after = rows.snapshot()

    assert [row for chunk in before for row in chunk] == list(range(1000))
    assert [row for chunk in after for row in chunk] == [*range(500), "changed", *range(501, 1001)]
    assert sum(one is other for one, other in zip(before, after, strict=False)) >= len(before) - 2


@given(st.lists(st.integers(0, 3000), unique=True, max_size=1500), st.randoms(use_true_random=False))
def test_any_number_of_rows_stays_sorted(numbers: list[int], random: Any) -> None:
    """Kills: splitting a chunk without its last key; losing a chunk that became empty."""
    rows = SortedRows()
    for number in numbers:
        rows.insert((number,), number, -number)
    gone = set(random.sample(numbers, len(numbers) // 2))
    for number in gone:
        rows.remove((number,))
    left = sorted(set(numbers) - gone)

    assert list(rows) == [-number for number in left]
    assert len(rows) == len(left)
    for index, number in enumerate(left[:20]):
        assert rows.index((number,)) == index
        assert rows.at(index) == ((number,), number, -number)
        follower = rows.after((number,))
        assert (None if follower is None else follower[1]) == (left[index + 1] if index + 1 < len(left) else None)
        previous = rows.before((number,))
        assert (None if previous is None else previous[1]) == (left[index - 1] if index else None)
    assert rows.at(len(left)) is None


@pytest.mark.parametrize("limit", [None, 50])
def test_the_work_of_a_change_does_not_grow_with_the_rows(limit: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts what is looked at per change: binary searches of the list and rows handed on."""
    looked_at = 0

    def counted(items: Any, item: Any) -> int:
        nonlocal looked_at
        looked_at += len(items).bit_length()
        return bisect_left_of_library(items, item)

    monkeypatch.setattr(_sorted, "bisect_left", counted)

    def cost(size: int) -> float:
        nonlocal looked_at
        order = Order(sort_key, limit=limit, offset=size // 2)
        order.push([(number, None, (number * 7919 % size, "x")) for number in range(size)])
        looked_at = 0
        handed_on = 0
        for number in range(200):
            old, new = (number * 7919 % size, "x"), (number * 104729 % size, "y")
            handed_on += len(order.push([(number, old, new)]))
        return (looked_at + handed_on) / 200

    assert cost(20_000) < 2 * cost(1_000)


@pytest.mark.parametrize("changes", [30, 400])
def test_what_changed_behind_a_window_is_in_order_once_it_is_shown(changes: int) -> None:
    """Few changes are put in one by one, many by sorting anew. Kills: forgetting which place a row had before the first
    of several changes; keeping a removed row when sorting anew.
    """
    chance = Random(changes)
    rows = {key: (key, "a") for key in range(200)}
    order = Order(sort_key, limit=3)
    order.push([(key, None, row) for key, row in rows.items()])
    for step in range(changes):
        key = chance.randrange(3, 220)
        old = rows.pop(key, None)
        new = None if old is not None and chance.random() < 0.3 else (chance.randrange(3, 500), f"{step}")
        if new is not None:
            rows[key] = new
        assert order.push([(key, old, new)]) == ()
    order.move(limit=None, offset=0)
    order.push(())
    assert list(order.row_keys()) == sorted(rows, key=lambda key: sort_key(key, rows[key]))
    assert all(order.index(key) == place for place, key in enumerate(order.row_keys()))
    assert dict(zip(order.row_keys(), order.rows(), strict=True)) == rows
