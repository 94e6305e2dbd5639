"""Which subsets of an on-demand source are needed.

Equal demands are one demand: the source is asked to load it once and to unload it once, whatever the number of live
queries. One whose rows are all among those of another is not asked for either, as long as that is there. Demands
outlive a run of the source: one that starts again is asked for all of them anew.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

from .._base.relation import LoadSubset
from .contract import SyncRun
from .subsets import covers

__all__ = ["Demand", "Demands"]


class Demand:
    """One subset, needed by at least one lease."""

    def __init__(self, subset: LoadSubset) -> None:
        self.subset = subset
        self.leases = 0
        self.cover: Demand | None = None
        """A demand that is loaded and has all these rows."""
        self.run: _Status | None = None
        self._is_ready = False
        self._error: Exception | None = None

    @property
    def is_ready(self) -> bool:
        return self._is_ready if self.cover is None else self.cover.is_ready

    @property
    def error(self) -> Exception | None:
        return self._error if self.cover is None else self.cover.error

    def set(self, *, is_ready: bool, error: Exception | None) -> None:
        self._is_ready, self._error = is_ready, error


class _Status:
    """A `SubsetStatus` for one run of the source. Stale ones do nothing."""

    def __init__(self, demand: Demand, changed: Callable[[], None]) -> None:
        self._demand = demand
        self._changed = changed

    def mark_loading(self) -> None:
        self._set(is_ready=False, error=None)

    def mark_ready(self) -> None:
        self._set(is_ready=True, error=None)

    def mark_error(self, error: Exception, /) -> None:
        self._set(is_ready=self._demand.is_ready, error=error)

    def _set(self, *, is_ready: bool, error: Exception | None) -> None:
        demand = self._demand
        if demand.run is not self or (demand.is_ready is is_ready and demand.error is error):
            return
        demand.set(is_ready=is_ready, error=error)
        self._changed()


class Demands:
    """The distinct demands on one collection.

    Args:
        changed: called when a demand's state changed.
        report: gets what `unload_subset` raises.
        by_parameter: the source loads by parameters; it alone knows which demands share rows.
    """

    def __init__(
        self, changed: Callable[[], None], report: Callable[[Exception], object], *, by_parameter: bool = False
    ) -> None:
        self._changed = changed
        self._report = report
        self._by_parameter = by_parameter
        self._buckets: dict[Hashable, list[Demand]] = {}
        self._run: SyncRun | None = None

    def add(self, subset: LoadSubset) -> Demand:
        """Need `subset` once more."""
        bucket = self._buckets.setdefault(_bucket(subset), [])
        demand = next((known for known in bucket if known.subset == subset), None)
        if demand is None:
            demand = Demand(subset)
            demand.cover = self._cover(subset)
            bucket.append(demand)
            if demand.cover is None:
                self._load(demand)
        demand.leases += 1
        return demand

    def remove(self, demand: Demand) -> None:
        """Need it once less."""
        demand.leases -= 1
        if demand.leases:
            return
        name = _bucket(demand.subset)
        self._buckets[name].remove(demand)
        if not self._buckets[name]:
            del self._buckets[name]
        # Whatever had its rows from this demand is asked for before they go.
        for orphan in [other for other in self._all() if other.cover is demand]:
            orphan.set(is_ready=demand.is_ready, error=demand.error)
            orphan.cover = self._cover(orphan.subset, but=orphan)
            if orphan.cover is None:
                self._load(orphan, is_ready=demand.is_ready)
        was_loaded, demand.run = demand.run is not None, None
        if was_loaded and self._run is not None and self._run.unload_subset is not None:
            try:
                self._run.unload_subset(demand.subset)
            except Exception as error:  # noqa: BLE001 -- whoever released the lease cannot help
                self._report(error)

    def start(self, run: SyncRun) -> None:
        """The source runs: ask for everything that is needed."""
        self._run = run
        for demand in self._all():
            if demand.cover is None:
                self._load(demand)

    def stop(self, error: Exception) -> None:
        """The source has stopped."""
        self._run = None
        for demand in self._all():
            demand.run = None
            demand.set(is_ready=False, error=error)

    def _all(self) -> list[Demand]:
        return [demand for bucket in self._buckets.values() for demand in bucket]

    def _cover(self, subset: LoadSubset, but: Demand | None = None) -> Demand | None:
        if self._by_parameter:
            return None
        return next((d for d in self._all() if d.cover is None and d is not but and covers(d.subset, subset)), None)

    def _load(self, demand: Demand, *, is_ready: bool = False) -> None:
        if self._run is None or self._run.load_subset is None:
            return
        demand.set(is_ready=is_ready, error=None)
        demand.run = status = _Status(demand, self._changed)
        try:
            self._run.load_subset(demand.subset, status)
        except Exception as error:  # noqa: BLE001 -- it is the state of this demand
            status.mark_error(error)


def _bucket(subset: LoadSubset) -> Hashable:
    """Equal demands are in one bucket. `where` may not be hashable, so it is only compared."""
    return (
        frozenset((column, frozenset(values)) for column, values in subset.bindings.items()),
        subset.order_by,
        subset.limit,
        subset.offset,
        None if subset.cursor is None else subset.cursor.last_key,
    )
