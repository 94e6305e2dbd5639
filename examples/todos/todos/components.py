"""What the screens read. Live queries only: nothing here knows that the rows come over a network."""

from __future__ import annotations

from tanstack_db import LiveQuery, Rows, live_query

from .collections import todos
from .schemas import Todo

__all__ = ["todo_list"]


def todo_list(project_id: str) -> LiveQuery[Rows[Todo]]:
    """The todos of a project, oldest first."""
    return live_query(
        lambda q: q.from_(todos).where(lambda t: t.project_id == project_id).order_by(lambda t: t.created_at)
    )
