"""Who may do what on which channel: the one function that guards every channel on every preset."""

from __future__ import annotations

from tanstack_realtime import Channel
from tanstack_realtime.server import Permissions

from ..sessions import may_read

__all__ = ["authorize"]


def authorize(user_id: str, channel: Channel) -> Permissions:
    match channel:
        case Channel("ai-stream", {"session_id": session_id}) if may_read(user_id, session_id):
            # No publish: what the model says comes from the server alone.
            return Permissions(subscribe=True)
        case _:
            return Permissions()
