"""The example application for real: a server process, two client processes, sockets, an SQLite file.

These tests run on the wall clock. They wait for conditions; the pauses are only the traffic's rhythm.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from pathlib import Path

import httpx
import pytest
from todos.server.users import TOKENS
from todos.stage import Picture, Stage
from todos.story import tell


def count_saved(picture: Picture) -> int:
    return sum(not item.pending for item in picture.items)


async def in_database(stage: Stage) -> list[str]:
    """Texts of all todos, as the server reads them."""
    async with httpx.AsyncClient(base_url=stage.url, headers={"authorization": f"Bearer {TOKENS['ada']}"}) as http:
        answer = await http.get("/functions/todos/get_todos", params={"args": json.dumps({"project_id": "demo"})})
        answer.raise_for_status()
        return sorted(row["text"] for row in answer.json()["result"])


async def test_the_story_of_the_demonstration_happens() -> None:  # P4, Q5, Q15, G1, G2
    async with Stage() as stage:
        told = [sentence async for sentence in tell(stage)]

    assert len(told) == 8


@pytest.mark.parametrize("seed", [1, 2])
async def test_clients_converge_after_the_server_was_killed_amid_traffic(seed: int) -> None:  # S2, G1, G2, G6, Q4, Q14
    chance = random.Random(seed)

    async def write(user: str, stage: Stage) -> None:
        for number in range(25):
            await stage.clients[user].do("add", text=f"{user} {number}")
            await asyncio.sleep(chance.uniform(0, 0.3))

    async def crash(stage: Stage) -> None:
        await stage.clients["bob"].until(lambda picture: count_saved(picture) >= 8, "some traffic")
        await stage.kill_server()
        await asyncio.sleep(0.5)
        await stage.start_server()

    async with Stage() as stage:
        for client in stage.clients.values():
            await client.until(lambda picture: picture.status == "connected", "a connection")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(write("ada", stage))
            tasks.create_task(write("bob", stage))
            tasks.create_task(crash(stage))
        for client in stage.clients.values():
            await client.until(
                lambda picture: picture.status == "connected" and not any(item.pending for item in picture.items),
                "a quiet list",
            )
        await stage.clients["ada"].do("add", text="the end")
        truth: list[str] = []

        def is_true(picture: Picture) -> bool:
            return sorted(picture.texts) == truth and not any(item.pending for item in picture.items)

        for client in stage.clients.values():
            await client.until(lambda picture: "the end" in picture.texts, "the last write")
        truth = await in_database(stage)
        for client in stage.clients.values():
            await client.until(is_true, f"the database's rows {truth}")

        assert 9 <= len(truth) <= 51
        assert "the end" in truth


def test_the_demonstration_is_a_command_that_exits_by_its_outcome() -> None:
    async def run() -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "todos", "--plain"),
            cwd=Path(__file__).parent.parent / "examples" / "todos",
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
        return process.returncode, output.decode()

    code, output = asyncio.run(run())

    assert code == 0
    assert "All 8 steps happened" in output
    assert "reconnecting" in output
