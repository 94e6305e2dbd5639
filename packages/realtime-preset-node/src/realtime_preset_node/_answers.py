"""What a session says to its client, in the order in which it becomes true."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from tanstack_realtime import RealtimeError

from ._hub import Hub
from ._protocol import error_frame
from ._stream import Subscriber

if TYPE_CHECKING:
    from typing import Final

__all__ = ["Answers", "Outbox"]


class Outbox(Subscriber, Protocol):
    """Takes replies as it takes messages, in one order."""

    def answer(self, frame: str, /) -> None:
        """Take one frame. Must not raise, and must not block."""
        ...

    def forget(self, channel: str, /) -> None:
        """Drop what a slow reader has not taken of a channel: the subscription ends or begins anew."""
        ...


class Answers:
    """Sends frames behind every message that was there before them.

    Args:
        hub: holds messages back until the end of the turn.
        outbox: takes every frame for the client.
    """

    def __init__(self, hub: Hub, outbox: Outbox) -> None:
        self.outbox: Final = outbox
        self._hub = hub

    def send(self, frame: str) -> None:
        """Send a frame."""
        outbox = self.outbox
        self._hub.catch_up(outbox)
        outbox.answer(frame)

    def refuse(self, identifier: int | None, code: str, reason: str) -> None:
        """Tell that a request, or with None a frame, was refused."""
        self.send(error_frame(identifier, RealtimeError(reason, code=code)))
