"""All rows of an input in order: what any number of windows are cut from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from .._base.delta import Deltas
from ._sorted import Entry, SortedRows, SortKey

__all__ = ["OrderIndex", "Step", "Steps"]

Step: TypeAlias = tuple[Any, Any, Any, SortKey | None, SortKey | None]
"""``(key, old, new, was, now)``: a delta, and the sort keys that the row had and has."""

Steps: TypeAlias = Sequence[Step]

_FEW: Final = 64
"""So many changes are put in one by one, however few rows there are."""


class OrderIndex:
    """Rows by sort key, and the sort key of each row.

    Changes are noted and put into the order when somebody asks for it: a window is not asked for what lies behind it,
    and of many changes a row's last one counts. More than an eighth of the rows are sorted in anew, at a fifth of what
    it costs to put them in one by one.

    Args:
        sort_key: gives a unique tuple for key and row.

    Attributes:
        is_broken: whether a comparison of the application's values has raised; it is to be discarded.
    """

    __slots__ = ("_chunks", "_noted", "_rows", "_sort_key", "_sorts", "is_broken")

    def __init__(self, sort_key: Callable[[Any, Any], SortKey]) -> None:
        self.is_broken = False
        self._rows = SortedRows()
        self._noted: dict[Any, tuple[SortKey | None, SortKey | None, Any]] = {}
        """By key: the sort key that the row has in `_rows`, the one that it is to have, and the row."""
        self._sort_key = sort_key
        self._sorts: dict[Any, SortKey] = {}
        self._chunks: Sequence[list[Any]] | None = None

    def push(self, deltas: Deltas) -> Steps:
        """Take the deltas of one batch; return them with the places that rows left and took."""
        self._chunks = None
        sorts, sort_key, noted = self._sorts, self._sort_key, self._noted
        if not sorts and all(old is None for _, old, _ in deltas):
            return self._load(deltas)
        steps: list[Step] = []
        for key, old, new in deltas:
            was = sorts.get(key)
            now = None if new is None else sort_key(key, new)
            steps.append((key, old, new, was, now))
            if now is not None:
                sorts[key] = now
            elif was is not None:
                del sorts[key]
            earlier = noted.get(key)
            noted[key] = (was if earlier is None else earlier[0], now, new)
        return steps

    @property
    def rows(self) -> SortedRows:
        """The rows in order."""
        if self._noted:
            try:
                self._put_in()
            except BaseException:
                self.is_broken = True
                raise
        return self._rows

    def __len__(self) -> int:
        return len(self._sorts)

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
        self._rows.load(entries)
        return steps

    def _put_in(self) -> None:
        noted, self._noted = self._noted, {}
        rows = self._rows
        if len(noted) > _FEW and len(noted) > len(rows) // 8:
            entries = [entry for entry in rows.entries() if entry[1] not in noted]
            entries += [(now, key, row) for key, (_, now, row) in noted.items() if now is not None]
            rows.load(entries)
            return
        for key, (was, now, row) in noted.items():
            if was == now:
                # A row that keeps its place only changes its value.
                if was is not None:
                    rows.replace(was, row)
                continue
            if was is not None:
                rows.remove(was)
            if now is not None:
                rows.insert(now, key, row)
