"""Deadlines by key, without a clock: whoever has one asks which have come."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Timers"]

K = TypeVar("K")


class Timers(Generic[K]):
    """Deadlines in milliseconds. Setting one again moves it.

    Attributes:
        on_earlier: Called when the next deadline became earlier than it was.
    """

    def __init__(self) -> None:
        """Begin without deadlines."""
        self.on_earlier: Callable[[], None] | None = None
        self._deadlines: dict[K, tuple[int, int]] = {}
        self._heap: list[tuple[int, int, K]] = []
        self._count = 0

    def set(self, key: K, at: int) -> None:
        """Set the deadline of a key."""
        earlier = self.next is None or at < (self.next or 0)
        self._count += 1
        self._deadlines[key] = at, self._count
        heapq.heappush(self._heap, (at, self._count, key))
        if len(self._heap) > 2 * len(self._deadlines) + 64:
            self._heap = [item for item in self._heap if self._deadlines.get(item[2]) == item[:2]]
            heapq.heapify(self._heap)
        if earlier and self.on_earlier is not None:
            self.on_earlier()

    def cancel(self, key: K) -> None:
        """Forget the deadline of a key, if it has one."""
        self._deadlines.pop(key, None)

    @property
    def next(self) -> int | None:
        """The next deadline."""
        heap = self._heap
        while heap and self._deadlines.get(heap[0][2]) != heap[0][:2]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def pop(self, now: int) -> K | None:
        """Remove and return the key whose deadline came first, ``None`` if none has come."""
        if self.next is None or self._heap[0][0] > now:
            return None
        key = heapq.heappop(self._heap)[2]
        del self._deadlines[key]
        return key

    @property
    def size(self) -> int:
        """How many entries are held, those that no longer count included."""
        return len(self._heap)

    def __len__(self) -> int:
        return len(self._deadlines)
