"""The NiceGUI binding, in pages that simulated users open, against a server on a simulated network."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from nicegui import testing, ui

from tanstack_db import require_sessions
from tanstack_realtime import ConfigurationError, RealtimeClient, create_presence_channel, create_realtime_client
from tanstack_realtime.nicegui import RealtimePage
from tanstack_realtime.testing import RealtimeSandbox

room = create_presence_channel(id="room", channel=lambda: ("room", {}))


@pytest.fixture(autouse=True)
def sessions() -> Generator[None]:
    yield
    require_sessions(False)


@pytest.fixture
async def sandbox() -> AsyncGenerator[RealtimeSandbox]:
    async with RealtimeSandbox() as sandbox:
        yield sandbox


@asynccontextmanager
async def opened(root: Callable[[], None]) -> AsyncGenerator[testing.User]:
    async with cast("Any", testing).user_simulation(root) as user:
        page = await user.open("/")
        yield user
        page.delete()
        await asyncio.sleep(1)


def connect(sandbox: RealtimeSandbox, user: str) -> Callable[[], RealtimeClient]:
    return lambda: create_realtime_client(
        "http://memory",
        transport=sandbox.preset.transport(user),
        get_token=lambda: user,
        http=sandbox.http(user),
        on_error=sandbox.errors.append,
    )


async def test_a_page_hears_events_status_and_members_until_it_is_closed(sandbox: RealtimeSandbox) -> None:
    pages, statuses, heard, others = list[RealtimePage](), list[str](), list[object](), list[list[str]]()

    def root() -> None:
        live = RealtimePage(connect(sandbox, "ann"))
        pages.append(live)
        live.show_status(statuses.append)
        live.on_channel(("chat", {"room": "1"}), heard.append)
        live.show_presence(
            room.scope(), lambda view: others.append([other.user_id for other in view.others]), initial={"name": "Ann"}
        )

    async with opened(root):
        bob = await sandbox.client("bob")
        there = bob.presence(room.scope(), initial={"name": "Bob"})
        await sandbox.pass_time()
        await bob.publish(("chat", {"room": "1"}), "hello")
        await sandbox.pass_time()
        assert statuses[-1] == "connected"
        assert heard == ["hello"]
        assert others[-1] == ["bob"]
        assert [member.state for member in there.others] == [{"name": "Ann"}]
        assert not pages[0].realtime.is_closed
    assert pages[0].realtime.is_closed
    assert there.others == ()
    there.close()


async def test_a_handler_may_take_its_time_until_the_page_is_closed(sandbox: RealtimeSandbox) -> None:
    gate, told, slots = asyncio.Event(), list[str](), list[bool]()

    async def handle(data: str) -> None:
        await asyncio.sleep(1)
        slots.append(ui.context.client is page)
        told.append(data)
        try:
            await gate.wait()
        except asyncio.CancelledError:
            told.append("cancelled")
            raise

    async with opened(lambda: RealtimePage(connect(sandbox, "ann")).on_channel(("chat", {}), handle)) as user:
        page = user.client
        bob = await sandbox.client("bob")
        await sandbox.pass_time()
        await bob.publish(("chat", {}), "hello")
        await sandbox.pass_time(2)
        assert (told, slots) == (["hello"], [True])
    assert told == ["hello", "cancelled"]
    assert sandbox.errors == []


async def test_what_was_deleted_hears_nothing_more(sandbox: RealtimeSandbox) -> None:
    pages, heard, boxes = list[RealtimePage](), list[object](), list[ui.column]()

    def root() -> None:
        live = RealtimePage(connect(sandbox, "ann"))
        with ui.column() as box:
            live.show_status(heard.append)
            live.on_channel(("chat", {}), heard.append)
            live.show_presence(room.scope(), lambda view: heard.append(len(view.others)), initial={"name": "Ann"})
        pages.append(live)
        boxes.append(box)
        del box

    async with opened(root):
        bob = await sandbox.client("bob")
        there = bob.presence(room.scope(), initial={"name": "Bob"})
        await sandbox.pass_time()
        before = len(there.others)
        boxes.pop().delete()
        gc.collect()
        heard.clear()
        await bob.publish(("chat", {}), "hello")
        there.update(name="Bobby")
        await sandbox.pass_time()
        assert heard == []
        # trap: the subscriptions of what was deleted live as long as the page.
        assert (before, len(there.others)) == (1, 0)
        assert list(pages[0].realtime.store.state.subscriptions) == []
        there.close()
        assert sandbox.errors == []


async def test_what_happens_to_the_window_reaches_the_client(
    sandbox: RealtimeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    def make() -> RealtimeClient:
        client = connect(sandbox, "ann")()
        monkeypatch.setattr(client.lifecycle, "_callback", told.append)
        return client

    async with opened(lambda: cast("None", RealtimePage(make))) as user:
        await sandbox.pass_time()
        assert user.client is not None
        for element in list(user.client.elements.values()):
            for listener in list(cast("Any", element)._event_listeners.values()):
                if listener.type.startswith("tanstack_"):
                    cast("Any", element)._handle_event({"listener_id": listener.id, "args": []})
        await sandbox.pass_time()
        assert told == ["focus", "visible", "online"]


async def test_a_shared_client_is_refused(sandbox: RealtimeSandbox) -> None:
    other, errors = sandbox.new_client("eve"), list[str]()

    def root() -> None:
        for given in (other, lambda: other):
            with pytest.raises(ConfigurationError) as caught:
                RealtimePage(cast("Any", given))
            errors.append(str(caught.value))

    async with opened(root):
        assert "takes a function" in errors[0]
        assert "other collections than this session's" in errors[1]
