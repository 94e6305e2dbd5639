"""One channel's subscription as a pure machine: events in, actions out, no I/O and no clock.

::

                added            acked
        IDLE ──────────> PENDING ─────> LIVE
         ^  removed       ^   │ refused  │ revoked
         └── from anywhere│   v          │
                          │  DENIED <────┘
                          └── retry; another user; a new connect()

PENDING lasts while the link is down, while the provider has not acknowledged, and between tries when the server could
not decide. However many listeners there are, the provider sees one subscription, and never two requests at once: a
change of mind while a request is under way is settled when its answer is there.

What arrives for a channel before its acknowledgement was seen is held back, so that the order is always: live, what was
missed, what came since. Positions make delivery exact where the provider numbers messages: one that was seen is
dropped, and a number that was skipped is a gap, whatever the provider says about recovery.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from ._backoff import backoff
from ._errors import ChannelDeniedError, RealtimeError
from ._transport import Inbound, Position, SubscribeAck

__all__ = [
    "CancelRetry",
    "ChannelAction",
    "ChannelMachine",
    "ChannelState",
    "Deliver",
    "Greet",
    "NotifyDenied",
    "NotifyGap",
    "NotifyLive",
    "NotifyOffline",
    "Retry",
    "Subscribe",
    "Unsubscribe",
]

ChannelState: TypeAlias = Literal["idle", "pending", "live", "denied"]

_HELD_LIMIT: Final = 10_000
"""Messages held back for one acknowledgement. More are a gap, so that a slow one cannot take the memory."""


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Subscribe on the link; answer with `acked` or `failed` and the same number."""

    number: int
    since: Position | None


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Unsubscribe on the link; answer with `unsubscribed` and the same number."""

    number: int


@dataclass(frozen=True, slots=True)
class Retry:
    """Call `retry_due` after `delay` seconds."""

    delay: float


@dataclass(frozen=True, slots=True)
class CancelRetry:
    """Cancel what `Retry` started."""


@dataclass(slots=True)
class Deliver:
    """Give a message to every listener."""

    message: Inbound


@dataclass(frozen=True, slots=True)
class NotifyLive:
    """Tell every listener that the channel is live; one that never was live hears None instead of `recovered`."""

    recovered: bool | None


@dataclass(frozen=True, slots=True)
class Greet:
    """Tell the newest listener that the channel is live already."""


@dataclass(frozen=True, slots=True)
class NotifyGap:
    """Tell every listener that messages may be missing."""

    reason: str


@dataclass(frozen=True, slots=True)
class NotifyOffline:
    """Tell every listener that the connection is gone."""


@dataclass(frozen=True, slots=True)
class NotifyDenied:
    """Tell every listener that the channel is refused."""

    error: ChannelDeniedError


ChannelAction: TypeAlias = (
    Subscribe
    | Unsubscribe
    | Retry
    | CancelRetry
    | Deliver
    | NotifyLive
    | Greet
    | NotifyGap
    | NotifyOffline
    | NotifyDenied
)


@dataclass(frozen=True, slots=True)
class _Gap:
    reason: str


@dataclass(frozen=True, slots=True)
class _Revoked:
    code: str
    reason: str


_Held: TypeAlias = Inbound | _Gap | _Revoked

_LEGAL: Final[Mapping[ChannelState, frozenset[ChannelState]]] = {
    "idle": frozenset({"idle", "pending"}),
    "pending": frozenset({"pending", "live", "denied", "idle"}),
    "live": frozenset({"pending", "live", "denied", "idle"}),
    "denied": frozenset({"pending", "denied", "idle"}),
}


class ChannelMachine:
    """Every method is an event and returns the actions to carry out, in order. See the module docstring.

    Args:
        channel: wire string, for errors.
        random: a float in [0, 1); injected, so that a seed replays.

    Attributes:
        state: see the module docstring.
        error: why the channel is denied, or why the last try failed while it is pending.
        position: the last message seen, where the provider numbers them.
    """

    def __init__(self, channel: str, *, random: Callable[[], float]) -> None:
        self.state: ChannelState = "idle"
        self.error: RealtimeError | None = None
        self.position: Position | None = None
        self._channel = channel
        self._random = random
        self._listeners = 0
        self._was_live = False
        self._link = False
        self._request: Literal["subscribe", "unsubscribe"] | None = None
        self._number = 0
        self._subscribed = False
        """Whether the provider has us subscribed on the present link, as far as its answers say."""
        self._held: list[_Held] = []
        self._failures = 0
        self._retrying = False

    @property
    def settling(self) -> bool:
        """Whether the channel still keeps the connection from being called connected."""
        return self._request == "subscribe" and self.state == "pending"

    @property
    def disposable(self) -> bool:
        """Whether nobody listens and nothing is under way."""
        return self.state == "idle" and self._request is None and not self._subscribed

    # -- listeners -----------------------------------------------------------------------------------------------------

    def added(self) -> list[ChannelAction]:
        """A listener came."""
        self._listeners += 1
        if self.state == "live":
            return [Greet()]
        if self.state == "pending":
            return []
        # A refused channel is asked for again: whoever subscribes now may know of a grant.
        self._go("pending")
        return self._advance()

    def removed(self) -> list[ChannelAction]:
        """A listener left."""
        self._listeners -= 1
        if self._listeners:
            return []
        actions = self._cancel_retry()
        self._go("idle")
        self.forget()
        return [*actions, *self._advance()]

    def retry(self) -> list[ChannelAction]:
        """The application asks again for a refused channel, or does not want to wait for the next try."""
        if self.state == "denied":
            self._go("pending")
        return [*self._cancel_retry(), *self._advance()]

    def retry_due(self) -> list[ChannelAction]:
        """The time that `Retry` named is over."""
        self._retrying = False
        return self._advance()

    # -- the link ------------------------------------------------------------------------------------------------------

    def link_up(self, *, retry_denied: bool, ack: SubscribeAck | None = None) -> list[ChannelAction]:
        """A link is there. `ack`: the provider's SDK has resubscribed this channel already."""
        self._link = True
        self._subscribed = ack is not None
        if self.state == "denied" and retry_denied:
            self._go("pending")
        if ack is not None and self.state == "pending":
            return self._go_live(ack)
        return self._advance()

    def link_down(self) -> list[ChannelAction]:
        """The link is gone, and with it what was asked on it."""
        actions = self._cancel_retry()
        self._link = self._subscribed = False
        self._request = None
        self._held.clear()
        if self.state in ("idle", "denied"):
            return actions
        self._go("pending")
        return [*actions, NotifyOffline()]

    def forget(self) -> None:
        """What was seen before does not count any more: another user, or nobody, listens."""
        self.position = None
        self._was_live = False
        self._failures = 0

    # -- answers -------------------------------------------------------------------------------------------------------

    def acked(self, number: int, ack: SubscribeAck) -> list[ChannelAction]:
        """The provider acknowledged a `Subscribe`."""
        if not self._answers("subscribe", number):
            return []
        self._subscribed = True
        if self.state == "pending":
            return self._go_live(ack)
        self._held.clear()
        return self._advance()

    def failed(self, number: int, error: RealtimeError) -> list[ChannelAction]:
        """A `Subscribe` failed; `error.retryable` says whether it is tried again."""
        if not self._answers("subscribe", number):
            return []
        self._held.clear()
        if self.state != "pending":
            return self._advance()
        if not error.retryable:
            return self._deny(self._denial(error))
        self._go("pending", error)
        delay = max(backoff(self._failures, self._random), error.retry_after or 0.0)
        self._failures += 1
        self._retrying = True
        return [Retry(delay)]

    def unsubscribed(self, number: int) -> list[ChannelAction]:
        """The provider answered an `Unsubscribe`."""
        return self._advance() if self._answers("unsubscribe", number) else []

    # -- the stream ----------------------------------------------------------------------------------------------------

    def message(self, message: Inbound) -> list[ChannelAction]:
        """A message arrived on the channel."""
        return self._deliver(message) if self.state == "live" else self._take(message)

    def gap(self, reason: str) -> list[ChannelAction]:
        """The transport says that messages may be missing."""
        return self._take(_Gap(reason))

    def revoked(self, code: str, reason: str) -> list[ChannelAction]:
        """The server ended the subscription."""
        return self._take(_Revoked(code, reason))

    def _take(self, item: _Held) -> list[ChannelAction]:
        if self.state == "live":
            return self._apply(item)
        if self._request == "subscribe":
            if len(self._held) >= _HELD_LIMIT:
                self._held[:] = [_Gap(f"more than {_HELD_LIMIT} messages came before the acknowledgement")]
            self._held.append(item)
        return []

    def _apply(self, item: _Held) -> list[ChannelAction]:
        if isinstance(item, _Gap):
            self.position = None
            return [NotifyGap(item.reason)]
        if isinstance(item, _Revoked):
            self._subscribed = False
            return self._deny(
                ChannelDeniedError(
                    f"the server ended the subscription to {self._channel!r}: {item.reason}; subscribe again or call "
                    "retry() once access is granted",
                    channel=self._channel,
                    code=item.code,
                    reason=item.reason,
                )
            )
        return self._deliver(item)

    def _deliver(self, message: Inbound) -> list[ChannelAction]:
        seen, here = self.position, message.position
        if here is None:
            return [Deliver(message)]
        if seen is None:
            self.position = here
            return [Deliver(message)]
        if seen.epoch != here.epoch:
            self.position = here
            return [NotifyGap("the stream began anew"), Deliver(message)]
        if here.offset <= seen.offset:
            return []
        self.position = here
        missing = here.offset - seen.offset - 1 - message.superseded
        gap = [NotifyGap(f"{missing} message(s) after number {seen.offset} did not arrive")] if missing > 0 else []
        return [*gap, Deliver(message)]

    # -- helpers -------------------------------------------------------------------------------------------------------

    def _go_live(self, ack: SubscribeAck) -> list[ChannelAction]:
        missed = list(ack.missed) if self._was_live and ack.recovered else []
        recovered = self._is_complete(ack) if self._was_live else None
        self._go("live")
        self._was_live = True
        self._failures = 0
        actions: list[ChannelAction] = [NotifyLive(recovered)]
        if recovered:
            for message in missed:
                actions += self._deliver(message)
        self.position = ack.position
        held, self._held = self._held, []
        for item in held:
            if self.state == "live":
                actions += self._apply(item)
        return actions

    def _is_complete(self, ack: SubscribeAck) -> bool:
        """Whether nothing is missing between what was seen and the acknowledgement; a claim alone is not enough."""
        if ack.recovered is not True:
            return False
        last = self.position
        if last is None or ack.position is None:
            return True
        for message in ack.missed:
            here = message.position
            if here is None or here.epoch != last.epoch or here.offset > last.offset + 1:
                return False
            if here.offset == last.offset + 1:
                last = here
        return last == ack.position

    def _deny(self, error: ChannelDeniedError) -> list[ChannelAction]:
        self._go("denied", error)
        self.forget()
        return [NotifyDenied(error)]

    def _denial(self, error: RealtimeError) -> ChannelDeniedError:
        if isinstance(error, ChannelDeniedError):
            return error
        denial = ChannelDeniedError(
            f"channel {self._channel!r} cannot be subscribed: {error}",
            channel=self._channel,
            code=error.code,
            reason=error.reason,
        )
        denial.__cause__ = error
        return denial

    def _advance(self) -> list[ChannelAction]:
        """Ask the provider for what is wanted, unless an answer is still due."""
        if not self._link or self._request is not None or self._retrying:
            return []
        if self.state == "pending" and not self._subscribed:
            self._request = "subscribe"
            self._number += 1
            return [Subscribe(self._number, self.position)]
        if self.state in ("idle", "denied") and self._subscribed:
            self._request = "unsubscribe"
            self._subscribed = False
            self._number += 1
            return [Unsubscribe(self._number)]
        return []

    def _answers(self, request: Literal["subscribe", "unsubscribe"], number: int) -> bool:
        if self._request != request or self._number != number:
            return False
        self._request = None
        return True

    def _cancel_retry(self) -> list[ChannelAction]:
        retrying, self._retrying = self._retrying, False
        return [CancelRetry()] if retrying else []

    def _go(self, state: ChannelState, error: RealtimeError | None = None) -> None:
        assert state in _LEGAL[self.state], f"{self._channel}: {self.state} -> {state}"
        self.state = state
        self.error = error
