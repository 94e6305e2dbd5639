"""What a reconnect, a slow reader and a restart cost: a replay where it is complete, else one fetch per scope."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass

from realtime_preset_node import DropOldest, HistoryLimits, NodePreset
from realtime_preset_node.testing import SimulatedNode
from tanstack_db import LiveQuery, Rows, create_collection, live_query
from tanstack_realtime import RealtimeClient, realtime_collection_options
from tanstack_realtime.testing import Conditions, RealtimeSandbox


@dataclass(frozen=True)
class Note:
    id: str
    room: str
    text: str = ""


class Site:
    """A database, and how often each room was read when."""

    def __init__(self, sandbox: RealtimeSandbox) -> None:
        self.sandbox = sandbox
        self.rows: dict[str, Note] = {}
        self.reads: Counter[str] = Counter()
        self.read_at: list[float] = []

    async def read(self, room: str) -> list[Note]:
        self.reads[room] += 1
        self.read_at.append(asyncio.get_running_loop().time())
        return [row for row in self.rows.values() if row.room == room]

    def show(self, client: RealtimeClient, room: str, *, spread: float = 1.0) -> LiveQuery[Rows[Note]]:
        """Put a room on a client's screen."""
        options = realtime_collection_options(
            id="notes",
            schema=Note,
            get_key=lambda n: n.id,
            channel="notes",
            query_fn=self.read,
            refetch_spread=spread,
        )
        notes = client.collection(create_collection(options))
        screen = live_query(lambda q: q.from_(notes).where(lambda n: n.room == room), client=client.db)
        screen.subscribe(lambda: None)
        return screen

    async def add(self, *notes: Note) -> None:
        """Write, and publish what was written."""
        for note in notes:
            self.rows[note.id] = note
            data = {"id": note.id, "room": note.room, "text": note.text}
            message = {"action": "insert", "key": note.id, "data": data}
            await self.sandbox.realtime.publish(("notes", {"room": note.room}), message)

    def forget_reads(self) -> None:
        self.reads.clear()
        self.read_at.clear()


def shown(screen: LiveQuery[Rows[Note]]) -> list[str]:
    return sorted(note.id for note in screen.get())


async def test_what_was_missed_is_replayed_without_a_fetch() -> None:  # G1, G2, X5
    async with RealtimeSandbox(preset=SimulatedNode()) as sandbox:
        site = Site(sandbox)
        screen = site.show(await sandbox.client("ann"), "1")
        await sandbox.pass_time(5)
        sandbox.network.partition("ann")
        await site.add(*(Note(f"n{number}", "1") for number in range(20)))
        await sandbox.pass_time(60)
        site.forget_reads()
        sandbox.network.heal("ann")
        await sandbox.pass_time(60)
        assert len(shown(screen)) == 20
        assert site.reads == {}


async def test_what_history_does_not_hold_is_fetched_once_per_scope() -> None:  # G1, G7, X5
    preset = SimulatedNode(NodePreset(history=HistoryLimits(messages=10)))
    async with RealtimeSandbox(preset=preset) as sandbox:
        site, ann = Site(sandbox), await sandbox.client("ann")
        screens = [site.show(ann, room) for room in ("1", "2", "3")]
        await sandbox.pass_time(5)
        sandbox.network.partition("ann")
        await site.add(*(Note(f"a{number}", "1") for number in range(11)))  # one too many
        await site.add(*(Note(f"b{number}", "2") for number in range(10)))
        await sandbox.pass_time(60)
        site.forget_reads()
        sandbox.network.heal("ann")
        await sandbox.pass_time(60)
        assert [len(shown(screen)) for screen in screens] == [11, 10, 0]
        assert site.reads == {"1": 1}


async def test_a_reader_that_was_told_of_a_gap_fetches_once() -> None:  # A17, L4, G1
    preset = SimulatedNode(NodePreset(slow_readers={"notes": DropOldest(messages=5)}))
    async with RealtimeSandbox(preset=preset, conditions=Conditions(buffer=1_000)) as sandbox:
        site, ann = Site(sandbox), await sandbox.client("ann")
        screen = site.show(ann, "1")
        await sandbox.pass_time(5)
        site.forget_reads()
        sandbox.network.stall("ann")
        for number in range(300):
            await site.add(Note(f"n{number}", "1", "x" * 1_000))
            await asyncio.sleep(0.01)
        sandbox.network.resume("ann")
        await sandbox.pass_time(60)
        assert (ann.statistics().losses, ann.store.state.status) == (0, "connected")
        assert len(shown(screen)) == 300
        assert site.reads == {"1": 1}
        assert sandbox.realtime.statistics().dropped > 0


async def test_after_a_restart_clients_and_their_fetches_are_spread() -> None:  # G7, G10
    async with RealtimeSandbox(preset=SimulatedNode(NodePreset(restart_spread=10))) as sandbox:
        site = Site(sandbox)
        clients = [await sandbox.client(f"user {number}") for number in range(40)]
        screens = [site.show(client, "1") for client in clients]
        await sandbox.pass_time(5)
        site.forget_reads()
        await site.add(Note("n1", "1"))
        await sandbox.pass_time()
        await sandbox.realtime.aclose()
        await sandbox.pass_time(0.1)  # the close frames are on their way
        await sandbox.kill()
        site.rows["n2"] = Note("n2", "1")  # written while nobody could be told
        await sandbox.start()
        began = asyncio.get_running_loop().time()
        await sandbox.pass_time(60)
        assert all(shown(screen) == ["n1", "n2"] for screen in screens)
        assert site.reads == {"1": len(clients)}
        delays = sorted(at - began for at in site.read_at)
        assert delays[-1] <= 10 * 1.25 + 5
        busiest = max(sum(start <= delay < start + 1 for delay in delays) for start in delays)
        assert busiest <= len(clients) / 2
        assert delays[-1] - delays[0] > 4


async def test_after_a_crash_fetches_are_spread_though_everybody_is_back_within_a_second() -> None:  # G7, G10
    async with RealtimeSandbox(preset=SimulatedNode()) as sandbox:
        site = Site(sandbox)
        clients = [await sandbox.client(f"user {number}") for number in range(40)]
        screens = [site.show(client, "1", spread=8) for client in clients]
        await sandbox.pass_time(15)
        site.forget_reads()
        await sandbox.kill()
        site.rows["n1"] = Note("n1", "1")
        await sandbox.start()
        began = asyncio.get_running_loop().time()
        await sandbox.pass_time(1.5)
        assert all(client.is_connected for client in clients)
        await sandbox.pass_time(60)
        assert all(shown(screen) == ["n1"] for screen in screens)
        assert site.reads == {"1": len(clients)}
        delays = sorted(at - began for at in site.read_at)
        assert max(sum(start <= delay < start + 1 for delay in delays) for start in delays) <= len(clients) / 3
        assert delays[-1] <= 1.5 + 8


async def test_a_lost_connection_is_found_by_both_ends_in_the_declared_time() -> None:  # C14
    async with RealtimeSandbox(preset=SimulatedNode(NodePreset(heartbeat=8, timeout=4))) as sandbox:
        ann = await sandbox.client("ann")
        await sandbox.pass_time(5)
        sandbox.network.half_open("ann")
        await sandbox.pass_time(13)
        assert ann.statistics().losses == 1
        assert sandbox.realtime.statistics().connects - sandbox.realtime.statistics().connections >= 1
        await sandbox.pass_time(60)
        assert ann.is_connected
        assert sandbox.realtime.statistics().connections == 1
