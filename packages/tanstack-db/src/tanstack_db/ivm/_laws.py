"""The laws of deltas as code: a table that takes changes and gives deltas, and one that takes deltas and checks them.

Tests run every operator between the two. A program that writes a stage of its own can do the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._base.delta import Delta, Deltas, same

__all__ = ["BrokenLawError", "apply", "change"]


class BrokenLawError(AssertionError):
    """A stage gave deltas that break a law of `Deltas`.

    Attributes:
        delta: the first one that does.
    """

    def __init__(self, law: str, delta: Delta) -> None:
        super().__init__(f"{law}: {delta!r}")
        self.delta = delta


def change(rows: dict[Any, Any], batch: Mapping[Any, Any]) -> Deltas:
    """Write a batch (key -> new row, None to delete) to a table and return its net deltas."""
    deltas: list[Delta] = []
    for key, new in batch.items():
        old = rows.get(key)
        if old is new or (old is not None and new is not None and same(old, new)):
            continue
        deltas.append((key, old, new))
        if new is None:
            del rows[key]
        else:
            rows[key] = new
    return deltas


def apply(rows: dict[Any, Any], deltas: Deltas) -> None:
    """Apply the deltas of one batch to a table.

    Raises:
        BrokenLawError: a key twice, an old row that the table does not hold, a change between equal rows.
    """
    seen: set[Any] = set()
    for delta in deltas:
        key, old, new = delta
        if key in seen:
            raise BrokenLawError("each key at most once per batch", delta)
        seen.add(key)
        there = rows.get(key)
        if there is not old and (there is None or old is None or not same(there, old)):
            raise BrokenLawError(f"`old` is what consumers were told, which is {there!r}", delta)
        if old is new or (old is not None and new is not None and same(old, new)):
            raise BrokenLawError("equal rows are no change", delta)
        if new is None:
            del rows[key]
        else:
            rows[key] = new
