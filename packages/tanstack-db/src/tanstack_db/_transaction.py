"""Transactions: what is shown at once, told to the server, and taken back when the server refuses.

::

    pending ──commit──> persisting ──handlers or server_fn returned──> completed
       │                     │
       └──────rollback───────┴──────────── or they raised ───────────> failed

A transaction made by ``collection.insert`` and its like calls the collection's handlers. One made by `transact` or
`transaction` calls its ``server_fn`` instead. In both cases every collection that was touched is asked through its
``_on_accepted`` what the server made of the rows, and that is shown in the same batch in which the optimistic rows go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeAlias
from uuid import uuid4

from typing_extensions import TypeVar

from . import _rows
from ._errors import DuplicateKeyError, KeyChangedError, NoRunningLoopError, TransactionError, UnknownKeyError
from ._mutation import Mutation, MutationType
from ._overlay import Layer

if TYPE_CHECKING:
    from ._client import DbClient
    from ._collection import Collection

__all__ = ["Persist", "Transaction", "TransactionState", "Tx", "Work", "current_transaction", "require_loop"]

T = TypeVar("T", default=dict[str, Any])
K = TypeVar("K", default=Any)

Persist: TypeAlias = Callable[[], Awaitable[object]]
TransactionState: TypeAlias = Literal["pending", "persisting", "completed", "failed"]

_current: ContextVar[Transaction[Any] | None] = ContextVar("tanstack_db_current_transaction", default=None)


def current_transaction() -> Transaction[Any] | None:
    """Return the transaction that the running handler or ``server_fn`` belongs to, or None outside of one.

    Inside a handler it is the transaction that the handler was given, so its ``mutations`` are those of this call.
    """
    return _current.get()


def require_loop(what: str) -> None:
    """Raise `NoRunningLoopError` where no event loop runs."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise NoRunningLoopError(what) from None


