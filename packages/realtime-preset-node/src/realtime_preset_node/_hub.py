"""The hub: channels with numbered messages, bounded history, and replay that is either complete or not claimed.

No I/O, no clock, no tasks: the caller passes the time, and a subscriber is an object that takes frames.

* A stream is one life of a channel. It has an epoch, and its messages are numbered from 1 without holes.
* A stream lives while it has subscribers, and for `HistoryLimits.age` after the last one left. Nobody holds a position
  in a channel without a stream, so publishing to one keeps nothing.
* A position of an older epoch, ahead of the stream, or before the oldest kept message cannot be proved complete:
  nothing is replayed and the subscriber is told so. A partial replay would look like a complete one.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tanstack_realtime.server import ServerObserver

from ._protocol import message_body, message_frame
from ._settings import HistoryLimits

__all__ = ["Hub", "HubStatistics", "Subscribed", "Subscriber"]


class Subscriber(Protocol):
    """What takes a channel's messages. Compared by identity."""

    def deliver(self, frame: str, size: int, /) -> None:
        """Take one frame of `size` UTF-8 bytes. Must not raise, and must not block."""
        ...


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The answer to a subscribe.

    Attributes:
        epoch: the stream's epoch.
        offset: number of the newest message.
        recovered: None without a position; else whether `missed` is provably everything after it.
        missed: bodies of the messages after the position, oldest first.
    """

    epoch: str
    offset: int
    recovered: bool | None = None
    missed: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class HubStatistics:
    """Numbers about a hub.

    Attributes:
        channels: with at least one subscriber.
        idle_channels: kept only for replay.
        subscriptions: over all channels.
        history_messages: kept over all channels.
        history_size: bytes of them.
    """

    channels: int
    idle_channels: int
    subscriptions: int
    history_messages: int
    history_size: int


@dataclass(frozen=True, slots=True)
class _Kept:
    offset: int
    at: float
    body: str
    size: int


class _Stream:
    __slots__ = ("_limits", "_size", "_targets", "epoch", "history", "offset", "subscribers")

    def __init__(self, epoch: str, limits: HistoryLimits) -> None:
        self.epoch = epoch
        self.offset = 0
        self.history: deque[_Kept] = deque()
        self.subscribers: dict[Subscriber, None] = {}
        self._limits = limits
        self._size = 0
        self._targets: tuple[Subscriber, ...] | None = None

    @property
    def size(self) -> int:
        return self._size

    def targets(self) -> tuple[Subscriber, ...]:
        """Return who to deliver to: a snapshot, so that a delivery may change the subscribers."""
        if self._targets is None:
            self._targets = tuple(self.subscribers)
        return self._targets

    def add(self, subscriber: Subscriber) -> None:
        self.subscribers[subscriber] = None
        self._targets = None

    def discard(self, subscriber: Subscriber) -> None:
        self.subscribers.pop(subscriber, None)
        self._targets = None

    def keep(self, body: str, size: int, now: float) -> None:
        self.history.append(_Kept(self.offset, now, body, size))
        self._size += size
        self.trim(now)

    def trim(self, now: float) -> None:
        limits = self._limits
        while self.history and (
            len(self.history) > limits.messages or self._size > limits.size or self.history[0].at + limits.age <= now
        ):
            self._size -= self.history.popleft().size

    def after(self, epoch: str, offset: int) -> list[str] | None:
        """Return the bodies after a position, or None where completeness cannot be proved."""
        missed = self.offset - offset
        if epoch != self.epoch or missed < 0 or missed > len(self.history):
            return None
        return [kept.body for kept in list(self.history)[len(self.history) - missed :]]


class Hub:
    """Channels, who listens to them, and what they missed.

    Args:
        limits: how much is kept for replay.
        new_epoch: gives an id that no other stream has, of this process or an earlier one.
        observer: hears when a channel gets its first and loses its last subscriber; its methods never raise.
    """

    def __init__(self, *, limits: HistoryLimits, new_epoch: Callable[[], str], observer: ServerObserver) -> None:
        self._limits = limits
        self._new_epoch = new_epoch
        self._observer = observer
        self._streams: dict[str, _Stream] = {}
        self._idle: OrderedDict[str, float] = OrderedDict()
        self._channels_of: dict[Subscriber, set[str]] = {}

    def subscribe(self, subscriber: Subscriber, channel: str, since: tuple[str, int] | None, now: float) -> Subscribed:
        """Add a subscriber. Every message after the returned offset is delivered to it.

        Args:
            subscriber: takes the messages. Subscribing twice changes nothing, but is answered.
            channel: wire string.
            since: epoch and offset of the last message that it has, or None.
            now: seconds on the caller's clock.
        """
        self._expire(now)
        stream = self._streams.get(channel)
        if stream is None:
            stream = self._streams[channel] = _Stream(self._new_epoch(), self._limits)
        stream.trim(now)
        opened = not stream.subscribers
        stream.add(subscriber)
        self._idle.pop(channel, None)
        self._channels_of.setdefault(subscriber, set()).add(channel)
        missed = stream.after(*since) if since is not None else None
        if opened:
            self._observer.channel_opened(channel)
        recovered = None if since is None else missed is not None
        return Subscribed(stream.epoch, stream.offset, recovered, missed or ())

    def unsubscribe(self, subscriber: Subscriber, channel: str, now: float) -> None:
        """Remove a subscriber from a channel. One that never subscribed is not an error."""
        channels = self._channels_of.get(subscriber)
        if channels is None or channel not in channels:
            return
        channels.discard(channel)
        if not channels:
            del self._channels_of[subscriber]
        stream = self._streams[channel]
        stream.discard(subscriber)
        if stream.subscribers:
            return
        self._idle[channel] = now + self._limits.age
        self._expire(now)
        self._observer.channel_emptied(channel)

    def is_subscribed(self, subscriber: Subscriber, channel: str) -> bool:
        """Tell whether a subscriber gets a channel's messages."""
        return channel in self._channels_of.get(subscriber, ())

    def remove(self, subscriber: Subscriber, now: float) -> None:
        """Remove a subscriber from every channel."""
        for channel in sorted(self._channels_of.get(subscriber, ())):
            self.unsubscribe(subscriber, channel, now)

    def publish(
        self, channel: str, text: str, user_id: str | None, now: float, *, publisher: Subscriber | None = None
    ) -> None:
        """Number a message and deliver it.

        Args:
            channel: wire string.
            text: the payload as JSON.
            user_id: the authenticated publisher, or None for the server.
            now: seconds on the caller's clock.
            publisher: gets the message marked as its own, if it subscribes to the channel.
        """
        self._expire(now)
        stream = self._streams.get(channel)
        if stream is None:
            return
        stream.offset += 1
        body = message_body(stream.offset, text, user_id)
        frame = message_frame(channel, body)
        size = len(frame) if frame.isascii() else len(frame.encode())
        stream.keep(body, size, now)
        for target in stream.targets():
            if target is publisher:
                own = message_frame(channel, body, own=True)
                target.deliver(own, size + len(own) - len(frame))
            else:
                target.deliver(frame, size)

    def statistics(self) -> HubStatistics:
        """Return the hub's numbers. Takes time proportional to the number of channels."""
        streams = self._streams.values()
        return HubStatistics(
            channels=len(self._streams) - len(self._idle),
            idle_channels=len(self._idle),
            subscriptions=sum(len(stream.subscribers) for stream in streams),
            history_messages=sum(len(stream.history) for stream in streams),
            history_size=sum(stream.size for stream in streams),
        )

    def _expire(self, now: float) -> None:
        """Drop streams that nobody can resume any more. Each is dropped once, so the cost is spread over the calls."""
        while self._idle:
            channel, expiry = next(iter(self._idle.items()))
            if expiry > now and len(self._idle) <= self._limits.idle_channels:
                return
            del self._idle[channel]
            del self._streams[channel]
