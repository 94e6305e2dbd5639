"""The shell around `ConnectionMachine`: timers, tasks and the transport.

For every attempt one task opens the link, keeps it, and closes it. The next attempt begins when that task has ended, so
there is never more than one socket, however fast `connect` and `disconnect` follow each other.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from ._connection import ConnectionMachine, Phase
from ._connection_events import (
    Action,
    Alive,
    CancelTimer,
    CloseLink,
    Emit,
    Event,
    FailWaiters,
    Focused,
    Forget,
    LinkClosed,
    LinkDown,
    Open,
    Opened,
    OpenFailed,
    Probe,
    ResolveWaiters,
    Resubscribe,
    Resumed,
    Settled,
    StartTimer,
    Suspended,
    TimerFired,
    TimerKind,
)
from ._errors import ConnectionLostError, NotConnectedError, RealtimeError
from ._presence_hub import PresenceHub
from ._subscriptions import SubscriptionHub
from ._supervisor import Supervisor
from ._transport import CloseReason, Inbound, Link, OpenRequest, RealtimeTransport, SubscribeAck

__all__ = ["ConnectionDriver"]

_CLOSE_WITHIN: Final = 5.0
"""Seconds that a link may take to close before the next attempt stops waiting for it."""


class ConnectionDriver:
    """Carries out what the machine decides.

    Args:
        transport: opens links.
        machine: decides.
        supervisor: owns the tasks.
        hub: the channels.
        presence: the rooms.
        make_request: gathers what an attempt needs; raises `RealtimeError`.
        show: the public status changed.
        forget: another user is connected, told the former one and the new one.
        focused: what is on the screen should be fresh.
        report: takes failures that no caller can be told about.

    Attributes:
        machine: the machine.
        connection_id: of the present link, or the last one.
    """

    def __init__(
        self,
        *,
        transport: RealtimeTransport,
        machine: ConnectionMachine,
        supervisor: Supervisor,
        hub: SubscriptionHub,
        presence: PresenceHub,
        make_request: Callable[[], Awaitable[OpenRequest]],
        show: Callable[[Emit], None],
        forget: Callable[[str | None, str | None], None],
        focused: Callable[[], None],
        report: Callable[[Exception], None],
    ) -> None:
        self.machine = machine
        self.connection_id: str | None = None
        self._transport = transport
        self._supervisor = supervisor
        self._hub = hub
        self._presence = presence
        self._make_request = make_request
        self._show = show
        self._forget = forget
        self._focused = focused
        self._report = report
        self._attempts: dict[int, _Attempt] = {}
        self._timers: dict[TimerKind, asyncio.TimerHandle] = {}
        self._ping: asyncio.Task[None] | None = None
        self._waiters: set[asyncio.Future[None]] = set()
        self._operations: set[asyncio.Timeout] = set()
        self._events: deque[Event] = deque()
        self._busy = False
        self._last_heard = 0.0

    # -- for the client ------------------------------------------------------------------------------------------------

    @property
    def link(self) -> Link | None:
        """The link that can be used now."""
        attempt = self._attempts.get(self.machine.generation)
        return attempt.link if attempt is not None and self.machine.phase in _USABLE else None

    def dispatch(self, event: Event) -> None:
        """Give the machine an event and carry out what it says.

        What is caused on the way waits its turn, so the machine sees one event after the other.
        """
        self._events.append(event)
        if self._busy:
            return
        self._busy = True
        try:
            while self._events:
                for action in self.machine.handle(self._events.popleft()):
                    self._carry_out(action)
        finally:
            self._busy = False

    async def connected(self) -> None:
        """Wait until connected. Raises when the machine gives up, or is not trying."""
        if self.machine.phase is Phase.CONNECTED:
            return
        if self.machine.refusal is not None:
            raise self.machine.refusal.with_traceback(None)
        if self.machine.phase is Phase.IDLE:
            raise NotConnectedError("there is no connection and none is attempted; call connect() first")
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)

    async def request(self, what: str, call: Callable[[Link], Awaitable[None]], *, deadline: float) -> None:
        """Make one request on the link. It ends with the link, whatever the transport does.

        Args:
            what: for errors.
            call: makes the request.
            deadline: seconds.

        Raises:
            NotConnectedError: there is no link.
            ConnectionLostError: the link went away, or no answer came in time.
        """
        link = self.link
        if link is None:
            raise NotConnectedError(f"{what}: not connected")
        try:
            async with asyncio.timeout(deadline) as scope:
                self._operations.add(scope)
                try:
                    await call(link)
                finally:
                    self._operations.discard(scope)
        except TimeoutError as error:
            why = "the connection was lost" if self.link is not link else f"no answer within {deadline:g} s"
            raise ConnectionLostError(f"{what}: {why}; it may have happened or not", reason=why) from error
        self.heard()

    def heard(self) -> None:
        """Something arrived on the link."""
        self._last_heard = asyncio.get_running_loop().time()

    async def ended(self) -> None:
        """Wait until no attempt and no link is left."""
        while tasks := [attempt.task for attempt in self._attempts.values() if attempt.task is not None]:
            await asyncio.wait(tasks)

    # -- carrying out --------------------------------------------------------------------------------------------------

    def _carry_out(self, action: Action) -> None:
        match action:
            case Open(generation):
                self._open(generation)
            case CloseLink(generation):
                if (attempt := self._attempts.get(generation)) is not None:
                    attempt.end()
            case StartTimer(kind, number, delay):
                self._cancel(kind)
                loop = asyncio.get_running_loop()
                self._timers[kind] = loop.call_later(delay, self._fire, kind, number)
            case CancelTimer(kind):
                self._cancel(kind)
            case Emit():
                self._show(action)
            case ResolveWaiters():
                for waiter in self._waiters:
                    if not waiter.done():
                        waiter.set_result(None)
            case FailWaiters(error, refused):
                waiting = [waiter for waiter in self._waiters if not waiter.done()]
                for waiter in waiting:
                    waiter.set_exception(error)
                if refused and not waiting:
                    self._report(error)
            case Forget(former, user_id):
                self._forget(former, user_id)
            case Resubscribe(generation, retry_denied, acks):
                self._resubscribe(generation, retry_denied, acks)
            case LinkDown():
                self._link_down()
            case Probe(generation):
                if self._ping is None or self._ping.done():
                    self._ping = self._supervisor.start(self._probe(generation), "ping")
            case Focused():
                self._focused()

    def _open(self, generation: int) -> None:
        attempt = self._attempts[generation] = _Attempt(generation)
        attempt.task = self._supervisor.start(self._run(attempt), f"connection {generation}")
        # Not in the task itself: one that is cancelled before its first step never runs any of its code.
        attempt.task.add_done_callback(lambda _: self._attempts.pop(generation))

    def _resubscribe(self, generation: int, retry_denied: bool, acks: Mapping[str, SubscribeAck]) -> None:
        link = self._attempts[generation].link
        assert link is not None
        self._presence.link_up(link, self.connection_id or link.connection_id, retry_denied=retry_denied)
        self._hub.link_up(
            link, retry_denied=retry_denied, acks=acks, settled=lambda: self.dispatch(Settled(generation))
        )

    def _link_down(self) -> None:
        now = asyncio.get_running_loop().time()
        for scope in self._operations:
            if not scope.expired():
                scope.reschedule(now)
        if self._ping is not None:
            self._ping.cancel()
            self._ping = None
        self._presence.link_down()
        self._hub.link_down()

    def _fire(self, kind: TimerKind, number: int) -> None:
        silence = asyncio.get_running_loop().time() - self._last_heard
        self.dispatch(TimerFired(kind, number, silence))

    def _cancel(self, kind: TimerKind) -> None:
        timer = self._timers.pop(kind, None)
        if timer is not None:
            timer.cancel()

    # -- tasks ---------------------------------------------------------------------------------------------------------

    async def _run(self, attempt: _Attempt) -> None:
        generation = attempt.generation
        await self._wait_for_older(generation)
        sink = _Sink(self, self._hub, generation)
        link = await self._attempt(generation, sink)
        if link is None:
            return
        attempt.link = link
        self.heard()
        self.connection_id = link.connection_id
        try:
            self.dispatch(Opened(generation, link.user_id))
            if sink.ended is not None:
                self.dispatch(LinkClosed(generation, sink.ended))
            await attempt.over.wait()
        finally:
            await self._close(link)

    async def _wait_for_older(self, generation: int) -> None:
        older = [a.task for number, a in self._attempts.items() if number < generation and a.task is not None]
        if not older:
            return
        _, stuck = await asyncio.wait(older, timeout=_CLOSE_WITHIN)
        if stuck:
            self._report(ConnectionLostError(f"the former connection did not end within {_CLOSE_WITHIN:g} s"))

    async def _attempt(self, generation: int, sink: _Sink) -> Link | None:
        error: RealtimeError
        try:
            return await self._transport.open(await self._make_request(), sink)
        except RealtimeError as failure:
            error = failure
        except Exception as failure:  # noqa: BLE001 -- a transport's fault is reported and retried
            self._report(failure)
            error = ConnectionLostError(f"the transport failed to connect: {failure!r}", reason=repr(failure))
            error.__cause__ = failure
        self.dispatch(OpenFailed(generation, error))
        return None

    async def _close(self, link: Link) -> None:
        try:
            async with asyncio.timeout(_CLOSE_WITHIN):
                await link.close()
        except TimeoutError:
            self._report(ConnectionLostError(f"a connection did not close within {_CLOSE_WITHIN:g} s"))
        except Exception as error:  # noqa: BLE001 -- the link is given up either way
            self._report(error)

    async def _probe(self, generation: int) -> None:
        link = self.link
        if link is None:
            return
        try:
            await link.ping()
        except Exception as error:  # noqa: BLE001 -- whatever the reason, the round trip failed
            if not isinstance(error, RealtimeError):
                self._report(error)
            self.dispatch(LinkClosed(generation, CloseReason(reason=f"the connection does not answer: {error}")))
        else:
            self.heard()
            self.dispatch(Alive(generation))


# No set: that would hash the phase for every message, and an enum's hash is a function of Python.
_USABLE: Final = (Phase.SETTLING, Phase.CONNECTED)


class _Attempt:
    """One generation: its task, and its link once there is one."""

    def __init__(self, generation: int) -> None:
        self.generation = generation
        self.task: asyncio.Task[None] | None = None
        self.link: Link | None = None
        self.over = asyncio.Event()

    def end(self) -> None:
        """Close the link, or stop opening it."""
        self.over.set()
        if self.link is None and self.task is not None:
            self.task.cancel()


class _Sink:
    """What the transport of one generation talks to. A link that no longer counts talks to nobody."""

    def __init__(self, driver: ConnectionDriver, hub: SubscriptionHub, generation: int) -> None:
        self._driver = driver
        self._hub = hub
        self._generation = generation
        self.ended: CloseReason | None = None

    def message(self, channel: str, message: Inbound, /) -> None:
        if self._counts():
            self._hub.message(channel, message)

    def gap(self, channel: str, reason: str, /) -> None:
        if self._counts():
            self._hub.gap(channel, reason)

    def revoked(self, channel: str, code: str, reason: str, /) -> None:
        if self._counts():
            self._hub.revoked(channel, code, reason)

    def suspended(self, reason: CloseReason, /) -> None:
        self._driver.dispatch(Suspended(self._generation, reason))

    def resumed(self, connection_id: str, acks: Mapping[str, SubscribeAck], /) -> None:
        if self._driver.machine.generation == self._generation:
            self._driver.heard()
            self._driver.connection_id = connection_id
            self._driver.dispatch(Resumed(self._generation, acks))

    def closed(self, reason: CloseReason, /) -> None:
        self.ended = reason
        self._driver.dispatch(LinkClosed(self._generation, reason))

    def _counts(self) -> bool:
        driver = self._driver
        counts = driver.machine.generation == self._generation and driver.link is not None
        if counts:
            driver.heard()
        return counts
