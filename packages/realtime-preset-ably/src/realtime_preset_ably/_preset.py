"""The preset object that the entry point names: client half, server half, capabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from tanstack_realtime import Capabilities, PresenceCapabilities, RealtimeTransport, read_environment

from ._limits import GHOST_TIMEOUT, HISTORY, MAX_MESSAGE_BYTES, MAX_STATE_BYTES
from ._settings import LONGEST_TTL, SERVER_ENV, ServerSettings
from ._tokens import REQUEST_LIFETIME

if TYPE_CHECKING:
    from tanstack_realtime import ClientContext, EnvVar
    from tanstack_realtime.server import ServerContext, ServerPreset

__all__ = ["AblyPreset", "preset"]


@dataclass(frozen=True, slots=True)
class AblyPreset:
    """Ably in between, or a server that speaks its protocol. `preset` is the instance."""

    @property
    def name(self) -> str:
        """The preset's name in configuration."""
        return "ably"

    @property
    def api_version(self) -> int:
        """The version of the preset protocol."""
        return 1

    @property
    def client_env(self) -> Sequence[EnvVar]:
        """Environment variables of the client half: none. Ably's address comes from the application."""
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
            history=HISTORY,
            ordering=True,
            echo=True,
            publish_over_link=False,
            native_presence=True,
            presence=PresenceCapabilities(ghost_timeout=GHOST_TIMEOUT, max_state_bytes=MAX_STATE_BYTES),
            max_message_bytes=MAX_MESSAGE_BYTES,
            revocation_delay=LONGEST_TTL + REQUEST_LIFETIME,
        )

    def create_transport(self, context: ClientContext, /) -> RealtimeTransport:
        """Return the client half: `ably`'s realtime client."""
        from ._client import AblyTransport  # a server does not need the SDK

        return AblyTransport(self.capabilities, context.http)

    def create_server(self, context: ServerContext, /) -> ServerPreset:
        """Return the server half for one `Realtime`."""
        from ._server import AblyServer  # a client needs no starlette

        settings = ServerSettings.read(read_environment(self.name, self.server_env))
        limit = min(context.max_message_bytes, MAX_MESSAGE_BYTES)
        return AblyServer(context, settings, replace(self.capabilities, max_message_bytes=limit))


preset: Final = AblyPreset()
"""What the entry point ``ably`` names."""
