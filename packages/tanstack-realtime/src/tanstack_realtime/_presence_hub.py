"""Presence of one client: the shell around `PresenceMachine`, with its tasks, timers and listeners.

Listeners are told in the loop's next turn, once for all that happened in this one, so that a burst of cursor moves is
one render.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from ._errors import ConfigurationError, ConnectionLostError, RealtimeError
from ._presence import (
    CancelWait,
    Join,
    Leave,
    Observe,
    PresenceAction,
    PresenceMachine,
    Refused,
    Show,
    TimerKind,
    Unobserve,
    Update,
    Wait,
)
from ._presence_link import PresenceEntry, PresenceLink
from ._supervisor import Supervisor
from ._transport import Link

__all__ = ["PresenceHub", "PresenceListener", "PresenceRoom"]

INTERVAL: Final = 0.05
"""Least seconds between two updates of a member."""


class PresenceListener(Protocol):
    """Somebody who shows a room."""

    def outdate(self) -> None:
        """The members, the own state or the status are other than before. Called at once."""

    def room_changed(self) -> None:
        """So they are; called in the loop's next turn."""


class PresenceRoom:
    """One channel: its machine, and who shows it.

    Attributes:
        machine: decides. To be read only, outside of the hub.
        listeners: who is told.
        members: listeners that want to be members; together they are one.
    """

    def __init__(self, channel: str, machine: PresenceMachine) -> None:
        self.channel: Final = channel
        self.machine = machine
        self.listeners: dict[PresenceListener, None] = {}
        self.members: set[PresenceListener] = set()
        self.timers: dict[TimerKind, asyncio.TimerHandle] = {}


class _Sink:
    """What the link of one connection tells about one room."""

    def __init__(self, hub: PresenceHub, room: PresenceRoom, link: Link) -> None:
        self._hub = hub
        self._room = room
        self._link = link

    def snapshot(self, entries: Sequence[PresenceEntry], /) -> None:
        if self._hub.is_current(self._link):
            self._hub.take(self._room, self._room.machine.snapshot(entries))

    def changed(self, entries: Sequence[PresenceEntry], left: Sequence[str], /) -> None:
        if self._hub.is_current(self._link):
            self._hub.take(self._room, self._room.machine.changed(entries, left))

    def revoked(self, code: str, reason: str, /) -> None:
        if self._hub.is_current(self._link):
            self._hub.take(self._room, self._room.machine.revoked(code, reason))


