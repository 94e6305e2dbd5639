"""The WebSocket endpoint, driven over plain ASGI on virtual time: no sockets, no waiting."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import HTTPConnection
from starlette.routing import Mount
from starlette.testclient import TestClient
from starlette.types import Message

from realtime_preset_node import (
    CloseCode,
    ConnectionLimits,
    DropOldest,
    HistoryLimits,
    LatestPerKey,
    NodePreset,
    SlowReader,
)
from realtime_preset_node._hub import HubStatistics
from realtime_preset_node._server import NodeServer
from realtime_preset_node._workers import Claim, served_address, worker_count
from tanstack_db.testing import settle
from tanstack_realtime import Channel, ConfigurationError, PublishError, RealtimeError, create_realtime_client
from tanstack_realtime.server import Permissions, Realtime, ServerObserver, ServerStatistics, bearer_token

GRANTED = Permissions(subscribe=True, publish=True)


def one_by_one(frame: dict[str, Any]) -> list[dict[str, Any]]:
    """Messages that share a frame, each as if it had come alone; any other frame as it is."""
    if frame["type"] != "messages":
        return [frame]
    superseded, data = frame.pop("superseded", None), frame["data"]
    alone = [frame | {"offset": frame["offset"] + index, "data": item} for index, item in enumerate(data)]
    if superseded is not None:
        alone[0]["superseded"] = superseded
    return alone


class Socket:
    """An ASGI WebSocket client. `stuck` makes the server's send wait, as a reader that does not read does."""

    def __init__(
        self,
        app: Any,
        *,
        path: str = "/_realtime/ws",
        headers: dict[str, str] | None = None,
        server: tuple[str, int] | None = None,
    ) -> None:
        self.frames: list[dict[str, Any]] = []
        self.messages = 0
        self.code: int | None = None
        self.reason = ""
        self.reads = 0
        self._incoming: asyncio.Queue[Message] = asyncio.Queue()
        self._flowing = asyncio.Event()
        self._flowing.set()
        scope = {
            "type": "websocket",
            "asgi": {"version": "3.0"},
            "scheme": "ws",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "server": server,
            "headers": [(b"host", b"app.example"), *((k.encode(), v.encode()) for k, v in (headers or {}).items())],
            "subprotocols": [],
            "state": {},
        }
        self._incoming.put_nowait({"type": "websocket.connect"})
        self.task = asyncio.get_running_loop().create_task(app(scope, self._receive, self._send))

    async def _receive(self) -> Message:
        self.reads += 1
        return await self._incoming.get()

    async def _send(self, message: Message) -> None:
        await self._flowing.wait()
        if message["type"] == "websocket.send":
            self.messages += 1
            for line in message["text"].split("\n"):
                self.frames += one_by_one(json.loads(line))
        elif message["type"] == "websocket.close":
            self.code, self.reason = message["code"], message.get("reason") or ""

    def stick(self, stuck: bool = True) -> None:
        (self._flowing.clear if stuck else self._flowing.set)()

    def raw(self, text: str) -> None:
        self._incoming.put_nowait({"type": "websocket.receive", "text": text})

    def raw_bytes(self, data: bytes) -> None:
        self._incoming.put_nowait({"type": "websocket.receive", "bytes": data})

    def send(self, **frame: Any) -> None:
        self.raw(json.dumps(frame))

    def drop(self, code: int = 1006) -> None:
        self._incoming.put_nowait({"type": "websocket.disconnect", "code": code})

    async def take(self) -> list[dict[str, Any]]:
        await settle()
        frames, self.frames = self.frames, []
        return frames

    async def hello(self, token: str | None = None) -> Socket:
        self.send(type="hello", versions=[1], **({} if token is None else {"token": token}))
        frames = await self.take()
        assert [frame["type"] for frame in frames] == ["welcome"], (frames, self.code, self.reason)
        return self

    async def subscribe(self, channel: str) -> dict[str, Any]:
        self.send(type="subscribe", id=1, channel=channel)
        (answer,) = await self.take()
        assert answer["type"] == "subscribed", answer
        return answer

    async def gone(self, code: int = 1006) -> None:
        self.drop(code)
        await self.task


def grant_all(user_id: str, channel: Channel) -> Permissions:
    return GRANTED


def never_asked(user_id: str, channel: Channel) -> Permissions:
    pytest.fail("asked")


class Site:
    """One `Realtime` under Starlette."""

    def __init__(self, *, preset: NodePreset | None = None, **options: Any) -> None:
        self.errors: list[RealtimeError] = []
        arguments: dict[str, Any] = {
            "authorize": grant_all,
            "get_user": bearer_token,
            "preset": preset or NodePreset(),
            "on_error": self.errors.append,
            **options,
        }
        self.realtime = Realtime(**arguments)
        self.app = Starlette(routes=[Mount("/_realtime", self.realtime)])

    def statistics(self) -> HubStatistics:
        server = self.realtime._server
        assert isinstance(server, NodeServer)
        return server.statistics()

    def connect(self, headers: dict[str, str] | None = None, *, server: tuple[str, int] | None = None) -> Socket:
        return Socket(self.app, headers=headers, server=server)

    async def client(self, user: str) -> Socket:
        return await self.connect().hello(user)


