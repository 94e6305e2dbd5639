"""`query_collection_options`: a collection whose rows are what a function fetches.

Every fetch gives the complete state. Only rows that differ are written, so whoever watches hears of real changes only.
What was written while a fetch was under way is newer than what that fetch brings, and stays.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Generic, TypeAlias

from typing_extensions import TypeVar

from .._base.delta import same
from .._collections.client import CollectionOptions, DbClient
from .._collections.collection import Collection
from .._collections.config import CollectionConfig, DeleteHandler, Handler
from .._errors import CollectionStateError, DuplicateKeyError, SourceError, UsageError
from .._sync.contract import SyncContext
from .._transactions.mutation import Mutation
from .._transactions.transaction import Transaction, require_loop
from .direct import DirectWrites
from .fetching import Fetcher, Flight, Timing, back_off

__all__ = ["QueryCollection", "QueryFn", "query_collection_options"]

T = TypeVar("T", default=dict[str, Any])
K = TypeVar("K", default=Any)

QueryFn: TypeAlias = Callable[[], Awaitable[Iterable[T | Mapping[str, Any]]]]
"""Fetches all rows. Mappings become rows of the schema."""


class QueryCollection(DirectWrites[T, K], Generic[T, K]):
    """Rows that a function fetches, all at once; see `query_collection_options`."""

    def __init__(
        self,
        client: DbClient,
        options: CollectionOptions[Collection[T, K]],
        config: CollectionConfig[T, K],
        query_fn: QueryFn[T],
        timing: Timing,
    ) -> None:
        super().__init__(client, options, config)
        self._query_fn = query_fn
        self._timing = timing
        self._fetcher: Fetcher[Iterable[T | Mapping[str, Any]]] | None = None

    # -- fetching ------------------------------------------------------------------------------------------------------

    @property
    def is_fetching(self) -> bool:
        """Whether a fetch is under way."""
        fetcher = self._here()._fetcher
        return fetcher is not None and fetcher.is_fetching

    @property
    def last_error(self) -> Exception | None:
        """Why the last fetch failed; None after a success. The rows of the last success are still there."""
        fetcher = self._here()._fetcher
        return None if fetcher is None else fetcher.error

    @property
    def error_count(self) -> int:
        """How many fetches have failed since the last success."""
        fetcher = self._here()._fetcher
        return 0 if fetcher is None else fetcher.failures

    async def refetch(self) -> None:
        """Fetch now, and wait until the rows are shown. Joins a fetch that is under way.

        Raises:
            Exception: the very object that ``query_fn`` raised, or a `RowError` for what it returned.
            CollectionStateError: the collection was cleaned up meanwhile.
        """
        here = self._here()
        here._hold()
        try:
            if here._fetcher is None:  # a start without an event loop
                raise SourceError(here.id, here._life.error or RuntimeError("it did not start"))
            error = await here._fetcher.request().outcome()
        finally:
            here._release()
        if error is not None:
            raise error

    async def preload(self) -> None:
        """Like that of other collections, and after a failure another try."""
        here = self._here()
        if here._life.status == "error" and here._fetcher is not None:
            await here._fetcher.request().outcome()
        await super().preload()

    def _sync(self, ctx: SyncContext[T, K], /) -> Callable[[], None]:
        require_loop(f"fetching the rows of collection {self.id!r}")

        def failed(error: Exception, is_awaited: bool) -> None:
            if not self._life.was_ready:
                ctx.mark_error(error)
            elif not is_awaited:
                self.client.report(error)

        self._fetcher = fetcher = Fetcher(
            self._query_fn,
            partial(self._landed, ctx),
            failed,
            lambda work: self.client.spawn(work, f"tanstack-db fetch of {self.id}"),
            lambda: bool(self._subscriptions or self._leases),
            self._timing,
        )
        unlisten = self._listeners["subscribers:change"].add(lambda _: fetcher.use_changed())
        fetcher.request()

        def stop() -> None:
            unlisten()
            self._fetcher = None
            fetcher.stop(CollectionStateError(self.id, "cleaned-up", "it was cleaned up during the fetch"))

        return stop

    def _landed(self, ctx: SyncContext[T, K], flight: Flight, fetched: Iterable[T | Mapping[str, Any]]) -> None:
        rows: dict[K, T] = {}
        for item in fetched:
            row = self._row(item)
            key = self._key(row)
            if key in rows:
                raise DuplicateKeyError(
                    f"query_fn of collection {self.id!r} returned two rows with key {key!r}",
                    collection=self.id,
                    key=key,
                )
            rows[key] = row
        gone = [key for key in self._overlay.synced_keys() if key not in rows and key not in flight.written]
        changed = [row for key, row in rows.items() if key not in flight.written and not same(self._synced(key), row)]
        with self.client.batch():
            self._write_synced(changed, gone)
            for land in flight.landing:
                land()
            ctx.mark_ready()

    # -- what becomes of optimistic writes -----------------------------------------------------------------------------

    async def _persist(self, transaction: Transaction[T], mutations: Sequence[Mutation[T]], /) -> None:
        """Call the handlers, then fetch once for all rows that no handler has returned."""
        handler = self._config.handler(mutations[0].type)
        assert handler is not None, "a query collection's writes need their handlers"
        unknown: list[Mutation[T]] = []
        try:
            for part in [mutations] if self._config.batch_handlers else [[mutation] for mutation in mutations]:
                if transaction.state == "failed":
                    break
                result = await transaction._work.call(handler, part)
                if self._returned(part, result, from_handler=True) is None:
                    unknown += part
                else:
                    await transaction._work.accept(part, result, from_handler=True)
        except Exception:
            # The server has what earlier calls told it.
            if unknown:
                await transaction._work.accept(unknown, None, from_handler=True)
            raise
        if unknown:
            await transaction._work.accept(unknown, None, from_handler=True)

    async def _on_accepted(
        self, mutations: Sequence[Mutation[T]], result: object, /, *, from_handler: bool
    ) -> Callable[[], None] | None:
        rows = self._returned(mutations, result, from_handler=from_handler)
        fetcher = self._fetcher
        if fetcher is None:
            return None
        if rows is None:
            flight = fetcher.request(newer=True)
            # In the batch of the fetched rows, so that a row which got its key from the server is never there twice.
            flight.landing += [partial(self._confirm, mutation) for mutation in mutations]
            if await flight.outcome() is None:
                return None
            # The server has them; what it made of them, the next successful fetch will tell.
            return lambda: self._write_through(mutations)

        def apply() -> None:
            for mutation, row in zip(mutations, rows, strict=True):
                fetcher.written(self._key(row))
                self._confirm(mutation, row)

        return apply

    def _write_directly(self, staged: Mapping[K, T | None]) -> None:
        if self._fetcher is not None:
            for key in staged:
                self._fetcher.written(key)
        super()._write_directly(staged)


class _Query(CollectionOptions[QueryCollection[T, K]], Generic[T, K]):
    def __init__(self, config: CollectionConfig[T, K], query_fn: QueryFn[T], timing: Timing) -> None:
        self._config = config
        self._query_fn = query_fn
        self._timing = timing

    @property
    def id(self) -> str:
        return self._config.id

    def build(self, client: DbClient, /) -> QueryCollection[T, K]:
        return QueryCollection(client, self, self._config, self._query_fn, self._timing)


def query_collection_options(
    *,
    id: str,  # noqa: A002 -- the option's name
    get_key: Callable[[T], K],
    query_fn: QueryFn[T],
    schema: type[T] | None = None,
    refetch_interval: float | None = None,
    stale_time: float = 5.0,
    retry_delay: Callable[[int], float] = back_off,
    on_insert: Handler[T] | None = None,
    on_update: Handler[T] | None = None,
    on_delete: DeleteHandler[T] | None = None,
    gc_time: float = 300.0,
    start_sync: bool = False,
    batch_handlers: bool = False,
    compare: Callable[[T, T], int] | None = None,
) -> CollectionOptions[QueryCollection[T, K]]:
    """Describe a collection whose rows a function fetches.

    The first fetch makes the collection ready. If it fails, the collection has an error until a later try succeeds. A
    later failure leaves the rows as they are; it shows in `QueryCollection.last_error`. Failed fetches are repeated.
    While nobody subscribes and no live query reads it, nothing is fetched.

    Args:
        id: names the collection in errors.
        get_key: gives a row's key.
        query_fn: a coroutine function that returns all rows: instances of `schema`, or mappings to be made such.
        schema: the row class, or None for plain dicts.
        refetch_interval: seconds from the end of one fetch to the next; None: no repeating.
        stale_time: seconds for which the rows count as fresh when they are used again after a pause. Older rows are
            shown at once, and fetched anew.
        retry_delay: the number of failures in a row to the seconds until the next try. By default 1, 2, 4 up to 30,
            less a random quarter.
        on_insert, on_update: tell the server. What they return replaces the optimistic row. After None the rows are
            fetched, and the optimistic row stays until they are there. Return the row where the server gives the key,
            if it may be edited meanwhile.
        on_delete: likewise; the rows are always fetched afterwards.
        gc_time: seconds after which an unused collection forgets its rows; 0, less or infinite: never.
        start_sync: fetch as soon as the collection is made; needs a running event loop.
        batch_handlers: call a handler once with all rows of a write, instead of once per row.
        compare: order of `Collection.to_list`.

    Raises:
        UsageError: an option that cannot be right.
    """
    for name, seconds in (("refetch_interval", refetch_interval), ("stale_time", stale_time)):
        if seconds is not None and not seconds >= 0:
            raise UsageError(f"collection {id!r}: {name} is in seconds and not negative, not {seconds!r}")
    if refetch_interval == 0:
        raise UsageError(f"collection {id!r}: refetch_interval=0 would never stop fetching; None is for no repeating")
    for name, function in (("query_fn", query_fn), ("retry_delay", retry_delay)):
        if not callable(function):
            raise UsageError(f"collection {id!r}: {name} must be a function, not {function!r}")
    config = CollectionConfig(
        id=id,
        get_key=get_key,
        schema=schema,
        on_insert=on_insert,
        on_update=on_update,
        on_delete=on_delete,
        gc_time=gc_time,
        start_sync=start_sync,
        batch_handlers=batch_handlers,
        compare=compare,
    )
    return _Query(config, query_fn, Timing(refetch_interval, stale_time, retry_delay))
