"""One channel of one link: the acknowledgement, what is replayed, and what Ably does to it later."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable

from tanstack_realtime import ConnectionLostError, Inbound, LinkSink, Position, RealtimeError, SubscribeAck

from ._codes import refusal
from ._names import user_of
from ._sdk_channel import ChannelChange, Received, SdkChannel, SdkError
from ._stream import Attachment, Stream

__all__ = ["ChannelSubscription"]

_GAP = "Ably could not replay what was missed"


class ChannelSubscription:
    """A channel on its way, or live.

    Args:
        channel: wire name.
        sdk: the channel at Ably.
        sink: is told.
        mark: what own messages carry.
        since: where to go on.
        fence: waits until what Ably had sent before has arrived.
        ended: forgets this subscription, which Ably ended.
    """

    def __init__(
        self,
        channel: str,
        sdk: SdkChannel,
        sink: LinkSink,
        *,
        mark: str,
        since: Position | None,
        fence: Callable[[], Awaitable[None]],
        ended: Callable[[ChannelSubscription], object],
    ) -> None:
        self.channel = channel
        self._sdk = sdk
        self._sink = sink
        self._mark = mark
        self._since = since
        self._fence = fence
        self._ended = ended
        self._stream = Stream(since, lambda: uuid.uuid4().hex)
        self._began: Position | None = None
        self._recovered = False
        self._missed: list[Inbound] | None = None
        self._live = False
        self._refusal: SdkError | None = None
        self._stopped = False

    async def start(self) -> SubscribeAck:
        """Attach and wait for the acknowledgement.

        Raises:
            ChannelDeniedError: refused; `retryable` where it may pass.
            ConnectionLostError: there was no answer.
        """
        if self._stream.serial is not None:
            self._sdk.begin_at(self._stream.serial)
        self._sdk.watch(self._on_change)
        try:
            await self._sdk.subscribe(self._on_message)
        except SdkError as error:
            raise self._refused(self._refusal or error) from error
        if self._began is None:  # it has been attached all the time, since nobody could tell Ably to detach it
            self._attached(resumed=False)
        if self._recovered:
            # Ably does not say where its replay ends. What comes later is numbered and told all the same.
            await self._fence()
        if self._refusal is not None:
            raise self._refused(self._refusal)
        if self._stopped:
            raise ConnectionLostError(f"{self.channel!r} was unsubscribed before Ably had answered")
        self._live = True
        missed, self._missed = self._missed or (), None
        if self._recovered:
            return SubscribeAck(self._stream.position, True, tuple(missed))
        return SubscribeAck(self._began, None if self._since is None else False)

    async def stop(self) -> None:
        """Hear nothing more, at once; then detach."""
        self._stopped = True
        self._sdk.silence()
        await self._sdk.detach()

    def lost(self) -> None:
        """The connection is gone."""
        self._stopped = True
        self._sdk.silence()

    def revoke(self, code: str, reason: str) -> None:
        """It is not granted any more. Ably ends it as soon as it has the token that says so."""
        if not self._stopped:
            self._stopped = True
            self._sdk.silence()
            self._ended(self)
            self._sink.revoked(self.channel, code, reason)

    # -- called by the SDK ---------------------------------------------------------------------------------------------

    def _on_change(self, change: ChannelChange) -> None:
        if change.state == "attached" and not self._stopped:
            self._attached(resumed=change.resumed)
        elif change.state == "failed" and self._live:
            error = self._refused(change.error)
            self.revoke(error.code, error.reason or str(error))
            asyncio.get_running_loop().call_soon(self._sdk.forget)  # the SDK is going through its channels
        elif change.state == "failed":
            self._refusal = change.error

    def _on_message(self, received: Received) -> None:
        if self._stopped:
            return
        own = None if received.mark is None else received.mark == self._mark
        position = self._stream.message(received.serial)
        message = Inbound(received.data, position, own, user_of(received.client_id) or None)
        if self._missed is not None:
            self._missed.append(message)
        else:
            self._sink.message(self.channel, message)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _attached(self, *, resumed: bool) -> None:
        meaning = self._stream.attached(self._sdk.serial, resumed=resumed)
        if meaning is Attachment.GAP and self._live:
            self._sink.gap(self.channel, _GAP)
        if meaning is not Attachment.SAME and not self._live:
            self._began = self._stream.position
            self._recovered = meaning is Attachment.RECOVERED
            self._missed = [] if self._recovered else None

    def _refused(self, why: SdkError) -> RealtimeError:
        return refusal("subscribe", self.channel, why.code, why.status, why.message)
