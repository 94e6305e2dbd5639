"""What tests of presets put on screens: a collection of todos, and rooms with people in them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Final

from tanstack_db import LoadSubset, create_collection
from tanstack_realtime import Channel, RealtimeClient, RealtimeCollection, parse_channel, realtime_collection_options
from tanstack_realtime._presence_channel import Presence, PresenceScope
from tanstack_realtime.testing import Kit

__all__ = ["PROJECT", "TODOS", "Screen", "Screens", "Table", "enter", "inserted", "row", "shows"]

PROJECT: Final = "p1"
TODOS: Final = parse_channel(f"todos:project_id={PROJECT}")


@dataclass
class Table:
    """Rows of one project, and who reads them."""

    rows: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    reads: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()
        self.collection: RealtimeCollection[dict[str, Any], str, [str]] = create_collection(
            realtime_collection_options(
                id="todos",
                get_key=lambda row: str(row["id"]),
                channel=lambda project_id: ("todos", {"project_id": project_id}),
                query_fn=self.query,
                on_insert=self.on_insert,
            )
        )

    async def query(self, project_id: str) -> list[dict[str, Any]]:
        self.reads += 1
        found = [dict(row) for row in self.rows.values() if row["project_id"] == project_id]
        await self.gate.wait()
        return found

    async def on_insert(self, transaction: Any) -> dict[str, Any]:
        row = dict(transaction.mutations[0].modified)
        self.rows[row["id"]] = row
        return row


class Screen:
    """A client with the collection on its screen."""

    def __init__(self, client: RealtimeClient, table: Table) -> None:
        self.client = client
        self.todos = client.collection(table.collection)
        self.lease = self.todos.acquire(LoadSubset({"project_id": (PROJECT,)}), lambda: None)

    @property
    def ids(self) -> list[str]:
        return sorted(str(row["id"]) for row in self.todos.to_list())

    @property
    def is_live(self) -> bool:
        return [status.live for status in self.todos.scopes] == [True]


def row(key: str) -> dict[str, Any]:
    return {"id": key, "project_id": PROJECT}


def inserted(key: str) -> dict[str, Any]:
    return {"action": "insert", "data": row(key), "key": key, "id": f"m-{key}", "origin": "another"}


@dataclass
class Screens:
    """Makes screens, and takes them away."""

    kit: Kit
    table: Table = field(default_factory=Table)
    made: list[Screen] = field(default_factory=list[Screen])

    async def open(self, name: str = "ann") -> Screen:
        screen = Screen(await self.kit.client(name), self.table)
        self.made.append(screen)
        await self.kit.until(lambda: screen.is_live, "the collection is live")
        return screen


def enter(client: RealtimeClient, channel: Channel, state: dict[str, Any] | None) -> Presence[dict[str, Any]]:
    return client.presence(PresenceScope[dict[str, Any]]("rooms", channel, None), initial=state)


def shows(room: Presence[dict[str, Any]], state: dict[str, Any]) -> bool:
    return state in [member.state for member in room.others]
