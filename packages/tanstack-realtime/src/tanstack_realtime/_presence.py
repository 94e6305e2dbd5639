"""One channel's presence as a pure machine: events in, actions out, no I/O and no clock of its own.

What is wanted (nothing, to observe, to be a member) and what the provider has on the present link are two things; the
machine brings the second to the first, one request at a time::

    wanted     provider has   request
    member     nothing        Join         a reconnect too: with the latest merged state
    member     observer       Join
    observer   nothing        Observe
    observer   member         Leave
    nothing    anything       Unobserve

Updates go beside these, throttled, and always with the whole merged state: a lost or skipped one is healed by the next.
Members are connections. The own connection is never among the others, nor is one's former connection, which a provider
may take for alive until it times out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias

from ._backoff import backoff
from ._errors import ChannelDeniedError, RealtimeError
from ._presence_link import PresenceEntry
from ._throttle import Throttle

__all__ = [
    "CancelWait",
    "Join",
    "Leave",
    "Observe",
    "PresenceAction",
    "PresenceMachine",
    "PresenceStatus",
    "Refused",
    "Show",
    "Unobserve",
    "Update",
    "Wait",
]

State: TypeAlias = Mapping[str, Any]
PresenceStatus: TypeAlias = Literal["pending", "live", "denied"]
Mode: TypeAlias = Literal["nothing", "observer", "member"]
TimerKind: TypeAlias = Literal["update", "retry", "announce", "renew"]

_OUTSTANDING: Final = 8
"""Updates without an answer; with more, a slow network would be fed faster than it carries."""

_ANNOUNCE_WITHIN: Final = 0.25
"""Seconds within which members announce themselves to a newcomer, spread at random, where the provider does not."""

_RENEW: Final = 15.0
"""Seconds after which a member announces itself again, likewise."""

_FORMER: Final = 16


@dataclass(frozen=True, slots=True)
class Observe:
    """Observe; answer with `done` or `failed` and the same number."""

    number: int


@dataclass(frozen=True, slots=True)
class Join:
    """Join with this state; answer likewise."""

    number: int
    state: State


@dataclass(frozen=True, slots=True)
class Leave:
    """Leave and go on observing; answer likewise."""

    number: int


@dataclass(frozen=True, slots=True)
class Unobserve:
    """Leave and observe no longer; answer likewise."""

    number: int


@dataclass(frozen=True, slots=True)
class Update:
    """Send this state; answer with `updated`."""

    state: State
    clock: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Call `timer_fired` after `delay` seconds; replaces a running timer of that kind."""

    kind: TimerKind
    delay: float


@dataclass(frozen=True, slots=True)
class CancelWait:
    """Cancel the timer of that kind."""

    kind: TimerKind


@dataclass(frozen=True, slots=True)
class Show:
    """`others`, `status` or `state` changed."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Tell the application that presence is refused."""

    error: ChannelDeniedError


PresenceAction: TypeAlias = Observe | Join | Leave | Unobserve | Update | Wait | CancelWait | Show | Refused


