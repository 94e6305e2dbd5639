"""Infinite queries and paged queries."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tanstack_db import (
    Collection,
    DbClient,
    LoadSubset,
    Page,
    Pages,
    QueryError,
    SourceError,
    SubsetStatus,
    SyncContext,
    SyncRun,
    UsageError,
    collection_options,
    infinite_query,
    live_query,
    local_only_collection_options,
    paged_query,
)

Row = dict[str, Any]


@pytest.fixture
def errors() -> list[Exception]:
    return []


@pytest.fixture
def client(errors: list[Exception]) -> DbClient:
    return DbClient(on_error=errors.append)


@pytest.fixture
def items(client: DbClient) -> Collection[Row, int]:
    rows: list[Row] = [{"id": number} for number in range(7)]
    return client.build(local_only_collection_options(id="items", get_key=lambda row: row["id"], initial_data=rows))


class Server:
    """Loads pages when the test says so."""

    def __init__(self, client: DbClient, size: int) -> None:
        self.size = size
        self.waiting: list[tuple[LoadSubset, SubsetStatus]] = []
        self.asked: list[tuple[int, int | None]] = []
        self.collection: Collection[Row, int] = client.build(
            collection_options(id="items", get_key=lambda row: row["id"], sync=self.sync, sync_mode="on-demand")
        )

    def sync(self, ctx: SyncContext[Row, int], /) -> SyncRun:
        self.ctx = ctx
        ctx.mark_ready()
        return SyncRun(load_subset=self.load)

    def load(self, subset: LoadSubset, status: SubsetStatus) -> None:
        self.asked.append((subset.offset, subset.limit))
        self.waiting.append((subset, status))

    def answer(self, error: Exception | None = None) -> None:
        waiting, self.waiting = self.waiting, []
        for subset, status in waiting:
            if error is not None:
                status.mark_error(error)
                continue
            self.ctx.begin()
            for number in range(subset.offset, min(self.size, subset.offset + (subset.limit or self.size))):
                self.ctx.insert({"id": number})
            self.ctx.commit()
            status.mark_ready()


def shown(pages: Pages[Row]) -> tuple[list[list[int]], bool, bool]:
    return [[row["id"] for row in page] for page in pages.pages], pages.has_next_page, pages.is_fetching_next_page


def test_pages_are_added_until_there_are_no_more(client: DbClient, items: Collection[Row, int]) -> None:
    feed = infinite_query(lambda q: q.from_(items).order_by(lambda row: row["id"]), page_size=3, client=client)
    told: list[Pages[Row]] = []
    feed.subscribe(lambda: told.append(feed.get()))
    assert shown(feed.get()) == ([[0, 1, 2]], True, False)
    assert feed.get() is feed.get()

    assert feed.fetch_next_page().is_loaded
    assert shown(feed.get()) == ([[0, 1, 2], [3, 4, 5]], True, False)
    assert told == [feed.get()]
    feed.fetch_next_page()
    assert shown(feed.get()) == ([[0, 1, 2], [3, 4, 5], [6]], False, False)
    last = feed.get()
    assert feed.fetch_next_page().is_loaded
    assert feed.get() is last
    assert [row["id"] for row in last.rows] == list(range(7))


def test_pages_stay_full_while_rows_come_and_go(client: DbClient, items: Collection[Row, int]) -> None:
    feed = infinite_query(lambda q: q.from_(items).order_by(lambda row: row["id"]), page_size=2, client=client)
    feed.subscribe(lambda: None)
    feed.fetch_next_page()
    items.delete(1)
    assert shown(feed.get()) == ([[0, 2], [3, 4]], True, False)
    items.insert({"id": -1})
    assert shown(feed.get()) == ([[-1, 0], [2, 3]], True, False)
    items.delete(4, 5, 6)
    assert shown(feed.get()) == ([[-1, 0], [2, 3]], False, False)
    items.delete(-1, 0, 2, 3)
    assert shown(feed.get()) == ([[]], False, False)


async def test_a_page_that_has_to_be_loaded(client: DbClient) -> None:
    server = Server(client, 7)
    feed = infinite_query(
        lambda q: q.from_(server.collection).order_by(lambda row: row["id"]), page_size=3, client=client
    )
    told: list[tuple[list[list[int]], bool, bool]] = []
    feed.subscribe(lambda: told.append(shown(feed.get())))
    assert not feed.get().is_ready
    server.answer()
    await feed.preload()

    move = feed.fetch_next_page()
    assert feed.fetch_next_page() is move
    assert shown(feed.get()) == ([[0, 1, 2], [3]], False, True)
    asyncio.get_running_loop().call_later(1, server.answer)
    await move.loaded()
    assert shown(feed.get()) == ([[0, 1, 2], [3, 4, 5]], True, False)
    assert told[-1] == shown(feed.get())
    assert ([[0, 1, 2], [3]], False, True) in told
    assert server.asked == [(0, 4), (4, 3)]


async def test_a_page_that_cannot_be_loaded(client: DbClient, errors: list[Exception]) -> None:
    server = Server(client, 7)
    feed = infinite_query(
        lambda q: q.from_(server.collection).order_by(lambda row: row["id"]), page_size=3, client=client
    )
    told: list[Pages[Row]] = []
    feed.subscribe(lambda: told.append(feed.get()))
    server.answer()
    feed.fetch_next_page()

    server.answer(OSError("no network"))

    assert shown(feed.get()) == ([[0, 1, 2]], True, False)
    assert isinstance(feed.get().error, SourceError)
    assert told[-1] is feed.get()
    assert not errors
    feed.fetch_next_page()
    server.answer()
    assert shown(feed.get()) == ([[0, 1, 2], [3, 4, 5]], True, False)
    assert feed.get().error is None


def test_two_feeds_of_one_query_have_their_own_pages(client: DbClient, items: Collection[Row, int]) -> None:
    mine, theirs = (
        infinite_query(lambda q: q.from_(items).order_by(lambda row: row["id"]), page_size=2, client=client)
        for _ in range(2)
    )
    for feed in (mine, theirs):
        feed.subscribe(lambda: None)
    mine.fetch_next_page()
    assert shown(mine.get()) == ([[0, 1], [2, 3]], True, False)
    assert shown(theirs.get()) == ([[0, 1]], True, False)


def ids(page: Page[Row]) -> list[int]:
    return [row["id"] for row in page.rows]


def test_a_table_turns_its_pages(client: DbClient, items: Collection[Row, int]) -> None:
    table = paged_query(lambda q: q.from_(items).order_by(lambda row: row["id"]), page_size=3, client=client)
    told: list[list[int]] = []
    stop = table.subscribe(lambda: told.append(ids(table.get())))
    page = table.get()
    assert (ids(page), page.has_previous_page, page.has_next_page) == ([0, 1, 2], False, True)
    table.next_page()
    assert ids(table.get()) == [3, 4, 5]
    table.set_page(2)
    page = table.get()
    assert (ids(page), page.number, page.has_previous_page, page.has_next_page) == ([6], 2, True, False)
    table.next_page()
    assert ids(table.get()) == []
    table.set_page(0)
    table.previous_page()
    assert told == [[3, 4, 5], [6], [], [0, 1, 2]]
    stop()
    table.next_page()
    assert len(told) == 4


def test_a_table_stays_on_its_page_when_another_cannot_be_loaded(client: DbClient) -> None:
    server = Server(client, 9)
    table = paged_query(
        lambda q: q.from_(server.collection).order_by(lambda row: row["id"]), page_size=3, client=client
    )
    table.subscribe(lambda: None)
    server.answer()
    table.next_page()
    assert table.get().is_fetching
    server.answer()
    assert ids(table.get()) == [3, 4, 5]
    table.next_page()
    server.answer(OSError("no network"))
    page = table.get()
    assert (ids(page), page.number, page.is_fetching) == ([3, 4, 5], 1, False)
    assert isinstance(page.error, SourceError)


async def test_in_a_with_block_it_runs_and_then_ends(client: DbClient, items: Collection[Row, int]) -> None:
    async with paged_query(
        lambda q: q.from_(items).order_by(lambda row: row["id"]), page_size=3, client=client
    ) as table:
        assert ids(table.get()) == [0, 1, 2]
    with pytest.raises(UsageError, match="closed"):
        table.get()


def test_what_cannot_be_paged_says_so(client: DbClient, items: Collection[Row, int]) -> None:
    ordered = live_query(lambda q: q.from_(items).order_by(lambda row: row["id"]), client=client)
    for size in (0, True):
        with pytest.raises(UsageError, match="page_size must be a number, 1 or more"):
            infinite_query(ordered, page_size=size, client=client)
    with pytest.raises(UsageError, match="number must be a number, 0 or more, not -1"):
        paged_query(ordered, client=client).set_page(-1)
    with pytest.raises(UsageError, match="has no limit"):
        infinite_query(lambda q: q.from_(items).order_by(lambda row: row["id"]).limit(3), client=client)
    with pytest.raises(QueryError, match="order_by"):
        paged_query(items, client=client)
