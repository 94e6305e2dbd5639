"""`use_store`: a component that shows an external store, as React's ``useSyncExternalStore`` does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from ._runtime import Cleanup, Runtime

__all__ = ["ExternalStore", "use_store"]

Value = TypeVar("Value", covariant=True)
T = TypeVar("T")


class ExternalStore(Protocol[Value]):
    """Something that a component can show: a live query, a presence channel. Compared by identity."""

    def get(self) -> Value:
        """Return what is shown now; the same object until it changed."""
        ...

    def subscribe(self, callback: Callable[[], object], /) -> Callable[[], None]:
        """Call `callback` after each change. Returns the function that stops it."""
        ...


def use_store(runtime: Runtime, store: ExternalStore[T]) -> T:
    """Show a store, and render again when it changes.

    The value is read while the component renders, so that it belongs to the store that this render was given: a
    component that goes over to another store never shows a frame with the old one's value (*tearing*).
    """
    rerender = runtime.use_rerender()
    shown = store.get()

    def mount() -> Cleanup:
        stop = store.subscribe(rerender)
        if store.get() is not shown:
            rerender()  # it changed between the render and now
        return stop

    runtime.use_effect(mount, store)
    return shown
