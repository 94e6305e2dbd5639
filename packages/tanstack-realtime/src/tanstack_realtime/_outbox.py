"""Publishes that must not get lost: a committed mutation's message, kept until the provider has it.

The mutation has happened; only the others do not know yet. So a publish that fails is tried again with back-off and
the same mutation id, in order per channel, and nothing of it rolls the mutation back. What can never succeed (denied,
too large) is reported and given up. Where too many wait, those of the channel with the most give way to one hint to
fetch, so that memory is bounded and nobody misses a change.

Where the connection takes a message at once, up to `WINDOW` of a channel are on their way together: a provider handles
a connection's messages in order. One that must be sent again may then come after others that were accepted.

A message that comes late may be about a row that somebody has deleted or moved since, and who reads it may have missed
the one that said so. So late and overtaken messages are followed by a hint to fetch.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeAlias

from ._backoff import backoff
from ._errors import PublishError, RealtimeError

__all__ = ["WINDOW", "Outbox"]

LATE: Final = 1.0
"""Seconds after which a message counts as late. Within it others act on what they see, not on what they could know."""

WINDOW: Final = 32
"""Messages of one channel that are on their way together, at most: enough to hide a round trip, few to send again."""

_HINT: Final[Mapping[str, Any]] = {"action": "refetch"}

Send: TypeAlias = Callable[[str, Mapping[str, Any]], Awaitable[None]]

Answered: TypeAlias = Callable[[], Awaitable[None]]
Begin: TypeAlias = Callable[[str, Mapping[str, Any]], Answered | None]


@dataclass(slots=True, eq=False)
class _Posted:
    """A message, and the loop's time at which it was posted."""

    message: Mapping[str, Any]
    at: float


@dataclass(slots=True, eq=False)
class _Lane:
    """The messages of one channel, in order, and the task that sends them.

    Invariant: the first ``len(begun)`` messages are on their way.
    """

    task: asyncio.Task[None] | None = None
    messages: deque[_Posted] = field(default_factory=deque[_Posted])
    begun: deque[Answered] = field(default_factory=deque[Answered])
    """What waits for the answers to the messages that are on their way."""
    is_held: bool = False
    """Whether nothing may be begun: the first message is being sent by the slow way, or waits to be sent again."""
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    def begin(self, begin: Callable[[Mapping[str, Any]], Answered | None]) -> None:
        """Put on their way what can be, in order."""
        if self.is_held:
            return
        while len(self.begun) < min(len(self.messages), WINDOW):
            answered = begin(self.messages[len(self.begun)].message)
            if answered is None:
                return
            self.begun.append(answered)

    def drop_first(self) -> None:
        """Forget the first message and its answer."""
        self.messages.popleft()
        if self.begun:
            self.begun.popleft()

    @property
    def waiting(self) -> int:
        """How many messages are not on their way, the first one excepted."""
        return len(self.messages) - max(len(self.begun), 1)

    def condense(self, hint: _Posted) -> None:
        """Put a hint in the place of what is waiting."""
        for _ in range(self.waiting):
            self.messages.pop()
        self.messages.append(hint)


