"""A language model that only pretends: it answers in tokens, at the speed of a real one.

With an SDK `tokens` has the same shape, and nothing else changes::

    async def tokens(question: str) -> AsyncIterator[str]:
        async with anthropic.messages.stream(model=..., messages=[...], max_tokens=1024) as stream:
            async for text in stream.text_stream:
                yield text
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from typing import Final

__all__ = ["tokens"]

_ANSWER: Final = (
    "You asked: “{question}”. I am no real model, so here is what happens instead. The server function publishes each "
    "token on the channel of this session, with a number. Every window folds the numbered tokens into one row that "
    "grows, and a live query shows it. A window that opens in the middle loads what is there and goes on. At the end "
    "the whole text is sent once more, so nobody is left with a hole."
)

_BREAKS_OFF: Final = "fail"
"""A question with this word is answered by half."""


async def tokens(question: str) -> AsyncIterator[str]:
    """Answer a question, token by token.

    Raises:
        ConnectionError: the question asks for a failure.
    """
    pause = float(os.environ.get("AI_STREAM_PAUSE", "0.04"))
    answer = re.findall(r"\s*\S{1,6}", _ANSWER.format(question=question))
    for number, token in enumerate(answer):
        await asyncio.sleep(pause)
        if _BREAKS_OFF in question.lower() and number == len(answer) // 3:
            raise ConnectionError("the model went away")
        yield token
