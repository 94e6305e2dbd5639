"""The preset object that the entry point names: client half, server half, capabilities."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from tanstack_realtime import Capabilities, PresenceCapabilities, RealtimeTransport

from ._settings import ConnectionLimits, HistoryLimits, SessionSettings
from ._slow import SlowReader

if TYPE_CHECKING:
    from tanstack_realtime import ClientContext, EnvVar
    from tanstack_realtime.server import ServerContext, ServerPreset

__all__ = ["NodePreset", "preset"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePreset:
    """Everything in one process. `preset` is the instance with the defaults.

    Pass an own instance to change the bounds: ``Realtime(preset=NodePreset(heartbeat=10), ...)``.

    Attributes:
        history: how much is kept for replay after a reconnect.
        heartbeat: seconds of silence after which the server pings a client.
        timeout: seconds that the client has to answer; then the connection counts as dead.
        restart_spread: seconds over which clients spread their return when the server restarts.
        limits: what clients may use.
        slow_readers: by namespace, what happens to messages that a slow reader has not taken: ``"disconnect"`` (the
            default), `DropOldest` or `LatestPerKey`.
        max_backlog: bytes that may wait for one reader. Above it the connection is closed with code 1013, and the
            client resynchronises.
    """

    history: HistoryLimits = field(default_factory=HistoryLimits)
    heartbeat: float = 25.0
    timeout: float = 10.0
    restart_spread: float = 5.0
    limits: ConnectionLimits = field(default_factory=ConnectionLimits)
    slow_readers: Mapping[str, SlowReader] = field(default_factory=dict[str, SlowReader])
    max_backlog: int = 1_048_576

    @property
    def name(self) -> str:
        """The preset's name in configuration."""
        return "node"

    @property
    def api_version(self) -> int:
        """The version of the preset protocol."""
        return 1

    @property
    def client_env(self) -> Sequence[EnvVar]:
        """Environment variables of the client half: none."""
        return ()

    @property
    def server_env(self) -> Sequence[EnvVar]:
        """Environment variables of the server half: none."""
        return ()

    @property
    def capabilities(self) -> Capabilities:
        """What it guarantees."""
        return Capabilities(
            recovery=True,
            history=self.history.messages,
            ordering=True,
            echo=True,
            publish_over_link=True,
            native_presence=True,
            presence=PresenceCapabilities(
                ghost_timeout=self.heartbeat + self.timeout, max_state_bytes=SessionSettings().max_presence_bytes
            ),
            max_message_bytes=65_536,
            revocation_delay=0.0,
        )

    def create_transport(self, context: ClientContext, /) -> RealtimeTransport:
        """Return the client half: WebSockets, by the `websockets` library or the browser."""
        from ._client import NodeTransport  # a server does not need the client's library

        if sys.platform == "emscripten":
            from ._browser import connect
        else:
            from ._websockets import connect
        return NodeTransport(self.capabilities, context.http, connect)

    def create_server(self, context: ServerContext, /) -> ServerPreset:
        """Return the server half for one `Realtime`."""
        from ._server import NodeServer  # a client does not need starlette

        settings = SessionSettings(
            preset=self.name,
            max_message_bytes=context.max_message_bytes,
            heartbeat=self.heartbeat,
            timeout=self.timeout,
            limits=self.limits,
            restart_spread=self.restart_spread,
        )
        return NodeServer(
            context,
            capabilities=replace(self.capabilities, max_message_bytes=context.max_message_bytes),
            settings=settings,
            history=self.history,
            slow_readers=self.slow_readers,
            max_backlog=self.max_backlog,
        )


preset: Final = NodePreset()
"""The preset with its defaults; what the entry point ``node`` names."""
