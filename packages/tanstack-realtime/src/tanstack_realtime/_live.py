"""`live_channel_options`: a collection filled by the events of a channel."""

from __future__ import annotations

import inspect
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Concatenate, Generic, TypeAlias, cast

from typing_extensions import ParamSpec, TypeVar

from tanstack_db import Collection, CollectionConfig, CollectionOptions, DbClient, Handler, Mutation, Transaction
from tanstack_db import rows as _rows

from ._codec import SchemaCodec
from ._errors import ConfigurationError, NotConnectedError
from ._keys import Channel, ChannelLike, parse_channel
from ._live_events import EventFold, EventHandler, LiveGap, open_fold
from ._live_feed import LiveFeed, LiveStatistics, LiveStatus
from ._live_log import LiveLog
from ._options import Fetched
from ._parameters import Parameters
from ._scope import ScopeMachine
from ._scoped import Load, ScopedCollection, ScopedHost

__all__ = ["LiveChannelCollection", "live_channel_options"]

T = TypeVar("T", default=dict[str, Any])
K = TypeVar("K", default=Any)
P = ParamSpec("P", default=...)

OnGap: TypeAlias = Callable[[LiveGap], object]


@dataclass(frozen=True, kw_only=True, eq=False)
class LiveSpec(Generic[T]):
    """What makes a collection a live channel; see `live_channel_options`."""

    parameters: Parameters
    codec: SchemaCodec[T]
    bound: Load
    initial_data: Load | None
    older: Load | None
    on_event: EventHandler[T] | EventFold[T]
    on_gap: OnGap | None
    max_items: int
    linger: float
    reload_spread: float


class LiveChannelCollection(ScopedCollection[T, K, P], Generic[T, K, P]):
    """Made by `create_collection(live_channel_options(...))`.

    Its rows are what ``on_event`` makes of a channel's events, behind the history that ``initial_data`` loads. As with
    realtime collections, what a live query binds by equality says which channel it needs.
    """

    def __init__(
        self,
        client: DbClient,
        options: CollectionOptions[Collection[T, K]],
        config: CollectionConfig[T, K],
        spec: LiveSpec[T],
    ) -> None:
        super().__init__(client, options, config, spec)
        self._spec = spec
        self._feed: LiveFeed[T, K] | None = None

    # -- for applications --------------------------------------------------------------------------------------------

    async def send(self, event: Mapping[str, Any], /, *args: P.args, **params: P.kwargs) -> None:
        """Publish an event over the connection, on the channel of these parameters.

        It comes back to this client once, like everybody's events, with `LiveEvent.own` set; nothing is shown before.

        Raises:
            NotConnectedError: there is no connection. Nothing was sent.
            ChannelDeniedError, PublishError, ConnectionLostError: as for `RealtimeClient.publish`.
        """
        here = self._here()
        channel = parse_channel(here._channel(args, params))
        await here._publish(channel, event)

    async def load_older(self, *args: P.args, **params: P.kwargs) -> int:
        """Load one page of rows before the oldest one, by ``older``. Calls that come meanwhile share the page.

        Returns:
            How many rows are new; 0 when there are no older ones.

        Raises:
            ConfigurationError: the collection has no ``older``, or no live query shows this scope.
            Exception: what ``older`` raised.
        """
        here = self._here()
        if here._spec.older is None or here._feed is None:
            what = "has no older=" if here._spec.older is None else "is not used by any live query"
            raise ConfigurationError(f"collection {self.id!r} {what}, so it cannot load older rows", reason=what)
        return await here._feed.load_older(here._channel(args, params))

    def scope_status(self, *args: P.args, **params: P.kwargs) -> LiveStatus | None:
        """Return how one scope is doing, or None when no query needs it."""
        here = self._here()
        channel = here._channel(args, params)
        return None if here._feed is None else here._feed.live_status(channel)

    @property
    def scopes(self) -> Sequence[LiveStatus]:
        """How every scope is doing that a query needs."""
        feed = self._here()._feed
        return [] if feed is None else [state for name in feed.channels if (state := feed.live_status(name))]

    def statistics(self) -> LiveStatistics:
        """Return counters since the collection started."""
        feed = self._here()._feed
        return LiveStatistics() if feed is None else feed.statistics

    # -- the source --------------------------------------------------------------------------------------------------

    def _keep(self) -> LiveFeed[T, K]:
        spec = self._spec
        self._feed = feed = LiveFeed[T, K](
            host=_LiveHost(self, spec),
            log=LiveLog[T, K](spec.codec, max_items=spec.max_items),
            open_fold=lambda: open_fold(spec.on_event),
            make_machine=lambda: ScopeMachine(
                linger=spec.linger, spread=spec.reload_spread, always_refetch=False, random=random.random
            ),
        )
        return feed

    def _run_ended(self) -> None:
        self._feed = None

    # -- mutations ---------------------------------------------------------------------------------------------------

    async def _publish(self, channel: Channel, event: Mapping[str, Any]) -> None:
        client = self._slot.client
        if client is None:
            raise NotConnectedError(
                f"collection {self.id!r} has no realtime client to publish with; create_realtime_client(...) first",
                channel=channel.raw,
                reason="there is no realtime client",
            )
        await client.publish(channel, dict(event))

    async def _send(self, row: T, to_event: Callable[[T], Mapping[str, Any]]) -> None:
        await self._publish(parse_channel(self._spec.codec.scope(row)), to_event(row))

    async def _on_accepted(
        self, mutations: Sequence[Mutation[T]], result: object, /, *, from_handler: bool
    ) -> Callable[[], None] | None:
        rows = self._returned(mutations, result, from_handler=from_handler)

        def apply() -> None:
            for place, mutation in enumerate(mutations):
                row = mutation.modified if rows is None else rows[place]
                kept = None if self._feed is None else self._feed.sent(self._spec.codec.scope(row), row)
                self._confirm(mutation, kept)

        return apply


