"""Presence of the reference preset: rooms, who is in them, and who is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeAlias

from tanstack_realtime._errors import PublishError

__all__ = ["Guest", "Rooms"]

Frame: TypeAlias = "dict[str, Any]"

MAX_STATE: Final = 16_384
"""Largest state of a member, as UTF-8 JSON."""


class Guest(Protocol):
    """A connection in rooms. Compared by identity."""

    user_id: str | None
    connection_id: str

    def send(self, frame: Frame, /) -> None:
        """Queue a frame."""
        ...


@dataclass(slots=True)
class _Room:
    guests: dict[Guest, None] = field(default_factory=dict[Guest, None])
    states: dict[Guest, Mapping[str, Any]] = field(default_factory=dict[Guest, Mapping[str, Any]])


class Rooms:
    """All rooms of a server. Every change is told at once, also to who made it."""

    def __init__(self) -> None:
        self._rooms: dict[str, _Room] = {}

    def is_in(self, guest: Guest, channel: str) -> bool:
        """Return whether a connection observes a room."""
        return channel in self._rooms and guest in self._rooms[channel].guests

    def observe(self, guest: Guest, channel: str) -> None:
        """Let a connection hear of a room, first of all who is in it."""
        room = self._rooms.setdefault(channel, _Room())
        room.guests[guest] = None
        members = [_entry(member, state) for member, state in room.states.items()]
        guest.send({"type": "members", "channel": channel, "entries": members})

    def join(self, guest: Guest, channel: str, state: Mapping[str, Any]) -> None:
        """Make a connection a member, or change its state."""
        self.observe(guest, channel)
        self._put(guest, channel, state)

    def update(self, guest: Guest, channel: str, state: Mapping[str, Any]) -> None:
        """Replace a member's state.

        Raises:
            PublishError: it is no member.
        """
        if not self.is_in(guest, channel) or guest not in self._rooms[channel].states:
            raise PublishError(f"not a member of {channel!r}", code="not_joined", reason="join first", channel=channel)
        self._put(guest, channel, state)

    def leave(self, guest: Guest, channel: str) -> None:
        """End a membership. No member is no error."""
        if self.is_in(guest, channel) and self._rooms[channel].states.pop(guest, None) is not None:
            self._tell(channel, [], [guest.connection_id])

    def unobserve(self, guest: Guest, channel: str) -> bool:
        """End membership and observation. Returns whether there was one."""
        if not self.is_in(guest, channel):
            return False
        self.leave(guest, channel)
        room = self._rooms[channel]
        del room.guests[guest]
        if not room.guests:
            del self._rooms[channel]
        return True

    def remove(self, guest: Guest) -> None:
        """The connection is gone."""
        for channel in list(self._rooms):
            self.unobserve(guest, channel)

    def _put(self, guest: Guest, channel: str, state: Mapping[str, Any]) -> None:
        self._rooms[channel].states[guest] = state
        self._tell(channel, [_entry(guest, state)], [])

    def _tell(self, channel: str, entries: list[Frame], left: list[str]) -> None:
        for guest in list(self._rooms[channel].guests):
            guest.send({"type": "presence", "channel": channel, "entries": entries, "left": left})


def _entry(guest: Guest, state: Mapping[str, Any]) -> Frame:
    return {"connection": guest.connection_id, "user": guest.user_id, "state": state}
