"""Calls the realtime half when something is due."""

from __future__ import annotations

import asyncio

from ._clock import SystemClock
from ._realtime import Realtime

__all__ = ["Ticker"]


class Ticker:
    """One timer for all deadlines of a server."""

    def __init__(self, realtime: Realtime, clock: SystemClock) -> None:
        """Start in the running loop. :meth:`stop` ends it."""
        self._realtime = realtime
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        realtime.timers.on_earlier = self._arm
        clock.on_advance = self._fire
        self._arm()

    def stop(self) -> None:
        """Let nothing more happen."""
        self._realtime.timers.on_earlier = None
        self._clock.on_advance = None
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        delay = max(0, self._realtime.next_tick - self._clock.now()) / 1000
        self._timer = self._loop.call_later(delay, self._fire)

    def _fire(self) -> None:
        self._realtime.tick()
        self._arm()
