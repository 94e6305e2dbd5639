"""Starts the server that stands between the clients of the centrifugo preset, and says which one that is."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from realtime_preset_centrifugo._config import CONTAINER_ENV, centrifugo_config

SECRETS: Final = {
    "REALTIME_API_KEY": "an-api-key-of-the-tests",
    "REALTIME_TOKEN_SECRET": "signs-tokens-in-the-tests-0123456789",
    "REALTIME_PROXY_SECRET": "proves-that-it-is-centrifugo-01234567",
}

_HEALTHY_WITHIN: Final = 15.0

Change = Callable[[dict[str, Any]], None]


def binary() -> str:
    """Return the server's path. Without one the test is left out, or fails where one is asked for."""
    found = os.environ.get("CENTRIFUGO_BIN") or shutil.which("centrifugo")
    if found is None:
        reason = "no centrifugo: set CENTRIFUGO_BIN, or put it on the PATH"
        if os.environ.get("REALTIME_INTEGRATION"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def free_port() -> int:
    """Return a port on loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def quick(config: dict[str, Any]) -> None:
    """Shorten what a test would wait for."""
    config["client"] |= {
        "ping_interval": "2s",
        "pong_timeout": "1s",
        "presence_update_interval": "1s",
        "expired_sub_close_delay": "1s",
        "expired_close_delay": "1s",
    }


class CentrifugoServer:
    """A server process with the preset's own configuration.

    Args:
        folder: for its configuration and log.
        app_port: where the application answers.
        change: alters the configuration.
    """

    def __init__(self, folder: Path, app_port: int, change: Change = quick) -> None:
        self.port: Final = free_port()
        config = centrifugo_config(f"http://127.0.0.1:{app_port}/_realtime", address="127.0.0.1", port=self.port)
        change(config)
        self._config = folder / "config.json"
        self._config.write_text(json.dumps(config))
        self._log = folder / "centrifugo.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._binary = binary()

    @property
    def log(self) -> str:
        """What it has written."""
        return self._log.read_text() if self._log.exists() else ""

    def environ(self, socket_port: int | None = None) -> Mapping[str, str]:
        """Return the variables of the preset's server half."""
        return {
            "REALTIME_API_URL": f"http://127.0.0.1:{self.port}/api",
            "REALTIME_URL": f"ws://127.0.0.1:{socket_port or self.port}/connection/websocket",
            **SECRETS,
        }

    async def start(self) -> None:
        """Start it and wait until it is healthy."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("CENTRIFUGO")}
        secrets = {theirs: SECRETS[ours] for theirs, ours in CONTAINER_ENV.items()}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220 -- it returns at once
                [self._binary, "-c", str(self._config)], stdout=log, stderr=log, env={**inherited, **secrets}
            )
        async with asyncio.timeout(_HEALTHY_WITHIN):
            while not await self._healthy():
                assert self._process.poll() is None, f"centrifugo ended:\n{self.log[-2000:]}"
                await asyncio.sleep(0.01)

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop it, and wait until it is gone."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            async with asyncio.timeout(10):
                while process.poll() is None:
                    await asyncio.sleep(0.01)
        except TimeoutError:
            process.kill()
            process.wait()

    async def _healthy(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.write(b"GET /health HTTP/1.0\r\n\r\n")
        line = await reader.readline()
        writer.close()
        return b" 200 " in line
