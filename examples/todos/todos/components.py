"""What the screens read: live queries only. Nothing here knows that the rows come over a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from tanstack_db import One, Query, QueryBuilder, col, count

from .collections import todos
from .schemas import Todo

__all__ = ["Filter", "Progress", "todo_list", "todo_progress"]

Filter: TypeAlias = Literal["all", "open", "done"]


@dataclass(frozen=True)
class Progress:
    """How much there was to do, and how much of it is done."""

    total: int
    done: int


def todo_list(project_id: str, only: Filter = "all") -> Callable[[QueryBuilder], Query[Todo, Todo]]:
    """The todos of a project, oldest first."""

    def build(q: QueryBuilder) -> Query[Todo, Todo]:
        rows = q.from_(todos).where(lambda t: t.project_id == project_id).order_by(lambda t: t.created_at)
        match only:
            case "all":
                return rows
            case "open":
                return rows.where(lambda t: col(t.completed_at).is_none())
            case "done":
                return rows.where(lambda t: ~col(t.completed_at).is_none())

    return build


def todo_progress(project_id: str) -> Callable[[QueryBuilder], One[Progress]]:
    """How far the project is."""
    return lambda q: (
        q.from_(todos)
        .where(lambda t: t.project_id == project_id)
        .aggregate(lambda t: Progress(total=count(), done=count(t.completed_at)))
    )
