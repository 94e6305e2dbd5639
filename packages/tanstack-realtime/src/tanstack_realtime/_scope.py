"""When a scope fetches: one algorithm for first load, reconnect, gap, hint, focus and refusal.

A *scope* is one channel of a realtime collection: one subscription, one ``query_fn`` call at a time, the rows that both
bring. This module decides, without I/O and without a clock, when to subscribe, when to fetch and when to let go. The
shell feeds it what happened and carries out the `ScopeAction` list that comes back.

The rules:

- Subscribe first, fetch after the acknowledgement, so that no change falls between the snapshot and the stream.
- Where the acknowledgement cannot be waited for (offline, late, denied) fetch at once; one more fetch follows it.
- A snapshot *covers* the stream when it was asked for while the subscription was live and no gap came since. Only a
  covered scope may skip the fetch after a reconnect that the provider calls recovered.
- One fetch at a time. A reason that arrives meanwhile asks for one more afterwards, however many reasons there were.
  It is spread in time as it would have been without the running one.
- Failures are state: rows stay, the error shows, the next try follows with back-off.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from ._backoff import backoff

__all__ = [
    "ACK_DEADLINE",
    "Cancel",
    "DropRows",
    "Fetch",
    "ScopeAction",
    "ScopeMachine",
    "StatusChanged",
    "Stop",
    "Subscribe",
    "Wait",
]

ACK_DEADLINE: Final = 2.0
"""Seconds to wait for a subscription's acknowledgement before fetching without it."""

TimerKind: TypeAlias = Literal["ack", "refetch", "retry", "linger"]


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Subscribe to the channel."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """Call ``query_fn``; answer with `ScopeMachine.fetched` or `fetch_failed` and the same number."""

    number: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Call `ScopeMachine.timer_fired` after `delay` seconds; replaces a running timer of that kind."""

    kind: TimerKind
    delay: float


@dataclass(frozen=True, slots=True)
class Cancel:
    """Cancel the timer of that kind."""

    kind: TimerKind


@dataclass(frozen=True, slots=True)
class DropRows:
    """Remove the scope's rows: access was revoked."""


@dataclass(frozen=True, slots=True)
class StatusChanged:
    """One of the machine's public attributes changed."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The scope is over: unsubscribe, cancel what runs, remove its rows."""


ScopeAction: TypeAlias = Subscribe | Fetch | Wait | Cancel | DropRows | StatusChanged | Stop


