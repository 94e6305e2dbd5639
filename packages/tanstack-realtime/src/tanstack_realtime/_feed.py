"""What messages and fetches mean for a realtime collection: the shell around `Replica`.

When to subscribe and to fetch is decided below, in ``_scopes``; here the rows are merged and handed to the collection.
Nothing is written after `aclose`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Generic, Protocol

from typing_extensions import TypeVar

from ._echo import EchoRegister
from ._envelope import RowMessage, parse_message
from ._errors import MessageError
from ._replica import FetchMark, Replica
from ._scope import ScopeMachine
from ._scopes import ScopeHost, ScopeKeeper, ScopeListener, ScopeStatus
from ._transport import Inbound

__all__ = ["Feed", "FeedHost", "FeedStatistics", "RowScope"]

T = TypeVar("T")
K = TypeVar("K")

_HANDLERS_WITHIN: Final = 5.0
"""Seconds that a snapshot waits for running inserts. Longer, a server function that hangs, or that waits for another
transaction, would keep the whole scope from being fetched."""


class FeedHost(ScopeHost, Protocol[T, K]):
    """What a feed needs of the collection and its client."""

    def query(self, params: Mapping[str, Any], /) -> Awaitable[Iterable[T]]:
        """Call ``query_fn`` and make rows of what it returns."""
        ...

    def write(self, writes: Mapping[K, T | None], /) -> None:
        """Commit rows by key as one; None removes."""
        ...


@dataclass(frozen=True, slots=True)
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


@dataclass(slots=True)
class _Counters:
    messages: int = 0
    applied: int = 0
    echoes: int = 0
    refused: int = 0
    fetches: int = 0
    failures: int = 0


class RowScope(ScopeListener):
    """One scope, and the own inserts that run in it."""

    def __init__(self, keeper: Feed[Any, Any], channel: str, params: Mapping[str, Any], machine: ScopeMachine) -> None:
        super().__init__(keeper, channel, params, machine)
        self.handlers_running = 0
        """Inserts whose server function runs: a snapshot may hold their rows under keys that are not known yet."""
        self._quiet = asyncio.Event()
        self._quiet.set()

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


class Feed(ScopeKeeper[RowScope], Generic[T, K]):
    """The scopes of one run of a realtime collection.

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
        super().__init__(host=host, make_machine=make_machine)
        self._rows_host = host
        self.replica = replica
        self._counters = _Counters()
        self._echoes = echoes

    @property
    def statistics(self) -> FeedStatistics:
        """Counters since the collection started."""
        return FeedStatistics(**asdict(self._counters))

    @property
    def host(self) -> FeedHost[T, K]:
        """The collection."""
        return self._rows_host

    def drop_rows(self, scope: RowScope) -> None:
        """Remove the rows of a scope that goes on."""
        self.host.write(self.replica.empty(scope.channel))

    def _open(self, channel: str, params: Mapping[str, Any], machine: ScopeMachine) -> RowScope:
        self.replica.open(channel)
        return RowScope(self, channel, params, machine)

    def _close(self, scope: RowScope) -> None:
        self.host.write(self.replica.close(scope.channel))

    def _status(self, scope: RowScope) -> ScopeStatus:
        machine = scope.machine
        rows = self.replica.count(scope.channel)
        return ScopeStatus(scope.channel, machine.loaded, machine.live, machine.error, machine.denied, rows)

    # -- rows that arrive --------------------------------------------------------------------------------------------

    def heard(self, scope: RowScope, inbound: Inbound) -> None:
        """A message arrived on the scope's channel."""
        self._counters.messages += 1
        try:
            message = parse_message(inbound.data)
        except MessageError as error:
            self._refuse(scope.channel, error)
            return
        if self._echoes.admit(message.id, message.origin, (scope.channel, message)):
            self.apply(scope.channel, message)
        else:
            self._counters.echoes += 1

    def apply(self, channel: str, message: RowMessage) -> None:
        """Apply a message whose turn it is."""
        scope = self._scopes.get(channel)
        if scope is None:
            return
        if message.is_refetch:
            self._counters.applied += 1
            scope.take(scope.machine.hinted())
            self.host.observer.applied(channel, message.id, message.traceparent)
            return
        try:
            received = self.replica.receive(channel, message.changes)
        except MessageError as error:
            self._refuse(channel, error)
            return
        self._counters.applied += 1
        self.host.write(received.writes)
        if received.incomplete:
            scope.take(scope.machine.hinted())
        self.host.observer.applied(channel, message.id, message.traceparent)

    def _refuse(self, channel: str, error: MessageError) -> None:
        self._counters.refused += 1
        self.host.observer.dropped(channel, error.reason)
        self.host.report(error)

    async def fetch(self, scope: RowScope, number: int) -> None:
        """One call of ``query_fn`` for the scope's machine."""
        mark = self.replica.fetching(scope.channel)
        self._counters.fetches += 1
        try:
            rows = await self._query(scope)
            if scope.machine.loaded:
                await scope.handlers_answered()
            if not scope.machine.fetched(number):
                return
            self._merge(mark, rows)
        except Exception as error:  # noqa: BLE001 -- whatever query_fn raises becomes the scope's state
            self._counters.failures += 1
            self.host.report(error)
            scope.take(scope.machine.fetch_failed(number, error))
        else:
            scope.take(scope.machine.applied())
            if mark.incomplete:
                scope.take(scope.machine.hinted())
        finally:
            self.replica.abandon(mark)

    async def _query(self, scope: RowScope) -> Iterable[T]:
        clock = asyncio.get_running_loop().time
        started = clock()
        try:
            rows = await self.host.query(scope.params)
        except Exception as error:
            self.host.observer.refetched(scope.channel, clock() - started, error)
            raise
        self.host.observer.refetched(scope.channel, clock() - started, None)
        return rows

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
        self._counters.fetches += 1
        try:
            rows = list(await self._query(scope))
            await scope.handlers_answered()
        except Exception as error:  # noqa: BLE001 -- the mutation succeeded; only its picture is late
            self._counters.failures += 1
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
