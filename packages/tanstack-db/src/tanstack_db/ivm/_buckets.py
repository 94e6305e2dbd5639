"""A hash index: rows by the value of a column."""

from __future__ import annotations

from collections.abc import Collection, Hashable
from typing import Any, TypeAlias

__all__ = ["Buckets", "Pair"]

Pair: TypeAlias = tuple[Any, Any]
"""Row key and row."""


class Buckets:
    """Rows by name, where a name is what `hashable` makes of a value; the name None, of null, is never kept.

    Most names of a column with many values hold one row, so such a bucket is a tuple of one pair, which takes less than
    half of a dict.
    """

    __slots__ = ("_buckets",)

    def __init__(self) -> None:
        self._buckets: dict[Hashable, tuple[Pair] | dict[Any, Any]] = {}

    def __len__(self) -> int:
        """Return how many names there are."""
        return len(self._buckets)

    def get(self, name: Hashable) -> Collection[Pair]:
        """Return the rows with this name: a view, empty if there are none."""
        bucket = self._buckets.get(name)
        if bucket is None:
            return ()
        return bucket.items() if isinstance(bucket, dict) else bucket

    def put(self, name: Hashable, key: Any, row: Any) -> bool:
        """Add or replace a row. Return whether it is the first with its name."""
        if name is None:
            return False
        bucket = self._buckets.get(name)
        if bucket is None:
            self._buckets[name] = ((key, row),)
            return True
        if isinstance(bucket, dict):
            bucket[key] = row
        else:
            self._buckets[name] = dict((*bucket, (key, row)))
        return False

    def drop(self, name: Hashable, key: Any) -> bool:
        """Remove a row, which must be there. Return whether it was the last with its name."""
        if name is None:
            return False
        bucket = self._buckets[name]
        if isinstance(bucket, dict) and len(bucket) > 1:
            del bucket[key]
            return False
        del self._buckets[name]
        return True
