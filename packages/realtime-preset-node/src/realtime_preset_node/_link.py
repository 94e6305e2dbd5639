"""The client's side of one connection: requests and their answers, messages, silence.

`NodeLink` is a `Link` over any `Wire` that moves text. It never reconnects and never buffers across connections; the
client above does. What it hands to the sink it hands over in the order of arrival.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, Protocol, cast

from tanstack_realtime import (
    JSON,
    ChannelDeniedError,
    CloseReason,
    ConnectionLostError,
    Inbound,
    LinkSink,
    Position,
    PresenceEntry,
    PresenceSink,
    PublishError,
    RealtimeError,
    SubscribeAck,
)

from ._frames import (
    ENVELOPE_BYTES,
    SEPARATOR,
    VERSIONS,
    Auth,
    AuthRequest,
    BadFrameError,
    ClientFrame,
    CloseCode,
    ErrorFrame,
    Gap,
    Hello,
    Messages,
    Ok,
    Ping,
    Pong,
    PresenceChange,
    PresenceJoin,
    PresenceLeave,
    PresenceMember,
    PresenceObserve,
    PresenceRevoked,
    PresenceSnapshot,
    PresenceUnobserve,
    PresenceUpdate,
    Publish,
    Revoked,
    ServerFrame,
    Subscribe,
    Subscription,
    Unsubscribe,
    Welcome,
)
from ._protocol import client_frame, parse_server_frame, pong_frame

__all__ = ["NodeLink", "Wire"]

_RESTARTS: Final = frozenset({CloseCode.GOING_AWAY, CloseCode.RESTART})
_DENIALS: Final = frozenset({"denied", "bad_channel"})


class Wire(Protocol):
    """Moves text to the server."""

    async def send(self, text: str, /) -> None:
        """Send one frame. Raises `ConnectionLostError` when the connection is gone."""
        ...

    def send_now(self, text: str, /) -> bool:
        """Send one frame at once, unless others wait before it. Returns False where nothing was sent."""
        ...

    def abort(self) -> None:
        """Drop the connection at once, without a word to the other side."""
        ...

    async def close(self) -> None:
        """Close, and wait until nothing of it is left. Idempotent."""
        ...


class NodeLink:
    """An authenticated connection to a node server.

    The transport makes one per attempt, feeds it by `feed` and `lost`, and gives it away after `handshake`.

    Args:
        sink: hears what arrives.
        wire: moves text.
        loop: the client's.
        get_token: gives a fresh token when the server wants one, or None where the handshake says who we are.
        random: a float in [0, 1), so that not every client comes back at once.
    """

    def __init__(
        self,
        sink: LinkSink,
        wire: Wire,
        loop: asyncio.AbstractEventLoop,
        get_token: Callable[[], Awaitable[str | None]] | None = None,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._sink = sink
        self._wire = wire
        self._loop = loop
        self._get_token = get_token
        self._random = random
        self._refresh: asyncio.Task[None] | None = None
        self._ids = itertools.count(1)
        self._pending: dict[int, tuple[ClientFrame, asyncio.Future[ServerFrame]]] = {}
        self._welcomed: asyncio.Future[Welcome] = loop.create_future()
        self._welcome: Welcome | None = None
        self._epochs: dict[str, str] = {}
        self._rooms: dict[str, PresenceSink] = {}
        self._ended: CloseReason | None = None
        self._heard = loop.time()
        self._watchdog: asyncio.TimerHandle | None = None
        self._background: set[asyncio.Task[None]] = set()

    # -- Link --------------------------------------------------------------------------------------------------------

    @property
    def connection_id(self) -> str:
        """Assigned by the server."""
        return self._welcome.connection if self._welcome is not None else ""

    @property
    def user_id(self) -> str | None:
        """Who the server says we are; None for nobody."""
        return (self._welcome.user or None) if self._welcome is not None else None

    async def subscribe(self, channel: str, /, *, since: Position | None) -> SubscribeAck:
        """Subscribe and wait for the server's acknowledgement."""
        position = None if since is None else (since.epoch, since.offset)
        answer = await self._request(lambda number: Subscribe(number, channel, position))
        if isinstance(answer, ErrorFrame):
            raise ChannelDeniedError(
                f"the server refused {channel!r}: {answer.reason} ({answer.code})",
                channel=channel,
                code=answer.code,
                reason=answer.reason,
                retryable=answer.retryable,
                retry_after=answer.retry_after,
            )
        acked = cast("Subscription", answer)
        return SubscribeAck(
            position=Position(acked.epoch, acked.offset),
            recovered=acked.recovered,
            missed=[message for run in acked.missed for message in _inbound(run, acked.epoch)],
        )

    async def unsubscribe(self, channel: str, /) -> None:
        """Stop a channel."""
        try:
            await self._request(lambda number: Unsubscribe(number, channel))
        except ConnectionLostError:
            return

    async def publish(self, channel: str, data: JSON, /) -> None:
        """Publish and wait until the server has accepted it."""
        await self._told("a message", channel, lambda number: Publish(number, channel, data))

    def begin_publish(self, channel: str, data: JSON, /) -> Callable[[], Awaitable[None]] | None:
        """Write a message at once, if the connection can take it; see `EagerLink`."""
        try:
            number, text, answer = self._register(lambda number: Publish(number, channel, data))
        except RealtimeError:
            return None
        if not self._wire.send_now(text):
            del self._pending[number]
            return None

        async def answered() -> None:
            self._check("a message", channel, await answer)

        return answered

    # -- PresenceLink ------------------------------------------------------------------------------------------------

    async def observe_presence(self, channel: str, sink: PresenceSink, /) -> None:
        """Hear who the members are."""
        self._rooms[channel] = sink
        await self._told("presence", channel, lambda number: PresenceObserve(number, channel))

    async def join_presence(self, channel: str, state: Mapping[str, Any], sink: PresenceSink, /) -> None:
        """Be a member, and hear who the others are."""
        self._rooms[channel] = sink
        await self._told("presence", channel, lambda number: PresenceJoin(number, channel, dict(state)))

    async def update_presence(self, channel: str, state: Mapping[str, Any], clock: int, /) -> None:
        """Replace the own state. The server keeps the order, so the clock is not needed."""
        await self._told("presence", channel, lambda number: PresenceUpdate(number, channel, dict(state)))

    async def leave_presence(self, channel: str, /) -> None:
        """Be a member no longer."""
        await self._told("presence", channel, lambda number: PresenceLeave(number, channel))

    async def unobserve_presence(self, channel: str, /) -> None:
        """Hear nothing more."""
        self._rooms.pop(channel, None)
        try:
            await self._request(lambda number: PresenceUnobserve(number, channel))
        except ConnectionLostError:
            return

    async def _told(self, what: str, channel: str, build: Callable[[int], ClientFrame]) -> None:
        """Make a request whose answer says only whether it was done."""
        self._check(what, channel, await self._request(build))

    @staticmethod
    def _check(what: str, channel: str, answer: ServerFrame) -> None:
        if not isinstance(answer, ErrorFrame):
            return
        kind = ChannelDeniedError if answer.code in _DENIALS else PublishError
        raise kind(
            f"the server refused {what} on {channel!r}: {answer.reason} ({answer.code})",
            channel=channel,
            code=answer.code,
            reason=answer.reason,
            retryable=answer.retryable,
            retry_after=answer.retry_after,
        )

    async def ping(self) -> None:
        """A round trip to the server."""
        await self._request(Ping)

    async def close(self) -> None:
        """Close and wait until everything of the link is gone."""
        self._end(CloseReason(CloseCode.NORMAL, "closed by this client"))
        for task in self._background:
            task.cancel()
        await self._wire.close()
        if self._background:
            await asyncio.wait(self._background)

    # -- driven by the transport -------------------------------------------------------------------------------------

    async def handshake(self, token: str | None, client_id: str) -> None:
        """Say hello and wait until the server has welcomed us."""
        await self._wire.send(client_frame(Hello(VERSIONS, token, client_id)))
        self._welcome = await self._welcomed
        self._watch()

    def feed(self, text: str) -> None:
        """Take one WebSocket message from the server. Frames that cannot be understood are dropped."""
        self._heard = self._loop.time()
        for part in text.split(SEPARATOR):
            try:
                frame = parse_server_frame(part)
            except BadFrameError:
                continue
            if self._ended is None:
                self._handle(frame)

    def lost(self, reason: CloseReason) -> None:
        """Take the end of the connection. The sink hears it once, unless `close` was called before."""
        if reason.code in _RESTARTS and self._welcome is not None:
            # The web server itself may send the close frame, so that the delay cannot come with it.
            reason = replace(reason, retry_after=self._random() * self._welcome.restart_spread)
        if self._end(reason) and self._welcome is not None:
            self._sink.closed(reason)

    # -- how ---------------------------------------------------------------------------------------------------------

    def _handle(self, frame: ServerFrame) -> None:
        match frame:
            case Messages(channel):
                epoch = self._epochs.get(channel)
                if epoch is not None:
                    for message in _inbound(frame, epoch):
                        if self._ended is None:
                            self._sink.message(channel, message)
            case Gap(channel, reason, missed):
                if channel in self._epochs:
                    self._sink.gap(channel, f"the server dropped {missed} message(s): {reason}")
            case PresenceSnapshot(channel=channel, members=members):
                room = self._rooms.get(channel)
                if room is not None:
                    room.snapshot([_entry(member) for member in members])
                self._answer(frame)
            case PresenceChange(channel, members, left):
                room = self._rooms.get(channel)
                if room is not None:
                    room.changed([_entry(member) for member in members], left)
            case PresenceRevoked(channel, code, reason):
                room = self._rooms.pop(channel, None)
                if room is not None:
                    room.revoked(code, reason)
            case Subscription() | Ok() | ErrorFrame() | Pong():
                self._answer(frame)
            case Revoked(channel, code, reason):
                if self._epochs.pop(channel, None) is not None:
                    self._sink.revoked(channel, code, reason)
            case Ping():
                _ = self._spawn(self._send_quietly(pong_frame(frame.id)))
            case AuthRequest():
                if self._refresh is None or self._refresh.done():
                    self._refresh = self._spawn(self._send_token())
            case Welcome():
                if not self._welcomed.done():
                    self._welcomed.set_result(frame)
            case _:
                pass  # a newer server's frame

    def _answer(self, frame: Subscription | Ok | ErrorFrame | Pong | PresenceSnapshot) -> None:
        if isinstance(frame, Subscription):
            self._epochs[frame.channel] = frame.epoch
        waiting = self._pending.pop(frame.id, None) if frame.id is not None else None
        if waiting is None:
            return
        request, future = waiting
        stopped = isinstance(request, Unsubscribe) or (isinstance(request, Subscribe) and isinstance(frame, ErrorFrame))
        if stopped:
            self._epochs.pop(cast("Subscribe | Unsubscribe", request).channel, None)
        if not future.done():
            future.set_result(frame)

    async def _request(self, build: Callable[[int], ClientFrame]) -> ServerFrame:
        number, text, answer = self._register(build)
        try:
            await self._wire.send(text)
            return await answer
        finally:
            self._pending.pop(number, None)

    def _register(self, build: Callable[[int], ClientFrame]) -> tuple[int, str, asyncio.Future[ServerFrame]]:
        """Return a request's number, its frame, and the answer to be."""
        if self._ended is not None:
            raise self._lost_error(self._ended)
        number = next(self._ids)
        request = build(number)
        try:
            text = client_frame(request)
        except ValueError as error:
            raise PublishError(f"the data is not JSON: {error}", code="bad_data", reason="not JSON") from error
        if self._welcome is not None and len(text.encode()) > self._welcome.max_message_bytes + ENVELOPE_BYTES:
            raise PublishError(
                f"the message has {len(text.encode())} bytes; this server takes {self._welcome.max_message_bytes}",
                code="too_large",
                reason="too large",
            )
        answer: asyncio.Future[ServerFrame] = self._loop.create_future()
        self._pending[number] = (request, answer)
        return number, text, answer

    def _end(self, reason: CloseReason) -> bool:
        if self._ended is not None:
            return False
        self._ended = reason
        if self._watchdog is not None:
            self._watchdog.cancel()
        error = self._lost_error(reason)
        futures: list[asyncio.Future[Any]] = [future for _, future in self._pending.values()]
        for future in [*futures, self._welcomed]:
            if not future.done():
                future.set_exception(error)
                future.exception()  # whoever waits gets it; nobody waiting is no warning
        return True

    @staticmethod
    def _lost_error(reason: CloseReason) -> RealtimeError:
        return ConnectionLostError(
            f"the connection is gone: {reason.reason or 'no reason given'} ({reason.code})",
            code=str(reason.code),
            reason=reason.reason,
        )

    def _watch(self) -> None:
        """Silence for longer than the server allows itself means a half-open connection."""
        if self._ended is not None or self._welcome is None:
            return
        limit = self._welcome.heartbeat + self._welcome.timeout
        now = self._loop.time()
        if now >= self._heard + limit:
            self.lost(CloseReason(CloseCode.SILENT, f"nothing heard for {limit:g} s"))
            self._wire.abort()
            return
        self._watchdog = self._loop.call_at(self._heard + limit, self._watch)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    async def _send_token(self) -> None:
        """Answer a server that wants a new token. What fails here is asked again, until the server gives up."""
        try:
            token = None if self._get_token is None else await self._get_token()
            await self._request(lambda number: Auth(number, token))
        except RealtimeError:
            return

    async def _send_quietly(self, text: str) -> None:
        try:
            await self._wire.send(text)
        except ConnectionLostError:
            return


def _inbound(run: Messages, epoch: str) -> Iterator[Inbound]:
    superseded = run.superseded
    for offset, data in enumerate(run.data, run.offset):
        yield Inbound(data, Position(epoch, offset), run.own, run.user, superseded)
        superseded = 0


def _entry(member: PresenceMember) -> PresenceEntry:
    return PresenceEntry(member.connection, member.user or None, member.state, stalled=member.stalled)
