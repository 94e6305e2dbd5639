"""Sockets of a browser, or of another JavaScript engine with a `WebSocket`, under Pyodide.

What the browser calls only fills a queue. A task takes from it, so that everything behind runs as it does elsewhere: in
a task, with its context variables, and one frame after the other.

Three things that other sockets can do, a browser's cannot: it sends no headers but the browser's own, it does not tell
why a handshake failed, and it cannot be dropped without a closing handshake, which ends in the background.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from tanstack_realtime import CloseReason, ConfigurationError, ConnectionLostError, OpenRequest

from ._client import CLOSE_TIMEOUT, ReadWire, configured_preset, require_node, socket_url
from ._frames import CloseCode
from ._link import NodeLink

if TYPE_CHECKING:
    from tanstack_realtime import Http

__all__ = ["connect"]

_OPEN: Final = 1
"""`WebSocket.readyState`."""


async def connect(base: str, request: OpenRequest, http: Http) -> ReadWire:
    """Open a WebSocket; see `Connect`."""
    if request.headers:
        raise ConfigurationError(
            f"a browser sends no headers of ours with a WebSocket: leave out headers={list(request.headers)}, and say "
            "who the user is by get_token= or a cookie",
            reason="headers in a browser",
        )
    url = socket_url(base)
    ffi: Any = importlib.import_module("pyodide.ffi")
    try:
        socket: Any = importlib.import_module("js").WebSocket.new(url)
    except ffi.JsException as error:
        # For example ws:// from a page that came by https.
        raise ConfigurationError(f"the browser refuses to open {url}: {error}", reason=str(error)) from error
    wire = _BrowserWire(socket, ffi.create_proxy)
    try:
        await wire.opened()
    except ConnectionLostError as error:
        wire.abort()
        require_node(base, await configured_preset(base, http))
        path = urlsplit(base).path
        raise ConnectionLostError(
            f"could not connect to {url}; a browser does not tell why. Is the server up, is Realtime mounted at "
            f"{path}, and does it accept the page's origin?",
            code=error.code,
            reason=error.reason,
        ) from None
    except BaseException:
        wire.abort()
        raise
    return wire


class _BrowserWire:
    """Moves text over a browser's WebSocket; one task takes what has arrived.

    Args:
        socket: JavaScript's.
        create_proxy: makes a function that JavaScript may keep, until it is destroyed.
    """

    def __init__(self, socket: Any, create_proxy: Callable[[Callable[[Any], None]], Any]) -> None:
        self._socket = socket
        self._loop = asyncio.get_running_loop()
        self._arrived: asyncio.Queue[str | CloseReason] = asyncio.Queue()
        self._opening: asyncio.Future[None] = self._loop.create_future()
        self._reader: asyncio.Task[None] | None = None
        self.reason: CloseReason | None = None
        self._listeners = {
            event: create_proxy(listener)
            for event, listener in (
                ("open", self._on_open),
                ("message", self._on_message),
                ("close", self._on_close),
            )
        }
        for event, proxy in self._listeners.items():
            socket.addEventListener(event, proxy)

    async def opened(self) -> None:
        """Wait until it is open. Raises `ConnectionLostError` when it closes instead."""
        await self._opening

    def start(self, link: NodeLink) -> None:
        self._reader = self._loop.create_task(self._read(link))

    async def send(self, text: str, /) -> None:
        # A browser drops what is sent on a closing socket without a word.
        if self._socket.readyState != _OPEN:
            reason = self.reason.reason if self.reason is not None else "the socket is closing"
            raise ConnectionLostError(f"the connection is gone: {reason}", reason=reason)
        self._socket.send(text)

    def send_now(self, text: str, /) -> bool:
        if self._socket.readyState != _OPEN or self._socket.bufferedAmount:
            return False
        self._socket.send(text)
        return True

    def abort(self) -> None:
        self._socket.close()
        self._end(CloseReason(CloseCode.LOST, "dropped by this client"))

    async def close(self) -> None:
        self._socket.close(int(CloseCode.NORMAL))
        if self._reader is None:
            self._end(CloseReason(CloseCode.NORMAL, "closed by this client"))
            return
        done, _ = await asyncio.wait([self._reader], timeout=CLOSE_TIMEOUT)
        if not done:
            self._end(CloseReason(CloseCode.LOST, "the server did not close the connection in time"))
            await asyncio.wait([self._reader])

    async def _read(self, link: NodeLink) -> None:
        while isinstance(item := await self._arrived.get(), str):
            link.feed(item)
        self._end(item)
        link.lost(item)

    def _end(self, reason: CloseReason) -> None:
        """Let JavaScript go. Never called by it: a function cannot be destroyed while it runs. Idempotent."""
        if self.reason is None:
            self.reason = reason
            self._arrived.put_nowait(reason)
        listeners, self._listeners = self._listeners, {}
        for event, proxy in listeners.items():
            self._socket.removeEventListener(event, proxy)
            proxy.destroy()

    # -- called by JavaScript ----------------------------------------------------------------------------------------

    def _on_open(self, _: Any) -> None:
        if not self._opening.done():
            self._opening.set_result(None)

    def _on_message(self, event: Any) -> None:
        if isinstance(event.data, str):
            self._arrived.put_nowait(event.data)

    def _on_close(self, event: Any) -> None:
        code: int = event.code
        text = "the connection broke" if code == CloseCode.LOST else event.reason
        reason = CloseReason(code, text, retry=not CloseCode.is_final(code))
        self.reason = reason
        self._arrived.put_nowait(reason)
        if not self._opening.done():
            self._opening.set_exception(ConnectionLostError("the socket did not open", code=str(code)))
