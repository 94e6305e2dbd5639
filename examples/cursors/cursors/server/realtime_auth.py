"""Who may do what on which channel: the one function that guards every channel on every preset."""

from __future__ import annotations

from typing import Any

from tanstack_realtime import Channel
from tanstack_realtime.server import Permissions, Reject

from ..people import may_see

__all__ = ["authorize", "validate"]


def authorize(user_id: str, channel: Channel) -> Permissions:
    match channel:
        case Channel("canvas", {"canvas_id": canvas_id}) if may_see(user_id, canvas_id):
            return Permissions(presence=True)
        case Channel("canvas:waves", {"canvas_id": canvas_id}) if may_see(user_id, canvas_id):
            return Permissions(subscribe=True, publish=True)
        case _:
            return Permissions()


def validate(user_id: str, channel: Channel, data: Any) -> Any:
    """Of what clients publish, let pass waves on the canvas, and sign them."""
    match data:
        case {"x": x, "y": y} if _is_fraction(x) and _is_fraction(y):
            return {"user": user_id, "x": x, "y": y}
        case _:
            raise Reject('publish {"x": 0.5, "y": 0.5}, from 0 to 1')


def _is_fraction(value: Any) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool) and 0 <= value <= 1
