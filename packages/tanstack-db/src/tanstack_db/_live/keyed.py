"""`KeyedList`: what a widget that shows a list must do to follow a live query, row by row.

A widget that rebuilds its list loses the cursor, the scroll position and the focus. So the changes of a live query
become steps that name rows by their keys and places by the row that comes after.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Generic, Literal

from typing_extensions import TypeVar

from .._collections.subscription import Change

__all__ = ["KeyedList", "Step"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Step(Generic[T]):
    """One thing to do to the list.

    Attributes:
        type: ``remove`` takes a row out, ``insert`` puts one in, ``update`` shows another value where the row is,
            ``move`` brings it to another place and shows its value.
        key: the row's key.
        row: its value; for ``remove`` the last one.
        before: for ``insert`` and ``move`` the key of the row that comes after, None at the end.
    """

    type: Literal["remove", "insert", "update", "move"]
    key: Any
    row: T
    before: Any = None


class KeyedList(Generic[T]):
    """The keys of a list in their order, kept by the changes of a live query.

    Attributes:
        keys: in the order of the result; to be read only.
    """

    def __init__(self) -> None:
        self.keys: list[Any] = []

    def apply(self, changes: Iterable[Change[T, Any]]) -> list[Step[T]]:
        """Return the steps that a batch of changes takes, to be done in their order.

        Rows come in from the last to the first, so that the row which each is put before has its place already.
        O(n) for a list of n rows, as any list is that a widget shows.
        """
        steps: list[Step[T]] = []
        placed: list[Change[T, Any]] = []
        gone: set[Any] = set()
        for change in changes:
            if change.type == "delete":
                steps.append(Step("remove", change.key, change.value))
                gone.add(change.key)
            elif change.index is None and change.type == "update":
                steps.append(Step("update", change.key, change.value))
            else:
                placed.append(change)
        kept = [key for key in self.keys if key not in gone]
        loose = {change.key for change in placed}
        self.keys = [key for key in kept if key not in loose]
        for change in placed:
            self.keys.insert(len(self.keys) if change.index is None else change.index, change.key)
        if placed:
            steps.extend(self._places(placed, kept))
        return steps

    def _places(self, placed: list[Change[T, Any]], kept: list[Any]) -> list[Step[T]]:
        rank = {key: position for position, key in enumerate(kept)}
        unmoved = _unmoved([key for key in self.keys if key in rank], rank, {change.key for change in placed})
        following = dict(zip(self.keys, [*self.keys[1:], None], strict=True))
        steps: list[Step[T]] = []
        for change in reversed(placed):
            key = change.key
            if key in unmoved:
                steps.append(Step("update", key, change.value))
            else:
                steps.append(Step("move" if key in rank else "insert", key, change.value, following[key]))
        return steps


def _unmoved(order: list[Any], rank: dict[Any, int], loose: set[Any]) -> set[Any]:
    """Return those of the loose keys that may stay: between the same neighbours among the keys that do not move.

    Args:
        order: the new order of the keys that were there before.
        rank: the old position of each.
        loose: the keys that may have moved. All others are in their old order.
    """
    bounds: list[int] = []
    bound = len(rank)
    for key in reversed(order):
        bounds.append(bound)
        if key not in loose:
            bound = rank[key]
    unmoved: set[Any] = set()
    last = -1
    for key, limit in zip(order, reversed(bounds), strict=True):
        if key not in loose:
            last = rank[key]
        elif last < rank[key] < limit:
            last = rank[key]
            unmoved.add(key)
    return unmoved
