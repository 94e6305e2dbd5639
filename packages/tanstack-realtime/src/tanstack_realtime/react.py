"""Realtime hooks for ReactPy, named like those of ``@tanstack/realtime/react``. Needs ``tanstack-realtime[react]``.

Components that only show collections need none of it: their hooks are in `tanstack_db.react`.

Example:
    >>> @component
    ... def App():
    ...     connect = lambda: create_realtime_client(transport=realtime.local_transport(user_id="ada"))
    ...     return DBProvider(RealtimeProvider(Chat(), client=connect))
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import reactpy

from tanstack_db.react import runtime

from ._client import RealtimeClient
from ._create import create_realtime_client
from .hooks import PresenceHandle, RealtimeHooks, use_realtime_session

__all__ = [
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


@reactpy.component
def RealtimeProvider(
    *children: Any, client: Callable[[], RealtimeClient] = create_realtime_client, auto_connect: bool = True
) -> Any:
    """Connect the session: its collections become live, and the hooks of this module work below.

    Args:
        children: the components that use it.
        client: makes the realtime client, once per session. It serves the collections of the ``DBProvider`` above, or
            of a session that begins here.
        auto_connect: whether it connects by itself; else ``use_realtime().connect()`` does.

    Raises:
        ConfigurationError: `client` is a client itself, or returned one that is not this session's.
    """
    session = use_realtime_session(runtime, client, auto_connect=auto_connect)
    return runtime.provide(session.db, *children, _Window(session, key="tanstack-window"))


@reactpy.component
def _Window(client: RealtimeClient) -> Any:
    """Tell the client what happens to the browser's window: hidden buttons, which a script clicks."""
    tell: dict[str, Callable[[], None]] = {
        "focus": client.lifecycle.focus,
        "visible": client.lifecycle.visible,
        "online": client.lifecycle.online,
    }
    name = f"tanstack-{client.origin}"
    buttons = [
        reactpy.html.button(
            {"type": "button", "id": f"{name}-{event}", "hidden": True, "key": event, "onClick": _call(do)}
        )
        for event, do in tell.items()
    ]
    return reactpy.html.div({"hidden": True, "aria-hidden": "true"}, *buttons, reactpy.html.script(_SCRIPT % name))


def _call(do: Callable[[], None]) -> Callable[[Any], None]:
    return lambda _event: do()


_SCRIPT = """
(() => {
  const tell = (event) => () => document.getElementById("%s-" + event)?.click();
  window.addEventListener("focus", tell("focus"));
  window.addEventListener("online", tell("online"));
  const visible = tell("visible");
  document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && visible());
})()
"""
"""A listener that outlives its session finds no button any more."""
