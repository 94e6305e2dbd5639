"""Writes expressions as text, for `explain`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import PurePath
from types import CodeType

from .._base.ir import AggregateCall, Call, Collation, ExprIR, OrderIR, Ref, RowFunction
from ._expr import describe

__all__ = ["aggregate_text", "condition_text", "expr_text", "function_text", "order_text"]

_INFIX = {
    "eq": "==",
    "ne": "!=",
    "lt": "<",
    "le": "<=",
    "gt": ">",
    "ge": ">=",
    "and": "&",
    "or": "|",
    "in": "in",
    "like": "like",
    "ilike": "ilike",
    "add": "+",
    "sub": "-",
    "mul": "*",
    "div": "/",
    "floordiv": "//",
    "mod": "%",
}


def expr_text(expr: ExprIR, sources: Sequence[str]) -> str:
    """Return an expression as text.

    Args:
        expr: the expression.
        sources: the names of the sources that it is over. With one, columns are written without it.
    """
    if isinstance(expr, Ref):
        path = expr.path if expr.path and len(sources) == 1 else (sources[expr.source], *expr.path)
        return ".".join(path)
    if not isinstance(expr, Call):
        return describe(expr)
    args = [expr_text(arg, sources) for arg in expr.args]
    if expr.op in _INFIX and len(args) > 1:
        nested = (isinstance(arg, Call) and arg.op in _INFIX for arg in expr.args)
        return f" {_INFIX[expr.op]} ".join(
            f"({arg})" if is_nested else arg for arg, is_nested in zip(args, nested, strict=True)
        )
    return f"{expr.op}({', '.join(args)})"


def condition_text(conditions: Iterable[ExprIR], sources: Sequence[str]) -> str:
    """Return conditions that must all be true as text."""
    return " and ".join(expr_text(condition, sources) for condition in conditions)


def order_text(terms: Iterable[OrderIR], sources: Sequence[str]) -> str:
    """Return order terms as text; without any the order is that of the keys."""
    return ", ".join(_term(term, sources) for term in terms) or "key"


def aggregate_text(call: AggregateCall, sources: Sequence[str]) -> str:
    """Return an aggregate as text."""
    arg = "" if call.arg is None else expr_text(call.arg, sources)
    return f"{call.function}({'distinct ' if call.distinct else ''}{arg})"


def function_text(function: RowFunction) -> str:
    """Return the name of a function of the application; a lambda is told by its place."""
    name = getattr(function.function, "__name__", repr(function.function))
    code = getattr(function.function, "__code__", None)
    if name != "<lambda>" or not isinstance(code, CodeType):
        return name
    return f"lambda at {PurePath(code.co_filename).name}:{code.co_firstlineno}"


def _term(term: OrderIR, sources: Sequence[str]) -> str:
    words = [expr_text(term.expr, sources)]
    if term.desc:
        words.append("desc")
    if term.nulls == "last":
        words.append("nulls last")
    if term.collation is not None:
        words.append(_collation(term.collation))
    return " ".join(words)


def _collation(collation: Collation | RowFunction) -> str:
    return f"by {function_text(collation)}" if isinstance(collation, RowFunction) else collation
