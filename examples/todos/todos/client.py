"""One client process: a live list, commands on standard input, what it shows on standard output.

It calls server functions over HTTP and never opens the database.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from tanstack_db import Transaction, live_query
from tanstack_realtime import create_realtime_client
from tanstack_start import connect_functions

from .collections import todos
from .components import todo_list
from .schemas import Todo
from .server.functions import todos as functions
from .server.users import TOKENS

PROJECT = "demo"


class Screen:
    """Prints the list whenever it has changed."""

    def __init__(self, user: str, url: str) -> None:
        self.client = create_realtime_client(url, get_token=lambda: TOKENS[user], on_error=self.fail)
        self.query = live_query(todo_list(PROJECT))
        self.notice = ""
        self._shown = ""

    def show(self, *_: object) -> None:
        shown = json.dumps(
            {
                "status": self.client.store.state.status,
                "notice": self.notice,
                "items": [
                    {
                        "id": todo.id,
                        "text": todo.text,
                        "done": todo.completed_at is not None,
                        "pending": todos.has_pending_writes(todo.id),
                    }
                    for todo in self.query.get()
                ],
            }
        )
        if shown != self._shown:
            self._shown = shown
            print(shown, flush=True)

    def fail(self, error: Exception) -> None:
        print(f"background: {error!r}", file=sys.stderr, flush=True)

    async def obey(self, do: str, text: str) -> None:
        """Carry out a command; why it failed becomes the notice."""
        self.notice = ""
        try:
            transaction = self.change(do, text)
            self.show()
            await transaction.persisted()
        except Exception as error:  # noqa: BLE001 -- whatever it is, the user is told
            self.notice = str(error)
        self.show()

    def change(self, do: str, text: str) -> Transaction[Todo]:
        if do == "add":
            return todos.insert(Todo(f"temp-{uuid4().hex}", PROJECT, text, datetime.now(UTC)))
        found = next(todo for todo in self.query.get() if todo.text == text)
        if do == "complete":
            return todos.update(found.id, completed_at=datetime.now(UTC))
        return todos.delete(found.id)

    async def run(self) -> None:
        stops = [self.query.subscribe(self.show), self.client.store.subscribe(self.show)]
        self.client.connect()
        self.show()
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        async with asyncio.TaskGroup() as tasks:
            while line := await reader.readline():
                command: dict[str, Any] = json.loads(line)
                tasks.create_task(self.obey(**command))
        for stop in stops:
            stop()
        await self.client.close()


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--user", required=True, choices=sorted(TOKENS))
    parser.add_argument("--url", required=True)
    arguments = parser.parse_args()
    connect_functions(f"{arguments.url}/functions", functions, get_token=lambda: TOKENS[arguments.user])
    await Screen(arguments.user, arguments.url).run()


if __name__ == "__main__":
    asyncio.run(main())
