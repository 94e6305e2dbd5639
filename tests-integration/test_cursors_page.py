"""The canvas of examples/cursors in a real Chromium: cursors move in the other window."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from chromium import ServerProcess, Window, Windows
from playwright.async_api import Locator, expect

Serve: TypeAlias = Callable[..., Awaitable[ServerProcess]]

HOME = Path(__file__).parent.parent / "examples" / "cursors"

# Where the page had the cursor of somebody, each time that it moved.
WATCH = """
() => {
  window.places = [];
  new MutationObserver(() => {
    const place = document.querySelector(".cursor.ann")?.style.transform;
    if (place && place !== window.places.at(-1)) window.places.push(place);
  }).observe(document.body, { subtree: true, childList: true, attributes: true });
}
"""


@pytest.fixture
async def server(serve: Serve) -> ServerProcess:
    return await serve("cursors.server.app:app", HOME)


async def enter(windows: Windows, server: ServerProcess, user: str, **size: int) -> Window:
    window = await windows.open(f"{server.url}/?as={user}", name=user, dark=user == "bo", **size)
    await expect(window.page.locator(".canvas.live")).to_be_visible()
    return window


async def place(canvas: Locator, x: float, y: float) -> tuple[float, float]:
    """A point of the canvas, of fractions, as a point of its window."""
    box = await canvas.bounding_box()
    assert box is not None
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


async def points_at(cursor: Locator, x: float, y: float) -> None:
    """Wait until a cursor points there, to a hundredth of the canvas."""

    def near(value: float) -> str:
        return "|".join(f"{value * 100 + step / 100:.2f}".rstrip("0").rstrip(".") for step in range(-100, 101))

    pattern = rf"translate\((?:{near(x)})cqw, (?:{near(y)})cqh\)"
    await expect(cursor).to_have_attribute("style", re.compile(pattern))


async def test_cursors_move_in_the_other_window(windows: Windows, server: ServerProcess) -> None:
    ann, bo = await enter(windows, server, "ann"), await enter(windows, server, "bo", width=390)
    canvas = ann.page.locator(".canvas")
    theirs = bo.page.locator(".cursor.ann")
    await expect(theirs).to_have_class(re.compile("elsewhere"))
    await bo.page.evaluate(WATCH)

    for step in range(20):
        await ann.page.mouse.move(*await place(canvas, 0.2 + 0.03 * step, 0.3))
    await points_at(theirs, 0.77, 0.3)  # the last one has come
    await bo.screenshot("moved")
    places: list[str] = await bo.page.evaluate("window.places")
    assert len(places) > 4
    assert "transform" in await theirs.evaluate("cursor => getComputedStyle(cursor).transitionProperty")

    await bo.page.mouse.move(*await place(bo.page.locator(".canvas"), 0.5, 0.5))
    await points_at(ann.page.locator(".cursor.bo"), 0.5, 0.5)
    await ann.screenshot("moved")
    await ann.page.mouse.move(5, 5)  # off the canvas
    await expect(theirs).to_have_class(re.compile("elsewhere"))


async def test_a_burst_of_moves_costs_the_connection_little(windows: Windows, server: ServerProcess) -> None:
    ann, bo = await enter(windows, server, "ann"), await enter(windows, server, "bo")
    sent: list[int] = []
    session: Any = await ann.page.context.new_cdp_session(ann.page)

    def measure(frame: dict[str, Any]) -> None:
        sent.append(len(frame["response"]["payloadData"]))

    session.on("Network.webSocketFrameSent", measure)
    await session.send("Network.enable")

    # 300 moves within half a second, as a fast mouse makes them.
    await ann.page.evaluate("""
        async () => {
          const canvas = document.querySelector(".canvas"), box = canvas.getBoundingClientRect();
          for (let step = 0; step < 300; step++) {
            const at = { clientX: box.x + box.width * step / 300, clientY: box.y + 50, bubbles: true };
            canvas.dispatchEvent(new PointerEvent("pointermove", at));
            if (step % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 16));
          }
        }
    """)
    await points_at(bo.page.locator(".cursor.ann"), 299 / 300, 0.08)
    assert 5 < len(sent) < 60
    assert max(sent) < 1000


async def test_a_click_makes_a_wave(windows: Windows, server: ServerProcess) -> None:
    ann, bo = await enter(windows, server, "ann"), await enter(windows, server, "bo")
    for window in (ann, bo):
        await window.page.evaluate("""
            () => {
              window.waves = 0;
              const look = () => (window.waves = Math.max(window.waves, document.querySelectorAll(".wave.ann").length));
              new MutationObserver(look).observe(document.querySelector(".waves"), { childList: true });
            }
        """)
    await ann.page.mouse.click(*await place(ann.page.locator(".canvas"), 0.4, 0.4))
    for window in (ann, bo):
        await window.page.wait_for_function("window.waves === 1")
        await expect(window.page.locator(".wave")).to_have_count(0)


async def test_the_keyboard_moves_a_cursor_too(windows: Windows, server: ServerProcess) -> None:
    ann, bo = await enter(windows, server, "ann"), await enter(windows, server, "bo")
    theirs = bo.page.locator(".cursor.ann")
    await ann.page.locator(".canvas").focus()
    await ann.page.keyboard.press("ArrowRight")
    await points_at(theirs, 0.52, 0.5)
    await ann.page.keyboard.press("ArrowDown")
    await points_at(theirs, 0.52, 0.52)
    await expect(ann.page.locator(".cursor.own")).to_have_text("You")
    await ann.screenshot("keyboard")
    await ann.page.keyboard.press("Escape")
    await expect(theirs).to_have_class(re.compile("elsewhere"))
    await expect(ann.page.locator(".cursor.own")).to_have_count(0)


async def test_who_is_here_and_the_server_comes_back(windows: Windows, server: ServerProcess) -> None:
    ann, bo = await enter(windows, server, "ann"), await enter(windows, server, "bo")
    dev = await enter(windows, server, "dev")
    await expect(ann.page.locator(".members li")).to_have_count(3)
    await dev.page.close()
    await expect(ann.page.locator(".members li")).to_have_text(["You", "Bo"])

    for window in (ann, bo):
        window.ignore("WebSocket connection to .* failed")
    await server.kill()
    await expect(ann.page.get_by_text("The server is away")).to_be_visible()
    await expect(ann.page.locator("main")).to_have_attribute("inert", "")
    await ann.screenshot("away")
    await server.start()
    for window in (ann, bo):
        await expect(window.page.get_by_text("The server is away")).not_to_be_visible()
        await expect(window.page.locator("main")).not_to_have_attribute("inert", "")
        await expect(window.page.locator(".members li")).to_have_count(2)
        await window.page.mouse.move(*await place(window.page.locator(".canvas"), 0.6, 0.6))
    await points_at(ann.page.locator(".cursor.bo"), 0.6, 0.6)
    await points_at(bo.page.locator(".cursor.ann"), 0.6, 0.6)
