"""Bounds and times of the server half, as plain values."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["HistoryLimits", "SessionSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryLimits:
    """How much is kept for replay.

    Attributes:
        messages: per channel.
        size: bytes per channel.
        age: seconds that a message is kept, and a channel after its last subscriber left.
        idle_channels: channels without a subscriber; the one that is longest without is dropped first.
    """

    messages: int = 256
    size: int = 262_144
    age: float = 300.0
    idle_channels: int = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSettings:
    """Times and bounds of a connection.

    Attributes:
        preset: name of the preset, for the welcome.
        max_message_bytes: largest payload, as UTF-8 JSON.
        hello_timeout: seconds for the first frame.
        heartbeat: seconds without a frame from the client after which the server pings.
        timeout: seconds that the client has to answer; then the connection counts as dead.
        inbox: frames that may wait for their turn.
        inbox_size: bytes of them.
        recheck: seconds after which an expired grant is asked for again when `authorize` failed, ten times at most, and
            after which a client that did not send a new token is asked for it again.
        refresh: seconds before an identity expires at which the client is asked for a new token; half of its lifetime
            where that is less.
    """

    preset: str = "node"
    max_message_bytes: int = 65_536
    hello_timeout: float = 10.0
    heartbeat: float = 25.0
    timeout: float = 10.0
    inbox: int = 256
    inbox_size: int = 1_048_576
    recheck: float = 5.0
    refresh: float = 30.0