class Work:
    """The state machine behind one `Transaction`.

    Args:
        client: whose transaction it is.
        optimistic: whether it shows its rows before the server has them.
        metadata: goes into every mutation.
    """

    def __init__(self, client: DbClient, *, optimistic: bool, metadata: Mapping[str, Any] | None) -> None:
        self.client = client
        self.id = uuid4().hex
        self.order = client.next_order()
        self.optimistic = optimistic
        self.metadata: Mapping[str, Any] = dict(metadata or {})
        self.created_at = datetime.now(UTC)
        self.state: TransactionState = "pending"
        self.error: Exception | None = None
        self._mutations: dict[tuple[Collection[Any, Any], Any], Mutation[Any]] = {}
        self._held: dict[Collection[Any, Any], None] = {}
        self._waiting: set[asyncio.Future[None]] = set()
        self._is_heard = False
        self._task: asyncio.Task[None] | None = None
        client.opened(self)

    @property
    def mutations(self) -> tuple[Mutation[Any], ...]:
        return tuple(self._mutations.values())

    def touches(self, collection: Collection[Any, Any]) -> bool:
        return collection in self._held

    @property
    def is_settled(self) -> bool:
        return self.state in ("completed", "failed")

    # -- staging -------------------------------------------------------------------------------------------------------

    def insert(self, collection: Collection[T, K], rows: Sequence[T]) -> None:
        self._require_pending("insert")
        collection._require_writable()
        keyed: dict[K, T] = {}
        for row in rows:
            _rows.check(row, collection.schema)
            key = collection._key(row)
            if key in keyed or self._seen(collection, key) is not None:
                raise DuplicateKeyError(
                    f"collection {collection.id!r} has a row with key {key!r} already; use update",
                    collection=collection.id,
                    key=key,
                )
            keyed[key] = row
        with self.client.batch():
            for key, row in keyed.items():
                self._put(collection, key, "insert", row, row)

    def update(self, collection: Collection[T, K], key: K, change: Callable[[T], T]) -> None:
        self._require_pending("update")
        collection._require_writable()
        row = self._known(collection, key)
        changed = change(row)
        _rows.check(changed, collection.schema)
        if collection._key(changed) != key:
            raise KeyChangedError(
                f"the update of {key!r} in collection {collection.id!r} would change its key to "
                f"{collection._key(changed)!r}; delete the row and insert another",
                collection=collection.id,
                key=key,
            )
        if _rows.changes(row, changed):
            with self.client.batch():
                self._put(collection, key, "update", row, changed)

    def delete(self, collection: Collection[T, K], keys: Iterable[K]) -> None:
        self._require_pending("delete")
        collection._require_writable()
        found = {key: self._known(collection, key) for key in keys}
        with self.client.batch():
            for key, row in found.items():
                self._put(collection, key, "delete", row, row)

    def _known(self, collection: Collection[T, K], key: K) -> T:
        row = self._seen(collection, key)
        if row is None:
            raise UnknownKeyError(
                f"collection {collection.id!r} has no row with key {key!r}", collection=collection.id, key=key
            )
        return row

    def _seen(self, collection: Collection[T, K], key: K) -> T | None:
        """The row as this transaction sees it."""
        mine = None if self.optimistic else self._mutations.get((collection, key))
        if mine is None:
            return collection._rows_now.get(key)
        return None if mine.type == "delete" else mine.modified

    def _put(self, collection: Collection[T, K], key: K, kind: MutationType, original: T, modified: T) -> None:
        if collection not in self._held:
            self._held[collection] = None
            collection._hold()
        slot = (collection, key)
        mutation = self._mutations.get(slot)
        if mutation is None:
            mutation = Mutation(
                type=kind,
                key=key,
                original=original,
                modified=modified,
                collection=collection,
                metadata=self.metadata,
                _owner=self,
            )
            self._mutations[slot] = mutation
            if self.optimistic:
                mutation._layer = Layer(self.order, *_shown(mutation), mutation)
                collection._show_layer(mutation, is_new=True)
            return
        if not mutation._merge(kind, modified):
            del self._mutations[slot]
            collection._drop(mutation, rebase=True)
        elif mutation._layer is not None:
            mutation._layer.row, mutation._layer.changes = _shown(mutation)
            collection._show_layer(mutation, is_new=False)

    def moved(self, mutation: Mutation[Any], old_key: object) -> None:
        """The row of a mutation has another key now."""
        if self._mutations.pop((mutation.collection, old_key), None) is not None:
            self._mutations[mutation.collection, mutation.key] = mutation

    # -- settling ------------------------------------------------------------------------------------------------------

    def commit(self, server_fn: Persist | None) -> None:
        """Tell the server. Without mutations there is nothing to tell, and `server_fn` is not called."""
        self._require_pending("commit")
        if not self._mutations:
            self._settle("completed")
            return
        groups = _grouped(self.mutations)
        if server_fn is None:
            # Only the write methods of one collection come here, and they made sure that it has its handler.
            ((collection, mutations),) = groups
            if not collection._needs_server(mutations[0].type):
                collection._write_through(mutations)
                self._settle("completed")
                return
        self.state = "persisting"
        for collection, mutations in groups:
            collection._on_persisting(mutations)
        self._task = self.client.spawn(
            self._run(server_fn, self._inserts_below()), f"tanstack-db transaction {self.id}"
        )

    def _inserts_below(self) -> list[Work]:
        """Transactions whose inserted rows this one changes: the server must know those rows first."""
        found: dict[Work, None] = {}
        for mutation in self._mutations.values():
            for layer in mutation.collection._layers(mutation.key):
                if layer.owner is mutation:
                    break
                if layer.owner.type == "insert":
                    found[layer.owner._owner] = None
        return list(found)

    async def _run(self, server_fn: Persist | None, after: Sequence[Work]) -> None:
        try:
            for earlier in after:
                await earlier.settled()
                if earlier.state == "failed":
                    raise self._problem("rolled back, since the insert that it builds on failed") from earlier.error
            if server_fn is None:
                collection = self.mutations[0].collection
                await collection._persist(Transaction(self), self.mutations)
            else:
                _current.set(Transaction(self))
                result = await server_fn()
                await self.accept(self.mutations, result, from_handler=False)
        except asyncio.CancelledError:
            self.fail(self._problem("cancelled, since its client was closed"), report=False)
            raise
        except Exception as error:  # noqa: BLE001 -- it reaches whoever awaits persisted(), or on_error
            self.fail(error)
        else:
            self._settle("completed")

    async def call(
        self, handler: Callable[[Transaction[Any]], Awaitable[Any]], mutations: Sequence[Mutation[Any]]
    ) -> Any:
        """Call a handler with a transaction that has just these mutations."""
        part = Transaction[Any](self, mutations)
        token = _current.set(part)
        try:
            return await handler(part)
        finally:
            _current.reset(token)

    async def accept(self, mutations: Sequence[Mutation[Any]], result: object, *, from_handler: bool) -> None:
        """The server has these mutations: ask the collections what became of them, and show it in one batch."""
        applies = [
            await collection._on_accepted(group, result, from_handler=from_handler)
            for collection, group in _grouped(mutations)
        ]
        with self.client.batch():
            try:
                for apply in applies:
                    if apply is not None:
                        apply()
            finally:
                for mutation in mutations:
                    mutation.collection._drop(mutation, rebase=False)

    def rollback(self) -> None:
        if self.is_settled:
            raise self._problem(f"cannot be rolled back, since it is {self.state}")
        self.fail(self._problem("rolled back"), report=False)

    def fail(self, error: Exception, *, report: bool = True) -> None:
        """Take back what is shown, and everything pending that was built on it."""
        if self.is_settled:
            return
        self.error = error
        open_mutations = [mutation for mutation in self._mutations.values() if not mutation.is_confirmed]
        dependent: dict[Work, None] = {}
        for mutation in open_mutations:
            for layer in mutation.collection._layers(mutation.key):
                dependent[layer.owner._owner] = None
        # Settled first, so that a cascade that comes back here ends.
        with self.client.batch():
            self._settle("failed")
            for mutation in open_mutations:
                mutation.collection._drop(mutation, rebase=True)
            for collection, mutations in _grouped(self.mutations):
                collection._on_rejected(mutations, error)
            for other in dependent:
                if other.state == "pending":
                    other.fail(other._problem(f"rolled back together with transaction {self.id}, which it builds on"))
        if report:
            self.client.later(self._report_unheard)

    def _settle(self, state: Literal["completed", "failed"]) -> None:
        if self.is_settled:
            return
        self.state = state
        self.client.settled(self)
        with self.client.batch():
            for mutation in self._mutations.values():
                if state == "completed":
                    mutation.collection._drop(mutation, rebase=False)
            for collection in self._held:
                collection._release()
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    def _report_unheard(self) -> None:
        if self.error is not None and not self._is_heard:
            self.client.report(self.error)

    async def settled(self) -> None:
        """Wait until it is completed or failed."""
        if self.is_settled:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            await future
        finally:
            self._waiting.discard(future)

    async def heard(self) -> None:
        """Wait until it is settled, and raise why it failed."""
        await self.settled()
        self._is_heard = True
        if self.error is not None:
            raise self.error

    async def cancel(self) -> None:
        """Give up: roll back, and wait for the handler to end."""
        if self._task is None:
            self.fail(self._problem("cancelled, since its client was closed"), report=False)
            return
        self._task.cancel()
        await asyncio.wait([self._task])

    def discard(self, reason: str) -> None:
        """Roll back without waiting for the handler, which is cancelled."""
        self.fail(self._problem(f"rolled back: {reason}"), report=False)
        if self._task is not None:
            self._task.cancel()

    def _require_pending(self, what: str) -> None:
        if self.state != "pending":
            raise self._problem(f"does not take another {what}, since it is {self.state}")

    def _problem(self, what: str) -> TransactionError:
        return TransactionError(f"transaction {self.id} {what}", transaction_id=self.id, state=self.state)


