"""The terminal client of the todos example beside a window of its web page, on one server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from chromium import DEADLINE, SCREENSHOTS, Serve, ServerProcess, Windows
from playwright.async_api import expect
from textual.pilot import Pilot
from textual.widgets import Static
from todos.server.functions import todos as functions
from todos.server.users import TOKENS
from todos.terminal import TodoTable, TodoTerminal

from tanstack_db import default_client
from tanstack_start import connect_functions, disconnect_functions

HOME = Path(__file__).parent.parent / "examples" / "todos"


@pytest.fixture
async def server(serve: Serve, tmp_path: Path) -> AsyncGenerator[ServerProcess]:
    server = await serve("todos.server.app:app", HOME, DATABASE_URL=f"sqlite+aiosqlite:///{tmp_path / 'todos.db'}")
    connect_functions(f"{server.url}/functions", functions, get_token=lambda: TOKENS["bob"])
    yield server
    await default_client().close()
    default_client().on_error = None
    await disconnect_functions()


def shown(app: TodoTerminal) -> list[tuple[str, str]]:
    table = app.query_one(TodoTable)
    return [(str(mark), str(words)) for mark, words in (table.get_row_at(n) for n in range(table.row_count))]


async def until(pilot: Pilot[None], rows: list[tuple[str, str]]) -> None:
    app = pilot.app
    assert isinstance(app, TodoTerminal)
    async with asyncio.timeout(DEADLINE):
        while shown(app) != rows:
            await pilot.pause(0.02)


async def until_status(pilot: Pilot[None], status: str) -> None:
    async with asyncio.timeout(DEADLINE):
        while status not in str(pilot.app.query_one("#status", Static).render()):
            await pilot.pause(0.02)


async def write(pilot: Pilot[None], text: str) -> None:
    await pilot.press(*("space" if letter == " " else letter for letter in text), "enter")


async def test_a_terminal_and_a_window_show_the_same_list(server: ServerProcess, windows: Windows) -> None:
    ada = await windows.open(f"{server.url}/?user=ada", name="ada")
    await expect(ada.page.get_by_text("Nothing to do")).to_be_visible()
    app = TodoTerminal("bob", server.url)
    async with app.run_test(notifications=True) as pilot:
        await until_status(pilot, "live")
        await write(pilot, "buy milk")
        await until(pilot, [("○", "buy milk")])
        await expect(ada.page.get_by_role("listitem")).to_contain_text("buy milk")

        await ada.page.keyboard.type("walk the dog")
        await ada.page.keyboard.press("Enter")
        await until(pilot, [("○", "buy milk"), ("○", "walk the dog")])

        await write(pilot, "buy milk")
        async with asyncio.timeout(DEADLINE):
            while not [note for note in app._notifications if "on the list already" in note.message]:
                await pilot.pause(0.02)
        await until(pilot, [("○", "buy milk"), ("○", "walk the dog")])

        await pilot.press("escape", "space")
        await until(pilot, [("✔", "buy milk"), ("○", "walk the dog")])
        await expect(ada.page.get_by_text("1 of 2 done")).to_be_visible()
        await pilot.press("down", "e")
        await write(pilot, "walk the cat")
        await until(pilot, [("✔", "buy milk"), ("○", "walk the cat")])
        await expect(ada.page.get_by_role("listitem").last).to_contain_text("walk the cat")
        (SCREENSHOTS / "terminal.svg").write_text(app.export_screenshot())

        ada.ignore("WebSocket connection to .* failed")
        await server.kill()
        await until_status(pilot, "reconnecting")
        await server.start()
        await until_status(pilot, "live")
        await ada.page.get_by_role("button", name="Delete: buy milk").click()
        await until(pilot, [("○", "walk the cat")])
        await pilot.press("d")
        await expect(ada.page.get_by_text("Nothing to do")).to_be_visible()
