"""`VirtualClockLoop`: an event loop whose clock jumps to the next timer."""

from __future__ import annotations

import asyncio
import math
from typing import Any

__all__ = ["LoopStuckError", "VirtualClockLoop", "settle"]


class LoopStuckError(RuntimeError):
    """Nothing is ready and no timer is set: what the program waits for cannot happen."""


class _JumpingSelector:
    """Stands where the loop keeps its I/O selector: instead of waiting for the timeout, it moves the clock by it."""

    def __init__(self, loop: VirtualClockLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise LoopStuckError(
                f"nothing is ready at virtual second {self._loop.time():g} and no timer is set: the awaited event can "
                "never happen. Threads and sockets do not exist on a virtual clock; test those on a real loop."
            )
        self._loop.jump(timeout)
        return []


class VirtualClockLoop(asyncio.BaseEventLoop):
    """An event loop in virtual time.

    Time starts at 0 and is in seconds. It moves only when every ready callback has run, by exactly the distance to the
    next timer, so the order of events does not depend on the machine.
    """

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        # The two members below complete asyncio's abstract BaseEventLoop.
        self._selector = _JumpingSelector(self)
        self._clock_resolution = math.ulp(0.0)

    def time(self) -> float:
        """Return the virtual second."""
        return self._now

    def jump(self, seconds: float) -> None:
        """Move the clock forward. Timers that became due run in the next turn of the loop, in order."""
        self._now += seconds
        # asyncio runs timers that are due within the resolution. One that runs early, sees that and sets itself again
        # would do so for ever, since this clock does not move meanwhile.
        self._clock_resolution = math.ulp(self._now)

    def _process_events(self, event_list: list[Any]) -> None:
        """Nothing to do: there is no I/O."""

    def _write_to_self(self) -> None:
        """Nothing to do: the loop never blocks, so it need not be woken."""


async def settle() -> None:
    """Let everything run that can run without time passing.

    Example:
        >>> task = asyncio.ensure_future(work())
        >>> await settle()
        >>> assert task.done()
    """
    loop = asyncio.get_running_loop()
    now = loop.time()
    woken = loop.create_future()
    # A timer in the smallest distance fires after all that is ready, and after all that this makes ready.
    loop.call_at(now + 1e-6, woken.set_result, None)
    await woken
