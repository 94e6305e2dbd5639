"""The stages of one query, in the order in which deltas pass them::

    source ── where ─┐
                     ├─ join, union ─ … ─ where on joined rows ─ distinct ─ order, window ─ projection
    source ── where ─┘

Nothing here knows batches or subscribers. What a function of the application raises propagates; the pipeline must then
be discarded.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from itertools import chain
from operator import itemgetter
from time import perf_counter
from typing import Any, Final, is_typeddict

from .._base.delta import Deltas, DeltaSink
from .._base.ir import AggregateCall, Call, ExprIR, Grouping, IncludeIR, JoinIR, QueryIR, RowFunction
from .._base.ir import Totals as TotalsIR
from .._base.relation import Relation
from .._base.snapshot import join_row_type
from ..ivm._dispatch import EqualityDispatch
from ..ivm._distinct import Distinct
from ..ivm._filter import Filter
from ..ivm._group import Group
from ..ivm._include import Fold, Include
from ..ivm._join import Join, match_on
from ..ivm._order import Order
from ..ivm._order_hub import Member, OrderHub
from ..ivm._project import Project, row_maker
from ..ivm._sorted import SortedRows
from ..ivm._stage import Stage
from ..ivm._totals import Totals
from ..ivm._union import union_all
from ..query._compile import Accessor, predicate, sort_key, value
from ..query._text import aggregate_text, condition_text, expr_text, function_text, order_text
from .meter import Meter, Step
from .plan import Plan, SourcePlan, over_first

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
        is_follower: whether another window keeps the order: then nothing is to be attached.
    """

    def __init__(self, ir: QueryIR, plan: Plan, relations: Sequence[Relation]) -> None:
        self.moved: list[Any] = []
        self.positions_before: dict[Any, int | None] = {}
        accessors: list[Accessor] = [_accessor(relation) for relation in relations]
        names = tuple(source.name for source in ir.sources)
        self._inputs = [_Input(*parts) for parts in zip(names, relations, plan.sources, accessors, strict=True)]
        self._joins: list[Step] = []
        last = self._inputs[0].step
        self._union: Step | None = None
        if ir.union:
            united = ", ".join(names)
            last = self._union = Step("union", lambda: united, union_all, [item.step for item in self._inputs])
            names = names[:1]
            accessors = [accessors[0] if len(set(accessors)) == 1 else "any"]
        for join, other in zip(ir.joins, self._inputs[1:], strict=not ir.union):
            inputs = (last, other.step)
            if isinstance(join, IncludeIR):
                last = _include(join, names, accessors, inputs)
            else:
                last = _join(join, names, accessors, inputs)
            self._joins.append(last)
        self._before_order: list[Step] = []
        if plan.where:
            keep = Filter(predicate(plan.where, sources=ir.width, accessors=accessors))
            last = Step("where", lambda: condition_text(plan.where, names), keep.push, [last])
            self._before_order.append(last)
        if ir.width > 1 and not isinstance(ir.projection, RowFunction | Grouping):
            last = Step("rows", lambda: ", ".join(names), Project(join_row_type(names)).push, [last])
            self._before_order.append(last)
        if ir.distinct:
            last = Step("distinct", lambda: "rows", Distinct().push, [last])
            self._before_order.append(last)
        self._order: Order | None = None
        self._shared_name: Hashable = None
        self.is_follower = False
        if ir.limit is not None or ir.offset or (ir.order_by and not isinstance(ir.projection, Grouping)):
            self._sort_key = sort_key(ir.order_by, sources=ir.width, accessors=accessors)
            self._order = order = Order(self._sort_key, limit=ir.limit, offset=ir.offset)
            last = self._order_step = Step("order", lambda: self._order_text(ir), order.push, [last])
            if len(relations) == 1 and last.inputs[0] is self._inputs[0].step and _is_window_only(ir):
                self._shared_name = (plan.sources[0].where, ir.order_by)
        self._projection = _projection(ir, accessors, self._order)
        if self._projection is not None:
            last = self._projection_step = Step(*_projection_text(ir, names), self._projection.push, [last])
        self._last = last
        self._is_ordered = plan.is_ordered
        self._window = ir.limit, ir.offset
        self._is_moved = False
        self._kept: list[Any] | None = None
        """After a failure: the keys that are shown, in their order."""
        self._watches_positions = plan.is_ordered and (plan.has_outer_rows or self._projection is not None)

    @property
    def last(self) -> Step:
        """The operator that gives the result."""
        return self._last

    def measure(self, meters: Sequence[Meter] | None = None) -> Sequence[Meter]:
        """Count the work of every operator from now on. To be called once.

        Args:
            meters: those of another pipeline of the same query, to go on with.
        """
        steps = list(self._last.walk())
        meters = [Meter() for _ in steps] if meters is None else meters
        for step, meter in zip(steps, meters, strict=True):
            step.measure(meter)
        return meters

    def attach(self, index: int, sink: DeltaSink, failed: Callable[[Exception], None]) -> Callable[[], None]:
        """Hand the deltas of one source to `sink`, those that can matter: `push` takes what it gets.

        Args:
            index: which source.
            sink: not called for a batch of which nothing can matter, so that the query need not run then.
            failed: gets what a condition raises.
        """
        return self._inputs[index].attach(sink, failed)

    def share_order(
        self,
        before: Callable[[], None],
        changed: Callable[[], None],
        take_over: Callable[[], None],
        reload: Callable[[], None],
    ) -> Callable[[bool], None] | None:
        """Share the order with windows of other queries on the same rows. To be called before `attach` and `load`.

        Args: see `Member`; after `changed`, `push` is to be called, and after `take_over`, `attach`.

        Returns:
            The function that ends it, told whether no batch is open; None where there is nothing to share.
        """
        order, name = self._order, self._shared_name
        if order is None or name is None:
            return None

        def is_changed() -> None:
            self._is_moved = True
            changed()

        def takes_over() -> None:
            self.is_follower = False
            order.take_over()
            take_over()

        relation = self._inputs[0].relation
        hub = OrderHub.of(relation, name, order.order_index)
        member = Member(before, is_changed, takes_over, reload)
        self.is_follower = self._is_moved = not order.share(hub, member)
        return lambda is_settled: hub.leave(member, is_settled=is_settled)

    def load(self) -> Deltas:
        """Push what the sources hold now. To be called once, after `attach`."""
        if self.is_follower:
            return self.push([()])
        deltas = self.push([item.push(item.initial()) for item in self._inputs])
        if isinstance(self._projection, Group | Totals) and not deltas:
            return self._projection.start()
        return deltas

    def move(self, *, limit: int | None, offset: int) -> None:
        """Show another window, from the next `push` on; that may then be one without deltas."""
        assert self._order is not None, "only an ordered query has a window"
        self._order.move(limit=limit, offset=offset)
        self._window = limit, offset
        self._is_moved = True

    @property
    def prefix(self) -> SortedRows:
        """The rows that the window is cut from, in order."""
        assert self._order is not None, "only an ordered query has a window"
        return self._order.everything

    def push(self, inputs: Sequence[Deltas]) -> Deltas:
        """Take the deltas of one batch, one sequence per source as `attach` gave them; return those of the result."""
        self.moved.clear()
        self.positions_before.clear()
        deltas = self._joined(inputs)
        is_moved, self._is_moved = self._is_moved, False
        if self._order is not None and (deltas or is_moved):
            deltas = self._ordered(self._order, deltas)
        if self._projection is None or not deltas:
            return deltas
        try:
            made = self._projection_step.push(deltas)
        except Exception:
            if self._order is not None:
                self._kept = self._order_before(self._order, deltas)
            raise
        if self._is_ordered:
            self._note_moves(deltas, made)
        return made

    def _joined(self, inputs: Sequence[Deltas]) -> Deltas:
        if self._union is not None:
            deltas = self._union.push(*inputs) if any(inputs) else ()
        else:
            deltas = inputs[0]
        for index, join in enumerate(self._joins, 1):
            if deltas or inputs[index]:
                deltas = join.push(deltas, inputs[index])
        for stage in self._before_order:
            if not deltas:
                return ()
            deltas = stage.push(deltas)
        return deltas

    def ordered(self, row: Callable[[Any], Any]) -> Sequence[Any] | None:
        """Return the result rows in order, or None where they have none. `row` gives the result row of a key."""
        if self._projection is None and self._order is not None and self._is_ordered:
            return list(chain.from_iterable(self._order.chunks()))
        keys = self.ordered_keys()
        return None if keys is None else [row(key) for key in keys]

    def ordered_keys(self) -> Sequence[Any] | None:
        """Return the keys of the result rows in order, or None where they have none."""
        if self._order is None or not self._is_ordered:
            return None
        return list(self._order.row_keys()) if self._kept is None else self._kept

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
        return self._order_step.push(deltas)

    def _order_text(self, ir: QueryIR) -> str:
        limit, offset = self._window
        parts = [f"by {order_text(ir.order_by, [source.name for source in ir.sources])}"]
        parts += [] if limit is None else [f"limit {limit}"]
        parts += [f"offset {offset}"] if offset else []
        return ", ".join(parts)

    def _order_before(self, order: Order, deltas: Deltas) -> list[Any]:
        """Return the keys in the order before a batch that has failed: the rows that are shown are those from then."""
        changed = {key for key, _, _ in deltas}
        entries = [
            (self._sort_key(key, row), key)
            for key, row in zip(order.row_keys(), order.rows(), strict=True)
            if key not in changed
        ]
        entries += [(self._sort_key(key, old), key) for key, old, _ in deltas if old is not None]
        return [key for _, key in sorted(entries, key=itemgetter(0))]

    def _note_moves(self, deltas: Deltas, made: Deltas) -> None:
        told = {key for key, _, _ in made}
        for key, old, new in deltas:
            if key not in told and self._sort_key(key, old) != self._sort_key(key, new):
                self.moved.append(key)


