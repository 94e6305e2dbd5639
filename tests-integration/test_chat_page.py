"""The chat of examples/chat in a real Chromium: windows side by side."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

import pytest
from chat.schemas import Message
from chat.server import archive
from chromium import ServerProcess, Window, Windows
from playwright.async_api import expect

Serve: TypeAlias = Callable[..., Awaitable[ServerProcess]]

HOME = Path(__file__).parent.parent / "examples" / "chat"


@pytest.fixture
async def server(serve: Serve, tmp_path: Path) -> ServerProcess:
    return await serve("chat.server.app:app", HOME, CHAT_DATABASE=str(tmp_path / "chat.db"))


async def enter(windows: Windows, server: ServerProcess, user: str, query: str = "", **size: int) -> Window:
    window = await windows.open(f"{server.url}/?as={user}{query}", name=user, dark=user == "bo", **size)
    await expect(window.page.locator(".connection.connected")).to_be_visible()
    return window


async def say(window: Window, text: str) -> None:
    await window.page.locator(".box").fill(text)
    await window.page.keyboard.press("Enter")


async def shows(window: Window, *texts: str) -> None:
    await expect(window.page.locator(".message:not(.pending) p")).to_have_text(list(texts))


async def test_two_people_talk(windows: Windows, server: ServerProcess) -> None:
    welcome = await windows.open(server.url, name="welcome")
    await expect(welcome.page.get_by_role("link", name="Ann")).to_be_visible()
    await welcome.screenshot("start")
    ann = await enter(windows, server, "ann")
    bo = await enter(windows, server, "bo", width=390)
    await expect(ann.page.get_by_text("No messages yet")).to_be_visible()

    await ann.page.locator(".box").press_sequentially("Hello Bo", delay=20)
    await expect(bo.page.locator(".typing")).to_have_text("Ann is typing")
    await expect(ann.page.locator(".typing")).to_have_text("")
    await bo.screenshot("typing")
    await ann.page.keyboard.press("Enter")
    for window in (ann, bo):
        await shows(window, "Hello Bo")
    await expect(bo.page.locator(".typing")).to_have_text("")
    await expect(ann.page.locator(".box")).to_have_value("")

    for text in ("Hello Ann, nice to see you here", "A second line, long enough to be wrapped on a narrow screen"):
        await say(bo, text)
    for window in (ann, bo):
        await expect(window.page.locator(".message")).to_have_count(3)
        await window.screenshot("talk")


async def test_who_stops_typing_is_not_shown_any_more(windows: Windows, server: ServerProcess) -> None:
    ann, bo = await enter(windows, server, "ann"), await enter(windows, server, "bo")

    await ann.page.locator(".box").press_sequentially("Hm")
    await expect(bo.page.locator(".typing")).to_have_text("Ann is typing")
    await ann.page.keyboard.press("Escape")
    await expect(ann.page.locator(".box")).to_have_value("")
    await expect(bo.page.locator(".typing")).to_have_text("")

    await ann.page.locator(".box").press_sequentially("Hm")
    await expect(bo.page.locator(".typing")).to_have_text("Ann is typing")
    await ann.page.close()  # and says nothing more
    await expect(bo.page.locator(".typing")).to_have_text("")


async def test_who_is_here(windows: Windows, server: ServerProcess) -> None:
    ann = await enter(windows, server, "ann")
    members = ann.page.locator(".members .name")
    await expect(members).to_have_text(["You"])
    bo = await enter(windows, server, "bo")
    await expect(members).to_have_text(["You", "Bo"])
    again = await enter(windows, server, "bo")
    await expect(ann.page.locator(".members small")).to_have_text(["2 windows"])
    await ann.screenshot("members")

    await again.page.close()
    await expect(ann.page.locator(".members small")).to_have_count(0)
    await bo.page.get_by_role("button", name="# kitchen").click()
    await expect(members).to_have_text(["You"])
    await ann.page.get_by_role("button", name="# kitchen").click()
    await expect(members).to_have_text(["You", "Bo"])
    await bo.page.close()
    await expect(members).to_have_text(["You"])


async def test_a_refused_message_goes_and_its_words_come_back(windows: Windows, server: ServerProcess) -> None:
    ann, bo = await enter(windows, server, "ann"), await enter(windows, server, "bo")
    await say(ann, "x" * 501)
    await expect(ann.page.get_by_role("alert").filter(has_text="Not sent")).to_contain_text("at most 500")
    await expect(ann.page.locator(".box")).to_have_value("x" * 501)
    await ann.screenshot("refused")
    await say(ann, "short")
    for window in (ann, bo):
        await shows(window, "short")
    await expect(ann.page.get_by_text("Not sent")).to_have_count(0)


async def test_a_stranger_to_a_room_sees_that_it_is_not_for_him(windows: Windows, server: ServerProcess) -> None:
    cleo = await windows.open(f"{server.url}/?as=cleo&room=kitchen", name="cleo")
    await expect(cleo.page.get_by_text("you are not a member of room 'kitchen'")).to_be_visible()
    await expect(cleo.page.get_by_text("Not for you")).to_be_visible()
    await expect(cleo.page.get_by_role("button", name="# kitchen")).to_have_count(0)
    await cleo.screenshot("denied")


async def test_the_server_goes_and_comes_back(windows: Windows, server: ServerProcess) -> None:
    ann, bo = await enter(windows, server, "ann"), await enter(windows, server, "bo", width=390)
    await say(ann, "before")
    await shows(bo, "before")
    for window in (ann, bo):
        window.ignore("WebSocket connection to .* failed")

    await server.kill()
    for window in (ann, bo):
        await expect(window.page.get_by_text("The server is away")).to_be_visible()
        await expect(window.page.locator("main")).to_have_attribute("inert", "")
        await window.screenshot("away")
    await server.start()
    for window in (ann, bo):
        await expect(window.page.get_by_text("The server is away")).not_to_be_visible()
        await expect(window.page.locator("main")).not_to_have_attribute("inert", "")
        await shows(window, "before")
        await expect(window.page.locator(".members .name")).to_have_count(2)
    await say(bo, "after")
    for window in (ann, bo):
        await shows(window, "before", "after")


async def test_earlier_messages_are_loaded_on_demand(
    windows: Windows, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAT_DATABASE", str(tmp_path / "chat.db"))
    await archive.create_tables()
    texts = [f"number {number}" for number in range(33)]
    for number, text in enumerate(texts):
        sent_at = datetime(2024, 1, 1, 12, number, tzinfo=UTC)
        await archive.add(Message(f"m{number}", "lobby", "ann", text, sent_at))
    bo = await enter(windows, await serve("chat.server.app:app", HOME), "bo", width=390, height=600)
    await expect(bo.page.locator(".message")).to_have_count(30)
    await expect(bo.page.get_by_text("number 32", exact=True)).to_be_in_viewport()  # at the end

    older = bo.page.get_by_role("button", name="Show earlier messages")
    await older.click()
    await shows(bo, *texts)
    await older.click()
    await expect(older).to_have_count(0)
    await bo.screenshot("earlier")