def _shown(mutation: Mutation[T]) -> tuple[T | None, Mapping[str, Any] | None]:
    row = None if mutation.type == "delete" else mutation.modified
    return row, mutation.changes if mutation.type == "update" else None


def _grouped(mutations: Iterable[Mutation[Any]]) -> list[tuple[Collection[Any, Any], list[Mutation[Any]]]]:
    groups: dict[Collection[Any, Any], list[Mutation[Any]]] = {}
    for mutation in mutations:
        groups.setdefault(mutation.collection, []).append(mutation)
    return list(groups.items())


class Transaction(Generic[T]):
    """What a write returned: the rows are shown already, the server is being told.

    A transaction cannot be awaited, so that a forgotten ``await`` is no bug: write ``await tx.persisted()`` where the
    outcome matters. A failure that nobody is waiting for when it happens goes to the client's ``on_error``.
    """

    def __init__(self, work: Work, mutations: Sequence[Mutation[T]] | None = None) -> None:
        self._work = work
        self._part = None if mutations is None else tuple(mutations)

    @property
    def id(self) -> str:
        """Unique among all transactions."""
        return self._work.id

    @property
    def state(self) -> TransactionState:
        """See the module docstring: pending, persisting, completed or failed."""
        return self._work.state

    @property
    def error(self) -> Exception | None:
        """Why it failed, or None."""
        return self._work.error

    @property
    def mutations(self) -> Sequence[Mutation[T]]:
        """One per row, in the order of first touch. For a handler those that it is called for."""
        return self._work.mutations if self._part is None else self._part

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What the application attached."""
        return self._work.metadata

    @property
    def created_at(self) -> datetime:
        """Wall-clock time in UTC."""
        return self._work.created_at

    async def persisted(self) -> Self:
        """Wait until the server has it and the collection shows what the server made of it.

        Returns:
            The transaction.

        Raises:
            Exception: the very object that the handler or ``server_fn`` raised.
            TransactionError: it was rolled back.
        """
        await self._work.heard()
        return self

    def rollback(self) -> None:
        """Take everything back, with every pending transaction that changes one of the same rows.

        What a handler has told the server already is not undone there; the rows then show what the server says.

        Raises:
            TransactionError: it is completed or failed already.
        """
        self._work.rollback()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.state}, {len(self.mutations)} mutations>"


class Tx(Transaction[Any]):
    """A transaction that is being put together; see `transact`, `transaction` and `DbClient.create_transaction`."""

    def __init__(self, work: Work, server_fn: Persist) -> None:
        super().__init__(work)
        self._server_fn = server_fn

    def insert(self, to: Collection[T, Any], /, *rows: T) -> None:
        """Insert rows; see `Collection.insert`."""
        self._work.insert(self._here(to), rows)

    def update(
        self, source: Collection[T, K], key: K, change: Callable[[T], T] | None = None, /, **fields: Any
    ) -> None:
        """Update a row; see `Collection.update`."""
        here = self._here(source)
        self._work.update(here, key, here._changer(change, fields))

    @contextmanager
    def edit(self, source: Collection[T, K], key: K, /) -> Generator[T, None, None]:
        """Update a row by changing a draft of it; see `Collection.edit`."""
        here = self._here(source)
        row = self._work._known(here, key)
        draft = _rows.copied(row)
        yield draft
        self._work.update(here, key, here._edited(row, draft))

    def delete(self, source: Collection[Any, K], /, *keys: K) -> None:
        """Delete rows; see `Collection.delete`."""
        self._work.delete(self._here(source), keys)

    def commit(self) -> None:
        """Tell the server. `transact` and `transaction` do it themselves.

        Raises:
            NoRunningLoopError: no event loop runs.
            TransactionError: it is not pending.
        """
        require_loop("commit")
        self._work.commit(self._server_fn)

    def _here(self, collection: Collection[T, K]) -> Collection[T, K]:
        return self._work.client.collection(collection)


def transaction_scope(tx: Tx) -> AbstractContextManager[Tx]:
    """Put `tx` together in one batch; commit at the end, roll back if the body raises."""

    @contextmanager
    def scope() -> Generator[Tx, None, None]:
        with tx._work.client.batch():
            try:
                yield tx
            except Exception as error:
                tx._work.fail(error, report=False)
                raise
            if tx.state == "pending":
                tx.commit()

    return scope()
