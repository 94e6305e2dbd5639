"""`ResultTable`: the rows of a running query under the keys that are published, and how they changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from .._base.delta import Delta, Deltas, same
from .._base.snapshot import Shown
from .._collections.subscription import Change
from .changes import ResultKeys, told
from .pipeline import Pipeline

__all__ = ["ResultTable", "netted"]


class ResultTable:
    """Takes what a pipeline gives, and keeps it until somebody is told.

    Args:
        is_ordered: see below.
        has_outer_rows: whether a row may stand for an earlier one; see `ResultKeys`.

    Attributes:
        rows: the rows by published key, a live view.
        shown: the rows as they are shown.
        pipeline: where the rows come from, or None where nothing says how they change.
        is_ordered: whether rows have positions; a window may make it so.
    """

    def __init__(self, *, is_ordered: bool, has_outer_rows: bool) -> None:
        self.is_ordered = is_ordered
        self.pipeline: Pipeline | None = None
        self.shown = Shown(self._items)
        self._has_outer_rows = has_outer_rows
        self._rows: dict[Any, Any] = {}
        self.rows: Mapping[Any, Any] = MappingProxyType(self._rows)
        self._keys: ResultKeys | None = None
        self._changes: list[Delta] = []

    # -- what there is -------------------------------------------------------------------------------------------------

    def initial(self) -> list[Change[Any, Any]]:
        """Return the present rows as inserts."""
        return told([(key, None, row) for key, row in self._rows.items()], self._positions(self._rows))

    def ordered_keys(self) -> Sequence[Any]:
        """Return the keys of the rows, in order where they have one."""
        keys = None if self.pipeline is None else self.pipeline.ordered_keys()
        if keys is None:
            return list(self._rows)
        return keys if self._keys is None else [self._keys.published(key) for key in keys]

    def _items(self) -> Sequence[Any]:
        ordered = None if self.pipeline is None else self.pipeline.ordered(self._row)
        return tuple(self._rows.values()) if ordered is None else ordered

    def _row(self, key: Any) -> Any:
        return self._rows[key if self._keys is None else self._keys.published(key)]

    def _positions(self, keys: Iterable[Any]) -> dict[Any, int | None]:
        if self.pipeline is None:
            # `_rows` has the order that was kept.
            places = {key: index for index, key in enumerate(self._rows)} if self.is_ordered else {}
            return {key: places.get(key) for key in keys} if places else {}
        if self._keys is None:
            return self.pipeline.positions(list(keys))
        found = self.pipeline.positions([self._keys.joined(key) for key in keys])
        return {self._keys.published(key): index for key, index in found.items()}

    # -- what changes --------------------------------------------------------------------------------------------------

    def load(self, pipeline: Pipeline, loaded: Deltas, order: Sequence[Any]) -> Deltas:
        """Take rows from another pipeline from now on.

        Args:
            pipeline: gives how they change.
            loaded: all of its rows.
            order: the keys of the rows that are shown now, in their order, where that is known.

        Returns:
            How the rows changed, without those that may be elsewhere.
        """
        self.pipeline = pipeline
        if not self._rows:
            self._keys = ResultKeys() if self._has_outer_rows else None
            return self._show(loaded, (), before={})
        rows = {key: row for key, _, row in loaded}
        if self._keys is not None and order:
            before = {self._keys.joined(key): row for key, row in self._rows.items()}
            deltas = self._keys.translate(_difference(before, rows))
        else:
            self._keys = ResultKeys() if self._has_outer_rows else None
            deltas = _difference(self._rows, rows)
        changed, equal = _parted(deltas)
        # Where a row was is not known, so it comes as one that may have moved; but not if all are as they were.
        places = [place for place in self._positions(order).values() if place is not None]
        return self._show(changed, () if order and places == sorted(places) else equal, before={})

    def push(self, pipeline: Pipeline, inputs: Sequence[Deltas]) -> Deltas:
        """Take the deltas of one batch of the sources through the pipeline. Returns what `load` does."""
        if self.is_ordered:
            # A snapshot that nobody has read yet is of the order that the pipeline keeps.
            self.shown.freeze()
        deltas = pipeline.push(inputs)
        if not deltas and not pipeline.moved:
            return ()
        if self._keys is None and not pipeline.moved:
            return self._show(deltas, (), pipeline.positions_before)
        moved = [(key, row, row) for key in pipeline.moved for row in [self._row(key)]]
        before = pipeline.positions_before
        if self._keys is not None:
            before = {self._keys.published(key): index for key, index in before.items()}
            moved = [(self._keys.published(key), row, row) for key, row, _ in moved]
            deltas, equal = _parted(self._keys.translate(deltas))
            moved += equal
        return self._show(deltas, moved, before)

    def _show(self, changed: Deltas, moved: Deltas, before: Mapping[Any, int | None]) -> Deltas:
        """Take over the rows of a batch, and return `changed`.

        Args:
            changed: updates are between rows that differ.
            moved: rows that may be elsewhere, as updates between equal rows.
            before: where those were, as far as known.
        """
        if not self.is_ordered:
            moved = ()
        if not changed:
            after = self._positions([key for key, _, _ in moved])
            if all(key in before and before[key] == index for key, index in after.items()):
                return ()
        self.shown.forget()
        for key, _, new in changed:
            if new is None:
                del self._rows[key]
            else:
                self._rows[key] = new
        if self._changes:
            # What this batch brought made a source deliver more within the batch.
            self._changes = netted(self._changes, [*changed, *moved], with_moves=True)
        else:
            self._changes += changed
            self._changes += moved
        return changed

    def taken_changes(self) -> Deltas:
        """Return how the rows changed since the last call, each key once."""
        changes, self._changes = self._changes, []
        return changes

    def told(self, changes: Deltas) -> list[Change[Any, Any]]:
        """Return what subscribers are told of changes that `taken_changes` returned just now."""
        return told(changes, self._positions([key for key, _, _ in changes]) if self.is_ordered else {})

    # -- without a pipeline --------------------------------------------------------------------------------------------

    def keep_order(self) -> None:
        """Keep the rows in the order in which they are shown, which only the pipeline knows. It goes next.

        Raises:
            Exception: what a comparison of the application's values raises.
        """
        self.shown.freeze()
        rows = {key: self._rows[key] for key in self.ordered_keys() if key in self._rows} | self._rows
        self._rows.clear()
        self._rows.update(rows)

    def keep_items(self) -> None:
        """Keep showing what is shown. The pipeline, which has failed, goes next."""
        try:
            self.shown.items()  # in their order, which only the pipeline knows
            self.keep_order()
        except Exception:  # noqa: BLE001 -- the error that made the pipeline fail
            # It is a comparison of the application's values that raises, so there is no order.
            self.shown.keep(tuple(self._rows.values()))

    def start_from(self, other: ResultTable) -> None:
        """Show what `other` does, until the first rows are loaded."""
        self._rows.update({key: other.rows[key] for key in other.ordered_keys()})
        self._keys = None if other._keys is None else other._keys.copy()
        self.shown.keep(other.shown.items())

    def clear(self) -> None:
        """Forget all rows, and tell nobody."""
        self._rows.clear()
        self._changes.clear()


def _difference(before: Mapping[Any, Any], after: Mapping[Any, Any]) -> list[Delta]:
    """Return what was and what is as deltas, with updates between equal rows."""
    deltas = [(key, old, after.get(key)) for key, old in before.items()]
    return deltas + [(key, None, row) for key, row in after.items() if key not in before]


def netted(first: Deltas, second: Deltas, *, with_moves: bool = False) -> list[Delta]:
    """Return two sequences of deltas, one after the other, as one in which every key is once.

    Args:
        first: the earlier deltas.
        second: the later ones.
        with_moves: keep updates between equal rows.
    """
    net = {key: (old, new) for key, old, new in first}
    for key, old, new in second:
        net[key] = (net[key][0] if key in net else old, new)
    return [
        (key, old, new) for key, (old, new) in net.items() if (with_moves and old is not None) or not same(old, new)
    ]


def _parted(deltas: Deltas) -> tuple[list[Delta], list[Delta]]:
    """Part what changed from updates between equal rows."""
    changed: list[Delta] = []
    equal: list[Delta] = []
    for delta in deltas:
        (equal if same(delta[1], delta[2]) else changed).append(delta)
    return changed, equal
