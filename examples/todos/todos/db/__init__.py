"""The database: one SQLite file, opened by the server process only."""

from __future__ import annotations

import os
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from .schema import Base, ProjectMember

__all__ = ["create_tables", "dispose", "session"]

_engine: AsyncEngine | None = None


def _connect() -> AsyncEngine:
    global _engine  # noqa: PLW0603 -- one engine per process, made on first use
    if _engine is None:
        url = os.environ.get("DATABASE_URL", "sqlite+aiosqlite:///todos.db")
        _engine = create_async_engine(url)

        @event.listens_for(_engine.sync_engine, "connect")
        def configure(connection: Any, _record: Any) -> None:  # pyright: ignore[reportUnusedFunction]
            # Readers do not wait for the writer, and a killed server leaves no torn file.
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA foreign_keys=ON")

    return _engine


def session() -> AsyncSession:
    """Return a new session; use it with ``async with``."""
    return async_sessionmaker(_connect(), expire_on_commit=False)()


async def create_tables() -> None:
    """Create what is missing and let the demo's users into its project."""
    async with _connect().begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with session() as db:
        for user_id in ("ada", "bob"):
            await db.merge(ProjectMember(user_id=user_id, project_id="demo"))
        await db.commit()


async def dispose() -> None:
    """Close the database."""
    global _engine  # noqa: PLW0603
    if _engine is not None:
        await _engine.dispose()
        _engine = None
