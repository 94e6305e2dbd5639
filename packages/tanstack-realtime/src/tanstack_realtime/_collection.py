"""`RealtimeCollection`: rows loaded by a server function, kept live by a channel, loaded and live per scope.

How the parts of this layer fit together::

    live queries ──demands──> RealtimeCollection ──retain/release──> Feed ── ScopeMachine   when to subscribe and fetch
                                    │                                  └──── Replica        what the rows are
                                    └──mutations──> Settlements ── Outcome ──> Outbox ──> the others
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from inspect import isawaitable, signature
from itertools import product
from typing import Any, Generic, TypeAlias, cast

from typing_extensions import ParamSpec, TypeVar

from tanstack_db import (
    Collection,
    CollectionConfig,
    CollectionOptions,
    DbClient,
    LiveSource,
    LoadSubset,
    Mutation,
    Rows,
    SubsetStatus,
    SyncContext,
    SyncRun,
)

from ._codec import SchemaCodec
from ._echo import EchoRegister
from ._envelope import RowMessage
from ._errors import ConfigurationError
from ._feed import Feed, FeedStatistics
from ._keys import parse_channel
from ._outcome import Outcome
from ._parameters import Parameters
from ._publisher import ClientWatch, Publisher
from ._replica import Replica, Write
from ._scope import ScopeMachine
from ._scopes import ScopeListener, ScopeStatus
from ._settlement import Settlements
from ._slot import ClientSlot, client_slot

__all__ = ["CollectionScope", "QueryFn", "RealtimeCollection", "RealtimeSpec"]

T = TypeVar("T", default=dict[str, Any])
K = TypeVar("K", default=Any)
P = ParamSpec("P", default=...)

QueryFn: TypeAlias = Callable[..., object]


@dataclass(frozen=True, kw_only=True, eq=False)
class RealtimeSpec(Generic[T]):
    """What makes a collection realtime; see `realtime_collection_options`."""

    parameters: Parameters
    codec: SchemaCodec[T]
    query_fn: QueryFn
    linger: float
    refetch_spread: float
    always_refetch: bool


class CollectionScope(LiveSource[Rows[T]], Generic[T]):
    """One scope of a collection as a source for queries: the rows of one set of parameters."""

    def __init__(self, collection: RealtimeCollection[T, Any, Any], demand: Mapping[str, tuple[Hashable, ...]]) -> None:
        self._collection = collection
        self._bindings = demand

    @property
    def id(self) -> str:
        """The collection's id: what the source is called in a query."""
        return self._collection.id

    @property
    def columns(self) -> frozenset[str] | None:
        """The collection's columns, so that a query tells a misspelt one."""
        return self._collection.columns

    @property
    def schema(self) -> type[T] | None:
        """The collection's row class."""
        return self._collection.schema

    def __eq__(self, other: object) -> bool:
        """The same scope is the same source, so a query that is built again is the same query."""
        return isinstance(other, CollectionScope) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> Hashable:
        return id(self._collection), frozenset(self._bindings.items())

    def _open(self, db: DbClient) -> RealtimeCollection[T, Any, Any]:
        return db.collection(self._collection)

    def _demand(self) -> Mapping[str, tuple[Hashable, ...]]:
        return self._bindings


class _Subset:
    """One demand of live queries: the scopes that it needs, told to the collection as one status."""

    def __init__(self, feed: Feed[Any, Any], channels: Sequence[str], status: SubsetStatus) -> None:
        self.channels = channels
        self._feed = feed
        self._status = status

    def scope_changed(self) -> None:
        states = [state for channel in self.channels if (state := self._feed.status(channel)) is not None]
        error = next((state.error for state in states if state.error is not None), None)
        if error is not None:
            self._status.mark_error(error)
        elif all(state.loaded for state in states):
            self._status.mark_ready()
        else:
            self._status.mark_loading()


