"""The hub: channels with numbered messages, bounded history, and replay that is either complete or not claimed.

No I/O, no clock, no tasks: the caller passes the time, and a subscriber is an object that takes frames.

* A stream is one life of a channel. It has an epoch, and its messages are numbered from 1 without holes.
* A stream lives while it has subscribers, and for `HistoryLimits.age` after the last one left. Nobody holds a position
  in a channel without a stream, so publishing to one keeps nothing.
* A position of an older epoch, ahead of the stream, or before the oldest kept message cannot be proved complete:
  nothing is replayed and the subscriber is told so. A partial replay would look like a complete one.
* Messages are numbered and kept at once, and delivered together at the end of the loop's turn: however many there are,
  a subscriber costs one write. Very many subscribers are served over several turns. Whoever gets something else in the
  meantime catches up first, so that every subscriber sees its answers and its channels' messages in the order in which
  they became true.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tanstack_realtime.server import ServerObserver

from ._message import Numbered, write_bodies
from ._settings import HistoryLimits
from ._slow import SlowReaders
from ._stream import Lane, Stream, Subscriber

__all__ = ["Hub", "HubStatistics", "Subscribed"]


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The answer to a subscribe.

    Attributes:
        epoch: the stream's epoch.
        offset: number of the newest message.
        recovered: None without a position; else whether `missed` is provably everything after it.
        missed: the messages after the position, oldest first, as bodies that each hold some; see `messages_body`.
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
        history_size: bytes of them, as `HistoryLimits` counts.
    """

    channels: int
    idle_channels: int
    subscriptions: int
    history_messages: int
    history_size: int


