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
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeAlias

from typing_extensions import TypeVar

from .. import rows as _rows
from .._errors import NoRunningLoopError
from .mutation import Mutation

if TYPE_CHECKING:
    from .._collections.collection import Collection
    from .work import Work

__all__ = [
    "Current",
    "Persist",
    "Transaction",
    "TransactionState",
    "Tx",
    "clear_current",
    "current_transaction",
    "require_loop",
    "scope",
]

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


class Current:
    """Makes a transaction the current one for what runs inside a ``with`` block."""

    __slots__ = ("_token", "_transaction")

    def __init__(self, transaction: Transaction[Any]) -> None:
        self._transaction = transaction

    def __enter__(self) -> None:
        self._token = _current.set(self._transaction)

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)


def clear_current() -> None:
    """Make none the current one."""
    _current.set(None)


def require_loop(what: str) -> None:
    """Raise `NoRunningLoopError` where no event loop runs."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise NoRunningLoopError(what) from None


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


@contextmanager
def scope(tx: Tx) -> Generator[Tx, None, None]:
    """Put `tx` together in one batch; commit at the end, roll back if the body raises."""
    with tx._work.client.batch():
        try:
            yield tx
        except BaseException as error:
            # Also for what is no Exception, such as a cancellation: nobody would ever take the rows back.
            tx._work.fail(error if isinstance(error, Exception) else tx._work.problem("interrupted"), report=False)
            raise
        if tx.state == "pending":
            tx.commit()
