"""What a windowed query asks an on-demand source for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tanstack_db import (
    Collection,
    CollectionStateError,
    Comparison,
    DbClient,
    LiveQuery,
    LoadSubset,
    OrderTerm,
    QueryBuilder,
    Rows,
    SourceError,
    SubsetStatus,
    SyncContext,
    SyncRun,
    collection_options,
    comparisons,
    live_query,
)
from tanstack_db.query._compile import predicate

Row = dict[str, Any]


class Server:
    """Rows behind an API that gives pages. Loads when the test says so, or at once; keeps what it gave up to date."""

    def __init__(self, client: DbClient, rows: list[Row], *, at_once: bool = False) -> None:
        self.rows = {row["id"]: row for row in rows}
        self.at_once = at_once
        self.asked: list[LoadSubset] = []
        self.unloaded: list[LoadSubset] = []
        self.waiting: list[tuple[LoadSubset, SubsetStatus]] = []
        self.collection: Collection[Row, int] = client.build(
            collection_options(
                id="rows", get_key=lambda row: row["id"], sync=self.sync, sync_mode="on-demand", gc_time=0
            )
        )

    def sync(self, ctx: SyncContext[Row, int], /) -> SyncRun:
        self.ctx = ctx
        ctx.mark_ready()
        return SyncRun(load_subset=self.load, unload_subset=self.unloaded.append)

    def load(self, subset: LoadSubset, status: SubsetStatus) -> None:
        self.asked.append(subset)
        self.waiting.append((subset, status))
        if self.at_once:
            self.answer()

    def answer(self) -> None:
        """Give what was asked for, but as a page behind the cursor: rows may have gone since."""
        waiting, self.waiting = self.waiting, []
        for subset, status in waiting:
            rows = sorted(self.rows.values(), key=lambda row: (row["n"], row["id"]))
            if subset.where is not None:
                rows = list(filter(predicate([subset.where], sources=1, accessors=["item"]), rows))
            if subset.cursor is not None:
                after, ties = (
                    predicate([part], sources=1, accessors=["item"])
                    for part in (subset.cursor.where_from, subset.cursor.where_current)
                )
                last = subset.cursor.last_key
                rows = [row for row in rows if after(row) or (ties(row) and row["id"] > last)]
            self.ctx.begin()
            for row in rows if subset.limit is None else rows[: subset.limit]:
                self.ctx.update(row)
            self.ctx.commit()
            status.mark_ready()

    def fail(self, error: Exception) -> None:
        waiting, self.waiting = self.waiting, []
        for _, status in waiting:
            status.mark_error(error)

    def delete(self, *keys: int) -> None:
        self.ctx.begin()
        for key in keys:
            self.rows.pop(key, None)
            self.ctx.delete(key)
        self.ctx.commit()

    @property
    def pages(self) -> list[tuple[int, int | None]]:
        return [(subset.offset, subset.limit) for subset in self.asked]


@pytest.fixture
def errors() -> list[Exception]:
    return []


@pytest.fixture
def client(errors: list[Exception]) -> DbClient:
    return DbClient(on_error=errors.append)


@pytest.fixture
def server(client: DbClient) -> Server:
    return Server(client, [{"id": number, "n": number // 2} for number in range(40)])


def page(client: DbClient, server: Server, limit: int | None = 5, offset: int = 0) -> LiveQuery[Rows[Row]]:
    query = QueryBuilder().from_(server.collection).order_by(lambda row: row["n"])
    return live_query((query if limit is None else query.limit(limit)).offset(offset), client=client)


def ids(query: LiveQuery[Rows[Row]]) -> list[int]:
    return [row["id"] for row in query.get()]


def test_a_window_loads_what_it_shows_and_what_is_before_it(client: DbClient, server: Server) -> None:
    query = page(client, server, limit=3, offset=4)
    query.subscribe(lambda: None)
    assert server.asked == [LoadSubset({}, None, (OrderTerm("n"),), limit=7)]
    assert not query.is_ready
    server.answer()
    assert query.is_ready
    assert ids(query) == [4, 5, 6]
    assert server.collection.size == 7


def test_a_moved_window_loads_only_what_is_missing(client: DbClient, server: Server) -> None:
    query = page(client, server)
    query.subscribe(lambda: None)
    server.answer()

    move = query.set_window(limit=5, offset=5)

    assert not move.is_loaded
    assert query.is_ready
    (_, more) = server.asked
    assert (more.offset, more.limit, more.order_by) == (5, 5, (OrderTerm("n"),))
    assert more.cursor is not None
    assert comparisons(more.cursor.where_from) == (Comparison("n", "gt", 2),)
    assert comparisons(more.cursor.where_current) == (Comparison("n", "eq", 2),)
    assert more.cursor.last_key == 4
    server.answer()
    assert move.is_loaded
    assert ids(query) == [5, 6, 7, 8, 9]

    assert query.set_window(limit=3, offset=1).is_loaded
    assert query.set_window(limit=10, offset=0).is_loaded
    assert server.pages == [(0, 5), (5, 5)]


async def test_a_move_can_be_awaited(client: DbClient, server: Server) -> None:
    query = page(client, server)
    query.subscribe(lambda: None)
    server.answer()
    first, second = query.set_window(limit=6), query.set_window(limit=8)
    for seconds in (1, 2):
        asyncio.get_running_loop().call_later(seconds, server.answer)
    await first.loaded()
    assert second.is_loaded
    await second.loaded()
    assert ids(query) == list(range(8))


def test_rows_that_go_are_replaced_from_the_source(client: DbClient, server: Server) -> None:
    """f.2 31 where the next row is not there yet; g 10."""
    query = page(client, server)
    query.subscribe(lambda: None)
    server.answer()
    server.delete(0, 3)
    assert server.pages == [(0, 5), (3, 2)]
    assert query.is_ready
    server.answer()
    assert ids(query) == [1, 2, 4, 5, 6]


def test_a_source_that_answers_at_once_is_shown_at_once(client: DbClient) -> None:
    server = Server(client, [{"id": number, "n": number} for number in range(20)], at_once=True)
    query = page(client, server, limit=2)
    told: list[list[int]] = []
    query.subscribe(lambda: told.append(ids(query)))
    server.delete(0)
    assert query.set_window(limit=2, offset=2).is_loaded
    assert told == [[1, 2], [3, 4]]
    assert server.pages == [(0, 2), (1, 1), (2, 2)]


def test_rows_that_others_have_loaded_do_not_fill_a_gap(client: DbClient, server: Server) -> None:
    """g 15."""
    query = page(client, server)
    query.subscribe(lambda: None)
    server.answer()
    far = live_query(lambda q: q.from_(server.collection).where(lambda row: row["n"] > 17), client=client)
    far.subscribe(lambda: None)
    server.answer()
    assert {row["id"] for row in far.get()} == {36, 37, 38, 39}

    query.set_window(limit=8)
    assert ids(query) == [0, 1, 2, 3, 4, 36, 37, 38]
    assert server.pages[-1] == (5, 3)
    server.answer()
    assert ids(query) == list(range(8))
    server.delete(2)
    assert server.pages[-1] == (7, 1)


def test_a_source_without_more_rows_is_asked_once(client: DbClient) -> None:
    server = Server(client, [{"id": 1, "n": 1}, {"id": 2, "n": 2}])
    query = page(client, server)
    query.subscribe(lambda: None)
    server.answer()
    server.delete(1)
    assert query.set_window(limit=10).is_loaded
    assert ids(query) == [2]
    assert server.pages == [(0, 5)]


def test_a_move_to_everything_and_from_nothing(client: DbClient, server: Server) -> None:
    query = page(client, server, limit=0)
    query.subscribe(lambda: None)
    server.answer()
    query.set_window(limit=3)
    server.answer()
    assert ids(query) == [0, 1, 2]
    query.set_window(limit=None, offset=1)
    server.answer()
    assert ids(query) == list(range(1, 40))
    assert server.pages == [(0, 0), (0, 3), (3, None)]


async def test_a_failed_move_goes_back_and_can_be_tried_again(
    client: DbClient, server: Server, errors: list[Exception]
) -> None:
    query = page(client, server)
    query.subscribe(lambda: None)
    server.answer()
    cause = OSError("no network")

    move = query.set_window(limit=5, offset=5)
    asyncio.get_running_loop().call_later(1, server.fail, cause)
    with pytest.raises(SourceError) as caught:
        await move.loaded()

    assert caught.value.__cause__ is cause
    assert move.error is caught.value
    assert query.error is None
    assert query.is_ready
    assert ids(query) == [0, 1, 2, 3, 4]
    assert not errors
    again = query.set_window(limit=5, offset=5)
    server.answer()
    assert again.is_loaded
    assert ids(query) == [5, 6, 7, 8, 9]


def test_a_failed_move_that_nobody_awaits_is_reported(
    client: DbClient, server: Server, errors: list[Exception]
) -> None:
    query = page(client, server)
    query.subscribe(lambda: None)
    server.answer()
    query.set_window(limit=5, offset=5)
    server.fail(OSError("no network"))
    (error,) = errors
    assert isinstance(error, SourceError)


def test_a_failed_refill_is_the_error_of_the_query_until_it_succeeds(client: DbClient, server: Server) -> None:
    query = page(client, server)
    query.subscribe(lambda: None)
    server.answer()
    server.delete(0)
    waiting = list(server.waiting)
    error = OSError("no network")
    server.fail(error)
    assert query.error is error
    assert ids(query) == [1, 2, 3, 4]
    server.waiting = waiting
    server.answer()
    assert query.error is None
    assert ids(query) == [1, 2, 3, 4, 5]


async def test_a_query_that_stops_fails_its_moves_and_lets_go_of_everything(client: DbClient, server: Server) -> None:
    query = page(client, server)
    stop = query.subscribe(lambda: None)
    server.answer()
    move = query.set_window(limit=5, offset=5)
    stop()
    with pytest.raises(CollectionStateError, match="stopped while its window was loading"):
        await move.loaded()
    assert server.unloaded == server.asked


def test_handles_that_part_go_on_from_what_is_loaded(client: DbClient, server: Server) -> None:
    mine, theirs = page(client, server), page(client, server)
    for query in (mine, theirs):
        query.subscribe(lambda: None)
    server.answer()
    mine.set_window(limit=5, offset=2)
    assert mine.is_ready
    assert server.pages == [(0, 5), (5, 2)]
    server.answer()
    assert (ids(mine), ids(theirs)) == ([2, 3, 4, 5, 6], [0, 1, 2, 3, 4])


def test_a_source_that_loads_from_scratch_is_asked_for_the_rest_afterwards(client: DbClient, server: Server) -> None:
    query = page(client, server)
    query.subscribe(lambda: None)
    ((subset, status),) = server.waiting
    server.answer()
    query.set_window(limit=8)
    server.answer()

    status.mark_loading()
    assert not query.is_ready
    server.ctx.begin()
    server.ctx.truncate()
    server.ctx.commit()
    server.waiting = [(subset, status)]
    server.answer()
    assert query.is_ready
    assert server.pages == [(0, 5), (5, 3), (5, 3)]
    server.answer()
    assert ids(query) == list(range(8))


def test_without_an_order_of_columns_everything_is_asked_for(client: DbClient, server: Server) -> None:
    query = live_query(lambda q: q.from_(server.collection).limit(3), client=client)
    query.subscribe(lambda: None)
    assert server.asked == [LoadSubset()]


steps = st.lists(
    st.tuples(st.sampled_from(["move", "delete", "answer"]), st.integers(0, 8), st.integers(0, 8)), max_size=15
)


@given(steps, st.lists(st.integers(0, 3), min_size=1, max_size=14))
def test_once_everything_was_answered_the_window_is_that_of_the_server(
    history: list[tuple[str, int, int]], columns: list[int]
) -> None:
    """Kills: counting rows behind the boundary; asking behind a row that has moved; asking for the window only."""
    client = DbClient()
    server = Server(client, [{"id": key, "n": n} for key, n in enumerate(columns)])
    query = page(client, server, limit=2)
    query.subscribe(lambda: None)
    limit, offset, furthest = 2, 0, 2
    for what, first, second in [*history, ("answer", 0, 0)]:
        if what == "move":
            limit, offset = first, second
            furthest = max(furthest, limit + offset)
            query.set_window(limit=limit, offset=offset)
        elif what == "delete":
            server.delete(first)
        else:
            while server.waiting:
                server.answer()
            rows = sorted(server.rows.values(), key=lambda row: (row["n"], row["id"]))
            assert ids(query) == [row["id"] for row in rows[offset : offset + limit]]
            assert server.collection.size <= furthest
