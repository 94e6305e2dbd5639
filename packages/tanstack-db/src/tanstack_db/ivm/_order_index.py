"""All rows of an input in order: what any number of windows are cut from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from .._delta import Deltas
from ._sorted import Entry, SortedRows, SortKey

__all__ = ["OrderIndex", "Step", "Steps"]

Step: TypeAlias = tuple[Any, Any, Any, SortKey | None, SortKey | None]
"""``(key, old, new, was, now)``: a delta, and the sort keys that the row had and has."""

Steps: TypeAlias = Sequence[Step]


class OrderIndex:
    """Rows by sort key, and the sort key of each row.

    Args:
        sort_key: gives a unique tuple for key and row.

    Attributes:
        rows: the rows in order.
    """

    __slots__ = ("_chunks", "_sort_key", "_sorts", "rows")

    def __init__(self, sort_key: Callable[[Any, Any], SortKey]) -> None:
        self.rows = SortedRows()
        self._sort_key = sort_key
        self._sorts: dict[Any, SortKey] = {}
        self._chunks: Sequence[list[Any]] | None = None

    def push(self, deltas: Deltas) -> Steps:
        """Take the deltas of one batch; return them with the places that rows left and took."""
        self._chunks = None
        sorts, sort_key, rows = self._sorts, self._sort_key, self.rows
        if not sorts and all(old is None for _, old, _ in deltas):
            return self._load(deltas)
        steps: list[Step] = []
        for key, old, new in deltas:
            was = sorts.get(key)
            now = None if new is None else sort_key(key, new)
            steps.append((key, old, new, was, now))
            if was == now:
                # A row that keeps its place only changes its value.
                if was is not None:
                    rows.replace(was, new)
                continue
            if was is not None:
                rows.remove(was)
            if now is None:
                del sorts[key]
            else:
                sorts[key] = now
                rows.insert(now, key, new)
        return steps

    def index(self, key: Any) -> int | None:
        """Return a row's position, or None if it is not there."""
        sort = self._sorts.get(key)
        return None if sort is None else self.rows.index(sort)

    def chunks(self) -> Sequence[Sequence[Any]]:
        """Return the rows in order, as chunks that never change."""
        if self._chunks is None:
            self._chunks = self.rows.snapshot()
        return self._chunks

    def _load(self, deltas: Deltas) -> Steps:
        """The first rows: sorted once, which is much faster than inserting one by one."""
        sorts, sort_key = self._sorts, self._sort_key
        steps: list[Step] = []
        entries: list[Entry] = []
        for key, _, row in deltas:
            sort = sorts[key] = sort_key(key, row)
            entries.append((sort, key, row))
            steps.append((key, None, row, None, sort))
        self.rows.load(entries)
        return steps
