"""The demonstration's stage: one server process, two client processes, and a way to wait for what they show.

The clients are separate processes that call server functions over HTTP and never open the database. Each prints what
its screen shows as one JSON object per line and takes commands the same way.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from .server.users import TOKENS

__all__ = ["ClientProcess", "Item", "Picture", "Stage"]

PATIENCE = 60.0
"""Seconds to wait for something that must happen."""


@dataclass(frozen=True)
class Item:
    """One todo as a client shows it."""

    id: str
    text: str
    done: bool
    pending: bool


@dataclass(frozen=True)
class Picture:
    """What one client shows at one moment."""

    status: str = "starting"
    items: tuple[Item, ...] = ()
    notice: str = ""

    @property
    def texts(self) -> list[str]:
        return [item.text for item in self.items]


@dataclass(eq=False)
class ClientProcess:
    """A running client: `picture` is what it shows now, `history` everything it has shown."""

    user: str
    process: asyncio.subprocess.Process
    changed: Callable[[], None]
    picture: Picture = Picture()
    history: list[Picture] = field(default_factory=list[Picture])
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def read(self) -> None:
        """Follow what the process prints until it ends."""
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            shown = json.loads(line)
            items = tuple(Item(**item) for item in shown.pop("items"))
            async with self._news:
                self.picture = Picture(items=items, **shown)
                self.history.append(self.picture)
                self._news.notify_all()
            self.changed()

    async def do(self, what: str, **arguments: Any) -> None:
        """Send a command."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": what, **arguments}).encode() + b"\n")
        await self.process.stdin.drain()

    async def until(self, condition: Callable[[Picture], bool], expectation: str) -> Picture:
        """Wait until the client shows it.

        Raises:
            TimeoutError: it did not within `PATIENCE` seconds; says what it shows instead.
        """
        try:
            async with asyncio.timeout(PATIENCE), self._news:
                await self._news.wait_for(lambda: condition(self.picture))
                return self.picture
        except TimeoutError:
            raise TimeoutError(f"{self.user} should see {expectation}, but sees {self.picture}") from None

    def saw(self, condition: Callable[[Picture], bool], *, since: int) -> bool:
        """Whether a picture after the first `since` ones met the condition."""
        return any(condition(picture) for picture in self.history[since:])


class Stage:
    """Starts and ends the processes. Use it with ``async with``.

    Args:
        changed: called whenever something to see has changed.
    """

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        self.changed = changed
        self.clients: dict[str, ClientProcess] = {}
        self.server: asyncio.subprocess.Process | None = None
        self._folder = TemporaryDirectory(prefix="todos-demo-")
        self._readers: list[asyncio.Task[None]] = []
        self._port = _free_port()
        self.url = f"http://127.0.0.1:{self._port}"

    @property
    def log(self) -> Path:
        """Where the processes write their errors."""
        return Path(self._folder.name) / "log.txt"

    async def __aenter__(self) -> Stage:
        await self.start_server()
        for user in ("ada", "bob"):
            await self._start_client(user)
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        for client in self.clients.values():
            client.process.terminate()
            await client.process.wait()
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        await self.kill_server()
        if error is not None and self.log.exists():
            error.add_note(f"What the processes wrote:\n{self.log.read_text()[-4000:]}")
        self._folder.cleanup()

    async def start_server(self) -> None:
        """Start the server and wait until it answers."""
        self.server = await self._serve(self._port)
        self.changed()

    async def write_elsewhere(self, text: str) -> None:
        """Add a todo through another server on the same database: the clients' server knows nothing of it."""
        port = _free_port()
        server = await self._serve(port)
        try:
            headers = {"authorization": f"Bearer {TOKENS['ada']}"}
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers) as http:
                answer = await http.post("/functions/todos/add_todo", json={"project_id": "demo", "text": text})
                answer.raise_for_status()
        finally:
            server.kill()
            await server.wait()

    async def _serve(self, port: int) -> asyncio.subprocess.Process:
        database = Path(self._folder.name) / "todos.db"
        server = await self._spawn(
            *("-m", "uvicorn", "todos.server.app:app", "--port", str(port), "--log-level", "warning"),
            DATABASE_URL=f"sqlite+aiosqlite:///{database}",
        )
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    if server.returncode is not None:
                        raise RuntimeError(f"the server did not start:\n{self.log.read_text()}") from None
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    await writer.wait_closed()
                    return server

    async def kill_server(self) -> None:
        """End the server as a crash would."""
        if self.server is not None:
            if self.server.returncode is None:
                self.server.send_signal(signal.SIGKILL)
            await self.server.wait()
            self.server = None
            self.changed()

    async def _start_client(self, user: str) -> None:
        process = await self._spawn("-m", "todos.client", "--user", user, "--url", self.url)
        client = self.clients[user] = ClientProcess(user, process, self.changed)
        self._readers.append(asyncio.create_task(client.read()))

    async def _spawn(self, *arguments: str, **environment: str) -> asyncio.subprocess.Process:
        home = Path(__file__).parent.parent
        with self.log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *(sys.executable, *arguments),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                cwd=home,
                env={**os.environ, "PYTHONPATH": str(home), "PYTHONUNBUFFERED": "1", **environment},
            )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
