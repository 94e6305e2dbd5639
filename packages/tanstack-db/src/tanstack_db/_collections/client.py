"""`DbClient`: one user's collections, transactions and background tasks; and which client is meant right now.

A process that serves one user needs none of this: module-level collections belong to the default client. A process that
renders for many users makes one client per session. Inside ``with client.activate():`` the module-level collections
stand for this client's own instances, so the same code runs in both.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar, copy_context
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Generic, Self, cast

from typing_extensions import TypeVar

from .._base.batch import Scheduler
from .._errors import NoSessionError, UsageError
from .._transactions.transaction import Persist, Tx, clear_current, require_loop, scope
from .._transactions.work import Work

if TYPE_CHECKING:
    from .collection import Collection

__all__ = [
    "CollectionOptions",
    "DbClient",
    "create_collection",
    "current_client",
    "default_client",
    "require_sessions",
    "transact",
    "transaction",
]

C = TypeVar("C")
S = TypeVar("S")
Made = TypeVar("Made", covariant=True)

ErrorHook = Callable[[Exception], object]


class CollectionOptions(ABC, Generic[Made]):
    """The recipe for a collection: every client builds its own instance from it.

    Subclass it to add a collection type: `build` returns an instance of a `Collection` subclass.
    """

    @property
    @abstractmethod
    def id(self) -> str:
        """The collection's id, for errors."""

    @abstractmethod
    def build(self, client: DbClient, /) -> Made:
        """Make the instance that belongs to `client`. Must not start anything."""


