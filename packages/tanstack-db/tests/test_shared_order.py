"""Windows on one order of one table: they share it, whoever comes and goes."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tanstack_db import (
    Change,
    Collection,
    DbClient,
    LiveQuery,
    QueryBuilder,
    Rows,
    live_query,
    local_only_collection_options,
)
from tanstack_db.ivm._order_index import OrderIndex

Row = dict[str, Any]


def build(client: DbClient, count: int) -> Collection[Row, int]:
    rows: list[Row] = [{"id": number, "n": number % 4, "on": number % 5 != 0} for number in range(count)]
    return client.build(local_only_collection_options(id="items", get_key=lambda row: row["id"], initial_data=rows))


def window(client: DbClient, items: Collection[Row, int], limit: int, offset: int) -> LiveQuery[Rows[Row]]:
    query = QueryBuilder().from_(items).where(lambda row: row["on"]).order_by(lambda row: row["n"])
    return live_query(query.limit(limit).offset(offset), client=client)


def expected(items: Collection[Row, int], limit: int, offset: int) -> list[Row]:
    shown = sorted((row for row in items.rows.values() if row["on"]), key=lambda row: (row["n"], row["id"]))
    return shown[offset : offset + limit]


class Screen:
    """A list that follows the changes of one window."""

    def __init__(self, query: LiveQuery[Rows[Row]]) -> None:
        self.query = query
        self.calls = 0
        self.items: list[tuple[Any, Row]] = []
        self.stop = query.subscribe_changes(self._follow, include_initial_state=True)

    def _follow(self, changes: Any) -> None:
        self.calls += 1
        batch: list[Change[Row, int]] = list(changes)
        gone = {change.key for change in batch if change.type != "insert"}
        assert gone <= {key for key, _ in self.items}
        self.items = [item for item in self.items if item[0] not in gone]
        for change in batch:
            if change.index is not None:
                self.items.insert(change.index, (change.key, change.value))

    @property
    def rows(self) -> list[Row]:
        return [row for _, row in self.items]


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many deltas each push to an order had."""
    pushed: list[int] = []
    original = OrderIndex.push

    def push(self: OrderIndex, deltas: Any) -> Any:
        pushed.append(len(deltas))
        return original(self, deltas)

    monkeypatch.setattr(OrderIndex, "push", push)
    return pushed


def test_many_windows_are_one_order(loads: list[int]) -> None:
    client = DbClient()
    items = build(client, 100)
    screens = [Screen(window(client, items, 5, offset)) for offset in range(0, 50, 5)]
    assert loads == [80]

    items.insert({"id": 1000, "n": -1, "on": True})
    assert loads == [80, 1]
    for number, screen in enumerate(screens):
        assert screen.rows == list(screen.query.get()) == expected(items, 5, number * 5)
    assert items.shared

    for screen in screens:
        screen.stop()
    assert not items.shared


def test_the_next_window_keeps_the_order_when_the_first_one_leaves(loads: list[int]) -> None:
    client = DbClient()
    items = build(client, 100)
    first, second, third = (Screen(window(client, items, 5, offset)) for offset in (0, 5, 10))
    first.stop()
    items.delete(1)
    assert second.rows == list(second.query.get()) == expected(items, 5, 5)
    assert third.rows == expected(items, 5, 10)
    assert loads == [80, 1]


def test_a_window_that_is_behind_the_change_says_nothing() -> None:
    client = DbClient()
    items = build(client, 100)
    near, far = Screen(window(client, items, 5, 0)), Screen(window(client, items, 5, 20))
    before = near.calls, far.calls
    items.update(99, text="far behind")
    assert (near.calls, far.calls) == before


def test_unread_snapshots_of_all_windows_stay_as_they_were() -> None:
    client = DbClient()
    items = build(client, 20)
    queries = [window(client, items, 3, offset) for offset in (0, 3)]
    for query in queries:
        query.subscribe(lambda: None)
    wanted = [expected(items, 3, 0), expected(items, 3, 3)]
    unread = [query.get() for query in queries]
    items.insert({"id": 50, "n": 0, "on": True})
    assert expected(items, 3, 3) != wanted[1]
    assert [list(rows) for rows in unread] == wanted


def test_other_conditions_and_orders_are_other_orders(loads: list[int]) -> None:
    client = DbClient()
    items = build(client, 10)
    rows = QueryBuilder().from_(items)
    queries = [
        rows.order_by(lambda row: row["n"]),
        rows.order_by(lambda row: row["n"], desc=True),
        rows.where(lambda row: row["n"] > 0).order_by(lambda row: row["n"]),
    ]
    shown = [live_query(query.limit(2), client=client) for query in queries]
    for query in shown:
        query.subscribe(lambda: None)
    assert len(loads) == 3
    items.insert({"id": -1, "n": 0, "on": True})
    assert [[row["id"] for row in query.get()] for query in shown] == [[-1, 0], [3, 7], [1, 5]]


