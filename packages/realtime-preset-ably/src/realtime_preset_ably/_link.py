"""A client's connection to Ably: one connection of the SDK, whose token follows what is subscribed."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import weakref
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from tanstack_realtime import (
    JSON,
    AuthenticationError,
    CloseReason,
    ConnectionLostError,
    LinkSink,
    Position,
    PresenceSink,
    RealtimeError,
    SubscribeAck,
)

from ._codes import close_reason
from ._grant import Application, Denial, Grant
from ._life import Gathered, Life
from ._names import mark_of, presence_channel
from ._presence import Room, check_state, not_joined
from ._sdk import SdkConnection
from ._sdk_channel import SdkError
from ._subscription import ChannelSubscription
from ._timing import AblyTiming
from ._token import Token
from ._wanted import Use

__all__ = ["AblyLink"]

_LOST: Final = frozenset({"disconnected", "suspended", "failed"})

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
        self._secret = secrets.token_urlsafe(18)
        self._timing = timing
        self._life = Life()
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._subscriptions: dict[str, ChannelSubscription] = {}
        self._rooms: dict[str, Room] = {}
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self._closing: asyncio.Task[None] | None = None
        self._sdk = SdkConnection(
            host, tls=grant.tls, token=token, renew=self._renew, changed=self._on_state, timing=timing
        )
        self._token = Token(
            self._life,
            application=application,
            grant=grant,
            asked=asked,
            exchange=exchange,
            authorize=self._sdk.authorize,
            refused=self._lost,
            revoked=self._revoke,
            timing=timing,
        )
        self._fence = Gathered(self._life, self._round_trip, 0.0)

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
            self._token.drop(channel, "subscribe")
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
            self._token.drop(channel, "presence")
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
            await self._token.cover(channel, "subscribe")
            former = self._subscriptions.pop(channel, None)
            if former is not None:
                await former.stop()
            subscription = ChannelSubscription(
                channel,
                self._sdk.channel(channel),
                self._sink,
                mark=mark_of(self._secret),
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
            await self._token.cover(channel, "presence")
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
            self._token.drop(subscription.channel, "subscribe")

    def _forget_room(self, room: Room) -> None:
        if self._rooms.get(room.channel) is room:
            del self._rooms[room.channel]
            self._token.drop(room.channel, "presence")

    async def _publish(self, channel: str, data: JSON) -> None:
        async with self._lock(f"publish {channel}"):  # requests overtake each other
            await self._application.publish(channel, data, self._secret)

    async def _answered(self, what: str, work: Awaitable[T]) -> T:
        """Await what the SDK would wait for without end."""
        try:
            async with asyncio.timeout(self._timing.request):
                return await work
        except TimeoutError as error:
            raise ConnectionLostError(f"{what}: Ably did not answer; it may have happened or not") from error

    def _revoke(self, use: Use, denial: Denial) -> None:
        channel, operation = use
        holders: Mapping[str, ChannelSubscription | Room] = (
            self._subscriptions if operation == "subscribe" else self._rooms
        )
        held = holders.get(channel)
        if held is not None:
            held.revoke(denial.code, denial.reason)

    # -- the connection ------------------------------------------------------------------------------------------------

    async def _renew(self) -> Mapping[str, Any]:
        return await self._token.renew()

    def _on_state(self, state: str, why: SdkError) -> None:
        if state == "connected" and self._life.reason is None:
            self.connection_id = self._sdk.connection_id
            if not self._opened.done():
                self._opened.set_result(None)
        elif state == "update":
            self._token.taken()
        elif state in _LOST:
            self._lost(close_reason(why.code, why.message))

    def _lost(self, reason: CloseReason) -> None:
        channels = self._token.channels
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
        self._token.end()
        for subscription in self._subscriptions.values():
            subscription.lost()
        for room in self._rooms.values():
            room.lost()
        return True


def _refused(reason: CloseReason) -> RealtimeError:
    text = f"Ably refused the connection: {reason.reason or 'no reason given'} ({reason.code})"
    if not reason.retry:
        return AuthenticationError(text, reason=reason.reason)
    return ConnectionLostError(text, reason=reason.reason)
