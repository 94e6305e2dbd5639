"""Decides, before anything runs, what each source of a query is asked for and which condition is tested where.

Pure: from the query and the opened relations to a `Plan`.

- A condition on one source is tested before the joins, except on a side that an outer join may fill with null: there
  it filters joined rows, so that "has no match" can be asked for.
- A column that is compared with constants (``==``, ``one_of``) in a condition that every shown row must meet is
  *bound*. Rows with other values can never be shown, on any side of any join, since such a condition is never true for
  null: so bindings are what an on-demand source is asked for, and what rows are looked up by.
- A source that loads by parameters needs them all bound: by a condition, by being a scope, or in a join by the
  parameter of the same name of another such source.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from .._base.ir import Call, Const, ExprIR, Grouping, IncludeIR, QueryIR, Ref, RowFunction, Totals, refs
from .._base.relation import LoadSubset, OrderTerm, Relation
from .._errors import OpenParameterError
from .pushdown import known_columns

__all__ = ["Plan", "SourcePlan", "over_first", "plan"]

Bindings: TypeAlias = dict[str, tuple[Hashable, ...]]


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """What one source contributes.

    Attributes:
        where: conditions on its rows before any join, as expressions over this source alone (``Ref.source`` is 0).
        subset: what the source is asked to load.
        dispatch: the bound column by which its rows are looked up and its deltas are routed, or None for all rows.
        values: those of the `dispatch` column.
    """

    where: tuple[ExprIR, ...]
    subset: LoadSubset
    dispatch: str | None
    values: tuple[Hashable, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """How a query is run.

    Attributes:
        sources: one for each source of the query.
        where: conditions on joined rows.
        is_ordered: whether result rows have positions.
        has_outer_rows: whether result rows are joined rows that may lack a part.
    """

    sources: tuple[SourcePlan, ...]
    where: tuple[ExprIR, ...]
    is_ordered: bool
    has_outer_rows: bool


def plan(ir: QueryIR, relations: Sequence[Relation]) -> Plan:
    """Plan a query whose sources have been opened.

    Raises:
        OpenParameterError: a source that loads by parameters is not told all of them.
    """
    conjuncts = list(_conjuncts(ir.where))
    bound: list[Bindings] = [{} for _ in relations]
    for conjunct in conjuncts:
        for row in [[own] for own in bound] if ir.union else [bound]:
            _bind(conjunct, row)
    # What the conditions of the query do not say is tested as well: a scope is only its rows.
    extra: list[Bindings] = [dict(source.source._demand()) for source in ir.sources]
    includes = [join for join in ir.joins if isinstance(join, IncludeIR)]
    for include in includes:
        for condition in include.where:
            _bind(condition, [bound[include.index]])
    for own, implied in zip(bound, extra, strict=True):
        for column, values in implied.items():
            _narrow(own, column, values)
    opened = [
        (index, column)
        for index, relation in enumerate(relations)
        for column in (relation.partition or {}).values()
        if column not in bound[index]
    ]
    known = known_columns(ir) if opened else {}
    for index, column in opened:
        if (index, (column,)) in known:
            bound[index][column] = extra[index][column] = known[index, (column,)]
    # The sources of a union say nothing about each other.
    together = [[index] for index in range(len(relations))] if ir.union else [range(len(relations))]
    for indexes in together:
        inherited = _inherited([relations[index] for index in indexes], [bound[index] for index in indexes])
        for index, found in zip(indexes, inherited, strict=True):
            bound[index].update(found)
            extra[index].update(found)

    pushed: list[list[ExprIR]] = [[_one_of(column, values) for column, values in own.items()] for own in extra]
    for include in includes:
        pushed[include.index] += include.where
    residual: list[ExprIR] = []
    for conjunct in conjuncts:
        used = {ref.source for ref in refs(conjunct)}
        if ir.union:
            for conditions in pushed:
                conditions.append(conjunct)
        elif len(used) == 1 and not _is_nullable(index := used.pop(), ir):
            pushed[index].append(over_first(conjunct))
        else:
            residual.append(conjunct)

    sources = tuple(
        SourcePlan(
            where=tuple(pushed[index]),
            subset=_subset(ir, relation, bound[index], pushed[index], is_whole=not residual),
            dispatch=column,
            values=() if column is None else bound[index][column],
        )
        for index, relation in enumerate(relations)
        for column in [_fewest(bound[index])]
    )
    by_row = not isinstance(ir.projection, Grouping | Totals)
    return Plan(
        sources,
        tuple(residual),
        is_ordered=by_row and (bool(ir.order_by) or ir.limit is not None or ir.offset > 0),
        has_outer_rows=by_row and not ir.distinct and any(join.kind not in ("inner", "include") for join in ir.joins),
    )


def _fewest(bound: Bindings) -> str | None:
    """Return the column that is bound to the fewest values."""
    return min(bound, key=lambda column: len(bound[column]), default=None)


def _conjuncts(conditions: Iterable[ExprIR]) -> Iterator[ExprIR]:
    for condition in conditions:
        if isinstance(condition, Call) and condition.op == "and":
            yield from _conjuncts(condition.args)
        else:
            yield condition


def _bind(condition: ExprIR, bound: Sequence[Bindings]) -> None:
    """Note the column and values of ``column == constant`` and ``column in constants``."""
    if not isinstance(condition, Call) or condition.op not in ("eq", "in"):
        return
    left, right = condition.args
    if isinstance(left, Const):
        left, right = right, left
    if not (isinstance(left, Ref) and len(left.path) == 1 and isinstance(right, Const)):
        return
    values = cast("Iterable[Any]", right.value) if condition.op == "in" else (right.value,)
    known: list[Hashable] = []
    for value in values:
        try:
            hash(value)
        except TypeError:
            return
        if value is not None:
            known.append(value)
    _narrow(bound[left.source], left.path[0], known)


def _narrow(bound: Bindings, column: str, values: Iterable[Hashable]) -> None:
    """Bind a column, or bind it more tightly. The order is canonical, since equal demands are to be one demand."""
    distinct = dict.fromkeys(values)
    before = bound.get(column)
    kept = distinct if before is None else [value for value in before if value in distinct]
    bound[column] = tuple(sorted(kept, key=lambda value: (type(value).__name__, repr(value))))


def _inherited(relations: Sequence[Relation], bound: Sequence[Bindings]) -> list[Bindings]:
    """Give every open parameter the values that another source's parameter of the same name has."""
    given: dict[str, tuple[Hashable, ...]] = {}
    for relation, own in zip(relations, bound, strict=True):
        for parameter, column in (relation.partition or {}).items():
            if column in own:
                given.setdefault(parameter, own[column])
    inherited: list[Bindings] = []
    for relation, own in zip(relations, bound, strict=True):
        opened = {name: column for name, column in (relation.partition or {}).items() if column not in own}
        missing = {name: column for name, column in opened.items() if name not in given}
        if missing:
            raise _open_parameters(relation, missing)
        inherited.append({column: given[name] for name, column in opened.items()})
    return inherited


