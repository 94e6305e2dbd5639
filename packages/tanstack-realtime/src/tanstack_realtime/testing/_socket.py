"""One connection of a simulated network: two directions that carry text, as a WebSocket does.

A direction keeps the order of its frames and loses none, unless `Conditions` say that some frames are unreliable. It
has a bounded buffer: who sends more than the reader takes has to wait, as on TCP.
"""

from __future__ import annotations

import asyncio
import bisect
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import random

__all__ = ["Conditions", "MemorySocket", "SocketClosedError", "is_message"]

_MESSAGES: Final = ('{"type":"message"', '{"type":"messages"')
"""How the memory transport and the node preset begin what nobody is waiting for."""

LOST: Final = 1006
"""Close code of a connection that ended without a close frame."""


def is_message(frame: str) -> bool:
    """Whether a frame carries nothing but messages of channels: what a careless provider could lose or reorder."""
    return all(part.startswith(_MESSAGES) for part in frame.split("\n"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """How a network behaves. Everything random is drawn from the network's seed.

    Attributes:
        latency: least and greatest delay of a frame, in seconds.
        refuse: probability that an attempt to connect fails.
        breaks: probability, per frame, that the connection breaks with it.
        drop: probability that an unreliable frame is lost.
        duplicate: probability that an unreliable frame arrives twice.
        reorder: probability that an unreliable frame is overtaken by the next ones.
        unreliable: which frames `drop`, `duplicate` and `reorder` concern. A WebSocket does none of that to a frame; a
            provider behind it can, to messages.
        buffer: bytes that one direction holds before the sender has to wait.
    """

    latency: tuple[float, float] = (0.001, 0.010)
    refuse: float = 0.0
    breaks: float = 0.0
    drop: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    unreliable: Callable[[str], bool] = is_message
    buffer: int = 65_536


class SocketClosedError(ConnectionError):
    """The connection has ended.

    Attributes:
        code: WebSocket close code; 1006 where it broke.
        reason: text for people.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"the connection is closed: {reason or 'no reason given'} ({code})")
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class _Close:
    code: int
    reason: str


class _Direction:
    """Frames on their way to one end."""

    def __init__(self, random: random.Random, conditions: Callable[[], Conditions]) -> None:
        self._random = random
        self._conditions = conditions
        self._loop = asyncio.get_running_loop()
        self._flying: list[tuple[float, int, str | _Close]] = []
        self._sent = 0
        self._last_arrival = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._arrived: deque[str] = deque()
        self._bytes = 0
        self._waiting = 0
        self._end: _Close | None = None
        self._changed = asyncio.Event()
        self.held = False
        """Nothing arrives until `release`, and nothing is lost."""
        self.swallows = False
        """What is sent disappears."""
        self.stalled = False
        """The reader takes nothing."""

    async def send(self, frame: str) -> None:
        self._waiting += 1
        try:
            while self._end is None and self._is_full(frame):
                self._changed.clear()
                await self._changed.wait()
        finally:
            self._waiting -= 1
        if self._end is not None:
            raise SocketClosedError(self._end.code, self._end.reason)
        self._launch(frame)

    def send_now(self, frame: str) -> bool:
        if self._end is not None or self._waiting or self._is_full(frame):
            return False
        self._launch(frame)
        return True

    def _is_full(self, frame: str) -> bool:
        return bool(self._bytes) and self._bytes + len(frame) > self._conditions().buffer

    def _launch(self, item: str | _Close) -> None:
        if self.swallows:
            return
        conditions, chance = self._conditions(), self._random.random
        delay = self._random.uniform(*conditions.latency)
        arrival = max(self._loop.time() + delay, self._last_arrival)
        chances = conditions.drop or conditions.duplicate or conditions.reorder
        if chances and isinstance(item, str) and conditions.unreliable(item):
            if chance() < conditions.drop:
                return
            if chance() < conditions.duplicate:
                self._fly(arrival, item)
            if chance() < conditions.reorder:
                self._fly(arrival + 2 * max(conditions.latency), item)
                return
        self._last_arrival = arrival
        self._fly(arrival, item)

    def _fly(self, arrival: float, item: str | _Close) -> None:
        self._sent += 1
        if isinstance(item, str):
            self._bytes += len(item)
        bisect.insort(self._flying, (arrival, self._sent, item), key=lambda entry: entry[:2])
        self._arm()

    def close(self, code: int, reason: str) -> None:
        """Let the reader know after what is on its way."""
        self._launch(_Close(code, reason))

    def end(self, code: int, reason: str) -> None:
        """End at once: what is on its way is lost. The first end stays."""
        if self._end is None:
            self._end = _Close(code, reason)
        if self._timer is not None:
            self._timer.cancel()
        self._flying.clear()
        self._changed.set()

    @property
    def over(self) -> bool:
        return self._end is not None and not self.stalled

    def release(self) -> None:
        self.held = False
        self._arm()
        self._changed.set()

    async def recv(self) -> str:
        while self.stalled or not self._arrived:
            if self._end is not None and not self.stalled:
                raise SocketClosedError(self._end.code, self._end.reason)
            self._changed.clear()
            await self._changed.wait()
        frame = self._arrived.popleft()
        self._bytes -= len(frame)
        self._changed.set()
        return frame

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._flying and not self.held and self._end is None:
            self._timer = self._loop.call_at(self._flying[0][0], self._land)

    def _land(self) -> None:
        now = self._loop.time()
        while self._flying and self._flying[0][0] <= now:
            item = self._flying.pop(0)[2]
            if isinstance(item, _Close):
                self.end(item.code, item.reason)
                return
            self._arrived.append(item)
        self._arm()
        self._changed.set()


class MemorySocket:
    """One end of a connection. Made by `MemoryNetwork.connect` and given to the server's handler.

    Attributes:
        client: name of the client that connected.
    """

    def __init__(self, client: str, incoming: _Direction, outgoing: _Direction, lose: Callable[[], bool]) -> None:
        self.client: Final = client
        self._incoming = incoming
        self._outgoing = outgoing
        self._lose = lose

    @property
    def ended(self) -> bool:
        """Whether this end knows that the connection has ended, and has nothing left to read."""
        return self._incoming.over

    async def send(self, frame: str, /) -> None:
        """Send one frame; waits while the other end reads too slowly.

        Raises:
            SocketClosedError: the connection has ended.
        """
        if self._lose():
            raise SocketClosedError(LOST, "the connection broke")
        await self._outgoing.send(frame)

    def send_now(self, frame: str, /) -> bool:
        """Send one frame if it need not wait. Returns False where nothing was sent; `send` then waits, or says why."""
        return not self._lose() and self._outgoing.send_now(frame)

    async def recv(self) -> str:
        """Return the next frame.

        Raises:
            SocketClosedError: the connection has ended, and everything before the end was returned.
        """
        return await self._incoming.recv()

    def close(self, code: int = 1000, reason: str = "") -> None:
        """End the connection with a close frame, after what was sent. Idempotent."""
        self._outgoing.close(code, reason)
        self._incoming.stalled = False
        self._incoming.end(code, reason)

    def abort(self) -> None:
        """Drop the connection without a word. Idempotent."""
        self._outgoing.end(LOST, "the connection broke")
        self._incoming.stalled = False
        self._incoming.end(LOST, "the connection broke")


def socket_pair(
    client: str, random: random.Random, conditions: Callable[[], Conditions]
) -> tuple[MemorySocket, MemorySocket]:
    """Return the client's and the server's end of a new connection."""
    to_server, to_client = _Direction(random, conditions), _Direction(random, conditions)

    def lose() -> bool:
        breaks = conditions().breaks
        if not breaks or random.random() >= breaks:
            return False
        near.abort()
        return True

    near = MemorySocket(client, to_client, to_server, lose)
    far = MemorySocket(client, to_server, to_client, lose)
    return near, far
