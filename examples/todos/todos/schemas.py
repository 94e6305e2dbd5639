"""Row types that server functions return and collections hold."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

__all__ = ["Comment", "Todo"]


@dataclass(frozen=True)
class Todo:
    id: str
    project_id: str
    text: str
    created_at: datetime
    completed_at: datetime | None = None
    version: int = 0


@dataclass(frozen=True)
class Comment:
    id: str
    todo_id: str
    project_id: str
    text: str
