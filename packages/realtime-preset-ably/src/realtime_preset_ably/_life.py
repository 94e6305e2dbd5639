"""What a link has under way, and its end: every task has this owner, and none outlives it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from tanstack_realtime import CloseReason, ConnectionLostError

__all__ = ["Gathered", "Life"]

T = TypeVar("T")


class Life:
    """From the first attempt to the end.

    Attributes:
        reason: why it is over, or None while it is not.
    """

    def __init__(self) -> None:
        self.reason: CloseReason | None = None
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tasks: set[asyncio.Task[Any]] = set()

    def require(self) -> None:
        """Raise `ConnectionLostError` if it is over."""
        if self.reason is not None:
            raise ConnectionLostError(f"the connection is gone: {self.reason.reason}", reason=self.reason.reason)

    def end(self, reason: CloseReason) -> bool:
        """It is over; return whether that is news. Whoever waits in `run` is told."""
        if self.reason is not None:
            return False
        self.reason = reason
        self._over.set_result(None)
        return True

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start a task. What it raises is for whoever awaits it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Await something that may never come, until it is over.

        Raises:
            ConnectionLostError: it was, before there was a result.
        """
        if self.reason is not None:
            work.close()
        self.require()
        task = self.spawn(work)
        waited: set[asyncio.Future[Any]] = {task, self._over}
        try:
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        finally:
            cancelled = task.cancel()  # no effect on one that is done
        if cancelled or task.cancelled():
            self.require()
        return task.result()

    async def aclose(self) -> None:
        """Cancel what is left and wait for its end."""
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # nobody may be waiting for it any more


class Gathered:
    """Many ask, one call is made: all who ask before it begins share it, and there is one at a time.

    Args:
        life: owns it.
        call: makes it.
        within: seconds from the first who asks until it begins.
    """

    def __init__(self, life: Life, call: Callable[[], Awaitable[None]], within: float) -> None:
        self._life = life
        self._call = call
        self._within = within
        self._running: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None

    async def __call__(self) -> None:
        """Wait for a call that begins from now on, and raise what it raises."""
        if self._next is None:
            self._next = self._life.spawn(self._run(self._running))
        await asyncio.shield(self._next)

    async def _run(self, former: asyncio.Task[None] | None) -> None:
        if former is not None and not former.done():
            await asyncio.wait({former})
        await asyncio.sleep(self._within)
        self._running, self._next = self._next, None
        await self._call()
