"""The client's transport over a WebSocket, with the `websockets` library."""

from __future__ import annotations

import asyncio
import ipaddress
from typing import TYPE_CHECKING, Final, Protocol, cast
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from tanstack_realtime import (
    AuthenticationError,
    Capabilities,
    CloseReason,
    ConfigurationError,
    ConnectionLostError,
    Link,
    LinkSink,
    OpenRequest,
    PresetMismatchError,
    RealtimeError,
)
from tanstack_realtime._json import decode_json

from ._frames import CloseCode
from ._link import NodeLink, Wire

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tanstack_realtime import Http

__all__ = ["NodeTransport", "ReadWire", "establish", "request_headers", "socket_url"]

_MAX_FRAME_BYTES: Final = 16 * 1024 * 1024
"""More than a server sends in one message, so that only a broken one is cut off."""

_CLOSE_TIMEOUT: Final = 2.0
"""Seconds to wait for the other side's close frame."""


def socket_url(url: str) -> str:
    """Return the WebSocket address below the base address of the realtime routes.

    Raises:
        ConfigurationError: not an absolute http, https, ws or wss address.
    """
    parts = urlsplit(url)
    schemes = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
    if parts.scheme not in schemes or not parts.netloc:
        raise ConfigurationError(
            f"{url!r} is not the address of a realtime server; pass for example 'https://app.example.com/_realtime'"
        )
    return f"{schemes[parts.scheme]}://{parts.netloc}{parts.path.rstrip('/')}/ws"


def _is_loopback(host: str | None) -> bool:
    if host is None or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class NodeTransport:
    """Opens WebSockets to a node server.

    The token goes into the handshake's `Authorization` header and into the first message, so that middleware in front
    of the server sees it too; never into the URL. Proxies named by the environment are used, except for loopback
    addresses.
    """

    def __init__(self, capabilities: Capabilities, http: Http) -> None:
        self._capabilities = capabilities
        self._http = http

    @property
    def capabilities(self) -> Capabilities:
        """What the preset guarantees."""
        return self._capabilities

    async def open(self, request: OpenRequest, sink: LinkSink, /) -> Link:
        """Connect, say hello, and wait for the welcome."""
        if request.url is None:
            raise ConfigurationError(
                "the node preset needs the server's address: create_realtime_client('http://host/_realtime'). In the "
                "server's own process take realtime.local_transport(user_id=...)"
            )
        url = socket_url(request.url)
        return await establish(
            _SocketWire(await _connect(request.url, url, request_headers(request), self._http)), request, sink
        )


class ReadWire(Wire, Protocol):
    """A wire with a reader of its own."""

    reason: CloseReason | None
    """Why it ended, once it has."""

    def start(self, link: NodeLink, /) -> None:
        """Feed the link until the connection ends, and then tell it."""
        ...


async def establish(wire: ReadWire, request: OpenRequest, sink: LinkSink) -> Link:
    """Say hello on a connection, and wait for the welcome."""
    link = NodeLink(sink, wire, asyncio.get_running_loop(), request.get_token)
    wire.start(link)
    try:
        await link.handshake(request.token, request.client_id)
    except ConnectionLostError as error:
        await link.close()
        raise _refusal(wire.reason) or error from None
    except BaseException:
        await link.close()
        raise
    return link


def request_headers(request: OpenRequest) -> dict[str, str]:
    """Return the headers of the handshake."""
    headers = dict(request.headers)
    if request.token is not None and not any(name.lower() == "authorization" for name in headers):
        headers["Authorization"] = f"Bearer {request.token}"
    return headers


async def _connect(base: str, url: str, headers: Mapping[str, str], http: Http) -> ClientConnection:
    try:
        return await connect(
            url,
            additional_headers=headers,
            compression=None,  # small JSON: costs twice the CPU and memory on the server, saves little
            proxy=None if _is_loopback(urlsplit(url).hostname) else True,
            open_timeout=None,  # the caller sets the deadline
            close_timeout=_CLOSE_TIMEOUT,
            ping_interval=None,  # the protocol has its own, which browsers see too
            max_size=_MAX_FRAME_BYTES,
        )
    except InvalidStatus as error:
        status = error.response.status_code
        # Frameworks answer a WebSocket to a path that they do not have with 403 as well, so that 403 alone says little.
        found = await _configured_preset(base, http) if status in (403, 404) else None
        if found not in (None, "node"):
            raise PresetMismatchError(
                f"the server at {base} runs preset {found!r}, this client 'node'; name the same one on both sides"
            ) from error
        if status == 401 or (status == 403 and found == "node"):
            raise AuthenticationError(f"{url} answered {status}", code=str(status)) from error
        hint = f"; is Realtime mounted at {urlsplit(base).path}?" if status in (403, 404) else ""
        raise ConnectionLostError(f"{url} answered {status} instead of a WebSocket{hint}", code=str(status)) from error
    except InvalidURI as error:
        raise ConfigurationError(f"{url!r} is not a WebSocket address: {error}") from error
    except (OSError, InvalidHandshake, EOFError) as error:
        raise ConnectionLostError(f"could not connect to {url}: {error}", reason=str(error)) from error


async def _configured_preset(base: str, http: Http) -> str | None:
    """Return the preset that the server says it runs, or None if it says nothing."""
    try:
        response = await http("GET", f"{base.rstrip('/')}/config", headers={}, body=None)
        config: object = decode_json(response.body)
    except (ConnectionLostError, ValueError):
        return None
    found = cast("dict[str, object]", config).get("preset") if isinstance(config, dict) else None
    return found if isinstance(found, str) else None


def _refusal(reason: CloseReason | None) -> RealtimeError | None:
    """Return the error for a close code that refuses us for good."""
    if reason is None or not CloseCode.is_final(reason.code):
        return None
    return AuthenticationError(
        f"the server refused the connection: {reason.reason or 'no reason given'} ({reason.code})",
        code="unauthenticated" if reason.code == CloseCode.UNAUTHENTICATED else str(reason.code),
        reason=reason.reason,
    )


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
