"""Ably's stand-in for the tests: the emulator in this process, or as a process of its own that can be killed."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import uvicorn
from centrifugo_server import answers, free_port
from launching import PlainProcess
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tanstack_realtime._http import DefaultHttp

__all__ = ["KEY", "AblyProcess", "Asked", "Relay", "Rest"]

KEY: Final = "testApp.testKey:a-secret-of-the-tests"

_READY_WITHIN: Final = 20.0


class AblyProcess:
    """``tanstack-realtime ably serve``.

    Args:
        folder: for its log.
        port: where it listens on loopback, which nobody else may.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.port: Final = port
        program = Path(sys.executable).parent / "tanstack-realtime"
        command = [str(program), "ably", "serve", "--port", str(self.port), "--key", KEY]
        self._program = PlainProcess(command, {}, folder / f"ably-{self.port}.log")

    async def start(self) -> None:
        """Start it and wait until it answers."""
        await self._program.start()
        async with asyncio.timeout(_READY_WITHIN):
            while not await answers(self.port, b"GET /time HTTP/1.0\r\n\r\n", b" 200 "):
                assert await self._program.alive(), f"it ended:\n{self._program.log()[-2000:]}"
                await asyncio.sleep(0.01)

    def freeze(self) -> None:
        """Let it stand still, with all its sockets open."""
        self._program.send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._program.send(signal.SIGCONT)

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop it, and wait until it is gone."""
        await self._program.end(how)


class Rest:
    """Ably's REST interface with a key, as plain HTTP. Use it in ``async with``.

    Args:
        port: of the server on loopback; None for Ably itself.
        key: with which it is asked.
    """

    def __init__(self, port: int | None, key: str = KEY) -> None:
        self._url = "https://main.realtime.ably.net" if port is None else f"http://127.0.0.1:{port}"
        self._headers: Mapping[str, str] = {
            "authorization": f"Basic {base64.b64encode(key.encode()).decode()}",
            "accept": "application/json",
            "content-type": "application/json",
        }
        self._http = DefaultHttp()

    async def __aenter__(self) -> Rest:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._http.aclose()

    async def __call__(self, method: str, path: str, body: Any = None, *, with_key: bool = True) -> tuple[int, Any]:
        """Ask, and return the status and what the answer holds."""
        sent = None if body is None else json.dumps(body).encode()
        headers = {name: value for name, value in self._headers.items() if with_key or name != "authorization"}
        response = await self._http(method, f"{self._url}{path}", headers=headers, body=sent)
        return response.status, json.loads(response.body) if response.body else None


@dataclass(frozen=True)
class Asked:
    """One request of the application's server.

    Attributes:
        method: of HTTP.
        path: as it was written, percent-encoding included.
        headers: by lower-case names.
        body: what the JSON holds.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any


class Relay:
    """Stands between an application's server and Ably's REST interface. Use it in ``async with``.

    Args:
        port: of the server behind it, on loopback.

    Attributes:
        port: its own.
        asked: all requests, in order.
        plan: what happens to the next requests instead of passing them on: ``503`` answers that, with Ably's error;
            ``-503`` answers that after passing the request on, as a server does that fails too late; ``0`` never
            answers a request that it has passed on.
    """

    def __init__(self, port: int) -> None:
        self.port: Final = free_port()
        self.asked: Final[list[Asked]] = []
        self.plan: Final[list[int]] = []
        self._behind = f"http://127.0.0.1:{port}"
        self._http = httpx.AsyncClient()
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._answer, host="127.0.0.1", port=self.port, log_level="error", lifespan="off", interface="asgi3"
            )
        )
        self._ended = asyncio.Event()

    async def __aenter__(self) -> Relay:
        self._serving = asyncio.get_running_loop().create_task(self._server.serve())
        while not self._server.started:
            assert not self._serving.done()
            await asyncio.sleep(0)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._ended.set()
        self._server.should_exit = True
        await self._serving
        await self._http.aclose()

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        path: str = scope["raw_path"].decode()
        body = await request.body()
        self.asked.append(Asked(request.method, path, dict(request.headers), json.loads(body) if body else None))
        planned = self.plan.pop(0) if self.plan else None
        status = abs(planned or 0)
        error = {"message": "as the test planned", "code": status * 100, "statusCode": status, "href": ""}
        response: Response = JSONResponse({"error": error}, status)
        if planned is None or planned <= 0:
            passed = await self._http.request(
                request.method, f"{self._behind}{path}", headers=request.headers.raw, content=body
            )
            if planned is None:
                response = Response(passed.content, passed.status_code, media_type=passed.headers["content-type"])
        if planned == 0:
            await self._ended.wait()
        await response(scope, receive, send)