class _LiveHost(ScopedHost[T, K]):
    """The collection as its feed sees it."""

    def __init__(self, collection: LiveChannelCollection[T, K, Any], spec: LiveSpec[T]) -> None:
        super().__init__(collection, spec.codec)
        self._spec = spec
        self._db = collection.client

    @property
    def has_history(self) -> bool:
        return self._spec.initial_data is not None

    @property
    def has_pages(self) -> bool:
        return self._spec.older is not None

    async def history(self, params: Mapping[str, Any], /) -> list[T]:
        assert self._spec.initial_data is not None, "asked for where there is one"
        return await self.load("initial_data", self._spec.initial_data, self._maker(params), **params)

    async def page(self, oldest: T, params: Mapping[str, Any], /) -> list[T]:
        assert self._spec.older is not None, "asked for where there is one"
        return await self.load("older", self._spec.older, self._maker(params), oldest, **params)

    def row(self, item: object, params: Mapping[str, Any], /) -> T:
        if isinstance(item, Mapping):
            # An event need not repeat what its channel says.
            columns = self._spec.parameters.columns
            return self._codec.placed(
                {**{columns[name]: value for name, value in params.items()}, **cast("Mapping[str, Any]", item)}
            )
        return self._codec.row(item)

    def _maker(self, params: Mapping[str, Any]) -> Callable[[object], T]:
        return lambda item: self.row(item, params)

    def batch(self) -> AbstractContextManager[object]:
        return self._db.batch()

    def gap(self, gap: LiveGap, /) -> None:
        if self._spec.on_gap is not None:
            try:
                self._spec.on_gap(gap)
            except Exception as error:  # noqa: BLE001 -- the application's, and the channel goes on
                self.report(error)


class _Options(CollectionOptions[LiveChannelCollection[T, K, P]], Generic[T, K, P]):
    def __init__(self, config: CollectionConfig[T, K], spec: LiveSpec[T]) -> None:
        self._config = config
        self._spec = spec

    @property
    def id(self) -> str:
        return self._config.id

    def build(self, client: DbClient, /) -> LiveChannelCollection[T, K, P]:
        return LiveChannelCollection(client, self, self._config, self._spec)