class ScopeMachine:
    """The life of one scope. Every method is an event and returns the actions to carry out, in order.

    Args:
        linger: seconds that an unused scope stays subscribed.
        spread: longest delay in seconds of a refetch that many clients may do at the same moment.
        always_refetch: refetch after every reconnect, also where the provider proves that nothing was missed.
        random: gives a float in [0, 1); injected, so that a seed replays.

    Attributes:
        loaded: whether a snapshot was applied; stays True while later fetches fail.
        live: whether the provider acknowledged the subscription on the present connection.
        error: why the last fetch failed, or None.
        denied: why the channel is not live although connected, or None.
    """

    def __init__(self, *, linger: float, spread: float, always_refetch: bool, random: Callable[[], float]) -> None:
        self.loaded = False
        self.live = False
        self.error: Exception | None = None
        self.denied: Exception | None = None
        self._linger = linger
        self._spread = spread
        self._always_refetch = always_refetch
        self._random = random
        self._started = False
        self._stopped = False
        self._was_live = False
        self._covered = False
        self._gaps = 0
        self._fetch_number = 0
        self._fetch_gaps: int | None = None
        """Gap count when the running fetch was asked for, None when it was asked for while not live."""
        self._fetching = False
        self._again: float | None = None
        """In how many seconds after the running fetch one more is wanted, or None."""
        self._attempt = 0
        self._timers: set[TimerKind] = set()

    # -- use ---------------------------------------------------------------------------------------------------------

    def retained(self, *, acknowledgement_expected: bool) -> list[ScopeAction]:
        """Somebody needs the scope: start it, or keep one that lingers.

        Args:
            acknowledgement_expected: the connection is up or coming up, so waiting for the acknowledgement is worth it.
        """
        if self._started:
            return self._cancel("linger")
        self._started = True
        actions: list[ScopeAction] = [Subscribe()]
        if acknowledgement_expected:
            return [*actions, *self._wait("ack", ACK_DEADLINE)]
        return [*actions, *self._fetch()]

    def released(self) -> list[ScopeAction]:
        """Nobody needs it any more."""
        return [] if self._stopped else self._wait("linger", self._linger)

    def stop(self) -> list[ScopeAction]:
        """End now, whoever needs it."""
        if self._stopped:
            return []
        self._stopped = True
        self.live = False
        self._fetching = False
        actions: list[ScopeAction] = [Cancel(kind) for kind in sorted(self._timers)]
        self._timers.clear()
        return [*actions, Stop()]

    # -- the stream --------------------------------------------------------------------------------------------------

    def acknowledged(self, recovered: bool | None) -> list[ScopeAction]:
        """The subscription is live. `recovered`: None the first time, else whether the provider proved completeness."""
        if self._stopped:
            return []
        first = not self._was_live
        self.live = self._was_live = True
        self.denied = None
        actions: list[ScopeAction] = [*self._cancel("ack"), StatusChanged()]
        if recovered is not True:
            self._covered = False
            self._gaps += 1
        elif self._covered and not self._always_refetch:
            return actions
        return [*actions, *self._want(0.0 if first else self._spread * self._random())]

    def gap(self) -> list[ScopeAction]:
        """Messages may be missing while the subscription goes on."""
        self._covered = False
        self._gaps += 1
        return self._want(self._spread * self._random())

    def offline(self) -> list[ScopeAction]:
        """The connection is gone, or was not there."""
        if self._stopped:
            return []
        changed = self.live
        self.live = False
        actions: list[ScopeAction] = [StatusChanged()] if changed else []
        if "ack" in self._timers:
            actions += [*self._cancel("ack"), *self._want(0.0)]
        return actions

    def refused(self, error: Exception) -> list[ScopeAction]:
        """The server refuses the channel: at the first subscribe, at a later one, or by taking a grant back."""
        if self._stopped:
            return []
        revoked = self._was_live
        self.live = self._was_live = self._covered = False
        self.denied = error
        actions = self._cancel("ack")
        if revoked:
            self.loaded = False
            actions.append(DropRows())
        actions.append(StatusChanged())
        if revoked or not self.loaded:
            actions += self._want(0.0)
        return actions

    def hinted(self) -> list[ScopeAction]:
        """Another client says that rows changed without saying how."""
        return self._want(self._spread * self._random())

    def refetch(self) -> list[ScopeAction]:
        """Fetch as soon as possible: focus, or the application asks."""
        return self._want(0.0)

    # -- fetches and timers ------------------------------------------------------------------------------------------

    def fetched(self, number: int) -> bool:
        """A fetch returned rows. Returns whether they may be applied; then call `applied`."""
        return self._fetching and number == self._fetch_number

    def applied(self) -> list[ScopeAction]:
        """The rows of the running fetch were applied."""
        self._fetching = False
        self.loaded = True
        self.error = None
        self._attempt = 0
        self._covered = self._fetch_gaps is not None and self._fetch_gaps == self._gaps
        actions: list[ScopeAction] = [StatusChanged()]
        again, self._again = self._again, None
        if again is not None:
            actions += self._want(again)
        return actions

    def fetch_failed(self, number: int, error: Exception) -> list[ScopeAction]:
        """A fetch failed; the next try follows with back-off."""
        if not (self._fetching and number == self._fetch_number):
            return []
        self._fetching = False
        self._again = None
        self.error = error
        delay = backoff(self._attempt, self._random)
        self._attempt += 1
        return [StatusChanged(), *self._wait("retry", delay)]

    def timer_fired(self, kind: TimerKind) -> list[ScopeAction]:
        """A timer that `Wait` started ran out."""
        if self._stopped or kind not in self._timers:
            return []
        self._timers.discard(kind)
        if kind == "linger":
            return self.stop()
        return self._want(0.0)

    # -- helpers -----------------------------------------------------------------------------------------------------

    def _want(self, delay: float) -> list[ScopeAction]:
        if self._stopped or not self._started:
            return []
        if self._fetching:
            # The first delay stays: the least of many would be none.
            if self._again is None or delay <= 0.0:
                self._again = delay
            return []
        if delay <= 0.0:
            return self._fetch()
        if "refetch" in self._timers or "retry" in self._timers:
            return []
        return self._wait("refetch", delay)

    def _fetch(self) -> list[ScopeAction]:
        actions = [*self._cancel("refetch"), *self._cancel("retry")]
        self._fetching = True
        self._again = None
        self._fetch_number += 1
        self._fetch_gaps = self._gaps if self.live else None
        return [*actions, Fetch(self._fetch_number)]

    def _wait(self, kind: TimerKind, delay: float) -> list[ScopeAction]:
        self._timers.add(kind)
        return [Wait(kind, delay)]

    def _cancel(self, kind: TimerKind) -> list[ScopeAction]:
        if kind not in self._timers:
            return []
        self._timers.discard(kind)
        return [Cancel(kind)]
