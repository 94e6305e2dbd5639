"""The Textual binding, against a server on a simulated network."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest
from textual.app import App, ComposeResult
from textual.widgets import Static

from tanstack_db import DbClient
from tanstack_realtime import ConfigurationError, PresenceView, create_presence_channel
from tanstack_realtime.testing import RealtimeSandbox
from tanstack_realtime.textual import RealtimeMixin

room = create_presence_channel(id="room", channel=lambda: ("room", {}))


class Watcher(RealtimeMixin, Static):
    def __init__(self) -> None:
        super().__init__()
        self.statuses, self.heard, self.others = list[str](), list[object](), list[list[str]]()

    def on_mount(self) -> None:
        self.show_status(self.statuses.append)
        self.on_channel(("chat", {"room": "1"}), self.heard.append)
        self.presence = self.show_presence(room.scope(), self.show_others, initial={"name": "Ann"})

    def show_others(self, view: PresenceView[dict[str, Any]]) -> None:
        self.others.append([member.user_id for member in view.others])


class Shown(RealtimeMixin, App[None]):
    def __init__(self, sandbox: RealtimeSandbox, db: DbClient) -> None:
        super().__init__()
        self.client, self.watcher = sandbox.new_client("ann", db=db), Watcher()

    def compose(self) -> ComposeResult:
        self.use_realtime(self.client)
        yield self.watcher


@pytest.fixture
async def sandbox() -> AsyncGenerator[RealtimeSandbox]:
    async with RealtimeSandbox() as sandbox:
        yield sandbox


async def test_a_widget_hears_events_status_and_members_until_it_is_removed(sandbox: RealtimeSandbox) -> None:
    db = DbClient()
    with db.activate():
        app = Shown(sandbox, db)
        async with app.run_test() as pilot:
            bob = await sandbox.client("bob")
            there = bob.presence(room.scope(), initial={"name": "Bob"})
            await sandbox.pass_time()
            await bob.publish(("chat", {"room": "1"}), "hello")
            await sandbox.pass_time()
            await pilot.pause()
            watcher = app.watcher
            assert watcher.statuses[-1] == "connected"
            assert watcher.heard == ["hello"]
            assert watcher.others[-1] == ["bob"]
            assert [member.state for member in there.others] == [{"name": "Ann"}]
            await watcher.remove()
            await sandbox.pass_time()
            await bob.publish(("chat", {"room": "1"}), "again")
            await sandbox.pass_time()
            assert watcher.heard == ["hello"]
            assert there.others == ()
            assert app.realtime is app.client
        assert app.client.is_closed


async def test_the_focus_of_the_terminal_reaches_the_client(
    sandbox: RealtimeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    db, told = DbClient(), list[str]()
    with db.activate():
        app = Shown(sandbox, db)
        monkeypatch.setattr(app.client.lifecycle, "_callback", told.append)
        async with app.run_test() as pilot:
            app.app_focus = False
            await pilot.pause()
            app.app_focus = True
            await pilot.pause()
            assert told == ["focus"]


async def test_without_a_client_it_says_what_to_call(sandbox: RealtimeSandbox) -> None:
    with DbClient().activate(), pytest.raises(ConfigurationError, match="use_realtime"):
        _ = Watcher().realtime


async def test_a_second_client_is_refused(sandbox: RealtimeSandbox) -> None:
    db = DbClient()
    with db.activate():
        app = Shown(sandbox, db)
        async with app.run_test():
            with pytest.raises(ConfigurationError, match="already"):
                app.use_realtime(app.client)
