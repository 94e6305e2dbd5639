"""`live_query`: a query whose result keeps itself up to date.

A `LiveQuery` is a handle. What runs is a `LiveResult`, shared by all handles of equal queries in one client, so a
hundred components that show the same list cost one. Closing a handle ends what was begun through it and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Self, cast
from weakref import WeakValueDictionary

from typing_extensions import TypeVar

from ._client import current_client
from ._errors import QueryError, UsageError
from ._relation import LiveSource
from ._result import Follower, LiveResult
from ._subscription import require_callback
from .query import QueryBuilder
from .query._sources import is_source

if TYPE_CHECKING:
    from ._client import DbClient
    from .query._ir import QueryIR

__all__ = ["LiveQuery", "live_query", "open_query"]

Out = TypeVar("Out", covariant=True)
V = TypeVar("V")


class _Results:
    """The live results of one client, by query. What nobody refers to any more is forgotten."""

    def __init__(self, client: DbClient) -> None:
        self._client = client
        self._results: WeakValueDictionary[QueryIR, LiveResult] = WeakValueDictionary()
        client.on_close(self._close)

    def get(self, ir: QueryIR) -> LiveResult:
        result = self._results.get(ir)
        if result is None:
            result = self._results[ir] = LiveResult(ir, self._client)
        return result

    def _close(self) -> None:
        # A query is older than those that read it. They go first, or it would wait for its timer once they let it go.
        for result in reversed(list(self._results.values())):
            result.stop_if_unused()


def open_query(ir: QueryIR, db: DbClient) -> LiveResult:
    """Return the one result of a query in a client. It runs while somebody holds it.

    Raises:
        QueryError: the query cannot be run; see `LiveResult`.
    """
    return db.service(_Results, _Results).get(ir)


class LiveQuery(LiveSource[Out], Generic[Out]):
    """The live result of a query; made by `live_query`.

    It runs while somebody subscribes to it, waits for it or iterates over it, and 5 s longer. Reading it with `get`
    starts it as well.

    Attributes:
        client: whose collections it reads.
    """

    def __init__(self, ir: QueryIR, client: DbClient) -> None:
        self.client = client
        self._ir = ir
        self._result = open_query(ir, client)
        self._stops: dict[object, Callable[[], None]] = {}
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<LiveQuery {self._result.id}, {len(self._result.rows)} rows>"

    @property
    def ir(self) -> QueryIR:
        """What the query says."""
        return self._ir

    # -- reading -------------------------------------------------------------------------------------------------------

    def get(self) -> Out:
        """Return the result: `Rows`, or the one value of a query for one row or for totals.

        While the query runs it is the same object until something changed.
        """
        self._require_open()
        self._result.hold()
        try:
            return cast("Out", self._result.value())
        finally:
            self._result.release()

    @property
    def is_ready(self) -> bool:
        """Whether every source has delivered what the query asks for. Rows may be there before."""
        return self._result.is_ready

    @property
    def error(self) -> Exception | None:
        """What a source reports, or what a function of the query raised; the last good rows stay.

        It goes when the source recovers, or when the rows change to some that the function can handle.
        """
        return self._result.error

    async def preload(self) -> None:
        """Start, and wait until it is ready.

        Raises:
            SourceError: a source failed; carries the cause.
            Exception: what a function of the query raised.
        """
        wake = asyncio.Event()
        stop = self.subscribe(wake.set)
        try:
            while self.error is None and not self.is_ready:
                await wake.wait()
                wake.clear()
                self._require_open()
            if (problem := self._result.problem()) is not None:
                raise problem
        finally:
            stop()

    # -- following -----------------------------------------------------------------------------------------------------

    def subscribe(self, callback: Callable[[], object], /) -> Callable[[], None]:
        """Call `callback` after each batch that changed what `get` returns: rows, order, readiness or error.

        Returns:
            The function that stops it: at once, also from within a call. Idempotent.
        """
        require_callback(callback, "subscribe")
        return self._hold(lambda: self._result.listen(callback))

    def subscribe_changes(self, callback: Follower, /, *, include_initial_state: bool = False) -> Callable[[], None]:
        """Call `callback` with the changes of each batch, each row at most once.

        Deletes come first, then the other changes by ascending `Change.index`. A list that shows an ordered query
        follows by taking out the rows of all deletes and updates, then putting in each insert and update at its index.
        A row that only moved comes as an update with an equal value. A row of an outer join that gets its only match,
        or loses it, comes as an update: its key stays.

        Args:
            callback: gets a non-empty list of `Change`. What it raises goes to the client's ``on_error``.
            include_initial_state: first tell about the rows that are there, as inserts, before this call returns.

        Returns:
            The function that stops it: at once, also from within a call. Idempotent.
        """
        require_callback(callback, "subscribe_changes")

        def begin() -> Callable[[], None]:
            if include_initial_state and (rows := self._result.initial()):
                callback(rows)
            return self._result.follow(callback)

        return self._hold(begin)

    async def __aiter__(self) -> AsyncIterator[Out]:
        """Iterate over the results: the first as soon as it is ready or has failed, then every newer one.

        Results that are outdated before they are asked for are skipped. Ends when the query is closed.
        """
        wake = asyncio.Event()
        stop = self.subscribe(wake.set)
        self._stops[wake] = wake.set
        try:
            while not self._is_closed:
                if self.is_ready or self.error is not None:
                    yield self.get()
                await wake.wait()
                wake.clear()
        finally:
            self._stops.pop(wake, None)
            stop()

    # -- life cycle ----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End every subscription and iteration that was begun through this object. Idempotent."""
        self._is_closed = True
        for stop in list(self._stops.values()):
            stop()
        self._stops.clear()

    async def __aenter__(self) -> Self:
        self.subscribe(_nothing)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _hold(self, begin: Callable[[], Callable[[], None]]) -> Callable[[], None]:
        self._require_open()
        self._result.hold()
        try:
            end = begin()
        except BaseException:
            self._result.release()
            raise
        token = object()

        def stop() -> None:
            if self._stops.pop(token, None) is not None:
                end()
                self._result.release()

        self._stops[token] = stop
        return stop

    def _require_open(self) -> None:
        if self._is_closed:
            raise UsageError("this LiveQuery was closed; make another one with live_query(...)")

    def _open(self, db: DbClient) -> LiveResult:
        return self._result if db is self.client else open_query(self._ir, db)


def live_query(
    query: LiveSource[V] | Callable[[QueryBuilder], LiveSource[V]], /, *, client: DbClient | None = None
) -> LiveQuery[V]:
    """Make the live result of a query.

    Args:
        query: a query, a collection, a scope; or a function that builds one.
        client: whose collections are read; by default the active session's, else the default client's.

    Example:
        >>> open_todos = live_query(lambda q: q.from_(todos).where(lambda t: col(t.completed_at).is_none()))
        >>> stop = open_todos.subscribe(lambda: print(open_todos.get()))

    Raises:
        QueryError: the query cannot be built: an open parameter, a misspelt column, `and` in a lambda, …
    """
    source = cast("object", query if isinstance(query, LiveSource) else query(QueryBuilder()))
    if not is_source(source):
        raise QueryError(f"live_query takes a query or a function that returns one, not {source!r}")
    ir: QueryIR = getattr(source, "ir", None) or QueryBuilder().from_(source).ir
    return LiveQuery(ir, client or current_client())


def _nothing() -> None:
    """Hold the query."""
