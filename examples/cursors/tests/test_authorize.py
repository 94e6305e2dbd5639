"""`authorize` grants what the application needs and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from cursors.server.realtime_auth import authorize, validate

from tanstack_realtime import Channel
from tanstack_realtime.server import Permissions, Reject


def test_members_are_seen_and_make_waves() -> None:
    assert authorize("ann", Channel("canvas", {"canvas_id": "board"})) == Permissions(presence=True)
    waves = Channel("canvas:waves", {"canvas_id": "board"})
    assert authorize("ann", waves) == Permissions(subscribe=True, publish=True)


@pytest.mark.parametrize(
    ("user_id", "channel"),
    [
        ("eve", Channel("canvas", {"canvas_id": "board"})),
        ("eve", Channel("canvas:waves", {"canvas_id": "board"})),
        ("ann", Channel("canvas", {"canvas_id": "other"})),
        ("ann", Channel("canvas", {})),
        ("ann", Channel("anything", {"canvas_id": "board"})),
    ],
)
def test_everything_else_is_denied(user_id: str, channel: Channel) -> None:  # A4
    assert authorize(user_id, channel) == Permissions()


def test_waves_are_signed_by_the_server() -> None:
    signed = validate("ann", Channel("canvas:waves", {"canvas_id": "board"}), {"x": 0.5, "y": 1, "user": "bo"})

    assert signed == {"user": "ann", "x": 0.5, "y": 1}


@pytest.mark.parametrize("data", [{}, {"x": 0.5}, {"x": 2, "y": 0}, {"x": "0", "y": "0"}, {"x": True, "y": 0}, None])
def test_other_events_are_rejected(data: Any) -> None:
    with pytest.raises(Reject):
        validate("ann", Channel("canvas:waves", {"canvas_id": "board"}), data)
