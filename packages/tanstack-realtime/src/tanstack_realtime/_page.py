"""The browser page that a client runs in, under Pyodide."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

from ._lifecycle import LifecycleEvent, LifecycleSource

__all__ = ["this_page"]


def this_page() -> LifecycleSource | None:
    """Return the page, or None where there is none: outside a browser, in a worker, under node."""
    if sys.platform != "emscripten":
        return None
    js: Any = importlib.import_module("js")
    return _Page(js) if hasattr(js, "document") else None


class _Page:
    """A `LifecycleSource`: the window has the focus again, the tab is shown again, the network is back.

    Args:
        js: the page's global object.
    """

    def __init__(self, js: Any) -> None:
        self._js = js

    def subscribe(self, callback: Callable[[LifecycleEvent], None], /) -> Callable[[], None]:
        """Add listeners to the page, until the returned function is called."""
        create_proxy: Callable[[Callable[[Any], None]], Any] = importlib.import_module("pyodide.ffi").create_proxy
        context = copy_context()
        is_active = True

        def tell(event: LifecycleEvent) -> None:
            if is_active:
                callback(event)

        def happened(event: LifecycleEvent) -> None:
            # From JavaScript: what the callback raises would be an error of the page, and it would lack its context.
            asyncio.get_running_loop().call_soon(tell, event, context=context)

        def seen(_: Any) -> None:
            if self._js.document.visibilityState == "visible":
                happened("visible")

        listeners = [
            (self._js.document, "visibilitychange", create_proxy(seen)),
            (self._js, "focus", create_proxy(lambda _: happened("focus"))),
            (self._js, "online", create_proxy(lambda _: happened("online"))),
        ]
        for target, name, proxy in listeners:
            target.addEventListener(name, proxy)

        def stop() -> None:
            nonlocal is_active
            is_active = False
            while listeners:
                target, name, proxy = listeners.pop()
                target.removeEventListener(name, proxy)
                proxy.destroy()

        return stop