@pytest.fixture(autouse=True)
async def nothing_is_left() -> AsyncIterator[None]:  # X9
    yield
    await settle()
    assert asyncio.all_tasks() == {asyncio.current_task()}


# -- identity --------------------------------------------------------------------------------------------------------


async def test_the_token_of_the_first_message_or_of_the_header_names_the_user() -> None:  # A15
    site = Site()
    first = await site.connect().hello("alice")
    second = await site.connect({"authorization": "Bearer bob"}).hello()
    third = site.connect({"authorization": "Bearer old"})
    third.send(type="hello", versions=[1], token="carol")
    assert [frame["user"] for frame in await third.take()] == ["carol"]
    await second.subscribe("a")
    first.send(type="publish", id=2, channel="a", data=1)
    assert [frame["user"] for frame in await second.take()] == ["alice"]
    for socket in (first, second, third):
        await socket.gone()


async def test_nobody_is_sent_away_for_good() -> None:  # A4, C12
    socket = Site().connect()
    socket.send(type="hello", versions=[1])
    await socket.task
    assert (socket.code, socket.reason, socket.frames) == (CloseCode.UNAUTHENTICATED, "not signed in", [])


async def test_a_failing_get_user_costs_that_connection_only() -> None:  # V5
    broken = True

    async def get_user(connection: HTTPConnection) -> str:
        await asyncio.sleep(1)
        if broken:
            raise LookupError("no session table")
        return "u1"

    site = Site(get_user=get_user)
    socket = site.connect()
    socket.send(type="hello", versions=[1])
    await socket.task
    assert socket.code == CloseCode.UNAVAILABLE
    assert "table" not in socket.reason
    assert isinstance(site.errors[0].__cause__, LookupError)
    broken = False
    socket = site.connect()
    socket.send(type="hello", versions=[1])
    await asyncio.sleep(2)
    assert [frame["type"] for frame in socket.frames] == ["welcome"]
    await socket.gone()


async def test_pages_of_other_sites_are_sent_away_before_they_are_heard() -> None:
    asked: list[HTTPConnection] = []

    def get_user(connection: HTTPConnection) -> str:
        asked.append(connection)
        return "u1"

    site = Site(get_user=get_user)
    socket = site.connect({"origin": "https://evil.example"})
    socket.send(type="hello", versions=[1])
    await socket.task
    assert (socket.code, asked) == (CloseCode.BAD_ORIGIN, [])
    await (await site.connect({"origin": "https://app.example"}).hello()).gone()


async def test_a_connection_that_says_nothing_ends_in_time() -> None:
    socket = Site().connect()
    await asyncio.sleep(9.9)
    assert socket.code is None
    await socket.task
    assert socket.code == CloseCode.SILENT


async def test_connections_are_bounded_in_all_and_per_user() -> None:  # A17
    limits = ConnectionLimits(connections=3, connections_per_user=2)
    site = Site(preset=NodePreset(limits=limits))
    alice = [await site.client("alice") for _ in range(2)]
    third = site.connect()
    third.send(type="hello", versions=[1], token="alice")
    await third.task
    assert (third.code, third.frames) == (CloseCode.TOO_MANY_CONNECTIONS, [])
    assert not CloseCode.is_final(CloseCode.TOO_MANY_CONNECTIONS)
    bob = await site.client("bob")
    full = site.connect()
    await full.task
    assert full.code == CloseCode.TOO_MANY_CONNECTIONS
    await alice[0].gone()
    again = await site.client("alice")
    for socket in (alice[1], bob, again):
        await socket.gone()


async def test_anonymous_connections_are_not_one_user() -> None:  # A17
    site = Site(preset=NodePreset(limits=ConnectionLimits(connections_per_user=1)), allow_anonymous=True)
    sockets = [await site.connect().hello() for _ in range(3)]
    for socket in sockets:
        await socket.gone()


@pytest.mark.parametrize("limits", [{"connections": 0}, {"rate": -1.0}, {"burst": 0}, {"rate": float("nan")}])
def test_a_limit_is_positive(limits: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="positive"):
        ConnectionLimits(**limits)


# -- traffic ---------------------------------------------------------------------------------------------------------


