"""What the frameworks get wrong, or do differently, must not show through the hooks. Each test names its trap."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncGenerator, Callable
from contextvars import Context, ContextVar
from functools import partial
from operator import itemgetter
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tanstack_db import Collection, DbClient, UsageError, collection_options, default_client, require_sessions
from tanstack_db.hooks import Cleanup, DbHooks, Ref, Runtime, on_loop, use_session, use_store
from tanstack_db.hooks.testing import Flet, Framework, React, Solara
from tanstack_db.testing import ManualSource, settle


class Store:
    """An external store that knows who listens, and who ever did."""

    def __init__(self, value: object) -> None:
        self.value = value
        self.listeners: list[Callable[[], object]] = []
        self.subscribed = 0

    def get(self) -> object:
        return self.value

    def subscribe(self, callback: Callable[[], object], /) -> Callable[[], None]:
        self.listeners.append(callback)
        self.subscribed += 1
        return lambda: self.listeners.remove(callback)

    def set(self, value: object) -> None:
        self.value = value
        for listener in list(self.listeners):
            listener()


@pytest.fixture(params=[React, Solara, Flet])
async def ui(request: pytest.FixtureRequest) -> AsyncGenerator[Framework]:
    yield cast("type[Framework]", request.param)()
    await default_client().close()
    require_sessions(False)


# -- for whom it renders ----------------------------------------------------------------------------------------------


async def test_a_change_that_another_user_brings_renders_for_the_own_user(ui: Framework) -> None:
    # trap: a state that is set in another session's task lets the component render with that task's context variables.
    # A mutant that calls the framework without the component's own context fails here.
    user = ContextVar("user", default="nobody")
    store = Store(0)

    def body() -> object:
        return user.get(), use_store(ui.runtime, store)

    async def write(value: int) -> None:
        user.set("ada")
        store.set(value)

    user.set("bob")
    async with ui.show(body) as screen:
        for value in (1, 2):
            await asyncio.create_task(write(value))
            await settle()
        assert screen.frames[0] == ("bob", 0)
        assert screen.frames[-1] == ("bob", 2)


# -- how often it renders ----------------------------------------------------------------------------------------------


async def test_a_burst_of_changes_renders_once(ui: Framework) -> None:
    # trap: Solara renders at every set; ReactPy and Flet gather them. So a batch of a live query is one change.
    store = Store(0)
    async with ui.show(lambda: use_store(ui.runtime, store)) as screen:
        before = len(screen.frames)
        for number in range(48):
            store.set(number + 1)
        await settle()
        renders = len(screen.frames) - before
        assert renders <= 48 if isinstance(ui, Solara) else renders == 1
        assert screen.frames[-1] == 48


async def test_a_value_that_equals_the_last_one_is_shown(ui: Framework) -> None:
    # trap: frameworks compare states, so a state that is a snapshot would swallow one that is equal and another object.
    store = Store([1])
    async with ui.show(lambda: id(use_store(ui.runtime, store))) as screen:
        store.set([1])
        await settle()
        assert screen.frames[-1] == id(store.value)


async def test_nothing_of_a_former_store_is_shown(ui: Framework) -> None:
    # trap: tearing. A snapshot kept in a state is one frame behind when the component goes over to another store.
    a, b = Store("a"), Store("b")
    name, stores = "a", {"a": a, "b": b}

    def body() -> object:
        return name, use_store(ui.runtime, stores[name])

    async with ui.show(body) as screen:
        a.set("a1")
        await settle()
        name = "b"
        screen.again()
        await settle()
        assert [frame for frame in screen.frames if cast("tuple[str, str]", frame)[1][0] != frame[0]] == []  # type: ignore[index]
        assert screen.frames[-1] == ("b", "b")


# -- subscriptions -----------------------------------------------------------------------------------------------------


async def test_a_store_is_subscribed_to_once_and_left_for_another(ui: Framework) -> None:
    # trap: ReactPy 1.x compares dependencies by identity, so that a bound method is another one at each render;
    # ReactPy 2.x compares functions by their code, so that a lambda over another store is the same one.
    stores, index = [Store("a"), Store("b")], 0

    async with ui.show(lambda: use_store(ui.runtime, stores[index])) as screen:
        for _ in range(3):
            screen.again()
            await settle()
        assert [store.subscribed for store in stores] == [1, 0]
        index = 1
        screen.again()
        await settle()
        assert [len(store.listeners) for store in stores] == [0, 1]
        assert [store.subscribed for store in stores] == [1, 1]


async def test_after_many_renders_an_unmount_leaves_nothing(ui: Framework) -> None:
    # trap: Flet loses the cleanup that an effect returned, with the next render.
    store = Store(0)
    async with ui.show(lambda: use_store(ui.runtime, store)) as screen:
        for number in range(3):
            store.set(number)
            await settle()
        await screen.unmount()
        assert store.listeners == []


async def test_the_end_of_a_session_leaves_nothing(ui: Framework) -> None:
    # trap: Flet's Session.close runs no cleanups.
    store = Store(0)
    async with ui.show(lambda: use_store(ui.runtime, store)) as screen:
        store.set(1)
        await settle()
        assert len(store.listeners) == 1
    await settle()
    assert store.listeners == []
    before = len(screen.frames)
    store.set(2)
    await settle()
    assert len(screen.frames) == before


async def test_a_component_that_raises_is_not_left_subscribed(ui: Framework) -> None:
    store, fails = Store(0), True

    def body() -> object:
        value = use_store(ui.runtime, store)
        if fails:
            raise ValueError("the component's own")
        return value

    async with ui.show(body) as screen:
        assert str(screen.error) == "the component's own"
        fails = False
        store.set(1)
        screen.again()
        await settle()
        assert screen.frames[-1] == 1
        await screen.unmount()
    assert store.listeners == []


# -- threads and contexts ----------------------------------------------------------------------------------------------


async def test_a_change_in_another_thread_is_shown(ui: Framework) -> None:
    # trap: setting a state in another thread is dropped by ReactPy 2.x, and raises in Flet.
    store = Store(0)
    async with ui.show(lambda: use_store(ui.runtime, store)) as screen:
        thread = threading.Thread(target=store.set, args=(1,))
        thread.start()
        thread.join()
        await settle()
        assert screen.frames[-1] == 1


async def test_a_change_without_any_context_is_shown(ui: Framework) -> None:
    # trap: Flet and Solara find the user's page by context, which a task of the library does not have.
    store = Store(0)

    async def change() -> None:
        store.set(1)

    async with ui.show(lambda: use_store(ui.runtime, store)) as screen:
        await asyncio.get_running_loop().create_task(change(), context=Context())
        await settle()
        assert screen.frames[-1] == 1


async def test_a_change_that_waits_while_the_component_goes_is_dropped(ui: Framework) -> None:
    store = Store(0)
    async with ui.show(lambda: use_store(ui.runtime, store)) as screen:
        listener = store.listeners[0]
        before = len(screen.frames)
        await screen.unmount()
        listener()
        await settle()
        assert len(screen.frames) == before
        assert screen.error is None


def test_hooks_need_a_loop() -> None:
    with pytest.raises(UsageError, match="event loop"):
        on_loop(lambda: None)


def test_a_change_after_the_loop_is_closed_is_dropped() -> None:
    called: list[int] = []

    async def make() -> Callable[[], None]:
        return on_loop(lambda: called.append(1))

    loop = asyncio.new_event_loop()
    try:
        call = loop.run_until_complete(make())
    finally:
        loop.close()
    call()
    assert called == []


class Kernel:
    """The context of a kernel, as Solara's server has one for each session; the server is not installed here."""

    current: Kernel | None = None

    def __enter__(self) -> None:
        Kernel.current = self

    def __exit__(self, *_: object) -> None:
        Kernel.current = None


