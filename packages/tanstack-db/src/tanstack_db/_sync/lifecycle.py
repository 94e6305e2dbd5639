"""When a collection's source runs: statuses, consumers, and the timer that stops what nobody needs.

::

    idle ──> loading ──> ready <──> error        any of them ──> cleaned-up ──> loading
                 └───────────────────┘

Subscriptions, leases, open transactions and pending preloads are consumers. The first one starts the source; when the
last one has gone, the source is stopped after ``gc_time`` seconds.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from typing import Final, Literal, TypeAlias

from .._errors import CollectionStateError

__all__ = ["Lifecycle", "Status"]

Status: TypeAlias = Literal["idle", "loading", "ready", "error", "cleaned-up"]

_LEGAL: Final[Mapping[Status, frozenset[Status]]] = {
    "idle": frozenset({"loading", "error", "cleaned-up"}),
    "loading": frozenset({"ready", "error", "cleaned-up"}),
    "ready": frozenset({"error", "cleaned-up"}),
    "error": frozenset({"ready", "cleaned-up", "idle"}),
    "cleaned-up": frozenset({"loading", "error"}),
}


class Lifecycle:
    """The status of one collection and the number of its consumers.

    Args:
        collection: its id, for errors.
        gc_time: seconds from the last consumer's leaving to `expired`; 0, less or infinite: never.
        expired: stops the source.
        changed: called after each change of status.
    """

    def __init__(
        self, collection: str, gc_time: float, expired: Callable[[], None], changed: Callable[[], None]
    ) -> None:
        self.status: Status = "idle"
        self.error: Exception | None = None
        self.was_ready = False
        self.consumers = 0
        self._collection = collection
        self._gc_time = gc_time
        self._expired = expired
        self._changed = changed
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: dict[asyncio.Future[None], None] = {}

    @property
    def is_running(self) -> bool:
        """Whether the source was started and not stopped."""
        return self.status in ("loading", "ready", "error")

    def go(self, status: Status, error: Exception | None = None) -> None:
        """Change the status.

        Raises:
            CollectionStateError: the change is not legal.
        """
        if status not in _LEGAL[self.status] and not (status == self.status == "error"):
            raise CollectionStateError(self._collection, self.status, f"it cannot become {status}")
        self.status, self.error = status, error
        if status == "ready":
            self.was_ready = True
        elif status in ("loading", "cleaned-up"):
            self.was_ready = False
        if status != "loading":
            for future in self._waiting:
                if not future.done():
                    future.set_result(None)
        self._changed()

    async def loaded(self) -> None:
        """Wait until the status is another than loading."""
        while self.status == "loading":
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting[future] = None
            try:
                await future
            finally:
                del self._waiting[future]

    def hold(self) -> None:
        """One more consumer."""
        self.consumers += 1
        self.stop_timer()

    def release(self) -> None:
        """One consumer less. Without a running loop nothing is ever stopped."""
        self.consumers -= 1
        if self.consumers or not self.is_running or not 0 < self._gc_time < math.inf:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        self._timer = loop.call_later(self._gc_time, self._expired)

    def stop_timer(self) -> None:
        """It is needed again, or has been stopped otherwise."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