async def test_what_one_publishes_the_others_receive_in_order_and_once() -> None:  # P4, P5, P6, S19, X6
    site = Site()
    alice, bob, carol = [await site.client(name) for name in ("alice", "bob", "carol")]
    await alice.subscribe("a:x=1")
    await bob.subscribe("a:x=1")
    await carol.subscribe("a:x=2")
    payloads: list[Any] = [{"text": "é\n"}, 0, None, [], "x" * 1000]
    for number, data in enumerate(payloads):
        alice.send(type="publish", id=number, channel="a:x=1", data=data)
    frames = await alice.take()
    assert [f["id"] for f in frames if f["type"] == "ok"] == [0, 1, 2, 3, 4]
    assert [(f["data"], f["own"]) for f in frames if f["type"] == "messages"] == [(data, True) for data in payloads]
    assert [(f["data"], f["user"], f["offset"], "own" in f) for f in await bob.take()] == [
        (data, "alice", offset, False) for offset, data in enumerate(payloads, 1)
    ]
    assert await carol.take() == []
    for socket in (alice, bob, carol):
        await socket.gone()


async def test_the_server_publishes_to_everybody_without_a_user() -> None:
    site = Site()
    alice = await site.client("alice")
    await alice.subscribe("ai:session=7")
    await site.realtime.publish(("ai", {"session": 7}), {"token": "x"})
    assert await alice.take() == [{"type": "messages", "channel": "ai:session=7", "offset": 1, "data": {"token": "x"}}]
    await alice.gone()


async def test_frames_of_one_turn_leave_as_one_message() -> None:
    site = Site()
    alice = await site.client("alice")
    await alice.subscribe("a")
    before = alice.messages
    for number in range(50):
        await site.realtime.publish(("a", {}), number)
    assert [frame["data"] for frame in await alice.take()] == list(range(50))
    assert alice.messages == before + 1
    await alice.gone()


async def test_a_reconnect_replays_what_was_missed() -> None:  # G2, X5
    site = Site(preset=NodePreset(history=HistoryLimits(messages=3)))
    alice = await site.client("alice")
    ack = await alice.subscribe("a")
    await alice.gone()
    for number in range(3):
        await site.realtime.publish(("a", {}), number)
    since = {"epoch": ack["epoch"], "offset": ack["offset"]}
    alice = await site.client("alice")
    alice.send(type="subscribe", id=1, channel="a", since=since)
    (answer,) = await alice.take()
    assert (answer["recovered"], [run["data"] for run in answer["missed"]]) == (True, [[0, 1, 2]])
    await alice.gone()
    await site.realtime.publish(("a", {}), 3)
    alice = await site.client("alice")
    alice.send(type="subscribe", id=1, channel="a", since=since)
    (answer,) = await alice.take()
    assert (answer["recovered"], "missed" in answer) == (False, False)
    await alice.gone()


async def test_frames_that_arrive_while_authorize_is_awaited_wait_their_turn() -> None:  # V1
    order: list[str] = []

    async def authorize(user_id: str, channel: Channel) -> Permissions:
        order.append(channel.raw)
        await asyncio.sleep(5 if channel.raw == "a" else 0)
        return GRANTED

    site = Site(authorize=authorize)
    alice = await site.client("alice")
    alice.send(type="subscribe", id=1, channel="a")
    alice.send(type="publish", id=2, channel="a", data="x")
    alice.send(type="ping", id=3)
    assert [frame["type"] for frame in await alice.take()] == ["pong"]
    await asyncio.sleep(12)
    assert [f["type"] for f in await alice.take()] == ["subscribed", "messages", "ok"]
    assert order == ["a", "a"]
    await alice.gone()


async def test_a_disconnect_cancels_what_runs_for_the_connection() -> None:  # V4, V7
    cancelled: list[str] = []

    async def authorize(user_id: str, channel: Channel) -> Permissions:
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            cancelled.append(channel.raw)
            raise
        return GRANTED

    site = Site(authorize=authorize)
    alice = await site.client("alice")
    alice.send(type="subscribe", id=1, channel="a")
    await settle()
    await alice.gone()
    assert cancelled == ["a"]


async def test_a_failing_authorize_is_answered() -> None:  # S17, V5
    def authorize(user_id: str, channel: Channel) -> Permissions:
        raise OSError("database away")

    site = Site(authorize=authorize)
    alice = await site.client("alice")
    alice.send(type="subscribe", id=1, channel="a")
    (answer,) = await alice.take()
    assert (answer["type"], answer["code"], answer["retryable"]) == ("error", "unavailable", True)
    assert isinstance(site.errors[0].__cause__, OSError)
    await alice.gone()


@pytest.mark.parametrize("channel", ["a:b=1&b=2", "a:=1", "a:b=%zz", "%24presence", "a b", ""])
async def test_bad_and_reserved_channels_are_refused_on_the_socket(channel: str) -> None:  # A9, A11
    site = Site(authorize=never_asked)
    alice = await site.client("alice")
    alice.send(type="subscribe", id=1, channel=channel)
    alice.send(type="publish", id=2, channel=channel, data=1)
    assert [(f["id"], f["code"]) for f in await alice.take()] == [(1, "bad_channel"), (2, "bad_channel")]
    await alice.gone()


