"""The hooks, on every framework that binds them: what a component shows, how often it renders, when it lets go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, cast

import pytest

from tanstack_db import (
    Collection,
    DbClient,
    NoSessionError,
    Query,
    QueryBuilder,
    Rows,
    Tx,
    collection_options,
    create_collection,
    default_client,
    live_query,
    require_sessions,
)
from tanstack_db.hooks import DbHooks, use_session
from tanstack_db.hooks.testing import Body, Flet, Framework, React, Screen, Solara
from tanstack_db.testing import ManualSource, settle

Row = dict[str, Any]


class Ui:
    """A framework with its hooks."""

    def __init__(self, framework: Framework) -> None:
        self.framework = framework
        self.runtime = framework.runtime
        self.hooks = DbHooks(framework.runtime)

    def show(self, body: Body, client: Any = None) -> AbstractAsyncContextManager[Screen]:
        providers = () if client is None else (partial(self.framework.DBProvider, client=client),)
        return self.framework.show(body, *providers)


@pytest.fixture(params=[React, Solara, Flet])
def ui(request: pytest.FixtureRequest) -> Ui:
    return Ui(cast("type[Framework]", request.param)())


@pytest.fixture(autouse=True)
def sessions() -> Generator[None]:
    yield
    require_sessions(False)


class Table:
    """A module-level collection: each client's instance has a source of its own."""

    def __init__(self, *rows: Row, ready: bool = True) -> None:
        self.sources: list[ManualSource[Row, int]] = []

        def sync(run: Any) -> Any:
            source = ManualSource[Row, int](rows, ready=ready)
            self.sources.append(source)
            return source(run)

        self.collection: Collection[Row, int] = create_collection(
            collection_options(id="t", get_key=lambda row: row["id"], sync=sync, on_insert=wait, gc_time=1)
        )


async def wait(_: object) -> None:
    """A handler that has no answer yet."""
    await asyncio.Event().wait()


# -- what is shown -----------------------------------------------------------------------------------------------------


async def test_a_component_shows_the_rows_and_renders_once_for_a_batch(ui: Ui) -> None:
    table = Table({"id": 1, "n": 1})

    def body() -> list[int]:
        return [row["n"] for row in ui.hooks.use_live_query(lambda q: q.from_(table.collection))]

    async with ui.show(body, client=DbClient) as screen:
        assert screen.frames[-1] == [1]
        before = len(screen.frames)
        table.sources[0].write(*({"id": number, "n": number} for number in range(2, 50)))
        await settle()
        assert len(screen.frames) == before + 1
        assert screen.frames[-1] == list(range(1, 50))


async def test_what_did_not_change_renders_nothing(ui: Ui) -> None:
    table = Table({"id": 1, "n": 1})

    def body() -> list[Row]:
        return list(ui.hooks.use_live_query(lambda q: q.from_(table.collection).where(lambda t: t["n"] == 1)))

    async with ui.show(body, client=DbClient) as screen:
        before = len(screen.frames)
        table.sources[0].write({"id": 2, "n": 2})
        await settle()
        assert len(screen.frames) == before


async def test_readiness_is_shown(ui: Ui) -> None:
    table = Table({"id": 1, "n": 1}, ready=False)

    def body() -> tuple[bool, int]:
        rows = ui.hooks.use_live_query(table.collection)
        return rows.is_ready, len(rows)

    async with ui.show(body, client=DbClient) as screen:
        assert screen.frames[-1] == (False, 1)
        table.sources[0].ctx.mark_ready()
        await settle()
        assert screen.frames[-1] == (True, 1)


async def test_a_query_is_kept_while_it_says_the_same(ui: Ui) -> None:
    table, wanted, seen = Table({"id": 1, "n": 1}, {"id": 2, "n": 2}), 1, list[Rows[Row]]()

    def body() -> list[int]:
        value = wanted
        rows = ui.hooks.use_live_query(lambda q: q.from_(table.collection).where(lambda t: t["n"] == value))
        seen.append(rows)
        return [row["n"] for row in rows]

    async with ui.show(body, client=DbClient) as screen:
        screen.again()
        await settle()
        assert seen[-1] is seen[0]  # the same lambda in another render: one query, one snapshot
        wanted = 2
        screen.again()
        await settle()
        # No frame shows the rows of the former query: no tearing.
        assert [frame for frame in screen.frames if frame not in ([1], [2])] == []
        assert screen.frames[-1] == [2]


async def test_a_change_between_render_and_subscription_is_not_missed(ui: Ui) -> None:
    table, late = Table({"id": 1, "n": 1}), True

    def body() -> list[int]:
        nonlocal late
        rows = [row["n"] for row in ui.hooks.use_live_query(table.collection)]
        if late:
            late = False
            table.sources[0].write({"id": 2, "n": 2})
        return rows

    async with ui.show(body, client=DbClient) as screen:
        assert screen.frames[-1] == [1, 2]


async def test_with_deps_the_query_is_built_only_when_one_changes(ui: Ui) -> None:
    table, dep, built = Table({"id": 1, "n": 1}, {"id": 2, "n": 2}), 1, 0

    def body() -> list[int]:
        def query(q: QueryBuilder) -> Query[Row, Row]:
            nonlocal built
            built += 1
            return q.from_(table.collection).where(lambda t: t["n"] == dep)

        return [row["n"] for row in ui.hooks.use_live_query(query, [dep])]

    async with ui.show(body, client=DbClient) as screen:
        screen.again()
        await settle()
        assert built == 1
        dep = 2
        screen.again()
        await settle()
        assert (built, screen.frames[-1]) == (2, [2])


