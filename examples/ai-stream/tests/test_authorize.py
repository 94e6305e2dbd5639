"""`authorize` grants what the application needs and nothing else."""

from __future__ import annotations

import pytest
from ai_stream.server.realtime_auth import authorize

from tanstack_realtime import Channel
from tanstack_realtime.server import Permissions


@pytest.mark.parametrize(("user_id", "session_id"), [("ann", "shared"), ("bo", "shared"), ("ann", "ann")])
def test_who_takes_part_reads(user_id: str, session_id: str) -> None:
    assert authorize(user_id, Channel("ai-stream", {"session_id": session_id})) == Permissions(subscribe=True)


@pytest.mark.parametrize(
    ("user_id", "channel"),
    [
        ("ann", Channel("ai-stream", {"session_id": "bo"})),
        ("eve", Channel("ai-stream", {"session_id": "shared"})),
        ("ann", Channel("ai-stream", {})),
        ("ann", Channel("anything", {"session_id": "ann"})),
    ],
)
def test_everything_else_is_denied(user_id: str, channel: Channel) -> None:  # A4
    assert authorize(user_id, channel) == Permissions()