class PresenceHub:
    """All rooms of one client.

    Args:
        supervisor: owns the requests.
        random: a float in [0, 1).
        report: takes what listeners raise, and refusals.
        keeps_state: whether the provider keeps each member's state, or None where it has no presence at all.
        changed: called after changes that `rooms` would show.
    """

    def __init__(
        self,
        *,
        supervisor: Supervisor,
        random: Callable[[], float],
        report: Callable[[Exception], None],
        keeps_state: Callable[[], bool | None],
        changed: Callable[[], None],
    ) -> None:
        self._supervisor = supervisor
        self._random = random
        self.report: Final = report
        self._keeps_state = keeps_state
        self._changed = changed
        self.rooms: dict[str, PresenceRoom] = {}
        """By wire string."""
        self._link: Link | None = None
        self._connection_id = ""
        self._requests: set[asyncio.Task[None]] = set()
        self._dirty: dict[PresenceRoom, None] = {}
        self._delivery: asyncio.Handle | None = None

    # -- the application -----------------------------------------------------------------------------------------------

    def open(self, channel: str, listener: PresenceListener, state: Mapping[str, Any] | None) -> PresenceRoom:
        """Show a room to `listener`, and with a state be a member of it."""
        known = self.rooms.get(channel)
        room = known or PresenceRoom(channel, PresenceMachine(channel, interval=INTERVAL, random=self._random))
        room.listeners[listener] = None
        if known is None:
            self.rooms[channel] = room
            self._link_up(room, retry_denied=False)
        if state is not None:
            self.join(room, listener, state)
        self.take(room, room.machine.observed())
        return room

    def close(self, room: PresenceRoom, listener: PresenceListener) -> None:
        """Show it no longer; if it was the last member, leave."""
        if listener not in room.listeners:
            return
        self.leave(room, listener)
        del room.listeners[listener]
        self.take(room, room.machine.unobserved())

    def join(self, room: PresenceRoom, listener: PresenceListener, state: Mapping[str, Any]) -> None:
        """Make the client a member on behalf of `listener`."""
        room.members.add(listener)
        self.take(room, room.machine.joined(state, self._now()))

    def update(self, room: PresenceRoom, fields: Mapping[str, Any]) -> None:
        """Merge fields into the own state."""
        self.take(room, room.machine.updated_by(fields, self._now()))

    def leave(self, room: PresenceRoom, listener: PresenceListener) -> None:
        """`listener` needs no membership any more; the last one ends it."""
        room.members.discard(listener)
        if not room.members:
            self.take(room, room.machine.left(self._now()))

    def retry(self, room: PresenceRoom) -> None:
        """Ask again for a room that was refused."""
        self.take(room, room.machine.retry())

    def shut_down(self) -> None:
        """Forget every room. The members leave with the connection."""
        for room in list(self.rooms.values()):
            for listener in list(room.listeners):
                self.close(room, listener)
        self.link_down()
        self.rooms.clear()
        if self._delivery is not None:
            self._delivery.cancel()

    # -- the connection ------------------------------------------------------------------------------------------------

    def link_up(self, link: Link, connection_id: str, *, retry_denied: bool) -> None:
        """There is a link: join and observe what is wanted."""
        self._link, self._connection_id = link, connection_id
        for room in list(self.rooms.values()):
            self._link_up(room, retry_denied=retry_denied)

    def link_down(self) -> None:
        """There is none any more."""
        self._link = None
        for task in self._requests:
            task.cancel()
        for room in list(self.rooms.values()):
            self.take(room, room.machine.link_down())

    def forget(self) -> None:
        """Another user."""
        for room in list(self.rooms.values()):
            room.members.clear()
            self.take(room, room.machine.forget())

    def is_current(self, link: Link) -> bool:
        """Whether what this link says counts."""
        return self._link is link

    def _link_up(self, room: PresenceRoom, *, retry_denied: bool) -> None:
        if self._link is not None:
            keeps = self._keeps_state()
            self.take(
                room,
                room.machine.link_up(self._connection_id, keeps_state=keeps is not False, retry_denied=retry_denied),
            )

    # -- carrying out --------------------------------------------------------------------------------------------------

    def take(self, room: PresenceRoom, actions: Iterable[PresenceAction]) -> None:
        """Carry out what a room's machine decided."""
        for action in actions:
            match action:
                case Observe(number):
                    self._ask(room, number, lambda link, sink: link.observe_presence(room.channel, sink))
                case Join(number, state):
                    self._ask(room, number, _joining(room.channel, state))
                case Leave(number):
                    self._ask(room, number, lambda link, _: link.leave_presence(room.channel))
                case Unobserve(number):
                    self._ask(room, number, lambda link, _: link.unobserve_presence(room.channel))
                case Update(state, clock):
                    self._start(self._update(self._current(), room, state, clock), room)
                case Wait(kind, delay):
                    self._cancel(room, kind)
                    loop = asyncio.get_running_loop()
                    room.timers[kind] = loop.call_later(delay, self._fire, room, kind)
                case CancelWait(kind):
                    self._cancel(room, kind)
                case Show():
                    self._show(room)
                case Refused(error):
                    self.report(error)
        if room.machine.is_disposable and not room.listeners and self.rooms.get(room.channel) is room:
            del self.rooms[room.channel]
            self._changed()

    def _show(self, room: PresenceRoom) -> None:
        for listener in room.listeners:
            listener.outdate()
        self._dirty[room] = None
        if self._delivery is None:
            self._delivery = asyncio.get_running_loop().call_soon(self._tell)

    def _tell(self) -> None:
        self._delivery = None
        dirty, self._dirty = self._dirty, {}
        for room in dirty:
            for listener in list(room.listeners):
                if listener in room.listeners:
                    try:
                        listener.room_changed()
                    except Exception as error:  # noqa: BLE001 -- one listener's failure is not another's
                        self.report(error)
        self._changed()

    def _fire(self, room: PresenceRoom, kind: TimerKind) -> None:
        del room.timers[kind]
        self.take(room, room.machine.timer_fired(kind, self._now()))

    @staticmethod
    def _cancel(room: PresenceRoom, kind: TimerKind) -> None:
        timer = room.timers.pop(kind, None)
        if timer is not None:
            timer.cancel()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    # -- requests ------------------------------------------------------------------------------------------------------

    def _current(self) -> Link:
        assert self._link is not None, "the machine asks only while there is a link"
        return self._link

    def _ask(self, room: PresenceRoom, number: int, call: _Call) -> None:
        self._start(self._request(self._current(), room, number, call), room)

    def _start(self, work: Coroutine[Any, Any, None], room: PresenceRoom) -> None:
        task = self._supervisor.start(work, f"presence on {room.channel}")
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)

    async def _request(self, link: Link, room: PresenceRoom, number: int, call: _Call) -> None:
        try:
            await call(self._presence_of(link, room), _Sink(self, room, link))
        except RealtimeError as error:
            self.take(room, room.machine.failed(number, error))
        except Exception as error:  # noqa: BLE001 -- a transport's fault must not end the room
            self.report(error)
            self.take(room, room.machine.failed(number, self._fault(room, error)))
        else:
            self.take(room, room.machine.done(number, self._now()))

    async def _update(self, link: Link, room: PresenceRoom, state: Mapping[str, Any], clock: int) -> None:
        failure: RealtimeError | None = None
        try:
            await self._presence_of(link, room).update_presence(room.channel, state, clock)
        except RealtimeError as error:
            failure = error
            if not error.retryable and error.code != "not_joined":
                self.report(error)
        except Exception as error:  # noqa: BLE001 -- as above
            self.report(error)
            failure = self._fault(room, error)
        self.take(room, room.machine.updated(self._now(), failure))

    def _presence_of(self, link: Link, room: PresenceRoom) -> PresenceLink:
        if self._keeps_state() is None or not isinstance(link, PresenceLink):
            raise ConfigurationError(
                f"this preset has no presence, so {room.channel!r} has no members; choose another one",
                channel=room.channel,
                code="unsupported",
                reason="the preset has no presence",
            )
        return link

    @staticmethod
    def _fault(room: PresenceRoom, error: Exception) -> RealtimeError:
        fault = ConnectionLostError(f"the transport failed in presence: {error!r}", channel=room.channel)
        fault.__cause__ = error
        return fault


class _Call(Protocol):
    def __call__(self, link: PresenceLink, sink: _Sink, /) -> Coroutine[Any, Any, None]: ...


def _joining(channel: str, state: Mapping[str, Any]) -> _Call:
    return lambda link, sink: link.join_presence(channel, state, sink)
