"""`live_query`: a query whose result keeps itself up to date.

A `LiveQuery` is a handle. What runs is a `LiveResult`, shared by all handles of equal queries in one client, so a
hundred components that show the same list cost one. Closing a handle ends what was begun through it and nothing else.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, Self, cast, overload
from weakref import WeakValueDictionary

from typing_extensions import TypeVar

from .._base.relation import LiveSource
from .._base.snapshot import Rows
from .._collections.client import current_client
from .._collections.subscription import Change, require_callback
from .._errors import QueryError, UsageError
from .._execution.explain import Explanation
from .._execution.paging import WindowMove
from .._execution.result import Follower, LiveResult
from ..query import QueryBuilder
from ..query._clauses import window
from ..query._sources import is_source

if TYPE_CHECKING:
    from .._base.ir import QueryIR
    from .._collections.client import DbClient

__all__ = ["LiveQuery", "live", "live_query", "open_query", "query_once"]

Out = TypeVar("Out", covariant=True)
T = TypeVar("T")
V = TypeVar("V")


class _Results:
    """The live results of one client. What nobody refers to any more is forgotten."""

    def __init__(self, client: DbClient) -> None:
        self._client = client
        self._shared: WeakValueDictionary[QueryIR, LiveResult] = WeakValueDictionary()
        self._all: WeakValueDictionary[int, LiveResult] = WeakValueDictionary()
        self._made = 0
        client.on_close(self._close)

    def get(self, ir: QueryIR) -> LiveResult:
        """Return the result that is shared by equal queries."""
        result = self._shared.get(ir)
        if result is None:
            result = self._shared[ir] = self.make(ir)
        return result

    def make(self, ir: QueryIR) -> LiveResult:
        """Return a result that is shared with nobody."""
        self._made += 1
        result = self._all[self._made] = LiveResult(ir, self._client)
        return result

    def take(self, result: LiveResult) -> None:
        """Share a result no longer."""
        if self._shared.get(result.ir) is result:
            del self._shared[result.ir]

    def _close(self) -> None:
        # A query is older than those that read it. They go first, or it would wait for its timer once they let it go.
        for _, result in sorted(self._all.items(), reverse=True):
            result.stop_if_unused()


def open_query(ir: QueryIR, db: DbClient) -> LiveResult:
    """Return the one result of a query in a client. It runs while somebody holds it.

    Raises:
        QueryError: the query cannot be run; see `LiveResult`.
    """
    return db.service(_Results, _Results).get(ir)


class _Subscription:
    """What was begun through a handle: a callback on its result, which is another one once the window has moved.

    Args:
        begin: adds the callback to a result, and returns the function that removes it.
    """

    def __init__(self, begin: Callable[[LiveResult], Callable[[], None]]) -> None:
        self._begin = begin
        self._end: Callable[[], None] | None = None

    def begin(self, result: LiveResult) -> None:
        """Begin, or go over to another result."""
        if self._end is not None:
            self._end()
        result.hold()
        try:
            stop = self._begin(result)
        except BaseException:
            result.release()
            raise

        def end() -> None:
            stop()
            result.release()

        self._end = end

    def end(self) -> None:
        """End. Idempotent."""
        end, self._end = self._end, None
        if end is not None:
            end()


class LiveQuery(LiveSource[Out], Generic[Out]):
    """The live result of a query; made by `live_query`.

    It runs while somebody subscribes to it, waits for it or iterates over it, and 5 s longer. Reading it with `get`
    starts it as well.

    Attributes:
        client: whose collections it reads.
    """

    def __init__(self, ir: QueryIR, client: DbClient) -> None:
        self.client = client
        self._result = open_query(ir, client)
        self._result.handles.add(self)
        self._is_own = False
        self._subscriptions: dict[_Subscription, None] = {}
        self._iterations: dict[asyncio.Event, None] = {}
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<LiveQuery {self._result.id}, {len(self._result.rows)} rows>"

    @property
    def ir(self) -> QueryIR:
        """What the query says, with the window that it shows now."""
        return self._result.ir

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

    def explain(self, *, reset: bool = False) -> Explanation:
        """Tell how the query is run, and what each of its operators has done. Starts the query as `get` does.

        Nothing is counted until the first call. That one runs the query once more, beside the one that runs, and shows
        the figures of this first run; later calls add what the changes since then have cost. Counting lasts until the
        query stops.

        Example:
            >>> print(query.explain(reset=True))  # the first run
            >>> todos.insert(todo)
            >>> print(query.explain())  # what this one change has cost

        Args:
            reset: begin anew after this call, so that the next one shows only what happened since.

        Returns:
            Rows in, rows out and seconds of each operator; ``str()`` makes a table of it.
        """
        self._require_open()
        self._result.hold()
        try:
            return Explanation(self._result.explain(reset=reset))
        finally:
            self._result.release()

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
        return self._hold(lambda result: result.listen(callback))

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

        is_initial = include_initial_state

        def begin(result: LiveResult) -> Callable[[], None]:
            nonlocal is_initial
            if is_initial and (rows := result.initial()):
                callback(rows)
            is_initial = False
            return result.follow(callback)

        return self._hold(begin)

    async def __aiter__(self) -> AsyncIterator[Out]:
        """Iterate over the results: the first as soon as it is ready or has failed, then every newer one.

        Results that are outdated before they are asked for are skipped. Ends when the query is closed.
        """
        wake = asyncio.Event()
        stop = self.subscribe(wake.set)
        self._iterations[wake] = None
        try:
            while not self._is_closed:
                if self.is_ready or self.error is not None:
                    yield self.get()
                await wake.wait()
                wake.clear()
        finally:
            self._iterations.pop(wake, None)
            stop()

    @overload
    def changes(
        self: LiveQuery[Rows[T]], *, include_initial_state: bool = False
    ) -> AsyncGenerator[Change[T, Any], None]: ...
    @overload
    def changes(self, *, include_initial_state: bool = False) -> AsyncGenerator[Change[Any, Any], None]: ...
    async def changes(self, *, include_initial_state: bool = False) -> AsyncGenerator[Change[Any, Any], None]:
        """Iterate over the changes, one row at a time, in the order in which `subscribe_changes` tells them.

        It begins with the first step, not with the call, and ends when the query is closed, after the changes from
        before. None is left out: those that the loop has not taken yet wait, without a bound. Where only the present
        rows matter, iterate over the query itself, which skips what is outdated. A failure is no change: see `error`.

        Example:
            >>> async for change in query.changes(include_initial_state=True):
            ...     print(change.type, change.key, change.value)

        Args:
            include_initial_state: begin with the rows that are there, as inserts.
        """
        wake = asyncio.Event()
        waiting: deque[Change[Any, Any]] = deque()

        def take(changes: Sequence[Change[Any, Any]]) -> None:
            waiting.extend(changes)
            wake.set()

        stop = self.subscribe_changes(take, include_initial_state=include_initial_state)
        self._iterations[wake] = None
        try:
            while waiting or not self._is_closed:
                while waiting:
                    yield waiting.popleft()
                wake.clear()
                if not self._is_closed:
                    await wake.wait()
        finally:
            self._iterations.pop(wake, None)
            stop()

    # -- the window ----------------------------------------------------------------------------------------------------

    def set_window(self, *, limit: int | None, offset: int = 0) -> WindowMove:
        """Show other rows of the order. Told like any other change: once, and only rows that come or go.

        The window belongs to this object. Other handles of an equal query keep theirs, while a query that reads this
        object sees the rows that it shows. Costs O(log n) for each row that comes or goes.

        An on-demand source is asked for what is missing. Meanwhile the query shows what is there, and stays ready;
        where the load fails, it shows the window from before again.

        Args:
            limit: at most so many rows, or None for all.
            offset: rows of the order to leave out before them.

        Returns:
            Whether the rows are there, and something to await. What fails and is not awaited goes to the client's
            ``on_error``.

        Raises:
            QueryError: the query has no order and no window, or is for one row; or no numbers of rows.
        """
        self._require_open()
        if not self._result.is_ordered or self.ir.single:
            raise QueryError("set_window needs a query of many rows with order_by, limit or offset")
        limit, offset = None if limit is None else window("limit", limit), window("offset", offset)
        with self.client.batch():
            self._own()
            return self._result.move(limit=limit, offset=offset)

    def _own(self) -> None:
        """Share the result with no other handle; those who share it now keep it as it is."""
        if self._is_own:
            return
        self._is_own = True
        shared, results = self._result, self.client.service(_Results, _Results)
        if len(shared.handles) == 1 and not shared.is_lent:
            results.take(shared)
            return
        self._result = results.make(shared.ir)
        shared.handles.discard(self)
        self._result.handles.add(self)
        if shared.is_running and self._subscriptions:
            self._result.start_from(shared)
        for subscription in self._subscriptions:
            subscription.begin(self._result)

    # -- life cycle ----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End every subscription and iteration that was begun through this object. Idempotent."""
        self._is_closed = True
        self._result.handles.discard(self)
        for subscription in list(self._subscriptions):
            subscription.end()
        self._subscriptions.clear()
        for wake in self._iterations:
            wake.set()

    async def __aenter__(self) -> Self:
        self.subscribe(_nothing)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _hold(self, begin: Callable[[LiveResult], Callable[[], None]]) -> Callable[[], None]:
        self._require_open()
        subscription = _Subscription(begin)
        subscription.begin(self._result)
        self._subscriptions[subscription] = None

        def stop() -> None:
            self._subscriptions.pop(subscription, None)
            subscription.end()

        return stop

    def _require_open(self) -> None:
        if self._is_closed:
            raise UsageError("this LiveQuery was closed; make another one with live_query(...)")

    def _open(self, db: DbClient) -> LiveResult:
        if db is not self.client:
            return open_query(self.ir, db)
        if self._result.is_ordered and not self.ir.single:
            # Who reads this object sees its window, wherever that is moved.
            with self.client.batch():
                self._own()
        return self._result


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
    source = cast("object", query if isinstance(query, LiveSource) or not callable(query) else query(QueryBuilder()))
    if not is_source(source):
        raise QueryError(f"live_query takes a query or a function that returns one, not {source!r}")
    ir: QueryIR = getattr(source, "ir", None) or QueryBuilder().from_(source).ir
    return LiveQuery(ir, client or current_client())


live: Final = live_query
"""The short name of `live_query`, for loops: ``async for rows in live(query)``."""


async def query_once(
    query: LiveSource[V] | Callable[[QueryBuilder], LiveSource[V]], /, *, client: DbClient | None = None
) -> V:
    """Wait until a query is ready, and return what it then shows. Stops it at once, unless somebody else shows it.

    Args:
        query: as for `live_query`.
        client: as for `live_query`.

    Example:
        >>> rows = await query_once(lambda q: q.from_(todos).where(lambda t: t.project_id == "p1"))

    Raises:
        QueryError: the query cannot be built.
        SourceError: a source failed; carries the cause.
        Exception: what a function of the query raised.
    """
    live = live_query(query, client=client)
    stop = live.subscribe(_nothing)
    try:
        await live.preload()
        return live.get()
    finally:
        stop()
        live.close()
        live._result.stop_if_unused()


def _nothing() -> None:
    """Hold the query."""
