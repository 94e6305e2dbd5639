"""What a client shows of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ._connection_events import StatusName
from ._presence import PresenceStatus
from ._subscription import SubscriptionState

__all__ = ["PresenceInfo", "RealtimeState", "SubscriptionInfo"]


@dataclass(frozen=True, slots=True)
class SubscriptionInfo:
    """How one channel is doing.

    Attributes:
        state: ``pending``, ``live`` or ``denied``.
        listeners: how many subscriptions share it.
        reason: why it is denied, or why the last try failed while it is pending.
    """

    state: SubscriptionState
    listeners: int
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class PresenceInfo:
    """How presence on one channel is doing.

    Attributes:
        status: ``pending``, ``live`` or ``denied``.
        others: how many other members there are.
        joined: whether this client is a member, or wants to be.
        reason: why it is denied, or why the last try failed while it is pending.
    """

    status: PresenceStatus
    others: int
    joined: bool
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RealtimeState:
    """An immutable picture of a client.

    Attributes:
        status: ``disconnected``, ``connecting``, ``connected``, or ``reconnecting`` after a connection was lost.
        reason: why it is not connected, for people; None where there is nothing to tell.
        attempt: number of the attempt that is under way or waited for, counted from 1; else 0.
        retry_at: when the next attempt begins, on the event loop's clock (``loop.time()``), or None.
        connection_id: the server's name for the connection, while there is one.
        user_id: who the server says we are, or were last; None if it never said.
        subscriptions: channels by wire string.
        presence: rooms by wire string.
    """

    status: StatusName = "disconnected"
    reason: str | None = None
    attempt: int = 0
    retry_at: float | None = None
    connection_id: str | None = None
    user_id: str | None = None
    subscriptions: Mapping[str, SubscriptionInfo] = field(default_factory=dict[str, SubscriptionInfo])
    presence: Mapping[str, PresenceInfo] = field(default_factory=dict[str, PresenceInfo])