async def test_solara_renders_in_the_kernel_of_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    # trap: a change from outside finds no kernel, and the widgets that it makes are never closed.
    import solara.server

    module = SimpleNamespace(
        has_current_context=lambda: Kernel.current is not None, get_current_context=lambda: Kernel.current
    )
    monkeypatch.setitem(sys.modules, "solara.server.kernel_context", module)
    monkeypatch.setattr(solara.server, "kernel_context", module, raising=False)
    ui, store, session, kernels = Solara(), Store(0), Kernel(), list[Kernel | None]()

    def body() -> None:
        kernels.append(Kernel.current)
        use_store(ui.runtime, store)

    with session:
        showing = ui.show(body)
        await showing.__aenter__()
    store.set(1)
    await settle()
    assert kernels == [session, session]
    assert Kernel.current is None
    await showing.__aexit__(None, None, None)


# -- sessions ----------------------------------------------------------------------------------------------------------


class Twice:
    """A framework that mounts twice, as React's StrictMode does to find what cannot bear it."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def use_ref(self) -> Ref:
        return self._runtime.use_ref()

    def use_rerender(self) -> Callable[[], None]:
        return self._runtime.use_rerender()

    def use_client(self) -> DbClient | None:
        return self._runtime.use_client()

    def use_effect(self, mount: Callable[[], Cleanup], key: object) -> None:
        def mount_twice() -> Cleanup:
            mount()()
            return mount()

        self._runtime.use_effect(mount_twice, key)


async def test_mounting_twice_keeps_the_session_and_the_subscription(ui: Framework) -> None:
    store, runtime, clients = Store(0), Twice(ui.runtime), list[DbClient]()

    def body() -> object:
        clients.append(use_session(runtime, DbClient, "DBProvider"))
        return use_store(runtime, store)

    async with ui.show(body) as screen:
        store.set(1)
        await settle()
        assert screen.frames[-1] == 1
        assert not clients[-1].is_closed
        assert len(store.listeners) == 1
    await settle()
    assert clients[-1].is_closed
    assert store.listeners == []


async def test_another_factory_makes_no_other_session(ui: Framework) -> None:
    made: list[DbClient] = []

    def body() -> DbClient:
        def factory() -> DbClient:  # another function at each render
            made.append(DbClient())
            return made[-1]

        return use_session(ui.runtime, factory, "DBProvider")

    async with ui.show(body) as screen:
        screen.again()
        await settle()
        assert screen.frames == [made[0], made[0]]
        assert len(made) == 1


class Table:
    """A collection that counts how often its source was started."""

    def __init__(self, client: DbClient) -> None:
        self.started = 0

        def sync(run: Any) -> Any:
            self.started += 1
            return ManualSource[dict[str, Any], int]([{"id": 1}])(run)

        self.collection: Collection[dict[str, Any], int] = client.build(
            collection_options(id="t", get_key=itemgetter("id"), sync=sync)
        )


async def test_a_component_that_outlives_its_session_shows_what_it_showed_last(ui: Framework) -> None:
    client = DbClient()
    table, hooks = Table(client), DbHooks(ui.runtime)

    def body() -> object:
        return list(hooks.use_live_query(lambda q: q.from_(table.collection)))

    async with ui.show(body, partial(ui.DBProvider, client=lambda: client)) as screen:
        await client.close()
        screen.again()
        await settle()
        assert screen.error is None
        assert screen.frames == [[{"id": 1}], [{"id": 1}]]
        assert (table.started, table.collection.status) == (1, "cleaned-up")


async def test_after_the_session_no_query_begins() -> None:
    client = DbClient()
    table = Table(client)

    class Once:
        """Renders a component once."""

        def use_ref(self) -> Ref:
            return cast("Ref", SimpleNamespace(current=None))

        def use_rerender(self) -> Callable[[], None]:
            raise NotImplementedError

        def use_effect(self, mount: Callable[[], Cleanup], key: object) -> None:
            raise NotImplementedError

        def use_client(self) -> DbClient:
            return client

    await client.close()
    with pytest.raises(UsageError, match="session's client was closed"):
        DbHooks(Once()).use_live_query(table.collection)
    assert table.started == 0