async def test_a_live_query_of_ones_own_is_shown_with_its_window(ui: Ui) -> None:
    table = Table(*({"id": number, "n": number} for number in range(10)))
    client = DbClient()
    window = live_query(
        lambda q: q.from_(client.collection(table.collection)).order_by(lambda t: t["n"]).limit(2), client=client
    )

    def body() -> list[int]:
        return [row["n"] for row in ui.hooks.use_live_query(window)]

    async with ui.show(body, client=lambda: client) as screen:
        assert screen.frames[-1] == [0, 1]
        window.set_window(offset=4, limit=2)
        await settle()
        assert screen.frames[-1] == [4, 5]


# -- letting go --------------------------------------------------------------------------------------------------------


async def test_a_component_that_goes_lets_its_query_go(ui: Ui) -> None:
    table, client = Table({"id": 1, "n": 1}), DbClient()

    def body() -> object:
        return ui.hooks.use_live_query(table.collection)

    async with ui.show(body, client=lambda: client) as screen:
        collection, before = client.collection(table.collection), len(screen.frames)
        statuses = [collection.status]
        await screen.unmount()
        await asyncio.sleep(10)  # the query lingers for 5 s, the collection for one more
        assert [*statuses, collection.status] == ["ready", "cleaned-up"]
        assert len(screen.frames) == before


async def test_nothing_is_left_when_the_session_ends(ui: Ui) -> None:
    table, client = Table({"id": 1, "n": 1}), DbClient()

    def body() -> object:
        return ui.hooks.use_live_query(table.collection)

    async with ui.show(body, client=lambda: client) as screen:
        before = len(screen.frames)
    await default_client().close()
    assert client.is_closed
    assert client.collection(table.collection).status == "cleaned-up"
    assert len(screen.frames) == before


# -- sessions ----------------------------------------------------------------------------------------------------------


async def test_optimistic_rows_of_a_session_are_never_seen_by_another(ui: Ui) -> None:
    table, gate = Table({"id": 1, "n": 1}), asyncio.Event()
    transacts: list[Any] = []

    def body() -> list[int]:
        transacts.append(ui.hooks.use_transact())
        return [row["id"] for row in ui.hooks.use_live_query(table.collection)]

    async with ui.show(body, client=DbClient) as mine:
        transact = transacts[-1]
        async with ui.show(body, client=DbClient) as other:

            def change(tx: Tx) -> None:
                tx.insert(table.collection, {"id": 2, "n": 2})

            transact(change, gate.wait)
            await settle()
            assert mine.frames[-1] == [1, 2]
            assert other.frames[-1] == [1]
            gate.set()


async def test_use_collection_gives_the_instance_of_the_session(ui: Ui) -> None:
    table, mine = Table({"id": 1, "n": 1}), list[Collection[Row, int]]()

    def body() -> list[int]:
        mine.append(ui.hooks.use_collection(table.collection))
        return [row["id"] for row in ui.hooks.use_live_query(table.collection)]

    async with ui.show(body, client=DbClient) as screen:
        mine[-1].insert({"id": 2, "n": 2})
        await settle()
        assert screen.frames[-1] == [1, 2]
        assert mine[-1] is not table.collection
        # Without a session it would be nobody's, or everybody's.
        with pytest.raises(NoSessionError, match="use_collection"):
            table.collection.insert({"id": 3, "n": 3})


@pytest.mark.parametrize(
    ("client", "why"),
    [
        (DbClient(), "takes a function that makes a client"),
        (default_client, "used already"),
        (lambda: 5, "must return a DbClient"),
    ],
)
async def test_a_shared_client_is_refused(ui: Ui, client: Any, why: str) -> None:
    async with ui.show(lambda: use_session(ui.runtime, client, "DBProvider")) as screen:
        assert why in str(screen.error)


async def test_a_client_is_given_to_one_session_only(ui: Ui) -> None:
    client = DbClient()

    def body() -> DbClient:
        return use_session(ui.runtime, lambda: client, "DBProvider")

    async with ui.show(body) as first, ui.show(body) as second:
        assert first.frames == [client]
        assert "used already" in str(second.error)


async def test_a_hook_without_a_provider_says_so(ui: Ui) -> None:
    table = Table()
    async with ui.show(lambda: ui.hooks.use_live_query(table.collection)) as screen:
        assert "use_live_query needs a provider" in str(screen.error)


# -- of one framework only ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["nothing", "function", "coroutine", "generator", "async generator", "no parameter"])
async def test_flets_own_handler_of_a_page_stays(kind: str) -> None:
    from tanstack_db.flet import on_page_event

    heard: list[Any] = []

    async def coroutine(event: Any) -> None:
        heard.append(event.name)

    def generator(event: Any) -> Generator[None]:
        yield
        heard.append(event.name)

    async def async_generator(event: Any) -> AsyncGenerator[None]:
        yield
        heard.append(event.name)

    def function(event: Any) -> None:
        heard.append(event.name)

    own: dict[str, Any] = {
        "nothing": None,
        "function": function,
        "coroutine": coroutine,
        "generator": generator,
        "async generator": async_generator,
        "no parameter": lambda: heard.append("connect"),
    }
    async with Flet().show(lambda: None) as screen:
        page = screen.native.page
        page.on_connect = own[kind]
        stop = on_page_event(page, "connect", lambda _: heard.append("ours"))
        await screen.native.dispatch_event(page._i, "connect", None)
        assert heard == ["ours"] if kind == "nothing" else ["ours", "connect"]
        stop()
        assert page.on_connect is own[kind]
