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
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from typing_extensions import TypeVar

from ._changes import ResultKeys, told
from ._delta import Delta, Deltas, DeltaSink
from ._errors import DbError, SourceError
from ._pipeline import Pipeline
from ._plan import plan
from ._relation import Lease, LoadSubset, Relation
from ._snapshot import Shown
from ._subscription import Change

if TYPE_CHECKING:
    from ._client import DbClient
    from .query._ir import QueryIR

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

    Raises:
        OpenParameterError: a source that loads by parameters is not told all of them.
    """

    def __init__(self, ir: QueryIR, client: DbClient) -> None:
        self.ir = ir
        self.client = client
        self.id = f"query on {', '.join(source.name for source in ir.sources)}"
        self._relations = tuple(source.source._open(client) for source in ir.sources)
        self._plan = plan(ir, self._relations)
        self.rank = 1 + max(relation.rank for relation in self._relations)
        if len(self._relations) == 1 and ir.projection is None:
            self.columns, self.schema = self._relations[0].columns, self._relations[0].schema
        self.shared: dict[Hashable, Any] = {}
        self._rows: dict[Any, Any] = {}
        self._view: Mapping[Any, Any] = MappingProxyType(self._rows)
        self._keys: ResultKeys | None = None
        self._pipeline: Pipeline | None = None
        self._failure: Exception | None = None
        self._pending: list[list[Delta]] = [[] for _ in self._relations]
        self._leases: list[Lease] = []
        self._detach: list[Callable[[], None]] = []
        self._sinks: dict[object, DeltaSink] = {}
        self._lent: dict[_ResultLease, None] = {}
        self._listeners: dict[object, Listener] = {}
        self._followers: dict[object, Follower] = {}
        self._changes: list[Delta] = []
        self._is_due = False
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

    def _row(self, key: Any) -> Any:
        return self._rows[key if self._keys is None else self._keys.published(key)]

    def _positions(self, keys: Iterable[Any]) -> dict[Any, int | None]:
        if self._pipeline is None:
            return {}
        if self._keys is None:
            return self._pipeline.positions(list(keys))
        found = self._pipeline.positions([self._keys.joined(key) for key in keys])
        return {self._keys.published(key): index for key, index in found.items()}

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
            self._is_running = self._is_status_due = True
            for relation, part in zip(self._relations, self._plan.sources, strict=True):
                self._leases.append(relation.acquire(part.subset, self._status_changed))
            try:
                self._load()
            except Exception as error:  # noqa: BLE001 -- it is the state of this query
                self._fail(error)
            self._changes.clear()
        self._told = self.is_ready, self.error

    def _stop(self) -> None:
        self._stop_timer()
        self._shown.forget()
        self._is_running, self._is_status_due = False, True
        self._unload()
        leases, self._leases = self._leases, []
        with self.client.batch():
            for lease in leases:
                lease.release()
        self._failure = None
        self._rows.clear()
        self._changes.clear()

    def _load(self) -> None:
        """Build the pipeline from the sources' present rows, and show what it gives."""
        self._unload()
        pipeline = Pipeline(self.ir, self._plan, self._relations)
        try:
            for index in range(len(self._relations)):
                self._detach.append(pipeline.attach(index, self._sink(index)))
            loaded = pipeline.load()
        except Exception:
            self._unload()
            raise
        self._pipeline, self._failure, self._is_status_due = pipeline, None, True
        self._keys = ResultKeys() if self._plan.has_outer_rows else None
        rows = {key: row for key, _, row in loaded}
        deltas = [(key, old, rows.get(key)) for key, old in self._rows.items()]
        deltas += [(key, None, row) for key, row in rows.items() if key not in self._rows]
        # Where a row is that was there before is not known, so it comes as one that may have moved.
        self._show(*_parted(deltas), before={})

    def _unload(self) -> None:
        self._pipeline = None
        detach, self._detach = self._detach, []
        for stop in detach:
            stop()
        for pending in self._pending:
            pending.clear()

    def _fail(self, error: Exception) -> None:
        """A function of the application raised: keep the rows, and wait for the next change of any source."""
        self._shown.items()  # in their order, which only the pipeline knows
        self._unload()
        self._failure, self._is_status_due = error, True
        self._detach = [relation.attach(self._sink(index)) for index, relation in enumerate(self._relations)]

    def _sink(self, index: int) -> DeltaSink:
        pending = self._pending[index]

        def take(deltas: Deltas) -> None:
            pending.extend(deltas)
            self.client.scheduler.schedule(self)

        return take

    # -- batches -------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Phase 1: bring the rows up to date and hand out how they changed."""
        self._is_due = True
        if not any(self._pending):
            return
        inputs = [tuple(pending) for pending in self._pending]
        for pending in self._pending:
            pending.clear()
        try:
            if self._pipeline is None:
                self._load()
            else:
                self._push(self._pipeline, inputs)
        except Exception as error:  # noqa: BLE001 -- it is the state of this query, and other queries go on
            self._fail(error)

    def _push(self, pipeline: Pipeline, inputs: Sequence[Deltas]) -> None:
        deltas = pipeline.push(inputs)
        if not deltas and not pipeline.moved:
            return
        moved = [(key, row, row) for key in pipeline.moved for row in [self._row(key)]]
        before = pipeline.positions_before
        if self._keys is not None:
            before = {self._keys.published(key): index for key, index in before.items()}
            moved = [(self._keys.published(key), row, row) for key, row, _ in moved]
            deltas, same = _parted(self._keys.translate(deltas))
            moved += same
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
        if self._is_running and not self._is_due:
            with self.client.batch():
                self.client.scheduler.schedule(self)


def _parted(deltas: Deltas) -> tuple[list[Delta], list[Delta]]:
    """Part what changed from updates between equal rows."""
    changed: list[Delta] = []
    same: list[Delta] = []
    for delta in deltas:
        (same if delta[1] is delta[2] or delta[1] == delta[2] else changed).append(delta)
    return changed, same


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
