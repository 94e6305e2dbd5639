"""Tables."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class ProjectMember(Base):
    __tablename__ = "project_members"

    user_id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(primary_key=True)


class TodoRow(Base):
    __tablename__ = "todos"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(index=True)
    text: Mapped[str]
    created_at: Mapped[datetime]
    completed_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(default=1)


class CommentRow(Base):
    __tablename__ = "comments"

    id: Mapped[str] = mapped_column(primary_key=True)
    todo_id: Mapped[str] = mapped_column(ForeignKey("todos.id", ondelete="CASCADE"), index=True)
    project_id: Mapped[str] = mapped_column(index=True)
    text: Mapped[str]
