"""The live channel of a session: tokens folded into rows that grow."""

from __future__ import annotations

from typing import Any

from tanstack_db import create_collection
from tanstack_realtime import ChannelLike, TextState, live_channel_options, text_stream

from .schemas import Turn
from .server.functions.ai import get_turns

__all__ = ["turns"]


def session(session_id: str) -> ChannelLike:
    return ("ai-stream", {"session_id": session_id})


def to_turn(text: TextState) -> dict[str, Any]:
    return {"id": text.id, "text": text.text, "status": text.status, "parts": text.count}


def to_text(turn: Turn) -> TextState:
    """Read a loaded turn back, so that the parts which come later continue it."""
    error = "it broke off" if turn.status == "failed" else None
    return TextState(id=turn.id, text=turn.text, status=turn.status, count=turn.parts, error=error)


turns = create_collection(
    live_channel_options(
        id="turns",
        schema=Turn,
        get_key=lambda turn: turn.id,
        channel=session,
        initial_data=get_turns,
        on_event=text_stream(to_turn, resume=to_text),
    )
)