async def test_bad_frames_and_bytes_keep_the_connection() -> None:  # S14
    site = Site()
    alice = await site.client("alice")
    alice.raw("{")
    alice.raw_bytes(b"\xff\x00")
    alice.raw('{"type":"ping","id":1}\n{"type":"ping","id":2}')
    frames = await alice.take()
    assert [f.get("code", f.get("id")) for f in frames] == ["bad_frame", "bad_frame", 1, 2]
    await alice.subscribe("a")
    await alice.gone()


async def test_a_message_of_nothing_but_separators_holds_up_nobody() -> None:  # A17, S14
    site = Site()
    alice, bob, stranger = await site.client("alice"), await site.client("bob"), site.connect()
    for flooder in (alice, stranger):
        flooder.raw("\n" * 10_000_000)  # taken apart whole it would take seconds
    started = time.process_time()
    await settle()
    bob.send(type="ping", id=1)
    assert await bob.take() == [{"type": "pong", "id": 1}]
    assert time.process_time() - started < 1.0
    await asyncio.wait([alice.task, stranger.task])
    assert (alice.code, stranger.code) == (CloseCode.TOO_MANY_FRAMES, CloseCode.PROTOCOL_ERROR)
    await bob.gone()


async def test_more_requests_in_one_message_than_may_wait_are_answered_in_order() -> None:  # A17, V1
    site = Site()
    alice = await site.client("alice")
    alice.raw("\n".join(f'{{"type":"subscribe","id":{number},"channel":"a:n={number}"}}' for number in range(600)))
    assert [frame["id"] for frame in await alice.take()] == list(range(600))
    await alice.gone()


async def test_reading_stops_while_too_much_waits() -> None:  # A17
    gate = asyncio.Event()

    async def authorize(user_id: str, channel: Channel) -> Permissions:
        await gate.wait()
        return GRANTED

    site = Site(authorize=authorize)
    alice = await site.client("alice")
    before = alice.reads
    for number in range(1000):
        alice.send(type="publish", id=number, channel="a", data=1)
    await settle()
    assert alice.reads - before < 300
    gate.set()
    assert [frame["id"] for frame in await alice.take()] == list(range(1000))
    await alice.gone()


# -- slow, silent, gone ----------------------------------------------------------------------------------------------


async def test_a_stuck_reader_is_dropped_and_delays_nobody() -> None:  # A17
    site = Site(preset=NodePreset(max_backlog=20_000))
    stuck, healthy = await site.client("stuck"), await site.client("healthy")
    await stuck.subscribe("a")
    await healthy.subscribe("a")
    stuck.stick()
    for number in range(100):
        await site.realtime.publish(("a", {}), f"{number} {'x' * 1000}")
        await settle()
    assert len(await healthy.take()) == 100
    assert site.statistics().subscriptions == 1  # gone from the hub, though its close frame is still stuck
    stuck.stick(stuck=False)
    await stuck.task
    assert stuck.code == CloseCode.SLOW_READER
    assert len(stuck.frames) < 20  # what waited is not kept for it
    await healthy.gone()


async def test_a_server_that_publishes_without_a_pause_makes_nobody_look_slow() -> None:  # A17
    site = Site(preset=NodePreset(max_backlog=200_000))
    alice = await site.client("alice")
    await alice.subscribe("a")
    async with create_realtime_client(transport=site.realtime.local_transport(user_id="bob")) as bob:
        heard: list[Any] = []
        await bob.subscribe(("a", {}), lambda message: heard.append(message.data)).live()
        for number in range(2000):
            await site.realtime.publish(("a", {}), f"{number} {'x' * 1000}")
        assert len(await alice.take()) == len(heard) == 2000
    await alice.gone()


async def test_a_local_client_hears_on_behalf_of_its_own_user() -> None:
    # A mutant that delivers in the publisher's context fails here.
    user = ContextVar("user", default="nobody")
    heard_as: list[str] = []
    site = Site()

    async def publish() -> None:
        user.set("alice")
        await site.realtime.publish(("a", {}), "hello")

    user.set("bob")
    async with create_realtime_client(transport=site.realtime.local_transport(user_id="bob")) as bob:
        await bob.subscribe(("a", {}), lambda _: heard_as.append(user.get())).live()
        await asyncio.create_task(publish())
        await settle()
    assert heard_as == ["bob"]


async def test_one_large_packet_does_not_make_a_reader_slow() -> None:  # A17
    site = Site(preset=NodePreset(max_backlog=2_000))
    alice = await site.client("alice")
    await alice.subscribe("a")
    await site.realtime.publish(("a", {}), "x" * 5000)
    (frame,) = await alice.take()
    assert len(frame["data"]) == 5000
    await alice.gone()