class _Input:
    """One source: which of its rows and deltas come in."""

    def __init__(self, name: str, relation: Relation, plan: SourcePlan, accessor: Accessor) -> None:
        self.relation = relation
        self._values = plan.values
        self._dispatch = None if plan.dispatch is None else EqualityDispatch.of(relation, plan.dispatch)
        self._read = Step("read", lambda: _source_text(name, plan), _as_they_are, reads=relation)
        self.step = self._read
        if plan.where:
            keep = Filter(predicate(plan.where, sources=1, accessors=[accessor]))
            self.step = Step("where", lambda: condition_text(plan.where, (name,)), keep.push, [self._read])

    def attach(self, sink: DeltaSink, failed: Callable[[Exception], None]) -> Callable[[], None]:
        def take(deltas: Deltas) -> None:
            try:
                deltas = self.push(deltas)
            except Exception as error:  # noqa: BLE001 -- told; whoever hands out deltas has other sinks to serve
                failed(error)
                return
            if deltas:
                sink(deltas)

        if self._dispatch is None:
            return self.relation.attach(take)
        return self._dispatch.attach(self._values, take)

    def initial(self) -> Deltas:
        begin = perf_counter()
        pairs = self.relation.rows.items() if self._dispatch is None else self._dispatch.rows(self._values)
        deltas = [(key, None, row) for key, row in pairs]
        if self._read.meter is not None:
            self._read.meter.seconds += perf_counter() - begin
        return deltas

    def push(self, deltas: Deltas) -> Deltas:
        if not deltas:
            return deltas
        if self._read.meter is not None:
            self._read.push(deltas)
        return deltas if self.step is self._read else self.step.push(deltas)


