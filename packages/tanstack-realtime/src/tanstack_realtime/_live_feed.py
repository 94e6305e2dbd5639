"""What events, history and pages mean for a live channel: the shell around `LiveLog`.

Events wait while the first history is loaded, and then follow it in their order. If it fails they are shown all the
same; so are those that come while a later load runs, since it merges. When nothing can be replayed the application is
told, and history is loaded again where there is one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any, Final, Generic, Protocol, cast

from typing_extensions import TypeVar

from ._errors import ConfigurationError, MessageError
from ._keys import parse_channel
from ._live_events import Fold, LiveEvent, LiveGap, Remove
from ._live_log import LiveLog, LogChange
from ._scope import ScopeMachine
from ._scopes import ScopeHost, ScopeKeeper, ScopeListener, ScopeStatus
from ._transport import Inbound

__all__ = ["LiveFeed", "LiveFeedHost", "LiveScope", "LiveStatistics", "LiveStatus"]

T = TypeVar("T")
K = TypeVar("K")
Key = TypeVar("Key", contravariant=True)

BUFFER: Final = 1000
"""Events of one scope that wait for its history. More are a gap: the oldest goes."""


@dataclass(frozen=True, slots=True)
class LiveStatus(ScopeStatus):
    """How one scope of a live channel is doing.

    Attributes:
        gap: why events are missing that no history has filled, or None.
        has_older: whether `load_older` may bring more.
    """

    gap: str | None
    has_older: bool


@dataclass(frozen=True, slots=True)
class LiveStatistics:
    """Counters since the collection started.

    Attributes:
        events: events that arrived.
        applied: events that changed rows, or could have.
        ignored: events for which ``on_event`` returned None.
        refused: events that are no object, that ``on_event`` raised for, or whose row is none of the scope.
        gaps: how often events were lost.
        fetches: calls of ``initial_data`` and ``older``.
        failures: calls of them that failed.
    """

    events: int = 0
    applied: int = 0
    ignored: int = 0
    refused: int = 0
    gaps: int = 0
    fetches: int = 0
    failures: int = 0


@dataclass(slots=True)
class _Counters:
    events: int = 0
    applied: int = 0
    ignored: int = 0
    refused: int = 0
    gaps: int = 0
    fetches: int = 0
    failures: int = 0


class LiveFeedHost(ScopeHost, Protocol[T, Key]):
    """What a live feed needs of the collection and its client."""

    @property
    def has_history(self) -> bool:
        """Whether there is an ``initial_data``."""
        ...

    @property
    def has_pages(self) -> bool:
        """Whether there is an ``older``."""
        ...

    async def history(self, params: Mapping[str, Any], /) -> list[T]:
        """Call ``initial_data``."""
        ...

    async def page(self, oldest: T, params: Mapping[str, Any], /) -> list[T]:
        """Call ``older``."""
        ...

    def row(self, item: object, params: Mapping[str, Any], /) -> T:
        """Make a row of what the application returned. Raises when it is none."""
        ...

    def put(self, rows: Iterable[T], removed: Iterable[Key], /) -> None:
        """Commit the writes as one."""
        ...

    def batch(self) -> AbstractContextManager[object]:
        """Make one commit of all that is put inside."""
        ...

    def gap(self, gap: LiveGap, /) -> None:
        """Tell the application that events are missing."""
        ...


class LiveScope(ScopeListener):
    """One scope of a live channel, with the events that wait for its history."""

    def __init__(
        self,
        keeper: LiveFeed[Any, Any],
        channel: str,
        params: Mapping[str, Any],
        machine: ScopeMachine,
        fold: Fold[Any],
    ) -> None:
        super().__init__(keeper, channel, params, machine)
        self._live = keeper
        self.fold = fold
        self.waiting: deque[Inbound] | None = deque()
        """None once events are applied as they come."""
        self.overflowed = False
        self.gap: str | None = None
        self.gaps = 0
        self.has_older = False
        self.pages = 0
        self.last_page = 0
        self.paging = asyncio.Lock()

    def on_live(self, recovered: bool | None) -> None:
        if recovered is False:
            self._live.lost(self, "the connection was away, and what came meanwhile cannot be replayed")
        super().on_live(recovered)

    def on_gap(self, reason: str) -> None:
        self._live.lost(self, reason)
        super().on_gap(reason)

    def on_focus(self) -> None:
        """Nothing: what a live channel missed while it was connected, no history would tell."""


class LiveFeed(ScopeKeeper[LiveScope], Generic[T, K]):
    """The scopes of one run of a live channel.

    Args:
        host: the collection.
        log: its rows.
        open_fold: gives what makes rows of a scope's events.
        make_machine: a fresh `ScopeMachine`.
    """

    def __init__(
        self,
        *,
        host: LiveFeedHost[T, K],
        log: LiveLog[T, K],
        open_fold: Callable[[], Fold[T]],
        make_machine: Callable[[], ScopeMachine],
    ) -> None:
        super().__init__(host=host, make_machine=make_machine)
        self.log = log
        self._counted = _Counters()
        self._live_host = host
        self._open_fold = open_fold

    @property
    def statistics(self) -> LiveStatistics:
        """Counters since the collection started."""
        return LiveStatistics(**asdict(self._counted))

    # -- events ------------------------------------------------------------------------------------------------------

    def heard(self, scope: LiveScope, inbound: Inbound) -> None:
        """An event arrived on the scope's channel."""
        self._counted.events += 1
        if scope.waiting is None:
            self._event(scope, inbound)
            return
        if len(scope.waiting) >= BUFFER:
            scope.waiting.popleft()
            if not scope.overflowed:
                scope.overflowed = True
                self.lost(scope, f"more than {BUFFER} events came before the history was loaded")
        scope.waiting.append(inbound)

    def lost(self, scope: LiveScope, reason: str) -> None:
        """Events will not come."""
        self._counted.gaps += 1
        scope.gaps += 1
        scope.gap = reason
        self._apply(scope, lambda: list(scope.fold.gap()))
        self._live_host.gap(LiveGap(parse_channel(scope.channel), reason, self._live_host.has_history))
        scope.changed()

    def sent(self, channel: str, row: T) -> T | None:
        """The server has taken an own row. Returns what is to be shown of it: its event may have been here before.

        Returns:
            None where the scope is not open.
        """
        scope = self._scopes.get(channel)
        if scope is None:
            return None
        known = self.log.find(row)
        if known is None:
            self._keep(scope, self.log.append(channel, row))
        return known or row

    def _event(self, scope: LiveScope, inbound: Inbound) -> None:
        data: object = inbound.data
        if not isinstance(data, Mapping):
            self._refuse(
                scope,
                MessageError(
                    f"an event on {scope.channel!r} is a {type(data).__name__}; an event is a JSON object",
                    channel=scope.channel,
                ),
            )
            return
        event = LiveEvent(
            cast("Mapping[str, Any]", data),
            channel=parse_channel(scope.channel),
            user_id=inbound.user_id,
            own=inbound.own,
        )
        if self._apply(scope, lambda: [scope.fold.event(event)]):
            self.host.observer.applied(scope.channel, None, None)

    def _apply(self, scope: LiveScope, made_by: Callable[[], list[object]]) -> bool:
        """Show what the application made of an event. Whatever it raises costs this event only."""
        try:
            for made in made_by():
                if made is None:
                    self._counted.ignored += 1
                    continue
                if isinstance(made, Remove):
                    self._commit(scope, self.log.remove(scope.channel, made.key))
                else:
                    self._keep(scope, self.log.append(scope.channel, self._live_host.row(made, scope.params)))
                self._counted.applied += 1
        except Exception as error:  # noqa: BLE001 -- on_event is the application's and may raise anything
            self._refuse(scope, error)
            return False
        return True

    def _refuse(self, scope: LiveScope, error: Exception) -> None:
        self._counted.refused += 1
        self.host.observer.dropped(scope.channel, str(error))
        self.host.report(error)

    def _commit(self, scope: LiveScope, change: LogChange[T, K]) -> None:
        for key in change.removed:
            scope.fold.forget(key)
        if change.rows or change.removed:
            self._live_host.put(change.rows, change.removed)

    def _keep(self, scope: LiveScope, change: LogChange[T, K]) -> None:
        if change.removed:
            # The oldest went: now there is something to page back to.
            scope.has_older = self._live_host.has_pages
        self._commit(scope, change)

    # -- history -----------------------------------------------------------------------------------------------------

    async def fetch(self, scope: LiveScope, number: int) -> None:
        """One load of the history for the scope's machine."""
        mark, gaps = self.log.fetching(scope.channel), scope.gaps
        try:
            rows: list[T] = []
            if self._live_host.has_history:
                self._counted.fetches += 1
                rows = await self._history(scope)
            if not scope.machine.fetched(number):
                return
            with self._live_host.batch():
                self._keep(scope, self.log.merge(mark, self._adopted(scope, rows)))
                self._release(scope)
        except Exception as error:  # noqa: BLE001 -- whatever initial_data raises becomes the scope's state
            self._counted.failures += 1
            self.host.report(error)
            if scope.machine.fetched(number):
                self._release(scope)
            scope.take(scope.machine.fetch_failed(number, error))
        else:
            if self._live_host.has_history and gaps == scope.gaps:
                scope.gap = None
            scope.take(scope.machine.applied())
        finally:
            self.log.abandon(mark)

    async def _history(self, scope: LiveScope) -> list[T]:
        clock = asyncio.get_running_loop().time
        started = clock()
        try:
            rows = await self._live_host.history(scope.params)
        except Exception as error:
            self.host.observer.refetched(scope.channel, clock() - started, error)
            raise
        self.host.observer.refetched(scope.channel, clock() - started, None)
        return rows

    def _adopted(self, scope: LiveScope, rows: Iterable[T]) -> list[T]:
        return [self._live_host.row(scope.fold.adopt(row), scope.params) for row in rows]

    def _release(self, scope: LiveScope) -> None:
        """Apply what waited, in its order; from now on events are applied as they come."""
        waiting, scope.waiting = scope.waiting, None
        scope.overflowed = False
        for inbound in waiting or ():
            self._event(scope, inbound)

    async def load_older(self, channel: str) -> int:
        """Load one page of rows before the oldest one. Calls that come meanwhile share it.

        Returns:
            How many rows are new.
        """
        scope = self._scopes.get(channel)
        if scope is None:
            raise ConfigurationError(
                f"no live query shows {channel!r}, so there is no oldest row to go back from; open the query first",
                channel=channel,
                reason="the scope is not open",
            )
        pages = scope.pages
        async with scope.paging:
            if scope.pages == pages:
                scope.last_page = await self._page(scope)
                scope.pages += 1
            return scope.last_page

    async def _page(self, scope: LiveScope) -> int:
        if self._scopes.get(scope.channel) is not scope or not scope.has_older:
            return 0
        oldest = self.log.oldest(scope.channel)
        if oldest is None:
            return 0
        mark = self.log.fetching(scope.channel)
        self._counted.fetches += 1
        try:
            rows = await self._live_host.page(oldest, scope.params)
            if self._scopes.get(scope.channel) is not scope or self.log.oldest(scope.channel) is None:
                return 0
            new, change = self.log.prepend(mark, self._adopted(scope, rows))
        except Exception:
            self._counted.failures += 1
            raise
        finally:
            self.log.abandon(mark)
        scope.has_older = new > 0
        self._commit(scope, change)
        scope.changed()
        return new

    # -- scopes ------------------------------------------------------------------------------------------------------

    def drop_rows(self, scope: LiveScope) -> None:
        """Remove the rows of a scope that goes on, and begin again."""
        self._commit(scope, self.log.empty(scope.channel))
        scope.fold = self._open_fold()
        scope.waiting = deque()
        scope.has_older = self._live_host.has_pages

    def _open(self, channel: str, params: Mapping[str, Any], machine: ScopeMachine) -> LiveScope:
        self.log.open(channel)
        scope = LiveScope(self, channel, params, machine, self._open_fold())
        scope.has_older = self._live_host.has_pages
        return scope

    def _close(self, scope: LiveScope) -> None:
        self._commit(scope, self.log.close(scope.channel))

    def live_status(self, channel: str) -> LiveStatus | None:
        """Return how a scope is doing, or None when nobody needs it."""
        scope = self._scopes.get(channel)
        return None if scope is None else self._status(scope)

    def _status(self, scope: LiveScope) -> LiveStatus:
        machine = scope.machine
        return LiveStatus(
            scope.channel,
            machine.loaded,
            machine.live,
            machine.error,
            machine.denied,
            self.log.count(scope.channel),
            scope.gap,
            scope.has_older,
        )
