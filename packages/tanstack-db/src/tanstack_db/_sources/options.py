"""`collection_options` and `local_only_collection_options`: recipes for the collection types of this package."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, Literal

from typing_extensions import TypeVar

from .._collections.client import CollectionOptions, DbClient
from .._collections.collection import Collection
from .._collections.config import CollectionConfig, DeleteHandler, Handler
from .._sync.contract import Source, SyncContext
from .._transactions.mutation import Mutation, MutationType

__all__ = ["LocalOnlyCollection", "collection_options", "local_only_collection_options"]

T = TypeVar("T", default=dict[str, Any])
K = TypeVar("K", default=Any)


class _Plain(CollectionOptions[Collection[T, K]], Generic[T, K]):
    def __init__(self, config: CollectionConfig[T, K]) -> None:
        self._config = config

    @property
    def id(self) -> str:
        return self._config.id

    def build(self, client: DbClient, /) -> Collection[T, K]:
        return Collection(client, self, self._config)


def collection_options(
    *,
    id: str,  # noqa: A002 -- the option's name
    get_key: Callable[[T], K],
    sync: Source[T, K],
    schema: type[T] | None = None,
    on_insert: Handler[T] | None = None,
    on_update: Handler[T] | None = None,
    on_delete: DeleteHandler[T] | None = None,
    gc_time: float = 300.0,
    start_sync: bool = False,
    sync_mode: Literal["eager", "on-demand"] = "eager",
    partition: Mapping[str, str] | None = None,
    row_update_mode: Literal["partial", "full"] = "partial",
    batch_handlers: bool = False,
    compare: Callable[[T, T], int] | None = None,
) -> CollectionOptions[Collection[T, K]]:
    """Describe a collection that is fed by a source of your own.

    Args:
        id: names the collection in errors.
        get_key: gives a row's key: hashable, never None, never changing.
        sync: the source; see `SyncContext`.
        schema: the row class: a pydantic model, dataclass, attrs class, msgspec Struct or TypedDict; None for dicts.
        on_insert: tells the server about inserts; called once per row. What it returns is the server's row, or some of
            its columns; it replaces the optimistic row. After None the row is what the source has delivered meanwhile.
        on_update: likewise for updates.
        on_delete: likewise for deletes. What it returns is not used.
        gc_time: seconds after which an unused collection is stopped and emptied; 0, less or infinite: never.
        start_sync: start the source as soon as the collection is made, instead of at the first use.
        sync_mode: ``"eager"`` loads everything; ``"on-demand"`` only what live queries ask for.
        partition: for an on-demand source that loads by parameters: parameter name to column.
        row_update_mode: whether a mapping that the source writes is merged into the row or replaces it.
        batch_handlers: call a handler once with all rows of a write, instead of once per row.
        compare: order of `Collection.to_list`: negative, zero or positive.

    Raises:
        UsageError: an option that cannot be right.
    """
    return _Plain(
        CollectionConfig(
            id=id,
            get_key=get_key,
            schema=schema,
            sync=sync,
            on_insert=on_insert,
            on_update=on_update,
            on_delete=on_delete,
            gc_time=gc_time,
            start_sync=start_sync,
            sync_mode=sync_mode,
            partition=partition,
            row_update_mode=row_update_mode,
            batch_handlers=batch_handlers,
            compare=compare,
        )
    )


class LocalOnlyCollection(Collection[T, K], Generic[T, K]):
    """Rows that live in this process only: the state of a screen, a selection, a draft.

    Writes are final at once and need no handler and no event loop. A handler that is given runs after each write; if it
    raises, the write is taken back.
    """

    def __init__(
        self,
        client: DbClient,
        options: CollectionOptions[Collection[T, K]],
        config: CollectionConfig[T, K],
        initial_data: Sequence[T],
    ) -> None:
        super().__init__(client, options, config)
        self._initial = initial_data

    def _sync(self, ctx: SyncContext[T, K], /) -> None:
        ctx.begin()
        for row in self._initial:
            ctx.insert(row)
        ctx.commit()
        ctx.mark_ready()

    def _needs_server(self, kind: MutationType, /) -> bool:
        return self._config.handler(kind) is not None

    async def _on_accepted(
        self, mutations: Sequence[Mutation[T]], result: object, /, *, from_handler: bool
    ) -> Callable[[], None]:
        return lambda: self._write_through(mutations)


class _LocalOnly(CollectionOptions[LocalOnlyCollection[T, K]], Generic[T, K]):
    def __init__(self, config: CollectionConfig[T, K], initial_data: Sequence[T]) -> None:
        self._config = config
        self._initial = initial_data

    @property
    def id(self) -> str:
        return self._config.id

    def build(self, client: DbClient, /) -> LocalOnlyCollection[T, K]:
        return LocalOnlyCollection(client, self, self._config, self._initial)


def local_only_collection_options(
    *,
    id: str,  # noqa: A002 -- the option's name
    get_key: Callable[[T], K],
    schema: type[T] | None = None,
    initial_data: Iterable[T] | None = None,
    on_insert: Handler[T] | None = None,
    on_update: Handler[T] | None = None,
    on_delete: DeleteHandler[T] | None = None,
    compare: Callable[[T, T], int] | None = None,
) -> CollectionOptions[LocalOnlyCollection[T, K]]:
    """Describe a collection that lives in this process only. It is never stopped for want of use.

    Args:
        id: names the collection in errors.
        get_key: gives a row's key.
        schema: the row class, or None for plain dicts.
        initial_data: the rows to begin with; none by default.
        on_insert, on_update, on_delete: run after a write; if one raises, the write is taken back.
        compare: order of `Collection.to_list`.
    """
    config = CollectionConfig(
        id=id,
        get_key=get_key,
        schema=schema,
        on_insert=on_insert,
        on_update=on_update,
        on_delete=on_delete,
        gc_time=0,
        start_sync=True,
        compare=compare,
    )
    return _LocalOnly(config, tuple(initial_data or ()))
