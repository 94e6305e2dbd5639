"""What the clauses of a query say, in each form that they take: lambda, string path, keyword."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .._base.ir import Call, ExprIR, OrderIR, RowFunction, SourceIR, Totals, refs
from .._errors import QueryError, did_you_mean
from ._expr import Expr, Trace, describe
from ._sources import resolve, shapes_of
from ._trace import conditions, values

__all__ = ["group_keys", "join_pairs", "order_terms", "totals", "where_terms", "window"]

_OPERATORS: Mapping[str, Callable[[Expr[Any], Any], Expr[bool]]] = {
    "=": lambda column, value: column == value,
    "!=": lambda column, value: column != value,
    "<": lambda column, value: column < value,
    "<=": lambda column, value: column <= value,
    ">": lambda column, value: column > value,
    ">=": lambda column, value: column >= value,
    "in": lambda column, value: column.one_of(value),
    "not in": lambda column, value: ~column.one_of(value),
    "like": lambda column, value: column.like(value),
    "ilike": lambda column, value: column.ilike(value),
}

_OTHER_NAMES: Mapping[str, str] = {"==": "=", "<>": "!=", "=>": ">=", "=<": "<=", "not_in": "not in"}
"""What other languages and libraries call them."""


def where_terms(args: tuple[Any, ...], equals: Mapping[str, Any], sources: Sequence[SourceIR]) -> tuple[ExprIR, ...]:
    """Return the conditions of a ``where``.

    Raises:
        QueryError: it has none of the forms, or the condition cannot be traced.
        UnknownColumnError: a column that there is not.
    """
    if args and equals:
        raise QueryError("where takes a condition or columns=values, not both: call it twice")
    if equals:
        return tuple(_compared(name, "=", value, sources) for name, value in equals.items())
    if len(args) == 3:
        return (_compared(*args, sources),)
    if len(args) == 1 and callable(args[0]):
        return conditions(args[0], shapes_of(sources))
    raise QueryError(
        'where takes a condition: where(lambda row: row.project_id == "p1"), where("project_id", "=", "p1") or '
        'where(project_id="p1")'
    )


def order_terms(
    args: tuple[Any, ...], *, desc: bool, nulls: Any, collation: Any, sources: Sequence[SourceIR]
) -> tuple[OrderIR, ...]:
    """Return the terms of an ``order_by``.

    Raises:
        QueryError: it has none of the forms, an option has another value, or the columns cannot be traced.
        UnknownColumnError: a column that there is not.
    """
    if nulls not in ("first", "last"):
        raise QueryError(f"nulls come 'first' or 'last', not {nulls!r}")
    if callable(collation):
        collation = RowFunction(collation)
    elif collation not in (None, "ignore_case"):
        raise QueryError(
            f"the collation is 'ignore_case' or a function of a value, such as locale.strxfrm, not {collation!r}"
        )
    if len(args) == 1 and callable(args[0]):
        exprs = values(args[0], shapes_of(sources), "order_by")
        return tuple(OrderIR(expr, desc, nulls, collation) for expr in exprs)
    if len(args) not in (1, 2) or not isinstance(args[0], str):
        raise QueryError('order_by takes columns: order_by(lambda row: row.created_at), order_by("created_at", "desc")')
    direction = args[1] if len(args) == 2 else "desc" if desc else "asc"
    if direction not in ("asc", "desc"):
        raise QueryError(f"the direction is 'asc' or 'desc', not {direction!r}")
    return (OrderIR(resolve(args[0], sources), direction == "desc", nulls, collation),)


def group_keys(args: tuple[Any, ...], sources: Sequence[SourceIR]) -> tuple[ExprIR, ...]:
    """Return the keys of a ``group_by``.

    Raises:
        QueryError: it has none of the forms, or the columns cannot be traced.
        UnknownColumnError: a column that there is not.
    """
    if args and all(isinstance(arg, str) for arg in args):
        return tuple(resolve(arg, sources) for arg in args)
    if len(args) != 1:
        raise QueryError('group_by takes columns: group_by(lambda row: row.project_id), group_by("project_id", "done")')
    return values(args[0], shapes_of(sources), "group_by")


def join_pairs(
    args: tuple[Any, ...], on: Callable[..., Any] | None, sources: Sequence[SourceIR]
) -> tuple[tuple[ExprIR, ExprIR], ...]:
    """Return what a join compares: pairs of an expression over earlier sources and one over the last, joined source.

    Raises:
        QueryError: the condition is something else than equalities between the two sides.
        UnknownColumnError: a column that there is not.
    """
    if on is not None:
        terms = conditions(on, shapes_of(sources))
    else:
        left, operator, right = args
        if operator != "=":
            raise QueryError(f"a join compares with '=', not {operator!r}: put other conditions into where")
        terms = (Call("eq", (resolve(left, sources), resolve(right, sources))),)
    if not terms:
        raise QueryError("a join compares columns of both sides, as in on=lambda todo, note: todo.id == note.todo_id")
    return tuple(_sides(term, len(sources) - 1, sources) for term in terms)


def totals(functions: Mapping[str, Any]) -> Totals:
    """Return the projection of ``select(total=len, …)``.

    Raises:
        QueryError: a total is no function.
    """
    for name, function in functions.items():
        if not callable(function):
            raise QueryError(
                f"{name} must be a function of all rows, such as len, not {function!r}; for count() and its kin write "
                "aggregate(lambda row: ...)"
            )
    return Totals(tuple((name, RowFunction(function)) for name, function in functions.items()))


def window(what: str, value: object) -> int:
    """Check the argument of ``limit`` or ``offset``.

    Raises:
        QueryError: it is not a number of rows.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise QueryError(f"{what} takes a number of rows, 0 or more, not {value!r}")
    return value


def _compared(path: object, operator: object, value: object, sources: Sequence[SourceIR]) -> ExprIR:
    compare = _OPERATORS.get(operator) if isinstance(operator, str) else None
    if compare is None:
        known = _OTHER_NAMES.get(str(operator))
        hint = did_you_mean(str(operator), _OPERATORS) if known is None else f"; did you mean {known!r}?"
        raise QueryError(f"{operator!r} is no operator{hint}")
    column = resolve(path, sources)
    if value is None:
        raise QueryError(
            f"{path!r} compared with None is unknown for every row: write where(lambda row: col(row.{path}).is_none()) "
            "or ~col(...).is_none()"
        )
    return compare(Expr[Any](Trace(), column), value)._ir


def _sides(term: ExprIR, joined: int, sources: Sequence[SourceIR]) -> tuple[ExprIR, ExprIR]:
    if isinstance(term, Call) and term.op == "eq":
        for left, right in (term.args, term.args[::-1]):
            earlier, last = ({ref.source for ref in refs(side)} for side in (left, right))
            if earlier and joined not in earlier and last == {joined}:
                return left, right
    name = sources[joined].name
    raise QueryError(
        f"a join compares columns of {name!r} with columns of the sources before it by ==, several joined by &; this "
        f"is {describe(term)}. Put other conditions into where, or join a query that has them"
    )
