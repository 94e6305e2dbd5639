"""One client: of the application, with a live query on the notes of a room; or a bare connection.

`python client.py PRESET PORT`, where the preset is ``node``, ``centrifugo`` or ``echo``. It does what the lines on its
standard input say, and answers each with a line of JSON:

=========================  ===========================================================================================
``write FIRST COUNT AT``   write COUNT notes, of which AT may be under way: when each was begun
``hear FIRST COUNT``       when each of these notes was there, once they all are
=========================  ===========================================================================================

Times are seconds of `time.perf_counter`, which is one clock for all processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from websockets.asyncio.client import connect

from tanstack_db import Change, DbClient, Transaction, create_collection, live_query
from tanstack_realtime import create_realtime_client, realtime_collection_options

ROOM: Final = "1"
TEXT: Final = "x" * 150

Heard: TypeAlias = Callable[[str], None]
Write: TypeAlias = Callable[[str], Awaitable[object]]
"""Writes at once, before the first await; is done when the writer itself has nothing more to do."""


@dataclass(frozen=True)
class Note:
    id: str
    room: str
    text: str


async def on_insert(transaction: Transaction[Note]) -> Note:
    """Stand for a server function that answers at once."""
    return transaction.mutations[0].modified


async def query(room: str) -> list[Note]:
    return []


def channel(room: str) -> tuple[str, dict[str, str]]:
    return ("notes", {"room": room})


@contextlib.asynccontextmanager
async def application(preset: str, port: int, heard: Heard) -> AsyncGenerator[Write]:
    """A client whose live query tells of the rows of others, and of its own."""
    notes = create_collection(
        realtime_collection_options(
            id="notes", schema=Note, get_key=lambda note: note.id, channel=channel, query_fn=query, on_insert=on_insert
        )
    )
    db = DbClient()

    def changed(changes: Sequence[Change[Any, Any]]) -> None:
        for change in changes:
            heard(change.value.id)

    url = f"http://127.0.0.1:{port}"
    async with create_realtime_client(url, preset=preset, get_token=lambda: "user", db=db) as client:
        await client.connected()
        live = live_query(lambda q: q.from_(notes).where(lambda note: note.room == ROOM), client=db)
        stop = live.subscribe_changes(changed)
        await live.preload()
        mine = client.collection(notes)
        yield lambda key: mine.insert(Note(key, ROOM, TEXT)).persisted()
        stop()
    await db.close()


@contextlib.asynccontextmanager
async def bare(port: int, heard: Heard) -> AsyncGenerator[Write]:
    """A connection that sends frames as long as those of the node preset, and cuts the key out of what arrives."""
    own: dict[str, asyncio.Future[None]] = {}
    loop = asyncio.get_running_loop()
    before, after = '{"type":"publish","id":2,"channel":"notes:room=1","data":', f"{'x' * 270}}}"

    async def receive() -> None:
        async for frame in connection:
            key = str(frame)[len(before) : -len(after)]
            heard(key)
            if waiting := own.pop(key, None):
                waiting.set_result(None)

    async def write(key: str) -> None:
        own[key] = loop.create_future()
        await connection.send(f"{before}{key}{after}")
        await own[key]

    async with connect(f"ws://127.0.0.1:{port}", compression=None) as connection, asyncio.TaskGroup() as tasks:
        receiving = tasks.create_task(receive())
        yield write
        receiving.cancel()


async def write_all(write: Write, keys: Sequence[str], at: int) -> list[float]:
    """Write notes, `at` at a time, and return when each was begun."""
    began: list[float] = []

    async def one_after_the_other() -> None:
        for key in waiting:
            began.append(time.perf_counter())
            await write(key)

    waiting = iter(keys)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(at):
            tasks.create_task(one_after_the_other())
    return began


async def main(preset: str, port: int) -> None:
    loop = asyncio.get_running_loop()
    times: dict[str, float] = {}
    awaited: dict[str, asyncio.Future[None]] = {}

    def heard(key: str) -> None:
        times.setdefault(key, time.perf_counter())
        if key in awaited:
            awaited.pop(key).set_result(None)

    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    opened = bare(port, heard) if preset == "echo" else application(preset, port, heard)
    async with opened as write:
        print(json.dumps("ready"), flush=True)
        async for line in commands:
            name, first, count, *at = line.decode().split()
            keys = [str(number) for number in range(int(first), int(first) + int(count))]
            if name == "write":
                answer = await write_all(write, keys, int(at[0]))
            else:
                # The note that is there last tells that all are: messages of a channel keep their order.
                if keys[-1] not in times:
                    awaited[keys[-1]] = loop.create_future()
                    async with asyncio.timeout(30):
                        await awaited[keys[-1]]
                answer = [times[key] for key in keys]
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