@functools.total_ordering
class Shy:
    """A value whose comparison may raise."""

    is_shy = False

    def __init__(self, n: int) -> None:
        self.n = n

    def __lt__(self, other: Any) -> bool:
        if Shy.is_shy:
            raise RuntimeError("do not compare me")
        return bool(self.n < other.n)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Shy) and self.n == other.n

    def __hash__(self) -> int:
        return self.n


def test_an_order_whose_comparisons_raise_is_given_up_by_all(monkeypatch: pytest.MonkeyPatch) -> None:
    client = DbClient()
    rows: list[Row] = [{"id": number, "n": Shy(number)} for number in range(10)]
    items: Collection[Row, int] = client.build(
        local_only_collection_options(id="items", get_key=lambda row: row["id"], initial_data=rows)
    )
    ordered = QueryBuilder().from_(items).order_by(lambda row: row["n"])
    queries = [live_query(ordered.limit(2).offset(offset), client=client) for offset in (0, 2, 4)]
    for query in queries:
        query.subscribe(lambda: None)
    with monkeypatch.context() as patched:
        patched.setattr(Shy, "is_shy", True)
        items.insert({"id": 20, "n": Shy(-1)})
    items.insert({"id": 21, "n": Shy(-2)})
    assert [query.error for query in queries] == [None] * 3
    assert [[row["id"] for row in query.get()] for query in queries] == [[21, 20], [0, 1], [2, 3]]


def test_who_comes_after_the_keeper_has_left_in_one_batch_knows_the_places() -> None:
    client = DbClient()
    items = build(client, 10)
    with client.batch():
        keeper = Screen(window(client, items, 0, 0))
        first = Screen(window(client, items, 3, 2))
        keeper.stop()
        second = Screen(window(client, items, 3, 2))
        assert second.rows == first.rows == expected(items, 3, 2)
    assert second.rows == first.rows == list(second.query.get())


def test_who_follows_rows_of_a_query_that_has_failed_knows_the_places() -> None:
    client = DbClient()
    items = build(client, 10)
    ordered = QueryBuilder().from_(items).order_by("n", "desc")
    query = ordered.select(lambda row: {"id": row["id"], "share": 12 // row["n"] if row["n"] != 9 else 1 // 0})
    first = Screen(live_query(query.limit(4), client=client))
    items.update(2, n=8)
    shown = first.rows
    items.insert({"id": 20, "n": 9, "on": True})
    assert isinstance(first.query.error, ZeroDivisionError)
    second = Screen(live_query(query.limit(4), client=client))
    assert second.rows == list(second.query.get()) == shown
    first.stop()
    second.stop()


steps = st.one_of(
    st.tuples(st.just("open"), st.integers(0, 4), st.integers(0, 6)),
    st.tuples(st.just("close"), st.integers(0, 5), st.just(0)),
    st.tuples(st.just("move"), st.integers(0, 5), st.integers(0, 6)),
    st.tuples(st.just("put"), st.integers(0, 9), st.integers(-2, 5)),
    st.tuples(st.just("delete"), st.integers(0, 9), st.just(0)),
)


@given(st.lists(st.lists(steps, max_size=4), max_size=12))
def test_every_window_is_what_it_would_be_alone(history: list[list[tuple[str, int, int]]]) -> None:
    """f.2 32, 40. Kills: a follower that misses the keeper's last steps; one that takes over amid a batch."""
    client = DbClient()
    items = build(client, 6)
    screens: list[tuple[Screen, list[int]]] = []

    def do(what: str, first: int, second: int) -> None:
        if what == "open":
            screens.append((Screen(window(client, items, first, second)), [first, second]))
        elif what == "put":
            if first in items.rows:
                items.update(first, n=second, on=second != 0)
            else:
                items.insert({"id": first, "n": second, "on": second != 0})
        elif what == "delete" and first in items.rows:
            items.delete(first)
        elif what == "close" and screens:
            screens.pop(first % len(screens))[0].stop()
        elif what == "move" and screens:
            screen, place = screens[first % len(screens)]
            place[1] = second
            screen.query.set_window(limit=place[0], offset=second)

    for batch in history:
        calls = [screen.calls for screen, _ in screens]
        there = list(screens)
        with client.batch():
            for step in batch:
                do(*step)
        for (screen, _), before in zip(there, calls, strict=True):
            assert screen.calls <= before + 1
        for screen, (limit, offset) in screens:
            assert screen.rows == list(screen.query.get()) == expected(items, limit, offset)
