"""`realtime_preset_node.uvicorn.FastProtocol`: what is special about it. What both ways of writing share is in
test_node_sockets.py, which runs with each."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from realtime_preset_node import CloseCode, NodePreset
from realtime_preset_node._server import NodeServer
from realtime_preset_node.uvicorn import FastProtocol
from tanstack_realtime import Channel
from tanstack_realtime.server import Permissions, Realtime, bearer_token

DEADLINE = 10.0


@pytest.fixture(autouse=True)
async def nothing_is_left() -> AsyncIterator[None]:  # X9
    yield
    assert asyncio.all_tasks() == {asyncio.current_task()}


class Spy:
    """Middleware that sees every ASGI message to a client."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.sent: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def watched(message: Message) -> None:
            self.sent.append(message["type"])
            await send(message)

        await self.app(scope, receive, watched if scope["type"] == "websocket" else send)


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())
    await websocket.close(4000)


def authorize(user_id: str, channel: Channel) -> Permissions:
    return Permissions(subscribe=True, publish=True)


class Site:
    def __init__(self, preset: NodePreset | None = None) -> None:
        self.realtime = Realtime(authorize=authorize, get_user=bearer_token, preset=preset or NodePreset())
        self.spy = Spy(Starlette(routes=[Mount("/_realtime", self.realtime), WebSocketRoute("/echo", echo)]))
        self.port = 0
        self.server: uvicorn.Server | None = None

    @contextlib.asynccontextmanager
    async def serving(self, **options: Any) -> AsyncGenerator[None]:
        config = uvicorn.Config(
            self.spy,
            host="127.0.0.1",
            port=0,
            log_level="error",
            ws=FastProtocol,
            timeout_graceful_shutdown=5,
            **options,
        )
        server = self.server = uvicorn.Server(config)
        task = asyncio.get_running_loop().create_task(server.serve())
        while not server.started:
            if task.done():
                await task
            await asyncio.sleep(0)
        self.port = int(server.servers[0].sockets[0].getsockname()[1])
        try:
            yield
        finally:
            server.should_exit = True
            await asyncio.wait_for(task, DEADLINE)

    @property
    def connections(self) -> int:
        server = self.realtime._server
        assert isinstance(server, NodeServer)
        return server.connections

    @property
    def sockets(self) -> int:
        assert self.server is not None
        return len(self.server.server_state.connections)

    def connect(self, **options: Any) -> connect:
        return connect(f"ws://127.0.0.1:{self.port}/_realtime/ws", proxy=None, **options)


async def ask(client: ClientConnection, frame: dict[str, Any]) -> list[dict[str, Any]]:
    await client.send(json.dumps(frame))
    return await frames(client)


async def frames(client: ClientConnection) -> list[dict[str, Any]]:
    message = await asyncio.wait_for(client.recv(), DEADLINE)
    assert isinstance(message, str)
    return [json.loads(line) for line in message.split("\n")]


async def join(client: ClientConnection, channel: str = "news") -> None:
    assert [frame["type"] for frame in await ask(client, {"type": "hello", "versions": [1], "token": "ann"})] == [
        "welcome"
    ]
    answer = await ask(client, {"type": "subscribe", "id": 1, "channel": channel})
    assert [frame["type"] for frame in answer] == ["subscribed"]


async def test_messages_pass_asgi_send_by() -> None:
    site = Site()
    async with site.serving(), site.connect() as client:
        await join(client)
        for number in range(3):
            await site.realtime.publish(("news", {}), number)
        assert [frame["data"] for frame in await frames(client)] == [[0, 1, 2]]  # one turn, one frame
        await client.close()
    assert site.spy.sent[0] == "websocket.accept"
    assert "websocket.send" not in site.spy.sent


@pytest.mark.parametrize("deflate", [True, False])
async def test_compression_may_be_negotiated(deflate: bool) -> None:
    site = Site()
    async with site.serving(ws_per_message_deflate=deflate), site.connect(compression="deflate") as client:
        assert bool(client.protocol.extensions) == deflate
        await join(client)
        for number in range(20):
            answer = await ask(client, {"type": "publish", "id": number, "channel": "news", "data": "é" * number * 150})
            while answer[-1]["type"] != "ok":
                answer += await frames(client)
            assert [frame["type"] for frame in answer] == ["messages", "ok"]
            assert answer[0]["data"] == ["é" * number * 150]


