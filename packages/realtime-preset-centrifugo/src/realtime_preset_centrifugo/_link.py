"""A client's connection to Centrifugo: one client of the SDK, which connects once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final

from tanstack_realtime import (
    JSON,
    AuthenticationError,
    CloseReason,
    ConnectionLostError,
    LinkSink,
    Position,
    PresenceSink,
    PublishError,
    RealtimeError,
    SubscribeAck,
)
from tanstack_realtime._json import encode_json

from ._codes import REVOKED, disconnect_is_final, refusal
from ._names import DATA_PREFIX
from ._presence import Room
from ._sdk import (
    ErrorEvent,
    ReplyError,
    StateEvent,
    UnauthorizedError,
    errors_of_the_connection,
    new_client,
    refusal_of,
    wait_for_leftovers,
)
from ._subscription import DataSubscription

__all__ = ["CentrifugoLink"]

_NOT_SIGNED_IN: Final = 4401
_FORBIDDEN: Final = 4403
_IDENTITY: Final[Mapping[int, int]] = {1: _NOT_SIGNED_IN, 3500: _NOT_SIGNED_IN, 3507: _FORBIDDEN, REVOKED: _FORBIDDEN}
"""Codes that refuse who we are, and what the core calls them. 1 is the SDK's own: there is no token any more."""


