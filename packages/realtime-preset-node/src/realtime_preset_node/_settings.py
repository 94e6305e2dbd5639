"""Bounds and times of the server half, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

__all__ = ["MESSAGE_BYTES", "ConnectionLimits", "HistoryLimits", "SessionSettings"]

MESSAGE_BYTES: Final = 256
"""What a kept message takes in memory besides its payload, roughly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryLimits:
    """How much is kept for replay.

    A message counts with its payload in bytes and 256 more, which is what it takes in memory besides.

    Attributes:
        messages: per channel.
        size: bytes per channel.
        total_size: bytes over all channels. Where they are used up, channels without a subscriber are dropped first,
            and then less is kept of the one that gets a message.
        age: seconds that a message is kept, and a channel after its last subscriber left.
        idle_channels: channels without a subscriber; the one that is longest without is dropped first.
    """

    messages: int = 256
    size: int = 262_144
    total_size: int = 268_435_456
    age: float = 300.0
    idle_channels: int = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """What clients may use. The size of a message is ``Realtime(max_message_bytes=...)``.

    Attributes:
        connections: of all clients; the next one is closed with 4503 and comes back later.
        connections_per_user: of one user, anonymous ones excepted; the next one is closed with 4503.
        subscriptions: of one connection; the next one is refused (``too_many_subscriptions``).
        rate: requests per second of one connection, in the long run. ``math.inf`` for no limit.
        burst: requests that may come at once after a pause. What exceeds it is refused (``rate_limited``) with the
            seconds to wait; a client that does not wait is closed with 4529 after as many again.

    Raises:
        ValueError: a limit is not positive.
    """

    connections: int = 10_000
    connections_per_user: int = 100
    subscriptions: int = 1_000
    rate: float = 200.0
    burst: int = 2_000

    def __post_init__(self) -> None:
        for name in ("connections", "connections_per_user", "subscriptions", "rate", "burst"):
            value: float = getattr(self, name)
            if not value > 0:
                raise ValueError(f"ConnectionLimits({name}={value!r}): pass a positive number")


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSettings:
    """Times and bounds of a connection.

    Attributes:
        preset: name of the preset, for the welcome.
        max_message_bytes: largest payload, as UTF-8 JSON.
        max_presence_bytes: largest state of a member, likewise.
        hello_timeout: seconds for the first frame.
        heartbeat: seconds without a frame from the client after which the server pings.
        timeout: seconds that the client has to answer; then the connection counts as dead.
        inbox: frames that may wait for their turn.
        inbox_size: bytes of them.
        recheck: seconds after which an expired grant is asked for again when `authorize` failed, ten times at most, and
            after which a client that did not send a new token is asked for it again.
        refresh: seconds before an identity expires at which the client is asked for a new token; half of its lifetime
            where that is less.
        limits: what the client may use.
        restart_spread: seconds over which clients spread their return when the server restarts.
    """

    preset: str = "node"
    max_message_bytes: int = 65_536
    max_presence_bytes: int = 4096
    hello_timeout: float = 10.0
    heartbeat: float = 25.0
    timeout: float = 10.0
    inbox: int = 256
    inbox_size: int = 1_048_576
    recheck: float = 5.0
    refresh: float = 30.0
    limits: ConnectionLimits = field(default_factory=ConnectionLimits)
    restart_spread: float = 5.0
