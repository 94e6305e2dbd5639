"""Ably's stand-in for the tests: the emulator in this process, or as a process of its own that can be killed."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from centrifugo_server import answers, free_port
from launching import PlainProcess

from tanstack_realtime._http import DefaultHttp

__all__ = ["KEY", "AblyProcess", "Rest"]

KEY: Final = "testApp.testKey:a-secret-of-the-tests"

_READY_WITHIN: Final = 20.0


class AblyProcess:
    """``tanstack-realtime ably serve``, on one port for all its lives.

    Args:
        folder: for its log.
    """

    def __init__(self, folder: Path) -> None:
        self.port: Final = free_port()
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

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop it, and wait until it is gone."""
        await self._program.end(how)


class Rest:
    """Ably's REST interface with a key, as plain HTTP. Use it in ``async with``.

    Args:
        port: of the server on loopback.
        key: with which it is asked.
    """

    def __init__(self, port: int, key: str = KEY) -> None:
        self._url = f"http://127.0.0.1:{port}"
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

    async def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Ask, and return the status and what the answer holds."""
        sent = None if body is None else json.dumps(body).encode()
        response = await self._http(method, f"{self._url}{path}", headers={**self._headers, **headers}, body=sent)
        return response.status, json.loads(response.body) if response.body else None
