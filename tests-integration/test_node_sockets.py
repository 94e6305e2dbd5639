"""The node preset over real sockets: uvicorn on one side, `websockets` on the other."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from realtime_preset_node import CloseCode, NodePreset
from realtime_preset_node._server import NodeServer
from realtime_preset_node.uvicorn import FastProtocol
from tanstack_realtime import (
    AuthenticationError,
    Channel,
    ChannelDeniedError,
    ClientContext,
    CloseReason,
    ConnectionLostError,
    Inbound,
    Link,
    OpenRequest,
    PresetMismatchError,
    RealtimeClient,
    RealtimeError,
    Timing,
    create_realtime_client,
)
from tanstack_realtime._http import DefaultHttp
from tanstack_realtime.server import Permissions, Realtime, bearer_token

DEADLINE = 10.0
"""Seconds after which a wait counts as failed. Nothing here waits for a time, only for events."""


SERVER_OPTIONS: dict[str, Any] = {}
"""What uvicorn is told besides: which class speaks WebSocket."""

FAST_OPTIONS = ("--ws", "realtime_preset_node.uvicorn:FastProtocol", "--ws-per-message-deflate", "false")
"""The same on its command line, as the README says it."""


@pytest.fixture(autouse=True, params=["asgi-send", "transport"])
def way_of_writing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every test twice: with a server that only has ASGI `send`, and with one that gives its transport."""
    monkeypatch.setitem(SERVER_OPTIONS, "ws", "auto" if request.param == "asgi-send" else FastProtocol)


@pytest.fixture(autouse=True)
async def nothing_is_left() -> AsyncIterator[None]:  # X9
    yield
    assert asyncio.all_tasks() == {asyncio.current_task()}


