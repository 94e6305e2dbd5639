"""Presence in memory: who is in which room, with which state, told to everybody there a few times per second.

No I/O and no clock. Who a member is, the connection knows, never the member; a client says only its state. Changes are
collected and told together: a member that moves a hundred times between two flushes is told once, with its last state.

A client that comes back while its former connection has not been found dead yet names the same client id in its hello;
the former one leaves at once then, so that nobody sees it twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from tanstack_realtime.server import ServerObserver

from ._packet import Packet
from ._protocol import presence_change_frame, presence_member

__all__ = ["Attendee", "Guest", "Rooms"]

FLUSH: Final = 0.05
"""Seconds for which changes are collected."""


class Guest(Protocol):
    """A connection in rooms. Compared by identity."""

    def deliver(self, packet: Packet, /) -> None:
        """Take frames. Must not raise, and must not block."""
        ...


@dataclass(frozen=True, slots=True)
class Attendee:
    """Who a connection is: what the server knows, and the client's own id, which counts for the same user only."""

    connection_id: str
    user_id: str
    client_id: str


@dataclass(frozen=True, slots=True)
class _Member:
    who: Attendee
    state: str
    stalled: bool = False

    def wire(self) -> str:
        return presence_member(self.who.connection_id, self.who.user_id, self.state, stalled=self.stalled)


class _Room:
    __slots__ = ("dirty", "guests", "left", "members")

    def __init__(self) -> None:
        self.guests: dict[Guest, None] = {}
        self.members: dict[Guest, _Member] = {}
        self.dirty: dict[Guest, None] = {}
        self.left: dict[str, None] = {}


class Rooms:
    """The rooms of one server.

    Args:
        defer: calls `flush` a little later, `FLUSH` seconds; asked once per batch of changes.
        observer: hears who joins and leaves; its methods never raise.
    """

    def __init__(self, *, defer: Callable[[Callable[[], None]], object], observer: ServerObserver) -> None:
        self._defer = defer
        self._observer = observer
        self._rooms: dict[str, _Room] = {}
        self._rooms_of: dict[Guest, set[str]] = {}
        self._dirty: dict[str, None] = {}

    def count(self, guest: Guest) -> int:
        """In how many rooms a connection is."""
        return len(self._rooms_of.get(guest, ()))

    def is_guest(self, guest: Guest, channel: str) -> bool:
        """Whether the connection observes the room."""
        return channel in self._rooms_of.get(guest, ())

    def is_member(self, guest: Guest, channel: str) -> bool:
        """Whether the connection is a member of the room."""
        room = self._rooms.get(channel)
        return room is not None and guest in room.members

    def observe(self, guest: Guest, channel: str) -> list[str]:
        """Tell the connection about the room from now on. Returns the members as JSON."""
        room = self._rooms.setdefault(channel, _Room())
        room.guests[guest] = None
        self._rooms_of.setdefault(guest, set()).add(channel)
        return [member.wire() for member in room.members.values()]

    def join(self, guest: Guest, channel: str, who: Attendee, state: str) -> list[str]:
        """Make the connection a member, or change its state, and observe. Returns the members as JSON."""
        room = self._rooms.setdefault(channel, _Room())
        for other, member in list(room.members.items()):
            same = (member.who.user_id, member.who.client_id) == (who.user_id, who.client_id)
            if other is not guest and same and who.client_id and who.user_id:
                self.leave(other, channel)
        new = guest not in room.members
        self._put(room, guest, channel, _Member(who, state))
        if new:
            self._observer.presence_joined(who.connection_id, who.user_id, channel)
        return self.observe(guest, channel)

    def update(self, guest: Guest, channel: str, state: str) -> bool:
        """Replace a member's state. Returns False for one who is no member."""
        room = self._rooms.get(channel)
        member = None if room is None else room.members.get(guest)
        if room is None or member is None:
            return False
        if member.state != state:
            self._put(room, guest, channel, replace(member, state=state))
        return True

    def stall(self, guest: Guest, *, stalled: bool) -> None:
        """The connection has not been heard of for a while, or is heard again."""
        for channel in self._rooms_of.get(guest, ()):
            room = self._rooms[channel]
            member = room.members.get(guest)
            if member is not None and member.stalled != stalled:
                self._put(room, guest, channel, replace(member, stalled=stalled))

    def leave(self, guest: Guest, channel: str) -> None:
        """End a membership. One who is no member is no error."""
        room = self._rooms.get(channel)
        member = None if room is None else room.members.pop(guest, None)
        if room is not None and member is not None:
            room.dirty.pop(guest, None)
            room.left[member.who.connection_id] = None
            self._mark(channel)
            self._observer.presence_left(member.who.connection_id, member.who.user_id, channel)

    def unobserve(self, guest: Guest, channel: str) -> None:
        """End membership and observation."""
        self.leave(guest, channel)
        channels = self._rooms_of.get(guest)
        if channels is None or channel not in channels:
            return
        channels.discard(channel)
        if not channels:
            del self._rooms_of[guest]
        room = self._rooms[channel]
        del room.guests[guest]
        if not room.guests:
            del self._rooms[channel]
            self._dirty.pop(channel, None)

    def remove(self, guest: Guest) -> None:
        """The connection is gone: out of every room."""
        for channel in sorted(self._rooms_of.get(guest, ())):
            self.unobserve(guest, channel)

    def flush(self) -> None:
        """Tell every room what changed since the last time."""
        dirty, self._dirty = self._dirty, {}
        for channel in dirty:
            room = self._rooms.get(channel)
            if room is None:
                continue  # a delivery closed the last connection in it
            members = [room.members[guest].wire() for guest in room.dirty]
            frame = Packet(presence_change_frame(channel, members, list(room.left)))
            room.dirty, room.left = {}, {}
            for guest in list(room.guests):
                guest.deliver(frame)

    @property
    def rooms(self) -> int:
        """How many rooms have somebody in them."""
        return len(self._rooms)

    def members(self, channel: str) -> Sequence[Attendee]:
        """Return who is in a room."""
        room = self._rooms.get(channel)
        return [] if room is None else [member.who for member in room.members.values()]

    def _put(self, room: _Room, guest: Guest, channel: str, member: _Member) -> None:
        room.members[guest] = member
        room.left.pop(member.who.connection_id, None)
        room.dirty[guest] = None
        self._mark(channel)

    def _mark(self, channel: str) -> None:
        if not self._dirty:
            self._defer(self.flush)
        self._dirty[channel] = None
