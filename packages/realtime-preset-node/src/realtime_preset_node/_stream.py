"""One life of a channel: who subscribes, what is on its way to them, and what is kept for replay.

No I/O, no clock. The hub says when to deliver; a part of the readers at a time where there are very many.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ._message import Numbered, write_messages
from ._packet import BATCH_BYTES, Packet
from ._settings import MESSAGE_BYTES, HistoryLimits
from ._slow import DropOldest, LatestPerKey

__all__ = ["Lane", "Stream", "Subscriber"]


class Subscriber(Protocol):
    """What takes a channel's messages. Compared by identity."""

    def deliver(self, packet: Packet, /) -> None:
        """Take one or more frames. Must not raise, and must not block."""
        ...

    def offer(self, lane: Lane, messages: Sequence[Numbered], joined: Sequence[Packet], /) -> None:
        """Take messages of a channel with a policy for slow readers; `joined` holds them as they are sent.

        Must not raise, and must not block.
        """
        ...


@dataclass(frozen=True, slots=True)
class Lane:
    """A channel whose messages a slow reader may do without.

    Attributes:
        channel: wire string.
        policy: which ones.
    """

    channel: str
    policy: DropOldest | LatestPerKey


class _Round:
    """Some messages on their way to all readers, a part of the readers at a time."""

    __slots__ = ("_left", "is_over", "joined", "messages")

    def __init__(self, channel: str, targets: Sequence[Subscriber], messages: Sequence[Numbered]) -> None:
        self.messages = tuple(messages)
        self.joined = write_messages(channel, self.messages)
        self.is_over = False
        self._left = targets

    def next_targets(self, most: int) -> Sequence[Subscriber]:
        """Return the next `most` readers. `is_over` once there are no more."""
        targets, self._left = self._left[:most], self._left[most:]
        self.is_over = not self._left
        return targets


class Stream:
    """One life of a channel: its subscribers, what waits for them, and its history."""

    __slots__ = (
        "_caught_up",
        "_limits",
        "_pending",
        "_pending_size",
        "_round",
        "_targets",
        "channel",
        "epoch",
        "history",
        "lane",
        "offset",
        "size",
        "subscribers",
    )

    def __init__(self, channel: str, epoch: str, limits: HistoryLimits, lane: Lane | None) -> None:
        self.channel = channel
        self.epoch = epoch
        self.lane = lane
        self.offset = 0
        self.history: deque[Numbered] = deque()
        self.subscribers: dict[Subscriber, None] = {}
        self._limits = limits
        self.size = 0
        """Bytes of the history."""
        self._targets: tuple[Subscriber, ...] | None = None
        self._pending: list[Numbered] = []
        self._pending_size = 0
        self._round: _Round | None = None
        """The first of the pending messages, while not everybody has them."""
        self._caught_up: dict[Subscriber, int] = {}
        """How many of the pending messages are not for a subscriber, or not any more."""

    def add(self, subscriber: Subscriber) -> None:
        """Add a subscriber, for whom nothing that is pending is meant."""
        if subscriber not in self.subscribers:
            self.subscribers[subscriber] = None
            self._targets = None
            if self._pending:
                self._caught_up[subscriber] = len(self._pending)

    def discard(self, subscriber: Subscriber) -> None:
        """Remove a subscriber; what is pending for it is lost."""
        self.subscribers.pop(subscriber, None)
        self._caught_up.pop(subscriber, None)
        self._targets = None
        if not self.subscribers:
            self._pending.clear()  # nobody may find it later: not even who subscribes before the turn ends
            self._pending_size = 0
            self._round = None

    def push(self, message: Numbered, publisher: Subscriber | None) -> bool:
        """Take a message for everybody but its publisher, who has it already.

        Returns:
            Whether waiting for more would not join more.
        """
        self._pending.append(message)
        self._pending_size += message.size + MESSAGE_BYTES
        if publisher is not None:
            self._caught_up[publisher] = len(self._pending)
        return self._pending_size >= BATCH_BYTES

    def catch_up(self, subscriber: Subscriber) -> None:
        """Deliver what is pending to one subscriber."""
        start = self._caught_up.get(subscriber, 0)
        if start == len(self._pending):
            return
        self._caught_up[subscriber] = len(self._pending)
        self.hand(self._pending[start:], (subscriber,))

    def flush(self, most: int) -> bool:
        """Deliver what is pending to the next `most` readers, and return whether everybody has everything.

        Messages that come while there are readers left wait until all have the earlier ones.
        """
        if not self._pending:
            return True
        current = self._round
        targets: Sequence[Subscriber]
        if current is not None:
            targets = [target for target in current.next_targets(most) if target in self.subscribers]
        else:
            if self._targets is None:
                self._targets = tuple(self.subscribers)
            current = self._round = _Round(self.channel, self._targets, self._pending)
            targets = current.next_targets(most)
        behind: dict[Subscriber, int] = {}
        if self._caught_up:
            behind = {target: start for target in targets if (start := self._caught_up.get(target)) is not None}
            targets = [target for target in targets if target not in behind]
        # All of this first: a delivery may end a subscription, or a stream.
        self._advance(current, targets, behind)
        for target, start in behind.items():
            if start < len(current.messages):
                self.hand(current.messages[start:], (target,))
        self.hand(current.messages, targets, current.joined)
        return not self._pending

    def _advance(self, current: _Round, targets: Iterable[Subscriber], behind: Mapping[Subscriber, int]) -> None:
        end = len(current.messages)
        if not current.is_over:
            self._caught_up.update(dict.fromkeys(targets, end))
            self._caught_up.update({target: max(start, end) for target, start in behind.items()})
            return
        self._round = None
        del self._pending[:end]
        self._pending_size = sum([message.size + MESSAGE_BYTES for message in self._pending])
        self._caught_up = {target: start - end for target, start in self._caught_up.items() if start > end}

    def hand(
        self, messages: Sequence[Numbered], targets: Iterable[Subscriber], joined: Sequence[Packet] | None = None
    ) -> None:
        """Deliver messages to some subscribers, joined."""
        if joined is None:
            joined = write_messages(self.channel, messages)
        if self.lane is None:
            for packet in joined:
                for target in targets:
                    target.deliver(packet)
        else:
            for target in targets:
                target.offer(self.lane, messages, joined)

    def keep(self, message: Numbered) -> int:
        """Take the next message, forget what is beyond the limits, and return by how many bytes there is more."""
        before = self.size
        self.history.append(message)
        self.size += message.size + MESSAGE_BYTES
        self.trim(message.at)
        return self.size - before

    def trim(self, now: float) -> None:
        """Forget what is beyond the limits."""
        history, limits = self.history, self._limits
        outlived = now - limits.age
        while history and (len(history) > limits.messages or self.size > limits.size or history[0].at <= outlived):
            self.forget_oldest()

    def forget_oldest(self) -> None:
        """Forget the oldest message of the history."""
        self.size -= self.history.popleft().size + MESSAGE_BYTES

    def after(self, epoch: str, offset: int) -> Sequence[Numbered] | None:
        """Return the messages after a position, or None where completeness cannot be proved."""
        missed = self.offset - offset
        if epoch != self.epoch or missed < 0 or missed > len(self.history):
            return None
        return list(self.history)[len(self.history) - missed :]