class Sink:
    """Collects what a link hears, and can be waited on."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[Inbound] = asyncio.Queue()
        self.end: asyncio.Future[CloseReason] = asyncio.get_running_loop().create_future()

    def message(self, channel: str, message: Inbound, /) -> None:
        self.messages.put_nowait(message)

    def closed(self, reason: CloseReason, /) -> None:
        self.end.set_result(reason)

    def gap(self, channel: str, reason: str, /) -> None:
        raise AssertionError(reason)

    def revoked(self, channel: str, code: str, reason: str, /) -> None:
        raise AssertionError(reason)

    def suspended(self, reason: CloseReason, /) -> None:
        raise AssertionError(reason)

    def resumed(self, connection_id: str, acks: Any, /) -> None:
        raise AssertionError(connection_id)

    async def next(self) -> Inbound:
        return await asyncio.wait_for(self.messages.get(), DEADLINE)


def authorize(user_id: str, channel: Channel) -> Permissions:
    return Permissions(subscribe=channel.namespace != "secret", publish=channel.namespace == "open")


def application(preset: NodePreset | None = None) -> tuple[Realtime, Starlette]:
    realtime = Realtime(authorize=authorize, get_user=bearer_token, preset=preset or NodePreset())
    return realtime, Starlette(routes=[Mount("/_realtime", realtime)])


@contextlib.asynccontextmanager
async def serving(app: Any, port: int = 0) -> AsyncGenerator[int]:
    """Serve an ASGI application on loopback; leaving stops the server as SIGTERM would."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=port, log_level="error", timeout_graceful_shutdown=5, **SERVER_OPTIONS
    )
    server = uvicorn.Server(config)
    task = asyncio.get_running_loop().create_task(server.serve())
    while not server.started:
        if task.done():
            await task
        await asyncio.sleep(0)
    try:
        yield int(server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        await asyncio.wait_for(task, DEADLINE)


async def open_link(port: int, token: str | None = "alice", path: str = "/_realtime") -> tuple[Link, Sink]:
    http = DefaultHttp()
    transport = NodePreset().create_transport(ClientContext(url=None, environ={}, http=http))
    sink = Sink()
    request = OpenRequest(url=f"http://127.0.0.1:{port}{path}", token=token, client_id="test")
    try:
        return await asyncio.wait_for(transport.open(request, sink), DEADLINE), sink
    finally:
        await http.aclose()


async def test_two_clients_meet() -> None:  # P4, P5, S21, X6
    _, app = application()
    async with serving(app) as port:
        (alice, to_alice), (bob, to_bob) = await open_link(port, "alice"), await open_link(port, "bob")
        assert (alice.user_id, bob.user_id) == ("alice", "bob")
        assert alice.connection_id != bob.connection_id
        for link in (alice, bob):
            await link.subscribe("open:x=1", since=None)
        payloads: list[Any] = [{"text": "Grüße\n"}, 0, None, [], {}, "x" * 60_000, [[[{"deep": [None]}]]]]
        for data in payloads:
            await alice.publish("open:x=1", data)
        for data in payloads:
            mine, theirs = await to_alice.next(), await to_bob.next()
            assert (mine.data, mine.own, mine.user_id) == (data, True, "alice")
            assert (theirs.data, theirs.own, theirs.user_id) == (data, False, "alice")
        with pytest.raises(ChannelDeniedError):
            await alice.subscribe("secret", since=None)
        with pytest.raises(ChannelDeniedError):
            await alice.publish("news", 1)
        await alice.ping()
        await alice.close()
        await bob.close()


async def test_a_burst_arrives_complete_and_in_order() -> None:  # X6
    realtime, app = application()
    async with serving(app) as port:
        link, sink = await open_link(port)
        await link.subscribe("news", since=None)
        for number in range(5000):
            await realtime.publish(("news", {}), number)
            if number % 100 == 0:
                await link.ping()
        assert [(await sink.next()).data for _ in range(5000)] == list(range(5000))
        await link.close()


async def test_a_refused_identity_is_final() -> None:  # C12
    _, app = application()
    async with serving(app) as port:
        with pytest.raises(AuthenticationError, match="not signed in"):
            await open_link(port, token=None)


async def test_middleware_in_front_sees_the_token_in_the_handshake() -> None:  # A15
    seen: list[tuple[str | None, str]] = []

    def get_user(connection: HTTPConnection) -> str | None:
        seen.append((connection.headers.get("authorization"), str(connection.url)))
        return bearer_token(connection)

    realtime = Realtime(authorize=authorize, get_user=get_user, preset=NodePreset())
    async with serving(Starlette(routes=[Mount("/_realtime", realtime)])) as port:
        link, _ = await open_link(port, "alice")
        await link.close()
    assert seen == [("Bearer alice", f"ws://127.0.0.1:{port}/_realtime/ws")]


async def test_another_preset_on_the_server_is_named() -> None:
    async def config(_: Request) -> JSONResponse:
        return JSONResponse({"preset": "centrifugo", "url": "wss://x", "protocol": 1})

    async with serving(Starlette(routes=[Route("/_realtime/config", config)])) as port:
        with pytest.raises(PresetMismatchError, match="'centrifugo'"):
            await open_link(port)
        with pytest.raises(ConnectionLostError, match=r"40[34]"):
            await open_link(port, path="/elsewhere")


async def test_a_server_that_stops_says_so_and_a_restart_is_another_life() -> None:  # C4, G1, V7
    realtime, app = application()
    async with serving(app) as port:
        link, sink = await open_link(port)
        ack = await link.subscribe("news", since=None)
        await realtime.publish(("news", {}), 1)
        await sink.next()
    reason = await asyncio.wait_for(sink.end, DEADLINE)
    assert (reason.code, reason.retry) == (CloseCode.RESTART, True)
    with pytest.raises(ConnectionLostError):
        await link.publish("news", 1)
    await link.close()
    with pytest.raises(ConnectionLostError):
        await open_link(port)

    _, app = application()
    async with serving(app, port):
        link, _ = await open_link(port)
        again = await link.subscribe("news", since=ack.position)
        assert (again.recovered, list(again.missed)) == (False, [])
        await link.close()


async def test_a_dropped_connection_recovers_what_it_missed() -> None:  # X5
    realtime, app = application()
    async with serving(app) as port:
        link, _ = await open_link(port)
        ack = await link.subscribe("news", since=None)
        await link.close()
        await realtime.publish(("news", {}), "missed")
        link, sink = await open_link(port)
        again = await link.subscribe("news", since=ack.position)
        assert (again.recovered, [message.data for message in again.missed]) == (True, ["missed"])
        await realtime.publish(("news", {}), "live")
        assert (await sink.next()).data == "live"
        await link.close()


async def test_giving_up_an_attempt_leaves_nothing_open() -> None:  # C10
    accepted = asyncio.Event()
    ended = asyncio.Event()

    async def never_answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set()
        with contextlib.suppress(ConnectionError):
            while await reader.read(65536):
                pass
        ended.set()
        writer.close()

    server = await asyncio.start_server(never_answers, "127.0.0.1", 0)
    async with server:
        attempt = asyncio.ensure_future(open_link(server.sockets[0].getsockname()[1]))
        await asyncio.wait_for(accepted.wait(), DEADLINE)
        attempt.cancel()
        await asyncio.wait([attempt])
        assert attempt.cancelled()
        await asyncio.wait_for(ended.wait(), DEADLINE)


async def _hello(client: ClientConnection, token: str) -> dict[str, Any]:
    await client.send(json.dumps({"type": "hello", "versions": [1], "token": token}))
    return dict(json.loads(await asyncio.wait_for(client.recv(), DEADLINE)))


async def test_a_browsers_websocket_speaks_it() -> None:  # A15
    _, app = application()
    async with serving(app) as port:
        url = f"ws://127.0.0.1:{port}/_realtime/ws"
        async with connect(url, origin=f"http://127.0.0.1:{port}", proxy=None) as browser:  # type: ignore[arg-type]
            assert (await _hello(browser, "carol"))["user"] == "carol"
        async with connect(url, origin="https://evil.example", proxy=None) as browser:  # type: ignore[arg-type]
            with pytest.raises(ConnectionClosed) as caught:
                await _hello(browser, "carol")
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == CloseCode.BAD_ORIGIN


async def test_a_reader_that_stopped_reading_is_dropped_and_delays_nobody() -> None:  # A17
    realtime, app = application(NodePreset(max_backlog=200_000))
    async with serving(app) as port:
        healthy, sink = await open_link(port)
        await healthy.subscribe("news", since=None)
        stuck = await connect(f"ws://127.0.0.1:{port}/_realtime/ws", proxy=None, compression=None)
        await _hello(stuck, "stuck")
        await stuck.send('{"type":"subscribe","id":1,"channel":"news"}')
        await asyncio.wait_for(stuck.recv(), DEADLINE)
        stuck.transport.pause_reading()
        server = realtime._server
        assert isinstance(server, NodeServer)
        assert server.statistics().subscriptions == 2
        for number in range(400):
            await realtime.publish(("news", {}), f"{number} {'x' * 50_000}")
            await sink.next()
        assert server.statistics().subscriptions == 1
        stuck.transport.abort()
        await stuck.wait_closed()
        await healthy.close()


async def test_a_client_that_vanishes_is_cleaned_up() -> None:  # V4
    realtime, app = application()
    async with serving(app) as port:
        gone = await connect(f"ws://127.0.0.1:{port}/_realtime/ws", proxy=None)
        await _hello(gone, "alice")
        await gone.send('{"type":"subscribe","id":1,"channel":"news"}')
        await asyncio.wait_for(gone.recv(), DEADLINE)
        gone.transport.abort()
        await gone.wait_closed()
        server = realtime._server
        assert isinstance(server, NodeServer)
        async with asyncio.timeout(DEADLINE):
            while server.connections or server.statistics().subscriptions:
                await asyncio.sleep(0)


# -- two clients and a server process that is killed -----------------------------------------------------------------


@contextlib.asynccontextmanager
async def server_process(port: int) -> AsyncGenerator[asyncio.subprocess.Process]:
    """Run node_app in a process; leaving kills it like a crash does."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "uvicorn", "node_app:app", "--port", str(port), "--log-level", "warning"),
        *(FAST_OPTIONS if SERVER_OPTIONS["ws"] is FastProtocol else ()),
        cwd=Path(__file__).parent,
    )
    try:
        yield process
    finally:
        process.kill()
        await process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Inbox:
    """What one client hears on its channel."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[Any] = asyncio.Queue()
        self.live: asyncio.Queue[bool | None] = asyncio.Queue()

    def on_message(self, message: Inbound, /) -> None:
        self.heard.put_nowait((message.data, message.own, message.user_id))

    def on_live(self, recovered: bool | None, /) -> None:
        self.live.put_nowait(recovered)

    def on_gap(self, reason: str, /) -> None:
        raise AssertionError(reason)

    def on_offline(self) -> None:
        pass

    def on_denied(self, error: ChannelDeniedError, /) -> None:
        raise error

    def on_focus(self) -> None:
        pass


async def test_clients_survive_a_killed_server() -> None:  # C7, S2, S3, P4, G1
    port = free_port()
    clients: list[RealtimeClient] = []
    inboxes: list[Inbox] = []
    for name in ("alice", "bob"):
        client = create_realtime_client(
            f"http://127.0.0.1:{port}", get_token=partial(str, name), timing=Timing(first_delay=0.05, max_delay=0.5)
        )
        client.connect()
        inbox = Inbox()
        client.subscribe(("chat", {"room": 1}), inbox)
        client.subscribe(("chat", {"room": 2}), inbox)
        clients.append(client)
        inboxes.append(inbox)

    async def talk(text: str, recovered: bool | None) -> None:
        for client, inbox in zip(clients, inboxes, strict=True):
            await asyncio.wait_for(client.connected(), 30)
            live = [await asyncio.wait_for(inbox.live.get(), DEADLINE) for _ in range(2)]
            assert live == [recovered, recovered]
        for room in (1, 2):
            await clients[0].publish(("chat", {"room": room}), {"text": text})
            await clients[1].publish_via_http(("chat", {"room": room}), {"text": text})
            for number, inbox in enumerate(inboxes):
                first = await asyncio.wait_for(inbox.heard.get(), DEADLINE)
                second = await asyncio.wait_for(inbox.heard.get(), DEADLINE)
                assert first == ({"text": text}, number == 0, "alice")
                assert second == ({"text": text}, False, "bob")

    async with server_process(port):
        await talk("before", None)
    async with asyncio.timeout(DEADLINE):
        while any(client.is_connected for client in clients):
            await asyncio.sleep(0.01)
    with pytest.raises(RealtimeError):
        async with asyncio.timeout(DEADLINE):
            await clients[0].publish_via_http(("chat", {"room": 1}), {"text": "to nobody"})
    async with server_process(port):
        await talk("after", recovered=False)
        for client in clients:
            await client.close()
    for inbox in inboxes:
        assert inbox.heard.empty()
