"""What a framework with hooks must be able to do for the hooks of this package: four primitives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from .._errors import UsageError

if TYPE_CHECKING:
    from .._collections.client import DbClient

__all__ = ["Cleanup", "Ref", "Runtime", "on_loop"]

Cleanup: TypeAlias = Callable[[], None]
"""Undoes what an effect did."""


class Ref(Protocol):
    """A place that belongs to one component and stays through its renders. Writing to it renders nothing."""

    current: Any


class Runtime(Protocol):
    """A framework's hooks, as the hooks of this package need them.

    Like all hooks, these are called while a component renders, in the same order at each render.
    """

    def use_ref(self) -> Ref:
        """Return the component's own place, which holds None at first."""
        ...

    def use_rerender(self) -> Callable[[], None]:
        """Return a function that renders the component again. May be called at any time, from any thread."""
        ...

    def use_effect(self, mount: Callable[[], Cleanup], key: object) -> None:
        """Call `mount` after the render in which `key` is another object than in the last one, or the first.

        What it returns is called before the next such call, and when the component or its session ends.
        """
        ...

    def use_client(self) -> DbClient | None:
        """Return what the nearest provider above gives, or None without one."""
        ...


def on_loop(callback: Callable[[], object]) -> Callable[[], None]:
    """Return a function that calls `callback` on the loop that runs now: at once on its own thread, else soon.

    It is called with the context variables of now, not with those of whoever brings the change. Else a row that one
    user writes would let another user's components render, and start what they start, on behalf of the first.

    Raises:
        UsageError: none runs.
    """
    context = copy_context()
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        raise UsageError(
            "hooks were called in a thread without an event loop; components must render on the loop that owns the "
            "session's client"
        ) from None

    def call() -> None:
        try:
            is_here = asyncio.get_running_loop() is loop
        except RuntimeError:
            is_here = False
        if is_here:
            context.copy().run(callback)  # a copy, since a framework may render, and so call this again, at once
        elif not loop.is_closed():
            loop.call_soon_threadsafe(callback, context=context.copy())

    return call
