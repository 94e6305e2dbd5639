"""Answers under way. They belong to the server and not to the window that asked: that one may be closed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

__all__ = ["Answering"]

_logger = logging.getLogger(__name__)


class Answering:
    """One task per session, until `aclose`."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, session_id: str, answer: Coroutine[Any, Any, object]) -> None:
        self._tasks[session_id] = asyncio.get_running_loop().create_task(self._run(session_id, answer))

    async def stop(self, session_id: str) -> None:
        """Break an answer off. Its readers are told."""
        task = self._tasks.get(session_id)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def aclose(self) -> None:
        """Break all answers off."""
        for session_id in list(self._tasks):
            await self.stop(session_id)

    async def _run(self, session_id: str, answer: Coroutine[Any, Any, object]) -> None:
        try:
            await answer
        except Exception:
            # The readers see that the answer breaks off; why is for the operator.
            _logger.exception("the answer in session %s failed", session_id)
        finally:
            del self._tasks[session_id]
