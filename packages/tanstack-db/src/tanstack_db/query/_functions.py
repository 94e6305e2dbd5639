"""Functions of columns that are no method of one: `concat` and `case`. On plain values they do the same."""

from __future__ import annotations

from typing import Any, cast

from typing_extensions import TypeVar

from .._base.ir import Call, Const
from .._errors import QueryError
from ..ivm import _values
from ._expr import Expr, is_expr, lift

__all__ = ["case", "concat"]

V = TypeVar("V")


def concat(*parts: object) -> str:
    """Join texts; nulls are left out, and other values are written as `str` does.

    Example:
        >>> query.order_by(lambda user: concat(user.last_name, " ", user.first_name))

    Raises:
        QueryError: no parts.
    """
    if not parts:
        raise QueryError("concat() takes the texts to join")
    if not any(map(is_expr, parts)):
        return _values.concat(*parts)
    return cast("str", _call("concat", parts))


def case(*branches: tuple[bool | Expr[bool] | None, V], default: V) -> V:
    """Return the value of the first branch whose condition is true, else `default`.

    Example:
        >>> query.order_by(lambda t: case((t.priority > 8, 0), (col(t.due) < today, 1), default=2))

    Args:
        branches: pairs of a condition and a value.
        default: the value where no condition is true.

    Raises:
        QueryError: no branches.
    """
    if not branches:
        raise QueryError("case() takes pairs of a condition and a value, and a default")
    parts = [*(part for branch in branches for part in branch), default]
    if not any(map(is_expr, parts)):
        return next((value for condition, value in branches if condition is True), default)
    return cast("V", _call("case", parts))


def _call(op: str, parts: Any) -> Expr[Any]:
    trace = next(part._trace for part in parts if is_expr(part))
    operands = [Expr[Any](trace, Const(None)) if part is None else lift(trace, part, op) for part in parts]
    return cast("Expr[Any]", trace.make(Call(op, tuple(operand._ir for operand in operands)), *operands))
