"""A virtual clock on which the order of tasks comes from a seed."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from typing import Any, Final

from tanstack_db.testing import VirtualClockLoop

__all__ = ["SeededLoop"]


class SeededLoop(VirtualClockLoop):
    """Virtual time, and a new order of the tasks that are ready in each turn, drawn from a seed.

    Callbacks keep their order, which asyncio promises. Between two tasks that are ready at once it promises nothing, so
    what only works in one order fails with some seed, and with that seed again.

    Args:
        seed: the same seed gives the same order.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.seed: Final = seed
        self._random = random.Random(seed)  # noqa: S311 -- a simulation must replay
        self._ready: deque[asyncio.Handle]

    def _process_events(self, event_list: list[Any]) -> None:
        """Called once per turn, before it runs what is ready."""
        ready = list(self._ready)
        places = [place for place, handle in enumerate(ready) if _is_task(handle)]
        if len(places) > 1:
            tasks = [ready[place] for place in places]
            self._random.shuffle(tasks)
            for place, handle in zip(places, tasks, strict=True):
                ready[place] = handle
            self._ready.clear()
            self._ready.extend(ready)


def _is_task(handle: asyncio.Handle) -> bool:
    callback: object = getattr(handle, "_callback", None)
    return isinstance(getattr(callback, "__self__", None), asyncio.Task)