class Outbox:
    """Sends messages in order per channel until each was accepted or given up.

    Args:
        begin: sends a message at once, and returns what `send` would then wait for; or does nothing and returns None.
        send: one attempt; raises `RealtimeError` with `retryable` telling whether another makes sense.
        report: takes what was given up.
        random: a float in [0, 1), for the jitter.
        capacity: messages over all channels, above which those that wait in a channel give way to one hint. What is on
            its way stays, and one message of each channel.
    """

    def __init__(
        self,
        *,
        begin: Begin,
        send: Send,
        report: Callable[[Exception], None],
        random: Callable[[], float],
        capacity: int = 1000,
    ) -> None:
        self._begin = begin
        self._send = send
        self._report = report
        self._random = random
        self._capacity = capacity
        self._lanes: dict[str, _Lane] = {}
        self._size = 0
        self._draining = False

    def __len__(self) -> int:
        return self._size

    def post(self, channel: str, message: Mapping[str, Any]) -> None:
        """Send as soon as possible: at once where nothing waits before it. Needs a running loop."""
        if self._size >= self._capacity:
            self._condense()
        lane = self._lanes.get(channel)
        if lane is None:
            lane = self._lanes[channel] = _Lane()
        self._append(lane, message)
        lane.begin(partial(self._begin, channel))
        if lane.task is None:
            # After the message has left: a task takes as long to make as a small message takes to write.
            lane.task = asyncio.get_running_loop().create_task(self._drain(channel))

    def wake(self) -> None:
        """Try again now: the connection is back."""
        for lane in self._lanes.values():
            lane.wake.set()

    def clear(self) -> None:
        """Forget what waits: it belongs to a user who is gone."""
        for task in self._tasks():
            task.cancel()
        self._lanes.clear()
        self._size = 0

    async def drain(self, grace: float) -> None:
        """Send what can be sent within `grace` seconds, without waiting for better times, and give up the rest.

        The outbox is empty afterwards, has no task, and can be used again.
        """
        tasks = self._tasks()
        self._draining = True
        self.wake()
        if tasks:
            await asyncio.wait(tasks, timeout=grace)
        self._draining = False
        waiting = [(channel, len(lane.messages)) for channel, lane in self._lanes.items()]
        self.clear()
        await asyncio.gather(*tasks, return_exceptions=True)
        for channel, count in waiting:
            if count:
                self._report(
                    PublishError(
                        f"{count} message(s) for {channel!r} were not published before the client closed; others see "
                        "the change at their next refetch",
                        channel=channel,
                        code="closed",
                    )
                )

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [lane.task for lane in self._lanes.values() if lane.task is not None]

    def _condense(self) -> None:
        fullest = max(self._lanes.values(), key=lambda lane: lane.waiting, default=None)
        if fullest is not None and fullest.waiting > 1:
            self._size -= fullest.waiting - 1
            fullest.condense(_Posted(_HINT, asyncio.get_running_loop().time()))

    def _append(self, lane: _Lane, message: Mapping[str, Any]) -> None:
        lane.messages.append(_Posted(message, asyncio.get_running_loop().time()))
        self._size += 1

    async def _drain(self, channel: str) -> None:
        lane = self._lanes[channel]
        loop = asyncio.get_running_loop()
        attempt = 0
        late = False
        while lane.messages:
            lane.begin(partial(self._begin, channel))
            posted = lane.messages[0]
            lane.is_held = not lane.begun
            sending = lane.begun[0]() if lane.begun else self._send(channel, posted.message)
            error = await self._attempt(sending, channel)
            lane.is_held = error is not None and error.retryable
            if error is not None and error.retryable:
                late |= await self._take_answers(channel, lane, posted)
                if self._draining:
                    return
                delay = max(backoff(attempt, self._random), error.retry_after or 0.0)
                attempt += 1
                lane.wake.clear()
                try:
                    async with asyncio.timeout(delay):
                        await lane.wake.wait()
                except TimeoutError:
                    pass
                lane.is_held = False
                continue
            attempt = 0
            lane.drop_first()
            self._size -= 1
            late = late or (error is None and loop.time() - posted.at > LATE)
            if late and not lane.messages and posted.message is not _HINT:
                late = False
                self._append(lane, _HINT)
            if error is not None:
                self._report(error)
        if self._lanes.get(channel) is lane:
            del self._lanes[channel]

    async def _take_answers(self, channel: str, lane: _Lane, first: _Posted) -> bool:
        """Wait for all that is on its way behind a message that must be sent again, and keep what must be, too.

        Returns:
            Whether one was accepted, and so has overtaken the first.
        """
        behind = [pair for pair in zip(lane.messages, lane.begun, strict=False) if pair[0] is not first]
        lane.begun.clear()
        overtaken = False
        for posted, answered in behind:
            error = await self._attempt(answered(), channel)
            if error is not None and error.retryable:
                continue
            overtaken = overtaken or error is None
            # Meanwhile it may have given way to a hint.
            if posted in lane.messages:
                lane.messages.remove(posted)
                self._size -= 1
                if error is not None:
                    self._report(error)
        return overtaken

    @staticmethod
    async def _attempt(sending: Awaitable[None], channel: str) -> RealtimeError | None:
        try:
            await sending
        except RealtimeError as error:
            return error
        except Exception as error:  # noqa: BLE001 -- a bug in one send must not silence the channel for good
            failure = PublishError(f"publishing on {channel!r} failed: {error}", channel=channel)
            failure.__cause__ = error
            return failure
        return None
