"""`Collection`: a keyed set of rows that a source fills and that the application writes to optimistically.

This module is what applications call. What a collection is made of, and how to make another type of collection, is in
``core``.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import cmp_to_key
from typing import TYPE_CHECKING, Any, Generic, Self, cast

from typing_extensions import TypeVar

from .. import rows as _rows
from .._base.relation import LiveSource
from .._errors import (
    CollectionStateError,
    MissingHandlerError,
    SchemaError,
    SourceError,
    UnknownKeyError,
    UsageError,
)
from .._sync.lifecycle import Status
from .._transactions.mutation import MutationType
from .._transactions.transaction import Transaction, require_loop
from .._transactions.work import Work
from .client import DbClient, current_client, default_client
from .core import CollectionCore, CollectionEvent, EventName
from .subscription import ChangeCallback, ChangeSubscription, require_callback

if TYPE_CHECKING:
    from .._base.snapshot import Rows  # noqa: F401 -- what a base class is parametrised with

__all__ = ["Collection"]

T = TypeVar("T", default=dict[str, Any])
K = TypeVar("K", default=Any)


class Collection(CollectionCore[T, K], LiveSource["Rows[T]"], Generic[T, K]):
    """Rows by key. Make one with `create_collection`.

    Reads are those of a mapping, and never start the source; subscribing, preloading and writing do. Writes are
    synchronous: the row is shown before the call returns, and the handler tells the server afterwards.

    Attributes:
        client: whose instance this is.
        options: the recipe; every client builds its own instance from it.
        schema: the row class, or None.
        row_update_mode: whether a source's partial rows are merged or replace the row.
    """

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id!r} {self._life.status}, {len(self._rows_now)} rows>"

    # -- reading -------------------------------------------------------------------------------------------------------

    @property
    def status(self) -> Status:
        """idle, loading, ready, error or cleaned-up."""
        return self._here()._life.status

    @property
    def is_ready(self) -> bool:
        """Whether the source has delivered a usable set of rows."""
        return self._here()._life.was_ready

    @property
    def error(self) -> Exception | None:
        """What the source reported, while the status is ``"error"``."""
        return self._here()._life.error

    @property
    def size(self) -> int:
        """Number of visible rows."""
        return len(self._here()._rows_now)

    def get(self, key: K, /) -> T | None:
        """Return the visible row with this key, or None."""
        return self._here()._rows_now.get(key)

    def has(self, key: K, /) -> bool:
        """Whether a row with this key is visible."""
        return key in self._here()._rows_now

    def __contains__(self, key: object) -> bool:
        return key in self._here()._rows_now

    def __len__(self) -> int:
        return len(self._here()._rows_now)

    def __getitem__(self, key: K) -> T:
        here = self._here()
        row = here._rows_now.get(key)
        if row is None:
            raise UnknownKeyError(here.id, key)
        return row

    def __iter__(self) -> Iterator[K]:
        return iter(self.keys())

    def keys(self) -> list[K]:
        """Return the keys of the visible rows, in the order of `to_list`."""
        return [key for key, _ in self.items()]

    def values(self) -> list[T]:
        """Return the visible rows; the same as `to_list`."""
        return self.to_list()

    def items(self) -> list[tuple[K, T]]:
        """Return the visible rows with their keys, in the order of `to_list`."""
        here = self._here()
        items = list(here._rows_now.items())
        if here._config.compare is not None:
            place = cmp_to_key(here._config.compare)
            items.sort(key=lambda item: place(item[1]))
        return items

    def to_list(self) -> list[T]:
        """Return the visible rows, ordered by the ``compare`` option where there is one."""
        return [row for _, row in self.items()]

    def has_pending_writes(self, key: K, /) -> bool:
        """Whether an open transaction changes this row."""
        return self._here()._overlay.is_overlaid(key)

    # -- writing -------------------------------------------------------------------------------------------------------

    def insert(self, /, *rows: T) -> Transaction[T]:
        """Insert rows.

        Returns:
            The transaction; its rows are shown already.

        Raises:
            SchemaError: a row does not fit the schema. Nothing was changed, as with all errors here.
            DuplicateKeyError: there is a row with this key.
            MissingHandlerError: the collection has no ``on_insert``.
            NoRunningLoopError: no event loop runs.
            CollectionStateError: the collection's source failed.
        """
        here = self._here()
        return here._write("insert", lambda work: work.insert(here, rows))

    def update(self, key: K, change: Callable[[T], T] | None = None, /, **fields: Any) -> Transaction[T]:
        """Update a row.

        Args:
            key: the row's key.
            change: a function from the row to its new version. It gets a copy.
            fields: or the columns with their new values.

        Returns:
            The transaction; without a difference it is completed and empty.

        Raises:
            UnknownKeyError: there is no row with this key.
            SchemaError: a column that there is not, or a value that does not fit.
            KeyChangedError: the new version has another key.
            MissingHandlerError, NoRunningLoopError, CollectionStateError: as for `insert`.
        """
        here = self._here()
        changer = here._changer(change, fields)
        return here._write("update", lambda work: work.update(here, key, changer))

    def edit(self, key: K, /) -> AbstractContextManager[T]:
        """Update a row by changing a draft of it; an exception inside discards it.

        Example:
            >>> with todos.edit("t1") as todo:
            ...     todo.text = "x"
            ...     todo.tags.append("y")

        Raises:
            UnknownKeyError, MissingHandlerError, NoRunningLoopError, CollectionStateError: on entering.
            SchemaError, KeyChangedError: on leaving.
        """
        return self._here()._edit(key)

    def delete(self, /, *keys: K) -> Transaction[T]:
        """Delete rows by key.

        Raises:
            UnknownKeyError: there is no row with this key.
            MissingHandlerError, NoRunningLoopError, CollectionStateError: as for `insert`.
        """
        here = self._here()
        return here._write("delete", lambda work: work.delete(here, keys))

    @contextmanager
    def _edit(self, key: K) -> Generator[T, None, None]:
        self._require("update")
        self._hold()
        try:
            self._require_writable()
            row = self._rows_now.get(key)
            if row is None:
                raise UnknownKeyError(self.id, key)
            draft = _rows.copied(row)
            yield draft
            self._write("update", lambda work: work.update(self, key, self._edited(row, draft)))
        finally:
            self._release()

    def _write(self, kind: MutationType, change: Callable[[Work], None]) -> Transaction[T]:
        self._require(kind)
        work = Work(self.client, optimistic=True, metadata=None)
        with self.client.batch():
            try:
                change(work)
                work.commit(None)
            except Exception as error:
                work.fail(error, report=False)
                raise
        return Transaction(work)

    def _require(self, kind: MutationType) -> None:
        if self._needs_server(kind):
            if self._config.handler(kind) is None:
                raise MissingHandlerError(self.id, f"on_{kind}")
            require_loop(f"{kind} on collection {self.id!r}")
        self._require_writable()

    def _require_writable(self) -> None:
        if self._life.status == "error":
            raise CollectionStateError(
                self.id, "error", f"its source failed: {self._life.error!r}. `await cleanup()`, then use it again"
            )

    def _changer(self, change: Callable[[T], T] | None, fields: Mapping[str, Any]) -> Callable[[T], T]:
        if change is None:
            if not fields:
                raise UsageError('update needs something to change: a function, or columns as in update(key, text="x")')

            def by_fields(row: T) -> T:
                _rows.check_fields(fields, row, self.schema)
                return _rows.replace(row, fields)

            return by_fields
        if fields:
            raise UsageError("update takes a function or columns, not both")

        def by_function(row: T) -> T:
            changed = cast("T | None", change(_rows.copied(row)))
            if changed is None:
                raise SchemaError(
                    "the function given to update returned None: return the new row, or change a draft in place with "
                    "`with collection.edit(key) as row`",
                    collection=self.id,
                )
            _rows.check(changed, self.schema)
            return changed

        return by_function

    def _edited(self, row: T, draft: T) -> Callable[[T], T]:
        before, after = (getattr(item, "__dict__", {}) for item in (row, draft))
        for name in after.keys() - before.keys():
            if not hasattr(type(draft), name):
                _rows.check_fields({name: after[name]}, row, self.schema)

        def changed(current: T) -> T:
            # A dict may have lost keys, which no set of columns can say.
            whole = current is row and isinstance(cast("object", draft), Mapping)
            new = draft if whole else _rows.replace(current, _rows.changes(row, draft))
            _rows.check(new, self.schema)
            return new

        return changed

    # -- life cycle ----------------------------------------------------------------------------------------------------

    async def preload(self) -> None:
        """Start the source and wait until the collection is ready. An on-demand collection loads no rows by this.

        Raises:
            SourceError: the source failed; carries the cause.
            CollectionStateError: the collection was cleaned up meanwhile.
        """
        here = self._here()
        here._hold()
        try:
            await here._life.loaded()
            if here._life.error is not None:
                raise SourceError(here.id, here._life.error)
            if here._life.status == "cleaned-up":
                raise CollectionStateError(here.id, "cleaned-up", "it was cleaned up while it was loading")
        finally:
            here._release()

    async def cleanup(self) -> None:
        """Roll back what is open, stop the source and forget all rows. The next use starts afresh."""
        await self._here()._cleanup()

    def on(self, event: EventName, callback: Callable[[CollectionEvent], object], /) -> Callable[[], None]:
        """Call `callback` on an event. Returns the function that stops it."""
        require_callback(callback, "on")
        return self._here()._listeners[event].add(callback)

    def subscribe_changes(
        self,
        callback: ChangeCallback[T, K],
        /,
        *,
        include_initial_state: bool = False,
        where: Callable[[T], object] | None = None,
    ) -> Callable[[], None]:
        """Call `callback` with the changes of each batch, each row at most once. Starts the source.

        Args:
            callback: gets a non-empty list of `Change`. What it raises goes to the client's ``on_error``.
            include_initial_state: first tell about the rows that are there, as inserts, before this call returns.
            where: rows for which it is false do not exist for this subscriber: a row that begins to match arrives as an
                insert, one that ceases to as a delete.

        Returns:
            The function that stops it: at once, also from within a delivery. Idempotent.
        """
        require_callback(callback, "subscribe_changes")
        here = self._here()
        subscription = ChangeSubscription(callback, where)
        detach = here._feeds.attach(subscription.take)
        here._subscriptions[subscription] = None
        here._life.hold()

        def stop() -> None:
            if subscription.is_active:
                subscription.is_active = False
                detach()
                del here._subscriptions[subscription]
                here._release()
                here._emit("subscribers:change")

        here._emit("subscribers:change")
        if include_initial_state:
            try:
                subscription.deliver_initial(dict(here._rows_now))
            except BaseException:
                stop()
                raise
        # Only now, so that rows which the source has at once arrive as changes and not twice.
        here._start()
        return stop

    def _open(self, db: DbClient) -> Collection[T, K]:
        return db.collection(self)

    def _here(self) -> Self:
        """This object, or the active session's instance where this is the module-level one."""
        if self.client is not default_client():
            return self
        return current_client().collection(self)
