"""Every hook of both observers fires on this preset, not only on the one that tests are written with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from realtime_preset_node import DropOldest, HistoryLimits, NodePreset
from realtime_preset_node.testing import SimulatedNode
from tanstack_db import DbClient, Transaction, create_collection, live_query
from tanstack_realtime import (
    Channel,
    Observer,
    create_presence_channel,
    create_realtime_client,
    realtime_collection_options,
)
from tanstack_realtime.server import Permissions, Realtime, ServerObserver, bearer_token
from tanstack_realtime.testing import Conditions, RealtimeSandbox


@dataclass(frozen=True)
class Note:
    id: str
    room: str


@dataclass(frozen=True)
class Here:
    name: str = ""


def channel_of(room: str) -> tuple[str, dict[str, str]]:
    return ("notes", {"room": room})


LOBBY = create_presence_channel(id="lobby", channel=channel_of, state=Here)


def hooks_of(protocol: type) -> set[str]:
    return {name for name in vars(protocol) if not name.startswith("_")}


def ear_of(protocol: type, heard: set[str]) -> Any:
    """An observer that overrides every hook there is."""

    def hook(name: str) -> Callable[..., None]:
        def hear(self: object, *facts: object, **named: object) -> None:
            heard.add(name)

        return hear

    return type("Ear", (protocol,), {name: hook(name) for name in hooks_of(protocol)})()


def only_notes(user_id: str, channel: Channel) -> Permissions:
    allowed = channel.namespace == "notes"
    return Permissions(subscribe=allowed, publish=allowed, presence=allowed)


async def test_every_hook_fires_over_the_node_preset() -> None:  # G9, V8
    client_heard: set[str] = set()
    server_heard: set[str] = set()
    rows: dict[str, Note] = {}

    async def read(room: str) -> list[Note]:
        return list(rows.values())

    async def add(transaction: Transaction[Note]) -> Note:
        note = transaction.mutations[0].modified
        rows[note.id] = note
        return note

    preset = NodePreset(slow_readers={"notes": DropOldest(messages=2)}, history=HistoryLimits(messages=1))
    sandbox = RealtimeSandbox(
        preset=SimulatedNode(preset),
        conditions=Conditions(buffer=1_000),
        serve=lambda preset: Realtime(
            authorize=only_notes,
            get_user=bearer_token,
            preset=preset,
            observer=ear_of(ServerObserver, server_heard),
        ),
    )
    db = DbClient(on_error=lambda error: None)
    async with (
        sandbox,
        create_realtime_client(
            "http://app.example",
            transport=sandbox.preset.transport("ann"),
            db=db,
            get_token=lambda: "ann",
            observer=ear_of(Observer, client_heard),
        ) as ann,
    ):
        options = realtime_collection_options(
            id="notes", schema=Note, get_key=lambda n: n.id, channel="notes", query_fn=read, on_insert=add
        )
        notes = ann.collection(create_collection(options))
        shown = live_query(lambda q: q.from_(notes).where(lambda n: n.room == "1"), client=db)
        await shown.preload()
        await notes.insert(Note("n1", "1")).persisted()
        ann.presence(LOBBY.scope(room="1"), initial=Here("Ann"))
        ann.subscribe(("secret", {}), lambda message: None)
        await sandbox.realtime.publish(("notes", {"room": "1"}), {"action": "refetch"})
        await sandbox.pass_time(5)
        sandbox.network.stall("ann")
        for _ in range(300):
            await sandbox.realtime.publish(("notes", {"room": "1"}), {"action": "refetch", "pad": "x" * 5_000})
            await sandbox.pass_time(0.01)
        sandbox.network.resume("ann")
        await sandbox.pass_time(30)
        shown.close()
        await sandbox.pass_time(30)
        sandbox.network.cut("ann")
        await sandbox.pass_time(60)
    await db.close()
    assert client_heard == hooks_of(Observer)
    assert server_heard == hooks_of(ServerObserver)
