"""Server functions of messages. Posting one publishes it: nobody else may, so nobody can speak for somebody else."""

from __future__ import annotations

from datetime import UTC, datetime

from tanstack_realtime.server import publish
from tanstack_start import ServerFnError, current_user, server_fn

from ...rooms import is_member
from ...schemas import Message
from .. import archive

__all__ = ["LONGEST", "PAGE", "NotMember", "TooLong", "get_history", "get_older", "post_message"]

LONGEST = 500
"""Characters of a message."""

PAGE = 30
"""Messages that are loaded at a time."""


class NotMember(ServerFnError):
    """The caller is not a member of the room."""


class TooLong(ServerFnError):
    """A message has too many characters."""


def _require_member(room_id: str) -> str:
    user_id = current_user()
    if user_id is None or not is_member(user_id, room_id):
        raise NotMember(f"you are not a member of room {room_id!r}")
    return user_id


@server_fn(method="GET")
async def get_history(room_id: str) -> list[Message]:
    _require_member(room_id)
    return await archive.newest(room_id, PAGE)


@server_fn(method="GET")
async def get_older(oldest: Message, room_id: str) -> list[Message]:
    _require_member(room_id)
    return await archive.before(oldest.id, room_id, PAGE)


@server_fn
async def post_message(message_id: str, room_id: str, text: str) -> Message:
    author = _require_member(room_id)
    if len(text) > LONGEST:
        raise TooLong(f"that is {len(text)} characters; a message has at most {LONGEST}")
    message = Message(message_id, room_id, author, text, datetime.now(UTC))
    await archive.add(message)
    event = {"type": "message", "id": message.id, "author": author, "text": text}
    await publish(("chat", {"room_id": room_id}), {**event, "sent_at": message.sent_at.isoformat()})
    return message
