"""Server functions of todos: plain SQLAlchemy. Nothing here knows that anything is live."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from tanstack_start import current_user, server_fn

from ... import db
from ...db.schema import ProjectMember, TodoRow
from ...schemas import Todo
from .errors import AlreadyThere, EmptyText, NotFound, NotMember

__all__ = ["add_todo", "delete_todo", "get_todos", "update_todo"]


def _todo(row: TodoRow) -> Todo:
    return Todo(row.id, row.project_id, row.text, row.created_at, row.completed_at, row.version)


async def _require_member(project_id: str) -> None:
    async with db.session() as session:
        if await session.get(ProjectMember, (current_user() or "", project_id)) is None:
            raise NotMember(f"you are not a member of project {project_id!r}")


async def _find(session: AsyncSession, todo_id: str) -> TodoRow:
    row = await session.get(TodoRow, todo_id)
    if row is None:
        raise NotFound(f"there is no todo {todo_id!r}")
    await _require_member(row.project_id)
    return row


async def _require_new(session: AsyncSession, project_id: str, text: str) -> None:
    same = select(TodoRow.id).where(
        TodoRow.project_id == project_id, TodoRow.text == text, TodoRow.completed_at.is_(None)
    )
    if await session.scalar(same.limit(1)) is not None:
        raise AlreadyThere(f"“{text}” is on the list already")


@server_fn(method="GET")
async def get_todos(project_id: str) -> list[Todo]:
    await _require_member(project_id)
    async with db.session() as session:
        rows = await session.scalars(select(TodoRow).where(TodoRow.project_id == project_id))
        return [_todo(row) for row in rows]


@server_fn
async def add_todo(project_id: str, text: str) -> Todo:
    await _require_member(project_id)
    if not text.strip():
        raise EmptyText("a todo needs words")
    row = TodoRow(
        id=uuid4().hex, project_id=project_id, text=text, created_at=datetime.now(UTC), completed_at=None, version=1
    )
    async with db.session() as session:
        await _require_new(session, project_id, text)
        session.add(row)
        await session.commit()
    return _todo(row)


@server_fn
async def update_todo(todo_id: str, text: str, completed_at: datetime | None) -> Todo:
    if not text.strip():
        raise EmptyText("a todo needs words")
    async with db.session() as session:
        row = await _find(session, todo_id)
        if text != row.text:
            await _require_new(session, row.project_id, text)
        row.text, row.completed_at = text, completed_at
        row.version += 1
        await session.commit()
        return _todo(row)


@server_fn
async def delete_todo(todo_id: str) -> None:
    async with db.session() as session:
        await session.delete(await _find(session, todo_id))
        await session.commit()
