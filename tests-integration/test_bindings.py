"""NiceGUI pages, and a ReactPy page, served by Starlette under uvicorn, in a real Chromium."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import httpx
import pytest
from chromium import DEADLINE, ServerProcess, Window, Windows
from playwright.async_api import expect

Serve: TypeAlias = Callable[..., Awaitable[ServerProcess]]


@pytest.fixture(params=["nicegui"])
async def server(request: pytest.FixtureRequest, serve: Serve) -> ServerProcess:
    return await serve(f"bindings_app:{request.param}", Path(__file__).parent)


async def counted(server: ServerProcess, what: str) -> int:
    async with httpx.AsyncClient() as http:
        answer: dict[str, int] = (await http.get(f"{server.url}/counted")).json()
    return answer[what]


async def shows(window: Window, *texts: str) -> None:
    await expect(window.page.locator(".todo .nicegui-label, .todo > div")).to_have_text(list(texts))


async def test_two_windows_show_one_list(windows: Windows, server: ServerProcess) -> None:
    ann, bob = [await windows.open(server.url, name=name) for name in ("ann", "bob")]
    for window in (ann, bob):
        await expect(window.page.locator(".status")).to_have_text("connected")
        await shows(window, "write docs")
    await ann.page.get_by_label("Todo").fill("answer mail")
    await ann.page.get_by_role("button", name="add").click()
    for window in (ann, bob):
        await shows(window, "answer mail", "write docs")
    await bob.page.get_by_role("button", name="toggle").nth(1).click()
    for window in (ann, bob):
        await shows(window, "answer mail", "write docs, done")
    await bob.screenshot("two todos")
    await bob.page.get_by_role("button", name="remove").first.click()
    for window in (ann, bob):
        await shows(window, "write docs, done")
    # A write that the server refuses goes back, and was never in the other window.
    await ann.page.get_by_label("Todo").fill("refuse this")
    await ann.page.get_by_role("button", name="add").click()
    await shows(ann, "write docs, done")
    await shows(bob, "write docs, done")


async def test_a_closed_window_ends_its_session(windows: Windows, server: ServerProcess) -> None:
    window = await windows.open(server.url)
    await expect(window.page.locator(".status")).to_have_text("connected")
    assert await counted(server, "connections") == 1
    await window.page.close()
    async with asyncio.timeout(DEADLINE):
        while await counted(server, "connections"):
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("server", ["nicegui", "react"], indirect=True)
@pytest.mark.parametrize("event", ["focus", "visibilitychange"])
async def test_the_focus_of_a_window_lets_its_rows_be_fetched_again(
    windows: Windows, server: ServerProcess, event: str
) -> None:
    window = await windows.open(server.url)
    await expect(window.page.get_by_text("write docs")).to_be_visible()
    before = await counted(server, "fetches")
    async with asyncio.timeout(DEADLINE):
        # Once may not be enough: a focus within 5 s of another one, which the browser may have told, fetches nothing.
        while await counted(server, "fetches") == before:
            target = "window" if event == "focus" else "document"
            await window.page.evaluate(f"{target}.dispatchEvent(new Event('{event}'))")
            await asyncio.sleep(0.5)
