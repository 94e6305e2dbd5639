"""Starts the server that stands between the clients of the centrifugo preset, and says which one that is."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from launching import Launched, PlainProcess, Service, compose_command

from realtime_preset_centrifugo._config import CONTAINER_ENV, centrifugo_config

SECRETS: Final = {
    "REALTIME_API_KEY": "an-api-key-of-the-tests",
    "REALTIME_TOKEN_SECRET": "signs-tokens-in-the-tests-0123456789",
    "REALTIME_PROXY_SECRET": "proves-that-it-is-centrifugo-01234567",
}

_HEALTHY_WITHIN: Final = 60.0

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


async def answers(port: int, question: bytes, answer: bytes) -> bool:
    """Whether somebody on loopback gives an answer that has `answer` in its first line."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.write(question)
    try:
        return answer in await reader.readline()
    except OSError:
        return False
    finally:
        writer.close()


class RedisServer:
    """A Redis that the nodes of a `CentrifugoServer` share. It keeps nothing when it ends.

    Args:
        folder: for its log.
    """

    def __init__(self, folder: Path) -> None:
        self.port: Final = free_port()
        log = folder / "redis.log"
        self._program: Launched
        if compose_command():
            environment = {**SECRETS, "REDIS_PORT": str(self.port)}
            self._program = Service("compose.scale.yml", "redis", f"redis-{self.port}", environment, log)
            return
        program = shutil.which("redis-server")
        if program is None:
            if os.environ.get("REALTIME_INTEGRATION"):
                pytest.fail("no redis-server: install Debian's package of that name")
            pytest.skip("no redis-server: install Debian's package of that name")
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
        self._program = PlainProcess([program, *arguments], {}, log)

    async def start(self) -> None:
        """Start it and wait until it answers."""
        await self._program.start()
        async with asyncio.timeout(_HEALTHY_WITHIN):
            while not await answers(self.port, b"PING\r\n", b"+PONG"):
                assert await self._program.alive(), f"redis ended:\n{self._program.log()[-2000:]}"
                await asyncio.sleep(0.01)

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop it, and wait until it is gone."""
        await self._program.end(how)


class CentrifugoServer:
    """A node with the preset's own configuration: a process, or a service of docker/compose.yml.

    Args:
        folder: for its configuration and log.
        app_port: where the application answers.
        change: alters the configuration.
        redis: what it shares with other nodes, which must run when it starts; None for a node that is alone.
    """

    def __init__(
        self, folder: Path, app_port: int, change: Change = quick, *, redis: RedisServer | None = None
    ) -> None:
        self.port: Final = free_port()
        config = centrifugo_config(f"http://127.0.0.1:{app_port}/_realtime", address="127.0.0.1", port=self.port)
        change(config)
        path = folder / f"centrifugo-{self.port}.json"
        path.write_text(json.dumps(config))
        log = folder / f"centrifugo-{self.port}.log"
        self._program: Launched
        if compose_command():
            environment = {**SECRETS, "CENTRIFUGO_CONFIG": str(path), "CENTRIFUGO_PORT": str(self.port)}
            environment |= {"REDIS_PORT": str(redis.port)} if redis else {}
            file = "compose.scale.yml" if redis else "compose.yml"
            self._program = Service(file, "centrifugo", f"centrifugo-{self.port}", environment, log)
            return
        environment = {theirs: SECRETS[ours] for theirs, ours in CONTAINER_ENV.items()}
        if redis:
            environment["CENTRIFUGO_ENGINE_TYPE"] = "redis"
            environment["CENTRIFUGO_ENGINE_REDIS_ADDRESS"] = f"redis://127.0.0.1:{redis.port}"
        self._program = PlainProcess([binary(), "-c", str(path)], environment, log)

    @property
    def log(self) -> str:
        """What it has written; of a service, until it ended last."""
        return self._program.log()

    def environ(self, socket_port: int | None = None) -> Mapping[str, str]:
        """Return the variables of the preset's server half."""
        return {
            "REALTIME_API_URL": f"http://127.0.0.1:{self.port}/api",
            "REALTIME_URL": f"ws://127.0.0.1:{socket_port or self.port}/connection/websocket",
            **SECRETS,
        }

    async def start(self) -> None:
        """Start it and wait until it is healthy."""
        await self._program.start()
        async with asyncio.timeout(_HEALTHY_WITHIN):
            while not await answers(self.port, b"GET /health HTTP/1.0\r\n\r\n", b" 200 "):
                assert await self._program.alive(), f"centrifugo ended:\n{self.log[-2000:]}"
                await asyncio.sleep(0.01)

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop it, and wait until it is gone."""
        await self._program.end(how)