def _join(join: JoinIR, names: Sequence[str], accessors: Sequence[Accessor], inputs: Sequence[Step]) -> Step:
    count, own = join.index, accessors[join.index]
    left = [value(expr, sources=count, accessors=accessors[:count]) for expr, _ in join.on]
    right = [value(over_first(expr), sources=1, accessors=[own]) for _, expr in join.on]
    made = Join(join.kind, match_on(left), match_on(right), left_arity=count)

    def detail() -> str:
        return condition_text([Call("eq", pair) for pair in join.on], names)

    return Step(f"{join.kind} join", detail, made.push, inputs)


def _include(include: IncludeIR, names: Sequence[str], accessors: Sequence[Accessor], inputs: Sequence[Step]) -> Step:
    count, width = include.index, include.width
    inner: list[Accessor] = [accessors[count]] if width == 1 else ["any"] * width
    parent = [value(expr, sources=count, accessors=accessors[:count]) for expr, _ in include.on]
    child = [value(expr, sources=width, accessors=inner) for _, expr in include.on]
    by = sort_key(include.order_by, sources=width, accessors=inner)

    def order() -> Order:
        return Order(lambda key, pair: by(key, pair[0]), limit=include.limit, offset=include.offset)

    fold: Callable[[], Fold] | None = None
    if include.totals is not None:
        fold = partial(_totals, include.totals, width, inner)
    elif include.single:
        fold = _first
    show = None if include.projection is None else row_maker(include.projection.function, sources=width)
    made = Include(match_on(parent), match_on(child), order, show, arity=count, fold=fold)
    return Step("include", lambda: names[count], made.push, inputs)


