"""Recent answers, to give again to whoever asks again."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

__all__ = ["Recent"]

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """A map that forgets its oldest entries."""

    def __init__(self, *, count: int, window: int | None = None) -> None:
        """Begin empty.

        Args:
            count: How many entries are kept.
            window: How long, in milliseconds. ``None``: without end.
        """
        self._count = count
        self._window = window
        self._entries: OrderedDict[K, tuple[int, V]] = OrderedDict()

    def get(self, key: K, now: int) -> V | None:
        """Return what was put under a key, if it is still known."""
        self._trim(now)
        found = self._entries.get(key)
        return found[1] if found else None

    def put(self, key: K, value: V, now: int) -> None:
        """Remember an answer."""
        self._entries[key] = (now, value)
        self._trim(now)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()

    def _trim(self, now: int) -> None:
        entries = self._entries
        while len(entries) > self._count or (
            self._window is not None and entries and next(iter(entries.values()))[0] <= now - self._window
        ):
            entries.popitem(last=False)
