"""The web page of the todos example in a real Chromium: two users, one server process that can be killed."""

from __future__ import annotations

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
