"""`create_effect`: functions that are called when rows enter a query's result, change in it, or leave it.

An `Effect` follows a live query and keeps nothing of it. A plain handler is called in the batch. What an async handler
returns runs as a task of the client; for one row one handler runs after the other, in the order of what happened, and
those of different rows run at the same time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from inspect import isawaitable, iscoroutine
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeAlias

from typing_extensions import TypeVar

from .._base.relation import LiveSource
from .._base.snapshot import Rows
from .._collections.subscription import Change, require_callback
from .._errors import UsageError
from .live_query import LiveQuery, live_query

if TYPE_CHECKING:
    from .._collections.client import DbClient
    from ..query import QueryBuilder

__all__ = ["Effect", "create_effect"]

T = TypeVar("T")

Handler: TypeAlias = Callable[[Change[T, Any]], object]
BatchHandler: TypeAlias = Callable[[Sequence[Change[T, Any]]], object]
ErrorHandler: TypeAlias = Callable[[Exception], object]
_Call: TypeAlias = tuple[Callable[[Any], object], Any]

_BATCH: Final = object()
"""What the handlers of batches queue up for, as those of rows do for the row's key."""


class Effect(Generic[T]):
    """Calls handlers until it is closed; made by `create_effect`.

    Args:
        query: what is followed.
        handlers: by type of change.
        on_batch: gets all changes of a batch.
        on_error: gets what a handler raises.
        on_source_error: gets what the query reports.
        skip_initial: leave out what is there until the query is first ready.
    """

    def __init__(
        self,
        query: LiveQuery[Any],
        handlers: Mapping[str, Handler[T]],
        *,
        on_batch: BatchHandler[T] | None,
        on_error: ErrorHandler,
        on_source_error: ErrorHandler,
        skip_initial: bool,
    ) -> None:
        self._query = query
        self._handlers = handlers
        self._on_batch = on_batch
        self._on_error = on_error
        self._on_source_error = on_source_error
        self._error: Exception | None = None
        self._waiting: dict[Hashable, deque[_Call]] = {}
        """By row: the calls that wait for the one that runs."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False
        self._is_skipping = skip_initial
        # Changes are told before `_check` is called for them.
        query.subscribe_changes(self._take, include_initial_state=not skip_initial)
        query.subscribe(self._check)
        self._check()

    @property
    def is_closed(self) -> bool:
        """Whether no handler is called any more."""
        return self._is_closed

    def close(self) -> None:
        """Call no handler any more, and cancel those that run. Idempotent."""
        self._end()
        for task in self._tasks:
            task.cancel()

    async def aclose(self) -> None:
        """Call no handler any more, and wait for those that run, but for a handler that calls this. Idempotent."""
        self._end()
        # Two handlers that waited for each other would do so for ever.
        if self._tasks and asyncio.current_task() not in self._tasks:
            await asyncio.wait(self._tasks)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def _end(self) -> None:
        self._is_closed = True
        for waiting in self._waiting.values():
            waiting.clear()
        self._query.close()

    def _take(self, changes: Sequence[Change[T, Any]]) -> None:
        if self._is_skipping:
            return
        # A row of an ordered query that only moved is told as an update between equal rows.
        real = [change for change in changes if change.type != "update" or change.previous != change.value]
        for change in real:
            handler = self._handlers.get(change.type)
            if handler is not None:
                self._call(change.key, handler, change)
        if self._on_batch is not None and real:
            self._call(_BATCH, self._on_batch, real)

    def _check(self) -> None:
        """The rows of a batch have been told by now, so what comes after the first readiness is not initial."""
        if self._query.is_ready:
            self._is_skipping = False
        error, before = self._query.error, self._error
        self._error = error
        if error is not None and error is not before:
            self._on_source_error(error)

    def _call(self, name: Hashable, handler: Callable[[Any], object], argument: object) -> None:
        if self._is_closed:
            return
        waiting = self._waiting.get(name)
        if waiting is not None:
            waiting.append((handler, argument))
            return
        try:
            result = handler(argument)
        except Exception as error:  # noqa: BLE001 -- a handler's failure is not that of the batch
            self._failed(error, argument)
            return
        if isawaitable(result):
            self._waiting[name] = deque()
            task = self._query.client.spawn(self._finish(name, result, argument), "effect")
            self._tasks.add(task)
            task.add_done_callback(lambda task: self._done(task, result))

    def _done(self, task: asyncio.Task[None], first: Awaitable[object]) -> None:
        self._tasks.discard(task)
        if iscoroutine(first):
            first.close()  # a task that was cancelled before it began has not

    async def _finish(self, name: Hashable, running: Awaitable[object], argument: object) -> None:
        """Wait for a handler, then call those that waited for it."""
        waiting = self._waiting[name]
        while True:
            try:
                await running
            except Exception as error:  # noqa: BLE001 -- the next handler is not to suffer
                self._failed(error, argument)
            result: object = None
            while waiting and not isawaitable(result):
                handler, argument = waiting.popleft()
                try:
                    result = handler(argument)
                except Exception as error:  # noqa: BLE001 -- as above
                    self._failed(error, argument)
            if not isawaitable(result):
                break
            running = result
        del self._waiting[name]

    def _failed(self, error: Exception, argument: object) -> None:
        error.add_note(f"raised by a handler of an effect, for {argument!r}")
        self._on_error(error)


def create_effect(
    query: LiveSource[Rows[T]] | Callable[[QueryBuilder], LiveSource[Rows[T]]],
    /,
    *,
    on_enter: Handler[T] | None = None,
    on_update: Handler[T] | None = None,
    on_exit: Handler[T] | None = None,
    on_batch: BatchHandler[T] | None = None,
    on_error: ErrorHandler | None = None,
    on_source_error: ErrorHandler | None = None,
    skip_initial: bool = False,
    client: DbClient | None = None,
) -> Effect[T]:
    """Call functions when rows enter a query's result, change in it, or leave it.

    Handlers are plain or async functions of a `Change`. A plain one is called in the batch. Async ones run as tasks of
    the client, those of one row one after the other.

    Args:
        query: as for `live_query`.
        on_enter: a row is in the result that was not. Rows that are there already enter at once.
        on_update: a row is another one. A row that only moved is not.
        on_exit: a row is no longer in the result; `Change.value` is what it was.
        on_batch: gets a list of all changes of a batch, after the others were called. Its runs do not overlap.
        on_error: gets what a handler raises; by default that goes to the client's ``on_error``.
        on_source_error: gets what the query reports: a source failed, or a function of the query raised. The effect
            goes on when the query does. By default it goes to the client's ``on_error``.
        skip_initial: leave out the rows that are there until the query is first ready.
        client: as for `live_query`.

    Example:
        >>> effect = create_effect(
        ...     lambda q: q.from_(orders).where(lambda o: o.status == "paid"),
        ...     on_enter=lambda change: send_receipt(change.value),
        ...     skip_initial=True,
        ... )
        >>> await effect.aclose()

    Raises:
        QueryError: the query cannot be built.
        UsageError: no handler, or an async `on_error` or `on_source_error`.
    """
    given = {"insert": on_enter, "update": on_update, "delete": on_exit}
    handlers = {kind: handler for kind, handler in given.items() if handler is not None}
    if not handlers and on_batch is None:
        raise UsageError("create_effect needs a handler: on_enter, on_update, on_exit or on_batch")
    for name, hook in (("on_error", on_error), ("on_source_error", on_source_error)):
        if hook is not None:
            require_callback(hook, name)
    live = live_query(query, client=client)
    return Effect(
        live,
        handlers,
        on_batch=on_batch,
        on_error=on_error or live.client.report,
        on_source_error=on_source_error or live.client.report,
        skip_initial=skip_initial,
    )
