"""What there is to know about demands without loading anything: whether one has another's rows, and where one ends.

For authors of sources: `comparisons` turns a demand's predicate into filters that most backends understand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .._base.ir import Call, Const, ExprIR, Ref
from .._base.relation import Cursor, LoadSubset, OrderTerm

__all__ = ["Comparison", "comparisons", "covers", "cursor_after"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One condition on one column.

    Attributes:
        path: dotted column path.
        op: ``eq ne lt le gt ge`` with a value, ``in`` with a tuple of values, ``is_none`` with None; and the text
            functions ``like startswith endswith contains``.
        value: what the column is compared with.
        negated: the condition is not true: rows for which it is unknown, because the column is null, do not match.
    """

    path: str
    op: str
    value: Any
    negated: bool = False


_TURNED = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le", "eq": "eq", "ne": "ne"}
_WITH_VALUE = frozenset((*_TURNED, "in", "like", "startswith", "endswith", "contains"))


def comparisons(where: Any) -> tuple[Comparison, ...] | None:
    """Return a predicate as comparisons that all must be true.

    Args:
        where: `LoadSubset.where`, or an expression of a `Cursor`.

    Returns:
        None where the predicate is more than that: an ``or``, a function of a column. A source may then load more than
        it is asked for, since live queries test every row themselves.

    Example:
        >>> def load(subset: LoadSubset, status: SubsetStatus) -> None:
        ...     filters = comparisons(subset.where) or ()
        ...     request = {f"{each.path}__{each.op}": each.value for each in filters}
    """
    found: list[Comparison] = []
    for condition in _conjuncts(where):
        comparison = _comparison(condition, negated=False)
        if comparison is None:
            return None
        found.append(comparison)
    return tuple(found)


def _comparison(condition: ExprIR, *, negated: bool) -> Comparison | None:
    if isinstance(condition, Ref):
        return Comparison(".".join(condition.path), "eq", value=True, negated=negated) if condition.path else None
    if not isinstance(condition, Call):
        return None
    if condition.op == "not":
        return _comparison(condition.args[0], negated=not negated)
    if condition.op == "is_none" and isinstance(ref := condition.args[0], Ref) and ref.path:
        return Comparison(".".join(ref.path), "is_none", None, negated)
    if condition.op not in _WITH_VALUE:
        return None
    op, (left, right) = condition.op, condition.args
    if isinstance(left, Const) and op in _TURNED:
        op, left, right = _TURNED[op], right, left
    if not (isinstance(left, Ref) and left.path and isinstance(right, Const)):
        return None
    # Sorted, since a set has no order and equal requests should look equal.
    value = tuple(sorted(right.value, key=lambda v: (type(v).__name__, repr(v)))) if op == "in" else right.value
    return Comparison(".".join(left.path), op, value, negated)


def covers(one: LoadSubset, other: LoadSubset) -> bool:
    """Whether a source that keeps `one` loaded has every row of `other`. False where that cannot be told."""
    if one == other:
        return True
    for column, values in one.bindings.items():
        if not set(other.bindings.get(column, ())) <= set(values) or column not in other.bindings:
            return False
    asked = set(_conjuncts(other.where))
    if not all(condition in asked or _is_binding(condition, one) for condition in _conjuncts(one.where)):
        return False
    if one.limit is None:
        return one.offset == 0 and one.cursor is None
    # A window has the rows of another only if both are cut from the same rows in the same order.
    return (
        other.limit is not None
        and one.bindings == other.bindings
        and set(_conjuncts(one.where)) == asked
        and one.order_by == other.order_by
        and one.cursor == other.cursor
        and one.offset == other.offset
        and other.limit <= one.limit
    )


def _is_binding(condition: ExprIR, subset: LoadSubset) -> bool:
    """Whether the demand's bindings say the same: ``column == value`` or ``column in values``."""
    comparison = _comparison(condition, negated=False)
    if comparison is None or comparison.op not in ("eq", "in") or comparison.path not in subset.bindings:
        return False
    try:
        hash(comparison.value)
    except TypeError:
        return False
    return not isinstance(condition, Ref)


def cursor_after(term: OrderTerm, value: Any, last_key: Any) -> Cursor:
    """Return the cursor behind a row.

    Args:
        term: the first term of the order.
        value: what the row has there.
        last_key: the row's key.
    """
    column: ExprIR = Ref(0, tuple(term.path.split(".")))
    is_none = Call("is_none", (column,))
    if value is None:
        following: ExprIR = Call("not", (is_none,)) if term.nulls == "first" else Const(False)
        return Cursor(where_from=following, where_current=is_none, last_key=last_key)
    if term.collation is not None:
        column, value = Call("lower", (column,)), value.lower()
    following = Call("lt" if term.desc else "gt", (column, Const(value)))
    if term.nulls == "last":
        following = Call("or", (following, is_none))
    return Cursor(where_from=following, where_current=Call("eq", (column, Const(value))), last_key=last_key)


def _conjuncts(where: Any) -> Iterator[ExprIR]:
    if isinstance(where, Call) and where.op == "and":
        for arg in where.args:
            yield from _conjuncts(arg)
    elif where is not None:
        yield where
