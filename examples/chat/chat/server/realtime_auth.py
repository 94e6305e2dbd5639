"""Who may do what on which channel: the one function that guards every channel on every preset."""

from __future__ import annotations

from typing import Any

from tanstack_realtime import Channel
from tanstack_realtime.server import Permissions, Reject

from ..rooms import is_member

__all__ = ["authorize", "validate"]


def authorize(user_id: str, channel: Channel) -> Permissions:
    match channel:
        case Channel("chat", {"room_id": room_id}) if is_member(user_id, room_id):
            # No publish: messages are posted by the server function, which stores them and knows the author.
            return Permissions(subscribe=True, presence=True)
        case Channel("chat:typing", {"room_id": room_id}) if is_member(user_id, room_id):
            return Permissions(subscribe=True, publish=True)
        case _:
            return Permissions()


def validate(user_id: str, channel: Channel, data: Any) -> Any:
    """Of what clients publish, let pass who types, and sign it: nobody types in somebody else's name."""
    match data:
        case {"typing": bool(typing)} if channel.namespace == "chat:typing":
            return {"user": user_id, "typing": typing}
        case _:
            raise Reject('publish {"typing": true} or {"typing": false}')
