"""All subscriptions of a client: who listens to which channel, and the shell around `ChannelMachine`.

Listeners are never called from within the transport or from within `subscribe`. What they are to hear goes into one
mailbox, in order, and is handed over in the loop's next turn, so a listener may subscribe, unsubscribe or fail without
anybody else noticing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, TypeAlias

from ._channels import (
    CancelRetry,
    ChannelAction,
    ChannelMachine,
    Deliver,
    Greet,
    NotifyDenied,
    NotifyGap,
    NotifyLive,
    NotifyOffline,
    Retry,
    Subscribe,
    Unsubscribe,
)
from ._errors import ConnectionLostError, RealtimeError
from ._keys import Channel
from ._observe import Observer
from ._statistics import SubscriptionStatistics
from ._subscription import Listener, Subscription, SubscriptionState, as_listener
from ._supervisor import Supervisor
from ._transport import Inbound, Link, Position, SubscribeAck

__all__ = ["SubscriptionHub"]


class _Entry:
    """One channel: its machine, its subscriptions, its retry timer."""

    def __init__(self, machine: ChannelMachine) -> None:
        self.machine = machine
        self.subscriptions: list[Subscription] = []
        self.messages = self.acknowledged = self.recovered = self.gaps = self.denials = 0
        self.timer: asyncio.TimerHandle | None = None


_Call: TypeAlias = tuple[tuple[Subscription, ...], Callable[[Listener], object]]


class SubscriptionHub:
    """All channels of one client.

    Args:
        supervisor: owns the requests.
        random: a float in [0, 1), for back-off.
        report: takes what listeners raise.
        changed: called after every change that `snapshot` would show.
        heard: called when an answer arrives on the link.
        observer: hears of acknowledgements, refusals and gaps.

    Attributes:
        messages: messages that arrived, on all channels.
    """

    def __init__(
        self,
        *,
        supervisor: Supervisor,
        random: Callable[[], float],
        report: Callable[[Exception], None],
        changed: Callable[[], None],
        heard: Callable[[], None],
        observer: Observer,
    ) -> None:
        self.messages = 0
        self._observer = observer
        self._supervisor = supervisor
        self._random = random
        self._report = report
        self._changed = changed
        self._heard = heard
        self._entries: dict[str, _Entry] = {}
        self._link: Link | None = None
        self._requests: set[asyncio.Task[None]] = set()
        self._unsettled: set[str] = set()
        self._settled: Callable[[], None] | None = None
        self._mailbox: deque[_Call] = deque()
        self._delivery: asyncio.Handle | None = None

    # -- the application -----------------------------------------------------------------------------------------------

    def subscribe(self, channel: Channel, listener: Listener | Callable[[Inbound], object]) -> Subscription:
        """Add a listener."""
        heard_by = as_listener(channel, listener)
        entry = self._entries.get(channel.raw)
        if entry is None:
            entry = self._entries[channel.raw] = _Entry(ChannelMachine(channel.raw, random=self._random))
            if self._link is not None:
                entry.machine.link_up(retry_denied=False)
        subscription = Subscription(self, channel, heard_by)
        entry.subscriptions.append(subscription)
        self._take(channel.raw, entry, entry.machine.added())
        return subscription

    def remove(self, subscription: Subscription) -> None:
        """Remove a listener."""
        channel = subscription.channel.raw
        entry = self._entries[channel]
        entry.subscriptions.remove(subscription)
        subscription._close()
        self._take(channel, entry, entry.machine.removed())

    def retry(self, channel: str) -> None:
        """Ask again for a channel."""
        entry = self._entries[channel]
        self._take(channel, entry, entry.machine.retry())

    def machine(self, channel: str) -> ChannelMachine:
        """Return a channel's machine; there is one while there is a subscription."""
        return self._entries[channel].machine

    def snapshot(self) -> Mapping[str, tuple[SubscriptionState, int, RealtimeError | None]]:
        """Return state, number of listeners and error by wire string."""
        return {
            channel: (machine.state, len(entry.subscriptions), machine.error)
            for channel, entry in self._entries.items()
            if (machine := entry.machine).state != "idle"
        }

    def focus(self) -> None:
        """Tell every listener that the user is back."""
        for entry in self._entries.values():
            self._post(entry.subscriptions, lambda listener: listener.on_focus())

    def close(self) -> None:
        """End every subscription."""
        for entry in list(self._entries.values()):
            for subscription in list(entry.subscriptions):
                self.remove(subscription)
        if self._delivery is not None:
            self._delivery.cancel()
        self._mailbox.clear()

    # -- the connection ------------------------------------------------------------------------------------------------

    def link_up(
        self, link: Link, *, retry_denied: bool, acks: Mapping[str, SubscribeAck], settled: Callable[[], None]
    ) -> None:
        """Subscribe every channel on `link`; call `settled` once each has been answered."""
        self._link = link
        self._settled = settled
        entries = list(self._entries.items())
        self._unsettled = {channel for channel, _ in entries}
        for channel, entry in entries:
            self._take(channel, entry, entry.machine.link_up(retry_denied=retry_denied, ack=acks.get(channel)))
        self._check_settled()

    def link_down(self) -> None:
        """Nothing is live any more."""
        self._link = self._settled = None
        self._unsettled.clear()
        for task in self._requests:
            task.cancel()
        for channel, entry in list(self._entries.items()):
            self._take(channel, entry, entry.machine.link_down())

    def forget(self) -> None:
        """Another user: what was seen by the former one does not count."""
        for entry in self._entries.values():
            entry.machine.forget()

    def message(self, channel: str, message: Inbound) -> None:
        """A message arrived."""
        entry = self._entries.get(channel)
        if entry is not None:
            self.messages += 1
            entry.messages += 1
            # It is held or delivered; what the client shows of the subscription stays as it is.
            for action in entry.machine.message(message):
                self._notify(entry, action)

    def gap(self, channel: str, reason: str) -> None:
        """The transport lost messages."""
        entry = self._entries.get(channel)
        if entry is not None:
            self._take(channel, entry, entry.machine.gap(reason))

    def revoked(self, channel: str, code: str, reason: str) -> None:
        """The server ended a subscription."""
        entry = self._entries.get(channel)
        if entry is not None:
            self._take(channel, entry, entry.machine.revoked(code, reason))

    # -- carrying out --------------------------------------------------------------------------------------------------

    def _take(self, channel: str, entry: _Entry, actions: Iterable[ChannelAction]) -> None:
        for action in actions:
            match action:
                case Subscribe(number, since):
                    self._request(self._subscribe(self._current(), channel, entry, number, since), channel)
                case Unsubscribe(number):
                    self._request(self._unsubscribe(self._current(), channel, entry, number), channel)
                case Retry(delay):
                    loop = asyncio.get_running_loop()
                    entry.timer = loop.call_later(delay, self._retry_due, channel, entry)
                case CancelRetry():
                    if entry.timer is not None:
                        entry.timer.cancel()
                case _:
                    self._count(channel, entry, action)
                    self._notify(entry, action)
        if entry.machine.disposable and self._entries.get(channel) is entry:
            del self._entries[channel]
        if not entry.machine.settling and channel in self._unsettled:
            self._unsettled.discard(channel)
            self._check_settled()
        self._changed()

    def _check_settled(self) -> None:
        settled = self._settled
        if settled is not None and not self._unsettled:
            self._settled = None
            settled()

    def _count(self, channel: str, entry: _Entry, action: ChannelAction) -> None:
        match action:
            case NotifyLive(recovered):
                entry.acknowledged += 1
                self._observer.subscribed(channel, recovered)
                if recovered is True:
                    entry.recovered += 1
                elif recovered is False:
                    entry.gaps += 1
                    self._observer.dropped(channel, "what was missed during an interruption is not replayed")
            case NotifyGap(reason):
                entry.gaps += 1
                self._observer.dropped(channel, reason)
            case NotifyDenied(error):
                entry.denials += 1
                self._observer.denied(channel, error)
            case _:
                pass

    def statistics(self, channel: str) -> SubscriptionStatistics:
        """Return a channel's counters; there are some while there is a subscription."""
        entry = self._entries[channel]
        return SubscriptionStatistics(
            listeners=len(entry.subscriptions),
            messages=entry.messages,
            acknowledged=entry.acknowledged,
            recovered=entry.recovered,
            gaps=entry.gaps,
            denials=entry.denials,
        )

    def _notify(self, entry: _Entry, action: ChannelAction) -> None:
        subscriptions = entry.subscriptions
        match action:
            case Deliver(message):
                self._post(subscriptions, lambda listener: listener.on_message(message))
            case NotifyLive(recovered):
                for subscription in subscriptions:
                    self._post_live(subscription, subscription._went_live(recovered))
            case Greet():
                self._post_live(subscriptions[-1], subscriptions[-1]._went_live(None))
            case NotifyGap(reason):
                self._post(subscriptions, lambda listener: listener.on_gap(reason))
            case NotifyOffline():
                self._post(subscriptions, lambda listener: listener.on_offline())
            case NotifyDenied(error):
                for subscription in subscriptions:
                    subscription._resolve(error)
                self._post(subscriptions, lambda listener: listener.on_denied(error))
            case _:
                raise AssertionError(action)

    # -- requests ------------------------------------------------------------------------------------------------------

    def _current(self) -> Link:
        assert self._link is not None
        return self._link

    def _request(self, work: Coroutine[Any, Any, None], channel: str) -> None:
        task = self._supervisor.start(work, f"request for {channel}")
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)

    async def _subscribe(self, link: Link, channel: str, entry: _Entry, number: int, since: Position | None) -> None:
        try:
            ack = await link.subscribe(channel, since=since)
        except RealtimeError as error:
            self._take(channel, entry, entry.machine.failed(number, error))
        except Exception as error:  # noqa: BLE001 -- a transport's fault must not take the channel down for good
            self._report(error)
            fault = ConnectionLostError(f"the transport failed to subscribe {channel!r}: {error!r}", channel=channel)
            self._take(channel, entry, entry.machine.failed(number, fault))
        else:
            self._heard()
            self._take(channel, entry, entry.machine.acked(number, ack))

    async def _unsubscribe(self, link: Link, channel: str, entry: _Entry, number: int) -> None:
        try:
            await link.unsubscribe(channel)
        except Exception as error:  # noqa: BLE001 -- as above
            self._report(error)
        self._take(channel, entry, entry.machine.unsubscribed(number))

    def _retry_due(self, channel: str, entry: _Entry) -> None:
        entry.timer = None
        self._take(channel, entry, entry.machine.retry_due())

    # -- the mailbox ---------------------------------------------------------------------------------------------------

    def _post_live(self, subscription: Subscription, recovered: bool | None) -> None:
        self._post([subscription], lambda listener: listener.on_live(recovered))

    def _post(self, subscriptions: Iterable[Subscription], call: Callable[[Listener], object]) -> None:
        addressees = tuple(subscriptions)
        if not addressees:
            return
        self._mailbox.append((addressees, call))
        if self._delivery is None:
            self._delivery = asyncio.get_running_loop().call_soon(self._hand_over)

    def _hand_over(self) -> None:
        self._delivery = None
        # Only what is there now: what listeners cause comes in the next turn, after everybody else's.
        for _ in range(len(self._mailbox)):
            if not self._mailbox:
                break
            addressees, call = self._mailbox.popleft()
            for subscription in addressees:
                if subscription._closed:
                    continue
                try:
                    call(subscription._listener)
                except Exception as error:  # noqa: BLE001 -- one listener's failure is not another's
                    self._report(error)
        if self._mailbox and self._delivery is None:
            self._delivery = asyncio.get_running_loop().call_soon(self._hand_over)