class RealtimeCollection(Collection[T, K], Generic[T, K, P]):
    """Made by `create_collection(realtime_collection_options(...))`.

    What a live query binds by equality are the parameters: each distinct channel is one scope with one subscription and
    one call of ``query_fn``, shared by all queries that need it and released a little after the last one.
    """

    def __init__(
        self,
        client: DbClient,
        options: CollectionOptions[Collection[T, K]],
        config: CollectionConfig[T, K],
        spec: RealtimeSpec[T],
    ) -> None:
        super().__init__(client, options, config)
        self._spec = spec
        self._slot = client_slot(client)
        self._subsets: dict[int, tuple[LoadSubset, _Subset]] = {}
        self._feed: Feed[T, K] | None = None
        self._settlements: Settlements[T, K] | None = None

    # -- for applications --------------------------------------------------------------------------------------------

    def scope(self, *args: P.args, **params: P.kwargs) -> CollectionScope[T]:
        """Return one scope as a source for queries, where a ``where`` cannot say the parameters.

        Example:
            >>> live_query(lambda q: q.from_(comments.scope(project_id="7")).order_by("created_at"))
        """
        bound = self._bind(args, params)
        columns = self._spec.parameters.columns
        return CollectionScope(self, {columns[name]: (value,) for name, value in bound.items()})

    def scope_status(self, *args: P.args, **params: P.kwargs) -> ScopeStatus | None:
        """Return how one scope is doing, or None when no query needs it."""
        here = self._here()
        channel = here._spec.parameters.channel(here._bind(args, params))
        return None if here._feed is None else here._feed.status(channel)

    @property
    def scopes(self) -> Sequence[ScopeStatus]:
        """How every scope is doing that a query needs."""
        feed = self._here()._feed
        return [] if feed is None else [state for name in feed.channels if (state := feed.status(name)) is not None]

    def refetch(self) -> None:
        """Call ``query_fn`` again for every scope; what changed is shown."""
        feed = self._here()._feed
        if feed is not None:
            feed.refetch()

    def statistics(self) -> FeedStatistics:
        """Return counters since the collection started."""
        feed = self._here()._feed
        return FeedStatistics() if feed is None else feed.statistics

    @property
    def declared_channel(self) -> tuple[str, frozenset[str]] | None:
        """Namespace and parameter names of its channels, for ``Realtime(channels=[...])``."""
        return self._spec.parameters.declared()

    def _bind(self, args: tuple[Any, ...], params: Mapping[str, Any]) -> dict[str, Any]:
        names = list(self._spec.parameters.columns)
        try:
            bound = dict(signature(self._spec.query_fn).bind(*args, **params).arguments)
        except TypeError as error:
            raise ConfigurationError(f"collection {self.id!r}: scope takes ({', '.join(names)}): {error}") from error
        extra = bound.keys() - set(names)
        if extra:
            raise ConfigurationError(
                f"collection {self.id!r}: {', '.join(sorted(extra))} is no parameter of a scope, since query_fn has a "
                f"default for it; a scope takes ({', '.join(names)})"
            )
        return bound

    # -- the source --------------------------------------------------------------------------------------------------

    def _sync(self, ctx: SyncContext[T, K], /) -> SyncRun:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise ConfigurationError(
                f"collection {self.id!r} loads in the background and no event loop runs: use its live queries inside "
                "async code"
            ) from None
        echoes = EchoRegister[tuple[str, RowMessage]](origin=lambda: _origin(self._slot), time=loop.time)
        host = _Host(self, self._spec, self._slot)
        self._feed = feed = Feed(
            host=host, replica=Replica(self._spec.codec), echoes=echoes, make_machine=self._machine
        )
        self._settlements = Settlements(id=self.id, codec=self._spec.codec, feed=feed, echoes=echoes, host=host)
        watch = ClientWatch(self._slot, client_changed=self._client_changed, user_changed=self._user_changed)
        ctx.mark_ready()

        def cleanup() -> Awaitable[None]:
            watch.close()
            self._feed = self._settlements = None
            self._subsets.clear()
            return feed.aclose()

        return SyncRun(cleanup=cleanup, load_subset=self._load, unload_subset=self._unload)

    def _machine(self) -> ScopeMachine:
        spec = self._spec
        return ScopeMachine(
            linger=spec.linger,
            spread=spec.refetch_spread,
            always_refetch=spec.always_refetch,
            random=random.random,
        )

    def _load(self, subset: LoadSubset, status: SubsetStatus) -> None:
        assert self._feed is not None, "the source runs"
        columns = self._spec.parameters.columns
        choices = [subset.bindings[column] for column in columns.values()]
        scopes: dict[str, dict[str, Any]] = {}
        for values in product(*choices):
            params = dict(zip(columns, values, strict=True))
            self._spec.parameters.check(params)
            scopes.setdefault(self._spec.parameters.channel(params), params)
        watcher = _Subset(self._feed, list(scopes), status)
        self._subsets[id(subset)] = (subset, watcher)
        for channel, params in scopes.items():
            self._feed.retain(channel, params, watcher)
        watcher.scope_changed()

    def _unload(self, subset: LoadSubset) -> None:
        known = self._subsets.pop(id(subset), None)
        if known is not None and self._feed is not None:
            for channel in known[1].channels:
                self._feed.release(channel, known[1])

    def _client_changed(self, *, attached: bool) -> None:
        if self._feed is not None:
            self._feed.client_changed(attached=attached)

    def _user_changed(self) -> None:
        if self._settlements is not None:
            self._settlements.clear()
        if self._feed is not None:
            self._feed.restart()

    # -- mutations ---------------------------------------------------------------------------------------------------

    def _key(self, row: T) -> K:
        key = super()._key(row)
        # A row that belongs to no channel could be neither kept live nor published: refuse it before it is shown.
        self._spec.codec.scope(row)
        return key

    def _on_persisting(self, mutations: Sequence[Mutation[T]], /) -> None:
        if self._settlements is not None:
            self._settlements.begin(mutations)

    def _on_calling(self, mutations: Sequence[Mutation[T]], /) -> None:
        if self._settlements is not None:
            self._settlements.calling(mutations)

    async def _on_accepted(
        self, mutations: Sequence[Mutation[T]], result: object, /, *, from_handler: bool
    ) -> Callable[[], None] | None:
        if self._settlements is None:
            return None
        return await self._settlements.accept(mutations, result, from_handler=from_handler)

    def _on_rejected(self, mutations: Sequence[Mutation[T]], error: Exception, /) -> None:
        if self._settlements is not None:
            self._settlements.reject(mutations)