async def test_other_endpoints_of_the_application_are_served_as_before() -> None:
    site = Site()
    async with site.serving(), connect(f"ws://127.0.0.1:{site.port}/echo", proxy=None) as client:
        await client.send("hello")
        assert await client.recv() == "hello"
        with pytest.raises(ConnectionClosed) as caught:
            await client.recv()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 4000
    assert "websocket.send" in site.spy.sent


async def test_a_reader_that_takes_nothing_is_gone_after_the_grace(monkeypatch: pytest.MonkeyPatch) -> None:  # A17
    monkeypatch.setattr("realtime_preset_node._server._CLOSE_GRACE", 0.2)
    site = Site(NodePreset(max_backlog=200_000))
    async with site.serving(), site.connect() as healthy:
        await join(healthy)
        stuck = await site.connect()
        await join(stuck)
        stuck.transport.pause_reading()
        for number in range(400):
            await site.realtime.publish(("news", {}), f"{number} {'x' * 50_000}")
            await frames(healthy)
        async with asyncio.timeout(DEADLINE):
            while site.connections > 1 or site.sockets > 1:  # what waited for it is released with its transport
                await asyncio.sleep(0.01)
        stuck.transport.abort()
        await stuck.wait_closed()
        await healthy.close()


async def test_many_connections_that_close_while_messages_fly() -> None:  # V4
    site = Site()
    async with site.serving():
        clients = [await site.connect(max_queue=None) for _ in range(20)]
        for client in clients:
            await join(client)
        ends: list[asyncio.Task[None]] = []
        for number, client in enumerate(clients):
            ends.append(asyncio.create_task(client.close()))
            for _ in range(20):
                await site.realtime.publish(("news", {}), number)
                await asyncio.sleep(0)
        await asyncio.gather(*ends)
        assert [client.close_code for client in clients] == [CloseCode.NORMAL] * 20
        async with asyncio.timeout(DEADLINE):
            while site.connections:
                await asyncio.sleep(0)


def publish(number: int) -> str:
    return json.dumps({"type": "publish", "id": number, "channel": "news", "data": number}, separators=(",", ":"))


async def answers(client: ClientConnection, count: int) -> list[int]:
    """Return the ids of so many acknowledged requests, in the order of the answers."""
    told: list[int] = []
    while len(told) < count:
        told += [frame["id"] for frame in await frames(client) if frame["type"] == "ok"]
    return told


@pytest.mark.parametrize("deflate", [True, False])
async def test_messages_of_all_kinds_keep_their_order(deflate: bool) -> None:
    site = Site()
    compression = "deflate" if deflate else None
    async with site.serving(ws_per_message_deflate=deflate), site.connect(compression=compression) as client:
        await join(client, "other")
        pongs: list[Awaitable[float]] = []
        for number in range(0, 50, 5):
            await client.send(publish(number))
            await client.send([publish(number + 1)[:10], publish(number + 1)[10:]])  # in fragments
            await client.send(publish(number + 2).encode())
            await client.send(f"{publish(number + 3)}\n{publish(number + 4)}")
            pongs.append(await client.ping())
        assert await answers(client, 50) == list(range(50))
        await asyncio.gather(*pongs)
        await client.close()


async def test_more_than_may_wait_is_not_read_until_there_is_room() -> None:  # A17
    site = Site()
    asked: list[int] = []

    async def slow(user_id: str, channel: Channel) -> Permissions:
        await asyncio.sleep(0)
        asked.append(1)
        return Permissions(subscribe=True, publish=True)

    site.realtime._gate._authorize = slow
    async with site.serving(), site.connect() as client:
        await join(client, "other")
        for number in range(0, 1500, 2):
            await client.send(f"{publish(number)}\n{publish(number + 1)}")
        assert await answers(client, 1500) == list(range(1500))
        await client.close()
    assert len(asked) == 1501


async def test_a_message_that_is_too_large_ends_the_connection() -> None:  # A17
    site = Site()
    async with site.serving(ws_max_size=1000), site.connect() as client:
        await join(client, "other")
        await client.send("x" * 1001)
        with pytest.raises(ConnectionClosed) as caught:
            await client.recv()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1009
