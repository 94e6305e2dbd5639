"""Numbers about a server, counted where its observer is told, so the same on every preset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tanstack_realtime._errors import RealtimeError

from ._preset import ServerObserver

if TYPE_CHECKING:
    from ._preset import Publication

__all__ = ["CountingObserver", "ServerStatistics"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatistics:
    """Numbers of one `Realtime` in this process. What a preset's provider does by itself is not in them.

    Attributes:
        connections: clients that are connected now.
        connects: clients that were connected, since the start.
        channels: channels with a subscriber now.
        subscribed: subscriptions that were granted, since the start.
        recovered: of those, the ones that were replayed what they had missed.
        published: messages that were handed to the preset.
        denied: refusals: of identities, channels and messages.
        dropped: messages that slow readers did not get.
        members: members of rooms now, where the preset keeps them itself.
        preset: what the preset measures by itself, by name; see its documentation.
    """

    connections: int = 0
    connects: int = 0
    channels: int = 0
    subscribed: int = 0
    recovered: int = 0
    published: int = 0
    denied: int = 0
    dropped: int = 0
    members: int = 0
    preset: Mapping[str, int] = field(default_factory=dict[str, int])


class CountingObserver(ServerObserver):
    """Counts, and passes every call on.

    Args:
        inner: who else hears it.
    """

    def __init__(self, inner: ServerObserver) -> None:
        self._inner = inner
        self._connects = self._disconnects = self._opened = self._emptied = 0
        self._joined = self._left = 0
        self._subscribed = self._recovered = self._published = self._denied = self._dropped = 0

    def statistics(self, measured: Mapping[str, int]) -> ServerStatistics:
        """Return what was counted, beside what the preset measured."""
        return ServerStatistics(
            connections=self._connects - self._disconnects,
            connects=self._connects,
            channels=self._opened - self._emptied,
            subscribed=self._subscribed,
            recovered=self._recovered,
            published=self._published,
            denied=self._denied,
            dropped=self._dropped,
            members=self._joined - self._left,
            preset=measured,
        )

    def connected(self, connection_id: str, user_id: str) -> None:
        self._connects += 1
        self._inner.connected(connection_id, user_id)

    def disconnected(self, connection_id: str, user_id: str, code: int) -> None:
        self._disconnects += 1
        self._inner.disconnected(connection_id, user_id, code)

    def denied(self, user_id: str | None, channel: str | None, error: RealtimeError) -> None:
        self._denied += 1
        self._inner.denied(user_id, channel, error)

    def published(self, publication: Publication) -> None:
        self._published += 1
        self._inner.published(publication)

    def subscribed(self, connection_id: str, user_id: str, channel: str, recovered: bool | None) -> None:
        self._subscribed += 1
        self._recovered += recovered is True
        self._inner.subscribed(connection_id, user_id, channel, recovered)

    def dropped(self, user_id: str, channel: str, count: int) -> None:
        self._dropped += count
        self._inner.dropped(user_id, channel, count)

    def presence_joined(self, connection_id: str, user_id: str, channel: str) -> None:
        self._joined += 1
        self._inner.presence_joined(connection_id, user_id, channel)

    def presence_left(self, connection_id: str, user_id: str, channel: str) -> None:
        self._left += 1
        self._inner.presence_left(connection_id, user_id, channel)

    def channel_opened(self, channel: str) -> None:
        self._opened += 1
        self._inner.channel_opened(channel)

    def channel_emptied(self, channel: str) -> None:
        self._emptied += 1
        self._inner.channel_emptied(channel)
