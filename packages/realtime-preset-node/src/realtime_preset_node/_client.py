"""The client's transport over a WebSocket, whoever provides that: ``_websockets``, or ``_browser``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, cast
from urllib.parse import urlsplit

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
    from tanstack_realtime import Http

__all__ = [
    "CLOSE_TIMEOUT",
    "Connect",
    "NodeTransport",
    "ReadWire",
    "configured_preset",
    "establish",
    "request_headers",
    "require_node",
    "socket_url",
]

CLOSE_TIMEOUT: Final = 2.0
"""Seconds to wait for the other side's close frame."""

_MAX_HEADER_TOKEN: Final = 8000
"""The longest token in the handshake: many servers take headers up to 8 KiB, and uvicorn never answers others."""


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


class NodeTransport:
    """Opens WebSockets to a node server.

    The token goes into the first message and, outside a browser, into the handshake's `Authorization` header, so that
    middleware in front of the server sees it too; never into the URL. Proxies named by the environment are used, except
    for loopback addresses.

    Args:
        capabilities: what the preset guarantees.
        http: sends HTTP requests.
        connect: opens a WebSocket.
    """

    def __init__(self, capabilities: Capabilities, http: Http, connect: Connect) -> None:
        self._capabilities = capabilities
        self._http = http
        self._connect = connect

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
        return await establish(await self._connect(request.url, request, self._http), request, sink)


class ReadWire(Wire, Protocol):
    """A wire with a reader of its own."""

    reason: CloseReason | None
    """Why it ended, once it has."""

    def start(self, link: NodeLink, /) -> None:
        """Feed the link until the connection ends, and then tell it."""
        ...


Connect: TypeAlias = "Callable[[str, OpenRequest, Http], Awaitable[ReadWire]]"
"""Opens a WebSocket below the base address of the realtime routes, and raises as `RealtimeTransport.open` does."""


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
    """Return the headers of the handshake. A token that is too long for one is in the first message only."""
    headers = dict(request.headers)
    token = request.token
    if token is None or len(token) > _MAX_HEADER_TOKEN or any(name.lower() == "authorization" for name in headers):
        return headers
    return {**headers, "Authorization": f"Bearer {token}"}


async def configured_preset(base: str, http: Http) -> str | None:
    """Return the preset that the server says it runs, or None if it says nothing."""
    try:
        response = await http("GET", f"{base.rstrip('/')}/config", headers={}, body=None)
        config: object = decode_json(response.body)
    except (ConnectionLostError, ValueError):
        return None
    found = cast("dict[str, object]", config).get("preset") if isinstance(config, dict) else None
    return found if isinstance(found, str) else None


def require_node(base: str, found: str | None) -> None:
    """Raise `PresetMismatchError` where the server says that it runs another preset."""
    if found not in (None, "node"):
        raise PresetMismatchError(
            f"the server at {base} runs preset {found!r}, this client 'node'; name the same one on both sides"
        )


def _refusal(reason: CloseReason | None) -> RealtimeError | None:
    """Return the error for a close code that refuses us for good."""
    if reason is None or not CloseCode.is_final(reason.code):
        return None
    return AuthenticationError(
        f"the server refused the connection: {reason.reason or 'no reason given'} ({reason.code})",
        code="unauthenticated" if reason.code == CloseCode.UNAUTHENTICATED else str(reason.code),
        reason=reason.reason,
    )
