"""`Query.include`: what the lambda that names the children says, parted from the children that it says it about.

The lambda is called once with stand-ins for the parent rows. Its query may compare their columns with those of the
children by ``==``. These conditions become the `IncludeIR.on`; what is left says nothing about parents and is read once
for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from typing import Any

from .._base.ir import Call, ExprIR, Grouping, IncludeIR, Outer, QueryIR, Ref, RowFunction, SourceIR, refs
from .._errors import QueryError
from ._built import Built
from ._expr import Expr, Trace, describe
from ._sources import row_sources, shapes_of, source_ir
from ._trace import run

__all__ = ["include_of"]

_scopes = count()


class _Parents(Trace):
    """The trace of an include's lambda."""

    def __init__(self, scope: int) -> None:
        super().__init__()
        self.outer = scope
        self.is_over = False

    def make(self, ir: ExprIR, *operands: Expr[Any]) -> Any:
        if self.is_over:
            raise QueryError(
                f"{describe(ir)}: the parent row is known to the conditions of its children only; use it in a select() "
                "after the include"
            )
        return super().make(Outer(self.outer or 0, ir) if isinstance(ir, Ref) else ir)


def include_of(children: Callable[..., Any], level: QueryIR, name: str | None) -> tuple[SourceIR, IncludeIR]:
    """Return what an include adds to a level.

    Args:
        children: gives the query of one parent's children.
        level: of the parents.
        name: what the list is called; by default like the first source of the children.

    Raises:
        QueryError: it gives no query, or one that cannot be asked for all parents at once.
    """
    parents = _Parents(next(_scopes))
    query = run(children, parents, shapes_of(row_sources(level)))
    parents.is_over = True
    ir = getattr(query, "ir", None)
    if not isinstance(ir, QueryIR):
        raise QueryError(
            "include takes a function that returns a query with a condition on the parent, as in include(lambda todo: "
            f"q.from_(comments).where(lambda comment: comment.todo_id == todo.id)), not {query!r}"
        )
    totals = ir.projection if ir.single and isinstance(ir.projection, Grouping) else None
    shown = ir.projection if isinstance(ir.projection, RowFunction) else None
    if ir.projection not in (None, totals, shown):
        raise QueryError(
            "include takes a query of rows, of one row (find_one) or of totals (aggregate). The children of one parent "
            "are a group already: write aggregate(...) without group_by, and without select(total=...)"
        )
    own: list[ExprIR] = []
    pairs: list[tuple[ExprIR, ExprIR]] = []
    for condition in ir.where:
        if any(_outers(condition)):
            pairs.append(_pair(condition, parents.outer or 0))
        else:
            own.append(condition)
    base = replace(ir, where=tuple(own), order_by=(), limit=None, offset=0, projection=None, single=False)
    if any(any(_outers(term.expr)) for term in ir.order_by) or any(_outers_of(base)):
        raise QueryError(
            "the parent is named where it cannot be: name it in a where() of the query that include returns, not in an "
            "order, nor before its select(), join() or union; and name no parent of the parent"
        )
    if not pairs:
        raise QueryError(
            "the children of an include must be compared with their parent by ==, as in where(lambda comment: "
            "comment.todo_id == todo.id)"
        )
    include = IncludeIR(
        len(level.sources),
        tuple(pairs),
        width=ir.width,
        order_by=ir.order_by,
        limit=ir.limit,
        offset=ir.offset,
        projection=shown,
        single=ir.single,
        totals=totals,
    )
    if base.joins or base.union or base.distinct:
        source = source_ir(Built[Any](base), name)
    else:
        # One source and conditions on it: no query of its own is needed, and its parameters can be bound from here.
        include = replace(include, where=base.where)
        source = replace(ir.sources[0], name=name or ir.sources[0].name)
    if any(other.name == source.name for other in level.sources):
        raise QueryError(
            f"two sources of the query are called {source.name!r}: name one, as in include({source.name}_2=lambda ...)"
        )
    return source, include


def _pair(condition: ExprIR, scope: int) -> tuple[ExprIR, ExprIR]:
    if isinstance(condition, Call) and condition.op == "eq":
        for parent, child in (condition.args, condition.args[::-1]):
            scopes = {outer.scope for outer in _outers(parent)}
            if scopes == {scope} and not any(refs(parent)) and not any(_outers(child)) and any(refs(child)):
                return _as_column(parent), child
    raise QueryError(
        f"an include compares its parent with a child by == and nothing else; this is {describe(condition)}. Put "
        "conditions on the parent alone after the include, and name no parent of the parent"
    )


def _as_column(expr: ExprIR) -> ExprIR:
    """Return an expression over columns of the parent as one over the parent's own level."""
    if isinstance(expr, Outer):
        return expr.ref
    return Call(expr.op, tuple(map(_as_column, expr.args))) if isinstance(expr, Call) else expr


def _outers(expr: ExprIR) -> Iterator[Outer]:
    if isinstance(expr, Outer):
        yield expr
    elif isinstance(expr, Call):
        for arg in expr.args:
            yield from _outers(arg)


def _outers_of(ir: QueryIR) -> Iterator[Outer]:
    """Iterate over the columns of parents anywhere in a query."""
    for condition in ir.where:
        yield from _outers(condition)
    for term in ir.order_by:
        yield from _outers(term.expr)
    for join in ir.joins:
        for pair in join.on:
            for side in pair:
                yield from _outers(side)
    for source in ir.sources:
        inner = getattr(source.source, "ir", None)
        if isinstance(inner, QueryIR):
            yield from _outers_of(inner)
