"""The preset on two nodes that share a Redis, one of which is killed while clients write."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from centrifugo_app import RealCentrifugo
from centrifugo_nodes import Nodes
from screens import TODOS, Screen, Screens, row

from tanstack_realtime.testing import Kit


@pytest.fixture
async def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RealCentrifugo]:
    async with RealCentrifugo(tmp_path, monkeypatch, beside=Nodes) as app:
        yield app


@pytest.fixture
def nodes(app: RealCentrifugo) -> Nodes:
    assert isinstance(app.centrifugo, Nodes)
    return app.centrifugo


async def write(screen: Screen, name: str, count: int) -> None:
    """Insert a row every now and then, whatever becomes of the connection."""
    for number in range(count):
        await screen.todos.insert(row(f"{name}-{number}")).persisted()
        await asyncio.sleep(0.05)


async def test_clients_converge_when_a_node_is_killed_while_they_write(
    nodes: Nodes, kit: Kit, screens: Screens
) -> None:
    """Those of the dead node recover on the other, from the history in Redis: no channel has a gap."""
    shown = [await screens.open(name) for name in ("ann", "bob", "ann", "bob")]
    channels = [await kit.listen(screen.client, TODOS) for screen in shown]
    async with asyncio.TaskGroup() as tasks:
        for number, screen in enumerate(shown):
            tasks.create_task(write(screen, str(number), 40))
        await asyncio.sleep(0.7)
        await nodes.one.stop(signal.SIGKILL)

    everything = sorted(f"{number}-{count}" for number in range(4) for count in range(40))
    await kit.until(lambda: all(screen.ids == everything for screen in shown), "all show all rows", within=20.0)
    assert [screen.client.statistics().losses for screen in shown] == [1, 0, 1, 0]
    statistics = [subscription.statistics() for subscription, _ in channels]
    assert [each and (each.recovered, each.gaps) for each in statistics] == [(1, 0), (0, 0), (1, 0), (0, 0)]
    # What was on its way to the dead node is sent again, and Redis knows whether it has it.
    for _, listener in channels:
        heard = [message["id"] for message in listener.data if message["action"] == "insert"]
        assert sorted(heard) == sorted(set(heard))
        assert len(heard) == len(everything)


async def test_who_missed_too_much_on_the_dead_node_fetches_once(
    app: RealCentrifugo, nodes: Nodes, kit: Kit, screens: Screens
) -> None:
    ann, bob = await screens.open("ann"), await screens.open("bob")
    await nodes.one.stop(signal.SIGKILL)
    await kit.until(lambda: ann.client.statistics().losses == 1, "ann notices")
    ann.client.disconnect()
    reads = screens.table.reads
    await bob.todos.insert(row("meanwhile")).persisted()
    await kit.until(lambda: bob.todos.statistics().echoes, "it is out")
    for number in range(app.capabilities.history + 1):
        await app.realtime.publish(TODOS, {"action": "delete", "key": f"no-{number}", "data": None})
    ann.client.connect()
    await kit.until(lambda: ann.ids == bob.ids == ["meanwhile"], "both show the same", within=20.0)
    await kit.until(lambda: ann.is_live, "it is live again")
    await ann.todos.insert(row("after")).persisted()
    await kit.until(lambda: ann.ids == bob.ids == ["after", "meanwhile"], "it goes on")

    assert screens.table.reads == reads + 1
    assert bob.client.statistics().losses == 0


async def test_a_killed_node_comes_back_and_takes_its_share(nodes: Nodes, kit: Kit, screens: Screens) -> None:
    ann = await screens.open("ann")
    await nodes.one.stop(signal.SIGKILL)
    await kit.until(lambda: ann.client.statistics().losses == 1, "ann notices")
    await nodes.one.start()
    bob = await screens.open("bob")
    await kit.until(lambda: ann.client.is_connected, "ann is back")
    await ann.todos.insert(row("hers")).persisted()
    await bob.todos.insert(row("his")).persisted()
    await kit.until(lambda: ann.ids == bob.ids == ["hers", "his"], "both show the same")
