"""What keeps a collection's scopes loaded and live: the shell around `ScopeMachine` and `Replica`.

It owns the timers, the fetch tasks and the subscriptions of one run of a collection, carries out what the machines
decide, and hands the resulting writes to the collection. Everything ends with `aclose`; nothing is written afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol

from typing_extensions import TypeVar

from ._echo import EchoRegister
from ._envelope import RowMessage, parse_message
from ._errors import ChannelDeniedError, MessageError
from ._replica import FetchMark, Replica, Write
from ._scope import Cancel, DropRows, Fetch, ScopeAction, ScopeMachine, StatusChanged, Stop, Subscribe, Wait
from ._transport import Inbound

__all__ = ["Feed", "FeedHost", "FeedStatistics", "ScopeStatus", "Watcher"]

T = TypeVar("T")
K = TypeVar("K")

_HANDLERS_WITHIN: Final = 5.0
"""Seconds that a snapshot waits for running inserts. Longer, a server function that hangs, or that waits for another
transaction, would keep the whole scope from being fetched."""


class FeedHost(Protocol[T, K]):
    """What a feed needs of the collection and its client."""

    @property
    def acknowledgement_expected(self) -> bool:
        """Whether a connection is there or coming, so that waiting for an acknowledgement is worth it."""
        ...

    def query(self, params: Mapping[str, Any], /) -> Awaitable[Iterable[T]]:
        """Call ``query_fn`` and make rows of what it returns."""
        ...

    def subscribe(self, channel: str, listener: ScopeListener[T, K], /) -> Callable[[], None] | None:
        """Subscribe; returns how to unsubscribe, or None while there is no client."""
        ...

    def write(self, writes: list[Write[T, K]], /) -> None:
        """Commit the writes as one."""
        ...

    def report(self, error: Exception, /) -> None:
        """Tell the application about a failure in the background."""
        ...


class Watcher(Protocol):
    """Somebody who needs a scope and wants to know how it is doing."""

    def scope_changed(self) -> None: ...


@dataclass(frozen=True, slots=True)
class ScopeStatus:
    """How one scope is doing.

    Attributes:
        channel: wire string.
        loaded: whether ``query_fn`` has brought rows once.
        live: whether changes of others arrive.
        error: why the last ``query_fn`` failed, or None.
        denied: why the server refuses the channel, or None.
        rows: how many rows it holds.
    """

    channel: str
    loaded: bool
    live: bool
    error: Exception | None
    denied: Exception | None
    rows: int


@dataclass(slots=True)
class FeedStatistics:
    """Counters since the collection started.

    Attributes:
        messages: messages that arrived.
        applied: messages that were applied.
        echoes: own messages that came back.
        refused: malformed messages, and messages with rows of another scope.
        fetches: calls of ``query_fn``.
        failures: calls of ``query_fn`` that failed.
    """

    messages: int = 0
    applied: int = 0
    echoes: int = 0
    refused: int = 0
    fetches: int = 0
    failures: int = 0


class ScopeListener(Generic[T, K]):
    """One scope: its machine, timers, fetch and subscription. The client calls the ``on_`` methods."""

    def __init__(self, feed: Feed[T, K], channel: str, params: Mapping[str, Any], machine: ScopeMachine) -> None:
        self.channel = channel
        self.params = params
        self.machine = machine
        self.watchers: set[Watcher] = set()
        self.handlers_running = 0
        """Inserts whose server function runs: a snapshot may hold their rows under keys that are not known yet."""
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._feed = feed
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._fetch: asyncio.Task[None] | None = None
        self._unsubscribe: Callable[[], None] | None = None

    # -- what the client tells ---------------------------------------------------------------------------------------

    def on_message(self, message: Inbound) -> None:
        self._feed.heard(self, message)

    def on_live(self, recovered: bool | None) -> None:
        self.take(self.machine.acknowledged(recovered))

    def on_gap(self, reason: str) -> None:
        self.take(self.machine.gap())

    def on_offline(self) -> None:
        self.take(self.machine.offline())

    def on_denied(self, error: ChannelDeniedError) -> None:
        self._feed.host.report(error)
        self.take(self.machine.refused(error))

    def on_focus(self) -> None:
        self.take(self.machine.refetch())

    # -- own inserts -------------------------------------------------------------------------------------------------

    def handler_started(self) -> None:
        self.handlers_running += 1
        self._quiet.clear()

    def handler_ended(self) -> None:
        if self.handlers_running:
            self.handlers_running -= 1
            if not self.handlers_running:
                self._quiet.set()

    async def handlers_answered(self) -> None:
        """Wait until no insert runs, within reason.

        A row that an own insert just made may be in a snapshot under the server's key while the screen still shows it
        under the temporary one. Until the answer tells, both would be seen.
        """
        try:
            async with asyncio.timeout(_HANDLERS_WITHIN):
                await self._quiet.wait()
        except TimeoutError:
            pass

    # -- carrying out ------------------------------------------------------------------------------------------------

    def take(self, actions: list[ScopeAction]) -> None:
        for action in actions:
            match action:
                case Subscribe():
                    self.subscribe()
                case Fetch(number):
                    self._fetch = asyncio.get_running_loop().create_task(
                        self._feed.fetch(self, number), context=self._feed.context.copy()
                    )
                case Wait(kind, delay):
                    self._cancel(kind)
                    self._timers[kind] = asyncio.get_running_loop().call_later(delay, self._fire, kind)
                case Cancel(kind):
                    self._cancel(kind)
                case DropRows():
                    self._feed.host.write(self._feed.replica.empty(self.channel))
                case StatusChanged():
                    for watcher in tuple(self.watchers):
                        watcher.scope_changed()
                case Stop():
                    self._end()
                    self._feed.ended(self)

    def subscribe(self) -> None:
        """Subscribe where there is a client and no subscription yet."""
        if self._unsubscribe is None:
            self._unsubscribe = self._feed.host.subscribe(self.channel, self)

    def unsubscribe(self) -> None:
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None

    @property
    def is_fetching(self) -> bool:
        return self._fetch is not None and not self._fetch.done()

    async def finished(self) -> None:
        """Wait until a cancelled fetch has ended."""
        if self._fetch is not None:
            await asyncio.gather(self._fetch, return_exceptions=True)

    def _fire(self, kind: Any) -> None:
        del self._timers[kind]
        self.take(self.machine.timer_fired(kind))

    def _cancel(self, kind: str) -> None:
        timer = self._timers.pop(kind, None)
        if timer is not None:
            timer.cancel()

    def _end(self) -> None:
        for kind in tuple(self._timers):
            self._cancel(kind)
        if self._fetch is not None:
            self._fetch.cancel()
        self.unsubscribe()


class Feed(Generic[T, K]):
    """The scopes of one run of a collection.

    Args:
        host: the collection.
        replica: its synced rows.
        echoes: its own mutations.
        make_machine: a fresh `ScopeMachine`.
    """

    def __init__(
        self,
        *,
        host: FeedHost[T, K],
        replica: Replica[T, K],
        echoes: EchoRegister[tuple[str, RowMessage]],
        make_machine: Callable[[], ScopeMachine],
    ) -> None:
        self.host = host
        self.replica = replica
        self.statistics = FeedStatistics()
        self.context = copy_context()
        """Every fetch runs as the first one would: in the session that started the collection, not in whatever task
        happened to bring the reason."""
        self._echoes = echoes
        self._make_machine = make_machine
        self._scopes: dict[str, ScopeListener[T, K]] = {}
        self._ending: set[ScopeListener[T, K]] = set()

    # -- use ---------------------------------------------------------------------------------------------------------

    def retain(self, channel: str, params: Mapping[str, Any], watcher: Watcher) -> None:
        """`watcher` needs the scope."""
        scope = self._scopes.get(channel)
        if scope is None:
            scope = self._scopes[channel] = ScopeListener(self, channel, params, self._make_machine())
            self.replica.open(channel)
        scope.watchers.add(watcher)
        scope.take(scope.machine.retained(acknowledgement_expected=self.host.acknowledgement_expected))

    def release(self, channel: str, watcher: Watcher) -> None:
        """`watcher` needs it no more; the last one starts the linger."""
        scope = self._scopes.get(channel)
        if scope is not None and watcher in scope.watchers:
            scope.watchers.discard(watcher)
            if not scope.watchers:
                scope.take(scope.machine.released())

    def status(self, channel: str) -> ScopeStatus | None:
        """Return how a scope is doing, or None when nobody needs it."""
        scope = self._scopes.get(channel)
        if scope is None:
            return None
        machine = scope.machine
        return ScopeStatus(
            channel, machine.loaded, machine.live, machine.error, machine.denied, self.replica.count(channel)
        )

    @property
    def channels(self) -> list[str]:
        """Wire strings of the scopes."""
        return list(self._scopes)

    def refetch(self, channel: str | None = None) -> None:
        """Fetch one scope, or all, as soon as possible."""
        for scope in tuple(self._scopes.values()):
            if channel is None or scope.channel == channel:
                scope.take(scope.machine.refetch())

    def client_changed(self, *, attached: bool) -> None:
        """A client came, or the one there was is gone."""
        for scope in tuple(self._scopes.values()):
            if attached:
                scope.subscribe()
            else:
                scope.unsubscribe()
                scope.on_offline()

    def restart(self) -> None:
        """Another user: drop every row and begin again, with the same watchers."""
        for scope in tuple(self._scopes.values()):
            watchers, params = scope.watchers, scope.params
            scope.take(scope.machine.stop())
            for watcher in watchers:
                self.retain(scope.channel, params, watcher)

    def aclose(self) -> Awaitable[None]:
        """End every scope now. What it returns waits for the fetches that were cancelled."""
        for scope in tuple(self._scopes.values()):
            scope.take(scope.machine.stop())
        ending, self._ending = self._ending, set()
        return self._finished(ending)

    async def _finished(self, ending: Iterable[ScopeListener[T, K]]) -> None:
        await asyncio.gather(*(scope.finished() for scope in ending))

    def ended(self, scope: ScopeListener[T, K]) -> None:
        """A scope stopped: its rows go."""
        del self._scopes[scope.channel]
        self._ending = {other for other in {*self._ending, scope} if other.is_fetching}
        self.host.write(self.replica.close(scope.channel))

    # -- rows that arrive --------------------------------------------------------------------------------------------

    def heard(self, scope: ScopeListener[T, K], inbound: Inbound) -> None:
        """A message arrived on the scope's channel."""
        self.statistics.messages += 1
        try:
            message = parse_message(inbound.data)
        except MessageError as error:
            self._refuse(error)
            return
        if self._echoes.admit(message.id, message.origin, (scope.channel, message)):
            self.apply(scope.channel, message)
        else:
            self.statistics.echoes += 1

    def apply(self, channel: str, message: RowMessage) -> None:
        """Apply a message whose turn it is."""
        scope = self._scopes.get(channel)
        if scope is None:
            return
        if message.is_refetch:
            self.statistics.applied += 1
            scope.take(scope.machine.hinted())
            return
        try:
            received = self.replica.receive(channel, message.changes)
        except MessageError as error:
            self._refuse(error)
            return
        self.statistics.applied += 1
        self.host.write(received.writes)
        if received.incomplete:
            scope.take(scope.machine.hinted())

    def _refuse(self, error: MessageError) -> None:
        self.statistics.refused += 1
        self.host.report(error)

    async def fetch(self, scope: ScopeListener[T, K], number: int) -> None:
        """One call of ``query_fn`` for the scope's machine."""
        mark = self.replica.fetching(scope.channel)
        self.statistics.fetches += 1
        try:
            rows = await self.host.query(scope.params)
            if scope.machine.loaded:
                await scope.handlers_answered()
            if not scope.machine.fetched(number):
                return
            self._merge(mark, rows)
        except Exception as error:  # noqa: BLE001 -- whatever query_fn raises becomes the scope's state
            self.statistics.failures += 1
            self.host.report(error)
            scope.take(scope.machine.fetch_failed(number, error))
        else:
            scope.take(scope.machine.applied())
            if mark.incomplete:
                scope.take(scope.machine.hinted())
        finally:
            self.replica.abandon(mark)

    def _merge(self, mark: FetchMark, rows: Iterable[T]) -> None:
        self.host.write(self.replica.snapshot(mark, rows))

    # -- own mutations -----------------------------------------------------------------------------------------------

    def handler_started(self, channel: str) -> None:
        """A server function that inserts into the scope is running."""
        scope = self._scopes.get(channel)
        if scope is not None:
            scope.handler_started()

    def handler_ended(self, channel: str) -> None:
        """It has answered. Call as often as `handler_started`."""
        scope = self._scopes.get(channel)
        if scope is not None:
            scope.handler_ended()

    async def snapshot_for_settlement(self, channel: str) -> Callable[[], None] | None:
        """Fetch the scope after a mutation whose server function told nothing.

        Returns:
            The function that applies the rows; call it in the batch that drops the optimistic row. None when the scope
            is not open, and when the fetch failed: then the scope's own retry brings the rows.
        """
        scope = self._scopes.get(channel)
        if scope is None:
            return None
        mark = self.replica.fetching(channel)
        self.statistics.fetches += 1
        try:
            rows = list(await self.host.query(scope.params))
            await scope.handlers_answered()
        except Exception as error:  # noqa: BLE001 -- the mutation succeeded; only its picture is late
            self.statistics.failures += 1
            self.replica.abandon(mark)
            self.host.report(error)
            scope.take(scope.machine.refetch())
            return None
        except BaseException:
            self.replica.abandon(mark)
            raise

        def apply() -> None:
            try:
                self._merge(mark, rows)
            except Exception as error:  # noqa: BLE001 -- a query_fn that returns wrong rows fails as state, in its retry
                self.replica.abandon(mark)
                self.host.report(error)
                scope.take(scope.machine.refetch())
                return
            if mark.incomplete:
                scope.take(scope.machine.hinted())

        return apply
