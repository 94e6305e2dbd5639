"""Aggregates: what the function given to ``aggregate`` calls. Typed as what they become."""

from __future__ import annotations

from typing import cast, overload

from typing_extensions import TypeVar

from .._base.ir import Call, Const
from .._errors import QueryError
from ._expr import Expr, is_expr
from ._grouping import ROWS, aggregate

__all__ = ["avg", "collect", "count", "count_if", "max_", "min_", "sum_"]

V = TypeVar("V")
W = TypeVar("W")
_CONDITIONS = frozenset(
    {"eq", "ne", "lt", "le", "gt", "ge", "and", "or", "not", "is_none", "in", "between", "like", "ilike"}
)


def count(value: object = ROWS, /, *, distinct: bool = False) -> int:
    """Count rows; with a column those where it is not null; with a joined row those that have a match.

    Args:
        value: a column, or a row that a join may lack.
        distinct: count different values instead.
    """
    if is_expr(value) and isinstance(value._ir, Call) and value._ir.op in _CONDITIONS:
        raise QueryError(f"count() counts what is not null, also False: write count_if({value!r})")
    return cast("int", aggregate("count", value, distinct=distinct))


def count_if(condition: bool | Expr[bool] | None, /) -> int:
    """Count the rows for which a condition is true."""
    if is_expr(condition):
        # True or null, so that counting what is not null counts the rows where it is true.
        condition = condition._trace.make(Call("or", (condition._ir, Const(None))), condition)
    return cast("int", aggregate("count", condition))


def sum_(value: V | None, /, *, distinct: bool = False) -> V:
    """Add up a column; nulls are skipped, and the sum of nothing is 0.

    Args:
        value: a column or an expression.
        distinct: add each different value once.
    """
    total = aggregate("sum", value, distinct=distinct)
    return cast("V", 0 if total is None else total)


@overload
def avg(value: float | None, /, *, distinct: bool = False) -> float | None: ...
@overload
def avg(value: float | None, /, *, default: float, distinct: bool = False) -> float: ...
@overload
def avg(value: V | None, /, *, distinct: bool = False) -> V | None: ...
@overload
def avg(value: V | None, /, *, default: W, distinct: bool = False) -> V | W: ...
def avg(value: object, /, *, default: object = None, distinct: bool = False) -> object:
    """Return the mean of a column; nulls are skipped.

    Args:
        value: a column or an expression.
        default: the mean of nothing.
        distinct: count each different value once.
    """
    mean = aggregate("avg", value, distinct=distinct)
    return default if mean is None else mean


def collect(value: V | None, /, *, distinct: bool = False) -> tuple[V, ...]:
    """Return all values of a column, ascending; nulls are skipped. A change of one costs O(n log n) in their number.

    Args:
        value: a column or an expression.
        distinct: each different value once.
    """
    return cast("tuple[V, ...]", aggregate("collect", value, distinct=distinct))


@overload
def min_(value: V | None, /) -> V | None: ...
@overload
def min_(value: V | None, /, *, default: W) -> V | W: ...
def min_(value: object, /, *, default: object = None) -> object:
    """Return the least value of a column; nulls are skipped, `default` where there is nothing else."""
    least = aggregate("min", value)
    return default if least is None else least


@overload
def max_(value: V | None, /) -> V | None: ...
@overload
def max_(value: V | None, /, *, default: W) -> V | W: ...
def max_(value: object, /, *, default: object = None) -> object:
    """Return the greatest value of a column; nulls are skipped, `default` where there is nothing else."""
    greatest = aggregate("max", value)
    return default if greatest is None else greatest
