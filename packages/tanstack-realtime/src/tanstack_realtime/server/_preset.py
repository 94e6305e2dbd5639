"""The server half of a preset: what it gets, and the few things that it must do.

The gate stands in front of a preset, never behind it. Whatever enters from outside asks `ServerContext.gate` first;
what reaches `ServerPreset.publish` is already admitted, validated and encoded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from tanstack_realtime._errors import RealtimeError
from tanstack_realtime._keys import Channel

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection
    from starlette.routing import BaseRoute

    from tanstack_realtime._transport import RealtimeTransport

    from ._gate import Gate

__all__ = [
    "LocalServerPreset",
    "MeasuredServerPreset",
    "Publication",
    "ServerContext",
    "ServerObserver",
    "ServerPreset",
]


@dataclass(slots=True)  # one is made per message, and frozen ones take three times as long
class Publication:
    """A message that has passed the gate.

    Attributes:
        channel: where it goes; `channel.raw` is the wire string.
        data: the payload, after the application's `validate`.
        text: `data` as compact JSON, encoded once for everybody.
        user_id: the authenticated publisher, or None for the server itself.
        link: the connection that published over HTTP, by its own word; a preset may send it along, so that this
            connection of `user_id` knows its message again. It proves nothing.
    """

    channel: Channel
    data: Any
    text: str
    user_id: str | None
    link: str | None = None


class ServerObserver:
    """Hears what happens on the server. Every method does nothing; override the ones you want.

    Calls are synchronous and on the event loop. What they raise reaches `on_error` and nothing else.
    """

    def connected(self, connection_id: str, user_id: str) -> None:
        """A client is authenticated."""

    def disconnected(self, connection_id: str, user_id: str, code: int) -> None:
        """A client that was `connected` is gone; `code` is the WebSocket close code."""

    def denied(self, user_id: str | None, channel: str | None, error: RealtimeError) -> None:
        """Somebody was refused: an identity (`user_id` None), a channel, or a message."""

    def published(self, publication: Publication) -> None:
        """A message was handed to the preset."""

    def subscribed(self, connection_id: str, user_id: str, channel: str, recovered: bool | None) -> None:
        """A client was subscribed; `recovered` tells, after an interruption, whether it was replayed what it missed."""

    def dropped(self, user_id: str, channel: str, count: int) -> None:
        """So many messages were not sent to a reader that is too slow, which is told."""

    def presence_joined(self, connection_id: str, user_id: str, channel: str) -> None:
        """A client became a member of a room, where the preset keeps the members itself."""

    def presence_left(self, connection_id: str, user_id: str, channel: str) -> None:
        """A member is none any more. Follows `presence_joined` once, and comes before `disconnected`."""

    def channel_opened(self, channel: str) -> None:
        """A channel has its first subscriber in this process."""

    def channel_emptied(self, channel: str) -> None:
        """A channel lost its last subscriber in this process."""


@dataclass(frozen=True, slots=True)
class ServerContext:
    """What a preset's server half is built with.

    Attributes:
        gate: decides who may do what.
        report: takes a failure that no caller can be told about; it reaches the application's `on_error`.
        observer: the application's observer; its methods never raise.
        max_message_bytes: largest payload, as UTF-8 JSON.
    """

    gate: Gate
    report: Callable[[RealtimeError], None]
    observer: ServerObserver
    max_message_bytes: int


class ServerPreset(Protocol):
    """The server half of a preset."""

    def routes(self) -> Sequence[BaseRoute]:
        """Return the preset's own routes, below the mount."""
        ...

    def public_url(self, connection: HTTPConnection, /) -> str:
        """Return the address that a client connects to, as seen from `connection`."""
        ...

    async def publish(self, publication: Publication, /) -> None:
        """Deliver an admitted message.

        Raises:
            PublishError: it was not delivered; `retryable` tells whether trying again can help.
        """
        ...

    async def revoke(self, user_id: str, channel: Channel | None, /) -> None:
        """End a user's access to a channel, or with None to everything, within `Capabilities.revocation_delay`.

        Where a decision of the gate is under way for the user, it must be asked again before it is acted on.

        Raises:
            PublishError: the provider could not be told; `retryable` tells whether trying again can help.
        """
        ...

    async def startup(self) -> None:
        """Learn that clients are served from this process and loop. Called before every request, so cheap."""
        ...

    async def aclose(self) -> None:
        """End every connection and release everything. Idempotent."""
        ...


@runtime_checkable
class LocalServerPreset(Protocol):
    """A preset whose clients may live in the server's own process."""

    def local_transport(self, *, user_id: str) -> RealtimeTransport:
        """Return a transport without sockets for a user whom the caller has authenticated."""
        ...


@runtime_checkable
class MeasuredServerPreset(Protocol):
    """A preset that has numbers of its own to tell."""

    def measure(self) -> Mapping[str, int]:
        """Return them by name, as they are now."""
        ...
