"""The worst that can happen to Ably, and to the way there: whatever it is, clients converge, at one query per scope."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from ably_app import AblyApp
from ably_js import AblyJs
from ably_server import AblyProcess
from screens import TODOS, Screen, Screens, row

from tanstack_realtime.testing import Kit

pytestmark = pytest.mark.usefixtures("ably_js_installed")


class Killable(AblyApp):
    """The emulator is a process of its own."""

    folder: Path

    async def start_ably(self) -> None:
        """Start it; it knows nothing of an earlier life."""
        self.process = AblyProcess(self.folder, self.ably_port)
        await self.process.start()

    async def stop_ably(self) -> None:
        """Kill it."""
        await self.process.stop(signal.SIGKILL)


@pytest.fixture(params=["beside", "inside"])
async def app(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> AsyncIterator[AblyApp]:
    """The emulator as a process that is killed, and in this process, where its faults are at hand."""
    app = Killable(monkeypatch) if request.param == "beside" else AblyApp(monkeypatch)
    if isinstance(app, Killable):
        app.folder = tmp_path
    async with app:
        yield app


beside = pytest.mark.parametrize("app", ["beside"], indirect=True)
inside = pytest.mark.parametrize("app", ["inside"], indirect=True)


async def converge(kit: Kit, *shown: Screen, ids: list[str]) -> None:
    """Wait until every screen is live and shows these rows."""
    await kit.until(lambda: all(screen.client.is_connected for screen in shown), "all are back", within=20.0)
    await kit.until(lambda: all(screen.is_live for screen in shown), "all are live", within=20.0)
    await kit.until(lambda: all(screen.ids == ids for screen in shown), f"all show {ids}", within=20.0)


@beside
async def test_killed_and_started_again(app: AblyApp, kit: Kit, screens: Screens) -> None:
    """What is written while it is away is kept, told when it is back, and costs each screen one query."""
    async with AblyJs() as js:
        front = await app.front(js, kit.user("bob"), TODOS.raw)
        await front.do("subscribe", channel=TODOS.raw)
        ann, bob = await screens.open(), await screens.open("bob")
        await ann.todos.insert(row("before")).persisted()
        await kit.until(lambda: bob.ids == ["before"], "a row")
        reads = screens.table.reads
        await app.stop_ably()
        await kit.until(lambda: not ann.client.is_connected and not bob.client.is_connected, "both notice")
        await front.until(lambda: front.states()[-1] != "connected", "it notices")
        meanwhile = ann.todos.insert(row("meanwhile"))
        await meanwhile.persisted()
        await app.start_ably()
        await converge(kit, ann, bob, ids=["before", "meanwhile"])
        await kit.until(lambda: screens.table.reads >= reads + 2, "both have asked")
        await kit.quiet()
        assert screens.table.reads == reads + 2
        await front.hears("channel", channel=TODOS.raw, state="attached", resumed=False, times=2)
        await bob.todos.insert(row("after")).persisted()
        await converge(kit, ann, bob, ids=["after", "before", "meanwhile"])
        await front.until(lambda: front.data(TODOS.raw)[-1].get("key") == "after", "it hears the row")


@beside
async def test_killed_again_and_again(app: AblyApp, kit: Kit, screens: Screens) -> None:
    ann, bob = await screens.open(), await screens.open("bob")
    for number in range(2):
        await app.stop_ably()
        await app.start_ably()
        await ann.todos.insert(row(f"t{number}")).persisted()
    await converge(kit, ann, bob, ids=["t0", "t1"])


@beside
async def test_frozen_and_thawed(app: Killable, kit: Kit, screens: Screens) -> None:
    """Every socket stays open and nobody answers. What was known before is known afterwards, so nobody asks again."""
    ann, bob = await screens.open(), await screens.open("bob")
    await ann.todos.insert(row("before")).persisted()
    await kit.until(lambda: bob.ids == ["before"], "a row")
    reads = screens.table.reads
    app.process.freeze()
    await kit.until(lambda: not ann.client.is_connected and not bob.client.is_connected, "both notice")
    meanwhile = ann.todos.insert(row("meanwhile"))
    await meanwhile.persisted()
    app.process.thaw()
    await converge(kit, ann, bob, ids=["before", "meanwhile"])
    await bob.todos.insert(row("after")).persisted()
    await converge(kit, ann, bob, ids=["after", "before", "meanwhile"])

    assert screens.table.reads == reads


@inside
@pytest.mark.parametrize("how", ["state", "expired", "revoked", "frozen", "cut"])
async def test_every_fault_ends_well(app: AblyApp, kit: Kit, screens: Screens, how: str) -> None:
    """What was written behind its back during the fault is shown, and what is written afterwards."""
    ann, bob = await screens.open(), await screens.open("bob")
    reads = screens.table.reads
    match how:
        case "state":
            app.emulator.faults.forget_state()
            screens.table.rows["lost"] = row("lost")
            for name in ("ann", "bob"):
                await app.cut(kit.user(name))
        case "expired":
            app.emulator.faults.expire_tokens()
        case "revoked":
            await app.realtime.revoke(kit.user("ann"), TODOS)
        case "frozen":
            await app.half_open(kit.user("ann"))
        case _:
            await app.cut(kit.user("ann"))
    await bob.todos.insert(row("meanwhile")).persisted()
    known = ["lost", "meanwhile"] if how == "state" else ["meanwhile"]
    await converge(kit, ann, bob, ids=known)
    await ann.todos.insert(row("t9")).persisted()
    await converge(kit, ann, bob, ids=sorted([*known, "t9"]))
    await kit.quiet()

    assert screens.table.reads - reads == (2 if how == "state" else 0)


@inside
async def test_a_way_that_breaks_all_the_time(app: AblyApp, kit: Kit, screens: Screens) -> None:
    """Drops in the middle of everything lose nothing and double nothing."""
    ann, bob = await screens.open(), await screens.open("bob")
    for number in range(20):
        writing = ann.todos.insert(row(f"t{number:02}"))
        await app.cut(kit.user("bob"))
        if number % 3 == 0:
            await app.cut(kit.user("ann"))
        await writing.persisted()
        await asyncio.sleep(0)
    await converge(kit, ann, bob, ids=[f"t{number:02}" for number in range(20)])
