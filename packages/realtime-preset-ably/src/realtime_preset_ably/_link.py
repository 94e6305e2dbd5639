"""A client's connection to Ably: one connection of the SDK, whose token follows what is subscribed."""

from __future__ import annotations

import asyncio
import contextlib
import random
import weakref
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from tanstack_realtime import (
    JSON,
    AuthenticationError,
    ChannelDeniedError,
    CloseReason,
    ConnectionLostError,
    LinkSink,
    Position,
    PresenceSink,
    RealtimeError,
    SubscribeAck,
)
from tanstack_realtime._backoff import backoff

from ._codes import close_reason
from ._grant import MAX_CHANNELS, Application, Grant
from ._life import Gathered, Life
from ._names import presence_channel
from ._presence import Room, check_state, not_joined
from ._sdk import SdkConnection, SdkError
from ._subscription import ChannelSubscription
from ._timing import AblyTiming
from ._wanted import Operation, Wanted

__all__ = ["AblyLink"]

_NOT_SIGNED_IN: Final = 4401
_LOST: Final = frozenset({"disconnected", "suspended", "failed"})
_LEAST_RENEWAL: Final = 1.0
"""Seconds between two renewals at least, however soon a grant ends."""

T = TypeVar("T")


class AblyLink:
    """An authenticated connection.

    Args:
        sink: is told.
        application: gives grants, and publishes.
        grant: what the first token holds.
        asked: the channels that it was asked for.
        host: where Ably is.
        token: the details of the first token.
        exchange: gives the details of the token of another grant.
        timing: delays.

    Attributes:
        left_open: the channels that were in use when the connection was lost.
    """

    def __init__(
        self,
        sink: LinkSink,
        *,
        application: Application,
        grant: Grant,
        asked: Sequence[str],
        host: str,
        token: Mapping[str, Any],
        exchange: Callable[[Grant], Awaitable[Mapping[str, Any]]],
        timing: AblyTiming,
    ) -> None:
        self.connection_id = ""
        self.user_id: str | None = grant.user_id or None
        self.left_open: Sequence[str] = ()
        self._sink = sink
        self._application = application
        self._client_id = grant.client_id
        self._exchange = exchange
        self._timing = timing
        self._life = Life()
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._wanted = Wanted()
        _ = self._wanted.renewed(grant, asked)  # nothing is in use yet
        self._subscriptions: dict[str, ChannelSubscription] = {}
        self._rooms: dict[str, Room] = {}
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self._renewing = asyncio.Lock()
        self._taken: asyncio.Future[None] | None = None
        self._renewal: asyncio.TimerHandle | None = None
        self._failures = 0
        self._closing: asyncio.Task[None] | None = None
        self._sdk = SdkConnection(
            host, tls=grant.tls, token=token, renew=self._renew, changed=self._on_state, timing=timing
        )
        self._grow = Gathered(self._life, self._authorize, timing.gather)
        self._fence = Gathered(self._life, self._round_trip, 0.0)
        self._renew_in(_before(grant.expires_in))

    async def connect(self) -> None:
        """Connect, once.

        Raises:
            ConnectionLostError: it failed.
        """
        self._sdk.connect()
        await self._opened

    # -- what the client asks for --------------------------------------------------------------------------------------

    async def subscribe(self, channel: str, /, *, since: Position | None) -> SubscribeAck:
        """Subscribe and wait for the acknowledgement."""
        return await self._life.run(self._subscribe(channel, since))

    async def unsubscribe(self, channel: str, /) -> None:
        """Stop a channel. What Ably still has under way is not passed on."""
        subscription = self._subscriptions.pop(channel, None)
        if subscription is not None:
            self._wanted.drop(channel, "subscribe")
            await self._stop(channel, subscription)

    async def publish(self, channel: str, data: JSON, /) -> None:
        """Publish through the application's server, and wait until Ably has accepted it."""
        await self._life.run(self._publish(channel, data))

    # -- presence ------------------------------------------------------------------------------------------------------

    async def observe_presence(self, channel: str, sink: PresenceSink, /) -> None:
        """Hear who the members are."""
        await self._life.run(self._enter(channel, None, sink))

    async def join_presence(self, channel: str, state: Mapping[str, Any], sink: PresenceSink, /) -> None:
        """Be a member, or change the own state."""
        await self._life.run(self._enter(channel, state, sink))

    async def update_presence(self, channel: str, state: Mapping[str, Any], _clock: int, /) -> None:
        """Say the own state to everybody. Ably keeps the order."""
        room = self._rooms.get(channel)
        if room is None:
            raise not_joined(channel)
        await self._life.run(self._answered("presence", room.update(state)))

    async def leave_presence(self, channel: str, /) -> None:
        """Be a member no longer, and go on observing."""
        room = self._rooms.get(channel)
        if room is not None:
            await self._life.run(self._answered("presence", room.leave()))

    async def unobserve_presence(self, channel: str, /) -> None:
        """Hear nothing more, and be a member no longer."""
        room = self._rooms.pop(channel, None)
        if room is not None:
            self._wanted.drop(channel, "presence")
            await self._stop(presence_channel(channel), room)

    # -- all of it -----------------------------------------------------------------------------------------------------

    async def ping(self) -> None:
        """A round trip. A connection that has frozen while the SDK calls it connected ends here."""
        await self._life.run(self._round_trip())

    async def close(self) -> None:
        """Close, and wait until nothing is left."""
        farewell = self._end(CloseReason(1000, "closed by this client"))
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._close(farewell=farewell))
        await asyncio.shield(self._closing)

    async def _close(self, *, farewell: bool) -> None:
        await self._sdk.close(farewell=farewell)
        await self._life.aclose()
        if self._opened.done() and not self._opened.cancelled():
            self._opened.exception()

    async def _round_trip(self) -> None:
        try:
            await self._sdk.ping()
        except SdkError as error:
            self._lost(close_reason(error.code, error.message))
            raise ConnectionLostError(f"no answer to a ping: {error.message}", reason=error.message) from error

    # -- channels and rooms --------------------------------------------------------------------------------------------

    async def _subscribe(self, channel: str, since: Position | None) -> SubscribeAck:
        async with self._lock(channel):
            await self._cover(channel, "subscribe")
            former = self._subscriptions.pop(channel, None)
            if former is not None:
                await former.stop()
            subscription = ChannelSubscription(
                channel,
                self._sdk.channel(channel),
                self._sink,
                connection_id=self.connection_id,
                client_id=self._client_id,
                since=since,
                fence=self._fence,
                ended=self._forget,
            )
            self._subscriptions[channel] = subscription
            try:
                return await subscription.start()
            except BaseException:
                self._forget(subscription)
                with contextlib.suppress(SdkError):
                    await subscription.stop()
                raise

    async def _enter(self, channel: str, state: Mapping[str, Any] | None, sink: PresenceSink) -> None:
        if state is not None:
            check_state(channel, state)
        async with self._lock(presence_channel(channel)):
            await self._cover(channel, "presence")
            room = self._rooms.get(channel)
            if room is None:
                room = Room(channel, self._sdk.channel(presence_channel(channel)), sink, ended=self._forget_room)
                self._rooms[channel] = room
                try:
                    await self._answered("presence", room.open())
                except BaseException:
                    self._forget_room(room)
                    with contextlib.suppress(SdkError):
                        await room.stop()
                    raise
            else:
                room.sink = sink
                await self._answered("presence", room.tell())
            if state is not None:
                await self._answered("presence", room.enter(state))

    async def _stop(self, name: str, which: ChannelSubscription | Room) -> None:
        which.lost()
        with contextlib.suppress(RealtimeError, SdkError):  # who is gone hears nothing either way
            await self._life.run(self._detach(name, which))

    async def _detach(self, name: str, which: ChannelSubscription | Room) -> None:
        # The SDK breaks when an attach meets a detach.
        async with self._lock(name):
            await which.stop()

    def _lock(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())

    def _forget(self, subscription: ChannelSubscription) -> None:
        if self._subscriptions.get(subscription.channel) is subscription:
            del self._subscriptions[subscription.channel]
            self._wanted.drop(subscription.channel, "subscribe")

    def _forget_room(self, room: Room) -> None:
        if self._rooms.get(room.channel) is room:
            del self._rooms[room.channel]
            self._wanted.drop(room.channel, "presence")

    async def _publish(self, channel: str, data: JSON) -> None:
        async with self._lock(f"publish {channel}"):  # requests overtake each other
            await self._application.publish(channel, data, self.connection_id)

    async def _answered(self, what: str, work: Awaitable[T]) -> T:
        """Await what the SDK would wait for without end."""
        try:
            async with asyncio.timeout(self._timing.request):
                return await work
        except TimeoutError as error:
            raise ConnectionLostError(f"{what}: Ably did not answer; it may have happened or not") from error

    # -- the token -----------------------------------------------------------------------------------------------------

    async def _cover(self, channel: str, operation: Operation) -> None:
        """See to it that the token allows an operation."""
        if self._wanted.covers(channel, operation):
            self._wanted.need(channel, operation)
            return
        self._wanted.need(channel, operation)
        try:
            if len(self._wanted.channels) > MAX_CHANNELS:
                raise ChannelDeniedError(
                    f"a connection to Ably uses at most {MAX_CHANNELS} channels at once; {channel!r} is one more. "
                    "Unsubscribe from others first",
                    channel=channel,
                    code="too_many_channels",
                    reason=f"more than {MAX_CHANNELS} channels",
                    retryable=True,
                )
            await self._grow()
            if not self._wanted.covers(channel, operation):
                denial = self._wanted.denial(channel, operation)
                raise ChannelDeniedError(
                    f"{operation} on {channel!r} is refused: {denial.reason}",
                    channel=channel,
                    code=denial.code,
                    reason=denial.reason,
                    retryable=denial.retryable,
                )
        except BaseException as error:
            self._wanted.drop(channel, operation)
            if isinstance(error, SdkError):
                raise ConnectionLostError(
                    f"Ably did not take a token: {error.message}", reason=error.message
                ) from error
            raise

    async def _renew(self) -> Mapping[str, Any]:
        """Give another token: asked for by the SDK, when Ably asks for it or `_grow` does."""
        try:
            token = await self._life.run(self._another_token())
        except AuthenticationError as error:
            self._lost(CloseReason(_NOT_SIGNED_IN, error.reason or str(error), retry=False))
            raise
        except RealtimeError:
            self._renew_in(backoff(self._failures, random.random))
            self._failures += 1
            raise
        self._failures = 0
        return token

    async def _another_token(self) -> Mapping[str, Any]:
        # One after the other, each until Ably has taken it: a token that names fewer channels must not come last.
        async with self._renewing:
            if self._taken is not None:
                await asyncio.wait({self._taken}, timeout=self._timing.request)
            names = self._wanted.channels
            grant = await self._application.grant(names)
            token = await self._exchange(grant)
            self._taken = asyncio.get_running_loop().create_future()
        self._renew_in(_before(grant.expires_in))
        for channel, operation in self._wanted.renewed(grant, names):
            denial = self._wanted.denial(channel, operation)
            holders: Mapping[str, ChannelSubscription | Room] = (
                self._subscriptions if operation == "subscribe" else self._rooms
            )
            held = holders.get(channel)
            if held is not None:
                held.revoke(denial.code, denial.reason)
        return token

    def _renew_in(self, delay: float) -> None:
        if self._renewal is not None:
            self._renewal.cancel()
        if self._life.reason is None:
            loop = asyncio.get_running_loop()
            self._renewal = loop.call_later(max(delay, _LEAST_RENEWAL), self._begin_renewal)

    def _begin_renewal(self) -> None:
        _ = self._life.spawn(self._grow())

    async def _authorize(self) -> None:
        # The SDK waits without end for Ably, in between for the application's answer and Ably's with the token.
        try:
            async with asyncio.timeout(3 * self._timing.request):
                await self._sdk.authorize()
        except (SdkError, TimeoutError) as error:
            raise ConnectionLostError(f"Ably did not take another token: {error!r}", reason="no token") from error

    # -- the connection ------------------------------------------------------------------------------------------------

    def _on_state(self, state: str, why: SdkError) -> None:
        if state == "connected" and self._life.reason is None:
            self.connection_id = self._sdk.connection_id
            if not self._opened.done():
                self._opened.set_result(None)
        elif state == "update" and self._taken is not None:
            taken, self._taken = self._taken, None
            taken.set_result(None)
        elif state in _LOST:
            self._lost(close_reason(why.code, why.message))

    def _lost(self, reason: CloseReason) -> None:
        channels = self._wanted.channels
        if not self._end(reason):
            return
        self.left_open = channels
        if not self._opened.done():
            self._opened.set_exception(_refused(reason))
        else:
            self._sink.closed(reason)

    def _end(self, reason: CloseReason) -> bool:
        if not self._life.end(reason):
            return False
        if self._renewal is not None:
            self._renewal.cancel()
        for subscription in self._subscriptions.values():
            subscription.lost()
        for room in self._rooms.values():
            room.lost()
        return True


def _before(expires_in: float) -> float:
    """Return when to ask again. Of a long life Ably reminds us earlier, half a minute before the end."""
    return expires_in - min(10.0, expires_in / 10)


def _refused(reason: CloseReason) -> RealtimeError:
    text = f"Ably refused the connection: {reason.reason or 'no reason given'} ({reason.code})"
    if not reason.retry:
        return AuthenticationError(text, reason=reason.reason)
    return ConnectionLostError(text, reason=reason.reason)
