"""Who there is, and who belongs to which room. A real application asks its database."""

from __future__ import annotations

from typing import Final

__all__ = ["PEOPLE", "ROOMS", "is_member", "rooms_of"]

PEOPLE: Final = {"ann": "Ann", "bo": "Bo", "cleo": "Cleo"}

ROOMS: Final = {
    "lobby": frozenset(PEOPLE),
    "kitchen": frozenset({"ann", "bo"}),
}


def is_member(user_id: str | None, room_id: str | None) -> bool:
    return user_id in ROOMS.get(room_id or "", ())


def rooms_of(user_id: str) -> list[str]:
    return [room_id for room_id in ROOMS if is_member(user_id, room_id)]
