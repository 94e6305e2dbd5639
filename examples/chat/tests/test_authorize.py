"""`authorize` grants what the application needs and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from chat.server.realtime_auth import authorize, validate

from tanstack_realtime import Channel
from tanstack_realtime.server import Permissions, Reject


def test_members_read_and_are_seen_and_tell_that_they_type() -> None:
    assert authorize("bo", Channel("chat", {"room_id": "kitchen"})) == Permissions(subscribe=True, presence=True)
    assert authorize("bo", Channel("chat:typing", {"room_id": "kitchen"})) == Permissions(subscribe=True, publish=True)


@pytest.mark.parametrize(
    ("user_id", "channel"),
    [
        ("cleo", Channel("chat", {"room_id": "kitchen"})),
        ("cleo", Channel("chat:typing", {"room_id": "kitchen"})),
        ("eve", Channel("chat", {"room_id": "lobby"})),
        ("ann", Channel("chat", {"room_id": "attic"})),
        ("ann", Channel("chat", {})),
        ("ann", Channel("anything", {"room_id": "lobby"})),
    ],
)
def test_everything_else_is_denied(user_id: str, channel: Channel) -> None:  # A4
    assert authorize(user_id, channel) == Permissions()


def test_who_types_is_signed_by_the_server() -> None:
    typing = Channel("chat:typing", {"room_id": "lobby"})

    assert validate("ann", typing, {"typing": True, "user": "bo"}) == {"user": "ann", "typing": True}


@pytest.mark.parametrize("data", [{}, {"typing": "yes"}, {"type": "message", "text": "I am Bo"}, None])
def test_other_events_of_clients_are_rejected(data: Any) -> None:
    with pytest.raises(Reject):
        validate("ann", Channel("chat:typing", {"room_id": "lobby"}), data)
