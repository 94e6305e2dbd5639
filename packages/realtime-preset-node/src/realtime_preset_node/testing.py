"""The node preset on the simulated network of `tanstack_realtime.testing`.

Its server, its sessions and the client's links are the real ones, down to the frames. Only the web server and TCP are
replaced, so a test runs in virtual time and can cut, stall and restart what it likes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from tanstack_realtime import CloseReason, ConnectionLostError
from tanstack_realtime.testing import AsgiServer, SocketClosedError

from ._client import establish, request_headers
from ._frames import CloseCode
from ._preset import NodePreset

if TYPE_CHECKING:
    from tanstack_realtime import (
        Capabilities,
        ClientContext,
        EnvVar,
        Link,
        LinkSink,
        OpenRequest,
        RealtimeTransport,
    )
    from tanstack_realtime.server import ServerContext, ServerPreset
    from tanstack_realtime.testing import MemorySocket

    from ._link import NodeLink

__all__ = ["SimulatedNode"]

_PATH: Final = "/_realtime/ws"


class SimulatedNode:
    """The node preset for a `RealtimeSandbox`.

    Args:
        preset: the preset with the bounds that are wanted.

    Attributes:
        server: where its server half is reached; set by the sandbox.

    Example:
        >>> async with RealtimeSandbox(preset=SimulatedNode()) as sandbox:
        ...     ann = await sandbox.client("ann")
        ...     sandbox.network.cut("ann")
    """

    def __init__(self, preset: NodePreset | None = None) -> None:
        self._preset = preset or NodePreset()
        self.server: AsgiServer | None = None

    @property
    def name(self) -> str:
        """The preset's name in configuration."""
        return self._preset.name

    @property
    def api_version(self) -> int:
        """The version of the preset protocol."""
        return self._preset.api_version

    @property
    def capabilities(self) -> Capabilities:
        """What it guarantees."""
        return self._preset.capabilities

    @property
    def client_env(self) -> Sequence[EnvVar]:
        """Environment variables of the client half."""
        return self._preset.client_env

    @property
    def server_env(self) -> Sequence[EnvVar]:
        """Environment variables of the server half."""
        return self._preset.server_env

    def create_transport(self, _context: ClientContext, /) -> RealtimeTransport:
        """Return the client half, for a client that is named by its token."""
        return self.transport()

    def create_server(self, context: ServerContext, /) -> ServerPreset:
        """Return the server half."""
        return self._preset.create_server(context)

    def transport(self, client: str | None = None, /) -> RealtimeTransport:
        """Return the client half for a client's name on the network."""
        return _Transport(self._address, self.capabilities, client)

    def _address(self) -> AsgiServer:
        if self.server is None:
            raise ConnectionLostError("nothing serves this preset; set SimulatedNode.server", reason="not served")
        return self.server


class _Transport:
    def __init__(self, server: Callable[[], AsgiServer], capabilities: Capabilities, client: str | None) -> None:
        self._server = server
        self._client = client
        self.capabilities: Final = capabilities

    async def open(self, request: OpenRequest, sink: LinkSink, /) -> Link:
        client = self._client or request.token or request.client_id
        try:
            socket = await self._server().websocket(client, _PATH, headers=request_headers(request))
        except ConnectionRefusedError as error:
            raise ConnectionLostError(f"could not connect: {error}", reason=str(error)) from error
        return await establish(_SimulatedWire(socket), request, sink)


class _SimulatedWire:
    """Moves text over a simulated socket; one task reads."""

    def __init__(self, socket: MemorySocket) -> None:
        self._socket = socket
        self._reader: asyncio.Task[None] | None = None
        self.reason: CloseReason | None = None

    def start(self, link: NodeLink, /) -> None:
        self._reader = asyncio.get_running_loop().create_task(self._read(link))

    async def send(self, text: str, /) -> None:
        try:
            await self._socket.send(text)
        except SocketClosedError as error:
            raise ConnectionLostError(f"the connection is gone: {error}", reason=error.reason) from error

    def send_now(self, text: str, /) -> bool:
        return self._socket.send_now(text)

    def abort(self) -> None:
        self._socket.abort()

    async def close(self) -> None:
        self._socket.close()
        if self._reader is not None:
            await asyncio.wait([self._reader])

    async def _read(self, link: NodeLink) -> None:
        try:
            while True:
                link.feed(await self._socket.recv())
        except SocketClosedError as error:
            self.reason = CloseReason(error.code, error.reason, retry=not CloseCode.is_final(error.code))
        link.lost(self.reason)
