"""The scopes of a collection: who needs which, and the shell around `ScopeMachine`.

It owns the timers, the fetch tasks and the subscriptions of one run of a collection and carries out what the machines
decide. What a message or a fetch means for the rows is a subclass's matter. Everything ends with `aclose`.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, Generic, Protocol

from typing_extensions import TypeVar

from ._errors import ChannelDeniedError
from ._observe import Observer
from ._scope import Cancel, DropRows, Fetch, ScopeAction, ScopeMachine, StatusChanged, Stop, Subscribe, Wait
from ._supervisor import loop_runs
from ._transport import Inbound

__all__ = ["ScopeHost", "ScopeKeeper", "ScopeListener", "ScopeStatus", "Watcher"]

S = TypeVar("S", bound="ScopeListener")


class ScopeHost(Protocol):
    """What scopes need of the collection and its client."""

    @property
    def acknowledgement_expected(self) -> bool:
        """Whether a connection is there or coming, so that waiting for an acknowledgement is worth it."""
        ...

    def subscribe(self, channel: str, listener: ScopeListener, /) -> Callable[[], None] | None:
        """Subscribe; returns how to unsubscribe, or None while there is no client."""
        ...

    def report(self, error: Exception, /) -> None:
        """Tell the application about a failure in the background."""
        ...

    @property
    def observer(self) -> Observer:
        """Who hears what happens."""
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


class ScopeListener:
    """One scope: its machine, timers, fetch and subscription. The client calls the ``on_`` methods."""

    def __init__(
        self, keeper: ScopeKeeper[Any], channel: str, params: Mapping[str, Any], machine: ScopeMachine
    ) -> None:
        self.channel = channel
        self.params = params
        self.machine = machine
        self.watchers: set[Watcher] = set()
        self._keeper = keeper
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._fetch: asyncio.Task[None] | None = None
        self._unsubscribe: Callable[[], None] | None = None

    # -- what the client tells ---------------------------------------------------------------------------------------

    def on_message(self, message: Inbound) -> None:
        self._keeper.heard(self, message)

    def on_live(self, recovered: bool | None) -> None:
        self.take(self.machine.acknowledged(recovered))

    def on_gap(self, reason: str) -> None:
        self.take(self.machine.gap())

    def on_offline(self) -> None:
        self.take(self.machine.offline())

    def on_denied(self, error: ChannelDeniedError) -> None:
        self._keeper.host.report(error)
        self.take(self.machine.refused(error))

    def on_focus(self) -> None:
        self.take(self.machine.refetch())

    # -- carrying out ------------------------------------------------------------------------------------------------

    def take(self, actions: list[ScopeAction]) -> None:
        for action in actions:
            match action:
                case Subscribe():
                    self.subscribe()
                case Fetch(number):
                    self._fetch = asyncio.get_running_loop().create_task(
                        self._keeper.fetch(self, number), context=self._keeper.context.copy()
                    )
                case Wait(kind, delay):
                    self._cancel(kind)
                    self._timers[kind] = asyncio.get_running_loop().call_later(delay, self._fire, kind)
                case Cancel(kind):
                    self._cancel(kind)
                case DropRows():
                    self._keeper.drop_rows(self)
                case StatusChanged():
                    self.changed()
                case Stop():
                    self._end()
                    self._keeper.ended(self)

    def changed(self) -> None:
        """Tell everybody who needs the scope that its status is another one."""
        for watcher in tuple(self.watchers):
            watcher.scope_changed()

    def subscribe(self) -> None:
        """Subscribe where there is a client and no subscription yet."""
        if self._unsubscribe is None:
            self._unsubscribe = self._keeper.host.subscribe(self.channel, self)

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


class ScopeKeeper(ABC, Generic[S]):
    """The scopes of one run of a collection.

    Args:
        host: the collection.
        make_machine: a fresh `ScopeMachine`.
    """

    def __init__(self, *, host: ScopeHost, make_machine: Callable[[], ScopeMachine]) -> None:
        self._host = host
        self.context = copy_context()
        """Every fetch runs as the first one would: in the session that started the collection, not in whatever task
        happened to bring the reason."""
        self._make_machine = make_machine
        self._scopes: dict[str, S] = {}
        self._ending: set[S] = set()

    @property
    def host(self) -> ScopeHost:
        """The collection."""
        return self._host

    # -- use ---------------------------------------------------------------------------------------------------------

    def retain(self, channel: str, params: Mapping[str, Any], watcher: Watcher) -> None:
        """`watcher` needs the scope."""
        scope = self._scopes.get(channel)
        if scope is None:
            scope = self._scopes[channel] = self._open(channel, params, self._make_machine())
        scope.watchers.add(watcher)
        scope.take(scope.machine.retained(acknowledgement_expected=self._host.acknowledgement_expected))

    def release(self, channel: str, watcher: Watcher) -> None:
        """`watcher` needs it no more; the last one starts the linger. Without a running loop it stays."""
        scope = self._scopes.get(channel)
        if scope is not None and watcher in scope.watchers:
            scope.watchers.discard(watcher)
            if not scope.watchers and loop_runs():
                scope.take(scope.machine.released())

    def status(self, channel: str) -> ScopeStatus | None:
        """Return how a scope is doing, or None when nobody needs it."""
        scope = self._scopes.get(channel)
        return None if scope is None else self._status(scope)

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

    async def _finished(self, ending: Iterable[S]) -> None:
        await asyncio.gather(*(scope.finished() for scope in ending))

    def ended(self, scope: S) -> None:
        """A scope stopped: its rows go."""
        del self._scopes[scope.channel]
        self._ending = {other for other in {*self._ending, scope} if other.is_fetching}
        self._close(scope)

    # -- what the rows are -------------------------------------------------------------------------------------------

    @abstractmethod
    def heard(self, scope: S, inbound: Inbound) -> None:
        """A message arrived on the scope's channel."""

    @abstractmethod
    async def fetch(self, scope: S, number: int) -> None:
        """Fetch for the scope's machine and tell it how that ended."""

    @abstractmethod
    def drop_rows(self, scope: S) -> None:
        """Remove the rows of a scope that goes on."""

    @abstractmethod
    def _open(self, channel: str, params: Mapping[str, Any], machine: ScopeMachine) -> S: ...

    @abstractmethod
    def _close(self, scope: S) -> None: ...

    @abstractmethod
    def _status(self, scope: S) -> ScopeStatus: ...
