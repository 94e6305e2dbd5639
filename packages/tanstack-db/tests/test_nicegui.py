"""The NiceGUI binding, in pages that a simulated user opens."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from nicegui import testing, ui

from tanstack_db import (
    Collection,
    DbClient,
    LiveQuery,
    LiveSource,
    NoSessionError,
    Rows,
    UsageError,
    collection_options,
    count,
    create_collection,
    default_client,
    require_sessions,
)
from tanstack_db.nicegui import LivePage
from tanstack_db.query import QueryBuilder
from tanstack_db.testing import ManualSource

Row = dict[str, Any]


@pytest.fixture(autouse=True)
def sessions() -> Generator[None]:
    yield
    require_sessions(False)


class Table:
    """A module-level collection: each client's instance has a source of its own."""

    def __init__(self, *rows: Row) -> None:
        self.sources: list[ManualSource[Row, int]] = []

        def sync(run: Any) -> Any:
            self.sources.append(ManualSource[Row, int](rows))
            return self.sources[-1](run)

        self.collection: Collection[Row, int] = create_collection(
            collection_options(id="t", get_key=lambda row: row["id"], sync=sync, on_insert=wait)
        )

    def ordered(self, q: QueryBuilder) -> LiveSource[Rows[Row]]:
        return q.from_(self.collection).order_by("n")


async def wait(_: object) -> None:
    """A handler that has no answer yet."""
    await asyncio.Event().wait()


@asynccontextmanager
async def opened(root: Any) -> AsyncGenerator[testing.User]:
    async with cast("Any", testing).user_simulation(root) as user:
        await user.open("/")
        yield user


def texts(user: testing.User) -> list[str]:
    """The labels of the page in their order."""
    assert user.client is not None

    def walk(element: Any) -> Generator[str]:
        for child in element:
            if isinstance(child, ui.label):
                yield child.text
            yield from walk(child)

    return list(walk(user.client.content))


async def test_a_list_follows_the_query_and_rebuilds_only_what_changed() -> None:
    table, built = Table({"id": 1, "n": 10}, {"id": 2, "n": 20}, {"id": 3, "n": 30}), list[int]()

    def root() -> None:
        live = LivePage()

        @live.list(table.ordered)
        def item(row: Row) -> None:
            built.append(row["id"])
            ui.label(f"{row['id']}: {row['n']}")

        ui.label("below")
        assert item.is_ready

    async with opened(root) as user:
        assert texts(user) == ["1: 10", "2: 20", "3: 30", "below"]
        built.clear()
        table.sources[0].write({"id": 4, "n": 5}, {"id": 1, "n": 25}, delete=[3])
        assert texts(user) == ["4: 5", "2: 20", "1: 25", "below"]
        assert sorted(built) == [1, 4]


async def test_a_result_is_shown_where_it_was_declared() -> None:
    table, totals = Table({"id": 1, "n": 10}), list[int]()

    def root() -> None:
        live = LivePage()

        @live.show(lambda q: q.from_(table.collection).aggregate(lambda t: count()))
        def total(number: int) -> None:
            ui.label(f"{number} rows")

        ui.label("below")
        live.follow(lambda q: q.from_(table.collection).aggregate(lambda t: count()), totals.append)
        assert total.is_ready

    async with opened(root) as user:
        assert texts(user) == ["1 rows", "below"]
        table.sources[0].write({"id": 2, "n": 20})
        assert texts(user) == ["2 rows", "below"]
        assert totals == [1, 2]


async def test_two_pages_never_share_optimistic_rows() -> None:
    table, pages = Table({"id": 1, "n": 10}), list[LivePage]()

    def root() -> None:
        live = LivePage()
        pages.append(live)

        @live.list(table.ordered)
        def item(row: Row) -> None:
            ui.label(str(row["id"]))

        assert item.is_ready

    async with opened(root) as user:
        first = user.client
        await user.open("/")
        pages[0].collection(table.collection).insert({"id": 2, "n": 20})
        assert texts(user) == ["1"]
        user.client = first
        assert texts(user) == ["1", "2"]
        with pytest.raises(NoSessionError):
            table.collection.insert({"id": 3, "n": 30})


async def test_the_session_ends_with_the_page() -> None:
    table, pages = Table({"id": 1, "n": 10}), list[LivePage]()

    def root() -> None:
        live = LivePage()
        pages.append(live)
        live.follow(table.ordered, lambda rows: None)

    async with opened(root) as user:
        assert user.client is not None
        user.client.delete()
        await asyncio.sleep(1)
        assert pages[0].client.is_closed


async def test_what_was_deleted_lets_its_query_go() -> None:
    # trap: a slot forgets its element, and a subscription from within it lives as long as the page.
    table, shown, queries, errors = Table({"id": 1, "n": 10}), list[int](), list[LiveQuery[Any]](), list[Exception]()
    boxes: list[ui.column] = []

    def root() -> None:
        live = LivePage(lambda: DbClient(on_error=errors.append))
        with ui.column() as box:
            queries.append(live.follow(table.ordered, lambda rows: shown.append(len(rows))))

            @live.list(table.ordered)
            def item(row: Row) -> None:
                ui.label(str(row["id"]))

            queries.append(item)
        boxes.append(box)
        del box

    async with opened(root) as user:
        boxes.pop().delete()
        gc.collect()
        table.sources[0].write({"id": 2, "n": 20})
        assert (shown, texts(user), errors) == ([1], [], [])
        for query in queries:
            with pytest.raises(UsageError, match="was closed"):
                query.get()


async def test_a_query_in_a_refreshable_follows_it() -> None:
    # trap: a refreshable at module level belongs to all users; in the page's function it is the page's.
    table, project, refresh = Table({"id": 1, "n": 10}, {"id": 2, "n": 20}), 1, list[Any]()

    def root() -> None:
        live = LivePage()

        @ui.refreshable
        def content() -> None:
            wanted = project

            @live.list(lambda q: q.from_(table.collection).where(lambda t: t["id"] == wanted))
            def item(row: Row) -> None:
                ui.label(f"{row['id']}: {row['n']}")

            assert item.is_ready

        cast("Any", content)()
        refresh.append(content.refresh)

    async with opened(root) as user:
        first = user.client
        await user.open("/")
        project = 2
        await refresh[1]()
        assert texts(user) == ["2: 20"]
        user.client = first
        assert texts(user) == ["1: 10"]
        table.sources[1].write({"id": 2, "n": 21}, {"id": 1, "n": 11})
        assert texts(user) == ["1: 10"]


async def test_a_coroutine_function_is_no_function_that_shows() -> None:
    table, errors = Table(), list[str]()

    async def show(*_: object) -> None:
        raise NotImplementedError

    def root() -> None:
        live = LivePage()
        uses: list[Callable[[], object]] = [
            lambda: live.follow(table.ordered, show),
            lambda: live.show(table.ordered)(show),
        ]
        for use in uses:
            with pytest.raises(UsageError) as caught:
                use()
            errors.append(str(caught.value))
        with pytest.raises(UsageError, match=r"LivePage\.list takes a plain function"):
            live.list(table.ordered)(show)

    async with opened(root) as user:
        assert [error.split(" ")[0] for error in errors] == ["LivePage.follow", "LivePage.show"]
        assert texts(user) == []


@pytest.mark.parametrize("client", [DbClient(), default_client])
async def test_a_shared_client_is_refused(client: Any) -> None:
    errors: list[UsageError] = []

    def root() -> None:
        try:
            LivePage(client)
        except UsageError as error:
            errors.append(error)

    async with opened(root):
        assert "each session needs its own" in str(errors[0])