class DbClient:
    """Owns a scheduler, an instance of every collection it is asked for, and every task they start.

    Not thread-safe: one event loop owns a client and everything in it.

    Args:
        on_error: gets every failure that nobody awaits: a transaction's, a subscriber's, a source's. Default: the event
            loop's exception handler.

    Attributes:
        scheduler: the batches of this client.
        on_error: as given; may be set later.
    """

    def __init__(self, *, on_error: ErrorHook | None = None) -> None:
        self.scheduler = Scheduler(self.report)
        self.on_error = on_error
        self._instances: dict[CollectionOptions[Any], Any] = {}
        self._services: dict[type[Any], Any] = {}
        self._closers: list[Callable[[], Awaitable[object] | None]] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._open: dict[Work, None] = {}
        self._order = 0
        self._is_closed = False

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called. The default client is never closed for good."""
        return self._is_closed

    # -- collections and services --------------------------------------------------------------------------------------

    def collection(self, collection: C, /) -> C:
        """Return this client's own instance of a collection.

        Args:
            collection: any client's instance, as a rule the module-level one.
        """
        options: Any = getattr(collection, "options", None)
        if not isinstance(cast("object", options), CollectionOptions):
            raise UsageError(f"{collection!r} is not a collection")
        if cast("Collection[Any, Any]", collection).client is self:
            return collection
        return cast("C", self.build(options))

    def build(self, options: CollectionOptions[C], /) -> C:
        """Return this client's instance made from `options`, made now if there is none."""
        made = self._instances.get(options)
        if made is None:
            self._require_open()
            made = self._instances[options] = options.build(self)
            cast("Collection[Any, Any]", made)._built()
        return cast("C", made)

    def service(self, kind: type[S], factory: Callable[[DbClient], S], /) -> S:
        """Return the one `kind` of this client, made by `factory` when first asked for.

        Higher layers keep here what they need once per client, for example a connection.
        """
        if kind not in self._services:
            self._services[kind] = factory(self)
        return cast("S", self._services[kind])

    def on_close(self, callback: Callable[[], Awaitable[object] | None], /) -> None:
        """Call, and await, `callback` when the client is closed, before its collections are cleaned up."""
        self._closers.append(callback)

    # -- batches and transactions --------------------------------------------------------------------------------------

    def batch(self) -> AbstractContextManager[None]:
        """Group writes: live queries run once and subscribers are told once, when the outermost block ends.

        Do not await inside: what other tasks write meanwhile would wait for this block as well. What subscribers raise
        goes to `on_error`.
        """
        return self.scheduler.batch()

    def create_transaction(
        self, server_fn: Persist, /, *, optimistic: bool = True, metadata: Mapping[str, Any] | None = None
    ) -> Tx:
        """Return a transaction that stays pending until `Tx.commit` or `Tx.rollback`.

        Args:
            server_fn: tells the server; replaces the collections' handlers.
            optimistic: False shows nothing before the server has it.
            metadata: goes into every mutation.

        Raises:
            UsageError: `server_fn` is no function.
        """
        if not callable(server_fn):
            if asyncio.iscoroutine(server_fn):
                server_fn.close()
            raise UsageError(
                f"server_fn must be a coroutine function, not {server_fn!r}: pass the function and not its call, for "
                "example `lambda: add_todo(text)`. Without one, write to the collections themselves"
            )
        return Tx(Work(self, optimistic=optimistic, metadata=metadata), server_fn)

    def transaction(
        self, server_fn: Persist, /, *, optimistic: bool = True, metadata: Mapping[str, Any] | None = None
    ) -> AbstractContextManager[Tx]:
        """Like the function `transaction`, for this client."""
        require_loop("transaction")
        return scope(self.create_transaction(server_fn, optimistic=optimistic, metadata=metadata))

    def transact(
        self,
        change: Callable[[Tx], object],
        server_fn: Persist,
        /,
        *,
        optimistic: bool = True,
        metadata: Mapping[str, Any] | None = None,
    ) -> Tx:
        """Like the function `transact`, for this client."""
        with self.transaction(server_fn, optimistic=optimistic, metadata=metadata) as tx:
            result = change(tx)
            if isawaitable(result):
                if asyncio.iscoroutine(result):
                    result.close()
                raise UsageError(
                    "transact: `change` must be a plain function; only `server_fn` is a coroutine function"
                )
        return tx

    # -- sessions ------------------------------------------------------------------------------------------------------

    @contextmanager
    def activate(self) -> Generator[DbClient, None, None]:
        """Make this the client that module-level collections and functions stand for."""
        token = _active.set(self)
        try:
            yield self
        finally:
            _active.reset(token)

    async def __aenter__(self) -> Self:
        """Return the client, which the end of the block closes. It does not become the active one; see `activate`."""
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Cancel what runs, roll back what is open, clean up every collection. Idempotent.

        The default client can be used again afterwards, since module-level collections belong to it.
        """
        self._is_closed = self is not _default
        closers, self._closers = self._closers, []
        for closer in reversed(closers):
            outcome = closer()
            if outcome is not None:
                await outcome
        self._services.clear()
        self.discard_transactions("its client was closed")
        await self._cancel_tasks()
        for collection in list(self._instances.values()):
            await cast("Collection[Any, Any]", collection)._cleanup()
        await self._cancel_tasks()

    async def _cancel_tasks(self) -> None:
        me = asyncio.current_task()
        rest = [task for task in self._tasks if task is not me]
        for task in rest:
            task.cancel()
        if rest:
            await asyncio.wait(rest)

    def discard_transactions(self, reason: str) -> None:
        """Roll back every open transaction, for example because another user logs in. Cancels running handlers."""
        with self.batch():
            for work in list(self._open):
                work.discard(reason)

    # -- for the layers above ------------------------------------------------------------------------------------------

    def report(self, error: Exception) -> None:
        """Tell `on_error` about a failure that nobody awaits."""
        if self.on_error is not None:
            self.on_error(error)
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise error from None
        loop.call_exception_handler({"message": f"tanstack_db: {error}", "exception": error})

    def start(self, work: Coroutine[Any, Any, object], name: str) -> Callable[[], object]:
        """Run `work` in a task that this client owns: cancelled and awaited by `close`. What it raises is reported.

        Returns:
            The function that cancels it.
        """
        return self.spawn(work, name).cancel

    def spawn(self, work: Coroutine[Any, Any, S], name: str) -> asyncio.Task[S]:
        """Like `start`, and return the task."""
        context = copy_context()
        context.run(_begin, None if self is _default else self)
        task = asyncio.get_running_loop().create_task(work, name=name, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self.report(error)

    def later(self, callback: Callable[[], object]) -> None:
        """Call `callback` in the next turn of the loop, or now where none runs."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            callback()
        else:
            loop.call_soon(callback)

    def _require_open(self) -> None:
        if self._is_closed:
            raise UsageError("the DbClient was closed; create a new one")

    def next_order(self) -> int:
        """Return the next number of a sequence."""
        self._order += 1
        return self._order

    def opened(self, work: Work) -> None:
        """A transaction began."""
        self._require_open()
        self._open[work] = None

    def transactions_on(self, collection: object) -> list[Work]:
        """Return the open transactions that change rows of a collection."""
        return [work for work in self._open if work.touches(collection)]

    def settled(self, work: Work) -> None:
        """A transaction ended."""
        self._open.pop(work, None)


