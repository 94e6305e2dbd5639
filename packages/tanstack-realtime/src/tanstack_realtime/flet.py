"""Realtime hooks for Flet 1.x. Needs ``tanstack-realtime[flet]``.

Components that only show collections need none of it: their hooks are in `tanstack_db.flet`.

Example:
    >>> def main(page: ft.Page):
    ...     page.render(lambda: RealtimeProvider(lambda: Chat(), client=connect))
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import flet as ft

from tanstack_db.flet import on_page_event, runtime

from ._client import RealtimeClient
from ._create import create_realtime_client
from ._lifecycle import LifecycleEvent
from .hooks import PresenceHandle, RealtimeHooks, use_realtime_session

__all__ = [
    "PageLifecycle",
    "PresenceHandle",
    "RealtimeProvider",
    "create_realtime_client",
    "use_presence",
    "use_publish",
    "use_realtime",
    "use_subscribe",
]

_hooks = RealtimeHooks(runtime)
use_realtime = _hooks.use_realtime
use_presence = _hooks.use_presence
use_publish = _hooks.use_publish
use_subscribe = _hooks.use_subscribe


class PageLifecycle:
    """A `LifecycleSource`: a page's window or tab is shown again, or has the focus again, or the browser is back.

    Args:
        page: the user's page.
    """

    def __init__(self, page: ft.Page) -> None:
        self._page = page

    def subscribe(self, callback: Callable[[LifecycleEvent], None], /) -> Callable[[], None]:
        """Call `callback` at every event. Returns the function that stops it."""

        def changed(event: ft.AppLifecycleStateChangeEvent) -> None:
            told = _TOLD.get(event.state)
            if told is not None:
                callback(told)

        stops = (
            on_page_event(self._page, "app_lifecycle_state_change", changed),
            on_page_event(self._page, "connect", lambda _: callback("online")),
        )
        cast("Any", self._page).schedule_update()  # the other side tells only what a page has a handler for

        def stop() -> None:
            for end in stops:
                end()

        return stop


_TOLD: dict[ft.AppLifecycleState, LifecycleEvent] = {
    ft.AppLifecycleState.RESUME: "focus",
    ft.AppLifecycleState.SHOW: "visible",
}


@ft.component
def RealtimeProvider(
    content: Callable[[], Any],
    *,
    client: Callable[[], RealtimeClient] = create_realtime_client,
    auto_connect: bool = True,
) -> Any:
    """Connect the session: its collections become live, and the hooks of this module work below.

    Args:
        content: makes the component or components that use it.
        client: makes the realtime client, once per session. It serves the collections of the ``DBProvider`` above, or
            of a session that begins here.
        auto_connect: whether it connects by itself; else ``use_realtime().connect()`` does.

    Raises:
        ConfigurationError: `client` is a client itself, or returned one that is not this session's.
    """
    page = ft.context.page
    session = use_realtime_session(runtime, client, auto_connect=auto_connect, lifecycle=lambda: PageLifecycle(page))
    return runtime.provide(session.db, content)
