"""The connection's life as a pure machine: events in, actions out, no I/O and no clock.

::

               connect           opened            settled
        IDLE ──────────> OPENING ──────> SETTLING ─────────> CONNECTED
         ^                ^   │ failed      │  ^               │   │ suspended
         │ disconnect     │   v             │  └── SUSPENDED <─┘   │ (the provider's SDK retries)
         │ from anywhere  └─ WAITING <──────┴──────── lost ────────┘
         │               retry timer, connect, wake
        REFUSED  what cannot succeed by trying again: from OPENING, SETTLING, CONNECTED, SUSPENDED

Every attempt has a *generation*, a number that its events carry; what an older one still has to say is ignored. So
however events interleave there is at most one generation that counts, and each one that was opened is closed once.

SETTLING is not yet "connected": first every channel has been subscribed again, refused, or has run out of time. The
attempt counter restarts only after a connection has been good for a while, so one that opens and dies at once backs off
like one that does not open.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from ._backoff import backoff
from ._connection_events import (
    Action,
    Alive,
    CancelTimer,
    Close,
    CloseLink,
    Connect,
    Disconnect,
    Emit,
    Event,
    FailWaiters,
    Focused,
    Forget,
    LinkClosed,
    LinkDown,
    Open,
    Opened,
    OpenFailed,
    Probe,
    ResolveWaiters,
    Resubscribe,
    Resumed,
    Settled,
    StartTimer,
    StatusName,
    Suspended,
    TimerFired,
    TimerKind,
    Wake,
)
from ._errors import AuthenticationError, ClosedError, ConnectionLostError, NotConnectedError, RealtimeError
from ._transport import SubscribeAck

__all__ = ["ConnectionMachine", "Phase", "Timing"]


class Phase(enum.Enum):
    """Where the machine is. The public status is coarser."""

    IDLE = enum.auto()
    OPENING = enum.auto()
    SETTLING = enum.auto()
    CONNECTED = enum.auto()
    SUSPENDED = enum.auto()
    WAITING = enum.auto()
    REFUSED = enum.auto()
    CLOSED = enum.auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """The machine's times, in seconds.

    Attributes:
        first_delay: before the first retry; doubles from try to try.
        max_delay: longest delay that we choose ourselves, jitter included. A server may ask for more.
        jitter: a delay is spread by this fraction, up and down.
        open_within: deadline of one attempt, `get_token` included.
        settle_within: how long resubscribing may hold up "connected".
        stable_after: a connection that lasted so long makes the next one start with `first_delay` again.
        ping_after: ping when nothing arrived for so long.
        ping_within: deadline of the answer. `ping_after` and this bound how long a dead connection stays unnoticed.
        wake_ping_within: deadline of the answer when the user has just come back and waits.
    """

    first_delay: float = 1.0
    max_delay: float = 30.0
    jitter: float = 0.25
    open_within: float = 20.0
    settle_within: float = 10.0
    stable_after: float = 10.0
    ping_after: float = 20.0
    ping_within: float = 10.0
    wake_ping_within: float = 4.0


_LONGEST_SERVER_DELAY: Final = 3600.0

_RESOLUTION: Final = 0.001
"""Seconds. A shorter rest is none: added to the clock it may not move it, and the timer would fire for ever."""

_AUTHENTICATION: Final = frozenset({3000, 3003, 4401, 4403})
"""Close codes that mean 401 and 403: the registered ones, and the usual private ones."""


class ConnectionMachine:
    """See the module docstring.

    Args:
        random: a float in [0, 1); injected, so that a seed replays.
        timing: the times.

    Attributes:
        phase: where the machine is.
        generation: number of the latest attempt.
        user_id: who the last connection belonged to.
    """

    def __init__(self, *, random: Callable[[], float], timing: Timing | None = None) -> None:
        self.phase = Phase.IDLE
        self.generation = 0
        self.user_id: str | None = None
        self._random = random
        self._timing = timing or Timing()
        self._known_user = False
        self._link_over = False
        """Whether the attempt has ended by itself."""
        self._was_connected = False
        """Whether the application has seen "connected" since it asked for it: a retry is then a reconnect."""
        self._retry_denied = False
        self._refetch_due = False
        self._server_delay = False
        self._probe_within = 0.0
        self._attempt = 0
        self._failures = 0
        self._timers: dict[TimerKind, int] = {}
        self._timer_number = 0
        self._refusal: RealtimeError | None = None
        self._shown = Emit("disconnected", None, 0, None)

    @property
    def refusal(self) -> RealtimeError | None:
        """Why there is no connection and none is attempted, if the server refused it."""
        return self._refusal

    def handle(self, event: Event) -> list[Action]:
        """Take one event and return the actions to carry out, in order."""
        generation = getattr(event, "generation", None)
        if generation is not None and generation != self.generation:
            return []
        if isinstance(event, TimerFired):
            if self._timers.get(event.kind) != event.number:
                return []
            del self._timers[event.kind]
        key = event.kind if isinstance(event, TimerFired) else type(event)
        handler = _TABLE.get((self.phase, key))
        return handler(self, event) if handler is not None else []

    # -- the application -----------------------------------------------------------------------------------------------

    def _connect(self, _: Event) -> list[Action]:
        self._refusal = None
        self._was_connected = False
        self._retry_denied = True
        self._attempt = 1
        self._failures = 0
        return self._open()

    def _disconnect(self, _: Event) -> list[Action]:
        error = NotConnectedError("disconnect() was called; call connect() to come back", reason="disconnected")
        return self._end(Phase.IDLE, error)

    def _close(self, _: Event) -> list[Action]:
        return self._end(Phase.CLOSED, ClosedError("the client is closed; create a new one"))

    def _end(self, phase: Phase, error: RealtimeError) -> list[Action]:
        actions = self._leave_link()
        self._go(phase)
        self._refusal = None
        self._refetch_due = False
        return [*actions, *self._emit("disconnected", None), FailWaiters(error, refused=False)]

    def _wake_offline(self, event: Wake) -> list[Action]:
        return [Focused()] if event.refetch else []

    def _wake_later(self, event: Wake) -> list[Action]:
        self._refetch_due |= event.refetch
        return []

    def _wake_waiting(self, event: Wake) -> list[Action]:
        self._refetch_due |= event.refetch
        # A server that named a time means it; a delay of our own only guesses when trying makes sense.
        return [] if self._server_delay else self._open()

    def _wake_up(self, event: Wake) -> list[Action]:
        self._refetch_due |= event.refetch
        return [*self._cancel("idle"), *self._probe(self._timing.wake_ping_within)]

    # -- attempts ------------------------------------------------------------------------------------------------------

    def _open(self, _: Event | None = None) -> list[Action]:
        actions = self._cancel("retry")
        reason = self._shown.reason if self.phase is Phase.WAITING else None
        self._go(Phase.OPENING)
        self.generation += 1
        self._link_over = False
        return [
            *actions,
            *self._emit(self._trying(), reason),
            *self._start("open", self._timing.open_within),
            Open(self.generation),
        ]

    def _opened(self, event: Opened) -> list[Action]:
        actions: list[Action] = self._cancel("open")
        self._go(Phase.SETTLING)
        if self._known_user and event.user_id != self.user_id:
            actions.append(Forget(self.user_id, event.user_id))
            self._retry_denied = True
        self._known_user, self.user_id = True, event.user_id
        return [*actions, *self._start("idle", self._timing.ping_after), *self._resubscribe({})]

    def _open_failed(self, event: OpenFailed) -> list[Action]:
        self._link_over = True
        if not event.error.retryable:
            return self._refuse(event.error)
        return self._wait(event.error.reason, event.error.retry_after)

    def _open_timed_out(self, _: Event) -> list[Action]:
        return self._wait(f"no connection within {self._timing.open_within:g} s", None)

    def _resubscribe(self, acks: Mapping[str, SubscribeAck]) -> list[Action]:
        retry_denied, self._retry_denied = self._retry_denied, False
        return [
            *self._start("settle", self._timing.settle_within),
            Resubscribe(self.generation, retry_denied, acks),
        ]

    def _settled(self, _: Event) -> list[Action]:
        actions = self._cancel("settle")
        self._go(Phase.CONNECTED)
        self._was_connected = True
        actions += [*self._start("stable", self._timing.stable_after), *self._emit("connected", None), ResolveWaiters()]
        return [*actions, *(self._focused() if "probe" not in self._timers else ())]

    def _stable(self, _: Event) -> list[Action]:
        self._attempt = self._failures = 0
        return []

    # -- the end of a link ---------------------------------------------------------------------------------------------

    def _lost(self, event: LinkClosed) -> list[Action]:
        reason = event.reason
        if reason.retry:
            return self._wait(reason.reason, reason.retry_after)
        why = reason.reason or "no reason given"
        text = f"the server ended the connection for good: {why} (code {reason.code}); "
        if reason.code in _AUTHENTICATION:
            return self._refuse(
                AuthenticationError(f"{text}sign in again and call connect()", code=str(reason.code), reason=why)
            )
        advice = "call connect() once the cause is mended"
        return self._refuse(ConnectionLostError(f"{text}{advice}", code=str(reason.code), reason=why, retryable=False))

    def _wait(self, reason: str, retry_after: float | None) -> list[Action]:
        actions = self._leave_link()
        self._go(Phase.WAITING)
        delay = self._delay(retry_after)
        self._attempt += 1
        self._failures += 1
        return [
            *actions,
            *self._start("retry", delay),
            *self._emit(self._trying(), reason or "the connection was lost", retry_in=delay),
        ]

    def _refuse(self, error: RealtimeError) -> list[Action]:
        actions = self._leave_link()
        self._go(Phase.REFUSED)
        self._refusal = error
        self._refetch_due = False
        return [*actions, *self._emit("disconnected", error.reason), FailWaiters(error, refused=True)]

    def _leave_link(self) -> list[Action]:
        actions: list[Action] = [CancelTimer(kind) for kind in sorted(self._timers)]
        self._timers.clear()
        if self.phase in _UP:
            actions.append(LinkDown())
        if self.phase in _HAS_LINK and not self._link_over:
            actions.append(CloseLink(self.generation))
        return actions

    def _delay(self, retry_after: float | None) -> float:
        timing = self._timing
        delay = backoff(
            self._failures, self._random, first=timing.first_delay, longest=timing.max_delay, jitter=timing.jitter
        )
        self._server_delay = retry_after is not None and retry_after > delay
        if retry_after is not None and self._server_delay:
            # Later than asked, never earlier, and not everybody at once.
            delay = min(retry_after, _LONGEST_SERVER_DELAY) * (1.0 + timing.jitter * self._random())
        return delay

    # -- retries by the provider ---------------------------------------------------------------------------------------

    def _suspended(self, event: Suspended) -> list[Action]:
        actions: list[Action] = [CancelTimer(kind) for kind in sorted(self._timers)]
        self._timers.clear()
        self._go(Phase.SUSPENDED)
        self._attempt += 1
        return [*actions, LinkDown(), *self._emit(self._trying(), event.reason.reason or "the connection was lost")]

    def _resumed(self, event: Resumed) -> list[Action]:
        self._go(Phase.SETTLING)
        return [*self._start("idle", self._timing.ping_after), *self._resubscribe(event.acks)]

    # -- liveness ------------------------------------------------------------------------------------------------------

    def _idle(self, event: TimerFired) -> list[Action]:
        rest = self._timing.ping_after - event.silence
        return self._start("idle", rest) if rest > _RESOLUTION else self._probe(self._timing.ping_within)

    def _probe(self, deadline: float) -> list[Action]:
        self._probe_within = deadline
        return [*self._start("probe", deadline), Probe(self.generation)]

    def _alive(self, _: Event) -> list[Action]:
        actions: list[Action] = [*self._cancel("probe"), *self._start("idle", self._timing.ping_after)]
        return [*actions, *(self._focused() if self.phase is Phase.CONNECTED else ())]

    def _probe_timed_out(self, event: TimerFired) -> list[Action]:
        if event.silence < self._probe_within:
            return self._alive(event)  # the answer is late, but something else came: the link lives
        return self._wait(f"nothing arrived for {event.silence:g} s", None)

    def _focused(self) -> list[Action]:
        due, self._refetch_due = self._refetch_due, False
        return [Focused()] if due else []

    # -- helpers -------------------------------------------------------------------------------------------------------

    def _go(self, phase: Phase) -> None:
        assert phase in _LEGAL[self.phase], f"{self.phase} -> {phase}"
        self.phase = phase

    def _trying(self) -> StatusName:
        return "reconnecting" if self._was_connected else "connecting"

    def _emit(self, status: StatusName, reason: str | None, *, retry_in: float | None = None) -> list[Action]:
        attempt = self._attempt if status in ("connecting", "reconnecting") else 0
        shown = Emit(status, reason, attempt, retry_in)
        if shown == self._shown:
            return []
        self._shown = shown
        return [shown]

    def _start(self, kind: TimerKind, delay: float) -> list[Action]:
        self._timer_number += 1
        self._timers[kind] = self._timer_number
        return [StartTimer(kind, self._timer_number, delay)]

    def _cancel(self, kind: TimerKind) -> list[Action]:
        return [CancelTimer(kind)] if self._timers.pop(kind, None) is not None else []


_UP: Final = frozenset({Phase.SETTLING, Phase.CONNECTED})
_HAS_LINK: Final = frozenset({Phase.OPENING, Phase.SETTLING, Phase.CONNECTED, Phase.SUSPENDED})

_LEGAL: Final[Mapping[Phase, frozenset[Phase]]] = {
    Phase.IDLE: frozenset({Phase.OPENING, Phase.CLOSED}),
    Phase.OPENING: frozenset({Phase.SETTLING, Phase.WAITING, Phase.REFUSED, Phase.IDLE, Phase.CLOSED}),
    Phase.SETTLING: frozenset(
        {Phase.CONNECTED, Phase.SUSPENDED, Phase.WAITING, Phase.REFUSED, Phase.IDLE, Phase.CLOSED}
    ),
    Phase.CONNECTED: frozenset({Phase.SUSPENDED, Phase.WAITING, Phase.REFUSED, Phase.IDLE, Phase.CLOSED}),
    Phase.SUSPENDED: frozenset({Phase.SETTLING, Phase.WAITING, Phase.REFUSED, Phase.IDLE, Phase.CLOSED}),
    Phase.WAITING: frozenset({Phase.OPENING, Phase.IDLE, Phase.CLOSED}),
    Phase.REFUSED: frozenset({Phase.OPENING, Phase.IDLE, Phase.CLOSED}),
    Phase.CLOSED: frozenset(),
}

_M: TypeAlias = ConnectionMachine
_Handler: TypeAlias = Callable[[ConnectionMachine, Any], list[Action]]
_Key: TypeAlias = type[Event] | TimerKind

# What is not in the table is ignored: it has come too late, or says nothing new.
_TABLE: Final[Mapping[tuple[Phase, _Key], _Handler]] = {
    (Phase.IDLE, Connect): _M._connect,
    (Phase.IDLE, Wake): _M._wake_offline,
    (Phase.IDLE, Close): _M._close,
    #
    (Phase.OPENING, Opened): _M._opened,
    (Phase.OPENING, OpenFailed): _M._open_failed,
    (Phase.OPENING, "open"): _M._open_timed_out,
    (Phase.OPENING, Wake): _M._wake_later,
    (Phase.OPENING, Disconnect): _M._disconnect,
    (Phase.OPENING, Close): _M._close,
    #
    (Phase.SETTLING, Settled): _M._settled,
    (Phase.SETTLING, "settle"): _M._settled,
    (Phase.SETTLING, LinkClosed): _M._lost,
    (Phase.SETTLING, Suspended): _M._suspended,
    (Phase.SETTLING, "idle"): _M._idle,
    (Phase.SETTLING, Alive): _M._alive,
    (Phase.SETTLING, "probe"): _M._probe_timed_out,
    (Phase.SETTLING, Wake): _M._wake_up,
    (Phase.SETTLING, Disconnect): _M._disconnect,
    (Phase.SETTLING, Close): _M._close,
    #
    (Phase.CONNECTED, "stable"): _M._stable,
    (Phase.CONNECTED, LinkClosed): _M._lost,
    (Phase.CONNECTED, Suspended): _M._suspended,
    (Phase.CONNECTED, "idle"): _M._idle,
    (Phase.CONNECTED, Alive): _M._alive,
    (Phase.CONNECTED, "probe"): _M._probe_timed_out,
    (Phase.CONNECTED, Wake): _M._wake_up,
    (Phase.CONNECTED, Disconnect): _M._disconnect,
    (Phase.CONNECTED, Close): _M._close,
    #
    (Phase.SUSPENDED, Resumed): _M._resumed,
    (Phase.SUSPENDED, LinkClosed): _M._lost,
    (Phase.SUSPENDED, Wake): _M._wake_later,
    (Phase.SUSPENDED, Disconnect): _M._disconnect,
    (Phase.SUSPENDED, Close): _M._close,
    #
    (Phase.WAITING, "retry"): _M._open,
    (Phase.WAITING, Connect): _M._open,
    (Phase.WAITING, Wake): _M._wake_waiting,
    (Phase.WAITING, Disconnect): _M._disconnect,
    (Phase.WAITING, Close): _M._close,
    #
    (Phase.REFUSED, Connect): _M._connect,
    (Phase.REFUSED, Wake): _M._wake_offline,
    (Phase.REFUSED, Disconnect): _M._disconnect,
    (Phase.REFUSED, Close): _M._close,
}
