"""Realtime hooks for Solara (Reacton). Needs ``tanstack-realtime[solara]``.

Components that only show collections need none of it: their hooks are in `tanstack_db.solara`, which also says how the
server must be started.

Example:
    >>> @solara.component
    ... def Page():
    ...     with RealtimeProvider(client=connect):
    ...         Chat()
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import reacton
import solara

from tanstack_db.solara import runtime

from ._client import RealtimeClient
from ._create import create_realtime_client
from ._lifecycle import LifecycleEvent
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

F = TypeVar("F", bound=Callable[..., Any])

# What they are typed as does not pass strict checks.
_reacton: Any = reacton
_solara: Any = solara

_hooks = RealtimeHooks(runtime)
use_realtime = _hooks.use_realtime
use_presence = _hooks.use_presence
use_publish = _hooks.use_publish
use_subscribe = _hooks.use_subscribe


def _component(function: F) -> F:
    return cast("F", _reacton.component(function))


def _window_events(event_happened: Callable[[LifecycleEvent], None] | None = None) -> None:
    """Call `event_happened` with what happens to the browser's window. Shows nothing."""


_window: Callable[..., Any] = _solara.component_vue("_solara_window.vue", vuetify=False)(_window_events)


@_component
def RealtimeProvider(
    children: Sequence[Any] = (),
    *,
    client: Callable[[], RealtimeClient] = create_realtime_client,
    auto_connect: bool = True,
) -> Any:
    """Connect the session: its collections become live, and the hooks of this module work below.

    Args:
        children: the components that use it; as a rule those inside ``with RealtimeProvider():``.
        client: makes the realtime client, once per session. It serves the collections of the ``DBProvider`` above, or
            of a session that begins here.
        auto_connect: whether it connects by itself; else ``use_realtime().connect()`` does.

    Raises:
        ConfigurationError: `client` is a client itself, or returned one that is not this session's.
    """
    session = use_realtime_session(runtime, client, auto_connect=auto_connect)
    runtime.provide(session.db)
    tell: dict[LifecycleEvent, Callable[[], None]] = {
        "focus": session.lifecycle.focus,
        "visible": session.lifecycle.visible,
        "online": session.lifecycle.online,
    }

    def happened(event: LifecycleEvent) -> None:
        tell[event]()

    return _solara.Column(children=[*children, _window(event_happened=happened)])
