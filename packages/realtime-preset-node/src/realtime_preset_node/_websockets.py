"""Sockets of the `websockets` library, for everywhere but a browser."""

from __future__ import annotations

import asyncio
import ipaddress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_socket
from websockets.asyncio.connection import broadcast
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.protocol import State

from tanstack_realtime import AuthenticationError, CloseReason, ConfigurationError, ConnectionLostError, OpenRequest

from ._client import CLOSE_TIMEOUT, ReadWire, configured_preset, request_headers, require_node, socket_url
from ._frames import CloseCode
from ._link import NodeLink

if TYPE_CHECKING:
    from tanstack_realtime import Http

__all__ = ["connect"]

_MAX_FRAME_BYTES: Final = 16 * 1024 * 1024
"""More than a server sends in one message, so that only a broken one is cut off."""


async def connect(base: str, request: OpenRequest, http: Http) -> ReadWire:
    """Open a WebSocket; see `Connect`."""
    url = socket_url(base)
    try:
        socket = await open_socket(
            url,
            additional_headers=request_headers(request),
            compression=None,  # small JSON: costs twice the CPU and memory on the server, saves little
            proxy=None if _is_loopback(urlsplit(url).hostname) else True,
            open_timeout=None,  # the caller sets the deadline
            close_timeout=CLOSE_TIMEOUT,
            ping_interval=None,  # the protocol has its own, which browsers see too
            max_size=_MAX_FRAME_BYTES,
        )
    except InvalidStatus as error:
        status = error.response.status_code
        # Frameworks answer a WebSocket to a path that they do not have with 403 as well, so that 403 alone says little.
        found = await configured_preset(base, http) if status in (403, 404) else None
        require_node(base, found)
        if status == 401 or (status == 403 and found == "node"):
            raise AuthenticationError(f"{url} answered {status}", code=str(status)) from error
        hint = f"; is Realtime mounted at {urlsplit(base).path}?" if status in (403, 404) else ""
        raise ConnectionLostError(f"{url} answered {status} instead of a WebSocket{hint}", code=str(status)) from error
    except InvalidURI as error:
        raise ConfigurationError(f"{url!r} is not a WebSocket address: {error}") from error
    except (OSError, InvalidHandshake, EOFError) as error:
        raise ConnectionLostError(f"could not connect to {url}: {error}", reason=str(error)) from error
    return _SocketWire(socket)


def _is_loopback(host: str | None) -> bool:
    if host is None or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _SocketWire:
    """Moves text over a WebSocket; one task reads."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._reader: asyncio.Task[None] | None = None
        self.reason: CloseReason | None = None

    def start(self, link: NodeLink) -> None:
        self._reader = asyncio.get_running_loop().create_task(self._read(link))

    async def send(self, text: str, /) -> None:
        try:
            await self._socket.send(text)
        except ConnectionClosed as error:
            raise ConnectionLostError(f"the connection is gone: {error}", reason=str(error)) from error

    def send_now(self, text: str, /) -> bool:
        if self._socket.state is not State.OPEN or self._socket.transport.get_write_buffer_size():
            return False
        try:
            broadcast((self._socket,), text, raise_exceptions=True)
        except ExceptionGroup:
            return False
        return True

    def abort(self) -> None:
        self._socket.transport.abort()

    async def close(self) -> None:
        await self._socket.close()
        if self._reader is not None:
            await asyncio.wait([self._reader])

    async def _read(self, link: NodeLink) -> None:
        try:
            while True:
                message = await self._socket.recv()
                if isinstance(message, str):
                    link.feed(message)
        except ConnectionClosed as error:
            frame = error.rcvd
            code = frame.code if frame is not None else CloseCode.LOST
            text = frame.reason if frame is not None else "the connection broke"
            self.reason = CloseReason(code, text, retry=not CloseCode.is_final(code))
        link.lost(self.reason)
