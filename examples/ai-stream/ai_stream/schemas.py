"""Row types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Turn"]


@dataclass(frozen=True)
class Turn:
    """A question or an answer.

    Attributes:
        id: ``"0007-question"``: its number in the session and what it is.
        status: ``streaming`` while it grows; ``failed`` if it broke off.
        parts: how many parts of the stream `text` holds; a window that comes in the middle goes on from there.
    """

    id: str
    session_id: str
    text: str
    status: Literal["streaming", "done", "failed"]
    parts: int

    @property
    def number(self) -> int:
        return int(self.id.partition("-")[0])

    @property
    def is_question(self) -> bool:
        return self.id.endswith("-question")
