"""When a query collection fetches: one fetch at a time, again after a while, again after a failure, never for nobody.

::

    request ──> fetch ──> landed ──(interval)──┐
       ^          │                            ├──> request, as long as the rows are used
       │          └─────> failed ──(back-off)──┘
       └── used again after a pause, unless the rows are fresh

A request joins the fetch that is under way. One that must see what the server has just accepted cannot: it gets the
next fetch, which begins when this one has ended. So there are never more than two, however many ask.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Generic

from typing_extensions import TypeVar

__all__ = ["Fetcher", "Flight", "Timing", "back_off"]

R = TypeVar("R")


def back_off(failures: int) -> float:
    """Seconds to wait after so many failures in a row: 1, 2, 4 up to 30, less a random quarter."""
    return min(2.0 ** min(failures - 1, 5), 30.0) * (1.0 - random.random() / 4)  # noqa: S311 -- spreads load


@dataclass(frozen=True, slots=True)
class Timing:
    """When to fetch again; all in seconds.

    Attributes:
        interval: from the end of one fetch to the next, or None.
        stale_time: how long rows are fresh enough for one who comes after a pause.
        retry_delay: failures in a row to the delay of the next try.
    """

    interval: float | None
    stale_time: float
    retry_delay: Callable[[int], float]


class Flight:
    """One fetch, and what happened while it was under way.

    Attributes:
        written: keys whose rows are newer than what this fetch can bring.
        landing: called in the batch that shows its rows.
        is_awaited: whether somebody will hear of its failure.
    """

    def __init__(self) -> None:
        self.written: set[Hashable] = set()
        self.landing: list[Callable[[], None]] = []
        self.is_awaited = False
        self._end: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    async def outcome(self) -> Exception | None:
        """Wait for its end, and return why it failed."""
        self.is_awaited = True
        # Unlike the future itself, this can be cancelled without cancelling it for all others.
        await asyncio.wait([self._end])
        return self._end.result()

    def end(self, error: Exception | None) -> None:
        """It has landed or failed."""
        self._end.set_result(error)


class Fetcher(Generic[R]):
    """Runs the fetches of one start of a collection.

    Args:
        fetch: the application's function.
        landed: shows what a flight brought; what it raises is a failure like any other.
        failed: hears of each failure, and whether somebody awaits it.
        spawn: makes a task that the client owns.
        is_used: whether anybody wants to see changes.
        timing: when to fetch again.

    Attributes:
        error: why the last fetch failed, or None.
        failures: how many have failed since the last success.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[R]],
        landed: Callable[[Flight, R], None],
        failed: Callable[[Exception, bool], None],
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        is_used: Callable[[], bool],
        timing: Timing,
    ) -> None:
        self.error: Exception | None = None
        self.failures = 0
        self._fetch = fetch
        self._landed = landed
        self._failed = failed
        self._spawn = spawn
        self._is_used = is_used
        self._timing = timing
        self._flight: Flight | None = None
        self._next: Flight | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ended_at = 0.0

    @property
    def is_fetching(self) -> bool:
        """Whether a fetch is under way."""
        return self._flight is not None

    def request(self, *, newer: bool = False) -> Flight:
        """Return the fetch that is under way, or one that begins now.

        Args:
            newer: one that is under way is too old; return the one that will follow it.
        """
        if self._flight is None:
            self._launch(Flight())
        elif newer:
            self._next = self._next or Flight()
            return self._next
        assert self._flight is not None
        return self._flight

    def written(self, key: Hashable) -> None:
        """This row was written otherwise: a fetch that began before does not know."""
        if self._flight is not None:
            self._flight.written.add(key)

    def use_changed(self) -> None:
        """Somebody began or ceased to use the rows."""
        if not self._is_used():
            self._stop_timer()
        elif self._flight is None and self._timer is None:
            age = asyncio.get_running_loop().time() - self._ended_at
            if self.error is not None or age >= self._timing.stale_time:
                self.request()
            else:
                self._plan(age)

    def stop(self, reason: Exception) -> None:
        """Cancel everything. Who waits for a fetch gets `reason`."""
        self._stop_timer()
        flights, self._flight, self._next = (self._flight, self._next), None, None
        for flight in flights:
            if flight is not None:
                flight.end(reason)
        if self._task is not None:
            self._task.cancel()

    def _launch(self, flight: Flight) -> None:
        self._stop_timer()
        self._flight = flight
        self._task = self._spawn(self._fly(flight))

    async def _fly(self, flight: Flight) -> None:
        error: Exception | None = None
        try:
            rows = await self._fetch()
            # A fetch function may have kept its cancellation to itself.
            if self._flight is flight:
                self._landed(flight, rows)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():  # by `stop`, or by the client, which will stop the collection next
                raise
            error = RuntimeError("query_fn was cancelled")
        except Exception as problem:  # noqa: BLE001 -- it is shown by the collection, and reaches whoever awaits it
            error = problem
        self._ended(flight, error)

    def _ended(self, flight: Flight, error: Exception | None) -> None:
        if self._flight is not flight:
            return
        self._flight = None
        self._ended_at = asyncio.get_running_loop().time()
        self.error = error
        self.failures = 0 if error is None else self.failures + 1
        flight.end(error)
        following, self._next = self._next, None
        if following is not None:
            self._launch(following)
        else:
            self._plan()
        if error is not None:
            self._failed(error, flight.is_awaited)

    def _plan(self, age: float = 0.0) -> None:
        if not self._is_used():
            return
        delay = self._timing.interval if self.error is None else self._timing.retry_delay(self.failures)
        if delay is not None:
            self._timer = asyncio.get_running_loop().call_later(max(delay - age, 0.0), self._due)

    def _due(self) -> None:
        self._timer = None
        self.request()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