async def test_a_reader_that_never_takes_its_close_frame_is_left_alone_after_a_while() -> None:  # V7
    site = Site(preset=NodePreset(max_backlog=20_000))
    stuck = await site.client("stuck")
    await stuck.subscribe("a")
    stuck.stick()
    for _ in range(300):
        await site.realtime.publish(("a", {}), "x" * 1000)
    started = asyncio.get_running_loop().time()
    await stuck.task
    assert asyncio.get_running_loop().time() - started == pytest.approx(5.0)
    assert stuck.code is None


async def test_many_replays_at_once_do_not_look_like_a_slow_reader() -> None:  # X5
    site = Site(preset=NodePreset(max_backlog=60_000))
    channels = [f"a:n={number}" for number in range(40)]
    alice = await site.client("alice")
    epochs = {channel: (await alice.subscribe(channel))["epoch"] for channel in channels}
    await alice.gone()
    for channel in channels:
        for _ in range(10):
            await site.realtime.publish(channel, "x" * 1000)
    alice = await site.client("alice")
    for number, channel in enumerate(channels):
        since = {"epoch": epochs[channel], "offset": 0}
        alice.send(type="subscribe", id=number, channel=channel, since=since)
    frames = await alice.take()
    assert [(f["id"], f["recovered"], len(f["missed"][0]["data"])) for f in frames] == [
        (n, True, 10) for n in range(40)
    ]
    await alice.gone()


async def test_a_half_open_client_is_found_within_the_declared_time() -> None:  # C14
    site = Site(preset=NodePreset(heartbeat=25.0, timeout=10.0))
    alice = await site.client("alice")
    started = asyncio.get_running_loop().time()
    await alice.task
    assert asyncio.get_running_loop().time() - started == pytest.approx(35.0, abs=0.1)
    assert [frame["type"] for frame in alice.frames] == ["ping"]
    assert alice.code == CloseCode.SILENT


async def test_a_client_that_answers_pings_stays() -> None:  # C14
    site = Site(preset=NodePreset(heartbeat=25.0, timeout=10.0))
    alice = await site.client("alice")
    for _ in range(20):
        await asyncio.sleep(26)
        alice.send(type="pong")
    assert alice.code is None
    assert 15 < len(await alice.take()) <= 20
    await alice.gone()


class Watcher(ServerObserver):
    def __init__(self) -> None:
        self.events: list[tuple[object, ...]] = []

    def connected(self, connection_id: str, user_id: str) -> None:
        self.events.append(("connected", user_id))
        raise RuntimeError("hook broke")

    def disconnected(self, connection_id: str, user_id: str, code: int) -> None:
        self.events.append(("disconnected", user_id, code))
        raise RuntimeError("hook broke")

    def channel_opened(self, channel: str) -> None:
        self.events.append(("opened", channel))
        raise RuntimeError("hook broke")

    def channel_emptied(self, channel: str) -> None:
        self.events.append(("emptied", channel))
        raise RuntimeError("hook broke")


async def test_hooks_fire_exactly_once_and_their_errors_break_nothing() -> None:  # V8
    watcher = Watcher()
    site = Site(observer=watcher)
    alice, bob = await site.client("alice"), await site.client("bob")
    await alice.subscribe("a")
    await bob.subscribe("a")
    await alice.gone(1001)
    bob.send(type="unsubscribe", id=2, channel="never")
    assert [frame["type"] for frame in await bob.take()] == ["ok"]
    await bob.gone()
    assert watcher.events == [
        ("connected", "alice"),
        ("connected", "bob"),
        ("opened", "a"),
        ("disconnected", "alice", 1001),
        ("emptied", "a"),
        ("disconnected", "bob", 1006),
    ]
    assert len(site.errors) == len(watcher.events)


LATEST: dict[str, SlowReader] = {"cursors": LatestPerKey(), "ticks": DropOldest(messages=3)}


def moved(key: str, n: int) -> dict[str, Any]:
    return {"key": key, "n": n, "padding": "x" * 1000}


