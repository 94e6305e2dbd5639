"""To which level of a query a clause belongs.

A clause after a projection (`select`, `aggregate`) sees the result rows: it starts a new level, which reads the level
before as its source. `limit` and `offset` after ``select(fn)`` belong to the level of the order, as in SQL.
"""

from __future__ import annotations

from typing import Any

from .._base.ir import QueryIR, RowFunction
from .._errors import QueryError
from ._built import Built
from ._sources import source_ir

__all__ = ["level_of", "window_level"]


def level_of(query: Built[Any], clause: str) -> QueryIR:
    """Return the level that a clause belongs to: the query's own, or a new one that reads it.

    Raises:
        QueryError: a new level would lose the order, or the clause cannot come so late.
    """
    ir = query.ir
    if ir.projection is None:
        if clause not in ("join", "include") or not (ir.union or ir.distinct or (ir.has_includes and clause == "join")):
            return ir
        if ir.width > 1:
            raise QueryError(f"call {clause} before {'distinct' if ir.distinct else 'include'}, or select() in between")
    if (
        clause in ("where", "join", "include", "distinct")
        and ir.order_by
        and ir.limit is None
        and (ir.projection is None or isinstance(ir.projection, RowFunction))
    ):
        raise QueryError(f"{clause} after {_shape_of(ir)} would lose the order: call order_by after {clause}")
    return QueryIR((source_ir(query),))


def window_level(query: Built[Any]) -> QueryIR:
    """Return the level that is cut: a plain function makes one row of one row, so it does not matter when."""
    return query.ir if isinstance(query.ir.projection, RowFunction) else level_of(query, "limit")


def _shape_of(ir: QueryIR) -> str:
    if ir.projection is not None:
        return "select()"
    return "distinct()" if ir.distinct else "a union" if ir.union else "include"
