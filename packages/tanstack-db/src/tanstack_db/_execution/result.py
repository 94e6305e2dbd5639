"""`LiveResult`: a query that runs. One per client for equal queries, shared by everybody who shows or reads it.

It is a relation like a collection, so that queries can read queries. It runs while somebody needs it: the first
consumer opens the sources' leases and loads, the last one leaves it running for `GC_TIME` seconds.

Once per batch it takes the deltas of its sources, pushes them through its pipeline and tells everybody once. What the
application's own functions raise is its error: the rows stay as they were, and the next change of a source builds the
pipeline anew from the sources' rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from weakref import WeakSet

from .._base.delta import Deltas, DeltaSink
from .._base.lease import StateLease
from .._base.relation import Lease, LoadSubset, Relation
from .._collections.subscription import Change, Listeners
from .._errors import CollectionStateError, DbError, SourceError
from ..query._compile import value
from .explain import Operator, first_run, operator_of
from .meter import Meter
from .paging import Paging, WindowMove
from .pause import paused_gc
from .pipeline import Pipeline
from .plan import plan
from .pushdown import open_sources
from .table import ResultTable, netted

if TYPE_CHECKING:
    from .._base.ir import QueryIR
    from .._collections.client import DbClient

__all__ = ["GC_TIME", "Follower", "Listener", "LiveResult"]

GC_TIME: Final = 5.0
"""Seconds that a live query keeps running after its last consumer has left."""

Listener: TypeAlias = Callable[[], object]
Follower: TypeAlias = Callable[[Sequence[Change[Any, Any]]], object]


class LiveResult(Relation):
    """See the module docstring. Made by `open_query`.

    Args:
        ir: the query.
        client: whose collections it reads.

    Attributes:
        ir: the query, with the window that is shown.
        handles: who shows it.

    Raises:
        OpenParameterError: a source that loads by parameters is not told all of them.
    """

    def __init__(self, ir: QueryIR, client: DbClient) -> None:
        self.ir = ir
        self.client = client
        self.id = f"query on {', '.join(source.name for source in ir.sources)}"
        self._relations = tuple(source._open(client) for source in open_sources(ir, client))
        self._plan = plan(ir, self._relations)
        self.rank = 1 + max(relation.rank for relation in self._relations)
        kinds = {(relation.columns, relation.schema) for relation in self._relations}
        if ir.width == len(kinds) == 1 and ir.projection is None:
            ((self.columns, self.schema),) = kinds
        self.shared: dict[Hashable, Any] = {}
        self.handles: WeakSet[object] = WeakSet()
        self._paging: Paging | None = None
        self._moves: list[WindowMove] = []
        self._settled = ir.limit, ir.offset
        self._leave: Callable[[bool], None] | None = None
        self._table = ResultTable(is_ordered=self._plan.is_ordered, has_outer_rows=self._plan.has_outer_rows)
        self._failure: Exception | None = None
        self._pending: list[Deltas] = [() for _ in self._relations]
        self._problem: Exception | None = None
        """What a condition raised in this batch."""
        self._meters: Sequence[Meter] | None = None
        self._leases: list[Lease] = []
        self._detach: list[Callable[[], None]] = []
        self._sinks: dict[object, DeltaSink] = {}
        self._lent: dict[StateLease, None] = {}
        self._listeners: Listeners[[]] = Listeners()
        self._followers: Listeners[[Sequence[Change[Any, Any]]]] = Listeners()
        self._is_due = False
        self._is_load_due = self._is_move_due = False
        self._told: tuple[bool, Exception | None] = (False, None)
        self._is_status_due = True
        self._consumers = 0
        self._is_running = False
        self._timer: asyncio.TimerHandle | None = None

    # -- what it shows -------------------------------------------------------------------------------------------------

    @property
    def rows(self) -> Mapping[Any, Any]:
        """The rows by key, a live view."""
        return self._table.rows

    @property
    def is_ready(self) -> bool:
        """Whether it runs and every source has delivered what it was asked for."""
        return self._is_running and all(lease.is_ready for lease in self._leases)

    @property
    def error(self) -> Exception | None:
        """What a function of the application raised, or else what the first failing source reports."""
        if self._failure is not None:
            return self._failure
        return next((lease.error for lease in self._leases if lease.error is not None), None)

    def problem(self) -> Exception | None:
        """Return `error` as something to raise: what a source reports is named after the source."""
        for relation, lease in zip(self._relations, self._leases, strict=False):
            if self._failure is None and lease.error is not None:
                return lease.error if isinstance(lease.error, DbError) else SourceError(relation.id, lease.error)
        return self._failure

    def value(self) -> Any:
        """Return what is shown: `Rows`, or the value of a query for one. The same object until something changed."""
        if self.ir.single:
            return next(iter(self._table.shown.items()), None)
        return self._table.shown.rows(is_ready=self.is_ready, error=self.error)

    def initial(self) -> list[Change[Any, Any]]:
        """Return the present rows as inserts."""
        return self._table.initial()

    def explain(self, *, reset: bool = False) -> Operator:
        """Return the last operator, with the work that it and those before it did; see `LiveQuery.explain`."""
        if self._meters is None:
            self._meters = first_run(Pipeline(self.ir, self._plan, self._relations), len(self._relations))
            if self._table.pipeline is not None:
                self._table.pipeline.measure(self._meters)
        pipeline = self._table.pipeline
        if pipeline is None:
            pipeline = Pipeline(self.ir, self._plan, self._relations)
            pipeline.measure(self._meters)

        def explained(relation: object) -> Operator | None:
            return relation.explain(reset=reset) if isinstance(relation, LiveResult) else None

        operator = operator_of(pipeline.last, explained)
        if reset:
            for meter in self._meters:
                meter.reset()
        return operator

    # -- who needs it --------------------------------------------------------------------------------------------------

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` after each batch in which the rows, their order or the status changed.

        Does not keep the query running. Returns the function that stops it.
        """
        return self._listeners.add(listener)

    def follow(self, follower: Follower) -> Callable[[], None]:
        """Call `follower` with the changes of each batch that had some; see `listen`."""
        return self._followers.add(follower)

    def attach(self, sink: DeltaSink) -> Callable[[], None]:
        """Hand every batch's deltas to `sink`; see `Relation.attach`."""
        token = object()
        self._sinks[token] = sink

        def detach() -> None:
            self._sinks.pop(token, None)

        return detach

    def acquire(self, subset: LoadSubset, on_status: Callable[[], None]) -> Lease:
        """Keep it running; see `Relation.acquire`."""
        self.hold()
        lease = StateLease(lambda: (self.is_ready, self.error), self._drop_lease, on_status)
        self._lent[lease] = None
        return lease

    def _drop_lease(self, lease: StateLease) -> None:
        del self._lent[lease]
        self.release()

    def hold(self) -> None:
        """One more consumer; the first starts the query."""
        if not self._is_running:
            try:
                self._start()
            except BaseException:
                self._stop()
                raise
        self._consumers += 1
        self._stop_timer()

    def release(self) -> None:
        """One consumer less. Without an event loop nobody could stop it later, so the last one stops it now."""
        self._consumers -= 1
        if self._consumers:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._stop()
            return
        if self.client.is_closed:
            self._stop()
        else:
            self._timer = loop.call_later(GC_TIME, self._stop)

    def stop_if_unused(self) -> None:
        """Do not wait for the timer."""
        if not self._consumers:
            self._stop()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- life cycle ----------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        # One batch: what a source delivers at once is read when all of them have started.
        with self.client.batch():
            self._acquire()
            try:
                self._load()
                self._load_more()
            except Exception as error:  # noqa: BLE001 -- it is the state of this query
                self._fail(error)
            self._table.taken_changes()
        self._told = self.is_ready, self.error

    def _acquire(self) -> None:
        self._is_running = self._is_status_due = True
        for relation, part in zip(self._relations, self._plan.sources, strict=True):
            if relation.loads_subsets and part.subset.limit is not None:
                first = value(self.ir.order_by[0].expr, sources=1, accessors=["any"])
                self._paging = Paging(relation, part.subset, first, self._status_changed, self.client.scheduler)
                self._leases.append(self._paging)
            else:
                self._leases.append(relation.acquire(part.subset, self._status_changed))
        self._settled = self.ir.limit, self.ir.offset

    def _stop(self) -> None:
        self._stop_timer()
        self._table.shown.forget()
        self._is_running, self._is_status_due = False, True
        self._unload()
        leases, self._leases, self._paging = self._leases, [], None
        moves, self._moves = self._moves, []
        for move in moves:
            move.settle(CollectionStateError(self.id, "cleaned-up", "the query stopped while its window was loading"))
        with self.client.batch():
            for lease in leases:
                lease.release()
        self._failure = self._meters = None
        self._table.clear()

    def _load(self, order: Sequence[Any] = ()) -> None:
        """Build the pipeline from the sources' present rows, and show what it gives.

        Args:
            order: the keys of the rows that are shown now, in their order, where that is known.
        """
        self._unload()
        pipeline = Pipeline(self.ir, self._plan, self._relations)
        try:
            leave = pipeline.share_order(
                self._table.shown.freeze,
                self._order_changed,
                lambda: self._attach(pipeline),
                self._order_lost,
            )
            if leave is not None:
                self._leave = leave
            if not pipeline.is_follower:
                self._attach(pipeline)
            with paused_gc():
                loaded = pipeline.load()
        except Exception:
            self._unload()
            raise
        if self._meters is not None:
            pipeline.measure(self._meters)
        self._failure, self._is_status_due = None, True
        self._hand_out(self._table.load(pipeline, loaded, order))

    def _attach(self, pipeline: Pipeline) -> None:
        for index in range(len(self._relations)):
            self._detach.append(pipeline.attach(index, self._sink(index), self._raised))

    def _order_changed(self) -> None:
        """Another query's window keeps the order; it has changed."""
        self._is_move_due = True
        self.client.scheduler.schedule(self)

    def _order_lost(self) -> None:
        """Who kept the order has left amid a batch."""
        with self.client.batch():
            self.client.scheduler.schedule(self)
            try:
                self._table.keep_order()
            except Exception as error:  # noqa: BLE001 -- it is the state of this query
                self._fail(error)
                return
            self._unload()
            self._is_load_due = True

    def _unload(self) -> None:
        self._table.pipeline = None
        leave, self._leave = self._leave, None
        if leave is not None:
            leave(not self.client.scheduler.is_batching)
        detach, self._detach = self._detach, []
        for stop in detach:
            stop()
        self._taken()
        self._problem = None

    def _fail(self, error: Exception) -> None:
        """A function of the application raised: keep the rows, and wait for the next change of any source."""
        self._table.keep_items()
        self._unload()
        self._failure, self._is_status_due = error, True
        self._detach = [relation.attach(self._sink(index)) for index, relation in enumerate(self._relations)]

    def _sink(self, index: int) -> DeltaSink:
        pending, schedule = self._pending, self.client.scheduler.schedule

        def take(deltas: Deltas) -> None:
            pending[index] = netted(pending[index], deltas) if pending[index] else deltas
            schedule(self)

        return take

    def _raised(self, error: Exception) -> None:
        """A condition raised while the deltas of a source were handed out."""
        self._problem = error
        self.client.scheduler.schedule(self)

    def _taken(self) -> Sequence[Deltas]:
        """Return what the sinks took, and have them take anew."""
        taken = self._pending.copy()
        self._pending[:] = [()] * len(taken)
        return taken

    # -- the window ----------------------------------------------------------------------------------------------------

    @property
    def is_ordered(self) -> bool:
        """Whether its rows have positions, and so a window."""
        return self._plan.is_ordered

    @property
    def is_running(self) -> bool:
        """Whether its rows are kept up to date."""
        return self._is_running

    @property
    def is_lent(self) -> bool:
        """Whether other queries read it."""
        return bool(self._lent)

    def move(self, *, limit: int | None, offset: int) -> WindowMove:
        """Show another window. Only for a result that is shared with nobody, inside a batch."""
        move = WindowMove()
        if self._is_running:
            self._moves.append(move)
            self._set_window(limit, offset)
        else:
            self._plan_window(limit, offset)
            move.settle()
        return move

    def _plan_window(self, limit: int | None, offset: int) -> None:
        self.ir = replace(self.ir, limit=limit, offset=offset)
        self._plan = plan(self.ir, self._relations)
        self._table.is_ordered = self._plan.is_ordered

    def _set_window(self, limit: int | None, offset: int) -> None:
        self._plan_window(limit, offset)
        if self._paging is not None:
            self._paging.reach(None if limit is None else offset + limit)
        if self._table.pipeline is not None:
            self._table.pipeline.move(limit=limit, offset=offset)
        self._is_move_due = True
        self.client.scheduler.schedule(self)

    def _load_more(self) -> None:
        """Ask an on-demand source for what the window lacks, and say what became of moves."""
        paging, pipeline = self._paging, self._table.pipeline
        if paging is not None and pipeline is not None:
            paging.advance(pipeline.prefix)
            if paging.is_loading:
                if paging.error is not None and self._moves:
                    self._move_back(paging)
                return
        self._settled = self.ir.limit, self.ir.offset
        moves, self._moves = self._moves, []
        for move in moves:
            move.settle()

    def _move_back(self, paging: Paging) -> None:
        error = self.problem()
        assert error is not None, "a load has failed"
        paging.give_up()
        self._set_window(*self._settled)
        moves, self._moves = self._moves, []
        if not any([move.settle(error) for move in moves]):
            self.client.report(error)

    def start_from(self, other: LiveResult) -> None:
        """Run in place of a result of the same query with another window, inside a batch.

        What is told when the batch ends is how the rows differ from those of `other`.
        """
        self._table.start_from(other._table)
        self._failure, self._told = other._failure, other._told
        self._acquire()
        self._is_load_due = True
        self.client.scheduler.schedule(self)

    # -- batches -------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Phase 1: bring the rows up to date and hand out how they changed."""
        self._is_due = True
        is_load_due, self._is_load_due = self._is_load_due, False
        is_move_due, self._is_move_due = self._is_move_due, False
        if self._problem is not None:
            self._fail(self._problem)
        elif is_load_due or is_move_due or any(self._pending):
            inputs = self._taken()
            try:
                if (pipeline := self._table.pipeline) is None:
                    self._load(list(self._table.rows) if is_load_due else ())
                else:
                    self._hand_out(self._table.push(pipeline, inputs))
            except Exception as error:  # noqa: BLE001 -- it is the state of this query, and other queries go on
                self._fail(error)
        if self._paging is not None or self._moves:
            self._load_more()

    def _hand_out(self, deltas: Deltas) -> None:
        if deltas and self._sinks:
            for sink in list(self._sinks.values()):
                sink(deltas)

    def publish(self) -> None:
        """Phase 2: tell everybody, if there is something to tell."""
        self._is_due = False
        changes = self._table.taken_changes()
        if self._is_status_due:
            self._is_status_due = False
            status = (self.is_ready, self.error)
            if not changes and status == self._told:
                return
            self._told = status
        elif not changes:
            return
        # Queries that read this one first: they learn of its status before they publish its rows.
        for lease in list(self._lent):
            lease.tell()
        errors: list[Exception] = []
        if changes and self._followers:
            errors += self._followers.emit(self._table.told(changes))
        errors += self._listeners.emit()
        if errors:
            raise ExceptionGroup(f"subscribers of the {self.id} failed; the data stays applied", errors)

    def _status_changed(self) -> None:
        self._is_status_due = True
        # A result that has run and not yet published will see it when it does.
        if self._is_running and (not self._is_due or self._paging is not None):
            with self.client.batch():
                self.client.scheduler.schedule(self)
