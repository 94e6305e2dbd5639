"""Collections that can be written below the optimistic rows, as if their source had delivered the rows."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Generic, cast

from typing_extensions import TypeVar

from .. import rows as _rows
from .._collections.collection import Collection
from .._errors import CollectionStateError, DuplicateKeyError, KeyChangedError, UnknownKeyError, UsageError

__all__ = ["DirectWrites"]

T = TypeVar("T", default=dict[str, Any])
K = TypeVar("K", default=Any)


class DirectWrites(Collection[T, K], Generic[T, K]):
    """Adds the methods whose names begin with ``write``.

    They put rows in as if the source had delivered them, for example when a message or another call's answer tells
    about them. The rows are shown at once, unless a transaction shows something else in their place. No server is told.
    """

    _staged: dict[K, T | None] | None = None
    """What an open `write_batch` has written so far, None for a delete."""

    def write_insert(self, /, *rows: T | Mapping[str, Any]) -> None:
        """Add rows that the server has.

        Raises:
            DuplicateKeyError: there is a row with this key. Nothing was written, as with all errors here.
            SchemaError: a row does not fit the schema.
            CollectionStateError: the collection is not running.
        """
        here = self._here()
        with here._writing() as staged:
            for key, row in here._keyed(rows):
                if here._latest(staged, key) is not None:
                    raise DuplicateKeyError(
                        f"collection {here.id!r} has a row with key {key!r} already; use write_upsert",
                        collection=here.id,
                        key=key,
                    )
                staged[key] = row

    def write_upsert(self, /, *rows: T | Mapping[str, Any]) -> None:
        """Add rows, or replace those with the same keys.

        Raises:
            SchemaError, CollectionStateError: as for `write_insert`.
        """
        here = self._here()
        with here._writing() as staged:
            staged.update(here._keyed(rows))

    def write_update(self, key: K, change: Callable[[T], T] | None = None, /, **fields: Any) -> None:
        """Change a row; the arguments are those of `update`.

        Raises:
            UnknownKeyError: there is no row with this key.
            KeyChangedError: the new version has another key.
            SchemaError, CollectionStateError: as for `write_insert`.
        """
        here = self._here()
        changer = here._changer(change, fields)
        with here._writing() as staged:
            row = here._row(changer(here._known(staged, key)))
            if here._key(row) != key:
                raise KeyChangedError(
                    f"write_update of {key!r} in collection {here.id!r} would change its key to {here._key(row)!r}",
                    collection=here.id,
                    key=key,
                )
            staged[key] = row

    def write_delete(self, /, *keys: K) -> None:
        """Remove rows that the server no longer has.

        Raises:
            UnknownKeyError: there is no row with this key.
            CollectionStateError: the collection is not running.
        """
        here = self._here()
        with here._writing() as staged:
            for key in keys:
                here._known(staged, key)
                staged[key] = None

    def write_batch(self) -> AbstractContextManager[None]:
        """Write all or nothing: what is written inside is shown together at the end, or dropped by an exception.

        Do not await inside.

        Raises:
            UsageError: inside another write_batch.
            CollectionStateError: the collection is not running.
        """
        return self._here()._batch()

    @contextmanager
    def _batch(self) -> Generator[None, None, None]:
        self._require_running()
        if self._staged is not None:
            raise UsageError(f"collection {self.id!r}: a write_batch inside another; one is enough")
        staged = self._staged = dict[K, T | None]()
        try:
            yield
        finally:
            self._staged = None
        self._write_directly(staged)

    @contextmanager
    def _writing(self) -> Generator[dict[K, T | None], None, None]:
        """Collect the writes of one call; they count only when all of them are right."""
        self._require_running()
        staged: dict[K, T | None] = {}
        yield staged
        if self._staged is None:
            self._write_directly(staged)
        else:
            self._staged.update(staged)

    def _write_directly(self, staged: Mapping[K, T | None]) -> None:
        """Show what was written. Overridden where a late answer of the source must not undo it."""
        self._write_synced(
            [row for row in staged.values() if row is not None], [key for key, row in staged.items() if row is None]
        )

    def _latest(self, staged: Mapping[K, T | None], key: K) -> T | None:
        for writes in (staged, self._staged or {}):
            if key in writes:
                return writes[key]
        return self._synced(key)

    def _known(self, staged: Mapping[K, T | None], key: K) -> T:
        row = self._latest(staged, key)
        if row is None:
            raise UnknownKeyError(self.id, key, "; use write_upsert")
        return row

    def _keyed(self, items: Iterable[T | Mapping[str, Any]]) -> list[tuple[K, T]]:
        rows = [self._row(item) for item in items]
        return [(self._key(row), row) for row in rows]

    def _row(self, item: T | Mapping[str, Any]) -> T:
        value = cast("object", item)
        if not _rows.is_row(value, self.schema) and isinstance(value, Mapping):
            return cast("T", _rows.from_plain(cast("Mapping[str, Any]", value), self.schema))
        _rows.check(value, self.schema)
        return cast("T", item)

    def _require_running(self) -> None:
        if not self._life.is_running:
            raise CollectionStateError(
                self.id, self._life.status, "it takes rows only while it runs: subscribe, or `await preload()` first"
            )
