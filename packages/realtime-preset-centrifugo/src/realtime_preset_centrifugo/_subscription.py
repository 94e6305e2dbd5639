"""One data channel of one link: the acknowledgement, what is replayed, and what the SDK does by itself.

The SDK has no way to say "subscribe from here", except to answer its question for a state: it then asks the server to
refuse when the position cannot be recovered, and asks for a newer state. We have none, so the channel begins anew with
a subscription without a position, and the gap is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from tanstack_realtime import ChannelDeniedError, ConnectionLostError, Inbound, LinkSink, Position, SubscribeAck

from ._codes import refusal
from ._names import DATA_PREFIX, user_of
from ._sdk import (
    ErrorEvent,
    Publication,
    SdkClient,
    SdkSubscription,
    StateEvent,
    StreamPosition,
    SubscribedEvent,
    refusal_of,
)

__all__ = ["USER_TAG", "DataSubscription"]

USER_TAG = "user"
"""Tag of a publication that the application's server made for a user. Only servers can set tags."""

_GAP = "the server could not replay what was missed"


class DataSubscription:
    """A channel on its way, or live.

    Args:
        client: the connection.
        channel: without the prefix.
        sink: is told.
        connection_id: own connection, to know own messages by.
        spawn: starts a task that the link owns, and returns it.
        ended: forgets this subscription, which the server ended.

    Attributes:
        ack: resolved with the acknowledgement, or with why there is none.
    """

    def __init__(
        self,
        client: SdkClient,
        channel: str,
        sink: LinkSink,
        connection_id: str,
        *,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        ended: Callable[[DataSubscription], object],
    ) -> None:
        self.channel = channel
        self.ack: asyncio.Future[SubscribeAck] = asyncio.get_running_loop().create_future()
        self._client = client
        self._sink = sink
        self._connection_id = connection_id
        self._spawn = spawn
        self._ended = ended
        self._since: Position | None = None
        self._asked = False
        self._missed: list[Inbound] | None = None
        self._stopped = False
        self._epoch = ""
        self._current: SdkSubscription | None = None

    async def start(self, since: Position | None) -> None:
        """Ask the server."""
        self._since = since
        await self._begin(from_position=since is not None)

    async def stop(self) -> None:
        """Unsubscribe. Nothing is told from now on."""
        self._stopped = True
        _ = self._fail(ConnectionLostError(f"{self.channel!r} was unsubscribed before the server had answered"))
        await self._drop()

    def lost(self, error: ConnectionLostError) -> None:
        """The connection is gone."""
        self._stopped = True
        _ = self._fail(error)

    # -- called by the SDK ---------------------------------------------------------------------------------------------

    async def on_subscribing(self, _: StateEvent) -> None:
        """It tries, or tries again."""

    async def on_subscribed(self, event: SubscribedEvent) -> None:
        """The server has said yes. What it replays follows in this very step of the loop."""
        if self._stopped:
            return
        self._epoch = "" if event.stream_position is None else event.stream_position.epoch
        if not self.ack.done():
            self._missed = []
            asyncio.get_running_loop().call_soon(self._acknowledge, event)
        elif not event.recovered:
            self._sink.gap(self.channel, _GAP)

    async def on_publication(self, event: Any) -> None:
        """A message, replayed or new."""
        if self._stopped:
            return
        message = self._inbound(event.pub)
        if self._missed is not None:
            self._missed.append(message)
        else:
            self._sink.message(self.channel, message)

    async def on_unsubscribed(self, event: StateEvent) -> None:
        """The server has said no, or has ended it."""
        if self._stopped:
            return
        error = refusal("subscribe", self.channel, event.code, event.reason, temporary=False)
        self._stopped = True
        self._ended(self)
        if self._current is not None:
            self._client.remove_subscription(self._current)
            self._current = None
        if not self._fail(error):
            code = error.code if isinstance(error, ChannelDeniedError) and not error.code.isdigit() else "denied"
            self._sink.revoked(self.channel, code, event.reason)

    async def on_error(self, event: ErrorEvent) -> None:
        """It failed, and the SDK would try again. Before the acknowledgement that is up to whoever asked."""
        if self._stopped or self.ack.done():
            return
        answer = refusal_of(event.error)
        if answer is not None:
            _ = self._fail(refusal("subscribe", self.channel, answer.code, answer.message, temporary=True))
        else:
            _ = self._fail(ConnectionLostError(f"no answer to the subscribe of {self.channel!r}: {event.error!r}"))

    async def on_join(self, _: Any) -> None:
        """Not in this namespace."""

    async def on_leave(self, _: Any) -> None:
        """Not in this namespace."""

    # -- inside --------------------------------------------------------------------------------------------------------

    async def _begin(self, *, from_position: bool) -> None:
        self._current = self._client.new_subscription(
            DATA_PREFIX + self.channel, self, get_state=self._state if from_position else None
        )
        await self._current.subscribe()

    async def _state(self, _: str) -> Any:
        if self._since is not None and not self._asked:
            self._asked = True
            return StreamPosition(offset=self._since.offset, epoch=self._since.epoch)
        # Asked again: the position is of no use any more. This answer comes when nobody waits for it.
        await asyncio.wait([self._spawn(self._begin_anew())])
        return StreamPosition(offset=0, epoch="")

    async def _begin_anew(self) -> None:
        await self._drop()
        if not self._stopped:
            await self._begin(from_position=False)

    async def _drop(self) -> None:
        former, self._current = self._current, None
        if former is not None:
            stopped, self._stopped = self._stopped, True  # that it has ended is no news
            try:
                await former.unsubscribe()
            finally:
                self._stopped = stopped
            self._client.remove_subscription(former)

    def _acknowledge(self, event: SubscribedEvent) -> None:
        missed, self._missed = self._missed or [], None
        if self.ack.done():
            return
        position = None
        if event.stream_position is not None:
            position = Position(event.stream_position.epoch, event.stream_position.offset)
        recovered = None if self._since is None else bool(event.was_recovering and event.recovered)
        if missed:
            position = missed[-1].position or position
        self.ack.set_result(SubscribeAck(position, recovered, tuple(missed)))

    def _fail(self, error: Exception) -> bool:
        if self.ack.done():
            return False
        self.ack.set_exception(error)
        return True

    def _inbound(self, publication: Publication) -> Inbound:
        info = publication.info
        position = Position(self._epoch, publication.offset) if publication.offset else None
        if info is None:
            return Inbound(publication.data, position, None, user_of(publication.tags.get(USER_TAG)))
        return Inbound(publication.data, position, info.client == self._connection_id, user_of(info.user) or None)
