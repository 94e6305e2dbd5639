"""Order and window: which rows a query shows when it is ordered and cut to ``limit`` and ``offset``.

A window is an interval of sort keys. A batch tells how many rows came and went before each of its ends, so the new ends
are so many neighbours away from the old ones, and the rows between an old end and its new one are what comes in or goes
out. The same holds when the window itself is moved. So both cost O(log n) for each row that changes or moves, however
large the window and the offset are. Two comparisons tell that a change lies behind the window and is nothing to show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from .._base.delta import Deltas, same
from ._order_hub import Member, OrderHub
from ._order_index import OrderIndex, Steps
from ._sorted import Entry, SortedRows, SortKey

__all__ = ["Order"]

_FEW: Final = 8
"""So many neighbours are stepped over; for more it is cheaper to find the place by its position."""


class Order:
    """Keeps rows in order; hands on those inside the window.

    Args:
        sort_key: gives a unique tuple for key and row.
        limit: rows in the window, or None for all.
        offset: rows before it.
    """

    def __init__(self, sort_key: Callable[[Any, Any], SortKey], *, limit: int | None, offset: int = 0) -> None:
        self._index = OrderIndex(sort_key)
        self._limit = limit
        self._offset = offset
        self._is_window = limit is not None or offset > 0
        self._target: tuple[int | None, int] | None = None
        """Limit and offset that the next batch begins to show."""
        self._first: SortKey | None = None
        self._last: SortKey | None = None
        self._shown: dict[Any, Any] = {}
        """Rows in the window; not kept where the window is everything."""
        self._hub: OrderHub | None = None
        self._member: Member | None = None
        """What this is to the hub, where another window keeps the order."""

    def share(self, hub: OrderHub, member: Member) -> bool:
        """Cut the window from an order that others may cut theirs from. To be called before the first `push`.

        Returns:
            Whether this one keeps it: `push` gets the deltas. Else it is to be called when the member is told to, and
            without deltas.
        """
        self._hub, self._index = hub, hub.index
        if hub.join(member):
            return True
        self._member = member
        return False

    def take_over(self) -> None:
        """Keep the order that another one has kept."""
        self._member = None

    def push(self, deltas: Deltas) -> Deltas:
        """Take the deltas of one batch; see `Stage.push`. After `move` it may be called without deltas."""
        if self._member is not None:
            steps: Steps = self._member.steps
            self._member.steps = []
        elif self._hub is None:
            steps = self._index.push(deltas) if deltas else ()
        else:
            self._hub.before()
            steps = self._index.push(deltas) if deltas else ()
            self._hub.tell(steps)
        if not self._is_window and self._target is None:
            # Now, so that what a class of the application raises in a comparison is raised here.
            _ = self._index.rows
            return deltas
        return self._follow(steps)

    def move(self, *, limit: int | None, offset: int) -> None:
        """Show another window, from the next `push` on."""
        self._target = limit, offset

    @property
    def order_index(self) -> OrderIndex:
        """The order that the window is cut from."""
        return self._index

    @property
    def everything(self) -> SortedRows:
        """The rows in order, also those outside the window."""
        return self._index.rows

    def rows(self) -> Iterator[Any]:
        """Iterate over the rows of the window in order."""
        if not self._is_window:
            return iter(self._index.rows)
        if self._first is None or self._last is None:
            return iter(())
        return self._index.rows.between(self._first, self._last)

    def row_keys(self) -> Iterator[Any]:
        """Iterate over the row keys of the window in order."""
        if not self._is_window:
            return self._index.rows.names()
        if self._first is None or self._last is None:
            return iter(())
        return self._index.rows.names_between(self._first, self._last)

    def chunks(self) -> Sequence[Sequence[Any]]:
        """Return the rows of the window in order, as chunks that never change."""
        return [list(self.rows())] if self._is_window else self._index.chunks()

    def index(self, key: Any) -> int | None:
        """Return a row's position in the window, or None if it is not inside."""
        if self._is_window and key not in self._shown:
            return None
        position = self._index.index(key)
        return None if position is None else position - self._offset

    # -- the window ----------------------------------------------------------------------------------------------------

    def _follow(self, steps: Steps) -> Deltas:
        """Bring the window up to date; return how it changed."""
        if self._target is None and self._is_behind(steps):
            return ()
        if not self._is_window:
            # Everything was shown until now.
            self._shown = dict(zip(self._index.rows.names(), self._index.rows, strict=True))
            for key, old, *_ in reversed(steps):
                if old is None:
                    del self._shown[key]
                else:
                    self._shown[key] = old
            self._is_window = True
        old_offset = self._offset
        if self._target is not None:
            (self._limit, self._offset), self._target = self._target, None
        before: dict[Any, Any] = {}
        if self._first is None or self._last is None:
            self._rebuild(before)
        else:
            self._shift(steps, old_offset, self._first, self._last, before)
            if len(self._shown) != self._size():
                # Objects of an application may have an order that contradicts itself; then neighbours mean nothing.
                self._rebuild(before)
        shown = self._shown
        return [(key, old, new) for key, old in before.items() if not same(old, new := shown.get(key))]

    def _is_behind(self, steps: Steps) -> bool:
        """Whether nothing of this is to be shown: the window is full, and all of it lies behind."""
        if self._limit is None or len(self._shown) < self._limit:
            return False
        last = self._last
        if last is None:
            return True
        for step in steps:
            was, now = step[3], step[4]
            if (was is not None and was <= last) or (now is not None and now <= last):
                return False
        return True

    def _size(self) -> int:
        following = max(0, len(self._index) - self._offset)
        return following if self._limit is None else min(self._limit, following)

    def _rebuild(self, before: dict[Any, Any]) -> None:
        """Show the window from scratch."""
        for key, row in self._shown.items():
            before.setdefault(key, row)
        self._shown.clear()
        rows = self._index.rows
        size = self._size()
        first = rows.at(self._offset) if size else None
        last = rows.at(self._offset + size - 1) if size else None
        self._first = self._last = None
        if first is not None and last is not None:
            self._first, self._last = first[0], last[0]
            self._enter(first[0], last[0], before)

    def _shift(
        self, steps: Steps, old_offset: int, old_first: SortKey, old_last: SortKey, before: dict[Any, Any]
    ) -> None:
        """Find the new ends from the old ones, and show the difference."""
        at_first, at_last = old_offset, old_offset + len(self._shown) - 1
        for _, _, _, was, now in steps:
            if was is not None:
                at_first -= was < old_first
                at_last -= was < old_last
            if now is not None:
                at_first += now < old_first
                at_last += now < old_last
        size = self._size()
        first = self._find(old_first, at_first, self._offset) if size else None
        last = self._find(old_last, at_last, self._offset + size - 1) if size else None
        shown = self._shown
        places = {step[0]: (step[2], step[4]) for step in steps}
        for key, (row, now) in places.items():
            before.setdefault(key, shown.get(key))
            if now is not None and first is not None and last is not None and first[0] <= now <= last[0]:
                shown[key] = row
            else:
                shown.pop(key, None)
        if first is None or last is None:
            self._first = self._last = None
            self._leave(old_first, old_last, before)
            return
        self._first, self._last = new_first, new_last = first[0], last[0]
        rows = self._index.rows
        if old_first < new_first and (end := rows.before(new_first)) is not None:
            self._leave(old_first, min(end[0], old_last), before)
        elif new_first < old_first and (end := rows.before(old_first)) is not None:
            self._enter(new_first, min(end[0], new_last), before)
        if new_last < old_last and (start := rows.after(new_last)) is not None:
            self._leave(max(start[0], old_first), old_last, before)
        elif old_last < new_last and (start := rows.after(old_last)) is not None:
            self._enter(max(start[0], new_first), new_last, before)

    def _find(self, sort: SortKey, position: int, wanted: int) -> Entry | None:
        """Return the entry at the position `wanted`, where `position` is how many rows are below `sort`."""
        rows = self._index.rows
        if abs(wanted - position) > _FEW:
            return rows.at(wanted)
        if wanted >= position:
            entry = rows.get(sort) or rows.after(sort)
            step = rows.after
        else:
            entry = rows.before(sort)
            step = rows.before
            position -= 1
        for _ in range(abs(wanted - position)):
            entry = None if entry is None else step(entry[0])
        return entry

    def _leave(self, first: SortKey, last: SortKey, before: dict[Any, Any]) -> None:
        shown = self._shown
        for key in self._index.rows.names_between(first, last):
            row = shown.pop(key, None)
            if row is not None:
                before.setdefault(key, row)

    def _enter(self, first: SortKey, last: SortKey, before: dict[Any, Any]) -> None:
        shown, rows = self._shown, self._index.rows
        for key, row in zip(rows.names_between(first, last), rows.between(first, last), strict=True):
            if key not in shown:
                before.setdefault(key, None)
                shown[key] = row
