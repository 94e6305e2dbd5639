"""How a windowed query loads from an on-demand source: as many rows of its order as its window reaches to.

The rows that are loaded are a prefix of the order, up to the *boundary*. A source is first asked for the window and
all before it. When rows of the prefix go, or the window moves on, it is asked for what is missing, behind the boundary.
Rows that are there for the sake of other queries do not count, since there may be gaps between them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from .._base.batch import Node, Scheduler
from .._base.relation import Cursor, LoadSubset, Relation
from .._sync.subsets import cursor_after

__all__ = ["Paging", "Prefix", "WindowMove"]


class Prefix(Protocol):
    """What is asked of the order of a query's rows."""

    def __len__(self) -> int: ...

    def count_to(self, sort: tuple[Any, ...], /) -> int:
        """Return how many rows are at or before a sort key."""
        ...

    def at(self, index: int, /) -> tuple[tuple[Any, ...], Any, Any] | None:
        """Return sort key, row key and row at a position."""
        ...


class WindowMove:
    """What `LiveQuery.set_window` returns: whether the rows of the window are there.

    The window has moved already, and shows of its rows those that are there.
    """

    def __init__(self) -> None:
        self._is_loaded = False
        self._error: Exception | None = None
        self._waiters: list[asyncio.Future[None]] = []
        self._callbacks: list[Callable[[], None]] = []
        self._is_awaited = False

    def __repr__(self) -> str:
        return f"<WindowMove {'loaded' if self._is_loaded else 'loading' if self._error is None else self._error!r}>"

    @property
    def is_loaded(self) -> bool:
        """Whether everything was there, or is by now. False also for a load that failed."""
        return self._is_loaded

    @property
    def error(self) -> Exception | None:
        """Why loading failed. The query then shows the window from before."""
        return self._error

    async def loaded(self) -> None:
        """Wait until the rows of the window are there. A move that is overtaken by another waits for that one.

        Raises:
            SourceError: the source failed; carries the cause. The query shows the window from before.
        """
        self._is_awaited = True
        if not self._is_loaded and self._error is None:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter
        if self._error is not None:
            raise self._error

    def then(self, callback: Callable[[], None]) -> None:
        """Call `callback` when it has ended. Who does hears of an error, too."""
        self._is_awaited = True
        self._callbacks.append(callback)

    def settle(self, error: Exception | None = None) -> bool:
        """End it. Returns whether somebody hears of the error."""
        self._is_loaded, self._error = error is None, error
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()
        return self._is_awaited


class _Again(Node):
    """Calls back when the source has handed out what it has been given in this batch: it runs after the source."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback

    def run(self) -> None:
        self._callback()

    def publish(self) -> None:
        """Nothing to tell."""


class Paging:
    """A `Lease` on the prefix of an on-demand source that one windowed query needs.

    Args:
        relation: the source.
        subset: the first demand: the window and all before it.
        read: gives the value of the order's first term in a row.
        on_status: called when the state of a demand changed.
        scheduler: that of the source's client.
    """

    def __init__(
        self,
        relation: Relation,
        subset: LoadSubset,
        read: Callable[[Any], Any],
        on_status: Callable[[], None],
        scheduler: Scheduler,
    ) -> None:
        self._relation = relation
        self._scheduler = scheduler
        self._subset = subset
        self._read = read
        self._on_status = on_status
        self._reach = subset.limit
        self._boundary: tuple[tuple[Any, ...], Cursor] | None = None
        self._is_exhausted = False
        self._is_loading = True
        self._asked = subset.limit
        self._again = _Again(on_status)
        self._leases = [relation.acquire(subset, on_status)]

    @property
    def is_ready(self) -> bool:
        """Whether the first window was loaded. What is loaded later does not change that."""
        return self._leases[0].is_ready

    @property
    def error(self) -> Exception | None:
        """Why the last load failed."""
        return self._leases[0].error or self._leases[-1].error

    @property
    def is_loading(self) -> bool:
        """Whether a load is under way."""
        return self._is_loading

    def release(self) -> None:
        """Stop needing any of it."""
        for lease in self._leases:
            lease.release()

    def reach(self, count: int | None) -> None:
        """The window ends at this position now; None: it has no end."""
        self._reach = count

    def give_up(self) -> None:
        """Do not wait for the last load, which has failed."""
        if len(self._leases) > 1:
            self._leases.pop().release()
            self._is_loading = False

    def advance(self, rows: Prefix) -> None:
        """Ask for what is missing.

        Args:
            rows: the rows that are there. Rows of one of the demands are there before its lease is ready.
        """
        if not self._leases[0].is_ready:
            self._restart()
            return
        covered = self._covered(rows)
        if self._is_loading:
            if not self._leases[-1].is_ready:
                return
            self._loaded(rows, covered)
            covered = self._covered(rows)
        missing = None if self._reach is None else self._reach - covered
        if not self._is_exhausted and (missing is None or missing > 0):
            self._ask(missing, covered)

    def _covered(self, rows: Prefix) -> int:
        return 0 if self._boundary is None else rows.count_to(self._boundary[0])

    def _loaded(self, rows: Prefix, covered: int) -> None:
        self._is_loading = False
        if self._asked == 0:
            return
        last = None if self._asked is None else rows.at(covered + self._asked - 1)
        if last is None:
            # There are fewer than were asked for, or all were: the source has no more.
            self._is_exhausted = True
            return
        sort, key, row = last
        self._boundary = sort, cursor_after(self._subset.order_by[0], self._read(row), key)

    def _ask(self, missing: int | None, covered: int) -> None:
        self._is_loading = True
        self._asked = missing
        cursor = None if self._boundary is None else self._boundary[1]
        more = replace(self._subset, limit=missing, offset=covered, cursor=cursor)
        lease = self._relation.acquire(more, self._on_status)
        self._leases.append(lease)
        if lease.is_ready:
            # It was loaded at once. Its rows are on their way.
            self._scheduler.schedule(self._again)

    def _restart(self) -> None:
        """The source loads from scratch, or has not loaded yet."""
        self._boundary = None
        self._is_exhausted, self._is_loading, self._asked = False, True, self._subset.limit
        first, *rest = self._leases
        self._leases = [first]
        for lease in rest:
            lease.release()
