"""The rows of live channels: a bounded log per scope, filled by history, by events and by pages from the past.

Pure bookkeeping; every method returns what changes in the collection. The order of a scope's log is: pages, oldest
first; history; events as they arrived. A row that comes again keeps its place, so the bound always lets the oldest go.

How history merges:

- What an event did after the history was asked for is newer than the history.
- History that shares a row with what is known continues it. History that shares none follows a gap of unknown size:
  what was known goes, since paging back from it would never fill the hole.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol

from typing_extensions import TypeVar

from ._envelope import WireKey
from ._errors import MessageError, RealtimeError
from ._replica import wire_key

__all__ = ["LiveLog", "LogChange", "LogMark", "Placed"]

T = TypeVar("T")
K = TypeVar("K")
In = TypeVar("In", contravariant=True)


class Placed(Protocol[In]):
    """How rows are keyed and placed."""

    def key(self, row: In, /) -> Any: ...

    def scope(self, row: In, /) -> str: ...


@dataclass(slots=True)
class LogChange(Generic[T, K]):
    """Rows that are new or other than before, and keys of rows that are gone, shown before or not."""

    rows: list[T] = field(default_factory=list[T])
    removed: list[K] = field(default_factory=list[K])


@dataclass(slots=True, eq=False)
class LogMark:
    """A fetch that is running, and the keys that events touched since it began."""

    scope: str
    touched: set[WireKey] = field(default_factory=set[WireKey])


@dataclass(slots=True)
class _Scope(Generic[T]):
    bound: int
    rows: OrderedDict[WireKey, T] = field(default_factory=OrderedDict[WireKey, T])


class LiveLog(Generic[T, K]):
    """See the module docstring.

    Args:
        codec: how rows are keyed and placed.
        max_items: rows that a scope keeps, besides the pages that were asked for.
    """

    def __init__(self, codec: Placed[T], *, max_items: int) -> None:
        self._codec = codec
        self._max_items = max_items
        self._scopes: dict[str, _Scope[T]] = {}
        self._owner: dict[WireKey, str] = {}
        self._running: set[LogMark] = set()

    def count(self, scope: str) -> int:
        """How many rows the scope holds."""
        known = self._scopes.get(scope)
        return 0 if known is None else len(known.rows)

    def oldest(self, scope: str) -> T | None:
        """The row from which a page goes back, or None."""
        return next(iter(self._scopes[scope].rows.values()), None)

    def find(self, row: T) -> T | None:
        """Return the row that is kept under the key of `row`."""
        key = wire_key(self._codec.key(row))
        scope = self._owner.get(key)
        return None if scope is None else self._scopes[scope].rows.get(key)

    # -- scopes ------------------------------------------------------------------------------------------------------

    def open(self, scope: str) -> None:
        """Accept rows for a scope."""
        self._scopes.setdefault(scope, _Scope(self._max_items))

    def empty(self, scope: str) -> LogChange[T, K]:
        """Remove the rows of a scope that stays open."""
        change = LogChange[T, K]()
        known = self._scopes.get(scope)
        if known is not None:
            for key in list(known.rows):
                self._drop(known, key, change)
            known.bound = self._max_items
        return change

    def close(self, scope: str) -> LogChange[T, K]:
        """Remove a scope with its rows."""
        change = self.empty(scope)
        self._scopes.pop(scope, None)
        return change

    # -- events ------------------------------------------------------------------------------------------------------

    def append(self, scope: str, row: T) -> LogChange[T, K]:
        """An event brought a row, new or again.

        Raises:
            MessageError: it belongs to another scope. Nothing was changed.
        """
        key = wire_key(self._codec.key(row))
        place = self._codec.scope(row)
        if place != scope:
            raise MessageError(
                f"an event on {scope!r} made row {key!r}, which belongs to {place!r}", channel=scope, code="foreign_row"
            )
        change = LogChange[T, K]()
        known = self._scopes.get(scope)
        if known is None:
            return change
        self._touch(scope, key)
        if known.rows.get(key) == row:
            return change
        self._put(scope, known, key, row, change)
        self._trim(known, change)
        return change

    def remove(self, scope: str, key: K) -> LogChange[T, K]:
        """An event removed a row. One that is not there, or of another scope, is no error."""
        change = LogChange[T, K]()
        known, wire = self._scopes.get(scope), wire_key(key)
        if known is not None:
            self._touch(scope, wire)
            if wire in known.rows:
                self._drop(known, wire, change)
        return change

    # -- history -----------------------------------------------------------------------------------------------------

    def fetching(self, scope: str) -> LogMark:
        """History or a page is being fetched: remember what events touch from now on."""
        mark = LogMark(scope)
        self._running.add(mark)
        return mark

    def abandon(self, mark: LogMark) -> None:
        """The fetch is over."""
        self._running.discard(mark)

    def merge(self, mark: LogMark, rows: Iterable[T]) -> LogChange[T, K]:
        """History arrived: the newest rows of the scope, oldest first, at some moment after the mark.

        Raises:
            RealtimeError: a row belongs to another scope, or two rows have one key. Nothing was changed.
        """
        found = self._checked(mark.scope, rows)
        change = LogChange[T, K]()
        known = self._scopes.get(mark.scope)
        if known is None:
            return change
        before = [key for key in known.rows if key not in mark.touched]
        since = [key for key in known.rows if key in mark.touched]
        shared = next((place for place, key in enumerate(found) if key in known.rows and key not in mark.touched), None)
        if found and shared is None:
            for key in before:
                self._drop(known, key, change)
            before = []
        new: list[WireKey] = []
        older = 0
        for place, (key, row) in enumerate(found.items()):
            if key in mark.touched or known.rows.get(key) == row:
                continue
            if key not in known.rows:
                new.append(key)
                older += shared is not None and place < shared
            self._put(mark.scope, known, key, row, change)
        for key in [*new[:older], *before, *new[older:], *since]:
            known.rows.move_to_end(key)
        self._trim(known, change)
        return change

    def prepend(self, mark: LogMark, rows: Iterable[T]) -> tuple[int, LogChange[T, K]]:
        """A page arrived: rows before the oldest one, oldest first. What is known already is skipped.

        Returns:
            How many rows are new, and what changes. The scope's bound grows by them: what was asked for stays.

        Raises:
            RealtimeError: as for `merge`.
        """
        found = self._checked(mark.scope, rows)
        change = LogChange[T, K]()
        known = self._scopes.get(mark.scope)
        if known is None:
            return 0, change
        new = [key for key in found if key not in known.rows and key not in mark.touched]
        for key in new:
            self._put(mark.scope, known, key, found[key], change)
        for key in reversed(new):
            known.rows.move_to_end(key, last=False)
        known.bound += len(new)
        return len(new), change

    # -- helpers -----------------------------------------------------------------------------------------------------

    def _checked(self, scope: str, rows: Iterable[T]) -> dict[WireKey, T]:
        found: dict[WireKey, T] = {}
        for row in rows:
            key, place = wire_key(self._codec.key(row)), self._codec.scope(row)
            if place != scope:
                raise RealtimeError(
                    f"the history of {scope!r} has row {key!r}, which belongs to {place!r}. Return only rows of the "
                    "parameters that were asked for, or name the right column with params={...}.",
                    channel=scope,
                    code="foreign_row",
                )
            if key in found:
                raise RealtimeError(
                    f"the history of {scope!r} has two rows with key {key!r}; get_key must be unique.",
                    channel=scope,
                    code="duplicate_key",
                )
            found[key] = row
        return found

    def _touch(self, scope: str, key: WireKey) -> None:
        for mark in self._running:
            if mark.scope == scope:
                mark.touched.add(key)

    def _put(self, scope: str, known: _Scope[T], key: WireKey, row: T, change: LogChange[T, K]) -> None:
        owner = self._owner.get(key)
        if owner is not None and owner != scope:
            # A key is one row in the collection, so it leaves the scope where it was.
            del self._scopes[owner].rows[key]
        self._owner[key] = scope
        known.rows[key] = row
        change.rows.append(row)

    def _drop(self, known: _Scope[T], key: WireKey, change: LogChange[T, K]) -> None:
        row = known.rows.pop(key)
        del self._owner[key]
        change.removed.append(self._codec.key(row))

    def _trim(self, known: _Scope[T], change: LogChange[T, K]) -> None:
        gone: set[WireKey] = set()
        while len(known.rows) > known.bound:
            oldest = next(iter(known.rows))
            gone.add(oldest)
            self._drop(known, oldest, change)
        if gone:
            change.rows = [row for row in change.rows if wire_key(self._codec.key(row)) not in gone]
