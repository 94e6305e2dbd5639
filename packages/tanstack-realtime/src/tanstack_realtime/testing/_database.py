"""The application of the simulated histories: tasks in a SQLite database, members, server functions that may fail."""

from __future__ import annotations

import asyncio
import itertools
import random
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

__all__ = ["Crash", "Database", "Failure", "Task"]


@dataclass(frozen=True, slots=True)
class Task:
    """A row.

    Attributes:
        id: chosen by the client that inserts it; never used again.
        project_id: the scope.
        text: begins with the user who wrote it last.
        stamp: given by the database at every write, empty before. So a row that only one client believes in is known.
        version: counts the row's writes.
    """

    id: str
    project_id: str
    text: str
    stamp: str = ""
    version: int = 0


class Failure(Exception):
    """A server function refused, or its answer was lost."""


class Crash(Exception):
    """The client's process dies at this moment: what follows never happens."""


class Database:
    """The truth, and everything that ever was true.

    Args:
        random: decides how long calls take and which fail.
        members: which projects each user may see.
        fails: probability that a call changes nothing and raises.
        loses: probability that a call commits and its answer is lost.

    Attributes:
        ever: every row that was ever committed.
        untold: ids of rows whose last change nobody could be told about: the answer was lost, or the writer died.
    """

    def __init__(
        self, random: random.Random, members: dict[str, set[str]], *, fails: float = 0.15, loses: float = 0.0
    ) -> None:
        self.members: Final = members
        self.ever: Final[set[Task]] = set()
        self.untold: Final[set[str]] = set()
        self._random = random
        self._fails = fails
        self._loses = loses
        self._stamps = itertools.count(1)
        self._connection = sqlite3.connect(":memory:", isolation_level=None)
        self._connection.execute(
            "CREATE TABLE task (id TEXT PRIMARY KEY, project_id TEXT NOT NULL, text TEXT NOT NULL, stamp TEXT NOT NULL,"
            " version INTEGER NOT NULL)"
        )

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    def rows(self, project_id: str) -> list[Task]:
        """Return a project's rows, at once."""
        found = self._connection.execute("SELECT * FROM task WHERE project_id = ? ORDER BY id", (project_id,))
        return [Task(*row) for row in found]

    def row(self, key: str) -> Task | None:
        """Return a row, at once."""
        found = self._connection.execute("SELECT * FROM task WHERE id = ?", (key,)).fetchone()
        return None if found is None else Task(*found)

    # -- server functions ----------------------------------------------------------------------------------------------

    async def get_tasks(self, user_id: str, project_id: str) -> list[Task]:
        """Read a project's rows at some moment of the call."""
        await self._takes_time()
        self._require(user_id, project_id)
        if self._random.random() < self._fails / 3:
            raise Failure("the database is away")
        rows = self.rows(project_id)
        await self._takes_time()
        return rows

    async def save(self, user_id: str, task: Task, *, seen_in: str | None, dies: Callable[[], bool]) -> Task:
        """Write a row, and return it as it is now in the database.

        A row that is not in the project any more where its writer saw it is refused: its writer could not tell the
        readers of the project where it is that it leaves.

        Args:
            user_id: the writer.
            task: the row.
            seen_in: the project where the writer saw it; None for a new one.
            dies: whether the writer's process ends after the commit.
        """
        await self._begin(user_id, task.project_id)
        present = self.row(task.id)
        if (None if present is None else present.project_id) != seen_in:
            raise Failure(f"the row is not in {seen_in} but {present}")
        version = 1 if present is None else present.version + 1
        saved = replace(task, stamp=f"s{next(self._stamps)}", version=version)
        self._connection.execute(
            "INSERT OR REPLACE INTO task VALUES (?, ?, ?, ?, ?)",
            (saved.id, saved.project_id, saved.text, saved.stamp, saved.version),
        )
        self.ever.add(saved)
        await self._answer(task.id, dies)
        return saved

    async def remove(self, user_id: str, task: Task, *, dies: Callable[[], bool]) -> None:
        """Delete a row that is where its writer saw it."""
        await self._begin(user_id, task.project_id)
        present = self.row(task.id)
        if present is None or present.project_id != task.project_id:
            raise Failure(f"the row is not in {task.project_id} but {present}")
        self._connection.execute("DELETE FROM task WHERE id = ?", (task.id,))
        await self._answer(task.id, dies)

    async def _begin(self, user_id: str, project_id: str) -> None:
        await self._takes_time()
        self._require(user_id, project_id)
        if self._random.random() < self._fails:
            raise Failure("the server function fails")

    async def _answer(self, key: str, dies: Callable[[], bool]) -> None:
        if dies():
            self.untold.add(key)
            raise Crash
        if self._random.random() < self._loses:
            self.untold.add(key)
            raise Failure("the answer is lost")
        await self._takes_time()

    def _require(self, user_id: str, project_id: str) -> None:
        if project_id not in self.members[user_id]:
            raise Failure(f"{user_id} is no member of {project_id}")

    async def _takes_time(self) -> None:
        await asyncio.sleep(self._random.expovariate(20.0))
