"""What a client has sent and what has not had its turn: parsed, counted against the limits, in order. No I/O."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from tanstack_realtime._rate import TokenBucket

from ._frames import (
    ENVELOPE_BYTES,
    Auth,
    BadFrameError,
    ClientFrame,
    CloseCode,
    Hello,
    Ping,
    Pong,
    PresenceLeave,
    PresenceRequest,
    PresenceUnobserve,
    Publish,
    Subscribe,
    UnknownFrame,
    Unsubscribe,
)
from ._operations import Closing
from ._protocol import parse_client_frame

if TYPE_CHECKING:
    from ._settings import SessionSettings

__all__ = ["Inbox", "Recheck", "TooFast", "Waiting"]


@dataclass(frozen=True, slots=True)
class Recheck:
    """A grant has expired and must be asked for again."""

    grant: str


@dataclass(frozen=True, slots=True)
class TooFast:
    """A request that came too fast; `wait` is in seconds."""

    id: int | None
    wait: float


Waiting: TypeAlias = (
    Hello
    | Auth
    | Subscribe
    | Unsubscribe
    | Publish
    | PresenceRequest
    | UnknownFrame
    | BadFrameError
    | Recheck
    | TooFast
)

_ALWAYS: Final = (Hello, Auth, Unsubscribe, PresenceLeave, PresenceUnobserve, Ping, Pong)
"""What is never refused for coming too fast: it keeps the connection in order, or frees something."""


class Inbox:
    """Frames in the order of arrival.

    Args:
        settings: bounds.
        now: seconds on the caller's clock.

    Attributes:
        waiting: each with its length in characters.
        full: whether the next frame would be too much.
    """

    def __init__(self, settings: SessionSettings, now: float) -> None:
        self.waiting: deque[tuple[Waiting, int]] = deque()
        self._most = settings.inbox
        self._largest = settings.inbox_size
        self._burst = settings.limits.burst
        self._max_frame_bytes = settings.max_message_bytes + ENVELOPE_BYTES
        self._bucket = TokenBucket(rate=settings.limits.rate, burst=settings.limits.burst, now=now)
        self._size = 0
        self.full = False

    def read(self, text: str, now: float) -> ClientFrame | BadFrameError | TooFast | Closing:
        """Parse a frame, and count it. It does not wait yet."""
        # Characters are at most bytes, so that a frame which is too long in characters need not be encoded.
        limit = self._max_frame_bytes
        frame: ClientFrame | BadFrameError
        if len(text) > limit or (not text.isascii() and len(text.encode(errors="replace")) > limit):
            frame = BadFrameError(f"the frame is larger than {limit} bytes")
        else:
            try:
                frame = parse_client_frame(text)
            except BadFrameError as error:
                frame = error
        wait = self._bucket.take(now)
        if wait:
            if self._bucket.debt > self._burst:
                return Closing(CloseCode.TOO_MANY_FRAMES, "the client did not slow down when it was told to")
            if not isinstance(frame, _ALWAYS):
                return TooFast(frame.id, wait)
        return frame

    def put(self, frame: Waiting, size: int) -> None:
        """Let a frame wait for its turn."""
        self.waiting.append((frame, size))
        self._size += size
        self.full = self._is_full()

    def put_first(self, frame: Waiting) -> None:
        """Let a frame wait again whose turn it is."""
        self.waiting.appendleft((frame, 0))
        self.full = self._is_full()

    def take(self) -> Waiting:
        """Return the frame whose turn it is."""
        frame, size = self.waiting.popleft()
        self._size -= size
        if self.full:
            self.full = self._is_full()
        return frame

    def _is_full(self) -> bool:
        return len(self.waiting) >= self._most or self._size >= self._largest
