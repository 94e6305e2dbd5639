"""Joins two inputs on equal keys.

Both inputs are kept by join key. A changed row looks up its matches on the other side, so a change costs as much as it
has matches, however many rows there are.

One batch is two steps: the left deltas against the right rows as they were, then the right deltas against the left rows
as they are. Each step is a whole join of its own, and what both do to one output row is netted: a left row that moves
from one unmatched key to another is one update, and a match that is replaced shows no moment without one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from .._base.delta import Delta, Deltas, same
from ._buckets import Buckets, Pair
from ._values import hashable

if TYPE_CHECKING:
    from .._base.ir import JoinKind

__all__ = ["Join", "match_on"]

Combine: TypeAlias = Callable[[Any, Any], tuple[Any, ...]]


def match_on(readers: Sequence[Callable[[Any], Any]]) -> Callable[[Any], Hashable]:
    """Return the function that gives a row's join key: None where a column is null, since null matches nothing.

    Args:
        readers: one for each equality of the join's condition.
    """
    if len(readers) == 1:
        (only,) = readers

        def single(row: Any) -> Hashable:
            return hashable(only(row))

        return single

    def several(row: Any) -> Hashable:
        values = [reader(row) for reader in readers]
        return None if any(value is None for value in values) else tuple([hashable(value) for value in values])

    return several


class Join:
    """Pairs of rows with equal join keys, and in outer joins the rows without a partner.

    An output row is a flat tuple of source rows, its key the flat tuple of their keys, with None for an absent side.
    """

    __slots__ = ("_is_loaded", "_left", "_right")

    def __init__(
        self,
        kind: JoinKind,
        left_key: Callable[[Any], Hashable],
        right_key: Callable[[Any], Hashable],
        *,
        left_arity: int = 1,
        right_arity: int = 1,
    ) -> None:
        """Args:
        kind: which rows without a partner stay.
        left_key: the join key of a left row, None for null; see `match_on`.
        right_key: the join key of a right row.
        left_arity: how many sources a left row is made of. With more than one it is a tuple, and so is its key.
        right_arity: the same for the right side.
        """
        combine = _combine(left_arity, right_arity)
        self._left = _Side(left_key, left_arity, combine, is_outer=kind in ("left", "full"))
        self._right = _Side(right_key, right_arity, _flipped(combine), is_outer=kind in ("right", "full"))
        self._is_loaded = False

    def push(self, left: Deltas, right: Deltas) -> Deltas:
        """Take the deltas of one batch, of either or both sides; return those of the joined rows."""
        if not self._is_loaded:
            self._is_loaded = True
            return self._load(left, right)
        net = _Net()
        _step(self._left, self._right, left, net)
        _step(self._right, self._left, right, net)
        return net.deltas()

    def _load(self, left: Deltas, right: Deltas) -> Deltas:
        """The first run: no netting, since nothing was there."""
        this, other = self._left, self._right
        for key, _, row in right:
            other.rows.put(other.name(row), key, row)
        out: list[Delta] = []
        combine, absent, find, name_of = this.combine, other.absent, other.rows.get, this.name
        for key, _, row in left:
            name = name_of(row)
            this.rows.put(name, key, row)
            matches = find(name)
            for partner, match in matches:
                out.append((combine(key, partner), None, combine(row, match)))
            if this.is_outer and not matches:
                out.append((combine(key, absent), None, combine(row, absent)))
        if other.is_outer:
            combine, absent = other.combine, this.absent
            for key, _, row in right:
                if not this.rows.get(other.name(row)):
                    out.append((combine(key, absent), None, combine(row, absent)))
        return out


class _Side:
    """One input by join key.

    Attributes:
        name: the join key of a row.
        combine: makes an output key or row of this side's part and the other's.
        absent: this side's part where it has no row.
        is_outer: whether rows without a partner are shown.
        rows: the rows by join key.
    """

    __slots__ = ("absent", "combine", "is_outer", "name", "rows")

    def __init__(self, name: Callable[[Any], Hashable], arity: int, combine: Combine, *, is_outer: bool) -> None:
        self.name = name
        self.combine = combine
        self.absent: Any = None if arity == 1 else (None,) * arity
        self.is_outer = is_outer
        self.rows = Buckets()


class _Net:
    """What a batch does to each output row."""

    __slots__ = ("_again", "_changes")

    def __init__(self) -> None:
        self._changes: dict[Any, Pair] = {}
        self._again: set[Any] = set()

    def touch(self, key: Any, old: Any, new: Any) -> None:
        before = self._changes.get(key)
        if before is None:
            self._changes[key] = (old, new)
        else:
            self._changes[key] = (before[0], new)
            self._again.add(key)

    def deltas(self) -> Deltas:
        again = self._again
        return [
            (key, old, new)
            for key, (old, new) in self._changes.items()
            if key not in again or not (same(old, new) if old is not None and new is not None else old is new)
        ]


def _step(this: _Side, other: _Side, deltas: Deltas, net: _Net) -> None:
    """Apply the deltas of one side while the other stands still."""
    combine, touch = this.combine, net.touch
    for key, old, new in deltas:
        was = None if old is None else this.name(old)
        now = None if new is None else this.name(new)
        if old is not None and new is not None and was == now:
            matches = other.rows.get(now)
            this.rows.put(now, key, new)
            for partner, match in matches:
                touch(combine(key, partner), combine(old, match), combine(new, match))
            if this.is_outer and not matches:
                touch(combine(key, other.absent), combine(old, other.absent), combine(new, other.absent))
            continue
        if old is not None:
            _leave(this, other, key, old, was, touch)
        if new is not None:
            _enter(this, other, key, new, now, touch)


def _leave(this: _Side, other: _Side, key: Any, old: Any, name: Hashable, touch: Callable[..., None]) -> None:
    combine, matches = this.combine, other.rows.get(name)
    is_last = this.rows.drop(name, key)
    for partner, match in matches:
        touch(combine(key, partner), combine(old, match), None)
        if is_last and other.is_outer:
            touch(combine(this.absent, partner), None, combine(this.absent, match))
    if this.is_outer and not matches:
        touch(combine(key, other.absent), combine(old, other.absent), None)


def _enter(this: _Side, other: _Side, key: Any, new: Any, name: Hashable, touch: Callable[..., None]) -> None:
    combine, matches = this.combine, other.rows.get(name)
    is_first = this.rows.put(name, key, new)
    for partner, match in matches:
        if is_first and other.is_outer:
            touch(combine(this.absent, partner), combine(this.absent, match), None)
        touch(combine(key, partner), None, combine(new, match))
    if this.is_outer and not matches:
        touch(combine(key, other.absent), None, combine(new, other.absent))


def _pair(left: Any, right: Any) -> tuple[Any, ...]:
    return (left, right)


def _append(left: Any, right: Any) -> tuple[Any, ...]:
    return (*left, right)


def _prepend(left: Any, right: Any) -> tuple[Any, ...]:
    return (left, *right)


def _concatenate(left: Any, right: Any) -> tuple[Any, ...]:
    return (*left, *right)


def _combine(left_arity: int, right_arity: int) -> Combine:
    if left_arity == 1:
        return _pair if right_arity == 1 else _prepend
    return _append if right_arity == 1 else _concatenate


def _flipped(combine: Combine) -> Combine:
    def flipped(right: Any, left: Any) -> tuple[Any, ...]:
        return combine(left, right)

    return flipped
