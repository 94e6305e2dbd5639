"""The realtime hooks, on every framework that binds them, against a server on a simulated network."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import pytest

from tanstack_db import DbClient, TransactionError, create_collection, default_client, require_sessions
from tanstack_db.hooks import Cleanup, DbHooks, Runtime, Transact
from tanstack_db.hooks.testing import Body, Flet, Framework, React, Screen, Solara
from tanstack_realtime import (
    ChannelDeniedError,
    RealtimeClient,
    create_presence_channel,
    create_realtime_client,
    realtime_collection_options,
)
from tanstack_realtime.hooks import PresenceHandle, RealtimeHooks, use_realtime_session
from tanstack_realtime.server import Permissions
from tanstack_realtime.testing import RealtimeSandbox

Connect = Callable[[], RealtimeClient]


class Ui:
    """A framework with its realtime hooks, and a server."""

    def __init__(self, framework: Framework, sandbox: RealtimeSandbox) -> None:
        self.framework = framework
        self.sandbox = sandbox
        self.runtime = framework.runtime
        self.hooks = RealtimeHooks(framework.runtime)
        self.provider = importlib.import_module(f"tanstack_realtime.{framework.name}").RealtimeProvider

    def connect(self, user: str) -> Connect:
        """What an application gives to its provider."""
        return lambda: create_realtime_client(
            "http://memory",
            transport=self.sandbox.preset.transport(user),
            get_token=lambda: user,
            http=self.sandbox.http(user),
            on_error=self.sandbox.errors.append,
        )

    def show(self, body: Body, user: str = "ann", **options: Any) -> AbstractAsyncContextManager[Screen]:
        around = partial(self.provider, client=self.connect(user), **options)
        return self.framework.show(body, partial(self.framework.DBProvider, client=DbClient), around)


def authorize(user_id: str, channel: Any) -> Permissions:
    allowed = channel.namespace != "secret"
    return Permissions(subscribe=allowed, publish=allowed, presence=allowed)


@pytest.fixture(params=[React, Solara, Flet])
async def ui(request: pytest.FixtureRequest) -> AsyncGenerator[Ui]:
    async with RealtimeSandbox(authorize=authorize) as sandbox:
        yield Ui(cast("type[Framework]", request.param)(), sandbox)
        await default_client().close()


@pytest.fixture(autouse=True)
def sessions() -> Generator[None]:
    yield
    require_sessions(False)


# -- the connection ----------------------------------------------------------------------------------------------------


async def test_the_provider_connects_and_the_status_is_shown(ui: Ui) -> None:
    async with ui.show(lambda: ui.hooks.use_realtime().store.state.status) as screen:
        await ui.sandbox.pass_time()
        assert screen.error is None
        shown = screen.frames[-1:]
        ui.sandbox.network.cut("ann")
        await ui.sandbox.pass_time(0.1)
        shown += screen.frames[-1:]
        await ui.sandbox.pass_time(5)
        assert [*shown, screen.frames[-1]] == ["connected", "reconnecting", "connected"]


async def test_what_is_not_the_status_renders_nothing(ui: Ui) -> None:
    clients: list[RealtimeClient] = []

    def body() -> None:
        clients.append(ui.hooks.use_realtime())

    async with ui.show(body):
        await ui.sandbox.pass_time()
        before = len(clients)
        subscription = clients[-1].subscribe(("chat", {"room": "1"}), lambda message: None)
        await subscription.live()
        await ui.sandbox.pass_time()
        assert len(clients) == before


async def test_without_auto_connect_the_component_decides(ui: Ui) -> None:
    clients: list[RealtimeClient] = []

    def body() -> str:
        clients.append(ui.hooks.use_realtime())
        return clients[-1].store.state.status

    async with ui.show(body, auto_connect=False) as screen:
        await ui.sandbox.pass_time()
        assert screen.frames == ["disconnected"]
        clients[-1].connect()
        await ui.sandbox.pass_time()
        shown = screen.frames[-1]
        clients[-1].disconnect()
        await ui.sandbox.pass_time()
        assert (shown, screen.frames[-1]) == ("connected", "disconnected")


async def test_the_connection_ends_with_the_session(ui: Ui) -> None:
    clients: list[RealtimeClient] = []
    async with ui.show(lambda: clients.append(ui.hooks.use_realtime())) as screen:
        await ui.sandbox.pass_time()
    await ui.sandbox.pass_time()
    assert clients[-1].is_closed
    assert clients[-1].db.is_closed
    assert screen.error is None


@pytest.mark.parametrize("kind", ["instance", "other collections", "nothing"])
async def test_a_client_that_is_not_the_sessions_is_refused(ui: Ui, kind: str) -> None:
    other = ui.sandbox.new_client("eve")
    given: Any = {"instance": other, "other collections": lambda: other, "nothing": lambda: None}[kind]
    why = {
        "instance": "takes a function that makes a client",
        "other collections": "other collections than this session's",
        "nothing": "must return a RealtimeClient",
    }[kind]
    body = partial(use_realtime_session, ui.runtime, given)
    async with ui.framework.show(body, partial(ui.framework.DBProvider, client=DbClient)) as screen:
        assert why in str(screen.error)


async def test_a_hook_without_a_provider_says_so(ui: Ui) -> None:
    async with ui.framework.show(ui.hooks.use_realtime) as screen:
        assert "use_realtime needs a RealtimeProvider" in str(screen.error)


# -- the window --------------------------------------------------------------------------------------------------------


async def happen(screen: Screen, event: str) -> None:
    """Let the browser's side tell what happened to the window."""
    native = screen.native
    match event, type(native).__name__:
        case _, "Layout":
            buttons = ["focus", "visible", "online"]
            target = list(native._event_handlers)[buttons.index(event)]  # in the order in which they were rendered
            await native.deliver({"type": "layout-event", "target": target, "data": [{}]})
        case "online", "Session":
            await native.dispatch_event(native.page._i, "connect", None)
        case _, "Session":
            state = {"focus": "resume", "visible": "show"}[event]
            await native.dispatch_event(native.page._i, "app_lifecycle_state_change", {"state": state})
        case _:
            _window(native)._handle_event(None, {"event": "happened", "data": event}, None)