def _open_parameters(relation: Relation, missing: Mapping[str, str]) -> OpenParameterError:
    names = ", ".join(missing)
    condition = " & ".join(f"(row.{column} == ...)" for column in missing.values())
    arguments = ", ".join(f"{name}=..." for name in missing)
    return OpenParameterError(
        f"the query leaves {names} of {relation.id!r} open, so it is not known what to load. Either bind it: "
        f".where(lambda row: {condition}), or row.{next(iter(missing.values()))}.one_of(...); or read a scope: "
        f"from_({relation.id}.scope({arguments})).",
        source=relation.id,
        parameters=missing,
    )


def _is_nullable(index: int, ir: QueryIR) -> bool:
    """Whether an outer join may show rows without this source."""
    for join in ir.joins:
        joined, earlier = index == join.index, index < join.index
        if joined and join.kind == "include":
            return True  # a condition on the list, not on a child
        if (joined and join.kind in ("left", "full")) or (earlier and join.kind in ("right", "full")):
            return True
    return False


def _one_of(column: str, values: tuple[Hashable, ...]) -> ExprIR:
    return Call("in", (Ref(0, (column,)), Const(values)))


def over_first(expr: ExprIR) -> ExprIR:
    """Return an expression over one source of many as one over that source alone."""
    if isinstance(expr, Ref):
        return Ref(0, expr.path)
    if isinstance(expr, Call):
        return Call(expr.op, tuple(over_first(arg) for arg in expr.args))
    return expr


def _subset(
    ir: QueryIR, relation: Relation, bindings: Bindings, where: Sequence[ExprIR], *, is_whole: bool
) -> LoadSubset:
    if relation.partition is not None:
        # Such a source loads by its parameters and nothing else, and equal demands are one load.
        return LoadSubset({column: bindings[column] for column in relation.partition.values()})
    condition = None if not where else where[0] if len(where) == 1 else Call("and", tuple(where))
    order = tuple(
        OrderTerm(".".join(term.expr.path), term.desc, term.nulls, term.collation)
        for term in ir.order_by
        if isinstance(term.expr, Ref) and term.expr.path and not isinstance(term.collation, RowFunction)
    )
    # Without an order it is the keys' one, which a source does not know.
    if not is_whole or ir.width > 1 or ir.distinct or not order or len(order) < len(ir.order_by):
        return LoadSubset(bindings, condition)
    # The window is cut here, from the first row on; a source that skipped the rows before it would make it empty.
    return LoadSubset(bindings, condition, order, None if ir.limit is None else ir.offset + ir.limit)
