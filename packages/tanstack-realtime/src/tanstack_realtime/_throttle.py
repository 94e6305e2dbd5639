"""A throttle as a pure machine: the first value at once, then the last of every interval, the very last included."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic

from typing_extensions import TypeVar

__all__ = ["Throttle", "Waiting"]

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Waiting(Generic[V]):
    """A value that waits for its turn."""

    value: V


class Throttle(Generic[V]):
    """Decides when a value is sent. The caller has the clock and the timer.

    Args:
        interval: least seconds between two sends; 0 sends everything at once.

    Attributes:
        waiting: the value that waits, or None.
        due: when it may be sent; when a value that is pushed now may, where none waits.
    """

    def __init__(self, interval: float) -> None:
        self.waiting: Waiting[V] | None = None
        self.due = float("-inf")
        self._interval = interval

    def push(self, value: V, now: float) -> bool:
        """Take a value. Returns whether to send it at once; else it waits until `due`, in place of an earlier one."""
        if self.waiting is None and now >= self.due:
            self.due = now + self._interval
            return True
        self.waiting = Waiting(value)
        return False

    def hold(self, value: V, *, not_before: float) -> None:
        """Let a value wait until that time at least."""
        self.waiting = Waiting(value)
        self.due = max(self.due, not_before)

    def take(self, now: float) -> Waiting[V] | None:
        """Return what waits if its time has come, and begin the next interval with it."""
        return self.flush(now) if now >= self.due else None

    def flush(self, now: float) -> Waiting[V] | None:
        """Return what waits, whether its time has come or not."""
        waiting, self.waiting = self.waiting, None
        if waiting is not None:
            self.due = now + self._interval
        return waiting

    def cancel(self) -> None:
        """Forget what waits."""
        self.waiting = None
