"""What waits to be written to one socket.

It is bounded: a reader that is too slow loses its socket, not the server its memory. It resumes and misses nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from ._limits import Limits
from ._wire import Format, Frame

__all__ = ["ABRUPT", "Outbox"]

ABRUPT: Final = 1011
"""The close code of a socket that ends without a word in the protocol."""

_HIGH_WATER: Final = 256 * 1024


class Outbox:
    """The way out to one socket.

    Attributes:
        format: What the socket speaks.
        on_change: Called when there is something to write or to close.
        close_code: The WebSocket's close code, once nothing more will come. What waits is written first.
        is_frozen: Whether the socket stays open and silent, as a test wants it.
    """

    def __init__(self, format: Format, limits: Limits, on_change: Callable[[], None]) -> None:  # noqa: A002
        """Begin with nothing to write."""
        self.format: Format = format
        self.on_change = on_change
        self.close_code: int | None = None
        self.is_frozen = False
        self._limits = limits
        self._waiting: deque[str | bytes] = deque()
        self._bytes = 0

    @property
    def is_open(self) -> bool:
        """Whether what is sent now will be written."""
        return self.close_code is None

    @property
    def is_full(self) -> bool:
        """Whether whoever fills it on a client's request should wait."""
        return self._bytes > _HIGH_WATER

    def send(self, *frames: Frame) -> None:
        """Write protocol messages. After the end they are dropped."""
        for frame in frames:
            if not self.is_open:
                return
            encoded = frame.encoded(self.format)
            self._waiting.append(encoded)
            self._bytes += len(encoded)
            if len(self._waiting) > self._limits.queue_frames or self._bytes > self._limits.queue_bytes:
                self.drop()
        self.on_change()

    def close(self, code: int = 1000) -> None:
        """Close the socket after what waits. The first call counts."""
        if self.is_open:
            self.close_code = code
            self.on_change()

    def drop(self) -> None:
        """Close the socket at once, as a network does."""
        self._waiting.clear()
        self._bytes = 0
        self.is_frozen = False
        self.close_code = ABRUPT
        self.on_change()

    def freeze(self) -> None:
        """Keep the socket open and write nothing."""
        self.is_frozen = True

    def thaw(self) -> None:
        """Write again."""
        self.is_frozen = False
        self.on_change()

    def take(self) -> str | bytes | None:
        """Return the next WebSocket message, ``None`` if nothing is to be written now."""
        if self.is_frozen or not self._waiting:
            return None
        encoded = self._waiting.popleft()
        self._bytes -= len(encoded)
        return encoded
