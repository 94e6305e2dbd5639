"""What a user interface knows and a connection does not: the user came back, the network came back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol, TypeAlias

__all__ = ["Lifecycle", "LifecycleEvent", "LifecycleSource"]

LifecycleEvent: TypeAlias = Literal["focus", "visible", "online"]
"""``focus``: the window has the focus again. ``visible``: it is on the screen again. ``online``: there is a network."""


class LifecycleSource(Protocol):
    """Where such events come from: a browser page, a terminal, a desktop window."""

    def subscribe(self, callback: Callable[[LifecycleEvent], None], /) -> Callable[[], None]:
        """Call `callback` at every event, on the event loop's thread. Returns the function that stops it."""
        ...


class Lifecycle:
    """The events of one client: given by hand, or taken over from a source.

    On ``focus`` and ``visible`` the client checks its connection and lets collections refetch; on ``online`` it checks
    the connection, or tries at once to get one back.

    Args:
        callback: what the client does with an event.
    """

    def __init__(self, callback: Callable[[LifecycleEvent], None]) -> None:
        self._callback = callback
        self._stops: list[Callable[[], None]] = []

    def focus(self) -> None:
        """The user is back."""
        self._callback("focus")

    def visible(self) -> None:
        """The screen is visible again."""
        self._callback("visible")

    def online(self) -> None:
        """The network is back."""
        self._callback("online")

    def follow(self, source: LifecycleSource, /) -> Callable[[], None]:
        """Take over the events of `source` until the returned function is called, or the client is closed."""
        stop = source.subscribe(self._callback)

        def stop_once() -> None:
            if stop in self._stops:
                self._stops.remove(stop)
                stop()

        self._stops.append(stop)
        return stop_once

    def close(self) -> None:
        """Stop following. Idempotent."""
        while self._stops:
            self._stops.pop()()
