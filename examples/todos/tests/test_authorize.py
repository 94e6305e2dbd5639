"""`authorize` grants what the application needs and nothing else."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
from todos import db
from todos.server.realtime_auth import authorize

from tanstack_realtime import Channel
from tanstack_realtime.server import Permissions


@pytest.fixture(autouse=True)
async def database(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[None]:
    file = tmp_path_factory.mktemp("db") / "todos.db"
    monkeypatch.setenv("DATABASE_URL", f"sqlite+aiosqlite:///{file}")
    await db.create_tables()
    yield
    await db.dispose()


async def test_members_subscribe_and_publish() -> None:
    granted = await authorize("ada", Channel("todos", {"project_id": "demo"}))

    assert granted == Permissions(subscribe=True, publish=True)


@pytest.mark.parametrize(
    ("user_id", "channel"),
    [
        ("eve", Channel("todos", {"project_id": "demo"})),
        ("ada", Channel("todos", {"project_id": "other"})),
        ("ada", Channel("todos", {})),
        ("ada", Channel("anything", {"project_id": "demo"})),
    ],
)
async def test_everything_else_is_denied(user_id: str, channel: Channel) -> None:  # A4
    assert await authorize(user_id, channel) == Permissions()
