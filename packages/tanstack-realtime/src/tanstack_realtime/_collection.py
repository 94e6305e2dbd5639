"""`RealtimeCollection`: rows loaded by a server function, kept live by a channel, loaded and live per scope.

How the parts of this layer fit together::

    live queries ──demands──> RealtimeCollection ──retain/release──> Feed ── ScopeMachine   when to subscribe and fetch
                                    │                                  └──── Replica        what the rows are
                                    └──mutations──> Settlements ── Outcome ──> Outbox ──> the others
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic

from typing_extensions import ParamSpec, TypeVar

from tanstack_db import Collection, CollectionConfig, CollectionOptions, DbClient, Mutation

from ._codec import SchemaCodec
from ._echo import EchoRegister
from ._envelope import RowMessage
from ._feed import Feed, FeedStatistics
from ._outcome import Outcome
from ._parameters import Parameters
from ._publisher import Publisher
from ._replica import Replica
from ._scope import ScopeMachine
from ._scoped import Load, ScopedCollection, ScopedHost
from ._scopes import ScopeStatus
from ._settlement import Settlements
from ._slot import ClientSlot

__all__ = ["RealtimeCollection", "RealtimeSpec"]

T = TypeVar("T", default=dict[str, Any])
K = TypeVar("K", default=Any)
P = ParamSpec("P", default=...)


@dataclass(frozen=True, kw_only=True, eq=False)
class RealtimeSpec(Generic[T]):
    """What makes a collection realtime; see `realtime_collection_options`."""

    parameters: Parameters
    codec: SchemaCodec[T]
    query_fn: Load
    linger: float
    refetch_spread: float
    always_refetch: bool
    server_publishes: bool

    @property
    def bound(self) -> Load:
        return self.query_fn


class RealtimeCollection(ScopedCollection[T, K, P], Generic[T, K, P]):
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
        super().__init__(client, options, config, spec)
        self._spec = spec
        self._feed: Feed[T, K] | None = None
        self._settlements: Settlements[T, K] | None = None

    # -- for applications --------------------------------------------------------------------------------------------

    def scope_status(self, *args: P.args, **params: P.kwargs) -> ScopeStatus | None:
        """Return how one scope is doing, or None when no query needs it."""
        here = self._here()
        channel = here._channel(args, params)
        return None if here._feed is None else here._feed.status(channel)

    @property
    def scopes(self) -> Sequence[ScopeStatus]:
        """How every scope is doing that a query needs."""
        feed = self._here()._feed
        return [] if feed is None else [state for name in feed.channels if (state := feed.status(name)) is not None]

    def statistics(self) -> FeedStatistics:
        """Return counters since the collection started."""
        feed = self._here()._feed
        return FeedStatistics() if feed is None else feed.statistics

    @property
    def server_published(self) -> bool:
        """Whether only the server publishes on its channels, so that ``Realtime(channels=[...])`` refuses clients."""
        return self._spec.server_publishes

    # -- the source --------------------------------------------------------------------------------------------------

    def _keep(self) -> Feed[T, K]:
        loop = asyncio.get_running_loop()
        echoes = EchoRegister[tuple[str, RowMessage]](origin=lambda: _origin(self._slot), time=loop.time)
        host = _Host(self, self._spec)
        self._feed = feed = Feed(
            host=host, replica=Replica(self._spec.codec), echoes=echoes, make_machine=self._machine
        )
        self._settlements = Settlements(
            id=self.id, codec=self._spec.codec, feed=feed, echoes=echoes, host=host, id_of=self._published_id
        )
        return feed

    def _run_ended(self) -> None:
        self._feed = self._settlements = None

    def _user_changed(self) -> None:
        if self._settlements is not None:
            self._settlements.clear()
        super()._user_changed()

    def _published_id(self, mutation: Mutation[T]) -> str:
        # The server is told one reference per transaction, since a server_fn may concern several collections.
        return str(mutation._owner.id) if self._spec.server_publishes else mutation.id

    def _machine(self) -> ScopeMachine:
        spec = self._spec
        return ScopeMachine(
            linger=spec.linger,
            spread=spec.refetch_spread,
            always_refetch=spec.always_refetch,
            random=random.random,
        )

    # -- mutations ---------------------------------------------------------------------------------------------------

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


class _Host(ScopedHost[T, K]):
    """The collection as its feed and its settlements see it."""

    def __init__(self, collection: RealtimeCollection[T, K, Any], spec: RealtimeSpec[T]) -> None:
        super().__init__(collection, spec.codec)
        self._query_fn = spec.query_fn
        self._write: Callable[[Mapping[K, T | None]], None] = collection._write_keyed
        self._confirmed: Callable[[Mutation[T], T | None], None] = collection._confirm
        self._publisher = None if spec.server_publishes else Publisher.of(collection.client)

    async def query(self, params: Mapping[str, Any], /) -> Iterable[T]:
        return await self.load("query_fn", self._query_fn, self._codec.row, **params)

    def write(self, writes: Mapping[K, T | None], /) -> None:
        if writes:
            self._write(writes)

    def confirm(self, mutation: Mutation[T], row: T | None, /) -> None:
        self._confirmed(mutation, row)

    def post(self, outcome: Outcome[T], /) -> None:
        if self._publisher is not None:
            self._publisher.post(outcome)
