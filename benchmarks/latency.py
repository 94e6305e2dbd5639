"""How long a mutation takes to reach another client, next to a bare WebSocket echo in the same run.

One server process serves both; the two clients, and the bare connection, are in this process. The way of a mutation:
optimistic row, handler (in this process, answers at once), publish over the connection, gate, hub, the other client's
collection, its live query, its subscriber. Prints a table and writes ``benchmarks/results/latency.json``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from tanstack_db import DbClient, Transaction, create_collection, live_query
from tanstack_realtime import Channel, create_realtime_client, realtime_collection_options
from tanstack_realtime.server import Permissions, Realtime, bearer_token

PORT, ECHO_PORT = 8765, 8766


@dataclass(frozen=True)
class Note:
    id: str
    room: str
    text: str


def authorize(user_id: str, channel: Channel) -> Permissions:
    return Permissions(subscribe=True, publish=True)


async def serve_both() -> None:
    """The server process."""

    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    app = Starlette(routes=[Mount("/_realtime", Realtime(authorize=authorize, get_user=bearer_token))])
    config = uvicorn.Config(app, port=PORT, log_level="warning", ws="websockets-sansio", ws_per_message_deflate=False)
    async with serve(echo, "127.0.0.1", ECHO_PORT, compression=None):
        print("ready", flush=True)
        await uvicorn.Server(config).serve()


async def on_insert(transaction: Transaction[Note]) -> Note:
    return transaction.mutations[0].modified


async def query(room: str) -> list[Note]:
    return []


def channel(room: str) -> tuple[str, dict[str, str]]:
    return ("notes", {"room": room})


async def mutations(count: int) -> list[float]:
    """Seconds from each insert in one client to the change in the other's live query."""
    notes = create_collection(
        realtime_collection_options(
            id="notes", schema=Note, get_key=lambda note: note.id, channel=channel, query_fn=query, on_insert=on_insert
        )
    )
    clients = [
        create_realtime_client(f"http://127.0.0.1:{PORT}", preset="node", get_token=lambda: "user", db=DbClient())
        for _ in range(2)
    ]
    arrived: asyncio.Queue[float] = asyncio.Queue()
    queries = [
        live_query(lambda q: q.from_(notes).where(lambda n: n.room == "1"), client=client.db) for client in clients
    ]
    stops = [
        queries[0].subscribe(lambda: None),
        queries[1].subscribe_changes(lambda _: arrived.put_nowait(time.perf_counter())),
    ]
    for client in clients:
        client.connect()
        await client.connected()
    for live in queries:
        await live.preload()
    await asyncio.sleep(1)
    writer = clients[0].collection(notes)
    times: list[float] = []
    for number in range(count):
        started = time.perf_counter()
        transaction = writer.insert(Note(str(number), "1", "x" * 150))
        times.append(await arrived.get() - started)
        await transaction.persisted()
    for stop in stops:
        stop()
    for client in clients:
        await client.close()
        await client.db.close()
    return times


async def echoes(count: int) -> list[float]:
    """Seconds of a round trip of the same number of bytes over a bare connection."""
    payload = json.dumps({"action": "insert", "data": {"id": "1", "room": "1", "text": "x" * 150}, "id": "x" * 32})
    times: list[float] = []
    async with connect(f"ws://127.0.0.1:{ECHO_PORT}", compression=None) as connection:
        for _ in range(count):
            started = time.perf_counter()
            await connection.send(payload)
            await connection.recv()
            times.append(time.perf_counter() - started)
    return times


def percentile(times: list[float], part: int) -> float:
    """Return a percentile in milliseconds."""
    return statistics.quantiles(times, n=100)[part - 1] * 1000


async def measure(count: int) -> list[dict[str, Any]]:
    server = await asyncio.create_subprocess_exec(sys.executable, __file__, "--serve", stdout=asyncio.subprocess.PIPE)
    try:
        assert server.stdout is not None
        await server.stdout.readline()
        await asyncio.sleep(1)
        await echoes(count // 4)
        ours, peer = await mutations(count), await echoes(count)
    finally:
        server.terminate()
        await server.wait()
    rows: list[dict[str, Any]] = []
    for part in (50, 99):
        us, them = percentile(ours, part), percentile(peer, part)
        rows.append(
            {
                "case": f"mutation to other client p{part}, bare echo p{part}",
                "n": count,
                "ours": round(us, 3),
                "peer": round(them, 3),
                "ratio": round(us / them, 2),
                "unit": "ms",
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", action="store_true", help="be the server process")
    parser.add_argument("--count", type=int, default=2000)
    arguments = parser.parse_args()
    if arguments.serve:
        asyncio.run(serve_both())
        return
    rows = asyncio.run(measure(arguments.count))
    for row in rows:
        print(f"{row['case']:50} {row['ours']:8.3f} {row['peer']:8.3f} {row['unit']}   ratio {row['ratio']}")
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    (results / "latency.json").write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
