"""Order and window: which rows a query shows when it is ordered and cut to ``limit`` and ``offset``.

The window is remembered by the sort keys of its first and last row. Two comparisons tell that a change lies behind it
and is nothing to show. Any other insert or remove lets at most one row in and one row out, and both are neighbours of
the window's ends, so a change costs O(log n) however large the window and the offset are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .._delta import Delta, Deltas
from ._sorted import Entry, SortedRows

__all__ = ["Order"]


class Order:
    """Keeps rows in order; hands on those inside the window.

    Args:
        sort_key: gives a unique tuple for key and row.
        limit: rows in the window, or None for all.
        offset: rows before it.
    """

    def __init__(self, sort_key: Callable[[Any, Any], tuple[Any, ...]], *, limit: int | None, offset: int = 0) -> None:
        self._sort_key = sort_key
        self._limit = limit
        self._offset = offset
        self._is_window = limit is not None or offset > 0
        self._all = SortedRows()
        self._sorts: dict[Any, tuple[Any, ...]] = {}
        self._first: tuple[Any, ...] | None = None
        self._last: tuple[Any, ...] | None = None
        self._shown: dict[Any, Any] = {}
        """Rows in the window; not kept where the window is everything."""
        self._before: dict[Any, Any] = {}
        """What the rows that this batch touched in the window were before it; None for absent."""
        self._chunks: Sequence[list[Any]] | None = None

    def push(self, deltas: Deltas) -> Deltas:
        """Take the deltas of one batch; see `Stage.push`."""
        self._chunks = None
        if not self._sorts and all(old is None for _, old, _ in deltas):
            return self._load(deltas)
        if not self._is_window:
            for delta in deltas:
                self._move(*delta)
            return deltas
        for delta in deltas:
            self._move(*delta)
        before, self._before = self._before, {}
        shown = self._shown
        return [(key, old, new) for key, old in before.items() if (new := shown.get(key)) is not old and new != old]

    def rows(self) -> Iterator[Any]:
        """Iterate over the rows of the window in order."""
        if not self._is_window:
            return iter(self._all)
        if self._first is None or self._last is None:
            return iter(())
        return self._all.between(self._first, self._last)

    def row_keys(self) -> Iterator[Any]:
        """Iterate over the row keys of the window in order."""
        if not self._is_window:
            return self._all.names()
        if self._first is None or self._last is None:
            return iter(())
        return self._all.names_between(self._first, self._last)

    def chunks(self) -> Sequence[Sequence[Any]]:
        """Return the rows of the window in order, as chunks that never change."""
        if self._chunks is None:
            self._chunks = [list(self.rows())] if self._is_window else self._all.snapshot()
        return self._chunks

    def index(self, key: Any) -> int | None:
        """Return a row's position in the window, or None if it is not inside."""
        if self._is_window and key not in self._shown:
            return None
        sort = self._sorts.get(key)
        if sort is None:
            return None
        position = self._all.index(sort)
        return position - self._offset if self._is_window else position

    def _load(self, deltas: Deltas) -> Deltas:
        sorts, sort_key = self._sorts, self._sort_key
        entries: list[Entry] = []
        for key, _, row in deltas:
            sort = sorts[key] = sort_key(key, row)
            entries.append((sort, key, row))
        self._all.load(entries)
        if not self._is_window:
            return deltas
        found: list[Delta] = []
        entry = self._all.at(self._offset) if self._limit != 0 else None
        while entry is not None and (self._limit is None or len(found) < self._limit):
            if self._first is None:
                self._first = entry[0]
            self._last = entry[0]
            self._shown[entry[1]] = entry[2]
            found.append((entry[1], None, entry[2]))
            entry = self._all.after(entry[0])
        return found

    def _move(self, key: Any, old: Any, new: Any) -> None:
        """Apply one change of a row. A row that keeps its place only changes its value."""
        was = self._sorts.get(key)
        now = None if new is None else self._sort_key(key, new)
        if was == now:
            if was is not None:
                self._all.replace(was, new)
                if key in self._shown:
                    self._show(key, new)
            return
        if was is not None:
            self._remove(key, was)
        if now is not None:
            self._insert(now, key, new)

    def _insert(self, sort: tuple[Any, ...], key: Any, row: Any) -> None:
        self._sorts[key] = sort
        self._all.insert(sort, key, row)
        if not self._is_window or self._limit == 0:
            return
        if self._first is None or self._last is None:
            if len(self._all) > self._offset:
                # Everything was before the window; now exactly one row is not.
                entry = self._all.at(self._offset)
                assert entry is not None, "there are more rows than the offset"
                self._first = self._last = entry[0]
                self._show(entry[1], entry[2])
            return
        if sort < self._first:
            entering = self._all.before(self._first)
            assert entering is not None, "at least the new row is before the window"
            self._first = entering[0]
            self._show(entering[1], entering[2])
        elif sort < self._last:
            self._show(key, row)
        elif self._limit is None or len(self._shown) < self._limit:
            self._last = sort
            self._show(key, row)
            return
        else:
            return
        if self._limit is not None and len(self._shown) > self._limit:
            self._drop_last()

    def _remove(self, key: Any, sort: tuple[Any, ...]) -> None:
        if self._first is not None and self._last is not None and sort <= self._last:
            if sort < self._first:
                # The window moves up by one: its first row is now the last before it.
                self._hide(self._all.entry(self._first)[1])
                following = self._all.after(self._first)
                self._first = None if following is None else following[0]
            else:
                self._hide(key)
                if sort == self._first:
                    following = self._all.after(sort)
                    self._first = None if following is None else following[0]
            self._refill(sort)
        del self._sorts[key]
        self._all.remove(sort)

    def _refill(self, removed: tuple[Any, ...]) -> None:
        """One row left the window, so the next one comes in, if there is one. Called before the removal."""
        assert self._last is not None, "a row left"
        entering = self._all.after(self._last)
        if entering is not None:
            self._last = entering[0]
            self._show(entering[1], entering[2])
        elif not self._shown:
            self._first = self._last = None
        elif removed == self._last:
            previous = self._all.before(removed)
            assert previous is not None, "the window has another row"
            self._last = previous[0]

    def _drop_last(self) -> None:
        assert self._last is not None, "the window is too full"
        self._hide(self._all.entry(self._last)[1])
        previous = self._all.before(self._last)
        assert previous is not None, "the window has another row"
        self._last = previous[0]

    def _show(self, key: Any, row: Any) -> None:
        self._before.setdefault(key, self._shown.get(key))
        self._shown[key] = row

    def _hide(self, key: Any) -> None:
        self._before.setdefault(key, self._shown.get(key))
        del self._shown[key]