class Hub:
    """Channels, who listens to them, and what they missed.

    Args:
        limits: how much is kept for replay.
        new_epoch: gives an id that no other stream has, of this process or an earlier one.
        defer: calls a function at the end of the loop's turn; it may also call it at once.
        slow_readers: which messages a slow reader may do without.
        observer: hears when a channel gets its first and loses its last subscriber; its methods never raise.
        readers_in_a_row: so many readers of a channel get their messages before `defer` gives others their turn. The
            default takes some milliseconds.
    """

    def __init__(
        self,
        *,
        limits: HistoryLimits,
        new_epoch: Callable[[], str],
        defer: Callable[[Callable[[], None]], object],
        slow_readers: SlowReaders,
        observer: ServerObserver,
        readers_in_a_row: int = 1000,
    ) -> None:
        self._readers_in_a_row = readers_in_a_row
        self._limits = limits
        self._new_epoch = new_epoch
        self._defer = defer
        self._slow_readers = slow_readers
        self._observer = observer
        self._streams: dict[str, Stream] = {}
        self._idle: OrderedDict[str, float] = OrderedDict()
        self._channels_of: dict[Subscriber, set[str]] = {}
        self._dirty: dict[str, Stream] = {}
        self._kept = 0
        """Bytes of all histories."""

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
            policy = self._slow_readers.of(channel)
            lane = None if policy is None else Lane(channel, policy)
            stream = self._streams[channel] = Stream(channel, self._new_epoch(), self._limits, lane)
        self._kept -= stream.size
        stream.trim(now)
        self._kept += stream.size
        opened = not stream.subscribers
        stream.add(subscriber)
        self._idle.pop(channel, None)
        self._channels_of.setdefault(subscriber, set()).add(channel)
        missed = stream.after(*since) if since is not None else None
        if opened:
            self._observer.channel_opened(channel)
        recovered = None if since is None else missed is not None
        return Subscribed(stream.epoch, stream.offset, recovered, write_bodies(missed or ()))

    def unsubscribe(self, subscriber: Subscriber, channel: str, now: float) -> None:
        """Remove a subscriber from a channel. One that never subscribed is not an error."""
        channels = self._channels_of.get(subscriber)
        if channels is None or channel not in channels:
            return
        channels.discard(channel)
        if not channels:
            del self._channels_of[subscriber]
        stream = self._streams[channel]
        stream.catch_up(subscriber)
        stream.discard(subscriber)
        if stream.subscribers:
            return
        self._idle[channel] = now + self._limits.age
        self._expire(now)
        self._observer.channel_emptied(channel)

    def is_subscribed(self, subscriber: Subscriber, channel: str) -> bool:
        """Tell whether a subscriber gets a channel's messages."""
        return channel in self._channels_of.get(subscriber, ())

    def subscriptions(self, subscriber: Subscriber) -> int:
        """Return how many channels a subscriber has."""
        return len(self._channels_of.get(subscriber, ()))

    def remove(self, subscriber: Subscriber, now: float) -> None:
        """Remove a subscriber from every channel."""
        for channel in sorted(self._channels_of.get(subscriber, ())):
            self.unsubscribe(subscriber, channel, now)

    def publish(
        self,
        channel: str,
        text: str,
        user_id: str | None,
        now: float,
        *,
        publisher: Subscriber | None = None,
        data: Any = None,
    ) -> None:
        """Number a message. It is delivered to its publisher at once and to the others by the next `flush`.

        Args:
            channel: wire string.
            text: the payload as JSON.
            user_id: the authenticated publisher, or None for the server.
            now: seconds on the caller's clock.
            publisher: gets the message marked as its own, if it subscribes to the channel.
            data: the payload that `text` holds, for the policies that look at it.
        """
        if self._idle:
            self._expire(now)
        stream = self._streams.get(channel)
        if stream is None:
            return
        stream.offset += 1
        size = len(text) if text.isascii() else len(text.encode())
        key = None if stream.lane is None else self._slow_readers.key(stream.lane.policy, channel, data)
        message = Numbered(stream.offset, text, size, user_id, now, key)
        self._kept += stream.keep(message)
        if self._kept > self._limits.total_size:
            self._make_room(stream)
        if not stream.subscribers:
            return
        if publisher not in stream.subscribers:
            publisher = None
        if publisher is not None:
            self.catch_up(publisher)
        full = stream.push(message, publisher)
        dirty = self._dirty
        if dirty.get(channel) is not stream:  # it may hold a former life of the channel, which nobody listens to
            first = not dirty
            dirty[channel] = stream
            if first:
                self._defer(self.flush)
        if publisher is not None:
            # After the flush was asked for: whoever waits for the message is not to wait for the publisher's answer.
            stream.hand((replace(message, own=True),), (publisher,))
        if full:
            while not stream.flush(self._readers_in_a_row):
                pass

    def catch_up(self, subscriber: Subscriber) -> None:
        """Deliver at once what is pending for one subscriber. Call it before sending it anything else."""
        dirty = self._dirty
        if not dirty:
            return
        mine = self._channels_of.get(subscriber)
        if not mine:
            return
        # A turn may have thousands of answers and of channels with messages, so that only the smaller set is walked.
        if len(mine) < len(dirty):
            channels = sorted([channel for channel in mine if channel in dirty])
        else:
            channels = [channel for channel in dirty if channel in mine]
        for channel in channels:
            dirty[channel].catch_up(subscriber)

    def flush(self) -> None:
        """Deliver what is pending; where there are very many readers, a part now and the rest in the next turns."""
        dirty, self._dirty = self._dirty, {}
        left = {channel: stream for channel, stream in dirty.items() if not stream.flush(self._readers_in_a_row)}
        if left:
            clean = not self._dirty
            self._dirty |= left
            if clean:
                self._defer(self.flush)

    def statistics(self) -> HubStatistics:
        """Return the hub's numbers. Takes time proportional to the number of channels."""
        streams = self._streams.values()
        return HubStatistics(
            channels=len(self._streams) - len(self._idle),
            idle_channels=len(self._idle),
            subscriptions=sum(len(stream.subscribers) for stream in streams),
            history_messages=sum(len(stream.history) for stream in streams),
            history_size=self._kept,
        )

    def _expire(self, now: float) -> None:
        """Drop streams that nobody can resume any more. Each is dropped once, so the cost is spread over the calls."""
        while self._idle:
            channel, expiry = next(iter(self._idle.items()))
            if expiry > now and len(self._idle) <= self._limits.idle_channels:
                return
            self._drop_idle(channel)

    def _make_room(self, stream: Stream) -> None:
        """Forget until all histories are within the limit again: idle channels, then the oldest of the one given."""
        while self._kept > self._limits.total_size:
            idle = next(iter(self._idle), None)
            if idle is not None and self._streams[idle] is not stream:
                self._drop_idle(idle)
            elif stream.history:
                self._kept -= stream.size
                stream.forget_oldest()
                self._kept += stream.size
            else:
                return

    def _drop_idle(self, channel: str) -> None:
        del self._idle[channel]
        self._kept -= self._streams.pop(channel).size
