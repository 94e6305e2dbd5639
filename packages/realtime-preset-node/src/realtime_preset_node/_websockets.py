"""Sockets of the `websockets` library, for everywhere but a browser."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_socket
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.frames import CloseCode as StandardCode
from websockets.frames import Frame, Opcode
from websockets.protocol import State

from tanstack_realtime import AuthenticationError, CloseReason, ConfigurationError, ConnectionLostError, OpenRequest
from tanstack_realtime._http import is_loopback

from ._client import CLOSE_TIMEOUT, ReadWire, configured_preset, request_headers, require_node, socket_url
from ._frames import CloseCode
from ._link import NodeLink

if TYPE_CHECKING:
    from collections.abc import Callable

    from websockets.protocol import Event

    from tanstack_realtime import Http

__all__ = ["Socket", "connect"]

_MAX_FRAME_BYTES: Final = 16 * 1024 * 1024
"""More than a server sends in one message, so that only a broken one is cut off."""


async def connect(base: str, request: OpenRequest, http: Http) -> ReadWire:
    """Open a WebSocket; see `Connect`."""
    url = socket_url(base)
    try:
        socket = await open_socket(
            url,
            create_connection=Socket,
            additional_headers=request_headers(request),
            compression=None,  # small JSON: costs twice the CPU and memory on the server, saves little
            proxy=None if is_loopback(url) else True,
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
    assert isinstance(socket, Socket), "that is what makes it"
    return _SocketWire(socket)


class Socket(ClientConnection):
    """A connection that hands text over in the moment in which it arrives, where `recv` takes a task and a queue.

    Attributes:
        receive: takes each message from now on.
    """

    receive: Callable[[str], None] | None = None
    _parts: list[bytes | bytearray | memoryview] | None = None
    """What has come of a text message in several frames."""

    def process_event(self, event: Event) -> None:
        """Take a frame. Binary messages are not part of the protocol, and are dropped."""
        if self.receive is None or not isinstance(event, Frame):
            super().process_event(event)
        elif event.opcode is Opcode.TEXT and event.fin:
            self._hand_over(self.receive, event.data)
        elif event.opcode is Opcode.TEXT:
            self._parts = [event.data]
        elif event.opcode is Opcode.CONT and self._parts is not None:
            self._parts.append(event.data)
            if event.fin:
                parts, self._parts = self._parts, None
                self._hand_over(self.receive, b"".join(parts))

    def _hand_over(self, receive: Callable[[str], None], message: bytes | bytearray | memoryview) -> None:
        try:
            text = str(message, "utf-8")
        except UnicodeDecodeError as error:
            self.protocol.fail(StandardCode.INVALID_DATA, f"{error.reason} at position {error.start}")
            self.send_data()
        else:
            receive(text)

    def send_now(self, text: str, /) -> bool:
        """Write a message, unless others wait before it."""
        if self.protocol.state is not State.OPEN or self.transport.get_write_buffer_size():
            return False
        self.protocol.send_text(text.encode())
        try:
            self.send_data()
        except OSError:
            return False
        return True


class _SocketWire:
    """Moves text over a WebSocket; one task waits for its end."""

    def __init__(self, socket: Socket) -> None:
        self._socket = socket
        self._watch: asyncio.Task[None] | None = None
        self.reason: CloseReason | None = None
        self.send_now: Final = socket.send_now

    def start(self, link: NodeLink) -> None:
        self._socket.receive = link.feed
        self._watch = asyncio.get_running_loop().create_task(self._watch_end(link))

    async def send(self, text: str, /) -> None:
        try:
            await self._socket.send(text)
        except ConnectionClosed as error:
            raise ConnectionLostError(f"the connection is gone: {error}", reason=str(error)) from error

    def abort(self) -> None:
        self._socket.transport.abort()

    async def close(self) -> None:
        await self._socket.close()
        if self._watch is not None:
            await asyncio.wait([self._watch])

    async def _watch_end(self, link: NodeLink) -> None:
        await self._socket.wait_closed()
        code, text = self._socket.close_code or CloseCode.LOST, self._socket.close_reason or ""
        if code == CloseCode.LOST:
            text = "the connection broke"
        self.reason = CloseReason(code, text, retry=not CloseCode.is_final(code))
        link.lost(self.reason)
