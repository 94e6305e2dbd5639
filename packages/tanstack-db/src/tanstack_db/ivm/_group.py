"""Groups with aggregates, kept up to date per changed row.

A change touches the one or two groups that its row was in and is in. Nothing of a group is recomputed: count, sum and
average cost O(1), minimum and maximum O(log n).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from .._base.delta import Delta, Deltas, same
from .._base.ir import AggregateCall
from ._accumulators import Accumulator, accumulator
from ._values import hashable

__all__ = ["Group"]

Row: TypeAlias = Any

_UNSEEN: Any = object()


class _Bucket:
    """One group.

    Attributes:
        name: its key values as they are compared.
        key: its key in the output.
        values: the key values as they are in the rows.
        rows: how many rows it has.
        totals: one accumulator per call.
        seen: aggregate values that `out` was built from.
        out: the output row that was handed on, or None.
    """

    __slots__ = ("key", "name", "out", "rows", "seen", "totals", "values")

    def __init__(self, name: tuple[Any, ...], values: tuple[Any, ...], totals: list[Accumulator]) -> None:
        self.name = name
        self.key: Any = name[0] if len(name) == 1 else name
        self.values = values
        self.rows = 0
        self.totals = totals
        self.seen: Any = _UNSEEN
        self.out: Row | None = None


class Group:
    """Makes one row per group; see `Grouping`.

    Args:
        keys: the values that are equal within a group.
        calls: the aggregates, each with the function that reads its value from a row; None counts rows.
        build: makes the output row of key values and aggregate values.
        is_total: no keys: there is one group, also when there is no row.
    """

    def __init__(
        self,
        keys: Callable[[Row], tuple[Any, ...]],
        calls: Sequence[tuple[AggregateCall, Callable[[Row], Any] | None]],
        build: Callable[[tuple[Any, ...], tuple[Any, ...]], Row],
        *,
        is_total: bool,
    ) -> None:
        self._keys = keys
        self._calls = [call for call, _ in calls]
        self._readers = [reader for _, reader in calls]
        self._build = build
        self._is_total = is_total
        self._buckets: dict[Any, _Bucket] = {}

    def start(self) -> Deltas:
        """Hand on the row of a total over no rows, if that has not been done."""
        if not self._is_total or self._buckets:
            return ()
        return self._settle([self._bucket((), ())])

    def push(self, deltas: Deltas) -> Deltas:
        """Take the deltas of one batch; see `Stage.push`."""
        touched: dict[Any, _Bucket] = {}
        for _, old, new in deltas:
            if old is None:
                self._add(new, self._keys(new), touched)
            elif new is None:
                self._remove(old, self._keys(old), touched)
            else:
                self._change(old, new, touched)
        if self._is_total and not self._buckets:
            touched[()] = self._bucket((), ())
        return self._settle(touched.values())

    def _change(self, old: Row, new: Row, touched: dict[Any, _Bucket]) -> None:
        was, now = self._keys(old), self._keys(new)
        name = _name(was)
        if name != _name(now):
            self._remove(old, was, touched)
            self._add(new, now, touched)
            return
        # Within its group a row matters only by the values that changed.
        for place, reader in enumerate(self._readers):
            if reader is None:
                continue
            before, after = reader(old), reader(new)
            if before is after or (type(before) is type(after) and same(before, after)):
                continue
            bucket = touched[name] = self._bucket(name, now)
            if before is not None:
                bucket.totals[place].remove(before)
            if after is not None:
                bucket.totals[place].add(after)

    def _add(self, row: Row, values: tuple[Any, ...], touched: dict[Any, _Bucket]) -> None:
        bucket = self._touch(values, touched)
        bucket.rows += 1
        for reader, total in zip(self._readers, bucket.totals, strict=True):
            value = row if reader is None else reader(row)
            if value is not None:
                total.add(value)

    def _remove(self, row: Row, values: tuple[Any, ...], touched: dict[Any, _Bucket]) -> None:
        bucket = self._touch(values, touched)
        bucket.rows -= 1
        for reader, total in zip(self._readers, bucket.totals, strict=True):
            value = row if reader is None else reader(row)
            if value is not None:
                total.remove(value)

    def _touch(self, values: tuple[Any, ...], touched: dict[Any, _Bucket]) -> _Bucket:
        try:
            # Nearly all values are their own names, and what is found by such a value has that name.
            bucket = touched.get(values)
        except TypeError:
            bucket = None
        if bucket is None:
            name = _name(values)
            bucket = touched.get(name)
            if bucket is None:
                bucket = touched[name] = self._bucket(name, values)
        return bucket

    def _bucket(self, name: tuple[Any, ...], values: tuple[Any, ...]) -> _Bucket:
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = _Bucket(name, values, [accumulator(call) for call in self._calls])
        return bucket

    def _settle(self, touched: Iterable[_Bucket]) -> list[Delta]:
        found: list[Delta] = []
        for bucket in touched:
            if not bucket.rows and not self._is_total:
                del self._buckets[bucket.name]
                if bucket.out is not None:
                    found.append((bucket.key, bucket.out, None))
                continue
            seen = tuple([total.value() for total in bucket.totals])
            if bucket.seen is not _UNSEEN and _same(seen, bucket.seen):
                continue
            bucket.seen = seen
            old, bucket.out = bucket.out, self._build(bucket.values, seen)
            if old is None or not same(old, bucket.out):
                found.append((bucket.key, old, bucket.out))
        return found


def _name(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(values) == 1:
        return (hashable(values[0]),)
    return tuple([hashable(value) for value in values])


def _same(values: tuple[Any, ...], others: tuple[Any, ...]) -> bool:
    """Equal, and of the same types: a sum that turns from 1 to 1.0 is another row."""
    return same(values, others) and all(type(one) is type(other) for one, other in zip(values, others, strict=True))