_active: ContextVar[DbClient | None] = ContextVar("tanstack_db_client", default=None)


def _begin(client: DbClient | None) -> None:
    """Make this the context of work of its own for a client: what a handler begins is not the handler's."""
    _active.set(client)
    clear_current()


_default = DbClient()
_sessions_required = False


def default_client() -> DbClient:
    """Return the process-wide client, which module-level collections belong to."""
    return _default


def current_client() -> DbClient:
    """Return the active client, or the default one.

    Raises:
        NoSessionError: none is active and `require_sessions` is on.
    """
    active = _active.get()
    if active is not None:
        return active
    if _sessions_required:
        raise NoSessionError
    return _default


def require_sessions(required: bool = True) -> None:
    """Refuse the default client: for a process that renders for many users.

    Without an active session, using a module-level collection then raises `NoSessionError`, instead of mixing the
    users' rows.
    """
    global _sessions_required  # noqa: PLW0603 -- a property of the process
    _sessions_required = required


def create_collection(options: CollectionOptions[C], /) -> C:
    """Declare a collection, as a rule at module level.

    The object belongs to the default client; inside a session it stands for the session's own instance.

    Example:
        >>> todos = create_collection(collection_options(id="todos", get_key=lambda t: t.id, schema=Todo, sync=source))
    """
    return _default.build(options)


def transact(
    change: Callable[[Tx], object],
    server_fn: Persist,
    /,
    *,
    optimistic: bool = True,
    metadata: Mapping[str, Any] | None = None,
) -> Tx:
    """Change rows of any number of collections at once, then tell the server with one call.

    Args:
        change: makes the changes; called now, shown as one batch. If it raises, nothing is changed.
        server_fn: a coroutine function that tells the server; called in place of the collections' handlers.
        optimistic: False shows nothing before the server has it.
        metadata: goes into every mutation.

    Example:
        >>> transact(lambda tx: tx.insert(todos, row), lambda: add_todo(text=row.text))

    Raises:
        NoRunningLoopError: no event loop runs. Nothing was changed.
        UsageError: `change` or `server_fn` is not what it should be. Nothing was changed.
    """
    return current_client().transact(change, server_fn, optimistic=optimistic, metadata=metadata)


def transaction(
    server_fn: Persist, /, *, optimistic: bool = True, metadata: Mapping[str, Any] | None = None
) -> AbstractContextManager[Tx]:
    """Like `transact`, with the changes in a ``with`` block. Do not await inside it.

    Example:
        >>> with transaction(lambda: move(a, b)) as tx:
        ...     tx.update(todos, a, position=1)
        ...     tx.update(todos, b, position=2)
        >>> await tx.persisted()

    Raises:
        NoRunningLoopError: no event loop runs. Nothing was changed.
    """
    return current_client().transaction(server_fn, optimistic=optimistic, metadata=metadata)
