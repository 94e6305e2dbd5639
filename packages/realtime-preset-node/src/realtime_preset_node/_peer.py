"""The shell around one session: it runs the gate's coroutines, keeps the timer and bounds the backlog.

WebSocket clients and in-process clients differ only in the `Sink` and in how their frames come in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from tanstack_realtime import RealtimeError
from tanstack_realtime.server import Publication, ServerContext

from ._frames import SEPARATOR, CloseCode, Publish
from ._operations import AdmitPresence, AdmitSubscribe, Authenticate, Operation, Outcome
from ._packet import BATCH_BYTES, Packet, join_packets
from ._session import Session
from ._settings import SessionSettings
from ._slow import LagQueue

if TYPE_CHECKING:
    from ._hub import Hub
    from ._message import Numbered
    from ._presence import Rooms
    from ._registry import Registry
    from ._sink import Sink
    from ._stream import Lane

__all__ = ["Peer", "PeerFactory"]

_Step: TypeAlias = Coroutine[Any, Any, Outcome | None]
"""Something to wait for, and what the session is to be told then."""


@dataclass(frozen=True, slots=True)
class PeerFactory:
    """What all connections of a server share.

    Attributes:
        context: the gate, and where failures go.
        hub: where channels live.
        rooms: who is where.
        settings: times and bounds of a session.
        registry: the connections.
        max_backlog: bytes that may wait for one reader; above it the connection is closed.
        new_id: gives connection ids.
    """

    context: ServerContext
    hub: Hub
    rooms: Rooms
    settings: SessionSettings
    registry: Registry
    max_backlog: int
    new_id: Callable[[], str]

    @property
    def high_water(self) -> int:
        """Bytes above which no further request is worked on, and above which a reader lags.

        A client that does not read its answers gets no more of them, and many replays after a reconnect do not look
        like a slow reader.
        """
        return self.max_backlog // 4


class Peer:
    """One connection.

    Args:
        shared: what all connections share.
        sink: takes the frames for the client.
        authenticate: gives the user id for a token, and the seconds that it is good for; or raises
            `AuthenticationError`.
    """

    __slots__ = (
        "_answers",
        "_answers_size",
        "_authenticate",
        "_catcher",
        "_direct",
        "_finished",
        "_high_water",
        "_is_answering",
        "_lagging",
        "_loop",
        "_room",
        "_room_for_answers",
        "_shared",
        "_sink",
        "_timer",
        "_worker",
        "gone",
        "session",
    )

    def __init__(
        self,
        shared: PeerFactory,
        *,
        sink: Sink,
        authenticate: Callable[[str | None], Coroutine[Any, Any, tuple[str, float | None]]],
    ) -> None:
        self._shared = shared
        self._sink = sink
        self._high_water = shared.high_water
        self._direct: asyncio.Transport | None = None
        """Takes a packet while nothing waits: no answer, nothing in its own buffer."""
        self._authenticate = authenticate
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._worker: asyncio.Task[None] | None = None
        self._lagging: dict[str, LagQueue] = {}
        self._is_answering = False
        self._answers: list[str] = []
        """What the session has said in this turn of the loop: one write, however many requests it answers."""
        self._answers_size = 0
        self._room_for_answers = self._high_water
        """Bytes that may be said in this turn. A client that does not read its answers gets no more of them."""
        self._catcher: asyncio.Task[None] | None = None
        self._room = asyncio.Event()
        self._finished = False
        self.gone: asyncio.Future[None] = self._loop.create_future()
        """Done once the connection is cleaned up."""
        self.session = Session(
            connection_id=shared.new_id(),
            hub=shared.hub,
            rooms=shared.rooms,
            outbox=self,
            settings=shared.settings,
            observer=shared.context.observer,
            identify=lambda user_id: shared.registry.identify(self, user_id),
            now=self._loop.time(),
        )
        self._settle()

    def deliver(self, packet: Packet, /) -> None:
        """Take frames for the client; close the connection if it does not read fast enough."""
        # What most readers of most messages cost, so there is nothing more to it.
        direct = self._direct
        if direct is not None and not direct.get_write_buffer_size() and not direct.is_closing():
            direct.write(packet.wire)
        else:
            self._deliver(packet)

    def answer(self, frame: str, /) -> None:
        """Take one frame for the client. Those of one turn of the loop are one write."""
        if self._is_answering:
            self._say(frame, len(frame) if frame.isascii() else len(frame.encode()))
        else:
            self.deliver(Packet(frame))

    def _deliver(self, packet: Packet) -> None:
        if self._is_answering:
            self._say(packet.text, packet.size)
        elif not self._finished:
            self._send_answers()
            if not self._sink.write(packet):
                self._too_slow()

    def _say(self, text: str, size: int) -> None:
        if not self._answers:
            self._loop.call_soon(self._send_answers)
        elif self._answers_size + size > BATCH_BYTES:
            self._send_answers()
        self._answers.append(text)
        self._answers_size += size

    def _turn(self, *, answering: bool) -> None:
        """Begin or end a stretch in which the session answers: what it says is collected, and leaves as one write."""
        self._is_answering = answering
        if answering:
            self._room_for_answers = self._high_water - self._sink.backlog
        self._direct = None if answering or self._answers or self._finished else self._sink.transport

    def _send_answers(self) -> None:
        if self._answers and not self._finished:
            packet = Packet(SEPARATOR.join(self._answers))
            self._answers = []
            self._room_for_answers -= self._answers_size
            self._answers_size = 0
            if not self._sink.write(packet):
                self._too_slow()
            elif not self._is_answering:
                self._turn(answering=False)

    def offer(self, lane: Lane, messages: Sequence[Numbered], joined: Sequence[Packet], /) -> None:
        """Take messages that may wait, and be superseded or dropped, while the client does not read."""
        if self._finished:
            return
        queue = self._lagging.get(lane.channel)
        if queue is None and self._sink.backlog <= self._high_water:
            for packet in joined:
                self.deliver(packet)
            return
        if queue is None:
            queue = self._lagging[lane.channel] = LagQueue(lane.channel, lane.policy)
        for message in messages:
            queue.push(message)
        if sum(waiting.size for waiting in self._lagging.values()) > self._shared.max_backlog:
            self._too_slow()
        elif self._catcher is None:
            self._catcher = self._loop.create_task(self._catch_up())

    def forget(self, channel: str, /) -> None:
        """Drop what waits of a channel."""
        self._lagging.pop(channel, None)

    def feed(self, text: str) -> None:
        """Take one frame from the client. Ask `room` first."""
        self.take(iter((text,)), 1)

    def take(self, frames: Iterator[str], limit: int, /) -> bool:
        """Take frames from the client, at most so many, and none after one that leaves no room. Ask `room` first.

        What nobody must be waited for is done when this returns.

        Returns:
            Whether there are no more. What comes after the end of the connection is forgotten.
        """
        session, now = self.session, self._loop.time()
        is_last = False
        self._turn(answering=True)
        try:
            for _ in range(limit):
                text = next(frames, None)
                is_last = text is None or session.closing is not None
                if text is None or is_last:
                    break
                operation = session.receive(text, now, ready=self._worker is None)
                if operation is not None:
                    step = self._run(operation, now)
                    if step is not None:
                        self._worker = self._loop.create_task(self._work(step))
                elif session.inbox_full:
                    break
        except Exception as error:  # noqa: BLE001 -- a bug here must cost one connection, not the server
            self._fail(error)
        finally:
            self._turn(answering=False)
        self._settle()
        return is_last

    async def room(self) -> None:
        """Wait until `feed` may be called: frames wait in the network, not in memory."""
        while self.session.inbox_full and not self._finished:
            self._room.clear()
            await self._room.wait()

    def revoke(self, user_id: str, channel: str | None) -> None:
        """End a user's access to a channel, or with None to everything, if this is one of the user's connections."""
        self.session.revoke(user_id, channel, self._loop.time())
        if self.session.closing is not None:
            self._finish(discard=True)

    def close(self, code: int, reason: str, *, discard: bool = False) -> None:
        """End the connection from this side. Nothing is delivered afterwards."""
        self.session.close(code, reason)
        self._finish(discard=discard)

    async def end(self, code: int) -> None:
        """Clean up after the connection is gone, and wait for what runs on its behalf. Idempotent."""
        self.session.end(code, self._loop.time())
        self._finish(discard=True)
        if running := [task for task in (self._worker, self._catcher) if task is not None]:
            await asyncio.wait(running)
        if not self.gone.done():
            self.gone.set_result(None)

    def _too_slow(self) -> None:
        self.close(
            CloseCode.SLOW_READER,
            f"more than {self._shared.max_backlog} bytes wait for this reader; reconnect and resynchronise",
            discard=True,
        )

    async def _catch_up(self) -> None:
        """Send what has waited as soon as the client has taken everything else."""
        while self._lagging and not self._finished:
            await self._sink.drained()
            lagging, self._lagging = self._lagging, {}
            for channel, queue in lagging.items():
                if queue.lost:
                    self._shared.context.observer.dropped(self.session.user_id or "", channel, queue.lost)
                for packet in join_packets(queue.drain()):
                    self.deliver(packet)
        self._catcher = None

    def _settle(self) -> None:
        if self.session.closing is not None:
            self._finish(discard=False)
        else:
            self._arm()

    def _go_on(self) -> None:
        """Work on what has come in, unless it is being worked on."""
        if self._worker is None:
            try:
                step = self._advance(None)
            except Exception as error:  # noqa: BLE001 -- a bug here must cost one connection, not the server
                self._fail(error)
                return
            if step is not None:
                self._worker = self._loop.create_task(self._work(step))

    def _finish(self, *, discard: bool) -> None:
        closing = self.session.closing
        if self._finished or closing is None:
            return
        if not discard:
            self._shared.hub.catch_up(self)
            self._send_answers()
        self._finished = True
        self._direct = None
        # Out of the hub before the close frame: a closed connection must not count as a subscriber.
        self._shared.hub.remove(self, self._loop.time())
        self._shared.rooms.remove(self)
        self._room.set()
        if self._timer is not None:
            self._timer.cancel()
        if self._worker is not None and self._worker is not asyncio.current_task():
            # After its first step, so that what it is to wait for has begun: a coroutine may not be thrown away.
            self._loop.call_soon(self._worker.cancel)
        if self._catcher is not None and self._catcher is not asyncio.current_task():
            self._catcher.cancel()
        self._sink.close(closing.code, closing.reason, discard=discard)

    def _arm(self) -> None:
        deadline = self.session.deadline
        if deadline is None or deadline == float("inf"):
            return
        if self._timer is not None:
            if self._timer.when() <= deadline:
                return  # it fires early, finds nothing to do, and is set again: cheaper than moving it per frame
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._fire)

    def _fire(self) -> None:
        self._timer = None
        self.session.tick(self._loop.time())
        self._go_on()
        self._settle()

    async def _work(self, first: _Step) -> None:
        """Wait for what must be waited for, as long as there is something."""
        step: _Step | None = first
        try:
            while step is not None:
                try:
                    outcome = await step
                except RealtimeError as error:
                    outcome = error
                step = self._advance(outcome)
                self._room.set()
        except Exception as error:  # noqa: BLE001 -- a bug here must cost one connection, not the server
            self._fail(error)
        finally:
            self._worker = None
        self._settle()

    def _advance(self, outcome: Outcome | None) -> _Step | None:
        """Tell the session an outcome and go on until something must be waited for, which is returned."""
        now = self._loop.time()
        self._turn(answering=True)
        try:
            if outcome is not None:
                self.session.complete(outcome, now)
                if self._answers_size > self._room_for_answers:
                    return self._relieve()
            operation = self.session.next_operation()
            return None if operation is None else self._run(operation, now)
        finally:
            self._turn(answering=False)

    def _run(self, operation: Operation, now: float) -> _Step | None:
        """Ask the gate, and go on until something must be waited for, which is returned."""
        session = self.session
        current: Operation | None = operation
        while current is not None:
            outcome = self._begin(current)
            if not isinstance(outcome, (Publication, RealtimeError)):
                return outcome
            session.complete(outcome, now)
            if self._answers_size > self._room_for_answers:
                return self._relieve()
            current = session.next_operation()
        return None

    async def _relieve(self) -> None:
        self._send_answers()
        await self._sink.drained()

    def _begin(self, operation: Operation) -> Publication | RealtimeError | _Step:
        try:
            match operation:
                case Publish() as publish:
                    gate, user_id = self._shared.context.gate, self.session.user_id or ""
                    return gate.begin_publish(user_id, publish.channel, publish.data, text=publish.text)
                case Authenticate(token):
                    return self._authenticate(token)
                case AdmitSubscribe(user_id, wire):
                    return self._admit(user_id, wire, "subscribe")
                case AdmitPresence(user_id, wire):
                    return self._admit(user_id, wire, "presence")
        except RealtimeError as error:
            return error

    async def _admit(self, user_id: str, wire: str, what: Literal["subscribe", "presence"]) -> Outcome:
        gate = self._shared.context.gate
        channel = gate.parse(wire)
        return channel, await gate.admit(user_id, channel, what)

    def _fail(self, error: Exception) -> None:
        failure = RealtimeError(f"a connection failed: {error!r}", code="internal")
        failure.__cause__ = error
        self._shared.context.report(failure)
        self.session.close(CloseCode.INTERNAL_ERROR, "internal error")