def _first() -> Fold:
    """The fold of a list of at most one row."""
    return lambda shown: next((new[1] for _, _, new in shown if new is not None), None)


def _totals(grouping: Grouping, sources: int, accessors: Sequence[Accessor]) -> Fold:
    """The fold of a list to an aggregate of its rows."""
    group = _group(grouping, sources, accessors)
    total: Any = None

    def fold(shown: Deltas) -> Any:
        nonlocal total
        changed = group.push([(key, old and old[0], new and new[0]) for key, old, new in shown])
        if changed:
            total = changed[0][2]
        return total

    return fold


def _group(grouping: Grouping, sources: int, accessors: Sequence[Accessor]) -> Group:
    def read(expr: ExprIR) -> Callable[[Any], Any]:
        return value(expr, sources=sources, accessors=accessors)

    return Group(
        _tuple_of([read(key) for key in grouping.keys]),
        [(call, _argument(call, read)) for call in grouping.calls],
        grouping.build.function,
        is_total=not grouping.keys,
    )


def _projection(ir: QueryIR, accessors: Sequence[Accessor], order: Order | None) -> Stage | None:
    count = len(accessors)
    if isinstance(ir.projection, RowFunction):
        return Project(ir.projection.function, sources=count)
    if isinstance(ir.projection, Grouping):
        return _group(ir.projection, count, accessors)
    if isinstance(ir.projection, TotalsIR):
        functions = [(name, total.function) for name, total in ir.projection.functions]
        return Totals(functions, None if order is None else order.rows)
    return None


def _argument(call: AggregateCall, read: Callable[[ExprIR], Callable[[Any], Any]]) -> Callable[[Any], Any] | None:
    """Return what reads the value that an aggregate takes of a row; None where it only counts rows."""
    if call.arg is not None:
        return read(call.arg)
    return _itself if call.function == "collect" else None


def _itself(row: Any) -> Any:
    return row


def _is_window_only(ir: QueryIR) -> bool:
    """Whether the result rows are those of the order, cut to a window."""
    return ir.projection is None and (ir.limit is not None or ir.offset > 0)


def _as_they_are(deltas: Deltas) -> Deltas:
    return deltas


def _source_text(name: str, plan: SourcePlan) -> str:
    if plan.dispatch is None:
        return name
    return f"{name} by {plan.dispatch} in {', '.join(map(repr, plan.values))}"


def _projection_text(ir: QueryIR, names: Sequence[str]) -> tuple[str, Callable[[], str]]:
    projection = ir.projection
    if isinstance(projection, RowFunction):
        return "select", lambda: function_text(projection)
    if isinstance(projection, Grouping):
        calls = projection.calls
        keys = projection.keys

        def detail() -> str:
            made = ", ".join(aggregate_text(call, names) for call in calls)
            return f"{made} by {', '.join(expr_text(key, names) for key in keys)}" if keys else made

        return "group" if keys else "aggregate", detail
    assert isinstance(projection, TotalsIR)
    return "totals", lambda: ", ".join(name for name, _ in projection.functions)


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
