"""`realtime_collection_options`: how a realtime collection is declared."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Generic, Literal, TypeAlias

from typing_extensions import ParamSpec, TypeVar

from tanstack_db import CollectionConfig, CollectionOptions, DbClient, DeleteHandler, Handler
from tanstack_db import rows as _rows

from ._codec import SchemaCodec
from ._collection import RealtimeCollection, RealtimeSpec
from ._errors import ConfigurationError
from ._keys import ChannelLike
from ._parameters import Parameters

__all__ = ["Fetched", "realtime_collection_options"]

T = TypeVar("T", default=dict[str, Any])
K = TypeVar("K", default=Any)
P = ParamSpec("P", default=...)

Fetched: TypeAlias = Iterable[T] | Iterable[Mapping[str, Any]]
"""What ``query_fn`` returns: rows, or their JSON objects."""


class _Options(CollectionOptions[RealtimeCollection[T, K, P]], Generic[T, K, P]):
    def __init__(self, config: CollectionConfig[T, K], spec: RealtimeSpec[T]) -> None:
        self._config = config
        self._spec = spec

    @property
    def id(self) -> str:
        return self._config.id

    def build(self, client: DbClient, /) -> RealtimeCollection[T, K, P]:
        return RealtimeCollection(client, self, self._config, self._spec)


def realtime_collection_options(
    *,
    id: str,  # noqa: A002 -- the option's name
    get_key: Callable[[T], K],
    channel: str | Callable[P, ChannelLike],
    query_fn: Callable[P, Fetched[T]] | Callable[P, Awaitable[Fetched[T]]],
    schema: type[T] | None = None,
    on_insert: Handler[T] | None = None,
    on_update: Handler[T] | None = None,
    on_delete: DeleteHandler[T] | None = None,
    params: Mapping[str, str] | None = None,
    version: Callable[[T], int] | None = None,
    batch_handlers: bool = False,
    publish: Literal["client", "server"] = "client",
    refetch_on_reconnect: Literal["gap", "always"] = "gap",
    linger: float = 5.0,
    refetch_spread: float = 1.0,
    gc_time: float = 300.0,
) -> CollectionOptions[RealtimeCollection[T, K, P]]:
    """Describe a collection that a server function loads and a channel keeps live.

    After a handler has succeeded, what it returned replaces the optimistic row and is published on the row's channel;
    other clients apply it. What it returns should be the row that the server made; after None the rows are fetched
    again, here and by the others. A failing handler rolls back and publishes nothing.

    Args:
        id: names the collection in errors.
        get_key: gives a row's key: a str, an int or a UUID.
        channel: the channel of one set of parameters; a str is the namespace, with the parameters of ``query_fn``.
        query_fn: loads the rows of one set of parameters, sync or async. Its parameters without default are those of
            the collection; live queries bind them by equality on the columns of the same names.
        schema: the row class: pydantic, dataclass, attrs, msgspec or TypedDict. None for plain dicts.
        on_insert: tells the server about an inserted row; called once per row.
        on_update: likewise for an update.
        on_delete: likewise for a delete; what it returns is not used.
        params: parameter name to column, where the two differ.
        version: gives a number that grows with every change of a row. With it messages may arrive in any order;
            without it the last to arrive wins, until the next fetch.
        batch_handlers: call a handler once with all rows of a write.
        publish: who tells the others. ``"client"``: this client, with what the handler returned. ``"server"``: the
            server function, by ``publish_change`` with the reference that it got from `mutation_ref`; then no member
            can forge another's rows, since clients may not publish.
        refetch_on_reconnect: ``"gap"`` skips the fetch after a reconnect where the provider proves that nothing was
            missed.
        linger: seconds that a scope stays live after its last query.
        refetch_spread: longest delay in seconds of a fetch that many clients may do at the same moment.
        gc_time: seconds after which the unused collection is stopped.

    Raises:
        ConfigurationError: ``query_fn``, ``channel``, ``params`` and ``schema`` disagree; the message names the fix.

    Example:
        >>> todos = create_collection(realtime_collection_options(
        ...     id="todos", schema=Todo, get_key=lambda todo: todo.id,
        ...     channel=lambda project_id: ("todos", {"project_id": project_id}),
        ...     query_fn=get_todos, on_insert=on_insert))
    """
    if refetch_on_reconnect not in ("gap", "always"):
        raise ConfigurationError(
            f'collection {id!r}: refetch_on_reconnect is "gap" or "always", not {refetch_on_reconnect!r}'
        )
    if publish not in ("client", "server"):
        raise ConfigurationError(f'collection {id!r}: publish is "client" or "server", not {publish!r}')
    for name, seconds in (("linger", linger), ("refetch_spread", refetch_spread)):
        if not seconds >= 0:
            raise ConfigurationError(
                f"collection {id!r}: {name} must be a number of seconds from 0 up, not {seconds!r}"
            )
    parameters = Parameters(
        id=id, query_fn=query_fn, channel=channel, columns=params, row_columns=_rows.columns(schema)
    )
    config = CollectionConfig[T, K](
        id=id,
        get_key=get_key,
        schema=schema,
        on_insert=on_insert,
        on_update=on_update,
        on_delete=on_delete,
        gc_time=gc_time,
        sync_mode="on-demand",
        partition=parameters.columns,
        row_update_mode="full",
        batch_handlers=batch_handlers,
    )
    spec = RealtimeSpec(
        parameters=parameters,
        codec=SchemaCodec(schema=schema, get_key=get_key, parameters=parameters, version=version),
        query_fn=query_fn,
        linger=linger,
        refetch_spread=refetch_spread,
        always_refetch=refetch_on_reconnect == "always",
        server_publishes=publish == "server",
    )
    return _Options(config, spec)
