"""The conversation of examples/ai-stream in a real Chromium: an answer grows in all windows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from chromium import ServerProcess, Window, Windows
from playwright.async_api import expect

Serve: TypeAlias = Callable[..., Awaitable[ServerProcess]]

HOME = Path(__file__).parent.parent / "examples" / "ai-stream"

# What the page showed of the answer, each time that it showed something else.
WATCH = """
() => {
  window.lengths = [];
  const look = () => {
    const text = document.querySelector(".answer .text")?.textContent ?? "";
    if (text.length !== window.lengths.at(-1)) window.lengths.push(text.length);
  };
  new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true });
}
"""


@pytest.fixture
async def server(serve: Serve) -> ServerProcess:
    return await serve("ai_stream.server.app:app", HOME)


async def enter(windows: Windows, server: ServerProcess, user: str, query: str = "", **size: int) -> Window:
    window = await windows.open(f"{server.url}/?as={user}{query}", name=user, dark=user == "bo", **size)
    await expect(window.page.locator(".connection.connected")).to_be_visible()
    return window


async def ask(window: Window, question: str) -> None:
    await window.page.locator(".box").fill(question)
    await window.page.keyboard.press("Enter")


async def test_an_answer_grows_in_all_windows(windows: Windows, server: ServerProcess) -> None:
    ann, bo = await enter(windows, server, "ann"), await enter(windows, server, "bo", width=390)
    for window in (ann, bo):
        await expect(window.page.get_by_text("Ask anything")).to_be_visible()
        await window.page.evaluate(WATCH)

    await ask(ann, "How does this work?")
    for window in (ann, bo):
        await expect(window.page.locator(".question")).to_have_text("How does this work?")
        await expect(window.page.locator(".answer.streaming .text")).to_contain_text("You asked")
        await window.screenshot("growing")
    late = await enter(windows, server, "ann")
    await ann.page.close()  # the answer does not end with the window that asked

    for window in (bo, late):
        await expect(window.page.locator(".answer.done .text")).to_contain_text("nobody is left with a hole.")
        await expect(window.page.locator(".note")).to_contain_text("words")
        await window.screenshot("done")
    texts = [await window.page.locator(".answer .text").inner_text() for window in (bo, late)]
    assert texts[0] == texts[1]
    lengths: list[int] = await bo.page.evaluate("window.lengths")
    assert lengths == sorted(lengths)
    assert len(lengths) > 20  # token by token


async def test_an_answer_that_breaks_off_can_be_asked_for_again(windows: Windows, server: ServerProcess) -> None:
    ann, bo = await enter(windows, server, "ann"), await enter(windows, server, "bo")
    await ask(ann, "Please fail")
    for window in (ann, bo):
        await expect(window.page.locator(".answer.failed")).to_have_count(1)
        await window.screenshot("failed")

    await bo.page.get_by_role("button", name="Ask again").click()
    await expect(ann.page.locator(".question")).to_have_count(2)
    await ann.page.get_by_role("button", name="Stop").click()
    for window in (ann, bo):
        await expect(window.page.locator(".answer.failed")).to_have_count(2)
        await expect(window.page.get_by_role("button", name="Stop")).to_have_count(0)
    await ann.page.locator(".box").fill("never mind")
    await ann.page.keyboard.press("Escape")
    await expect(ann.page.locator(".box")).to_have_value("")


async def test_a_private_session_is_private(windows: Windows, server: ServerProcess) -> None:
    ann = await enter(windows, server, "ann")
    await ann.page.get_by_role("link", name="Private").click()
    await ask(ann, "What am I to give Bo?")
    await expect(ann.page.locator(".answer.streaming .text")).to_contain_text("You asked")

    bo = await enter(windows, server, "bo", "&session=ann")
    await expect(bo.page.get_by_text("you take no part in session 'ann'")).to_be_visible()
    await ask(bo, "What did she say?")
    await expect(bo.page.get_by_text("Not asked: you take no part")).to_be_visible()
    await expect(bo.page.locator(".turn")).to_have_count(0)
    await bo.screenshot("denied")


async def test_the_server_goes_in_the_middle_and_comes_back(windows: Windows, server: ServerProcess) -> None:
    ann = await enter(windows, server, "ann")
    ann.ignore("WebSocket connection to .* failed")
    await ask(ann, "How does this work?")
    await expect(ann.page.locator(".answer.streaming .text")).to_contain_text("You asked")

    await server.kill()
    await expect(ann.page.get_by_text("The server is away")).to_be_visible()
    await expect(ann.page.locator("main")).to_have_attribute("inert", "")
    await ann.screenshot("away")
    await server.start()
    await expect(ann.page.get_by_text("Ask anything")).to_be_visible()  # it kept nothing
    await ask(ann, "Again?")
    await expect(ann.page.locator(".answer.done")).to_be_visible()
