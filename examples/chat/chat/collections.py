"""The live channel of a room's messages, and who is in the room."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tanstack_db import Transaction, create_collection
from tanstack_realtime import ChannelLike, LiveEvent, create_presence_channel, live_channel_options

from .schemas import Here, Message
from .server.functions.messages import get_history, get_older, post_message

__all__ = ["messages", "room_presence"]


def room(room_id: str) -> ChannelLike:
    return ("chat", {"room_id": room_id})


def on_event(event: LiveEvent) -> Mapping[str, Any] | None:
    match event:
        case {"type": "message", **message}:
            return message
        case _:
            return None


async def on_insert(transaction: Transaction[Message]) -> Message:
    message = transaction.mutations[0].modified
    return await post_message(message_id=message.id, room_id=message.room_id, text=message.text)


messages = create_collection(
    live_channel_options(
        id="messages",
        schema=Message,
        get_key=lambda message: message.id,
        channel=room,
        initial_data=get_history,
        older=get_older,
        on_event=on_event,
        on_insert=on_insert,
    )
)

room_presence = create_presence_channel(id="room-presence", channel=room, state=Here)
