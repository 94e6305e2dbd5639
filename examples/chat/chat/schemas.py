"""Row types."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

__all__ = ["Here", "Message"]


@dataclass(frozen=True)
class Message:
    id: str
    room_id: str
    author: str
    text: str
    sent_at: datetime


@dataclass(frozen=True)
class Here:
    """What a window says of itself to the others in its room."""

    name: str
