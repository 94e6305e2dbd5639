"""The browser page as a `LifecycleSource`, with JavaScript played by the test."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tanstack_db.testing import settle
from tanstack_realtime import create_realtime_client
from tanstack_realtime._page import this_page


class Target:
    """A document, or a window."""

    def __init__(self) -> None:
        self.listeners: dict[str, Any] = {}
        self.visibilityState = "visible"  # JavaScript's name

    def addEventListener(self, event: str, listener: Any) -> None:
        self.listeners[event] = listener

    def removeEventListener(self, event: str, listener: Any) -> None:
        assert self.listeners.pop(event) is listener

    def happens(self, event: str) -> None:
        if event in self.listeners:
            self.listeners[event](SimpleNamespace(type=event))


class Proxy:
    """A function that JavaScript keeps."""

    made: list[Proxy]

    def __init__(self, function: Callable[[Any], None]) -> None:
        self._function = function
        self.is_destroyed = False
        self.made.append(self)

    def __call__(self, event: Any) -> None:
        assert not self.is_destroyed
        self._function(event)

    def destroy(self) -> None:
        self.is_destroyed = True


class Page:
    def __init__(self) -> None:
        self.document, self.window = Target(), Target()


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Page:
    page = Page()
    Proxy.made = []
    js, ffi = ModuleType("js"), ModuleType("pyodide.ffi")
    vars(js).update(
        document=page.document,
        addEventListener=page.window.addEventListener,
        removeEventListener=page.window.removeEventListener,
    )
    vars(ffi)["create_proxy"] = Proxy
    monkeypatch.setitem(sys.modules, "js", js)
    monkeypatch.setitem(sys.modules, "pyodide", ModuleType("pyodide"))
    monkeypatch.setitem(sys.modules, "pyodide.ffi", ffi)
    monkeypatch.setattr(sys, "platform", "emscripten")
    return page


async def test_what_happens_to_the_page_is_told(page: Page) -> None:
    source = this_page()
    assert source is not None
    told: list[str] = []
    stop = source.subscribe(told.append)
    page.window.happens("focus")
    assert told == []  # not within JavaScript's call
    page.window.happens("online")
    page.document.happens("visibilitychange")
    page.document.visibilityState = "hidden"
    page.document.happens("visibilitychange")
    await settle()
    assert told == ["focus", "online", "visible"]
    page.window.happens("focus")
    stop()
    stop()
    await settle()
    assert told == ["focus", "online", "visible"]
    assert page.window.listeners == page.document.listeners == {}
    assert [proxy.is_destroyed for proxy in Proxy.made] == [True, True, True]


async def test_what_a_callback_raises_is_no_error_of_the_page(page: Page) -> None:
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    source = this_page()
    assert source is not None

    def fail(_: str) -> None:
        raise ZeroDivisionError

    source.subscribe(fail)
    page.window.happens("focus")
    await settle()
    assert [type(context["exception"]) for context in reported] == [ZeroDivisionError]


async def test_a_client_follows_the_page_until_it_is_closed(page: Page) -> None:
    transport: Any = SimpleNamespace(capabilities=None)
    client = create_realtime_client(transport=transport)
    assert set(page.window.listeners) == {"focus", "online"}
    await client.close()
    assert page.window.listeners == {}


def test_a_worker_and_other_platforms_have_no_page(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(sys.modules["js"], "document")
    assert this_page() is None
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delitem(sys.modules, "js")
    assert this_page() is None
