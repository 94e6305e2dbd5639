"""The seed's blocks on publishing and the connection, as type checkers see them, and as they run on this preset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_type

from tanstack_db import DbClient
from tanstack_realtime import Channel, RealtimeClient, create_realtime_client
from tanstack_realtime.server import Permissions, Realtime


def authorize(user_id: str, channel: Channel) -> Permissions:
    match channel:
        case Channel("chat:typing" | "ai-stream", _):
            return Permissions(subscribe=True, publish=channel.namespace == "chat:typing")
        case _:
            return Permissions()


async def start_ai_stream(realtime: Realtime, session_id: str) -> None:
    """A server function: the server publishes what it streams."""
    for token in ("Hel", "lo"):
        await realtime.publish(("ai-stream", {"session_id": session_id}), {"type": "token", "content": token})


async def test_client_publish_and_server_publish() -> None:  # P4, K2
    heard: list[Mapping[str, Any]] = []
    async with Realtime(authorize=authorize, get_user=lambda connection: None) as realtime:
        client = create_realtime_client(transport=realtime.local_transport(user_id="u"), db=DbClient())
        assert_type(client, RealtimeClient)
        async with client:
            typing = client.subscribe(("chat:typing", {"room_id": 1}), lambda message: heard.append(message.data))
            stream = client.subscribe(("ai-stream", {"session_id": "s"}), lambda message: heard.append(message.data))
            await typing.live()
            await stream.live()
            await client.publish(("chat:typing", {"room_id": 1}), {"is_typing": True})
            await start_ai_stream(realtime, "s")
            await client.publish(("chat:typing", {"room_id": 1}), {"is_typing": False})
        await client.db.close()

    assert [event.get("content", event.get("is_typing")) for event in heard] == [True, "Hel", "lo", False]
