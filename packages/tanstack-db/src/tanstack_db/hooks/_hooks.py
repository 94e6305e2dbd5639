"""`DbHooks`: the hooks of tanstack-db over any `Runtime`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, Protocol

from typing_extensions import TypeVar

from .._errors import UsageError
from .._live.live_query import LiveQuery, live_query
from ._store import use_store

if TYPE_CHECKING:
    from .._base.relation import LiveSource
    from .._collections.client import DbClient
    from .._transactions.transaction import Persist, Tx
    from ..query import QueryBuilder
    from ._runtime import Runtime

__all__ = ["DbHooks", "Transact"]

C = TypeVar("C")
Out = TypeVar("Out")


class Transact(Protocol):
    """What `DbHooks.use_transact` returns; like the function `transact`, for the session."""

    def __call__(self, change: Callable[[Tx], object], server_fn: Persist, /) -> Tx: ...


class _Shown(Generic[Out]):
    """The live query that a component shows: the store that it reads, kept as long as the query says the same."""

    def __init__(self, live: LiveQuery[Out]) -> None:
        self.live = live
        self.deps: tuple[object, ...] | None = None
        self._last: tuple[()] | tuple[Out] = ()

    def get(self) -> Out:
        # After the end of the session reading would start the query again.
        if not self._last or not self.live.client.is_closed:
            self._last = (self.live.get(),)
        return self._last[0]

    def subscribe(self, callback: Callable[[], object], /) -> Callable[[], None]:
        client = self.live.client
        if client.is_closed:
            return _nothing
        # A session's client may close before its components are gone: they have nothing more to show.
        return self.live.subscribe(lambda: client.is_closed or callback())


def _nothing() -> None:
    """End what never began."""


class DbHooks:
    """Hooks for components.

    Args:
        runtime: the framework's own hooks.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def use_live_query(
        self,
        query: LiveSource[Out] | Callable[[QueryBuilder], LiveSource[Out]],
        /,
        deps: Sequence[object] | None = None,
    ) -> Out:
        """Show a live query: its rows, or the one value of a query for one row or for totals.

        The component renders again after each batch that changed the result. It keeps its running query as long as the
        query says the same: the same clauses, code and captured values. So no list of dependencies is needed.

        Args:
            query: a query, a collection, a scope; or a function that builds one.
            deps: build the query only when one of these values is not equal to the one of the last render.

        Returns:
            The present result. `Rows` carry ``is_ready`` and ``error``.

        Raises:
            QueryError: the query cannot be built.
            UsageError: there is no provider above.
        """
        client = self._client("use_live_query")
        place = self._runtime.use_ref()
        shown: _Shown[Out] | None = place.current
        now = None if deps is None else tuple(deps)
        if shown is None or shown.live.client is not client or now is None or shown.deps != now:
            shown = place.current = _keep(shown, query, client)
            shown.deps = now
        return use_store(self._runtime, shown)

    def use_collection(self, collection: C, /) -> C:
        """Return this session's own instance of a collection, to write to it in handlers of events.

        Raises:
            UsageError: it is no collection, or there is no provider above.
        """
        return self._client("use_collection").collection(collection)

    def use_transact(self) -> Transact:
        """Return the function `transact` of this session; module-level collections in it stand for the session's own.

        Example:
            >>> transact = use_transact()
            >>> transact(lambda tx: tx.insert(todos, row), lambda: add_todo(row.text))

        Raises:
            UsageError: there is no provider above.
        """
        return self._client("use_transact").transact

    def use_client(self) -> DbClient:
        """Return this session's client.

        Raises:
            UsageError: there is no provider above.
        """
        return self._client("use_client")

    def _client(self, hook: str) -> DbClient:
        client = self._runtime.use_client()
        if client is None:
            raise UsageError(
                f"{hook} needs a provider above the component: put DBProvider(...) at the root of each session"
            )
        return client


def _keep(shown: _Shown[Any] | None, query: Any, client: DbClient) -> _Shown[Any]:
    """Return what the last render showed if the query says the same, else something new."""
    if issubclass(type(query), LiveQuery) and query.client is client:
        return shown if shown is not None and shown.live is query else _Shown(query)
    with client.activate():
        live: LiveQuery[Any] = live_query(query, client=client)
    if shown is not None and shown.live.client is client and shown.live.ir == live.ir:
        return shown
    if client.is_closed:
        raise UsageError("use_live_query: the session's client was closed, so that no query can begin any more")
    return _Shown(live)
