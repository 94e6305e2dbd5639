"""Gives every row of one input the list of its rows of another: what belongs together has equal keys.

Children are ordered and cut per key, so parents with equal keys share one list. A changed child costs O(log n) in its
own list, and hands on the parents that have it. A list is a snapshot that shares what did not change with the one
before; it becomes a list of items when somebody reads it. A *fold* makes something else of the children of one key,
such as totals, and keeps it up to date.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from itertools import chain
from typing import Any, TypeAlias

from .._base.delta import Delta, Deltas, same
from .._base.snapshot import Rows
from ._buckets import Buckets
from ._order import Order

__all__ = ["Fold", "Include"]

Fold: TypeAlias = Callable[[Deltas], Any]
"""Takes the deltas of one list, of pairs as below, and returns what the parents get instead of it."""

_NOTHING: Rows[Any] = Rows()


class Include:
    """Adds the list of children to every parent row; see the module docstring.

    Args:
        parent_key: what a parent's children have, None for null; see `match_on`.
        child_key: what a child belongs to.
        order: makes the order and window of one list. Its rows are pairs: a child row, and what is shown of it.
        make: what is shown of a child row.
        arity: how many sources a parent row is made of. With more than one it is a tuple.
        fold: makes the fold of one list; None where the list itself is wanted.
    """

    __slots__ = (
        "_arity",
        "_child_key",
        "_children",
        "_folds",
        "_lists",
        "_make",
        "_new_fold",
        "_new_order",
        "_nothing",
        "_orders",
        "_out",
        "_parent_key",
        "_parents",
    )

    def __init__(
        self,
        parent_key: Callable[[Any], Hashable],
        child_key: Callable[[Any], Hashable],
        order: Callable[[], Order],
        make: Callable[[Any], Any] | None,
        *,
        arity: int = 1,
        fold: Callable[[], Fold] | None = None,
    ) -> None:
        self._parent_key = parent_key
        self._child_key = child_key
        self._new_order = order
        self._make = make
        self._arity = arity
        self._parents = Buckets()
        self._children: dict[Any, Any] = {}
        """Pairs by child key."""
        self._orders: dict[Hashable, Order] = {}
        self._new_fold = fold
        self._folds: dict[Hashable, Fold] = {}
        self._nothing: Any = _NOTHING if fold is None else fold()(())
        self._lists: dict[Hashable, Any] = {}
        """What parents get, where it is not nothing."""
        self._out: dict[Any, tuple[Any, ...]] = {}
        """What was handed on."""

    def push(self, parents: Deltas, children: Deltas) -> Deltas:
        """Take the deltas of one batch, of either or both inputs; return those of the parents with their lists."""
        changed = self._follow(children) if children else ()
        touched: dict[Any, Any] = {}
        for key, old, new in parents:
            was = None if old is None else self._parent_key(old)
            now = None if new is None else self._parent_key(new)
            if old is not None and was != now:
                self._parents.drop(was, key)
            if new is not None:
                self._parents.put(now, key, new)
            touched[key] = new
        for name in changed:
            touched.update(self._parents.get(name))
        return [self._told(key, row) for key, row in touched.items()]

    def _told(self, key: Any, row: Any) -> Delta:
        old = self._out.get(key)
        if row is None:
            del self._out[key]
            return key, old, None
        children = self._lists.get(self._parent_key(row), self._nothing)
        new = (row, children) if self._arity == 1 else (*row, children)
        self._out[key] = new
        return key, old, new

    def _follow(self, deltas: Deltas) -> Sequence[Hashable]:
        """Bring the lists up to date; return the names of those that are other ones now."""
        by_name: dict[Hashable, list[Delta]] = {}
        for key, old, new in deltas:
            before, after = self._children.get(key), None
            was = None if old is None else self._child_key(old)
            now = None if new is None else self._child_key(new)
            if new is None:
                del self._children[key]
            else:
                after = self._children[key] = (new, new if self._make is None else self._make(new))
            if was == now:
                if was is not None:
                    by_name.setdefault(was, []).append((key, before, after))
                continue
            if was is not None:
                by_name.setdefault(was, []).append((key, before, None))
            if now is not None:
                by_name.setdefault(now, []).append((key, None, after))
        return [name for name, batch in by_name.items() if self._settle(name, batch)]

    def _settle(self, name: Hashable, batch: list[Delta]) -> bool:
        order = self._orders.get(name)
        if order is None:
            order = self._orders[name] = self._new_order()
        shown = order.push(batch)
        if not len(order.everything):
            del self._orders[name]
        if not shown:
            return False
        if self._new_fold is not None:
            return self._refold(name, shown, self._new_fold)
        chunks = order.chunks()
        children = Rows[Any](lambda: [made for _, made in chain.from_iterable(chunks)])
        if _may_be_equal(shown) and same(self._lists.get(name, _NOTHING), children):
            return False  # what is shown of the children is what it was
        if any(chunks):
            self._lists[name] = children
        else:
            self._lists.pop(name, None)
        return True

    def _refold(self, name: Hashable, shown: Deltas, new_fold: Callable[[], Fold]) -> bool:
        fold = self._folds.get(name)
        if fold is None:
            fold = self._folds[name] = new_fold()
        was, now = self._lists.get(name, self._nothing), fold(shown)
        if name in self._orders:
            self._lists[name] = now
        else:
            del self._folds[name]
            self._lists.pop(name, None)
        return not same(was, now)


def _may_be_equal(shown: Deltas) -> bool:
    """Whether a list may be equal to that before these deltas. Else nobody need compare them item by item."""
    gone = [old[1] for _, old, _ in shown if old is not None]
    came = [new[1] for _, _, new in shown if new is not None]
    return len(gone) == len(came) and (len(gone) > 1 or same(gone[0], came[0]))
