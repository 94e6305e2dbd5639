"""Keeps the rows for which a predicate is true."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._base.delta import Delta, Deltas

__all__ = ["Filter"]


class Filter:
    """Rows that pass. Stateless: the old row says whether it was in.

    A row that starts to pass comes out as an insert, one that stops as a delete.
    """

    __slots__ = ("_predicate",)

    def __init__(self, predicate: Callable[[Any], bool]) -> None:
        self._predicate = predicate

    def push(self, deltas: Deltas) -> Deltas:
        """Take the deltas of one batch; return those of the rows that pass."""
        test = self._predicate
        out: list[Delta] = []
        for delta in deltas:
            key, old, new = delta
            if new is not None and test(new):
                # Most rows stay on their side, and then the delta itself is passed on.
                out.append(delta if old is None or test(old) else (key, None, new))
            elif old is not None and test(old):
                out.append((key, old, None))
        return out
