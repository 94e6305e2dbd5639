"""Server functions of a conversation. They publish, because what they write comes from no client."""

from __future__ import annotations

from collections.abc import AsyncIterator

from tanstack_realtime.server import publish, publish_text
from tanstack_start import ServerFnError, current_user, server_fn

from ...schemas import Turn
from ...sessions import may_read
from ..answering import Answering
from ..model import tokens
from ..transcript import Transcript

__all__ = ["Busy", "NotYours", "answering", "ask", "get_turns", "stop_answer"]

transcript = Transcript()
answering = Answering()


class NotYours(ServerFnError):
    """The caller takes no part in the session."""


class Busy(ServerFnError):
    """An answer is under way."""


def _require_part(session_id: str) -> None:
    if not may_read(current_user(), session_id):
        raise NotYours(f"you take no part in session {session_id!r}")


@server_fn(method="GET")
async def get_turns(session_id: str) -> list[Turn]:
    _require_part(session_id)
    return transcript.of(session_id)


@server_fn
async def ask(session_id: str, question: str) -> None:
    """Publish a question, and let the answer begin."""
    _require_part(session_id)
    if transcript.is_busy(session_id):
        raise Busy("one question at a time")
    asked, answer = transcript.ask(session_id, question)
    # A question is a text that is whole at once.
    channel = ("ai-stream", {"session_id": session_id})
    await publish(channel, {"type": "end", "id": asked.id, "seq": 0, "text": question})
    answering.start(session_id, publish_text(channel, _written(answer, tokens(question)), id=answer.id))


@server_fn
async def stop_answer(session_id: str) -> None:
    """Break the answer off that is under way."""
    _require_part(session_id)
    await answering.stop(session_id)


async def _written(answer: Turn, parts: AsyncIterator[str]) -> AsyncIterator[str]:
    """Write down each part before it is published."""
    try:
        async for part in parts:
            answer = transcript.grow(answer, part)
            yield part
    except BaseException:
        transcript.end(answer, failed=True)
        raise
    transcript.end(answer, failed=False)
