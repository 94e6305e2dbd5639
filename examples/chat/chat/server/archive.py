"""The messages, in one SQLite file that only the server process opens."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime

import aiosqlite

from ..schemas import Message

__all__ = ["add", "before", "create_tables", "newest"]

_COLUMNS = "SELECT id, room_id, author, text, sent_at FROM messages"


@asynccontextmanager
async def _connect() -> AsyncGenerator[aiosqlite.Connection]:
    async with aiosqlite.connect(os.environ.get("CHAT_DATABASE", "chat.db")) as db:
        yield db


async def create_tables() -> None:
    async with _connect() as db:
        await db.execute(
            "CREATE TABLE IF NOT EXISTS messages "
            "(number INTEGER PRIMARY KEY, id TEXT UNIQUE, room_id TEXT, author TEXT, text TEXT, sent_at TEXT)"
        )
        await db.commit()


async def add(message: Message) -> None:
    async with _connect() as db:
        await db.execute(
            "INSERT INTO messages (id, room_id, author, text, sent_at) VALUES (?, ?, ?, ?, ?)",
            (message.id, message.room_id, message.author, message.text, message.sent_at.isoformat()),
        )
        await db.commit()


async def newest(room_id: str, count: int) -> list[Message]:
    """Return the newest messages of a room, oldest first."""
    return await _page("WHERE room_id = ? ORDER BY number DESC LIMIT ?", room_id, count)


async def before(message_id: str, room_id: str, count: int) -> list[Message]:
    """Return the messages before one of them, oldest first."""
    return await _page(
        "WHERE number < (SELECT number FROM messages WHERE id = ?) AND room_id = ? ORDER BY number DESC LIMIT ?",
        *(message_id, room_id, count),
    )


async def _page(which: str, *values: object) -> list[Message]:
    async with _connect() as db:
        rows = await db.execute_fetchall(f"{_COLUMNS} {which}", values)
    return [Message(row[0], row[1], row[2], row[3], datetime.fromisoformat(row[4])) for row in reversed(list(rows))]
