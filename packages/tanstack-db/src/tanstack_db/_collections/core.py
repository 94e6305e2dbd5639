"""What every collection is made of: the overlay, the source that fills it, and the hooks for collection types.

For authors of collection types. Subclass `Collection`, and `CollectionOptions` for the recipe. These methods are meant
to be overridden; each default does what a plain collection does:

==========================  ============================================================================================
`_sync`                     feeds the collection: the source
`_on_persisting`            a transaction begins to tell the server about these rows
`_on_calling`               a handler or ``server_fn`` is called for these rows now
`_persist`                  calls the handlers
`_on_accepted`              the server has the rows: gives back what is to be shown in place of the optimistic ones
`_on_rejected`              they were taken back
`_needs_server`             whether a kind of mutation has to be told to a server at all
==========================  ============================================================================================

and these are the primitives to build with, all of them safe inside and outside a batch:

==========================  ============================================================================================
`_write_synced`             put rows into and remove keys from the synced layer
`_write_keyed`              the same by key, for rows that have been checked
`_confirm`                  put the server's row in and drop the optimistic row of one mutation, in one batch; an
                            inserted row that got another key is one row at every moment
==========================  ============================================================================================

Method names with one leading underscore that are not in these tables belong to the package.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from inspect import isawaitable
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, cast

from typing_extensions import TypeVar

from .. import rows as _rows
from .._base.delta import DeltaSink
from .._base.lease import StateLease
from .._base.relation import Lease, LoadSubset, Relation
from .._errors import CollectionStateError, SchemaError, SyncContractError
from .._sync.contract import Cleanup, SyncContext, SyncRun
from .._sync.demand import Demand, Demands
from .._sync.lifecycle import Lifecycle, Status
from .._transactions.mutation import Mutation, MutationType
from .._transactions.overlay import Layer, Overlay
from .._transactions.transaction import current_transaction
from .subscription import ChangeSubscription, Feeds, Listeners

if TYPE_CHECKING:
    from .._transactions.transaction import Transaction
    from .client import CollectionOptions, DbClient
    from .collection import Collection
    from .config import CollectionConfig

__all__ = ["CollectionCore", "CollectionEvent", "EventName"]

T = TypeVar("T", default=dict[str, Any])
K = TypeVar("K", default=Any)

EventName: TypeAlias = Literal["status:change", "subscribers:change"]


@dataclass(frozen=True, slots=True)
class CollectionEvent:
    """Something rare happened to a collection.

    Attributes:
        type: ``"status:change"`` or ``"subscribers:change"``.
        status: the status now.
        error: why the status is ``"error"``.
        subscribers: how many subscriptions and live queries there are now.
    """

    type: EventName
    status: Status
    error: Exception | None
    subscribers: int


class CollectionCore(Relation, Generic[T, K]):
    """A collection without its public reads and writes; see `Collection`, the only subclass.

    Args:
        client: whose instance this is.
        options: the recipe that it was built from.
        config: the common options.
    """

    def __init__(self, client: DbClient, options: CollectionOptions[Any], config: CollectionConfig[T, K]) -> None:
        self.client = client
        self.options = options
        self.id = config.id
        self.schema = config.schema
        self.columns = _rows.columns(config.schema)
        self.partition = config.partition
        self.loads_subsets = config.sync_mode == "on-demand" and config.partition is None
        self.row_update_mode = config.row_update_mode
        self.shared: dict[Hashable, Any] = {}
        self._config = config
        self._block = client.batch()
        self._overlay = Overlay[T, K](self._began)
        self._rows_now: Mapping[K, T] = MappingProxyType(self._overlay.rows)
        self._feeds = Feeds[T, K](self._overlay)
        self._subscriptions: dict[ChangeSubscription[T, K], None] = {}
        self._leases: dict[StateLease, None] = {}
        self._listeners: dict[EventName, Listeners[[CollectionEvent]]] = {
            "status:change": Listeners(),
            "subscribers:change": Listeners(),
        }
        self._events: list[CollectionEvent] = []
        self._is_status_due = False
        self._life = Lifecycle(config.id, config.gc_time, self._expire, lambda: self._emit("status:change"))
        self._demands = Demands(self._schedule, client.report, by_parameter=config.partition is not None)
        self._context: SyncContext[T, K] | None = None
        self._run: SyncRun | None = None
        self._stopped: CollectionStateError | None = None

    # -- the relation that queries read --------------------------------------------------------------------------------

    @property
    def rows(self) -> Mapping[K, T]:
        """The visible rows of this very instance, a live view. Not to be changed."""
        return self._rows_now

    def attach(self, sink: DeltaSink) -> Callable[[], None]:
        """Hand every batch's net deltas to `sink`; see `Relation.attach`."""
        return self._feeds.attach(sink)

    def acquire(self, subset: LoadSubset, on_status: Callable[[], None]) -> Lease:
        """Keep the collection synced and `subset` loaded; see `Relation.acquire`."""
        self._hold()
        demand = self._demands.add(subset) if self._config.sync_mode == "on-demand" else None
        lease = StateLease(
            lambda: self._lease_state(demand), lambda lease: self._release_lease(lease, demand), on_status
        )
        self._leases[lease] = None
        self._emit("subscribers:change")
        return lease

    def run(self) -> None:
        """Phase 1: hand out the net deltas of the batch."""
        self._feeds.hand_out()

    def publish(self) -> None:
        """Phase 2: tell leases, subscribers and listeners."""
        if not self._is_status_due and not self._subscriptions:
            return
        errors: list[Exception] = []
        deliveries = [subscription.deliver for subscription in self._subscriptions]
        if self._is_status_due:
            # Leases first: a live query learns that it is ready before it publishes the rows of the same batch.
            self._is_status_due = False
            deliveries = [lease.tell for lease in self._leases] + deliveries
        for deliver in deliveries:
            try:
                deliver()
            except Exception as error:  # noqa: BLE001 -- one subscriber's failure is not another's
                errors.append(error)
        if self._events:
            events, self._events = self._events, []
            for event in events:
                errors += self._listeners[event.type].emit(event)
        if errors:
            raise ExceptionGroup(f"subscribers of collection {self.id!r} failed; the data stays applied", errors)

    # -- to be overridden by collection types --------------------------------------------------------------------------

    def _sync(self, ctx: SyncContext[T, K], /) -> Cleanup | SyncRun | None:
        """Feed the collection; the source contract is in the docstring of `SyncContext`'s module.

        Called on every start, with this client active.
        """
        if self._config.sync is None:
            raise SyncContractError(self.id, "there is none; pass sync=")
        return self._config.sync(ctx)

    def _needs_server(self, kind: MutationType, /) -> bool:
        """Whether mutations of this kind need a handler and an event loop. If not, they are synced as they are made."""
        return True

    def _on_persisting(self, mutations: Sequence[Mutation[T]], /) -> None:
        """A transaction begins to tell the server. Its mutations of this collection, whichever way it tells: handlers
        or a ``server_fn``. Must not raise.
        """

    def _on_calling(self, mutations: Sequence[Mutation[T]], /) -> None:
        """A handler or ``server_fn`` is called for these mutations now: from here on the server may have them. Others
        of the transaction may still wait for their turn. Must not raise.
        """

    async def _persist(self, transaction: Transaction[T], mutations: Sequence[Mutation[T]], /) -> None:
        """Tell the server by the handlers: one call per mutation, in order, or one for all with ``batch_handlers``.

        After each call the mutations of that call are settled, through `_on_accepted`. What this raises fails the
        transaction; mutations settled before stay.
        """
        handler = self._config.handler(mutations[0].type)
        parts = [list(mutations)] if self._config.batch_handlers else [[mutation] for mutation in mutations]
        for part in parts:
            if transaction.state == "failed":
                return
            result = None if handler is None else await transaction._work.call(handler, part)
            await transaction._work.accept(part, result, from_handler=True)

    async def _on_accepted(
        self, mutations: Sequence[Mutation[T]], result: object, /, *, from_handler: bool
    ) -> Callable[[], None] | None:
        """The server has taken `mutations`; they are still shown. Called even if the transaction was rolled back
        meanwhile, since the server has them.

        Args:
            mutations: for a handler those that it was called for; for a ``server_fn`` all of this collection.
            result: what the handler or ``server_fn`` returned.
            from_handler: False for a ``server_fn``, whose result may have nothing to do with this collection.

        Returns:
            A function that writes what is to be shown instead, or None. It is called in the batch that drops the
            optimistic rows, together with those of the transaction's other collections. It should call `_confirm` for
            every mutation whose row it knows, and may call `_write_synced`.

        Raises:
            Exception: fails the transaction and takes its rows back. For a failure that must not do that, such as a
                publish that does not get through, catch it and use ``client.report``.
        """
        rows = self._returned(mutations, result, from_handler=from_handler)
        if rows is None:
            return None

        def apply() -> None:
            for mutation, row in zip(mutations, rows, strict=True):
                self._confirm(mutation, row)

        return apply

    def _on_rejected(self, mutations: Sequence[Mutation[T]], error: Exception, /) -> None:
        """The transaction failed or was rolled back. Mutations with ``is_confirmed`` had reached the server before.
        Must not raise.
        """

    # -- primitives for collection types -------------------------------------------------------------------------------

    def _write_synced(self, puts: Iterable[T] = (), deletes: Iterable[K] = ()) -> None:
        """Put rows into the synced layer and remove keys from it, in one batch."""
        writes: dict[K, T | None] = dict.fromkeys(deletes)
        for row in puts:
            writes[self._key(row)] = row
        self._write_keyed(writes)

    def _write_keyed(self, writes: Mapping[K, T | None], /) -> None:
        """Do what `_write_synced` does for rows whose keys are known and have been checked; None removes a key."""
        with self._block:
            self._overlay.write_all(writes)

    def _confirm(self, mutation: Mutation[T], row: T | None = None) -> None:
        """Drop what `mutation` shows and put the server's `row` into the synced layer, in one batch.

        When the server gave an inserted row another key, what later transactions show on the temporary key moves to the
        server's, and their mutations get that key. So there is one row at every moment. May be called as soon as the
        server's row is known, for example when its own echo arrives before the handler returns; a second call only
        writes the row.
        """
        old = mutation.key
        new = old if row is None else self._key(row)
        with self._block:
            if row is not None:
                self._overlay.write(new, row)
            layer = mutation._layer
            self._drop(mutation, rebase=False)
            if row is None or layer is None or mutation.type != "insert" or new == old:
                return
            for moved in self._overlay.move(old, new, above=layer.order):
                later = cast("Mutation[T]", moved.owner)
                later.key, later.original = new, row
                later.modified = row if moved.row is None else moved.row
                later._owner.moved(later, old)

    def _synced(self, key: K) -> T | None:
        """The synced row, whether it is visible or not."""
        return self._overlay.synced(key)

    # -- of the package ------------------------------------------------------------------------------------------------

    def _built(self) -> None:
        if self._config.start_sync:
            # Like the last consumer's leaving: what nobody ever uses does not run for ever.
            self._hold()
            self._release()

    def _key(self, row: T) -> K:
        try:
            key = self._config.get_key(row)
            hash(key)
        except Exception as error:
            raise SchemaError(
                f"get_key of collection {self.id!r} gives no key for {row!r}: {error!r}", collection=self.id
            ) from error
        if key is None:
            raise SchemaError(f"get_key of collection {self.id!r} gives None for {row!r}", collection=self.id)
        return key

    def _returned(self, mutations: Sequence[Mutation[T]], result: object, *, from_handler: bool) -> list[T] | None:
        """The server's rows, one per mutation, or None where the server did not say."""
        if result is None or mutations[0].type == "delete":
            return None
        if not from_handler:
            # Without a row class any mapping could be meant, so only an instance of one is taken for a row.
            known = self.schema is not None and not isinstance(result, Mapping) and _rows.is_row(result, self.schema)
            return [cast("T", result)] if known and len(mutations) == 1 else None
        results = cast("Sequence[object]", result) if isinstance(result, list | tuple) else [result]
        if len(results) != len(mutations):
            raise SchemaError(
                f"the handler of collection {self.id!r} returned {len(results)} rows for {len(mutations)} mutations; "
                "return one row for each, or None",
                collection=self.id,
            )
        return [
            cast("T", _rows.completed(mutation.modified, item, self.schema))
            for mutation, item in zip(mutations, results, strict=True)
        ]

    def _write_through(self, mutations: Sequence[Mutation[T]]) -> None:
        """Sync the mutations as they were made: there is no server that could say otherwise."""
        with self._block:
            for mutation in mutations:
                if mutation.type == "delete":
                    self._overlay.write(mutation.key, None)
                    self._confirm(mutation)
                else:
                    self._confirm(mutation, mutation.modified)

    def _layers(self, key: K) -> Sequence[Layer[T]]:
        return self._overlay.layers(key)

    def _show_layer(self, mutation: Mutation[T], *, is_new: bool) -> None:
        """Show what a mutation shows. To be called inside a batch."""
        assert mutation._layer is not None
        if is_new:
            self._overlay.push(mutation.key, mutation._layer)
        else:
            self._overlay.refresh(mutation.key)

    def _drop(self, mutation: Mutation[T], *, rebase: bool) -> None:
        """Show a mutation no longer. To be called inside a batch."""
        layer, mutation._layer = mutation._layer, None
        if not rebase:
            mutation.is_confirmed = True
        if layer is not None:
            self._overlay.drop(mutation.key, layer, rebase=rebase)
        withheld, mutation._withheld = mutation._withheld, ()
        for key, cover in withheld:
            self._overlay.drop(key, cover, rebase=False)

    def _apply(self, writes: Mapping[K, T | None], *, is_all: bool) -> None:
        """Take over a sync transaction: rows by key, None for a delete. With `is_all` there are no other rows."""
        scheduler = self.client.scheduler
        scheduler.depth += 1
        try:
            if is_all:
                for key in list(self._overlay.synced_keys()):
                    if key not in writes:
                        self._overlay.write(key, None)
            elif (running := current_transaction()) is not None:
                self._withhold(writes, running.mutations)
            self._overlay.write_all(writes)
        finally:
            scheduler.leave()

    def _withhold(self, writes: Mapping[K, T | None], mutations: Sequence[Mutation[Any]]) -> None:
        """Keep new rows hidden that the handler of an insert writes itself.

        One of them is the inserted row under the server's key: it is shown in the moment in which the row under the
        temporary key goes.
        """
        for mutation in mutations:
            if mutation.collection is self and mutation.type == "insert" and (shown := mutation._layer) is not None:
                break
        else:
            return
        for key, row in writes.items():
            if row is not None and not self._overlay.is_overlaid(key) and self._overlay.synced(key) is None:
                cover = Layer[T](shown.order, None, None, mutation)
                self._overlay.push(key, cover)
                mutation._withheld = (*mutation._withheld, (key, cover))

    def _began(self) -> None:
        self.client.scheduler.schedule(self)

    def _schedule(self) -> None:
        """Something else than a row changed; most batches change only rows, and must not ask every lease."""
        self._is_status_due = True
        with self._block:
            self.client.scheduler.schedule(self)

    def _emit(self, name: EventName) -> None:
        subscribers = len(self._subscriptions) + len(self._leases)
        self._events.append(CollectionEvent(name, self._life.status, self._life.error, subscribers))
        self._schedule()

    def _hold(self) -> None:
        self._life.hold()
        self._start()

    def _release(self) -> None:
        self._life.release()

    def _lease_state(self, demand: Demand | None) -> tuple[bool, Exception | None]:
        if demand is not None:
            return demand.is_ready, self._life.error or demand.error
        if self._life.status == "cleaned-up":
            return False, self._stopped
        return self._life.was_ready, self._life.error

    def _release_lease(self, lease: StateLease, demand: Demand | None) -> None:
        del self._leases[lease]
        if demand is not None:
            self._demands.remove(demand)
        self._release()
        self._emit("subscribers:change")

    def _start(self) -> None:
        if self._life.is_running:
            return
        self._context = context = SyncContext(cast("Collection[T, K]", self))
        self._life.go("loading")
        try:
            with self.client.activate():
                made = self._sync(context)
            run = made if isinstance(made, SyncRun) else SyncRun(cleanup=made)
            self._run = run
            if self._config.sync_mode == "on-demand" and run.load_subset is None:
                raise SyncContractError(self.id, 'sync_mode="on-demand" needs a SyncRun with load_subset')
        except Exception as error:  # noqa: BLE001 -- it is the collection's state, and reaches preload and leases
            context._stop()
            self._life.go("error", error)
            return
        self._demands.start(run)

    def _mark_ready(self) -> None:
        if self._life.status != "ready":
            self._life.go("ready")

    def _mark_error(self, error: Exception) -> None:
        self._life.go("error", error)

    def _expire(self) -> None:
        cleaning = self._stop()
        if cleaning is not None:
            self.client.start(_awaited(cleaning), f"tanstack-db clean-up of {self.id}")

    async def _cleanup(self) -> None:
        open_work = self.client.transactions_on(self)
        for work in open_work:
            work.discard(f"collection {self.id!r} was cleaned up")
        for work in open_work:
            await work.ended()
        cleaning = self._stop()
        if cleaning is not None:
            await cleaning

    def _stop(self) -> Awaitable[object] | None:
        """Stop the source and forget the rows. Returns what is left to await."""
        self._life.stop_timer()
        if not self._life.is_running:
            return None
        run, self._run = self._run, None
        context, self._context = self._context, None
        if context is not None:
            context._stop()
        with self._block:
            for key in list(self._overlay.synced_keys()):
                self._overlay.write(key, None)
            self._life.go("cleaned-up")
            self._stopped = CollectionStateError(self.id, "cleaned-up", "it was cleaned up; subscribe again")
            self._demands.stop(self._stopped)
        if run is None or run.cleanup is None:
            return None
        try:
            outcome = run.cleanup()
        except Exception as error:  # noqa: BLE001 -- the collection is cleaned up nevertheless
            self.client.report(error)
            return None
        return outcome if isawaitable(outcome) else None


async def _awaited(outcome: Awaitable[object]) -> None:
    await outcome
