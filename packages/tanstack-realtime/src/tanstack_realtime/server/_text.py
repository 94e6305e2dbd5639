"""`publish_text`: text that a server makes in parts, such as the tokens of a language model, published as it comes."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable
from typing import Any, Final, TypeAlias

from tanstack_realtime._keys import ChannelLike

from ._app import publish as _publish_here

__all__ = ["publish_text"]

Publish: TypeAlias = Callable[[ChannelLike, Any], Awaitable[None]]

_WHOLE_CHARACTERS: Final = 10_000
"""Texts up to this length come whole at the end: whoever joined late or lost a part then has it, too."""


async def publish_text(
    channel: ChannelLike,
    chunks: AsyncIterable[str],
    /,
    *,
    id: str | int,  # noqa: A002 -- the wire's name
    publish: Publish = _publish_here,
) -> str:
    """Publish each chunk as a numbered event, and the end. `tanstack_realtime.text_stream` folds them into a row.

    Args:
        channel: where to.
        chunks: the text, part by part. Empty ones are skipped.
        id: which text; the key of its row.
        publish: ``realtime.publish``; default: the process's only `Realtime`.

    Returns:
        The whole text.

    Raises:
        Exception: what `chunks` or `publish` raised. Readers are told first that the text breaks off, without why.

    Example:
        >>> async def tokens():
        ...     async for chunk in await openai.chat.completions.create(stream=True, ...):
        ...         yield chunk.choices[0].delta.content or ""
        >>> text = await publish_text(("ai-stream", {"session_id": session_id}), tokens(), id=answer_id)
    """
    parts: list[str] = []
    try:
        async for chunk in chunks:
            if chunk:
                await publish(channel, {"type": "token", "id": id, "seq": len(parts), "content": chunk})
                parts.append(chunk)
    except BaseException:
        await publish(channel, {"type": "error", "id": id, "seq": len(parts), "reason": "the text breaks off"})
        raise
    text = "".join(parts)
    end: dict[str, Any] = {"type": "end", "id": id, "seq": len(parts)}
    await publish(channel, {**end, "text": text} if len(text) <= _WHOLE_CHARACTERS else end)
    return text
