"""One application on three presets: every example, unchanged, with another line of configuration."""

from __future__ import annotations

import re
import signal
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from carriers import CARRIERS, Carrier
from chromium import ServerProcess, Window, Windows
from playwright.async_api import expect
from todos.stage import Picture, Stage

EXAMPLES = Path(__file__).parent.parent / "examples"

on_every_preset = pytest.mark.parametrize("preset", sorted(CARRIERS))


def shows(*texts: str) -> Callable[[Picture], bool]:
    def condition(picture: Picture) -> bool:
        return (
            picture.status == "connected"
            and sorted(picture.texts) == sorted(texts)
            and not any(item.pending for item in picture.items)
        )

    return condition


@on_every_preset
async def test_the_todos_run_on(preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs of their own, connected over the network; what carries the messages is killed meanwhile."""
    stage = Stage()
    carrier = CARRIERS[preset](tmp_path, stage._port)
    monkeypatch.setenv("REALTIME_PRESET", preset)  # the line
    for name, value in carrier.environ.items():
        monkeypatch.setenv(name, value)
    await carrier.start()
    try:
        async with stage:
            ada, bob = stage.clients["ada"], stage.clients["bob"]
            for client in (ada, bob):
                await client.until(lambda picture: picture.status == "connected", "a connection")
            await ada.do("add", text="milk")
            await bob.do("add", text="bread")
            for client in (ada, bob):
                await client.until(shows("bread", "milk"), "both todos")
            if preset == "node":
                await stage.kill_server()
                await stage.start_server()
            else:
                await carrier.stop(signal.SIGKILL)
                await ada.do("complete", text="milk")
                await ada.until(lambda picture: any(item.done for item in picture.items), "a change while it is away")
                await carrier.start()
            await ada.do("add", text="and butter")
            for client in (ada, bob):
                await client.until(shows("bread", "milk", "and butter"), "all of them")
    finally:
        await carrier.stop()


@asynccontextmanager
async def page_server(app: str, preset: str, folder: Path, **environment: str) -> AsyncGenerator[tuple[str, Carrier]]:
    """Serve an example whose pages render in the server, and what carries its messages."""
    given = {**environment, "REALTIME_PRESET": preset}  # the line
    server = ServerProcess(f"{app.replace('-', '_')}.server.app:app", EXAMPLES / app, folder / "server.log", given)
    carrier = CARRIERS[preset](folder, server.port)
    given.update(carrier.environ)
    await carrier.start()
    try:
        await server.start()
        yield server.url, carrier
    finally:
        await server.kill()
        await carrier.stop()
        print(server.log)  # shown where the test failed


@pytest.fixture
async def servers() -> AsyncGenerator[AsyncExitStack]:
    """What runs until the windows are closed: a page whose server is gone says so in its console."""
    async with AsyncExitStack() as servers:
        yield servers


async def enter(windows: Windows, url: str, user: str, preset: str, ready: str = ".connection.connected") -> Window:
    window = await windows.open(f"{url}/?as={user}", name=f"{user}-{preset}", dark=user == "bo")
    await expect(window.page.locator(ready)).to_be_visible()
    return window


@on_every_preset
async def test_the_chat_runs_on(preset: str, tmp_path: Path, servers: AsyncExitStack, windows: Windows) -> None:
    """Live channels and presence."""
    url, carrier = await servers.enter_async_context(
        page_server("chat", preset, tmp_path, CHAT_DATABASE=str(tmp_path / "chat.db"))
    )
    ann, bo = [await enter(windows, url, user, preset) for user in ("ann", "bo")]
    for window in (ann, bo):
        await expect(window.page.locator(".members .name")).to_have_count(2)

    await ann.page.locator(".box").press_sequentially("Hello Bo", delay=20)
    await expect(bo.page.get_by_text("Ann is typing")).to_be_visible()
    await ann.page.keyboard.press("Enter")
    await expect(bo.page.locator(".message p")).to_have_text(["Hello Bo"])
    if preset != "node":
        await carrier.stop(signal.SIGKILL)
        await carrier.start()
        for window in (ann, bo):
            await expect(window.page.locator(".connection.connected")).to_be_visible()
    await bo.page.locator(".box").fill("Hello Ann")
    await bo.page.keyboard.press("Enter")
    for window in (ann, bo):
        await expect(window.page.locator(".message:not(.pending) p")).to_have_text(["Hello Bo", "Hello Ann"])
        await expect(window.page.locator(".members .name")).to_have_count(2)


@on_every_preset
async def test_the_ai_stream_runs_on(preset: str, tmp_path: Path, servers: AsyncExitStack, windows: Windows) -> None:
    """A text that the server publishes in parts."""
    url, _ = await servers.enter_async_context(page_server("ai-stream", preset, tmp_path))
    ann, bo = [await enter(windows, url, user, preset) for user in ("ann", "bo")]
    await ann.page.locator(".box").fill("How does this work?")
    await ann.page.keyboard.press("Enter")
    for window in (ann, bo):
        await expect(window.page.locator(".answer.done .text")).to_contain_text("nobody is left with a hole.")
    texts = [await window.page.locator(".answer .text").inner_text() for window in (ann, bo)]
    assert texts[0] == texts[1]


@on_every_preset
async def test_the_cursors_run_on(preset: str, tmp_path: Path, servers: AsyncExitStack, windows: Windows) -> None:
    """States of members that change all the time."""
    url, _ = await servers.enter_async_context(page_server("cursors", preset, tmp_path))
    ann, bo = [await enter(windows, url, user, preset, ".canvas.live") for user in ("ann", "bo")]
    for window in (ann, bo):
        await expect(window.page.locator(".members li")).to_have_count(2)
    box = await ann.page.locator(".canvas").bounding_box()
    assert box is not None
    for step in range(20):
        await ann.page.mouse.move(box["x"] + box["width"] * (0.2 + 0.03 * step), box["y"] + box["height"] * 0.3)
    at_last = re.compile(r"translate\((?:76\.9|77)[\d.]*cqw, (?:29\.9|30)[\d.]*cqh\)")
    await expect(bo.page.locator(".cursor.ann")).to_have_attribute("style", at_last)
    await ann.page.close()
    await expect(bo.page.locator(".members li")).to_have_count(1)