def live_channel_options(
    *,
    id: str,  # noqa: A002 -- the option's name
    get_key: Callable[[T], K],
    channel: str | Callable[P, ChannelLike],
    on_event: EventHandler[T] | EventFold[T],
    schema: type[T] | None = None,
    initial_data: Callable[P, Fetched[T]] | Callable[P, Awaitable[Fetched[T]]] | None = None,
    older: Callable[Concatenate[T, P], Fetched[T]] | Callable[Concatenate[T, P], Awaitable[Fetched[T]]] | None = None,
    on_gap: OnGap | None = None,
    on_insert: Handler[T] | None = None,
    to_event: Callable[[T], Mapping[str, Any]] | None = None,
    params: Mapping[str, str] | None = None,
    max_items: int = 1000,
    linger: float = 5.0,
    reload_spread: float = 1.0,
    gc_time: float = 300.0,
) -> CollectionOptions[LiveChannelCollection[T, K, P]]:
    """Describe a collection that a channel's events fill: a chat, a feed, a stream of tokens.

    Args:
        id: names the collection in errors.
        get_key: gives a row's key: a str, an int or a UUID.
        channel: the channel of one set of parameters; a str is the namespace, with the parameters of ``initial_data``.
        on_event: gets every event, one's own too, and returns the row that it makes, whole: a row, or its JSON object,
            in which the parameter columns may be left out. A row whose key is known replaces that one. None ignores the
            event, `Remove` removes a row. Or a fold, for events that build on each other; see `text_stream`.
        schema: the row class: pydantic, dataclass, attrs, msgspec or TypedDict. None for plain dicts.
        initial_data: loads the newest rows of one set of parameters, oldest first, sync or async. Events that come
            meanwhile follow them. Called again after a gap.
        older: loads the rows before a row: ``older(oldest, **parameters)``, oldest first. For
            `LiveChannelCollection.load_older`.
        on_gap: hears that events are missing which nobody will send again.
        on_insert: tells the server about an inserted row, which is shown meanwhile.
        to_event: or: makes the event that is published over the connection for an inserted row.
        params: parameter name to column, where the two differ.
        max_items: rows that a scope keeps; the oldest go. Pages of ``older`` come on top.
        linger: seconds that a scope stays live after its last query.
        reload_spread: longest delay in seconds of a reload that many clients may do at the same moment.
        gc_time: seconds after which the unused collection is stopped.

    Raises:
        ConfigurationError: the functions, ``params`` and ``schema`` disagree; the message names the fix.

    Example:
        >>> chat = create_collection(live_channel_options(
        ...     id="chat", schema=Message, get_key=lambda message: message.id,
        ...     channel=lambda room_id: ("chat", {"room_id": room_id}),
        ...     initial_data=get_chat_history,
        ...     on_event=lambda event: event if event["type"] == "message" else None))
    """
    if not max_items >= 1:
        raise ConfigurationError(f"collection {id!r}: max_items must be a positive number of rows, not {max_items!r}")
    for name, seconds in (("linger", linger), ("reload_spread", reload_spread)):
        if not seconds >= 0:
            raise ConfigurationError(
                f"collection {id!r}: {name} must be a number of seconds from 0 up, not {seconds!r}"
            )
    handler = cast("object", on_event)
    if not isinstance(handler, EventFold) and (not callable(handler) or inspect.iscoroutinefunction(handler)):
        raise ConfigurationError(
            f"collection {id!r}: on_event must be a plain function of one event, not {handler!r}; events are applied "
            "in their order, so there is nothing to await"
        )
    if on_insert is not None and to_event is not None:
        raise ConfigurationError(
            f"collection {id!r}: on_insert tells the server and to_event publishes; give one of them"
        )
    bound: Load = initial_data if initial_data is not None else _no_parameters if isinstance(channel, str) else channel
    parameters = Parameters(
        id=id,
        query_fn=bound,
        channel=channel,
        columns=params,
        row_columns=_rows.columns(schema),
        role="initial_data" if initial_data is not None else "channel",
    )
    config = CollectionConfig[T, K](
        id=id,
        get_key=get_key,
        schema=schema,
        on_insert=on_insert if to_event is None else _sender(to_event),
        gc_time=gc_time,
        sync_mode="on-demand",
        partition=parameters.columns,
        row_update_mode="full",
    )
    spec = LiveSpec[T](
        parameters=parameters,
        codec=SchemaCodec(schema=schema, get_key=get_key, parameters=parameters, version=None),
        bound=bound,
        initial_data=initial_data,
        older=older,
        on_event=on_event,
        on_gap=on_gap,
        max_items=max_items,
        linger=linger,
        reload_spread=reload_spread,
    )
    return _Options(config, spec)


def _no_parameters() -> None:
    """The parameters of a channel that is only a namespace."""


def _sender(to_event: Callable[[T], Mapping[str, Any]]) -> Handler[T]:
    async def send(transaction: Transaction[T]) -> None:
        mutation = transaction.mutations[0]
        collection = cast("LiveChannelCollection[T, Any, Any]", mutation.collection)
        await collection._send(mutation.modified, to_event)

    return send
