"""Moving the window of a live query."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tanstack_db import (
    Change,
    Collection,
    DbClient,
    JoinRow,
    LiveQuery,
    QueryBuilder,
    QueryError,
    Rows,
    SyncContext,
    collection_options,
    count,
    live_query,
    local_only_collection_options,
)

Row = dict[str, Any]


def numbers(client: DbClient, name: str, rows: list[Row]) -> Collection[Row, int]:
    return client.build(local_only_collection_options(id=name, get_key=lambda row: row["id"], initial_data=rows))


@pytest.fixture
def client() -> DbClient:
    def fail(error: Exception) -> None:
        raise error

    return DbClient(on_error=fail)


@pytest.fixture
def items(client: DbClient) -> Collection[Row, int]:
    return numbers(client, "items", [{"id": number, "n": number * 10} for number in range(10)])


def page(client: DbClient, items: Collection[Row, int], limit: int = 3, offset: int = 0) -> LiveQuery[Rows[Row]]:
    return live_query(
        lambda q: q.from_(items).order_by(lambda row: row["n"]).limit(limit).offset(offset), client=client
    )


def ids(query: LiveQuery[Rows[Row]]) -> list[int]:
    return [row["id"] for row in query.get()]


class List:
    """A list on a screen: it follows the keyed changes as `LiveQuery.subscribe_changes` says."""

    def __init__(self, query: LiveQuery[Rows[Any]]) -> None:
        self.items: list[tuple[Any, Any]] = []
        self.batches: list[list[Change[Any, Any]]] = []
        self.stop = query.subscribe_changes(self._follow, include_initial_state=True)

    def _follow(self, changes: Any) -> None:
        self.batches.append(changes)
        gone = {change.key for change in changes if change.type != "insert"}
        assert gone <= {key for key, _ in self.items}
        self.items = [item for item in self.items if item[0] not in gone]
        for change in changes:
            if change.type != "delete":
                self.items.insert(change.index, (change.key, change.value))

    @property
    def rows(self) -> list[Any]:
        return [row for _, row in self.items]


def test_a_window_moves_forward_backward_and_past_the_end(client: DbClient, items: Collection[Row, int]) -> None:
    """f.2 32."""
    query = page(client, items)
    shown = List(query)
    for offset, limit in ((3, 3), (1, 3), (8, 5), (20, 5), (0, 4), (2, 0), (7, None), (0, None), (0, 3)):
        query.set_window(offset=offset, limit=limit)
        expected = list(range(10))[offset:] if limit is None else list(range(10))[offset : offset + limit]

        assert ids(query) == expected
        assert [row["id"] for row in shown.rows] == expected
        assert ids(page(client, items, 10 if limit is None else limit, offset)) == expected


def test_a_move_is_told_once_and_only_of_rows_that_come_or_go(client: DbClient, items: Collection[Row, int]) -> None:
    query = page(client, items, limit=5)
    calls: list[list[int]] = []
    query.subscribe(lambda: calls.append(ids(query)))
    changes = List(query).batches

    query.set_window(offset=2, limit=5)

    assert calls == [[2, 3, 4, 5, 6]]
    assert [(change.type, change.key, change.index) for change in changes[-1]] == [
        ("delete", 0, None),
        ("delete", 1, None),
        ("insert", 5, 3),
        ("insert", 6, 4),
    ]
    query.set_window(offset=2, limit=5)
    assert len(calls) == 1


def test_a_window_belongs_to_its_handle(client: DbClient, items: Collection[Row, int]) -> None:
    mine, theirs = page(client, items), page(client, items)
    lists = List(mine), List(theirs)

    mine.set_window(offset=2, limit=3)

    assert (ids(mine), ids(theirs)) == ([2, 3, 4], [0, 1, 2])
    assert [(change.type, change.key) for change in lists[0].batches[-1]] == [
        ("delete", 0),
        ("delete", 1),
        ("insert", 3),
        ("insert", 4),
    ]
    assert len(lists[1].batches) == 1
    items.insert({"id": 99, "n": 25})
    assert (ids(mine), ids(theirs)) == ([2, 99, 3], [0, 1, 2])
    assert [row["id"] for row in lists[0].rows] == [2, 99, 3]

    theirs.set_window(offset=1, limit=1)
    assert (ids(mine), ids(theirs), ids(page(client, items))) == ([2, 99, 3], [1], [0, 1, 2])


def test_a_handle_that_moved_back_is_not_moved_by_others(client: DbClient, items: Collection[Row, int]) -> None:
    mine = page(client, items)
    mine.set_window(offset=5, limit=3)
    mine.set_window(offset=0, limit=3)
    theirs = page(client, items)
    theirs.set_window(offset=1, limit=3)
    assert (ids(mine), ids(theirs)) == ([0, 1, 2], [1, 2, 3])


def test_a_query_that_reads_the_handle_follows_its_window(client: DbClient, items: Collection[Row, int]) -> None:
    shared, handle = page(client, items), page(client, items)
    reader = live_query(lambda q: q.from_(handle).aggregate(lambda row: count()), client=client)
    numbers_read: list[int] = []
    reader.subscribe(lambda: numbers_read.append(reader.get()))
    other = live_query(lambda q: q.from_(shared).aggregate(lambda row: count()), client=client)

    handle.set_window(offset=8, limit=5)

    assert (reader.get(), other.get()) == (2, 3)
    assert numbers_read == [2]


def test_a_move_inside_a_batch_is_shown_with_it(client: DbClient, items: Collection[Row, int]) -> None:
    for query in (page(client, items), page(client, items)):
        keeper = page(client, items)
        keeper.subscribe(lambda: None)
        calls: list[list[int]] = []
        shown = List(query)
        stop = query.subscribe(lambda query=query, calls=calls: calls.append(ids(query)))  # type: ignore[misc]
        with client.batch():
            items.insert({"id": -1, "n": -10})
            query.set_window(offset=0, limit=2)
            items.delete(0)
            query.set_window(offset=1, limit=2)
            assert ids(query) == [0, 1, 2]
        assert calls == [[1, 2]]
        assert [row["id"] for row in shown.rows] == [1, 2]
        stop()
        items.delete(-1)
        items.insert({"id": 0, "n": 0})


def test_joined_rows_keep_their_keys_when_the_window_moves(client: DbClient, items: Collection[Row, int]) -> None:
    notes = numbers(client, "notes", [])

    def paired() -> LiveQuery[Rows[tuple[Row, Row | None]]]:
        return live_query(
            lambda q: (
                q.from_(items)
                .join(notes, on=lambda item, note: item["id"] == note["item"])
                .order_by(lambda item, note: item["n"])
                .limit(3)
            ),
            client=client,
        )

    mine, theirs = paired(), paired()
    shown = List(mine)
    theirs.subscribe(lambda: None)
    key = shown.items[1][0]
    notes.insert({"id": 1, "item": 1})
    assert shown.items[1] == (key, JoinRow(({"id": 1, "n": 10}, {"id": 1, "item": 1})))

    mine.set_window(offset=1, limit=3)

    assert shown.items[0][0] == key
    notes.delete(1)
    assert shown.items[0] == (key, ({"id": 1, "n": 10}, None))
    assert [pair[0]["id"] for pair in mine.get()] == [1, 2, 3]


def test_projected_rows_move_as_well(client: DbClient, items: Collection[Row, int]) -> None:
    query = live_query(
        lambda q: q.from_(items).order_by(lambda row: row["n"], desc=True).select(lambda row: row["id"] * 2).limit(2),
        client=client,
    )
    shown = List(query)
    query.set_window(offset=1, limit=3)
    assert list(query.get()) == shown.rows == [16, 14, 12]


def test_after_a_failure_the_rows_keep_their_order_and_a_move_tries_again(
    client: DbClient, items: Collection[Row, int]
) -> None:
    query = live_query(
        lambda q: q.from_(items).order_by(lambda row: row["n"]).select(lambda row: 100 // (row["id"] - 5)).limit(3),
        client=client,
    )
    query.subscribe(lambda: None)
    before = list(query.get())

    query.set_window(offset=3, limit=3)
    assert isinstance(query.error, ZeroDivisionError)
    assert list(query.get()) == before
    query.set_window(offset=6, limit=2)
    assert query.error is None
    assert list(query.get()) == [100, 50]


def test_a_window_moves_before_the_query_runs_and_while_it_lingers(
    client: DbClient, items: Collection[Row, int]
) -> None:
    query = page(client, items)
    query.set_window(offset=4, limit=2)
    assert ids(query) == [4, 5]
    query.set_window(offset=5, limit=2)
    assert ids(query) == [5, 6]


async def test_everything_ends_with_the_last_subscription(client: DbClient) -> None:
    stopped: list[bool] = []

    def sync(ctx: SyncContext[Row, int], /) -> Callable[[], None]:
        return lambda: stopped.append(True)

    source: Collection[Row, int] = client.build(
        collection_options(id="source", get_key=lambda row: row["id"], sync=sync, gc_time=1)
    )
    mine, theirs = page(client, source), page(client, source)
    stops = [query.subscribe(lambda: None) for query in (mine, theirs)]
    mine.set_window(offset=1, limit=1)
    stops[1]()
    await asyncio.sleep(10)
    assert not stopped
    mine.close()
    await asyncio.sleep(10)
    assert stopped


def test_what_has_no_window_says_so(client: DbClient, items: Collection[Row, int]) -> None:
    ordered = QueryBuilder().from_(items).order_by(lambda row: row["n"])
    for query in (
        live_query(items, client=client),
        live_query(ordered.find_one(), client=client),
        live_query(ordered.limit(3).aggregate(lambda row: count()), client=client),
    ):
        with pytest.raises(QueryError, match="set_window needs a query of many rows with order_by"):
            query.set_window(offset=0, limit=1)


def test_a_wrong_window_changes_nothing(client: DbClient, items: Collection[Row, int]) -> None:
    query = page(client, items)
    with pytest.raises(QueryError, match="offset takes a number of rows"):
        query.set_window(offset=-1, limit=2)
    with pytest.raises(QueryError, match="limit takes a number of rows"):
        query.set_window(offset=1, limit=True)
    assert ids(query) == [0, 1, 2]


changes = st.tuples(st.integers(0, 8), st.none() | st.integers(0, 4))
windows = st.tuples(st.none() | st.integers(0, 6), st.integers(0, 6))


@given(st.lists(st.tuples(st.sampled_from([0, 1]), windows, st.lists(changes, max_size=4)), max_size=12))
def test_two_handles_of_one_query_each_show_their_window(
    history: list[tuple[int, tuple[int | None, int], list[tuple[int, int | None]]]],
) -> None:
    """f.2 32, 40. Kills: moving the result that both share; telling of a move with the keys of another window."""
    client = DbClient()
    items = numbers(client, "items", [{"id": number, "n": number % 3} for number in range(5)])
    queries = [page(client, items), page(client, items)]
    lists = [List(query) for query in queries]
    mine: list[tuple[int | None, int]] = [(3, 0), (3, 0)]
    for which, window, batch in history:
        with client.batch():
            mine[which] = limit, offset = window
            queries[which].set_window(limit=limit, offset=offset)
            for key, n in batch:
                if key not in items.rows:
                    items.insert({"id": key, "n": n or 0})
                elif n is None:
                    items.delete(key)
                else:
                    items.update(key, lambda row, n=n: {**row, "n": n})  # type: ignore[misc]
        everything = sorted(items.rows.values(), key=lambda row: (row["n"], row["id"]))
        for query, shown, (limit, offset) in zip(queries, lists, mine, strict=True):
            expected = everything[offset:] if limit is None else everything[offset : offset + limit]
            assert list(query.get()) == shown.rows == expected