async def test_a_slow_reader_gets_the_latest_of_each_key() -> None:  # A17
    site = Site(preset=NodePreset(slow_readers=LATEST, max_backlog=262_144))
    alice, bob = await site.client("alice"), await site.client("bob")
    for socket in (alice, bob):
        await socket.subscribe("cursors")
        await socket.subscribe("todos")
    alice.stick()
    for n in range(1000):
        await site.realtime.publish("cursors", moved(f"k{n % 5}", n))
        await settle()
    await site.realtime.publish("todos", 1)
    fast = [frame for frame in await bob.take() if frame["channel"] == "cursors"]
    assert [frame["data"]["n"] for frame in fast] == list(range(1000))
    alice.stick(stuck=False)
    frames = await alice.take()
    assert alice.code is None
    slow = [frame for frame in frames if frame["channel"] == "cursors"]
    assert len(slow) < 200
    assert [frame["data"]["n"] for frame in slow[-5:]] == list(range(995, 1000))
    offsets = [0, *(frame["offset"] for frame in slow)]
    for before, frame in zip(offsets, slow, strict=False):
        assert frame["offset"] == before + 1 + frame.get("superseded", 0)
    assert [frame["data"] for frame in frames if frame["channel"] == "todos"] == [1]
    await site.realtime.publish("cursors", moved("k0", 1000))
    assert [frame["data"]["n"] for frame in await alice.take()] == [1000]
    for socket in (alice, bob):
        await socket.gone()


async def test_a_slow_reader_loses_the_oldest_and_is_told() -> None:  # A17, L4
    site = Site(preset=NodePreset(slow_readers=LATEST, max_backlog=262_144))
    alice = await site.client("alice")
    await alice.subscribe("ticks")
    alice.stick()
    for n in range(200):
        await site.realtime.publish("ticks", moved("k", n))
        await settle()
    alice.stick(stuck=False)
    frames = await alice.take()
    told = [index for index, frame in enumerate(frames) if frame["type"] == "gap"]
    assert len(told) == 1
    assert [frame["data"]["n"] for frame in frames[told[0] + 1 :]] == [197, 198, 199]
    assert frames[told[0]]["missed"] + len(frames) - 1 == 200
    await alice.gone()


async def test_what_waits_for_a_slow_reader_ends_with_its_subscription() -> None:  # X3, S9
    site = Site(preset=NodePreset(slow_readers=LATEST, max_backlog=262_144))
    alice = await site.client("alice")
    answer = await alice.subscribe("cursors")
    alice.stick()
    for n in range(200):
        await site.realtime.publish("cursors", moved(f"k{n}", n))
        await settle()
    alice.send(type="unsubscribe", id=2, channel="cursors")
    alice.send(type="subscribe", id=3, channel="cursors", since={"epoch": answer["epoch"], "offset": 150})
    await settle()
    alice.stick(stuck=False)
    frames = await alice.take()
    kinds = [frame["type"] for frame in frames]
    assert kinds[-2:] == ["ok", "subscribed"]
    assert set(kinds[:-2]) == {"messages"}
    assert len(kinds) < 150
    assert [(run["offset"], len(run["data"])) for run in frames[-1]["missed"]] == [(151, 50)]
    await alice.gone()


async def test_the_server_is_counted_and_observed() -> None:  # V8
    class Ear(ServerObserver):
        def __init__(self) -> None:
            self.heard: list[tuple[object, ...]] = []

        def subscribed(self, connection_id: str, user_id: str, channel: str, recovered: bool | None) -> None:
            self.heard.append((bool(connection_id), user_id, channel, recovered))
            raise RuntimeError("hook broke")

        def dropped(self, user_id: str, channel: str, count: int) -> None:
            self.heard.append((user_id, channel, count))
            raise RuntimeError("hook broke")

    ear = Ear()
    site = Site(observer=ear, preset=NodePreset(slow_readers=LATEST, max_backlog=262_144))
    nothing: dict[str, int] = dict.fromkeys(
        ("channels", "idle_channels", "subscriptions", "history_messages", "history_size"), 0
    )
    assert site.realtime.statistics() == ServerStatistics(preset=nothing)
    alice = await site.client("alice")
    answer = await alice.subscribe("ticks")
    alice.stick()
    for n in range(200):
        await site.realtime.publish("ticks", moved("k", n))
        await settle()
    alice.stick(stuck=False)
    (told,) = [frame for frame in await alice.take() if frame["type"] == "gap"]
    alice.send(type="subscribe", id=2, channel="ticks", since={"epoch": answer["epoch"], "offset": 199})
    await alice.take()
    nobody = site.connect()
    nobody.send(type="hello", versions=[1])
    await nobody.task
    expected = ServerStatistics(
        connections=1,
        connects=1,
        channels=1,
        subscribed=2,
        recovered=1,
        published=200,
        denied=1,
        dropped=told["missed"],
        preset=asdict(site.statistics()),
    )
    assert site.realtime.statistics() == expected
    assert (expected.preset["subscriptions"], expected.preset["history_messages"]) == (1, 200)
    await alice.gone()
    left = {**expected.preset, "channels": 0, "idle_channels": 1, "subscriptions": 0}
    assert site.realtime.statistics() == replace(expected, connections=0, channels=0, preset=left)
    assert ear.heard == [
        (True, "alice", "ticks", None),
        ("alice", "ticks", told["missed"]),
        (True, "alice", "ticks", True),
    ]
    assert [error.code for error in site.errors] == ["observer_failed"] * 3


