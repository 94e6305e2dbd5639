"""The WebSocket endpoint: a raw ASGI application around the realtime half.

It accepts a socket on any path, since SDKs differ in what they put there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

from ._connection import Connection
from ._outbox import Outbox
from ._realtime import Realtime

__all__ = ["websocket"]

_Event: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[_Event]]
Send: TypeAlias = Callable[[_Event], Awaitable[None]]


async def websocket(realtime: Realtime, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    """Serve one WebSocket until either side closes it."""
    query = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1")))
    await receive()
    socket = _Socket(realtime, "msgpack" if query.get("format") == "msgpack" else "json", receive, send)
    try:
        connection = realtime.connect(query, socket.outbox)
    except ConnectionRefusedError:
        await send({"type": "websocket.close", "code": 1013})
        return
    await send({"type": "websocket.accept"})
    await socket.serve(connection)


class _Socket:
    """A socket: one task reads, another writes; the end of either ends both."""

    def __init__(self, realtime: Realtime, format: Any, receive: Receive, send: Send) -> None:  # noqa: A002
        self.outbox = Outbox(format, realtime.limits, self._on_change)
        self._realtime = realtime
        self._receive = receive
        self._send = send
        self._changed = asyncio.Event()
        self._written = asyncio.Event()

    async def serve(self, connection: Connection | None) -> None:
        tasks = [asyncio.create_task(self._read(connection)), asyncio.create_task(self._write())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if connection is not None:
                connection.socket_lost(self.outbox)
            self.outbox.close()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled():
                task.result()

    async def _read(self, connection: Connection | None) -> None:
        """Take messages until the socket is gone."""
        while (event := await self._receive())["type"] != "websocket.disconnect":
            if connection is None:
                continue
            text: str | None = event.get("text")
            self._realtime.receive(connection, self.outbox, text if text is not None else event["bytes"])
            # Who asks for more than it reads waits, so that the outbox holds one answer too much at most.
            while self.outbox.is_full and self.outbox.is_open:
                self._written.clear()
                await self._written.wait()

    async def _write(self) -> None:
        """Write what the outbox holds, and close the socket at its end."""
        outbox = self.outbox
        try:
            while True:
                self._changed.clear()
                while (encoded := outbox.take()) is not None:
                    if self._realtime.faults.delay:
                        await asyncio.sleep(self._realtime.faults.delay / 1000)
                    kind = "text" if isinstance(encoded, str) else "bytes"
                    await self._send({"type": "websocket.send", kind: encoded})
                    self._written.set()
                if outbox.close_code is not None and not outbox.is_frozen:
                    await self._send({"type": "websocket.close", "code": outbox.close_code})
                    return
                await self._changed.wait()
        except OSError:
            # The client is gone; the reader hears of it too.
            return

    def _on_change(self) -> None:
        self._changed.set()
        self._written.set()