class CentrifugoLink:
    """An authenticated connection.

    Args:
        sink: is told.
        url: Centrifugo's WebSocket address.
        user_id: who the token belongs to.
        token: of the connection.
        renew: gives another token while the connection lives.
        name: of this client, for the server's logs.
        headers: extra headers of the handshake.
        use_proxy: whether proxies that the environment names are used.
        max_message_bytes: largest payload, as UTF-8 JSON.
    """

    def __init__(
        self,
        sink: LinkSink,
        *,
        url: str,
        user_id: str,
        token: str,
        renew: Callable[[], Awaitable[str]],
        name: str,
        headers: Mapping[str, str],
        use_proxy: bool,
        max_message_bytes: int,
    ) -> None:
        self.connection_id = ""
        self.user_id: str | None = user_id or None
        self._sink = sink
        self._renew = renew
        self._url = url
        self._max_message_bytes = max_message_bytes
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._over: CloseReason | None = None
        self._channels: dict[str, DataSubscription] = {}
        self._rooms: dict[str, Room] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._client = new_client(
            url, self, token=token, get_token=self._token, name=name, headers=headers, use_proxy=use_proxy
        )

    async def connect(self) -> None:
        """Connect, once.

        Raises:
            AuthenticationError: the token was refused.
            ConnectionLostError: it failed, for another reason.
        """
        await self._client.connect()
        await self._opened

    # -- what the client asks for --------------------------------------------------------------------------------------

    async def subscribe(self, channel: str, /, *, since: Position | None) -> SubscribeAck:
        """Subscribe and wait for the acknowledgement."""
        self._require_connection()
        subscription = DataSubscription(
            self._client, channel, self._sink, self.connection_id, spawn=self._spawn, ended=self._forget
        )
        former, self._channels[channel] = self._channels.get(channel), subscription
        if former is not None:
            await former.stop()
        try:
            await subscription.start(since)
            return await subscription.ack
        except BaseException:
            self._forget(subscription)
            await subscription.stop()
            raise

    async def unsubscribe(self, channel: str, /) -> None:
        """Stop a channel. What the server still has under way is not passed on."""
        subscription = self._channels.pop(channel, None)
        if subscription is not None and self._over is None:
            await subscription.stop()

    async def publish(self, channel: str, data: JSON, /) -> None:
        """Publish and wait until the server has accepted it."""
        try:
            size = len(encode_json(data).encode())
        except ValueError as error:
            raise PublishError(
                f"the data for {channel!r} is not JSON: {error}", channel=channel, code="bad_data", reason="not JSON"
            ) from error
        if size > self._max_message_bytes:
            # Centrifugo would end the connection.
            raise PublishError(
                f"the payload for {channel!r} has {size} bytes, more than {self._max_message_bytes}; send less, or "
                "send a hint and let readers fetch the rest",
                channel=channel,
                code="too_large",
                reason=f"{size} bytes are more than {self._max_message_bytes}",
            )
        await self._request("publish", channel, self._client.publish(DATA_PREFIX + channel, data))

    # -- presence ------------------------------------------------------------------------------------------------------

    async def observe_presence(self, channel: str, sink: PresenceSink, /) -> None:
        """Hear who the members are."""
        await self._enter(channel, None, sink)

    async def join_presence(self, channel: str, state: Mapping[str, Any], sink: PresenceSink, /) -> None:
        """Be a member, or change the own state."""
        await self._enter(channel, state, sink)

    async def update_presence(self, channel: str, state: Mapping[str, Any], clock: int, /) -> None:
        """Say the own state to everybody."""
        room = self._rooms.get(channel)
        if room is None:
            raise PublishError(f"not in {channel!r}", channel=channel, code="not_joined", reason="join first")
        await room.update(state, clock)

    async def leave_presence(self, channel: str, /) -> None:
        """Be a member no longer, and go on observing."""
        room = self._rooms.get(channel)
        if room is not None and room.joined:
            await self._enter(channel, None, room.sink)

    async def unobserve_presence(self, channel: str, /) -> None:
        """Hear nothing more, and be a member no longer."""
        room = self._rooms.pop(channel, None)
        if room is not None and self._over is None:
            await room.stop()

    async def _enter(self, channel: str, state: Mapping[str, Any] | None, sink: PresenceSink) -> None:
        self._require_connection()
        former = self._rooms.pop(channel, None)
        if former is not None:
            await former.stop()
        room = Room(self._client, channel, sink, request=self._request, spawn=self._spawn, ended=self._forget_room)
        self._rooms[channel] = room
        try:
            await room.enter(state)
        except BaseException:
            self._forget_room(room)
            raise

    def _forget_room(self, room: Room) -> None:
        if self._rooms.get(room.channel) is room:
            del self._rooms[room.channel]

    # -- all of it -----------------------------------------------------------------------------------------------------

    async def ping(self) -> None:
        """A round trip: Centrifugo answers a call of a method that it does not have."""
        try:
            await self._request("ping", "", self._client.rpc("ping", None))
        except ConnectionLostError:
            raise
        except RealtimeError:
            return  # refused, so it was there

    async def close(self) -> None:
        """Close, and wait until nothing is left."""
        self._end(CloseReason(1000, "closed by this client"))
        await self._client.disconnect()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await wait_for_leftovers(self._client)
        if self._opened.done() and not self._opened.cancelled():
            _ = self._opened.exception()

    # -- called by the SDK ---------------------------------------------------------------------------------------------

    async def on_connecting(self, event: StateEvent) -> None:
        """It connects for the first time, or has lost the connection and would connect again."""
        if self.connection_id:
            await self._lost(CloseReason(event.code, event.reason))

    async def on_connected(self, event: Any) -> None:
        """The server has let us in."""
        if self._over is None:
            self.connection_id = event.client
            if not self._opened.done():
                self._opened.set_result(None)

    async def on_disconnected(self, event: StateEvent) -> None:
        """It is over for good, or we have closed it."""
        code = _IDENTITY.get(event.code, event.code)
        await self._lost(CloseReason(code, event.reason, retry=not disconnect_is_final(event.code) and code < 4400))

    async def on_error(self, event: ErrorEvent) -> None:
        """An attempt to connect, or to renew the token, has failed."""
        if not self._opened.done():
            self._opened.set_exception(
                ConnectionLostError(f"could not connect to {self._url}: {event.error}", reason=str(event.error))
            )

    # -- inside --------------------------------------------------------------------------------------------------------

    async def _lost(self, reason: CloseReason) -> None:
        if not self._opened.done():
            self._opened.set_exception(self._refused(reason))
        if self._end(reason):
            if self.connection_id:
                self._sink.closed(reason)
            await self._client.disconnect()

    def _end(self, reason: CloseReason) -> bool:
        if self._over is not None:
            return False
        self._over = reason
        error = ConnectionLostError(f"the connection is gone: {reason.reason}", reason=reason.reason)
        for subscription in self._channels.values():
            subscription.lost(error)
        for room in self._rooms.values():
            room.lost(error)
        return True

    def _refused(self, reason: CloseReason) -> RealtimeError:
        text = f"{self._url} refused the connection: {reason.reason or 'no reason given'} ({reason.code})"
        if reason.code in _IDENTITY.values():
            return AuthenticationError(text, reason=reason.reason)
        if not reason.retry:
            return AuthenticationError(text, code=str(reason.code), reason=reason.reason)
        return ConnectionLostError(text, reason=reason.reason)

    async def _token(self) -> str:
        try:
            return await self._renew()
        except RealtimeError as error:
            if error.retryable:
                raise
            raise UnauthorizedError(str(error)) from error

    def _require_connection(self) -> None:
        if self._over is not None:
            raise ConnectionLostError(f"the connection is gone: {self._over.reason}", reason=self._over.reason)

    async def _request(self, what: str, channel: str, command: Coroutine[Any, Any, Any]) -> Any:
        if self._over is not None:
            command.close()
        self._require_connection()
        try:
            return await command
        except ReplyError as error:
            answer = refusal_of(error)
            assert answer is not None, "that is what it was caught for"
            raise refusal(what, channel, answer.code, answer.message, temporary=answer.temporary) from None
        except errors_of_the_connection as error:
            raise ConnectionLostError(
                f"{what}: no answer, {error}; it may have happened or not", reason=str(error)
            ) from error

    def _forget(self, subscription: DataSubscription) -> None:
        if self._channels.get(subscription.channel) is subscription:
            del self._channels[subscription.channel]

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