async def test_even_what_may_wait_is_bounded() -> None:  # A17
    site = Site(preset=NodePreset(slow_readers={"cursors": LatestPerKey(keys=10_000)}, max_backlog=200_000))
    alice = await site.client("alice")
    await alice.subscribe("cursors")
    alice.stick()
    for n in range(400):
        await site.realtime.publish("cursors", moved(f"k{n}", n))
        await settle()
    alice.stick(stuck=False)
    await alice.task
    assert alice.code == CloseCode.SLOW_READER


async def test_closing_sends_everybody_away_and_ends_promptly() -> None:  # V7
    watcher = Watcher()
    site = Site(observer=watcher)
    alice, bob, stuck, fresh = [site.connect() for _ in range(4)]
    for name, socket in (("alice", alice), ("bob", bob), ("stuck", stuck)):
        await socket.hello(name)
        await socket.subscribe("a")
    stuck.stick()
    await settle()
    started = asyncio.get_running_loop().time()
    await site.realtime.aclose()
    assert asyncio.get_running_loop().time() - started <= 5.1
    await site.realtime.aclose()
    assert [socket.code for socket in (alice, bob, fresh)] == [CloseCode.RESTART] * 3
    assert not CloseCode.is_final(CloseCode.RESTART)
    await asyncio.wait([socket.task for socket in (alice, bob, stuck, fresh)])
    assert sorted(str(e[1]) for e in watcher.events if e[0] == "disconnected") == ["alice", "bob", "stuck"]
    assert [e for e in watcher.events if e[0] == "emptied"] == [("emptied", "a")]
    late = site.connect()
    await late.task
    assert late.code == CloseCode.RESTART
    with pytest.raises(PublishError, match="closed"):
        await site.realtime.publish(("a", {}), 1)


async def test_a_lifespan_can_be_entered_again() -> None:  # V7
    site = Site()
    for _ in range(2):
        async with site.realtime:
            alice = await site.client("alice")
            await alice.subscribe("a")
            await site.realtime.publish(("a", {}), 1)
            assert [frame["data"] for frame in await alice.take()] == [1]
        await alice.task
        assert alice.code == CloseCode.RESTART


def test_every_test_of_an_application_may_enter_it() -> None:  # V7
    site = Site()

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        async with site.realtime:
            yield

    app = Starlette(routes=[Mount("/_realtime", site.realtime)], lifespan=lifespan)
    for _ in range(2):
        with TestClient(app) as client, client.websocket_connect("/_realtime/ws") as socket:
            socket.send_json({"type": "hello", "versions": [1], "token": "ann"})
            assert socket.receive_json()["type"] == "welcome"
            socket.send_json({"type": "subscribe", "id": 1, "channel": "a"})
            assert socket.receive_json()["type"] == "subscribed"
            socket.send_json({"type": "publish", "id": 2, "channel": "a", "data": 1})
            assert [json.loads(frame)["type"] for frame in socket.receive_text().split("\n")] == ["messages", "ok"]


async def test_two_instances_share_nothing() -> None:  # V6
    one, two = Site(), Site()
    alice, bob = await one.client("alice"), await two.client("bob")
    assert (await alice.subscribe("a"))["epoch"] != (await bob.subscribe("a"))["epoch"]
    await one.realtime.publish(("a", {}), 1)
    assert [frame["data"] for frame in await alice.take()] == [1]
    assert await bob.take() == []
    await one.realtime.aclose()
    await alice.task
    await two.realtime.publish(("a", {}), 2)
    assert [frame["data"] for frame in await bob.take()] == [2]
    await bob.gone()


async def test_connection_ids_are_distinct() -> None:  # V6
    site = Site()
    seen: set[str] = set()
    for _ in range(200):
        socket = site.connect()
        socket.send(type="hello", versions=[1], token="u1")
        seen.add((await socket.take())[0]["connection"])
        await socket.gone()
    assert len(seen) == 200


# -- one process -----------------------------------------------------------------------------------------------------


async def test_publishing_from_a_process_that_serves_nobody_says_so() -> None:
    realtime = Site().realtime
    with pytest.raises(ConfigurationError, match=r"/_realtime/publish.*async with realtime") as caught:
        await realtime.publish(("a", {}), 1)
    assert caught.value.code == "not_serving"
    async with realtime:
        await realtime.publish(("a", {}), 1)


async def test_a_request_over_http_shows_that_the_process_serves() -> None:
    site = Site()
    message = {"channel": "a", "data": 1}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(site.app), base_url="http://x") as http:
        answer = await http.post("/_realtime/publish", json=message, headers={"authorization": "Bearer u1"})
    assert answer.status_code == 200
    await site.realtime.publish(("a", {}), 1)


