"""More transports that are wrong on purpose: recovery, errors, the end of a link, what arrives."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from tanstack_realtime._errors import AuthenticationError, ChannelDeniedError, ConnectionLostError
from tanstack_realtime._transport import CloseReason, Inbound, SubscribeAck

from ._broken import BrokenLink, BrokenSink, BrokenTransport, broken

if TYPE_CHECKING:
    from tanstack_realtime._transport import JSON, Link, LinkSink, OpenRequest, Position

__all__: list[str] = []


@broken("the_position_is_honest")
class SkipsTheGap(BrokenTransport):
    """Claims to have recovered, and replays nothing."""

    class link_type(BrokenLink):
        async def subscribe(self, channel: str, /, *, since: Position | None) -> SubscribeAck:
            ack = await super().subscribe(channel, since=since)
            return ack if since is None else replace(ack, recovered=True, missed=())


@broken("the_position_is_honest")
class PartialReplay(BrokenTransport):
    """Claims to have recovered, and replays all but the first message."""

    class link_type(BrokenLink):
        async def subscribe(self, channel: str, /, *, since: Position | None) -> SubscribeAck:
            ack = await super().subscribe(channel, since=since)
            return replace(ack, missed=ack.missed[1:])


@broken("a_restart_loses_nothing_silently")
class ForgetsTheEpoch(BrokenTransport):
    """Compares offsets of two lives of a stream."""

    class link_type(BrokenLink):
        async def subscribe(self, channel: str, /, *, since: Position | None) -> SubscribeAck:
            ack = await super().subscribe(channel, since=since)
            return ack if since is None else replace(ack, recovered=True, position=since)

    class sink_type(BrokenSink):
        def message(self, channel: str, message: Inbound, /) -> None:
            super().message(channel, replace(message, position=None))


@broken("a_link_says_once_that_it_has_ended")
class NeverSaysThatItEnded(BrokenTransport):
    """Does not tell anybody that the connection broke."""

    class sink_type(BrokenSink):
        def closed(self, reason: CloseReason, /) -> None:
            pass


@broken("a_link_says_once_that_it_has_ended")
class EndsTwice(BrokenTransport):
    """Reports an error and then a close for one broken socket."""

    class sink_type(BrokenSink):
        def closed(self, reason: CloseReason, /) -> None:
            super().closed(reason)
            super().closed(reason)


@broken("a_closed_link_is_silent")
class SpeaksAfterClose(BrokenTransport):
    """Reports the close that the client itself asked for."""

    class link_type(BrokenLink):
        async def close(self) -> None:
            await super().close()
            self.sink.closed(CloseReason(1000, "closed"))


@broken("a_half_open_connection_is_replaced")
class PingsItself(BrokenTransport):
    """Answers a ping from the socket's state instead of asking the server."""

    class link_type(BrokenLink):
        async def ping(self) -> None:
            pass


@broken("a_refused_identity_is_final")
class RetriesARefusal(BrokenTransport):
    """Takes an authentication refusal for a lost connection, and so comes back for ever."""

    async def open(self, request: OpenRequest, sink: LinkSink, /) -> Link:
        try:
            return await super().open(request, sink)
        except AuthenticationError as error:
            raise ConnectionLostError("the connection was closed") from error


@broken("an_attempt_that_is_given_up_leaves_nothing")
class FinishesWhatWasCancelled(BrokenTransport):
    """Goes on connecting after the attempt was cancelled."""

    async def open(self, request: OpenRequest, sink: LinkSink, /) -> Link:
        return await asyncio.shield(asyncio.ensure_future(super().open(request, sink)))


@broken("a_failing_authorize_is_a_temporary_error")
class EveryDenialIsFinal(BrokenTransport):
    """Does not tell a server that cannot decide from one that says no."""

    class link_type(BrokenLink):
        async def subscribe(self, channel: str, /, *, since: Position | None) -> SubscribeAck:
            try:
                return await super().subscribe(channel, since=since)
            except ChannelDeniedError as error:
                raise ChannelDeniedError("denied", channel=channel, reason=error.reason) from error


@broken("a_revoked_channel_ends")
class IgnoresRevocation(BrokenTransport):
    """Does not pass on that the server ended a subscription."""

    class sink_type(BrokenSink):
        def revoked(self, channel: str, code: str, reason: str, /) -> None:
            pass


@broken("an_unsubscribed_link_is_silent")
class NeverUnsubscribes(BrokenTransport):
    """Answers an unsubscribe and keeps the subscription."""

    class link_type(BrokenLink):
        async def unsubscribe(self, channel: str, /) -> None:
            pass


@broken("a_burst_keeps_its_order")
class SwapsMessages(BrokenTransport):
    """Hands messages to concurrent tasks, so that they overtake each other."""

    class sink_type(BrokenSink):
        held: tuple[str, Inbound] | None = None

        def message(self, channel: str, message: Inbound, /) -> None:
            bare = replace(message, position=None)
            if message.data == 41:
                self.held = (channel, bare)
                return
            super().message(channel, bare)
            if self.held is not None:
                held, self.held = self.held, None
                super().message(*held)


@broken("payloads_round_trip")
class DropsFalsyPayloads(BrokenTransport):
    """Tests a payload for truth where it means to test whether there is one."""

    class sink_type(BrokenSink):
        def message(self, channel: str, message: Inbound, /) -> None:
            if message.data or message.data == {}:
                super().message(channel, message)


@broken("delivers_to_the_exact_channel")
class WrongChannel(BrokenTransport):
    """Compares channels by their namespace."""

    class link_type(BrokenLink):
        channels: tuple[str, ...] = ()

        async def subscribe(self, channel: str, /, *, since: Position | None) -> SubscribeAck:
            self.channels = (*self.channels, channel)
            assert isinstance(self.sink, WrongChannel.sink_type)
            self.sink.channels = self.channels
            return await super().subscribe(channel, since=since)

    class sink_type(BrokenSink):
        channels: tuple[str, ...] = ()

        def message(self, channel: str, message: Inbound, /) -> None:
            for other in self.channels:
                if other.partition(":")[0] == channel.partition(":")[0]:
                    super().message(other, replace(message, position=None))


@broken("publishing_needs_no_subscription")
class SubscribesToPublish(BrokenTransport):
    """Joins a channel in order to publish to it."""

    class link_type(BrokenLink):
        async def publish(self, channel: str, data: JSON, /) -> None:
            await self.link.subscribe(channel, since=None)
            await super().publish(channel, data)
