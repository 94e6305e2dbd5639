"""The preset object that the entry point names: client half, server half, capabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from tanstack_realtime import Capabilities, PresenceCapabilities, RealtimeTransport, read_environment

from ._config import GHOST_TIMEOUT, HISTORY_SIZE, MAX_MESSAGE_BYTES
from ._settings import MAX_STATE_BYTES, RECONCILE_INTERVAL, RECONCILE_SPREAD, SERVER_ENV, ServerSettings

if TYPE_CHECKING:
    from tanstack_realtime import ClientContext, EnvVar
    from tanstack_realtime.server import ServerContext, ServerPreset

__all__ = ["CentrifugoPreset", "preset"]


@dataclass(frozen=True, slots=True)
class CentrifugoPreset:
    """Centrifugo v6 in between, configured by ``tanstack-realtime centrifugo config``. `preset` is the instance."""

    @property
    def name(self) -> str:
        """The preset's name in configuration."""
        return "centrifugo"

    @property
    def api_version(self) -> int:
        """The version of the preset protocol."""
        return 1

    @property
    def client_env(self) -> Sequence[EnvVar]:
        """Environment variables of the client half: none. Centrifugo's address comes from the application."""
        return ()

    @property
    def server_env(self) -> Sequence[EnvVar]:
        """Environment variables of the server half."""
        return SERVER_ENV

    @property
    def capabilities(self) -> Capabilities:
        """What it guarantees."""
        return Capabilities(
            recovery=True,
            history=HISTORY_SIZE,
            ordering=True,
            echo=True,
            publish_over_link=False,
            native_presence=False,
            presence=PresenceCapabilities(
                ghost_timeout=GHOST_TIMEOUT + RECONCILE_INTERVAL + RECONCILE_SPREAD, max_state_bytes=MAX_STATE_BYTES
            ),
            max_message_bytes=MAX_MESSAGE_BYTES,
            revocation_delay=15.0,
        )

    def create_transport(self, context: ClientContext, /) -> RealtimeTransport:
        """Return the client half: `centrifuge-python`, with JSON."""
        from ._client import CentrifugoTransport, require_application  # a server does not need the SDK

        if context.url is not None:
            require_application(context.url)
        return CentrifugoTransport(self.capabilities, context.http)

    def create_server(self, context: ServerContext, /) -> ServerPreset:
        """Return the server half for one `Realtime`."""
        from ._server import CentrifugoServer  # a client needs neither starlette nor cent

        settings = ServerSettings.read(read_environment(self.name, self.server_env))
        capabilities = replace(self.capabilities, max_message_bytes=context.max_message_bytes)
        return CentrifugoServer(context, settings, capabilities)


preset: Final = CentrifugoPreset()
"""What the entry point ``centrifugo`` names."""
