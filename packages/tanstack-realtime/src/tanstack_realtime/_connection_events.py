"""What the connection machine hears and what it asks for: its events and its actions, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from ._errors import RealtimeError
from ._transport import CloseReason, SubscribeAck

__all__ = [
    "Action",
    "Alive",
    "CancelTimer",
    "Close",
    "CloseLink",
    "Connect",
    "Disconnect",
    "Emit",
    "Event",
    "FailWaiters",
    "Focused",
    "Forget",
    "LinkClosed",
    "LinkDown",
    "Open",
    "OpenFailed",
    "Opened",
    "Probe",
    "ResolveWaiters",
    "Resubscribe",
    "Resumed",
    "Settled",
    "StartTimer",
    "StatusName",
    "Suspended",
    "TimerFired",
    "TimerKind",
    "Wake",
]

StatusName: TypeAlias = Literal["disconnected", "connecting", "connected", "reconnecting"]
"""The public status."""

TimerKind: TypeAlias = Literal["open", "settle", "retry", "stable", "idle", "probe"]
"""The connection's timers; at most one of each runs."""


# -- events ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Connect:
    """The application wants a connection."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """The application wants none."""


@dataclass(frozen=True, slots=True)
class Close:
    """The client ends."""


@dataclass(frozen=True, slots=True)
class Wake:
    """The user or the network came back. `refetch`: data that is shown again should be fresh."""

    refetch: bool


@dataclass(frozen=True, slots=True)
class Opened:
    """An attempt succeeded: authenticated, with a connection id."""

    generation: int
    user_id: str | None


@dataclass(frozen=True, slots=True)
class OpenFailed:
    """An attempt failed; `error.retryable` says whether another makes sense, `error.retry_after` when."""

    generation: int
    error: RealtimeError


@dataclass(frozen=True, slots=True)
class Settled:
    """Every channel has been subscribed again, or refused."""

    generation: int


@dataclass(frozen=True, slots=True)
class LinkClosed:
    """The link ended by itself."""

    generation: int
    reason: CloseReason


@dataclass(frozen=True, slots=True)
class Suspended:
    """The provider's SDK lost its connection and retries by itself."""

    generation: int
    reason: CloseReason


@dataclass(frozen=True, slots=True)
class Resumed:
    """The provider's SDK is connected again; it resubscribed the channels in `acks`."""

    generation: int
    acks: Mapping[str, SubscribeAck] = field(default_factory=dict[str, SubscribeAck])


@dataclass(frozen=True, slots=True)
class Alive:
    """A ping was answered."""

    generation: int


@dataclass(frozen=True, slots=True)
class TimerFired:
    """A timer ran out. `silence`: seconds since something arrived on the link, for the timers idle and probe."""

    kind: TimerKind
    number: int
    silence: float = 0.0


Event: TypeAlias = (
    Connect
    | Disconnect
    | Close
    | Wake
    | Opened
    | OpenFailed
    | Settled
    | LinkClosed
    | Suspended
    | Resumed
    | Alive
    | TimerFired
)


# -- actions ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Open:
    """Begin an attempt, once every older link is gone; answer with `Opened` or `OpenFailed`."""

    generation: int


@dataclass(frozen=True, slots=True)
class CloseLink:
    """End that attempt or link. Nothing that it still says counts."""

    generation: int


@dataclass(frozen=True, slots=True)
class StartTimer:
    """Answer with `TimerFired` after `delay` seconds; replaces a running timer of that kind."""

    kind: TimerKind
    number: int
    delay: float


@dataclass(frozen=True, slots=True)
class CancelTimer:
    """Cancel the running timer of that kind."""

    kind: TimerKind


@dataclass(frozen=True, slots=True)
class Emit:
    """The public status changed. `retry_in`: seconds until the next attempt."""

    status: StatusName
    reason: str | None
    attempt: int
    retry_in: float | None


@dataclass(frozen=True, slots=True)
class ResolveWaiters:
    """Who waits for the connection has it."""


@dataclass(frozen=True, slots=True)
class FailWaiters:
    """Who waits for the connection will not get it. `refused`: somebody must be told, also if nobody waits."""

    error: RealtimeError
    refused: bool


@dataclass(frozen=True, slots=True)
class Forget:
    """Another user is connected: what belonged to the former one goes, before anything else happens."""

    former: str | None
    user_id: str | None


@dataclass(frozen=True, slots=True)
class Resubscribe:
    """Subscribe every channel on that link; answer with `Settled`. `retry_denied`: refused ones too."""

    generation: int
    retry_denied: bool
    acks: Mapping[str, SubscribeAck]


@dataclass(frozen=True, slots=True)
class LinkDown:
    """No channel is live any more."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Ping that link; answer with `Alive`, or with `LinkClosed` if it fails. One ping at a time is enough."""

    generation: int


@dataclass(frozen=True, slots=True)
class Focused:
    """The user is back and the connection is known to be as good as it gets: refetch."""


Action: TypeAlias = (
    Open
    | CloseLink
    | StartTimer
    | CancelTimer
    | Emit
    | ResolveWaiters
    | FailWaiters
    | Forget
    | Resubscribe
    | LinkDown
    | Probe
    | Focused
)
