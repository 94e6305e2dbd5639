"""From a connection to its peer: messages taken apart into frames, and handed on as fast as the peer takes them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final

from ._frames import SEPARATOR, CloseCode

if TYPE_CHECKING:
    from starlette.types import Receive

    from ._peer import Peer
    from ._transport_sink import Reading

__all__ = ["DirectInflow", "message_text", "read_messages"]

_FRAMES_IN_A_ROW: Final = 1024
"""So many frames of one connection are handled before other connections have their turn."""


async def read_messages(peer: Peer, receive: Receive) -> int:
    """Feed the peer from ASGI `receive` until the client is gone, and return the close code."""
    while True:
        await peer.room()
        event = await receive()
        if event["type"] == "websocket.disconnect":
            return int(event.get("code") or CloseCode.LOST)
        frames = _frames(message_text(event))
        while not peer.take(frames, _FRAMES_IN_A_ROW):
            await asyncio.sleep(0)
            await peer.room()


def message_text(event: Mapping[str, Any]) -> str:
    """Return what an ASGI ``websocket.receive`` holds.

    Bytes are not part of the protocol; as a frame they are answered like anything that is not JSON.
    """
    text: str | None = event.get("text")
    return (event.get("bytes") or b"").decode(errors="replace") if text is None else text


def _frames(text: str) -> Iterator[str]:
    """Take a message apart frame by frame: a long one of nothing but separators costs only as much as is read of it."""
    start = 0
    while (end := text.find(SEPARATOR, start)) >= 0:
        yield text[start:end]
        start = end + len(SEPARATOR)
    yield text[start:]


class DirectInflow:
    """Feeds a peer in the moment in which its messages arrive, without a task.

    What the peer cannot take at once waits here while the connection is not read: what was read in one piece at most.
    The peer runs in the context of whoever makes this.

    Args:
        peer: takes the frames.
        reading: stops and resumes reading.
    """

    def __init__(self, peer: Peer, reading: Reading) -> None:
        self._peer = peer
        self._reading = reading
        self._context = copy_context()
        self._frames: Iterator[str] = iter(())
        self._mover: asyncio.Task[None] | None = None

    def receive(self, messages: Sequence[str], /) -> None:
        """Take messages in the order of arrival."""
        frames = iter(messages)
        if any(SEPARATOR in message for message in messages):
            frames = itertools.chain.from_iterable(map(_frames, messages))
        if self._mover is not None:
            self._frames = itertools.chain(self._frames, frames)
        elif not self._context.run(self._peer.take, frames, _FRAMES_IN_A_ROW):
            self._frames = frames
            self._reading.pause_reading()
            self._mover = asyncio.get_running_loop().create_task(self._move(), context=self._context)

    def start(self) -> None:
        """Begin, if the connection can."""
        self._reading.start_reading(self.receive)

    async def end(self) -> None:
        """Forget what waits."""
        if self._mover is not None:
            self._mover.cancel()
            await asyncio.wait([self._mover])

    async def _move(self) -> None:
        await asyncio.sleep(0)
        await self._peer.room()
        while not self._peer.take(self._frames, _FRAMES_IN_A_ROW):
            await asyncio.sleep(0)
            await self._peer.room()
        self._mover = None
        self._reading.resume_reading()
