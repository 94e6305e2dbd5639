"""`LiveResult`: a query that runs. One per client for equal queries, shared by everybody who shows or reads it.

It is a relation like a collection, so that queries can read queries. It runs while somebody needs it: the first
consumer opens the sources' leases and loads, the last one leaves it running for `GC_TIME` seconds.

Once per batch it takes the deltas of its sources, pushes them through its pipeline and tells everybody once. What the
application's own functions raise is its error: the rows stay as they were, and the next change of a source builds the
pipeline anew from the sources' rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from weakref import WeakSet

from typing_extensions import TypeVar

from .._base.delta import Delta, Deltas, DeltaSink, same
from .._base.relation import Lease, LoadSubset, Relation
from .._base.snapshot import Shown
from .._collections.subscription import Change
from .._errors import CollectionStateError, DbError, SourceError
from ..query._compile import value
from .changes import ResultKeys, told
from .explain import Operator, operator_of
from .meter import Meter
from .paging import Paging, WindowMove
from .pause import paused_gc
from .pipeline import Pipeline
from .plan import plan
from .pushdown import open_sources

if TYPE_CHECKING:
    from .._base.ir import QueryIR
    from .._collections.client import DbClient
    from .._live.live_query import LiveQuery

__all__ = ["GC_TIME", "Follower", "Listener", "LiveResult"]

F = TypeVar("F")

GC_TIME: Final = 5.0
"""Seconds that a live query keeps running after its last consumer has left."""

Listener: TypeAlias = Callable[[], object]
Follower: TypeAlias = Callable[[Sequence[Change[Any, Any]]], object]


class _ResultLease:
    """Another query's need for this one."""

    def __init__(self, result: LiveResult, on_status: Callable[[], None]) -> None:
        self._result = result
        self._told = (result.is_ready, result.error)
        self._on_status = on_status
        self._is_released = False

    @property
    def is_ready(self) -> bool:
        return self._result.is_ready

    @property
    def error(self) -> Exception | None:
        return self._result.error

    def release(self) -> None:
        if not self._is_released:
            self._is_released = True
            self._result.drop_lease(self)

    def tell(self) -> None:
        if (state := (self.is_ready, self.error)) != self._told:
            self._told = state
            self._on_status()


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
        self.handles: WeakSet[LiveQuery[Any]] = WeakSet()
        self._paging: Paging | None = None
        self._moves: list[WindowMove] = []
        self._settled = ir.limit, ir.offset
        self._leave: Callable[[bool], None] | None = None
        self._rows: dict[Any, Any] = {}
        self._view: Mapping[Any, Any] = MappingProxyType(self._rows)
        self._keys: ResultKeys | None = None
        self._pipeline: Pipeline | None = None
        self._failure: Exception | None = None
        self._pending: list[Deltas] = [() for _ in self._relations]
        self._problem: Exception | None = None
        """What a condition raised in this batch."""
        self._meters: Sequence[Meter] | None = None
        self._leases: list[Lease] = []
        self._detach: list[Callable[[], None]] = []
        self._sinks: dict[object, DeltaSink] = {}
        self._lent: dict[_ResultLease, None] = {}
        self._listeners: dict[object, Listener] = {}
        self._followers: dict[object, Follower] = {}
        self._changes: list[Delta] = []
        self._is_due = False
        self._is_load_due = self._is_move_due = False
        self._told: tuple[bool, Exception | None] = (False, None)
        self._is_status_due = True
        self._shown = Shown(self._items)
        self._consumers = 0
        self._is_running = False
        self._timer: asyncio.TimerHandle | None = None

    # -- what it shows -------------------------------------------------------------------------------------------------

    @property
    def rows(self) -> Mapping[Any, Any]:
        """The rows by key, a live view."""
        return self._view

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
            return next(iter(self._shown.items()), None)
        return self._shown.rows(is_ready=self.is_ready, error=self.error)

    def initial(self) -> list[Change[Any, Any]]:
        """Return the present rows as inserts."""
        return told([(key, None, row) for key, row in self._rows.items()], self._positions(self._rows))

    def _items(self) -> Sequence[Any]:
        ordered = None if self._pipeline is None else self._pipeline.ordered(self._row)
        return tuple(self._rows.values()) if ordered is None else ordered

    def ordered_keys(self) -> Sequence[Any]:
        """Return the keys of the rows, in order where they have one."""
        keys = None if self._pipeline is None else self._pipeline.ordered_keys()
        if keys is None:
            return list(self._rows)
        return keys if self._keys is None else [self._keys.published(key) for key in keys]

    def _row(self, key: Any) -> Any:
        return self._rows[key if self._keys is None else self._keys.published(key)]

    def _positions(self, keys: Iterable[Any]) -> dict[Any, int | None]:
        if self._pipeline is None:
            return {}
        if self._keys is None:
            return self._pipeline.positions(list(keys))
        found = self._pipeline.positions([self._keys.joined(key) for key in keys])
        return {self._keys.published(key): index for key, index in found.items()}

    def explain(self, *, reset: bool = False) -> Operator:
        """Return the last operator, with the work that it and those before it did; see `LiveQuery.explain`."""
        if self._meters is None:
            self._meters = self._measure_first_run()
            if self._pipeline is not None:
                self._pipeline.measure(self._meters)
        pipeline = self._pipeline
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

    def _measure_first_run(self) -> Sequence[Meter]:
        """Run the query once more, beside the one that runs."""
        pipeline = Pipeline(self.ir, self._plan, self._relations)
        meters = pipeline.measure()
        stops = [pipeline.attach(index, _nobody, _nobody) for index in range(len(self._relations))]
        try:
            pipeline.load()
        except Exception:  # noqa: BLE001 -- it is `error` already, and what was done until then is to be seen
            return meters
        finally:
            for stop in stops:
                stop()
        return meters

    # -- who needs it --------------------------------------------------------------------------------------------------

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` after each batch in which the rows, their order or the status changed.

        Does not keep the query running. Returns the function that stops it.
        """
        return _added(self._listeners, listener)

    def follow(self, follower: Follower) -> Callable[[], None]:
        """Call `follower` with the changes of each batch that had some; see `listen`."""
        return _added(self._followers, follower)

    def attach(self, sink: DeltaSink) -> Callable[[], None]:
        """Hand every batch's deltas to `sink`; see `Relation.attach`."""
        return _added(self._sinks, sink)

    def acquire(self, subset: LoadSubset, on_status: Callable[[], None]) -> Lease:
        """Keep it running; see `Relation.acquire`."""
        self.hold()
        lease = _ResultLease(self, on_status)
        self._lent[lease] = None
        return lease

    def drop_lease(self, lease: _ResultLease) -> None:
        """A lease was released."""
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
            self._changes.clear()
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
        self._shown.forget()
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
        self._rows.clear()
        self._changes.clear()

    def _load(self, shown: Sequence[Any] = ()) -> None:
        """Build the pipeline from the sources' present rows, and show what it gives.

        Args:
            shown: the keys of the rows that are shown now, in their order, where that is known.
        """
        self._unload()
        pipeline = Pipeline(self.ir, self._plan, self._relations)
        try:
            leave = pipeline.share_order(
                self._shown.freeze,
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
        self._pipeline, self._failure, self._is_status_due = pipeline, None, True
        if not self._rows:
            self._keys = ResultKeys() if self._plan.has_outer_rows else None
            self._show(loaded, (), before={})
            return
        rows = {key: row for key, _, row in loaded}
        if self._keys is not None and shown:
            before = {self._keys.joined(key): row for key, row in self._rows.items()}
            deltas = self._keys.translate(_difference(before, rows))
        else:
            self._keys = ResultKeys() if self._plan.has_outer_rows else None
            deltas = _difference(self._rows, rows)
        changed, equal = _parted(deltas)
        # Where a row was is not known, so it comes as one that may have moved; but not if all are as they were.
        places = [place for place in self._positions(shown).values() if place is not None]
        self._show(changed, () if shown and places == sorted(places) else equal, before={})

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
                self._shown.freeze()
                order = [key for key in self.ordered_keys() if key in self._rows]
            except Exception as error:  # noqa: BLE001 -- it is the state of this query
                self._fail(error)
                return
            rows = {key: self._rows[key] for key in order} | self._rows
            self._rows.clear()
            self._rows.update(rows)
            self._unload()
            self._is_load_due = True

    def _unload(self) -> None:
        self._pipeline = None
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
        try:
            self._shown.items()  # in their order, which only the pipeline knows
        except Exception:  # noqa: BLE001 -- the same as `error`
            # It is a comparison of the application's values that raises, so there is no order.
            self._shown.keep(tuple(self._rows.values()))
        self._unload()
        self._failure, self._is_status_due = error, True
        self._detach = [relation.attach(self._sink(index)) for index, relation in enumerate(self._relations)]

    def _sink(self, index: int) -> DeltaSink:
        pending, schedule = self._pending, self.client.scheduler.schedule

        def take(deltas: Deltas) -> None:
            pending[index] = _netted(pending[index], deltas) if pending[index] else deltas
            schedule(self)

        return take

    def _raised(self, error: Exception) -> None:
        """A condition raised while the deltas of a source were handed out."""
        self._problem = error
        self.client.scheduler.schedule(self)

    def _taken(self) -> Sequence[Deltas]:
        """Return what the sinks took, and have them take anew."""
        taken = self._pending.copy()
        for index in range(len(taken)):
            self._pending[index] = ()
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
            self.ir = replace(self.ir, limit=limit, offset=offset)
            self._plan = plan(self.ir, self._relations)
            move.settle()
        return move

    def _set_window(self, limit: int | None, offset: int) -> None:
        self.ir = replace(self.ir, limit=limit, offset=offset)
        self._plan = plan(self.ir, self._relations)
        if self._paging is not None:
            self._paging.reach(None if limit is None else offset + limit)
        if self._pipeline is not None:
            self._pipeline.move(limit=limit, offset=offset)
        self._is_move_due = True
        self.client.scheduler.schedule(self)

    def _load_more(self) -> None:
        """Ask an on-demand source for what the window lacks, and say what became of moves."""
        paging = self._paging
        if paging is not None and self._pipeline is not None:
            paging.advance(self._pipeline.prefix)
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
        self._rows.update({key: other.rows[key] for key in other.ordered_keys()})
        self._keys = None if other._keys is None else other._keys.copy()
        self._failure, self._told = other._failure, other._told
        self._shown.keep(other._shown.items())
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
                if self._pipeline is None:
                    self._load(list(self._rows) if is_load_due else ())
                else:
                    self._push(self._pipeline, inputs)
            except Exception as error:  # noqa: BLE001 -- it is the state of this query, and other queries go on
                self._fail(error)
        if self._paging is not None or self._moves:
            self._load_more()

    def _push(self, pipeline: Pipeline, inputs: Sequence[Deltas]) -> None:
        if self._plan.is_ordered:
            # A snapshot that nobody has read yet is of the order that the pipeline keeps.
            self._shown.freeze()
        deltas = pipeline.push(inputs)
        if not deltas and not pipeline.moved:
            return
        if self._keys is None and not pipeline.moved:
            self._show(deltas, (), pipeline.positions_before)
            return
        moved = [(key, row, row) for key in pipeline.moved for row in [self._row(key)]]
        before = pipeline.positions_before
        if self._keys is not None:
            before = {self._keys.published(key): index for key, index in before.items()}
            moved = [(self._keys.published(key), row, row) for key, row, _ in moved]
            deltas, equal = _parted(self._keys.translate(deltas))
            moved += equal
        self._show(deltas, moved, before)

    def _show(self, changed: Deltas, moved: Deltas, before: Mapping[Any, int | None]) -> None:
        """Take over the rows of a batch.

        Args:
            changed: updates are between rows that differ.
            moved: rows that may be elsewhere, as updates between equal rows.
            before: where those were, as far as known.
        """
        if not self._plan.is_ordered:
            moved = ()
        if not changed:
            after = self._positions([key for key, _, _ in moved])
            if all(key in before and before[key] == index for key, index in after.items()):
                return
        self._shown.forget()
        for key, _, new in changed:
            if new is None:
                del self._rows[key]
            else:
                self._rows[key] = new
        if self._changes:
            # What this batch brought made a source deliver more within the batch.
            self._changes = _netted(self._changes, [*changed, *moved], with_moves=True)
        else:
            self._changes += changed
            self._changes += moved
        if changed and self._sinks:
            for sink in list(self._sinks.values()):
                sink(changed)

    def publish(self) -> None:
        """Phase 2: tell everybody, if there is something to tell."""
        self._is_due = False
        changes, self._changes = self._changes, []
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
            positions = self._positions([key for key, _, _ in changes]) if self._plan.is_ordered else {}
            _tell(self._followers, errors, told(changes, positions))
        if self._listeners:
            _tell(self._listeners, errors)
        if errors:
            raise ExceptionGroup(f"subscribers of the {self.id} failed; the data stays applied", errors)

    def _status_changed(self) -> None:
        self._is_status_due = True
        # A result that has run and not yet published will see it when it does.
        if self._is_running and (not self._is_due or self._paging is not None):
            with self.client.batch():
                self.client.scheduler.schedule(self)


def _difference(before: Mapping[Any, Any], after: Mapping[Any, Any]) -> list[Delta]:
    """Return what was and what is as deltas, with updates between equal rows."""
    deltas = [(key, old, after.get(key)) for key, old in before.items()]
    return deltas + [(key, None, row) for key, row in after.items() if key not in before]


def _nobody(_: object) -> None:
    """Keep what is shared of a source, and take nothing."""


def _netted(first: Deltas, second: Deltas, *, with_moves: bool = False) -> list[Delta]:
    """Return two sequences of deltas, one after the other, as one in which every key is once."""
    net = {key: (old, new) for key, old, new in first}
    for key, old, new in second:
        net[key] = (net[key][0] if key in net else old, new)
    return [
        (key, old, new) for key, (old, new) in net.items() if (with_moves and old is not None) or not same(old, new)
    ]


def _parted(deltas: Deltas) -> tuple[list[Delta], list[Delta]]:
    """Part what changed from updates between equal rows."""
    changed: list[Delta] = []
    equal: list[Delta] = []
    for delta in deltas:
        (equal if same(delta[1], delta[2]) else changed).append(delta)
    return changed, equal


def _added(registry: dict[object, F], item: F) -> Callable[[], None]:
    token = object()
    registry[token] = item

    def remove() -> None:
        registry.pop(token, None)

    return remove


def _tell(registry: Mapping[object, Callable[..., object]], errors: list[Exception], *args: object) -> None:
    """Call everybody, but those who are removed meanwhile."""
    for token, callback in list(registry.items()):
        if token in registry:
            try:
                callback(*args)
            except Exception as error:  # noqa: BLE001 -- one subscriber's failure is not another's
                errors.append(error)
