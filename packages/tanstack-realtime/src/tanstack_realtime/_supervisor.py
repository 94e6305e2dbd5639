"""The owner of a client's tasks, and whether there can be any."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ["Supervisor", "loop_runs"]


class Supervisor:
    """Every task that it starts is awaited or cancelled, and what one raises is reported.

    Unlike `asyncio.TaskGroup` it belongs to an object instead of a ``with`` block, and one failure ends nothing else.

    Args:
        report: takes what tasks raise.
    """

    def __init__(self, report: Callable[[Exception], None]) -> None:
        self._report = report
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run `work` in a task of its own."""
        task = asyncio.get_running_loop().create_task(work, name=f"tanstack_realtime: {name}")
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    async def aclose(self) -> None:
        """Cancel what runs and wait until it has ended."""
        current = asyncio.current_task()
        while rest := [task for task in self._tasks if task is not current]:
            for task in rest:
                task.cancel()
            await asyncio.wait(rest)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self._report(error)


def loop_runs() -> bool:
    """Whether an event loop runs in this thread, so that something can be done later."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
