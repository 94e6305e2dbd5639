"""The WebSocket endpoint, driven as an ASGI server drives it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from realtime_preset_ably.emulator._clock import SystemClock
from realtime_preset_ably.emulator._connection import Phase
from realtime_preset_ably.emulator._plain import from_msgpack, to_msgpack
from realtime_preset_ably.emulator._simulated import KEY, World
from realtime_preset_ably.emulator._ticker import Ticker
from realtime_preset_ably.emulator._websocket import websocket
from realtime_preset_ably.emulator._wire import Action
from tanstack_db.testing import settle


class Wire:
    """The server's side of one WebSocket."""

    def __init__(self, world: World, query: str) -> None:
        self.inbox: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
        self.sent: list[MutableMapping[str, Any]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.is_gone = False
        scope = {"type": "websocket", "path": "/any/:1", "query_string": query.encode()}
        self.inbox.put_nowait({"type": "websocket.connect"})
        self.task = asyncio.create_task(websocket(world.realtime, scope, self.inbox.get, self._send))

    async def _send(self, event: MutableMapping[str, Any]) -> None:
        await self.open.wait()
        if self.is_gone:
            raise OSError("the client is gone")
        self.sent.append(event)

    async def say(self, **frame: object) -> None:
        self.inbox.put_nowait({"type": "websocket.receive", "text": json.dumps(frame)})
        await settle()

    def heard(self) -> list[dict[str, Any]]:
        events = (event for event in self.sent if event["type"] == "websocket.send")
        return [json.loads(event["text"]) if "text" in event else from_msgpack(event["bytes"]) for event in events]

    def types(self) -> list[str]:
        return [event["type"].removeprefix("websocket.") for event in self.sent]


@asynccontextmanager
async def opened(world: World, query: str = f"key={KEY}") -> AsyncGenerator[Wire]:
    wire = Wire(world, query)
    await settle()
    try:
        yield wire
    finally:
        wire.open.set()
        wire.inbox.put_nowait({"type": "websocket.disconnect", "code": 1006})
        await wire.task


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize(("query", "kind"), [("", "text"), ("&format=json", "text"), ("&format=msgpack", "bytes")])
async def test_a_socket_is_accepted_on_any_path_and_greeted_in_its_format(world: World, query: str, kind: str) -> None:
    async with opened(world, f"key=app.key%3Asecret{query}") as wire:
        assert wire.types() == ["accept", "send"]
        assert kind in wire.sent[1]
        assert wire.heard()[0]["action"] == Action.CONNECTED


async def test_a_client_speaks_and_is_answered(world: World) -> None:
    async with opened(world) as wire:
        await wire.say(action=Action.HEARTBEAT, id="x")
        wire.inbox.put_nowait({"type": "websocket.receive", "bytes": to_msgpack({"action": 0}), "text": None})
        await settle()

        assert wire.heard()[1:] == [{"action": 0, "id": "x"}, {"action": 0}]


async def test_who_is_refused_is_accepted_told_and_closed(world: World) -> None:
    async with opened(world, "key=no") as wire:
        assert wire.types() == ["accept", "send", "close"]
        assert wire.heard()[0]["action"] == Action.ERROR
        await wire.task


async def test_a_refused_websocket_is_not_accepted(world: World) -> None:
    world.realtime.faults.refuse_connections()
    async with opened(world) as wire:
        assert wire.types() == ["close"]


async def test_the_end_of_a_socket_leaves_the_connection_adrift(world: World) -> None:
    async with opened(world):
        (connection,) = world.realtime.connections()
        phases = [connection.phase]
    phases.append(connection.phase)

    assert phases == [Phase.LINKED, Phase.ADRIFT]


async def test_close_is_answered_and_the_socket_closed(world: World) -> None:
    async with opened(world) as wire:
        await wire.say(action=Action.CLOSE)

        assert wire.heard()[-1] == {"action": Action.CLOSED}
        assert wire.sent[-1] == {"type": "websocket.close", "code": 1000}
        await wire.task


async def test_a_client_that_is_gone_while_it_is_written_to_is_no_error(world: World) -> None:
    async with opened(world) as wire:
        wire.is_gone = True
        world.realtime.faults.prompt_for_tokens()
        await wire.task

    assert world.realtime.connections()[0].phase is Phase.ADRIFT


async def test_a_client_that_asks_and_does_not_read_is_not_read_either(world: World) -> None:
    async with opened(world) as publisher, opened(world) as reader:
        data = "x" * 60_000
        for number in range(10):
            await publisher.say(action=Action.MESSAGE, channel="c", msgSerial=number, messages=[{"data": data}])
        reader.open.clear()
        for _ in range(5):
            await reader.say(action=Action.ATTACH, channel="c", params={"rewind": "10"})
        assert reader.inbox.qsize() == 4

        reader.open.set()
        await settle()
        assert reader.inbox.qsize() == 0
        assert len(reader.heard()) == 1 + 5 * 11


async def test_a_frozen_socket_can_be_dropped(world: World) -> None:
    async with opened(world) as wire:
        world.realtime.faults.freeze()
        await wire.say(action=Action.HEARTBEAT)
        assert len(wire.heard()) == 1
        world.realtime.faults.drop_transports()
        await wire.task

        assert wire.types()[-1] == "close"


async def test_messages_are_delayed_on_demand(world: World) -> None:
    async with opened(world) as wire:
        world.realtime.faults.delay = 500
        await wire.say(action=Action.HEARTBEAT)
        assert len(wire.heard()) == 1
        await asyncio.sleep(0.5)

        assert len(wire.heard()) == 2


async def test_a_ticker_keeps_the_servers_time() -> None:
    clock = SystemClock()
    world = World(clock=clock)
    ticker = Ticker(world.realtime, clock)
    socket = world.connect(accessToken=world.token(ttl=120_000))
    await asyncio.sleep(89)
    assert socket.of(Action.AUTH) == []
    await asyncio.sleep(2)
    assert len(socket.of(Action.AUTH)) == 1

    world.realtime.faults.advance(29)
    assert socket.heard[-1]["error"]["code"] == 40142
    ticker.stop()
    await asyncio.sleep(300)
    assert len(world.realtime.connections()) == 1


async def test_time_does_not_go_back() -> None:
    clock = SystemClock()
    before = clock.now()
    with pytest.raises(ValueError, match="back"):
        clock.advance(-1)
    clock.advance(1000)

    assert clock.now() == before + 1000


async def test_an_error_that_is_not_foreseen_is_not_swallowed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(world.realtime, "receive", fail)
    with pytest.raises(ZeroDivisionError):
        async with opened(world) as wire:
            await wire.say(action=0)
