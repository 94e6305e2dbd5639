"""Two nodes that share a Redis, behind a balancer: to clients and to the application they are one server."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from centrifugo_server import CentrifugoServer, RedisServer, free_port

__all__ = ["Balancer", "Nodes"]

_CHUNK: Final = 65536


class Balancer:
    """Passes each connection on to the next server that takes it.

    Args:
        ports: of the servers on loopback, which take turns.
    """

    def __init__(self, *ports: int) -> None:
        self.port: Final = free_port()
        self._ports = list(ports)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def stop(self) -> None:
        """Close every connection, and listen no more."""
        if self._server is None:
            return
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        for _ in self._ports:
            self._ports.append(port := self._ports.pop(0))
            try:
                there, back = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                continue
            try:
                async with asyncio.TaskGroup() as pumps:
                    pumps.create_task(_pump(reader, back))
                    pumps.create_task(_pump(there, writer))
            except* OSError:
                pass  # one end is gone, and then the other goes
            finally:
                back.transport.abort()
            break
        writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(_CHUNK):
        writer.write(chunk)
        await writer.drain()
    raise ConnectionResetError("the other end has closed")


class Nodes:
    """Node one and node two. Connections of clients take turns between them, those of the application as well.

    Args:
        folder: for configurations and logs.
        app_port: where the application answers.
    """

    def __init__(self, folder: Path, app_port: int) -> None:
        self.redis: Final = RedisServer(folder)
        self.one, self.two = (CentrifugoServer(folder, app_port, redis=self.redis) for _ in range(2))
        self._sockets, self._api = (Balancer(self.one.port, self.two.port) for _ in range(2))
        self.port: Final = self._sockets.port

    def environ(self, socket_port: int | None = None) -> Mapping[str, str]:
        """Return the variables of the preset's server half."""
        api = f"http://127.0.0.1:{self._api.port}/api"
        return {**self.one.environ(socket_port or self.port), "REALTIME_API_URL": api}

    async def start(self) -> None:
        """Start everything and wait until it is healthy."""
        await self.redis.start()
        await asyncio.gather(self.one.start(), self.two.start())
        await asyncio.gather(self._sockets.start(), self._api.start())

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop everything."""
        await asyncio.gather(self._sockets.stop(), self._api.stop())
        await asyncio.gather(self.one.stop(how), self.two.stop(how))
        await self.redis.stop(how)
