"""The web page of the todos example in a real Chromium: two users, one server process that can be killed."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from chromium import Serve, ServerProcess, Window, Windows
from playwright.async_api import Locator, Page, expect

HOME = Path(__file__).parent.parent / "examples" / "todos"


def row(page: Page, text: str) -> Locator:
    return page.get_by_role("listitem").filter(has_text=text)


async def add(page: Page, text: str) -> None:
    field = page.get_by_label("New todo")
    await field.fill(text)
    await field.press("Enter")


async def texts(page: Page) -> list[str]:
    return await page.locator(".todo .text").all_inner_texts()


async def both(serve: Serve, windows: Windows, folder: Path) -> tuple[ServerProcess, Window, Window]:
    server = await serve("todos.server.app:app", HOME, DATABASE_URL=f"sqlite+aiosqlite:///{folder / 'todos.db'}")
    ada, bob = [await windows.open(f"{server.url}/?user={user}", name=user) for user in ("ada", "bob")]
    for window in (ada, bob):
        await expect(window.page.get_by_text("Nothing to do")).to_be_visible()
        await expect(window.page.locator(".connection")).to_have_text("Live")
    return server, ada, bob


async def test_two_windows_show_the_same_list_live(serve: Serve, windows: Windows, tmp_path: Path) -> None:
    _, ada, bob = await both(serve, windows, tmp_path)
    await ada.screenshot("1-empty")

    await expect(ada.page.get_by_label("New todo")).to_be_focused()
    for text in ("buy milk", "walk the dog", "write to grandmother"):
        await ada.page.keyboard.type(text)
        await ada.page.keyboard.press("Enter")
        await expect(row(bob.page, text)).to_be_visible()
    await expect(ada.page.get_by_label("New todo")).to_have_value("")
    assert await texts(bob.page) == ["buy milk", "walk the dog", "write to grandmother"]

    await bob.page.get_by_role("checkbox", name="Done: buy milk").click()
    await expect(row(ada.page, "buy milk")).to_have_class("todo done")
    await expect(ada.page.get_by_text("1 of 3 done")).to_be_visible()

    await ada.page.get_by_role("button", name="Edit: walk the dog").click()
    await expect(ada.page.get_by_label("Text of the todo")).to_be_focused()
    await ada.screenshot("2-edit")
    await ada.page.keyboard.type("walk the cat")
    await ada.page.keyboard.press("Enter")
    await expect(row(bob.page, "walk the cat")).to_be_visible()
    await expect(ada.page.get_by_role("button", name="Edit: walk the cat")).to_be_focused()
    await ada.screenshot("3-list")
    await bob.screenshot("3-list")

    await ada.page.get_by_role("button", name="Done", exact=True).click()
    await expect(ada.page.get_by_role("listitem")).to_have_count(1)
    await bob.page.get_by_role("checkbox", name="Done: walk the cat").click()
    await expect(row(ada.page, "walk the cat")).to_be_visible()
    await ada.page.get_by_role("button", name="All").click()

    await bob.page.get_by_role("button", name="Delete: write to grandmother").click()
    await expect(row(ada.page, "grandmother")).to_have_count(0)
    assert await texts(ada.page) == await texts(bob.page) == ["buy milk", "walk the cat"]


async def test_a_write_that_the_server_refuses_is_taken_back_with_the_reason(
    serve: Serve, windows: Windows, tmp_path: Path
) -> None:  # Q5
    _, ada, bob = await both(serve, windows, tmp_path)
    database = sqlite3.connect(tmp_path / "todos.db", isolation_level=None)
    database.execute("BEGIN IMMEDIATE")  # whoever writes has to wait

    await add(ada.page, "buy milk")
    await expect(row(ada.page, "buy milk").get_by_text("saving…")).to_be_visible()
    await ada.screenshot("1-saving")
    await expect(bob.page.get_by_role("listitem")).to_have_count(0)
    database.execute("ROLLBACK")
    await expect(row(bob.page, "buy milk")).to_be_visible()
    await expect(ada.page.get_by_text("saving…")).to_have_count(0)

    await add(ada.page, "buy milk")
    await expect(ada.page.get_by_role("alert")).to_contain_text("“buy milk” is on the list already")
    await expect(ada.page.get_by_role("listitem")).to_have_count(1)
    await ada.screenshot("2-refused")
    await expect(bob.page.get_by_role("alert")).to_have_text("")
    await ada.page.get_by_role("button", name="Dismiss").click()
    await expect(ada.page.get_by_role("alert")).to_have_text("")

    database.execute("DELETE FROM todos")  # behind everybody's back
    database.close()
    await bob.page.get_by_role("checkbox", name="Done: buy milk").click()
    await expect(bob.page.get_by_role("alert")).to_contain_text("there is no todo")
    await expect(row(bob.page, "buy milk")).to_have_class("todo")


async def test_windows_come_back_with_the_server(serve: Serve, windows: Windows, tmp_path: Path) -> None:  # G6
    server, ada, bob = await both(serve, windows, tmp_path)
    await add(ada.page, "buy milk")
    await expect(row(bob.page, "buy milk")).to_be_visible()
    await ada.page.keyboard.type("half a tho")

    for window in (ada, bob):
        window.ignore("WebSocket connection to .* failed")
    await server.kill()
    for window in (ada, bob):
        await expect(window.page.get_by_text("The server is away")).to_be_visible()
        await expect(row(window.page, "buy milk")).to_be_visible()
        # A trap of ReactPy: what is clicked now would be played to the session that follows.
        await window.page.get_by_role("button", name="Delete: buy milk", include_hidden=True).click(force=True)
        await window.page.keyboard.press("Enter")
        # The page's own script clicks when somebody looks into the window; that does no harm.
        await window.page.evaluate("window.dispatchEvent(new Event('focus'))")
    await ada.screenshot("1-away")
    database = sqlite3.connect(tmp_path / "todos.db", isolation_level=None)
    database.execute("UPDATE todos SET text = 'buy oat milk', version = 2")
    database.close()

    await server.start()
    for window in (ada, bob):
        await expect(window.page.get_by_text("The server is away")).to_be_hidden()
        await expect(row(window.page, "buy oat milk")).to_be_visible()
    await expect(ada.page.get_by_label("New todo")).to_be_focused()
    await ada.page.keyboard.type("ught")
    await ada.page.keyboard.press("Enter")
    await expect(row(bob.page, "half a thought")).to_be_visible()
    await ada.screenshot("2-back")
    assert await texts(ada.page) == await texts(bob.page) == ["buy oat milk", "half a thought"]


async def test_offline_and_back(serve: Serve, windows: Windows, tmp_path: Path) -> None:
    _, ada, bob = await both(serve, windows, tmp_path)

    await ada.page.get_by_role("button", name="Go offline").click()
    await expect(ada.page.locator(".connection")).to_have_text("Offline")
    await add(bob.page, "buy milk")
    await expect(row(bob.page, "buy milk")).to_be_visible()
    await add(ada.page, "walk the dog")
    await expect(row(ada.page, "walk the dog")).to_be_visible()
    await expect(row(ada.page, "buy milk")).to_have_count(0)
    await ada.screenshot("offline")

    await ada.page.get_by_role("button", name="Go online").click()
    for window in (ada, bob):
        await expect(row(window.page, "buy milk")).to_be_visible()
        await expect(row(window.page, "walk the dog")).to_be_visible()


async def test_a_telephone_at_night(serve: Serve, windows: Windows, tmp_path: Path) -> None:
    server, ada, _ = await both(serve, windows, tmp_path)
    for text in ("buy milk", "write the very long letter to grandmother that she has been waiting for since spring"):
        await add(ada.page, text)
    await add(ada.page, "Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichen")
    await expect(ada.page.get_by_role("listitem")).to_have_count(3)
    await ada.page.get_by_role("checkbox", name="Done: buy milk").click()

    bob = await windows.open(f"{server.url}/?user=bob", name="bob-phone", width=360, height=640, dark=True)
    await expect(row(bob.page, "buy milk")).to_have_class("todo done")
    assert await bob.page.evaluate("document.documentElement.scrollWidth") == 360
    await bob.screenshot("1-list")
    await bob.page.get_by_role("button", name="Edit: write").click()
    await add(bob.page, "   ")
    await expect(bob.page.get_by_role("alert")).to_contain_text("a todo needs words")
    assert await bob.page.evaluate("document.documentElement.scrollWidth") == 360
    await bob.screenshot("2-refused-and-editing")
    await bob.page.get_by_label("Text of the todo").press("Escape")
    await expect(bob.page.get_by_label("Text of the todo")).to_have_count(0)


async def test_who_is_not_let_in(serve: Serve, windows: Windows, tmp_path: Path) -> None:  # A4
    server, _, _ = await both(serve, windows, tmp_path)
    database = sqlite3.connect(tmp_path / "todos.db", isolation_level=None)
    database.execute("DELETE FROM project_members WHERE user_id = 'bob'")
    database.close()

    stranger = await windows.open(f"{server.url}/?user=eve", name="stranger")
    await expect(stranger.page.get_by_role("heading")).to_have_text("Who are you?")
    await stranger.screenshot("1-welcome")
    await stranger.page.get_by_role("link", name="Bob").click()
    await expect(stranger.page.get_by_text("you are not a member of project 'demo'").first).to_be_visible()
    await stranger.screenshot("2-denied")
