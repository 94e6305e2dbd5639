"""`shape_collection_options`, and the collections that it makes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic

from typing_extensions import TypeVar

from .._collections.client import CollectionOptions, DbClient
from .._collections.collection import Collection
from .._collections.config import CollectionConfig, DeleteHandler, Handler
from .._errors import CollectionStateError, UsageError
from .._sources.fetching import back_off
from .._sync.contract import Cleanup, SyncContext
from .._transactions.mutation import Mutation
from .._transactions.transaction import current_transaction, require_loop
from ._log import ShapeError
from ._reader import Fetch, Headers, Shape, ShapeReader, ShapeResponse
from ._values import Parser

if TYPE_CHECKING:
    import httpx

__all__ = ["ShapeCollection", "TxidTimeoutError", "httpx_fetch", "shape_collection_options"]

T = TypeVar("T", default=dict[str, Any])
K = TypeVar("K", default=Any)


class TxidTimeoutError(ShapeError, TimeoutError):
    """The log did not show a database transaction in time.

    Attributes:
        txid: which one.
    """

    def __init__(self, collection: str, txid: int, timeout: float) -> None:
        super().__init__(
            f"the log of collection {collection!r} did not show transaction {txid} within {timeout:g} s. Did the "
            "server read the id with pg_current_xact_id()::xid in the very transaction that wrote the row?",
            retryable=True,
        )
        self.txid = txid


class ShapeCollection(Collection[T, K], Generic[T, K]):
    """Rows that follow a log; see `shape_collection_options`."""

    def __init__(
        self,
        client: DbClient,
        options: CollectionOptions[Collection[T, K]],
        config: CollectionConfig[T, K],
        shape: Shape,
    ) -> None:
        super().__init__(client, options, config)
        self._shape = shape
        self._reader: ShapeReader[T, K] | None = None
        self._inserting: dict[object, set[int]] = {}
        """Transactions whose inserts the server is told of now, and the database transactions that they wait for."""

    @property
    def is_up_to_date(self) -> bool:
        """Whether the rows are those of the server, as far as it is known: the log is read to its end, and no request
        has failed since.
        """
        reader = self._here()._reader
        return reader is not None and reader.is_up_to_date

    @property
    def last_error(self) -> Exception | None:
        """Why the last request failed; None after a success."""
        reader = self._here()._reader
        return None if reader is None else reader.error

    def retry(self) -> None:
        """Make the next request now: after a login, for example, or when the network is back."""
        reader = self._here()._reader
        if reader is not None:
            reader.retry.set()

    async def await_txid(self, txid: int, timeout: float = 5.0) -> None:  # noqa: ASYNC109 -- with an error of its own
        """Wait until the log has shown what a database transaction wrote. For handlers::

            async def save(transaction: Transaction[Todo]) -> None:
                answer = await api.save(transaction.mutations[0].modified)
                await todos.await_txid(answer.txid)

        Args:
            txid: what the server got from ``pg_current_xact_id()::xid``.
            timeout: seconds.

        Raises:
            TxidTimeoutError: it did not come.
            CollectionStateError: the collection does not run, or was cleaned up meanwhile.
        """
        here = self._here()
        reader = here._reader
        if reader is None:
            raise CollectionStateError(here.id, here._life.status, "it follows no log now; subscribe first")
        if (transaction := current_transaction()) is not None and transaction._work in here._inserting:
            here._inserting[transaction._work].add(txid)
        if txid in reader.txids:
            return
        waiter = asyncio.get_running_loop().create_future()
        reader.waiting.setdefault(txid, []).append(waiter)
        try:
            await asyncio.wait([waiter], timeout=timeout)
        finally:
            if not waiter.done():
                reader.forget(txid, waiter)
        if not waiter.done():
            raise TxidTimeoutError(here.id, txid, timeout)
        waiter.result()

    def _sync(self, ctx: SyncContext[T, K], /) -> Cleanup:
        require_loop(f"following the log of collection {self.id!r}")
        self._reader = reader = ShapeReader(self, ctx, self._shape, lambda: bool(self._inserting))
        cancel = self.client.start(reader.run(), f"tanstack-db log of {self.id}")

        def stop() -> None:
            self._reader = None
            self._inserting.clear()
            reader.close(CollectionStateError(self.id, "cleaned-up", "it was cleaned up meanwhile"))
            cancel()

        return stop

    # -- rows under temporary keys -------------------------------------------------------------------------------------

    def _on_calling(self, mutations: Sequence[Mutation[T]], /) -> None:
        if any(mutation.type == "insert" for mutation in mutations):
            self._inserting.setdefault(mutations[0]._owner, set())

    async def _on_accepted(
        self, mutations: Sequence[Mutation[T]], result: object, /, *, from_handler: bool
    ) -> Callable[[], None] | None:
        apply = await super()._on_accepted(mutations, result, from_handler=from_handler)

        def apply_and_release() -> None:
            if apply is not None:
                apply()
            self._inserted(mutations)

        return apply_and_release

    def _on_rejected(self, mutations: Sequence[Mutation[T]], error: Exception, /) -> None:
        self._inserted(mutations)

    def _inserted(self, mutations: Sequence[Mutation[T]]) -> None:
        txids = self._inserting.pop(mutations[0]._owner, None)
        if txids is not None and self._reader is not None:
            self._reader.release(txids if self._inserting else None)


class _ShapeOptions(CollectionOptions[ShapeCollection[T, K]], Generic[T, K]):
    def __init__(self, config: CollectionConfig[T, K], shape: Shape) -> None:
        self._config = config
        self._shape = shape

    @property
    def id(self) -> str:
        return self._config.id

    def build(self, client: DbClient, /) -> ShapeCollection[T, K]:
        return ShapeCollection(client, self, self._config, self._shape)


def shape_collection_options(
    *,
    id: str,  # noqa: A002 -- the option's name
    get_key: Callable[[T], K],
    url: str,
    fetch: Fetch,
    schema: type[T] | None = None,
    params: Mapping[str, str] | None = None,
    headers: Headers | None = None,
    parsers: Mapping[str, Parser] | None = None,
    retry_delay: Callable[[int], float] = back_off,
    on_insert: Handler[T] | None = None,
    on_update: Handler[T] | None = None,
    on_delete: DeleteHandler[T] | None = None,
    gc_time: float = 300.0,
    start_sync: bool = False,
    batch_handlers: bool = False,
    compare: Callable[[T, T], int] | None = None,
) -> CollectionOptions[ShapeCollection[T, K]]:
    """Describe a collection that follows a shape.

    The collection is ready when the log was read to its end for the first time. What the server sends is shown in whole
    states: together, whenever the log is up to date. If the server gives up the log (``must-refetch``), the rows stay
    until the new one was read, and then change to it in one batch.

    While the server is told of an insert, new rows in the log are held back until its handler has returned: one of them
    may be the optimistic row under the key that the server gave it. So there is one row at every moment.

    Requests that fail are repeated, after a while that grows; the rows stay, and `ShapeCollection.last_error` and
    `ShapeCollection.is_up_to_date` tell. Before the collection is ready, such a failure is its error as well. What the
    server refuses for good (401, 403, another 4xx) or a row that does not fit the schema is always its error, until
    `ShapeCollection.retry` or a restart.

    Args:
        id: names the collection in errors.
        get_key: gives a row's key.
        url: the endpoint, as a rule one of the application's own, which authorizes the user and asks that of the log.
        fetch: makes a GET request; see `httpx_fetch`.
        schema: the row class, or None for plain dicts.
        params: what is asked for: ``{"table": "todos", "where": "project_id = 'p1'"}``.
        headers: of every request, or a function that gives them, plain or as a coroutine.
        parsers: reads values of further types of the database, by their names: ``{"numeric": Decimal}``. Integers,
            floats, bools, JSON and arrays are read already; a row class reads the text forms of its columns.
        retry_delay: the number of failures in a row to the seconds until the next try. By default 1, 2, 4 up to 30,
            less a random quarter. A ``Retry-After`` of the server that is longer is kept.
        on_insert, on_update, on_delete: tell the server. An optimistic row goes when the handler returns, so let it
            return the server's row, or wait for the log with `ShapeCollection.await_txid`.
        gc_time: seconds after which an unused collection forgets its rows; 0, less or infinite: never.
        start_sync: follow as soon as the collection is made; needs a running event loop.
        batch_handlers: call a handler once with all rows of a write, instead of once per row.
        compare: order of `Collection.to_list`.

    Raises:
        UsageError: an option that cannot be right.
    """
    for name, function in (("fetch", fetch), ("retry_delay", retry_delay)):
        if not callable(function):
            raise UsageError(f"collection {id!r}: {name} must be a function, not {function!r}")
    if taken := {"offset", "handle", "live", "cursor"} & (params or {}).keys():
        raise UsageError(f"collection {id!r}: {', '.join(sorted(taken))} are the log's own; leave them out of params")
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
    return _ShapeOptions(config, Shape(url, params or {}, headers or {}, fetch, parsers or {}, retry_delay))


def httpx_fetch(client: httpx.AsyncClient, /, *, timeout: float = 60.0) -> Fetch:
    """Make requests with httpx, which the extra ``tanstack-db[http]`` installs.

    Args:
        client: the application's client; it is not closed here.
        timeout: seconds for one request, longer than the server holds it.
    """

    async def fetch(url: str, headers: Mapping[str, str], /) -> ShapeResponse:
        answer = await client.get(url, headers=dict(headers), timeout=timeout)
        return ShapeResponse(answer.status_code, answer.headers, answer.text)

    return fetch