class PresenceMachine:
    """Every method is an event and returns the actions to carry out, in order. See the module docstring.

    Args:
        channel: wire string, for errors.
        interval: least seconds between two updates.
        random: a float in [0, 1); injected, so that a seed replays.

    Attributes:
        status: ``live`` once the members are known on the present link, ``pending`` before, ``denied``.
        error: why it is denied, or why the last try failed while it is pending.
        state: the own merged state, or None for no member.
    """

    def __init__(self, channel: str, *, interval: float, random: Callable[[], float]) -> None:
        self.status: PresenceStatus = "pending"
        self.error: RealtimeError | None = None
        self.state: State | None = None
        self._channel = channel
        self._random = random
        self._throttle = Throttle[State](interval)
        self._observers = 0
        self._entries: dict[str, PresenceEntry] = {}
        self._own: str | None = None
        self._linked = False
        self._former: deque[str] = deque(maxlen=_FORMER)
        self._keeps_state = True
        self._has: Mode = "nothing"
        self._request: Mode | None = None
        self._number = 0
        self._clock = 0
        self._sent: State | None = None
        """What the provider was told when we joined."""
        self._outstanding = 0
        self._failures = 0
        self._timers: set[TimerKind] = set()

    @property
    def others(self) -> Sequence[PresenceEntry]:
        """The members besides oneself, by connection id."""
        hidden = {self._own, *self._former}
        return [self._entries[key] for key in sorted(self._entries) if key not in hidden]

    @property
    def is_disposable(self) -> bool:
        """Whether nobody wants anything and nothing is under way."""
        return self._wanted == "nothing" and self._request is None and self._has == "nothing"

    @property
    def _wanted(self) -> Mode:
        return "member" if self.state is not None else "observer" if self._observers else "nothing"

    # -- the application -----------------------------------------------------------------------------------------------

    def observed(self) -> list[PresenceAction]:
        """Somebody wants to know the members."""
        self._observers += 1
        return self._ask_again() if self.status == "denied" else self._advance()

    def unobserved(self) -> list[PresenceAction]:
        """Somebody does not any more."""
        self._observers -= 1
        return self._advance()

    def joined(self, state: State, now: float) -> list[PresenceAction]:
        """Be a member. One who is already merges."""
        if self.state is not None:
            return self.updated_by(state, now)
        self.state = dict(state)
        actions: list[PresenceAction] = [Show()]
        return [*actions, *(self._ask_again() if self.status == "denied" else self._advance())]

    def updated_by(self, fields: State, now: float) -> list[PresenceAction]:
        """Merge fields into the own state. The last value of an interval is what is sent."""
        if self.state is None:
            return []
        merged = {**self.state, **fields}
        if merged == self.state:
            return []
        self.state = merged
        actions: list[PresenceAction] = [Show()]
        if self._has != "member":
            return actions  # the join that is due, or under way and compared afterwards, brings it
        return [*actions, *self._send(now)]

    def left(self, now: float) -> list[PresenceAction]:
        """Be a member no longer. A value that waits is sent before."""
        if self.state is None:
            return []
        actions = self._flush(now)
        self.state = None
        self._throttle.cancel()
        actions += [*self._cancel("update"), *self._cancel("announce"), *self._cancel("renew"), Show()]
        return [*actions, *self._advance()]

    def retry(self) -> list[PresenceAction]:
        """Ask again, if it was refused or is waiting for the next try."""
        return self._ask_again()

    def forget(self) -> list[PresenceAction]:
        """Another user: neither the members that the former one saw nor what it said of itself stay."""
        self._entries.clear()
        self.state = None
        self._throttle.cancel()
        return [*self._cancel("update"), *self._cancel("announce"), *self._cancel("renew"), Show()]

    # -- the link ------------------------------------------------------------------------------------------------------

    def link_up(self, connection_id: str, *, keeps_state: bool, retry_denied: bool) -> list[PresenceAction]:
        """A link is there, with this id."""
        if self._own is not None and self._own != connection_id:
            self._former.append(self._own)
        self._own = connection_id
        self._keeps_state = keeps_state
        self._has = "nothing"
        self._request = None
        self._outstanding = 0
        self._clock = 0
        self._linked = True
        return self._ask_again() if retry_denied else self._advance()

    def link_down(self) -> list[PresenceAction]:
        """The link is gone: whether the others are still there is not known."""
        self._linked = False
        self._has = "nothing"
        self._request = None
        self._outstanding = 0
        self._throttle.cancel()
        self._entries = {key: replace(entry, stalled=True) for key, entry in self._entries.items()}
        actions: list[PresenceAction] = [CancelWait(kind) for kind in sorted(self._timers)]
        self._timers.clear()
        if self.status == "live":
            self.status = "pending"
        return [*actions, Show()]

    # -- answers -------------------------------------------------------------------------------------------------------

    def done(self, number: int, now: float) -> list[PresenceAction]:
        """The provider did what `Observe`, `Join`, `Leave` or `Unobserve` asked for."""
        if number != self._number or self._request is None:
            return []
        self._has, self._request = self._request, None
        self._failures = 0
        self.error = None
        actions: list[PresenceAction] = []
        if self._has == "nothing":
            self._entries.clear()
            self.status = "pending"
            actions.append(Show())
        elif self._has == "member" and self.state is not None:
            if self.state != self._sent:
                actions += self._send(now)
            if not self._keeps_state:
                actions += self._wait("renew", _RENEW)
        return [*actions, *self._advance()]

    def failed(self, number: int, error: RealtimeError) -> list[PresenceAction]:
        """It failed; `error.retryable` says whether it is tried again."""
        if number != self._number or self._request is None:
            return []
        self._request = None
        if not error.retryable:
            return self._deny(error)
        self.error = error
        delay = max(backoff(self._failures, self._random), error.retry_after or 0.0)
        self._failures += 1
        return [*self._wait("retry", delay), Show()]

    def updated(self, now: float, error: RealtimeError | None = None) -> list[PresenceAction]:
        """An `Update` was answered. One that failed is healed by the next, or by another try if it was the last."""
        self._outstanding = max(0, self._outstanding - 1)
        if error is not None and self.state is not None and self._has == "member":
            self.error = error
            if error.code == "not_joined":
                self._has = "nothing"
                return self._advance()
            if error.retryable:
                self._throttle.hold(self.state, not_before=now + (error.retry_after or 1.0))
        return self._due(now)

    # -- what the provider tells ---------------------------------------------------------------------------------------

    def snapshot(self, entries: Sequence[PresenceEntry]) -> list[PresenceAction]:
        """All members now."""
        found = {entry.connection_id: self._newer(entry) for entry in entries}
        if self.status == "live" and found == self._entries:
            return []
        self._entries = found
        self.status = "live"
        return [Show()]

    def changed(self, entries: Sequence[PresenceEntry], left: Sequence[str]) -> list[PresenceAction]:
        """Members joined, changed or left."""
        newcomer = altered = False
        for entry in entries:
            known = self._entries.get(entry.connection_id)
            newcomer = newcomer or (known is None and entry.connection_id != self._own)
            newer = self._newer(entry)
            if newer != known:
                self._entries[entry.connection_id] = newer
                altered = True
        for connection_id in left:
            altered = self._entries.pop(connection_id, None) is not None or altered
        actions: list[PresenceAction] = [Show()] if altered else []
        tells = not self._keeps_state and self._has == "member" and self.state != self._sent
        if newcomer and tells and "announce" not in self._timers:
            actions += self._wait("announce", _ANNOUNCE_WITHIN * self._random())
        return actions

    def revoked(self, code: str, reason: str) -> list[PresenceAction]:
        """The server ended it."""
        self._request = None
        return self._deny(
            ChannelDeniedError(
                f"the server ended presence on {self._channel!r}: {reason}; join again once access is granted",
                channel=self._channel,
                code=code,
                reason=reason,
            )
        )

    def timer_fired(self, kind: TimerKind, now: float) -> list[PresenceAction]:
        """A timer that `Wait` started ran out."""
        if kind not in self._timers:
            return []
        self._timers.discard(kind)
        if kind == "update":
            return self._due(now)
        if kind == "retry":
            return self._advance()
        if self._has != "member" or self.state is None:
            return []
        renew = self._wait("renew", _RENEW) if kind == "renew" else []
        return [*renew, *([self._update(self.state)] if self.state != self._sent else [])]

    def _newer(self, entry: PresenceEntry) -> PresenceEntry:
        """The state with the larger clock: a provider may know only what a member said when it joined."""
        known = self._entries.get(entry.connection_id)
        if known is None or entry.clock > known.clock or known.clock == 0:
            return entry
        return replace(known, stalled=entry.stalled)

    # -- helpers -------------------------------------------------------------------------------------------------------

    def _advance(self) -> list[PresenceAction]:
        wanted = self._wanted
        if not self._linked or self._request is not None or wanted == self._has:
            return []
        if wanted != "nothing" and ("retry" in self._timers or self.status == "denied"):
            return []
        self._request = wanted
        self._number += 1
        if wanted == "member":
            assert self.state is not None, "that is what makes a member"
            self._sent = self.state
            return [Join(self._number, self.state)]
        if wanted == "observer":
            return [Leave(self._number) if self._has == "member" else Observe(self._number)]
        return [Unobserve(self._number)]

    def _ask_again(self) -> list[PresenceAction]:
        actions = self._cancel("retry")
        if self.status == "denied":
            self.status, self.error = "pending", None
            actions.append(Show())
        return [*actions, *self._advance()]

    def _deny(self, error: RealtimeError) -> list[PresenceAction]:
        denial = error
        if not isinstance(denial, ChannelDeniedError):
            denial = ChannelDeniedError(
                f"presence on {self._channel!r} is not possible: {error}",
                channel=self._channel,
                code=error.code,
                reason=error.reason,
            )
            denial.__cause__ = error
        self.status, self.error = "denied", denial
        self._has = "nothing"
        self._entries.clear()
        self._throttle.cancel()
        cancelled = [*self._cancel("update"), *self._cancel("announce"), *self._cancel("renew")]
        return [*cancelled, Show(), Refused(denial), *self._advance()]

    def _send(self, now: float) -> list[PresenceAction]:
        assert self.state is not None, "only a member has something to send"
        if self._outstanding < _OUTSTANDING and self._throttle.push(self.state, now):
            return [self._update(self.state)]
        if self._outstanding >= _OUTSTANDING:
            self._throttle.hold(self.state, not_before=now)
            return []
        return [] if "update" in self._timers else self._wait("update", self._throttle.due - now)

    def _due(self, now: float) -> list[PresenceAction]:
        if self._has != "member" or self._outstanding >= _OUTSTANDING or self._throttle.waiting is None:
            return []
        waiting = self._throttle.take(now)
        if waiting is not None:
            return [*self._cancel("update"), self._update(waiting.value)]
        return [] if "update" in self._timers else self._wait("update", self._throttle.due - now)

    def _flush(self, now: float) -> list[PresenceAction]:
        waiting = self._throttle.flush(now) if self._has == "member" else None
        return [] if waiting is None else [self._update(waiting.value)]

    def _update(self, state: State) -> PresenceAction:
        self._clock += 1
        self._outstanding += 1
        return Update(state, self._clock)

    def _wait(self, kind: TimerKind, delay: float) -> list[PresenceAction]:
        self._timers.add(kind)
        return [Wait(kind, delay)]

    def _cancel(self, kind: TimerKind) -> list[PresenceAction]:
        if kind not in self._timers:
            return []
        self._timers.discard(kind)
        return [CancelWait(kind)]
