"""One listener on one channel, as the application holds it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias, runtime_checkable

from ._errors import ChannelDeniedError, ClosedError, ConfigurationError, RealtimeError
from ._keys import Channel
from ._statistics import SubscriptionStatistics
from ._transport import Inbound

if TYPE_CHECKING:
    from ._subscriptions import SubscriptionHub

__all__ = ["Listener", "Subscription", "SubscriptionState", "as_listener"]

SubscriptionState: TypeAlias = Literal["pending", "live", "denied", "closed"]


@runtime_checkable
class Listener(Protocol):
    """Hears everything about a channel. Every method is called on the client's loop, in order, and may raise."""

    def on_message(self, message: Inbound, /) -> None:
        """A message arrived."""

    def on_live(self, recovered: bool | None, /) -> None:
        """The subscription is acknowledged.

        Args:
            recovered: None the first time. After an interruption True if what was missed follows completely, False if
                something may be lost.
        """

    def on_gap(self, reason: str, /) -> None:
        """Messages may be missing while the subscription goes on."""

    def on_offline(self) -> None:
        """The connection is gone; `on_live` follows when it is back."""

    def on_denied(self, error: ChannelDeniedError, /) -> None:
        """The server refuses the channel, now or from now on."""

    def on_focus(self) -> None:
        """The user is back: a good moment to refetch. Rate-limited."""


class _FunctionListener:
    """A listener that only wants the messages."""

    def __init__(self, callback: Callable[[Inbound], object]) -> None:
        self._callback = callback

    def on_message(self, message: Inbound) -> None:
        self._callback(message)

    def on_live(self, recovered: bool | None) -> None:
        pass

    def on_gap(self, reason: str) -> None:
        pass

    def on_offline(self) -> None:
        pass

    def on_denied(self, error: ChannelDeniedError) -> None:
        pass

    def on_focus(self) -> None:
        pass


class Subscription:
    """One listener on one channel. Made by `RealtimeClient.subscribe`.

    Attributes:
        channel: the channel.
    """

    def __init__(self, hub: SubscriptionHub, channel: Channel, listener: Listener) -> None:
        self.channel: Final = channel
        self._hub = hub
        self._listener = listener
        self._closed = False
        self._was_live = False
        self._waiters: set[asyncio.Future[None]] = set()

    def __repr__(self) -> str:
        return f"<Subscription {self.channel.raw} {self.state}>"

    @property
    def state(self) -> SubscriptionState:
        """``pending`` until the server has acknowledged it and while the connection is away, ``live``, ``denied``,
        or ``closed`` after `unsubscribe`."""
        if self._closed:
            return "closed"
        state = self._hub.machine(self.channel.raw).state
        return "pending" if state == "idle" else state

    @property
    def error(self) -> RealtimeError | None:
        """Why it is denied, or why the last try failed while it is pending."""
        return None if self._closed else self._hub.machine(self.channel.raw).error

    def statistics(self) -> SubscriptionStatistics | None:
        """Return the channel's counters, None after `unsubscribe`."""
        return None if self._closed else self._hub.statistics(self.channel.raw)

    async def live(self) -> None:
        """Wait until the server has acknowledged it: from then on every message arrives.

        It waits while the connection is away and while the server cannot decide, too. Where `asyncio.timeout` ends
        that, the traceback says what the last answer was.

        Raises:
            ChannelDeniedError: the server refuses the channel.
            ClosedError: it was unsubscribed, or the client was closed.
        """
        state, error = self.state, self.error
        if state == "live":
            return
        if state == "closed":
            raise self._ended()
        if state == "denied" and error is not None:
            raise error.with_traceback(None)
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        except asyncio.CancelledError as cancelled:
            cancelled.add_note(f"{self!r} was not live: {self.error or 'no answer yet'}")
            raise
        finally:
            self._waiters.discard(waiter)

    def unsubscribe(self) -> None:
        """Stop. Nothing is delivered afterwards, not even what has arrived already. Idempotent."""
        if not self._closed:
            self._hub.remove(self)

    def retry(self) -> None:
        """Ask the server again, if it refused the channel or could not decide."""
        if not self._closed:
            self._hub.retry(self.channel.raw)

    # -- called by the hub ---------------------------------------------------------------------------------------------

    def _went_live(self, recovered: bool | None) -> bool | None:
        first, self._was_live = not self._was_live, True
        self._resolve(None)
        return None if first else recovered

    def _close(self) -> None:
        self._closed = True
        self._resolve(self._ended())

    def _ended(self) -> ClosedError:
        return ClosedError(f"the subscription to {self.channel.raw!r} was ended", channel=self.channel.raw)

    def _resolve(self, error: RealtimeError | None) -> None:
        for waiter in self._waiters:
            if waiter.done():
                continue
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)


def as_listener(channel: Channel, given: object) -> Listener:
    """Return what hears of a channel: the listener, or one around a plain function of a message.

    Raises:
        ConfigurationError: neither.
    """
    if isinstance(given, Listener):
        return given
    if not callable(given) or inspect.iscoroutinefunction(given):
        raise ConfigurationError(
            f"subscribe({channel.raw!r}, {given!r}): pass a plain function of one message, or an object with the "
            "methods of Listener. Nobody would await a coroutine function; let a plain function start a task instead"
        )
    return _FunctionListener(given)
