"""Numbers about a client: what its connection and its subscriptions have been through."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ConnectionStatistics", "SubscriptionStatistics"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionStatistics:
    """Counters of a client since it was made.

    Attributes:
        attempts: how often it tried to connect.
        connects: how often it was connected.
        losses: how often a connection ended by itself.
        messages: messages that arrived, on all channels.
        published: messages that the server accepted.
        failed: messages that it did not, tries counted one by one.
        channels: channels with a subscription now.
    """

    attempts: int
    connects: int
    losses: int
    messages: int
    published: int
    failed: int
    channels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionStatistics:
    """Counters of one channel while it has a subscription; shared by all of its listeners.

    Attributes:
        listeners: how many share it.
        messages: messages that arrived.
        acknowledged: how often the server acknowledged it; 1 without an interruption.
        recovered: interruptions after which everything was replayed.
        gaps: times at which something may have been lost.
        denials: refusals.
    """

    listeners: int
    messages: int
    acknowledged: int
    recovered: int
    gaps: int
    denials: int
