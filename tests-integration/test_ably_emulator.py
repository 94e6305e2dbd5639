"""The Ably emulator on real sockets: starting again, ending, and what a socket may do. What SDKs find in it is asked in
test_ably_sdks.py."""

from __future__ import annotations

import asyncio
import json
import secrets
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import websockets

from realtime_preset_ably.emulator import Emulator, serve

KEY = "app.key:a-secret"
AUTH = ("app.key", "a-secret")


async def request_token(emulator: Emulator, **fields: object) -> str:
    async with httpx.AsyncClient(base_url=emulator.url, auth=AUTH) as http:
        response = await http.post("/keys/app.key/requestToken", json=fields)
    assert response.status_code == 201, response.text
    token: str = response.json()["token"]
    return token


def url(emulator: Emulator, token: str) -> str:
    return f"ws://127.0.0.1:{emulator.port}/?v=5&accessToken={quote(token, safe='')}"


async def test_a_server_that_is_started_again_knows_the_tokens_and_nothing_else() -> None:
    async with serve(key=KEY) as first:
        token = await request_token(first, clientId="ann")
        async with httpx.AsyncClient(base_url=first.url, auth=AUTH) as http:
            await http.post("/channels/a/messages", json={"data": "x"})
    async with serve(key=KEY, port=first.port) as second:
        async with httpx.AsyncClient(base_url=second.url, auth=AUTH) as http:
            assert (await http.get("/channels/a/messages")).json() == []
        async with websockets.connect(url(second, token)) as socket:
            connected: dict[str, Any] = json.loads(await socket.recv())
    assert (connected["action"], connected["connectionDetails"]["clientId"]) == (4, "ann")


async def test_the_end_drops_all_sockets_at_once() -> None:
    loop = asyncio.get_running_loop()
    async with serve(key=KEY) as emulator:
        token = await request_token(emulator)
        socket = await websockets.connect(url(emulator, token))
        await socket.recv()
        reader, writer = await asyncio.open_connection("127.0.0.1", emulator.port)
        before = loop.time()
    assert loop.time() - before < 2
    assert await reader.read() == b""
    writer.close()
    with pytest.raises(websockets.ConnectionClosedError) as caught:
        await socket.recv()
    assert caught.value.rcvd is None


async def test_a_taken_port_is_an_error() -> None:
    async with serve() as emulator:
        with pytest.raises(OSError, match="in use"):
            async with serve(port=emulator.port):
                pass


async def test_a_token_for_many_channels_fits_into_the_url() -> None:
    channels = {f"todos:{secrets.token_hex(60)}": ["subscribe", "history"] for _ in range(200)}
    async with serve(key=KEY) as emulator:
        token = await request_token(emulator, capability=json.dumps(channels))
        assert len(token) > 16_384
        async with websockets.connect(url(emulator, token)) as socket:
            connected: dict[str, Any] = json.loads(await socket.recv())
    assert connected["action"] == 4


async def test_a_frame_that_is_too_large_ends_the_socket() -> None:
    async with serve(key=KEY) as emulator:
        token = await request_token(emulator)
        async with websockets.connect(url(emulator, token)) as socket:
            await socket.recv()
            await socket.send("x" * (emulator.realtime.limits.frame_size + 1))
            with pytest.raises(websockets.ConnectionClosedError) as caught:
                await socket.recv()
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1009


async def test_a_peer_that_does_not_answer_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime_preset_ably.emulator._server.PING_INTERVAL", 0.05)
    monkeypatch.setattr("realtime_preset_ably.emulator._server.PING_TIMEOUT", 0.05)
    async with serve(key=KEY) as emulator:
        reader, writer = await asyncio.open_connection("127.0.0.1", emulator.port)
        writer.write(
            f"GET /?key={KEY} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
        )
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        assert answer.startswith(b"HTTP/1.1 101 ")
        (connection,) = emulator.realtime.connections()
        assert connection.phase.name == "ADRIFT"