async def test_a_publish_over_http_reaches_the_sockets_with_its_publisher() -> None:  # A1, P4
    site = Site()
    alice = await site.client("alice")
    await alice.subscribe("a")
    message = {"channel": "a", "data": None}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(site.app), base_url="http://x") as http:
        await http.post("/_realtime/publish", json=message, headers={"authorization": "Bearer alice"})
    assert await alice.take() == [{"type": "messages", "channel": "a", "offset": 1, "data": None, "user": "alice"}]
    await alice.gone()


def test_a_second_event_loop_is_refused() -> None:
    realtime = Site().realtime
    with asyncio.Runner() as first, asyncio.Runner() as second:
        first.run(realtime.__aenter__())
        with pytest.raises(ConfigurationError, match="two event loops") as caught:
            second.run(realtime.publish(("a", {}), 1))
        first.run(realtime.aclose())
    assert caught.value.code == "two_loops"


@pytest.mark.parametrize(
    ("environ", "argv", "workers"),
    [
        ({}, [], 1),
        ({"WEB_CONCURRENCY": "4"}, ["uvicorn", "app:app"], 4),
        ({"WEB_CONCURRENCY": ""}, ["uvicorn"], 1),
        ({"WEB_CONCURRENCY": "many"}, ["uvicorn"], 1),
        ({}, ["/usr/bin/uvicorn", "app:app", "--workers", "3"], 3),
        ({}, ["/lib/uvicorn/__main__.py", "app:app", "--workers=2"], 2),
        ({}, ["gunicorn", "-w", "8", "app:app"], 8),
        ({}, ["gunicorn", "-w8", "app:app"], 8),
        ({}, ["uvicorn", "app:app", "--workers"], 1),
        ({"UVICORN_WORKERS": "2"}, ["uvicorn", "app:app"], 2),
        ({"GRANIAN_WORKERS": "3"}, ["granian", "app:app"], 3),
        ({"GUNICORN_CMD_ARGS": "--bind=:80 -w 5"}, ["gunicorn", "app:app"], 5),
        ({"GUNICORN_CMD_ARGS": "'"}, ["gunicorn", "app:app"], 1),
        ({}, ["pytest", "-w", "8"], 1),
    ],
)
def test_several_workers_are_seen(environ: dict[str, str], argv: list[str], workers: int) -> None:
    assert worker_count(environ, argv) == workers


def test_several_workers_are_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    with pytest.raises(ConfigurationError, match=r"4 worker processes.*REALTIME_PRESET=centrifugo"):
        Site()


@pytest.mark.parametrize(
    ("headers", "url"),
    [({"host": "app.example"}, "ws://app.example/_realtime/ws"), ({"host": "a:81"}, "ws://a:81/_realtime/ws")],
)
async def test_the_configuration_names_the_socket(headers: dict[str, str], url: str) -> None:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(Site().app), base_url="http://x", headers=headers
    ) as http:
        assert (await http.get("/_realtime/config")).json() == {"preset": "node", "url": url, "protocol": 1}


ADDRESS = {"server": ("127.0.0.1", 8000), "root_path": "/_realtime", "path": "/_realtime/ws"}


@pytest.mark.parametrize(
    "scope",
    [{}, {"server": None}, {"server": ("testserver", 80)}, {"server": ("127.0.0.1", 0)}, {"server": ("/s", None)}],
)
def test_an_address_of_a_test_is_nobodys(scope: dict[str, Any]) -> None:
    assert served_address(scope) is None


def claimed_elsewhere(directory: Path) -> Claim:
    """A claim of an address by "another process"."""
    other = Claim(str(directory))
    assert other.make(served_address(ADDRESS) or "")
    (file,) = directory.iterdir()
    file.write_text("1")
    return other


@pytest.mark.skipif(sys.platform == "win32", reason="no file locks of this kind")
def test_two_processes_cannot_claim_one_address(tmp_path: Path) -> None:
    address = served_address(ADDRESS)
    assert address is not None
    other = claimed_elsewhere(tmp_path)
    mine = Claim(str(tmp_path))
    assert not mine.make(address)
    assert mine.make(f"{address}2")
    other.release()
    assert mine.make(address)
    assert Claim(str(tmp_path)).make(address)  # the same process may serve it twice
    mine.release()


@pytest.mark.skipif(sys.platform == "win32", reason="no file locks of this kind")
async def test_workers_that_nobody_told_about_are_reported_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    other = claimed_elsewhere(tmp_path)
    site = Site()
    for _ in range(2):
        socket = site.connect(server=("127.0.0.1", 8000))
        await (await socket.hello("alice")).gone()
    assert [error.code for error in site.errors] == ["several_workers"]
    assert "REALTIME_PRESET=centrifugo" in str(site.errors[0])
    other.release()
    await site.realtime.aclose()