def _window(widget: Any) -> Any:
    found = [_window(child) for child in getattr(widget, "children", ()) if hasattr(child, "keys")]
    return widget if hasattr(widget, "vue_happened") else next((one for one in found if one is not None), None)


async def test_what_happens_to_the_window_reaches_the_client(ui: Ui, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    def woken(_: RealtimeClient, event: str) -> None:
        told.append(event)

    monkeypatch.setattr(RealtimeClient, "_woken", woken)
    async with ui.show(ui.hooks.use_realtime) as screen:
        await ui.sandbox.pass_time()
        for event in ("focus", "visible", "online"):
            await happen(screen, event)
        await asyncio.sleep(0.1)
        assert told == ["focus", "visible", "online"]


async def test_focus_refetches_over_a_live_connection(ui: Ui) -> None:  # G11
    fetched = 0

    async def fetch() -> list[dict[str, Any]]:
        nonlocal fetched
        fetched += 1
        return [{"id": 1, "n": fetched}]

    todos = create_collection(
        realtime_collection_options(
            id="t", get_key=lambda row: row["id"], channel=lambda: ("todos", {}), query_fn=fetch
        )
    )

    def body() -> list[Any]:
        return [row["n"] for row in DbHooks(ui.runtime).use_live_query(todos)]

    async with ui.show(body) as screen:
        await ui.sandbox.pass_time(10)
        before = fetched
        assert screen.frames[-1] == [before]
        await happen(screen, "focus")
        await ui.sandbox.pass_time()
        assert (fetched, screen.frames[-1]) == (before + 1, [before + 1])


async def test_focus_finds_a_dead_connection_and_reconnects(ui: Ui) -> None:  # C14
    async with ui.show(lambda: ui.hooks.use_realtime().store.state.status) as screen:
        await ui.sandbox.pass_time()
        ui.sandbox.network.half_open("ann")
        await ui.sandbox.pass_time(0.1)
        assert screen.frames[-1] == "connected"  # nothing tells
        await happen(screen, "focus")
        await ui.sandbox.pass_time(8)
        assert screen.frames[-2:] == ["reconnecting", "connected"]


# -- events ------------------------------------------------------------------------------------------------------------


async def test_events_reach_the_handler_of_the_latest_render(ui: Ui) -> None:
    heard, word = list[tuple[str, object]](), "first"

    def body() -> None:
        now = word
        ui.hooks.use_subscribe(("chat:typing", {"room_id": "1"}), lambda data: heard.append((now, data)))

    async with ui.show(body) as screen:
        await ui.sandbox.pass_time()
        bob = await ui.sandbox.client("bob")
        await bob.publish(("chat:typing", {"room_id": "1"}), {"who": "bob"})
        word = "second"
        screen.again()
        await ui.sandbox.pass_time()
        await bob.publish(("chat:typing", {"room_id": "1"}), {"who": "bob"})
        await ui.sandbox.pass_time()
        assert heard == [("first", {"who": "bob"}), ("second", {"who": "bob"})]
        await screen.unmount()
        await bob.publish(("chat:typing", {"room_id": "1"}), {"who": "bob"})
        await ui.sandbox.pass_time()
        assert len(heard) == 2


async def test_another_channel_replaces_the_former_one(ui: Ui) -> None:
    heard, room = list[object](), "1"

    def body() -> None:
        ui.hooks.use_subscribe(("chat", {"room": room}), heard.append)

    async with ui.show(body) as screen:
        await ui.sandbox.pass_time()
        room = "2"
        screen.again()
        await ui.sandbox.pass_time()
        bob = await ui.sandbox.client("bob")
        await bob.publish(("chat", {"room": "1"}), "one")
        await bob.publish(("chat", {"room": "2"}), "two")
        await ui.sandbox.pass_time()
        assert heard == ["two"]


async def test_publish_reaches_others_and_a_refusal_reaches_on_error(ui: Ui) -> None:
    heard, publishers = list[object](), list[Any]()

    def body() -> None:
        publishers.append(ui.hooks.use_publish(("chat", {"room": "1"})))
        publishers.append(ui.hooks.use_publish(("secret", {})))

    async with ui.show(body) as screen:
        await ui.sandbox.pass_time()
        bob = await ui.sandbox.client("bob")
        await bob.subscribe(("chat", {"room": "1"}), lambda message: heard.append(message.data)).live()
        screen.again()
        await ui.sandbox.pass_time()
        assert publishers[0] == publishers[2]  # the same function until the channel changes
        publishers[0]({"text": "hello"})
        publishers[1]({"text": "psst"})
        await ui.sandbox.pass_time()
        assert heard == [{"text": "hello"}]
        assert [type(error) for error in ui.sandbox.errors] == [ChannelDeniedError]


async def test_what_a_handler_raises_is_reported_and_later_events_are_heard(ui: Ui) -> None:
    heard: list[object] = []

    def on_event(data: str) -> None:
        heard.append(data)
        raise ValueError(data)

    async with ui.show(lambda: ui.hooks.use_subscribe(("chat", {}), on_event)) as screen:
        await ui.sandbox.pass_time()
        bob = await ui.sandbox.client("bob")
        await bob.publish(("chat", {}), "one")
        await bob.publish(("chat", {}), "two")
        await ui.sandbox.pass_time()
        assert heard == ["one", "two"]
        assert [str(error) for error in ui.sandbox.errors] == ["one", "two"]
        assert screen.error is None


async def test_a_handler_that_is_a_coroutine_function_ends_with_the_session(ui: Ui) -> None:
    told: list[str] = []

    async def on_event(data: str) -> None:
        await asyncio.sleep(1)
        told.append(data)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            told.append("cancelled")
            raise

    async with ui.show(lambda: ui.hooks.use_subscribe(("chat", {}), on_event)):
        await ui.sandbox.pass_time()
        bob = await ui.sandbox.client("bob")
        await bob.publish(("chat", {}), "hello")
        await ui.sandbox.pass_time(2)
        assert told == ["hello"]
    await ui.sandbox.pass_time()
    assert told == ["hello", "cancelled"]
    assert ui.sandbox.errors == []


async def test_what_an_event_handler_waits_for_ends_with_the_session(ui: Ui) -> None:
    def fetch() -> list[dict[str, Any]]:
        return []

    todos = create_collection(
        realtime_collection_options(
            id="t", get_key=lambda row: row["id"], channel=lambda: ("todos", {}), query_fn=fetch
        )
    )
    transacts: list[Transact] = []

    async def never() -> None:
        await asyncio.Event().wait()

    async with ui.show(lambda: transacts.append(DbHooks(ui.runtime).use_transact())):
        await ui.sandbox.pass_time()
        tx = transacts[-1](lambda tx: tx.insert(todos, {"id": 1}), never)
        click = asyncio.create_task(tx.persisted())
        await asyncio.sleep(0)
    await ui.sandbox.pass_time()
    with pytest.raises(TransactionError, match="its client was closed"):
        await click


# -- presence ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cursor:
    name: str
    x: int = 0


def editor_channel(document_id: str) -> tuple[str, dict[str, str]]:
    return "editor", {"document_id": document_id}


editor = create_presence_channel(id="editor", channel=editor_channel, state=Cursor)


async def test_presence_shows_the_others_and_never_oneself(ui: Ui) -> None:
    handles: list[PresenceHandle[Cursor]] = []

    def body(name: str) -> list[tuple[str, Cursor]]:
        handles.append(ui.hooks.use_presence(editor.scope("d1"), initial=Cursor(name)))  # R1
        return [(member.user_id, member.state) for member in handles[-1].others]

    async with ui.show(partial(body, "Ann"), "ann") as ann:
        await ui.sandbox.pass_time()
        mine = handles[-1]
        async with ui.show(partial(body, "Bob"), "bob") as bob:
            await ui.sandbox.pass_time()
            assert ann.error is None
            assert ann.frames[-1] == [("bob", Cursor("Bob"))]
            assert bob.frames[-1] == [("ann", Cursor("Ann"))]
            mine.update(x=7)
            await ui.sandbox.pass_time()
            assert bob.frames[-1] == [("ann", Cursor("Ann", 7))]
            await bob.unmount()
            await ui.sandbox.pass_time()
            assert ann.frames[-1] == []


async def test_another_room_clears_the_others_at_once(ui: Ui) -> None:
    document = "d1"

    def body() -> tuple[str, int]:
        return document, len(ui.hooks.use_presence(editor.scope(document), initial=Cursor("Ann")).others)

    async with ui.show(body, "ann") as ann:
        bob = await ui.sandbox.client("bob")
        presence = bob.presence(editor.scope("d1"), initial=Cursor("Bob"))
        await ui.sandbox.pass_time()
        assert ann.frames[-1] == ("d1", 1)
        document = "d2"
        ann.again()
        await ui.sandbox.pass_time()
        assert ("d2", 1) not in ann.frames  # R10
        assert [member.user_id for member in presence.others] == []  # the former room was left
        presence.close()


async def test_denied_presence_is_shown(ui: Ui) -> None:
    secret = create_presence_channel(id="secret", channel=lambda: ("secret", {}), state=Cursor)

    def body() -> tuple[str, type | None]:
        presence = ui.hooks.use_presence(secret.scope(), initial=Cursor("Ann"))
        return presence.status, None if presence.error is None else type(presence.error)

    async with ui.show(body) as screen:
        await ui.sandbox.pass_time()
        assert screen.frames[-1] == ("denied", ChannelDeniedError)


async def test_a_handle_of_a_component_that_is_gone_does_nothing(ui: Ui) -> None:
    handles: list[PresenceHandle[Cursor]] = []

    def body() -> None:
        handles.append(ui.hooks.use_presence(editor.scope("d1"), initial=Cursor("Ann")))

    async with ui.show(body) as screen:
        await ui.sandbox.pass_time()
        await screen.unmount()
        handles[-1].update(x=1)
        await asyncio.sleep(0)
        assert ui.sandbox.errors == []


async def test_mounting_twice_leaves_one_member_and_one_subscription(ui: Ui) -> None:
    heard, runtime, clients = list[object](), Twice(ui.runtime), list[RealtimeClient]()
    hooks = RealtimeHooks(runtime)

    def body() -> None:
        clients.append(use_realtime_session(runtime, ui.connect("eve")))

    def inner() -> int:
        hooks.use_subscribe(("chat", {}), heard.append)
        return len(hooks.use_presence(editor.scope("d1"), initial=Cursor("Ann")).others)

    async with ui.show(inner) as screen, ui.framework.show(body):
        bob = await ui.sandbox.client("bob")
        there = bob.presence(editor.scope("d1"), initial=Cursor("Bob"))
        await ui.sandbox.pass_time()
        await bob.publish(("chat", {}), "hello")
        await ui.sandbox.pass_time()
        assert screen.frames[-1] == 1
        assert heard == ["hello"]
        assert [member.user_id for member in there.others] == ["ann"]
        assert clients[0].is_connected
        there.close()
    await ui.sandbox.pass_time()
    assert clients[0].is_closed


class Twice:
    """A framework that mounts twice, as React's StrictMode does to find what cannot bear it."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.use_ref, self.use_rerender, self.use_client = runtime.use_ref, runtime.use_rerender, runtime.use_client

    def use_effect(self, mount: Callable[[], Cleanup], key: object) -> None:
        def mount_twice() -> Cleanup:
            mount()()
            return mount()

        self._runtime.use_effect(mount_twice, key)