def _origin(slot: ClientSlot) -> str | None:
    return None if slot.client is None else slot.client.origin


class _Host(Generic[T, K]):
    """The collection as its feed and its settlements see it."""

    def __init__(self, collection: RealtimeCollection[T, K, Any], spec: RealtimeSpec[T], slot: ClientSlot) -> None:
        self._collection = collection
        self._spec = spec
        self._slot = slot
        self._publisher = Publisher.of(collection.client)

    @property
    def acknowledgement_expected(self) -> bool:
        client = self._slot.client
        return client is not None and client.store.state.status in ("connected", "connecting")

    async def query(self, params: Mapping[str, Any], /) -> Iterable[T]:
        called = self._spec.query_fn(**params)
        result: object = await called if isawaitable(called) else called
        returned = type(result).__name__
        if isinstance(result, str | bytes | Mapping) or not isinstance(result, Iterable):
            raise ConfigurationError(
                f"query_fn of collection {self._collection.id!r} returned {returned}; it must return a list of rows"
            )
        return [self._spec.codec.row(item) for item in cast("Iterable[object]", result)]

    def subscribe(self, channel: str, listener: ScopeListener, /) -> Callable[[], None] | None:
        client = self._slot.client
        return None if client is None else client.subscribe(parse_channel(channel), listener).unsubscribe

    def write(self, writes: list[Write[T, K]], /) -> None:
        if writes:
            self._collection._write_synced(
                [write.row for write in writes if write.row is not None],
                [write.key for write in writes if write.row is None],
            )

    def confirm(self, mutation: Mutation[T], row: T | None, /) -> None:
        self._collection._confirm(mutation, row)

    def post(self, outcome: Outcome[T], /) -> None:
        self._publisher.post(outcome)

    def report(self, error: Exception, /) -> None:
        self._collection.client.report(error)
