"""A TCP proxy that can cut connections and let them go silent: the faults of `MemoryNetwork` for real servers.

It needs a real event loop.
"""

from __future__ import annotations

import asyncio
from typing import Final

__all__ = ["TcpProxy"]

_CHUNK: Final = 65_536


class TcpProxy:
    """Passes bytes on between its own port on loopback and a server. Use it in ``async with``.

    Give each user a proxy, and faults hit one user.

    Args:
        port: the server's.
        host: the server's.

    Attributes:
        port: the proxy's own.
    """

    def __init__(self, port: int, *, host: str = "127.0.0.1") -> None:
        self.port = 0
        self._target: Final = (host, port)
        self._server: asyncio.Server | None = None
        self._tasks: Final[set[asyncio.Task[None]]] = set()
        self._writers: Final[set[asyncio.StreamWriter]] = set()
        self._silent: Final[set[asyncio.StreamWriter]] = set()

    async def __aenter__(self) -> TcpProxy:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._server is not None:
            await self._server.wait_closed()

    def cut(self) -> None:
        """Break every connection; both ends notice."""
        for writer in self._writers:
            writer.transport.abort()

    def half_open(self) -> None:
        """Let every connection go silent, without telling anybody. New ones work."""
        self._silent.update(self._writers)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._writers.add(writer)
        try:
            there, back = await asyncio.open_connection(*self._target)
            self._writers.add(back)
            try:
                await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
            finally:
                await self._drop(back)
        except OSError:
            pass  # the server is away: the client sees a connection that ends at once
        finally:
            await self._drop(writer)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(_CHUNK):
            if writer in self._silent:
                continue
            writer.write(chunk)
            await writer.drain()
        if writer not in self._silent:
            writer.close()

    async def _drop(self, writer: asyncio.StreamWriter) -> None:
        self._writers.discard(writer)
        self._silent.discard(writer)
        writer.transport.abort()
        try:
            await writer.wait_closed()
        except OSError:
            return
