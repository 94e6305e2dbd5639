"""The server's time. It runs with the event loop's, and a test can move it forward."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """Where the server has its time from."""

    def now(self) -> int:
        """Return the time in milliseconds since the epoch."""
        ...

    def advance(self, milliseconds: int) -> None:
        """Let time pass at once."""
        ...


class SystemClock:
    """The machine's time, counted by the loop since the start.

    Attributes:
        on_advance: Called when time has jumped.
    """

    def __init__(self) -> None:
        """Start in the running loop."""
        self.on_advance: Callable[[], None] | None = None
        self._loop = asyncio.get_running_loop()
        self._start = time.time_ns() // 1_000_000
        self._origin = self._loop.time()
        self._skipped = 0

    def now(self) -> int:
        """Return the time in milliseconds since the epoch."""
        return self._start + self._skipped + int((self._loop.time() - self._origin) * 1000)

    def advance(self, milliseconds: int) -> None:
        """Let time pass at once.

        Raises:
            ValueError: If it would go back.
        """
        if milliseconds < 0:
            raise ValueError("time does not go back")
        self._skipped += milliseconds
        if self.on_advance is not None:
            self.on_advance()
