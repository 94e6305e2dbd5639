"""The log of one channel: what was sent on it, in order, for two minutes.

Every frame has a serial. Serials grow as text, begin with the time, and end with the epoch, which names this log: a
serial of another log says nothing about what a client has seen of this one.

A client that was away says which serial it saw last. The log answers with everything after it, or says that it cannot.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Final

from ._errors import AblyError
from ._wire import Action, Frame

__all__ = ["Budget", "Entry", "Log"]

_PER_MILLISECOND: Final = 10_000


@dataclass(frozen=True, slots=True)
class Entry:
    """A frame in a log.

    Attributes:
        serial: The frame's place.
        timestamp: When it was sent, in milliseconds.
        size: What it counts for, in bytes.
        frame: The frame as readers get it who attached by the channel's plain name.
    """

    serial: str
    timestamp: int
    size: int
    frame: Frame


class Budget:
    """How many bytes the channels of an app may keep together. Whatever grows beyond it pays."""

    def __init__(self, limit: int) -> None:
        """Begin with nothing used of ``limit`` bytes."""
        self.limit = limit
        self.used = 0


class Log:
    """A bounded log. Messages and presence events share its serials."""

    def __init__(self, epoch: str, *, window: int, max_bytes: int, budget: Budget) -> None:
        """Begin an empty log.

        Args:
            epoch: A name that no other log has.
            window: How long entries are kept, in milliseconds.
            max_bytes: How many bytes are kept; beyond them the oldest entries go.
            budget: What this log shares with others.
        """
        self._epoch = epoch
        self._window = window
        self._max_bytes = max_bytes
        self._budget = budget
        self._entries: deque[Entry] = deque()
        self._bytes = 0
        self._last = (0, 0)
        self._floor = self._format(0, 0)

    @property
    def head(self) -> str:
        """The serial of the newest frame, or of the beginning."""
        return self._format(*self._last)

    @property
    def is_empty(self) -> bool:
        """Whether nothing can be replayed."""
        return not self._entries

    def next_serial(self, now: int) -> str:
        """Take the next serial."""
        millisecond, count = self._last
        if now > millisecond:
            self._last = (now, 0)
        elif count + 1 < _PER_MILLISECOND:
            self._last = (millisecond, count + 1)
        else:
            self._last = (millisecond + 1, 0)
        return self.head

    def append(self, entry: Entry) -> None:
        """Add a frame under the serial that was taken for it."""
        self._entries.append(entry)
        self._count(entry.size)
        self.trim(entry.timestamp)

    def trim(self, now: int) -> None:
        """Drop what is too old or too much."""
        while self._entries and (self._entries[0].timestamp <= now - self._window or self._is_too_much):
            gone = self._entries.popleft()
            self._count(-gone.size)
            self._floor = gone.serial

    def clear(self) -> None:
        """Drop everything."""
        self._entries.clear()
        self._count(-self._bytes)
        self._floor = self.head

    def after(self, serial: str, since: int) -> list[Entry]:
        """Return everything after a serial, oldest first.

        Args:
            serial: What the reader saw last.
            since: What is older than this counts as lost, though history may still have it.

        Raises:
            AblyError: 90005 for a serial of another log, 90003 if something after it is lost.
        """
        if not self.owns(serial) or serial > self.head:
            raise AblyError("the channel cannot be resumed: its serial belongs to another time of this server", 90005)
        missed = list(takewhile(lambda entry: entry.serial > serial, reversed(self._entries)))[::-1]
        if serial < self._floor or (missed and missed[0].timestamp <= since):
            raise AblyError("the channel cannot be resumed: what was missed is no longer kept", 90003)
        return missed

    def owns(self, serial: str) -> bool:
        """Tell whether a serial is one of this log's, however old."""
        return serial.rpartition("@")[2] == self._epoch

    def latest(self, count: int) -> list[tuple[Entry, int]]:
        """Return the entries that hold the last messages, oldest first, each with the number of messages to skip."""
        found: list[tuple[Entry, int]] = []
        for entry in reversed(self._entries):
            if count <= 0:
                break
            if entry.frame.action is Action.MESSAGE:
                messages: Sequence[object] = entry.frame.fields["messages"]
                found.append((entry, max(0, len(messages) - count)))
                count -= len(messages)
        return found[::-1]

    def since(self, timestamp: int) -> list[Entry]:
        """Return the messages that were sent after a time, oldest first."""
        newer = takewhile(lambda entry: entry.timestamp > timestamp, reversed(self._entries))
        return [entry for entry in newer if entry.frame.action is Action.MESSAGE][::-1]

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    @property
    def _is_too_much(self) -> bool:
        return self._bytes > self._max_bytes or self._budget.used > self._budget.limit

    def _count(self, size: int) -> None:
        self._bytes += size
        self._budget.used += size

    def _format(self, millisecond: int, count: int) -> str:
        return f"{millisecond:014d}-{count:04d}@{self._epoch}"
