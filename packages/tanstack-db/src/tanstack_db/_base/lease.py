"""`StateLease`: a lease on something that knows its own state."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

__all__ = ["StateLease"]

_State: TypeAlias = tuple[bool, Exception | None]


class StateLease:
    """A `Lease` whose state its owner has; the owner calls `tell` where it may have changed.

    Args:
        state: gives `is_ready` and `error`.
        released: called once, with this lease.
        on_status: called when the state is another than was told.
    """

    def __init__(
        self, state: Callable[[], _State], released: Callable[[StateLease], object], on_status: Callable[[], None]
    ) -> None:
        self._state = state
        self._released = released
        self._on_status = on_status
        self._told = state()
        self._is_released = False

    @property
    def is_ready(self) -> bool:
        """Whether what was asked for has been loaded once."""
        return self._state()[0]

    @property
    def error(self) -> Exception | None:
        """Why loading failed."""
        return self._state()[1]

    def release(self) -> None:
        """Stop needing it. Idempotent."""
        if not self._is_released:
            self._is_released = True
            self._released(self)

    def tell(self) -> None:
        """Call back if the state is another than the last one told."""
        state = self._state()
        if state != self._told and not self._is_released:
            self._told = state
            self._on_status()
