"""The reference preset: a provider in memory, over a simulated network, with the capabilities that a test asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from tanstack_realtime._errors import ConnectionLostError
from tanstack_realtime._presence_link import PresenceCapabilities
from tanstack_realtime._presets import PRESET_API
from tanstack_realtime._transport import Capabilities

from ._asgi import MOUNT
from ._hub import PATH, MemoryServer
from ._link import MemoryLink
from ._rooms import MAX_STATE

if TYPE_CHECKING:
    from tanstack_realtime._presets import ClientContext
    from tanstack_realtime._settings import EnvVar
    from tanstack_realtime._transport import Link, LinkSink, OpenRequest, RealtimeTransport
    from tanstack_realtime.server import ServerContext

    from ._asgi import AsgiServer

__all__ = ["MEMORY_CAPABILITIES", "MemoryPreset", "MemoryTransport"]

MEMORY_CAPABILITIES: Final = Capabilities(
    recovery=True,
    history=100,
    ordering=True,
    echo=True,
    publish_over_link=True,
    native_presence=True,
    presence=PresenceCapabilities(ghost_timeout=51.0, max_state_bytes=MAX_STATE),
    max_message_bytes=65_536,
    revocation_delay=0.1,
)
"""What the reference preset guarantees unless it is told otherwise."""


class MemoryTransport:
    """Connects over a simulated network.

    Args:
        server: where to.
        capabilities: what the server guarantees.
        client: name on the network, for faults. Default: the request's token, else its client id.
    """

    def __init__(self, server: Callable[[], AsgiServer], capabilities: Capabilities, client: str | None = None) -> None:
        self._server = server
        self._client = client
        self.capabilities: Final = capabilities

    async def open(self, request: OpenRequest, sink: LinkSink, /) -> Link:
        """Connect, say hello, and wait for the welcome."""
        client = self._client or request.token or request.client_id
        try:
            socket = await self._server().websocket(client, MOUNT + PATH, headers=request.headers)
        except ConnectionRefusedError as error:
            raise ConnectionLostError(f"could not connect: {error}", reason=str(error)) from error
        link = MemoryLink(socket, sink)
        try:
            await link.handshake(request.token, request.client_id)
        except BaseException:
            await link.close()
            raise
        return link


class MemoryPreset:
    """Both halves of a provider in memory.

    Args:
        capabilities: what to guarantee. Without `recovery` messages have no positions and nothing is replayed; without
            `echo` a publisher does not hear itself; `publish_over_link=False` sends collections to the HTTP route. So a
            test can meet each kind of provider.
    """

    def __init__(self, capabilities: Capabilities = MEMORY_CAPABILITIES) -> None:
        self.capabilities: Final = capabilities
        self.server: AsgiServer | None = None
        """Where the application's `Realtime` is served; set it before a client connects."""

    @property
    def name(self) -> str:
        """The preset's name in configuration."""
        return "memory"

    @property
    def api_version(self) -> int:
        """The version of the preset protocol."""
        return PRESET_API

    @property
    def client_env(self) -> Sequence[EnvVar]:
        """Environment variables of the client half: none."""
        return ()

    @property
    def server_env(self) -> Sequence[EnvVar]:
        """Environment variables of the server half: none."""
        return ()

    def create_transport(self, _context: ClientContext, /) -> RealtimeTransport:
        """Return the client half, for a client that is named by its token."""
        return self.transport()

    def transport(self, client: str | None = None) -> MemoryTransport:
        """Return the client half for a client's name on the network."""
        return MemoryTransport(self._address, self.capabilities, client)

    def create_server(self, context: ServerContext, /) -> MemoryServer:
        """Return the server half for one `Realtime`."""
        return MemoryServer(context, self.capabilities)

    def _address(self) -> AsgiServer:
        if self.server is None:
            raise ConnectionLostError("nothing serves this preset; set MemoryPreset.server", reason="not served")
        return self.server
