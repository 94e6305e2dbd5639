"""The stages of one query, in the order in which deltas pass them::

    source ── where ─┐
                     ├─ join ─ … ─ where on joined rows ─ order, window ─ projection
    source ── where ─┘

Nothing here knows batches or subscribers. What a function of the application raises propagates; the pipeline must then
be discarded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, Final, is_typeddict

from ._delta import Deltas, DeltaSink
from ._plan import Plan, SourcePlan, over_first
from ._relation import Relation
from ._snapshot import join_row_type
from .ivm._dispatch import EqualityDispatch
from .ivm._filter import Filter
from .ivm._group import Group
from .ivm._join import Join, match_on
from .ivm._order import Order
from .ivm._project import Project
from .ivm._stage import Stage
from .ivm._totals import Totals
from .query import _ir
from .query._compile import Accessor, predicate, sort_key, value
from .query._ir import ExprIR, Grouping, JoinIR, QueryIR, RowFunction

__all__ = ["Pipeline"]

_FEW: Final = 128
"""So many positions are looked up one by one, each over the chunks of the order; for more one walk is cheaper."""


class Pipeline:
    """The stages of one query and the state that they keep.

    Args:
        ir: the query.
        plan: how it is run.
        relations: its sources.

    Attributes:
        moved: keys of rows that the last `push` did not change but may have moved.
        positions_before: where the rows that the last `push` changed, moved or removed were before; noted only where
            a row may move without a change.
    """

    def __init__(self, ir: QueryIR, plan: Plan, relations: Sequence[Relation]) -> None:
        self.moved: list[Any] = []
        self.positions_before: dict[Any, int | None] = {}
        accessors: list[Accessor] = [_accessor(relation) for relation in relations]
        self._inputs = [_Input(*parts) for parts in zip(relations, plan.sources, accessors, strict=True)]
        self._joins = [_join(join, accessors) for join in ir.joins]
        self._before_order: list[Stage] = []
        if plan.where:
            self._before_order.append(Filter(predicate(plan.where, sources=len(relations), accessors=accessors)))
        if len(relations) > 1 and not isinstance(ir.projection, RowFunction | Grouping):
            self._before_order.append(Project(join_row_type(tuple(source.name for source in ir.sources))))
        self._order: Order | None = None
        if ir.limit is not None or ir.offset or (ir.order_by and not isinstance(ir.projection, Grouping)):
            self._sort_key = sort_key(ir.order_by, sources=len(relations), accessors=accessors)
            self._order = Order(self._sort_key, limit=ir.limit, offset=ir.offset)
        self._projection = _projection(ir, accessors, self._order)
        self._is_ordered = plan.is_ordered
        self._watches_positions = plan.is_ordered and (plan.has_outer_rows or self._projection is not None)

    def attach(self, index: int, sink: DeltaSink) -> Callable[[], None]:
        """Hand the deltas of one source to `sink`, those that can matter."""
        return self._inputs[index].attach(sink)

    def load(self) -> Deltas:
        """Push what the sources hold now. To be called once, after `attach`."""
        deltas = self.push([item.initial() for item in self._inputs])
        if isinstance(self._projection, Group | Totals) and not deltas:
            return self._projection.start()
        return deltas

    def push(self, inputs: Sequence[Deltas]) -> Deltas:
        """Take the deltas of one batch, one sequence per source; return those of the result."""
        self.moved.clear()
        self.positions_before.clear()
        deltas = self._inputs[0].push(inputs[0])
        for index, join in enumerate(self._joins, 1):
            other = self._inputs[index].push(inputs[index])
            if deltas or other:
                deltas = join.push(deltas, other)
        for stage in self._before_order:
            if not deltas:
                return ()
            deltas = stage.push(deltas)
        fed = deltas
        if self._order is not None and deltas:
            deltas = self._ordered(self._order, deltas)
        if self._projection is None or not deltas:
            return deltas
        try:
            made = self._projection.push(deltas)
        except Exception:
            if self._order is not None:
                # The rows that are shown are still those from before, and so is their order to be.
                self._order.push([(key, new, old) for key, old, new in fed])
            raise
        if self._is_ordered:
            self._note_moves(deltas, made)
        return made

    def ordered(self, row: Callable[[Any], Any]) -> Sequence[Any] | None:
        """Return the result rows in order, or None where they have none. `row` gives the result row of a key."""
        if self._order is None or not self._is_ordered:
            return None
        if self._projection is None:
            return list(chain.from_iterable(self._order.chunks()))
        return [row(key) for key in self._order.row_keys()]

    def positions(self, keys: Sequence[Any]) -> dict[Any, int | None]:
        """Return the indexes of rows in the result by key; None for a row that is not there. Empty without an order."""
        order = self._order
        if order is None or not self._is_ordered:
            return {}
        if len(keys) < _FEW:
            return {key: order.index(key) for key in keys}
        everywhere = {key: index for index, key in enumerate(order.row_keys())}
        return {key: everywhere.get(key) for key in keys}

    def _ordered(self, order: Order, deltas: Deltas) -> Deltas:
        if self._watches_positions:
            self.positions_before = self.positions([key for key, old, _ in deltas if old is not None])
        return order.push(deltas)

    def _note_moves(self, deltas: Deltas, made: Deltas) -> None:
        told = {key for key, _, _ in made}
        for key, old, new in deltas:
            if key not in told and self._sort_key(key, old) != self._sort_key(key, new):
                self.moved.append(key)


class _Input:
    """One source: which of its rows and deltas come in."""

    def __init__(self, relation: Relation, plan: SourcePlan, accessor: Accessor) -> None:
        self._relation = relation
        self._values = plan.values
        self._dispatch = None if plan.dispatch is None else EqualityDispatch.of(relation, plan.dispatch)
        self._filter = Filter(predicate(plan.where, sources=1, accessors=[accessor])) if plan.where else None

    def attach(self, sink: DeltaSink) -> Callable[[], None]:
        if self._dispatch is None:
            return self._relation.attach(sink)
        return self._dispatch.attach(self._values, sink)

    def initial(self) -> Deltas:
        pairs = self._relation.rows.items() if self._dispatch is None else self._dispatch.rows(self._values)
        return [(key, None, row) for key, row in pairs]

    def push(self, deltas: Deltas) -> Deltas:
        return deltas if self._filter is None or not deltas else self._filter.push(deltas)


def _join(join: JoinIR, accessors: Sequence[Accessor]) -> Join:
    count, own = join.index, accessors[join.index]
    left = [value(expr, sources=count, accessors=accessors[:count]) for expr, _ in join.on]
    right = [value(over_first(expr), sources=1, accessors=[own]) for _, expr in join.on]
    return Join(join.kind, match_on(left), match_on(right), left_arity=count)


def _projection(ir: QueryIR, accessors: Sequence[Accessor], order: Order | None) -> Stage | None:
    count = len(accessors)

    def read(expr: ExprIR) -> Callable[[Any], Any]:
        return value(expr, sources=count, accessors=accessors)

    if isinstance(ir.projection, RowFunction):
        return Project(ir.projection.function, sources=count)
    if isinstance(ir.projection, Grouping):
        grouping = ir.projection
        return Group(
            _tuple_of([read(key) for key in grouping.keys]),
            [(call, None if call.arg is None else read(call.arg)) for call in grouping.calls],
            grouping.build.function,
            is_total=not grouping.keys,
        )
    if isinstance(ir.projection, _ir.Totals):
        functions = [(name, total.function) for name, total in ir.projection.functions]
        return Totals(functions, None if order is None else order.rows)
    return None


def _tuple_of(readers: Sequence[Callable[[Any], Any]]) -> Callable[[Any], tuple[Any, ...]]:
    if len(readers) == 1:
        (only,) = readers
        return lambda row: (only(row),)
    return lambda row: tuple([reader(row) for reader in readers])


def _accessor(relation: Relation) -> Accessor:
    schema = relation.schema
    if schema is None:
        return "any"
    return "item" if is_typeddict(schema) or issubclass(schema, Mapping) else "attribute"
