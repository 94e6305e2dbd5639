"""`ScopedCollection`: a collection whose rows are loaded and live per scope, one scope per channel.

What a live query binds by equality are the parameters; each distinct channel is one scope. Which rows a scope has, and
what its messages mean, is up to the subclasses: `RealtimeCollection` and `LiveChannelCollection`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from inspect import isawaitable, signature
from itertools import product
from typing import Any, Final, Generic, Protocol, TypeAlias, cast

from typing_extensions import ParamSpec, TypeVar

from tanstack_db import (
    Collection,
    CollectionConfig,
    CollectionOptions,
    DbClient,
    LiveSource,
    LoadSubset,
    Rows,
    SubsetStatus,
    SyncContext,
    SyncRun,
)

from ._codec import SchemaCodec
from ._errors import ConfigurationError
from ._keys import parse_channel
from ._observe import Observer
from ._parameters import Parameters
from ._publisher import ClientWatch
from ._scopes import ScopeKeeper, ScopeListener
from ._slot import ClientSlot, client_slot
from ._supervisor import loop_runs

__all__ = ["CollectionScope", "Load", "ScopeSpec", "ScopedCollection", "ScopedHost"]

T = TypeVar("T", default=dict[str, Any])
K = TypeVar("K", default=Any)
P = ParamSpec("P", default=...)

Load: TypeAlias = Callable[..., object]
"""A function of the application that brings rows."""


class ScopeSpec(Protocol[T]):
    """What is declared about the scopes of a collection."""

    @property
    def parameters(self) -> Parameters: ...

    @property
    def codec(self) -> SchemaCodec[T]: ...

    @property
    def bound(self) -> Load:
        """The function whose parameters are those of a scope."""
        ...


class CollectionScope(LiveSource[Rows[T]], Generic[T]):
    """One scope of a collection as a source for queries: the rows of one set of parameters."""

    def __init__(self, collection: ScopedCollection[T, Any, Any], demand: Mapping[str, tuple[Hashable, ...]]) -> None:
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

    def _open(self, db: DbClient) -> ScopedCollection[T, Any, Any]:
        return db.collection(self._collection)

    def _demand(self) -> Mapping[str, tuple[Hashable, ...]]:
        return self._bindings


class _Subset:
    """One demand of live queries: the scopes that it needs, told to the collection as one status."""

    def __init__(self, keeper: ScopeKeeper[Any], channels: Sequence[str], status: SubsetStatus) -> None:
        self.channels = channels
        self._keeper = keeper
        self._status = status

    def scope_changed(self) -> None:
        states = [state for channel in self.channels if (state := self._keeper.status(channel)) is not None]
        error = next((state.error for state in states if state.error is not None), None)
        if error is not None:
            self._status.mark_error(error)
        elif all(state.loaded for state in states):
            self._status.mark_ready()
        else:
            self._status.mark_loading()


class ScopedCollection(Collection[T, K], Generic[T, K, P]):
    """The part that all collections with scopes have in common. See the module docstring."""

    def __init__(
        self,
        client: DbClient,
        options: CollectionOptions[Collection[T, K]],
        config: CollectionConfig[T, K],
        scopes: ScopeSpec[T],
    ) -> None:
        super().__init__(client, options, config)
        self._declared = scopes
        self._slot = client_slot(client)
        self._subsets: dict[int, tuple[LoadSubset, _Subset]] = {}
        self._keeper: ScopeKeeper[Any] | None = None

    # -- for applications --------------------------------------------------------------------------------------------

    def scope(self, *args: P.args, **params: P.kwargs) -> CollectionScope[T]:
        """Return one scope as a source for queries, where a ``where`` cannot say the parameters.

        Example:
            >>> live_query(lambda q: q.from_(comments.scope(project_id="7")).order_by("created_at"))
        """
        bound = self._bind(args, params)
        columns = self._declared.parameters.columns
        return CollectionScope(self, {columns[name]: (value,) for name, value in bound.items()})

    @property
    def declared_channel(self) -> tuple[str, frozenset[str]] | None:
        """Namespace and parameter names of its channels, for ``Realtime(channels=[...])``."""
        return self._declared.parameters.declared()

    def refetch(self) -> None:
        """Load every scope again; what changed is shown."""
        keeper = self._here()._keeper
        if keeper is not None:
            keeper.refetch()

    def _bind(self, args: tuple[Any, ...], params: Mapping[str, Any]) -> dict[str, Any]:
        names = list(self._declared.parameters.columns)
        try:
            bound = dict(signature(self._declared.bound).bind(*args, **params).arguments)
        except TypeError as error:
            raise ConfigurationError(f"collection {self.id!r}: scope takes ({', '.join(names)}): {error}") from error
        extra = bound.keys() - set(names)
        if extra:
            raise ConfigurationError(
                f"collection {self.id!r}: {', '.join(sorted(extra))} is no parameter of a scope, since it has a "
                f"default; a scope takes ({', '.join(names)})"
            )
        return bound

    def _channel(self, args: tuple[Any, ...], params: Mapping[str, Any]) -> str:
        return self._declared.parameters.channel(self._bind(args, params))

    # -- the source --------------------------------------------------------------------------------------------------

    def _keep(self) -> ScopeKeeper[Any]:
        """Make what keeps the scopes of a run that begins."""
        raise NotImplementedError

    def _run_ended(self) -> None:
        """The run has ended."""

    def _user_changed(self) -> None:
        """Another user: nothing of the former one stays."""
        if self._keeper is not None:
            self._keeper.restart()

    def _sync(self, ctx: SyncContext[T, K], /) -> SyncRun:
        self._require_loop()
        self._keeper = keeper = self._keep()
        watch = ClientWatch(self._slot, client_changed=self._client_changed, user_changed=self._user_changed)
        ctx.mark_ready()

        def cleanup() -> Awaitable[None]:
            watch.close()
            self._keeper = None
            self._subsets.clear()
            self._run_ended()
            return keeper.aclose()

        return SyncRun(cleanup=cleanup, load_subset=self._load, unload_subset=self._unload)

    def _require_loop(self) -> None:
        if not loop_runs():
            raise ConfigurationError(
                f"collection {self.id!r} loads in the background and no event loop runs: use its live queries inside "
                "async code"
            )

    def _load(self, subset: LoadSubset, status: SubsetStatus) -> None:
        assert self._keeper is not None, "the source runs"
        self._require_loop()  # the one in which the source was started may have ended
        columns = self._declared.parameters.columns
        choices = [subset.bindings[column] for column in columns.values()]
        scopes: dict[str, dict[str, Any]] = {}
        for values in product(*choices):
            params = dict(zip(columns, values, strict=True))
            self._declared.parameters.check(params)
            scopes.setdefault(self._declared.parameters.channel(params), params)
        watcher = _Subset(self._keeper, list(scopes), status)
        self._subsets[id(subset)] = (subset, watcher)
        for channel, params in scopes.items():
            self._keeper.retain(channel, params, watcher)
        watcher.scope_changed()

    def _unload(self, subset: LoadSubset) -> None:
        known = self._subsets.pop(id(subset), None)
        if known is not None and self._keeper is not None:
            for channel in known[1].channels:
                self._keeper.release(channel, known[1])

    def _client_changed(self, *, attached: bool) -> None:
        if self._keeper is not None:
            self._keeper.client_changed(attached=attached)

    def _key(self, row: T) -> K:
        key = super()._key(row)
        # A row that belongs to no channel could be neither kept live nor published: refuse it before it is shown.
        self._declared.codec.scope(row)
        return key


_NOBODY: Final = Observer()


class ScopedHost(Generic[T, K]):
    """A collection as its scopes see it."""

    def __init__(self, collection: ScopedCollection[T, K, Any], codec: SchemaCodec[T]) -> None:
        self._collection = collection
        self._codec = codec
        self._slot: ClientSlot = client_slot(collection.client)

    @property
    def acknowledgement_expected(self) -> bool:
        client = self._slot.client
        return client is not None and client.store.state.status in ("connected", "connecting")

    def subscribe(self, channel: str, listener: ScopeListener, /) -> Callable[[], None] | None:
        client = self._slot.client
        return None if client is None else client.subscribe(parse_channel(channel), listener).unsubscribe

    @property
    def observer(self) -> Observer:
        client = self._slot.client
        return _NOBODY if client is None else client.observer

    def report(self, error: Exception, /) -> None:
        self._collection.client.report(error)

    async def load(
        self, role: str, function: Load, make: Callable[[object], T], /, *args: Any, **params: Any
    ) -> list[T]:
        """Call a function of the application and make rows of what it returns, each by `make`."""
        called = function(*args, **params)
        result: object = await called if isawaitable(called) else called
        returned = type(result).__name__
        if isinstance(result, str | bytes | Mapping) or not isinstance(result, Iterable):
            raise ConfigurationError(
                f"{role} of collection {self._collection.id!r} returned {returned}; it must return a list of rows"
            )
        return [make(item) for item in cast("Iterable[object]", result)]

    def put(self, rows: Iterable[T], removed: Iterable[K]) -> None:
        """Commit rows and keys of rows that are gone as one."""
        self._collection._write_synced(rows, removed)
