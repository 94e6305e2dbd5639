"""The server half in two uvicorn workers, with a lifespan and without: either can answer, publish and revoke."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from carriers import CARRIERS
from centrifugo_server import SECRETS, answers, free_port
from launching import PlainProcess

from tanstack_db import DbClient
from tanstack_realtime import RealtimeClient, create_realtime_client
from tanstack_realtime.testing import RecordingListener

NEWS = ("news", {"room": "1"})
DEADLINE = 60.0
HERE = Path(__file__).parent


class Workers:
    """An application in two processes behind one port, and what carries its messages beside it."""

    def __init__(self, folder: Path, preset: str, *, lifespan: bool) -> None:
        self.preset = preset
        self.port = free_port()
        self.carrier = CARRIERS[preset](folder, self.port)
        self.refused = folder / "refused"
        self.refused.write_text("")
        self._log = folder / "uvicorn.log"
        command = [sys.executable, "-m", "uvicorn", "workers_app:app", "--app-dir", str(HERE), "--port", str(self.port)]
        options = ["--workers", "2", "--lifespan", "on" if lifespan else "off", "--log-level", "warning"]
        environment = {
            **self.carrier.environ,
            "REALTIME_PRESET": preset,
            "WORKERS_REFUSED": str(self.refused),
            "WORKERS_LIFESPAN": "yes" if lifespan else "",
        }
        self._uvicorn = PlainProcess([*command, *options], environment, self._log)

    async def start(self) -> None:
        """Start both, and wait until they answer."""
        await self.carrier.start()
        await self._uvicorn.start()
        async with asyncio.timeout(DEADLINE):
            while not await answers(self.port, b"GET /_realtime/config HTTP/1.0\r\n\r\n", b" 200 "):
                assert await self._uvicorn.alive(), self.log
                await asyncio.sleep(0.05)

    async def stop(self) -> None:
        """Stop both."""
        await self._uvicorn.end(signal.SIGTERM)
        await self.carrier.stop()

    @property
    def log(self) -> str:
        """What the workers complained of."""
        return self._log.read_text()

    async def ask(self, path: str, body: Any, **headers: str) -> httpx.Response:
        """Ask whichever worker takes a new connection."""
        async with httpx.AsyncClient(trust_env=False) as http:
            return await http.post(f"http://127.0.0.1:{self.port}{path}", json=body, headers=headers)

    async def both(self, path: str, body: Any, **headers: str) -> dict[str, httpx.Response]:
        """Ask until both workers have answered. Returns the last answer of each."""
        found: dict[str, httpx.Response] = {}
        async with asyncio.timeout(DEADLINE):
            while len(found) < 2:
                response = await self.ask(path, body, **headers)
                found[response.headers["x-worker"]] = response
        return found

    async def act(self, worker: str, **order: object) -> None:
        """Have one worker do something."""
        async with asyncio.timeout(DEADLINE):
            while (status := (await self.ask("/act", {"worker": worker, **order})).status_code) == 421:
                pass
        assert status == 204

    def client(self, user: str) -> RealtimeClient:
        """Return a client that is not connected."""
        url = f"http://127.0.0.1:{self.port}/_realtime"
        return create_realtime_client(url, preset=self.preset, get_token=lambda: user, db=DbClient())


@pytest.fixture(params=[False, True], ids=["without lifespan", "with lifespan"])
def lifespan(request: pytest.FixtureRequest) -> bool:
    given: bool = request.param
    return given


@pytest.fixture
async def workers(preset: str, lifespan: bool, tmp_path: Path) -> AsyncIterator[Workers]:
    workers = Workers(tmp_path, preset, lifespan=lifespan)
    try:
        await workers.start()
        yield workers
    finally:
        await workers.stop()
    assert "Traceback" not in workers.log, workers.log


async def until(condition: Callable[[], object], what: str) -> None:
    try:
        async with asyncio.timeout(DEADLINE):
            while not condition():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(what) from None


@pytest.mark.parametrize("preset", ["centrifugo"])
async def test_either_worker_answers_centrifugo(workers: Workers) -> None:
    tokens = await workers.both("/_realtime/token", {}, authorization="Bearer ann")
    question = {"client": "c", "transport": "websocket", "user": "ann", "channel": "rt:news:room=1"}
    secret = {"x-realtime-proxy-secret": SECRETS["REALTIME_PROXY_SECRET"]}
    granted = await workers.both("/_realtime/centrifugo/subscribe", question, **secret)
    strangers = await workers.both("/_realtime/centrifugo/subscribe", question)

    assert [response.status_code for response in tokens.values()] == [200, 200]
    assert all("result" in response.json() for response in granted.values())
    assert {response.status_code for response in strangers.values()} <= {401, 403}


@pytest.mark.parametrize("preset", ["ably"])
async def test_either_worker_signs_for_ably(workers: Workers) -> None:
    question = {"channels": ["news:room=1"]}
    tokens = await workers.both("/_realtime/ably/token", question, authorization="Bearer ann")
    strangers = await workers.both("/_realtime/ably/token", question)
    assert {response.status_code for response in strangers.values()} == {401}

    async with httpx.AsyncClient(trust_env=False) as http:
        for response in tokens.values():
            request = response.json()["token_request"]
            url = f"{workers.carrier.environ['ABLY_ENDPOINT']}/keys/{request['keyName']}/requestToken"
            assert (await http.post(url, json=request)).status_code == 201


@pytest.mark.parametrize("preset", ["centrifugo", "ably"])
async def test_either_worker_serves_the_same_clients(workers: Workers) -> None:
    one, two = await workers.both("/_realtime/publish", {})
    async with workers.client("ann") as ann, workers.client("bob") as bob:
        hers, his = RecordingListener(), RecordingListener()
        for client, listener in ((ann, hers), (bob, his)):
            await client.subscribe(NEWS, listener).live()
        await workers.act(one, publish="from one")
        await workers.act(two, publish="from two")
        await ann.publish(NEWS, "over the connection")
        for number in range(10):  # whichever worker takes it
            await ann.publish_via_http(NEWS, f"over HTTP, {number}")
        expected = ["from one", "from two", "over the connection", *(f"over HTTP, {number}" for number in range(10))]
        await until(lambda: hers.data == his.data == expected, "both hear everything")

        workers.refused.write_text("bob")
        await workers.act(two, revoke="bob")
        await until(lambda: his.heard("denied"), "bob is out")
        await workers.act(one, publish="without bob")
        await until(lambda: hers.data[-1] == "without bob", "ann hears it")
        workers.refused.write_text("bob ann")
        await workers.act(one, revoke="ann")
        await until(lambda: hers.heard("denied"), "ann is out")
        assert his.data == expected
