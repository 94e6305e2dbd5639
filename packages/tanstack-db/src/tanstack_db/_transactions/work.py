"""The state machine behind a transaction: staging, telling the server, settling."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Literal

from typing_extensions import TypeVar

from .. import rows as _rows
from .._errors import DuplicateKeyError, KeyChangedError, SchemaError, TransactionError, UnknownKeyError, UsageError
from .ids import new_id
from .mutation import Mutation, MutationType, changed_columns
from .overlay import Layer
from .transaction import Current, Persist, Transaction, TransactionState

if TYPE_CHECKING:
    from .._collections.client import DbClient
    from .._collections.collection import Collection

__all__ = ["Work"]

T = TypeVar("T", default=dict[str, Any])
K = TypeVar("K", default=Any)


class Work:
    """The state machine behind one `Transaction`.

    Args:
        client: whose transaction it is.
        optimistic: whether it shows its rows before the server has them.
        metadata: goes into every mutation.
    """

    def __init__(self, client: DbClient, *, optimistic: bool, metadata: Mapping[str, Any] | None) -> None:
        self.client = client
        self._id: str | None = None
        self.order = client.next_order()
        self.optimistic = optimistic
        self.metadata: Mapping[str, Any] = dict(metadata or {})
        self.created_at = datetime.now(UTC)
        self.state: TransactionState = "pending"
        self.error: Exception | None = None
        self._mutations: dict[tuple[Collection[Any, Any], Any], Mutation[Any]] = {}
        self._held: dict[Collection[Any, Any], None] = {}
        self._waiting: dict[asyncio.Future[None], None] = {}
        self._is_heard = False
        self._task: asyncio.Task[None] | None = None
        self._after: list[Work] = []
        client.opened(self)

    @property
    def id(self) -> str:
        """Unique among all clients. Made when it is asked for: most transactions are never called by a name."""
        if self._id is None:
            self._id = new_id()
        return self._id

    @property
    def mutations(self) -> tuple[Mutation[Any], ...]:
        return tuple(self._mutations.values())

    def touches(self, collection: object) -> bool:
        return collection in self._held

    @property
    def is_settled(self) -> bool:
        return self.state in ("completed", "failed")

    # -- staging -------------------------------------------------------------------------------------------------------

    def insert(self, collection: Collection[T, K], rows: Sequence[T]) -> None:
        self._enter(collection, "insert")
        keyed: dict[K, T] = {}
        for row in rows:
            if isinstance(row, list):
                raise SchemaError("a list is no row: write insert(*rows) for several", collection=collection.id)
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
        """Update a row. `change` returns a row that has been checked."""
        self._enter(collection, "update")
        row = self._known(collection, key)
        changed = change(row)
        if collection._key(changed) != key:
            raise KeyChangedError(
                f"the update of {key!r} in collection {collection.id!r} would change its key to "
                f"{collection._key(changed)!r}; delete the row and insert another",
                collection=collection.id,
                key=key,
            )
        columns = changed_columns("update", row, changed)
        if columns:
            with self.client.batch():
                self._put(collection, key, "update", row, changed, columns)

    def delete(self, collection: Collection[T, K], keys: Sequence[K]) -> None:
        self._enter(collection, "delete")
        if any(isinstance(key, list) for key in keys):
            raise UsageError("a list is no key: write delete(*keys) for several")
        found = {key: self._known(collection, key) for key in keys}
        with self.client.batch():
            for key, row in found.items():
                self._put(collection, key, "delete", row, row)

    def _enter(self, collection: Collection[Any, Any], what: str) -> None:
        self._require_pending(what)
        # First of all the source is started: it may have rows at once, and those count.
        if collection not in self._held:
            self._held[collection] = None
            collection._hold()
        collection._require_writable()

    def _known(self, collection: Collection[T, K], key: K) -> T:
        row = self._seen(collection, key)
        if row is None:
            raise UnknownKeyError(collection.id, key)
        return row

    def _seen(self, collection: Collection[T, K], key: K) -> T | None:
        """The row as this transaction sees it."""
        mine = None if self.optimistic else self._mutations.get((collection, key))
        if mine is None:
            return collection._rows_now.get(key)
        return None if mine.type == "delete" else mine.modified

    def _put(
        self,
        collection: Collection[T, K],
        key: K,
        kind: MutationType,
        original: T,
        modified: T,
        changes: Mapping[str, Any] | None = None,
    ) -> None:
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
                _changes=changes,
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
        groups = _grouped(self._mutations.values())
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
        self._after = self._inserts_below()
        self._task = self.client.spawn(self._run(server_fn), f"tanstack-db transaction {self.order}")
        self._task.add_done_callback(self._ended)

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

    async def _run(self, server_fn: Persist | None) -> None:
        try:
            for earlier in self._after:
                await earlier.settled()
                if self.is_settled:
                    return
            self._after = []
            if server_fn is None:
                collection = self.mutations[0].collection
                await collection._persist(Transaction(self), self.mutations)
            else:
                for collection, mutations in _grouped(self.mutations):
                    collection._on_calling(mutations)
                with Current(Transaction(self)):
                    result = await _awaitable(server_fn(), "server_fn")
                await self.accept(self.mutations, result, from_handler=False)
        except Exception as error:  # noqa: BLE001 -- it reaches whoever awaits persisted(), or on_error
            self.fail(error)
        else:
            self._settle("completed")

    def _ended(self, _: asyncio.Task[None]) -> None:
        """Also a task that was cancelled before its first step ends here."""
        if not self.is_settled:
            self.fail(self.problem("cancelled"), report=False)

    async def call(
        self, handler: Callable[[Transaction[Any]], Awaitable[Any]], mutations: Sequence[Mutation[Any]]
    ) -> Any:
        """Call a handler with a transaction that has just these mutations."""
        mutations[0].collection._on_calling(mutations)
        part: Transaction[Any] = Transaction(self, mutations)
        with Current(part):
            return await _awaitable(handler(part), "a handler")

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
            raise self.problem(f"cannot be rolled back, since it is {self.state}")
        self.fail(self.problem("rolled back"), report=False)

    def fail(self, error: Exception, *, report: bool = True) -> None:
        """Take back what is shown, and everything pending that was built on it."""
        if self.is_settled:
            return
        self.error = error
        open_mutations = [mutation for mutation in self._mutations.values() if not mutation.is_confirmed]
        dependent: dict[Work, None] = {}
        for mutation in open_mutations:
            for layer in mutation.collection._layers(mutation.key):
                if layer.owner is not mutation:
                    dependent[layer.owner._owner] = None
        # Settled first, so that a cascade that comes back here ends.
        with self.client.batch():
            self._settle("failed")
            if report:
                # After those who wait in persisted(), which settling has woken.
                self.client.later(self._report_unheard)
            for mutation in open_mutations:
                mutation.collection._drop(mutation, rebase=True)
            for collection, mutations in _grouped(self.mutations):
                collection._on_rejected(mutations, error)
            for other in dependent:
                if other.state == "pending" or self in other._after:
                    problem = other.problem(f"rolled back together with transaction {self.id}, which it builds on")
                    problem.__cause__ = error
                    other.fail(problem)

    def _settle(self, state: Literal["completed", "failed"]) -> None:
        if self.is_settled:
            return
        self.state = state
        self.client.settled(self)
        with self.client.batch():
            if state == "completed":
                for mutation in self._mutations.values():
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
        self._waiting[future] = None
        try:
            await future
        finally:
            del self._waiting[future]

    async def heard(self) -> None:
        """Wait until it is settled, and raise why it failed."""
        await self.settled()
        self._is_heard = True
        if self.error is not None:
            raise self.error

    def discard(self, reason: str) -> None:
        """Roll back, and cancel the handler. `ended` waits for it."""
        self.fail(self.problem(f"rolled back: {reason}"), report=False)
        if self._task is not None and self._task is not current_task():
            self._task.cancel()

    async def ended(self) -> None:
        """Wait until no handler runs any longer, unless it is the one that asks."""
        if self._task is not None and self._task is not asyncio.current_task():
            await asyncio.wait([self._task])

    def _require_pending(self, what: str) -> None:
        if self.state != "pending":
            raise self.problem(f"does not take another {what}, since it is {self.state}")

    def problem(self, what: str) -> TransactionError:
        """Make the error that says `what` about this transaction."""
        return TransactionError(f"transaction {self.id} {what}", transaction_id=self.id, state=self.state)


def current_task() -> asyncio.Task[Any] | None:
    """Return the running task, or None also where no loop runs."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


def _awaitable(outcome: Awaitable[Any], what: str) -> Awaitable[Any]:
    if not isawaitable(outcome):
        raise UsageError(f"{what} must be a coroutine function; it returned {outcome!r}")
    return outcome


def _shown(mutation: Mutation[T]) -> tuple[T | None, Mapping[str, Any] | None]:
    row = None if mutation.type == "delete" else mutation.modified
    return row, mutation.changes if mutation.type == "update" else None


def _grouped(mutations: Iterable[Mutation[Any]]) -> list[tuple[Collection[Any, Any], list[Mutation[Any]]]]:
    groups: dict[Collection[Any, Any], list[Mutation[Any]]] = {}
    for mutation in mutations:
        groups.setdefault(mutation.collection, []).append(mutation)
    return list(groups.items())
