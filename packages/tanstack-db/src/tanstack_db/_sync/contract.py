"""The collection-source contract: how rows get into a collection.

A source is a callable. The collection calls it with a `SyncContext` when it starts, and what it returns is what is
called when the collection stops::

    def source(ctx: SyncContext[Todo, str]) -> Callable[[], None]:
        def on_message(row: Todo) -> None:
            ctx.begin()
            ctx.insert(row)
            ctx.commit()

        stop = feed.listen(on_message)
        ctx.begin()
        for row in feed.snapshot():
            ctx.insert(row)
        ctx.commit()
        ctx.mark_ready()
        return stop

Rules:

- Rows are written between `begin` and `commit`, and become visible together. A truncate in between replaces all rows.
- An insert of a key that is there is refused unless the row is equal. An update of a key that is not there inserts it.
  A delete of a key that is not there does nothing.
- The source says once that it is ready; until then every live query that reads it is loading.
- After the collection has stopped, every method of the context does nothing. Late answers need no check.
- An on-demand source returns a `SyncRun` and loads only the subsets that it is asked for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, cast

from typing_extensions import TypeVar

from .. import rows as _rows
from .._base.delta import same
from .._base.relation import LoadSubset
from .._errors import DuplicateKeyError, SchemaError, SyncContractError

if TYPE_CHECKING:
    from .._collections.collection import Collection

__all__ = ["Cleanup", "Source", "SubsetStatus", "SyncContext", "SyncRun"]

T = TypeVar("T")
K = TypeVar("K")
T_inv = TypeVar("T_inv")
K_inv = TypeVar("K_inv")

Cleanup: TypeAlias = Callable[[], "Awaitable[object] | None"]
"""Stops a source. What it returns is awaited; a restart does not wait for it."""


class SubsetStatus(Protocol):
    """How a source tells whether a subset is loaded. May be called at any time, any number of times."""

    def mark_loading(self) -> None:
        """Its rows are not all there: it is being loaded, or loaded from scratch again."""
        ...

    def mark_ready(self) -> None:
        """All its rows are there."""
        ...

    def mark_error(self, error: Exception, /) -> None:
        """Loading failed. Rows that are there stay."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncRun:
    """What a source returns that has more than a clean-up.

    Attributes:
        cleanup: stops the source.
        load_subset: for an on-demand source: load these rows and keep them loaded. Called once per distinct demand,
            unless another demand has all its rows. Commit the rows before `SubsetStatus.mark_ready`. What it raises is
            the demand's error.
        unload_subset: nobody needs the subset any longer; called with an equal `LoadSubset`, once per load.
    """

    cleanup: Cleanup | None = None
    load_subset: Callable[[LoadSubset, SubsetStatus], object] | None = None
    unload_subset: Callable[[LoadSubset], object] | None = None


class Source(Protocol[T_inv, K_inv]):
    """The contract of the module docstring."""

    def __call__(self, ctx: SyncContext[T_inv, K_inv], /) -> Cleanup | SyncRun | None: ...


class SyncContext(Generic[T, K]):
    """What a source writes with; see the module docstring.

    Attributes:
        collection: the collection that is fed.
    """

    def __init__(self, collection: Collection[T, K]) -> None:
        self.collection = collection
        self._open: dict[K, T | None] | None = None
        """What was written since `begin`, None for a delete."""
        self._is_truncating = False
        self._is_active = True
        self._synced = collection._overlay.synced

    @property
    def is_active(self) -> bool:
        """False once the collection has stopped; every method then does nothing."""
        return self._is_active

    def begin(self) -> None:
        """Open a sync transaction."""
        if not self._is_active:
            return
        if self._open is not None:
            raise self._broken("begin() inside an open transaction; commit() it first")
        self._open = {}
        self._is_truncating = False

    def insert(self, row: T, /) -> None:
        """Add a row.

        Raises:
            DuplicateKeyError: there is another row with this key.
        """
        # The way of every row that is synced: no call that can be spared.
        if (writes := self._open) is None and (writes := self._writing("insert")) is None:
            return
        if row is None:
            self._require_row(row)
        key = self.collection._key(row)
        there = writes[key] if key in writes else None if self._is_truncating else self._synced(key)
        if there is not None and not same(there, row):
            raise DuplicateKeyError(
                f"the source of collection {self.collection.id!r} inserts {key!r}, which is there with other values; "
                "use update() for a row that may be known",
                collection=self.collection.id,
                key=key,
            )
        if there is None:
            writes[key] = row

    def update(self, row: T | Mapping[str, Any], /, key: K | None = None) -> None:
        """Change a row, or add it.

        Args:
            row: the whole row, or a mapping with some of its columns; with ``row_update_mode="full"`` a mapping is the
                whole row as well.
            key: needed where `row` is a mapping that does not hold the key.
        """
        if (writes := self._open) is None and (writes := self._writing("update")) is None:
            return
        if row is None:
            self._require_row(row)
        collection = self.collection
        if key is None:
            try:
                key = collection._key(cast("T", row))
            except SchemaError as error:
                raise self._broken("update() with a mapping that does not hold the key; pass key=") from error
        # The exact class first: asking the abstract one takes as long as all the rest.
        if type(row) is dict or isinstance(row, Mapping):
            old = writes[key] if key in writes else None if self._is_truncating else self._synced(key)
            values = cast("Mapping[str, Any]", row)
            if old is not None and collection.row_update_mode == "partial":
                writes[key] = _rows.replace(old, values)
            else:
                is_whole = _rows.is_row(values, collection.schema)
                writes[key] = cast("T", row) if is_whole else _rows.from_plain(values, collection.schema)
        else:
            writes[key] = row

    def delete(self, key: K, /) -> None:
        """Remove a row by its key."""
        if (writes := self._writing("delete")) is not None:
            writes[key] = None

    def truncate(self) -> None:
        """Forget every row, also those written since `begin`; what is written until `commit` is the new state."""
        if (writes := self._writing("truncate")) is not None:
            writes.clear()
            self._is_truncating = True

    def commit(self) -> None:
        """Apply the transaction. Rows that a local transaction has changed stay as they are shown until it settles."""
        if not self._is_active:
            return
        if self._open is None:
            raise self._broken("commit() without begin()")
        writes, self._open = self._open, None
        self.collection._apply(writes, is_all=self._is_truncating)

    def mark_ready(self) -> None:
        """The rows are usable. After `mark_error` the source has recovered. Otherwise further calls change nothing."""
        if self._is_active:
            self.collection._mark_ready()

    def mark_error(self, error: Exception, /) -> None:
        """The source cannot give rows. Those that are there stay."""
        if self._is_active:
            self.collection._mark_error(error)

    def _stop(self) -> None:
        self._is_active = False
        self._open = None

    def _writing(self, what: str) -> dict[K, T | None] | None:
        if not self._is_active:
            return None
        if self._open is None:
            raise self._broken(f"{what}() outside begin() and commit()")
        return self._open

    def _require_row(self, row: object) -> None:
        if row is None:
            raise self._broken("None is not a row; use delete(key)")

    def _broken(self, problem: str) -> SyncContractError:
        return SyncContractError(self.collection.id, problem)
