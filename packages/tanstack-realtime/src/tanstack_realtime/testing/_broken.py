"""Transports that are wrong on purpose, each in one way that a real one was wrong in.

They keep the kit honest: a test runs the checks against each, and fails if nothing notices. Every one wraps a transport
that works and spoils one thing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Final, TypeVar

from tanstack_realtime._errors import ChannelDeniedError
from tanstack_realtime._transport import CloseReason, Inbound, SubscribeAck

if TYPE_CHECKING:
    from tanstack_realtime._transport import (
        JSON,
        Capabilities,
        Link,
        LinkSink,
        OpenRequest,
        Position,
        RealtimeTransport,
    )

__all__ = ["BROKEN_TRANSPORTS", "BrokenLink", "BrokenSink", "BrokenTransport", "broken"]


class BrokenSink:
    """Passes on what the link says."""

    def __init__(self, transport: BrokenTransport, sink: LinkSink) -> None:
        self.transport = transport
        self.sink = sink

    def message(self, channel: str, message: Inbound, /) -> None:
        self.sink.message(channel, message)

    def gap(self, channel: str, reason: str, /) -> None:
        self.sink.gap(channel, reason)

    def revoked(self, channel: str, code: str, reason: str, /) -> None:
        self.sink.revoked(channel, code, reason)

    def suspended(self, reason: CloseReason, /) -> None:
        self.sink.suspended(reason)

    def resumed(self, connection_id: str, acks: Mapping[str, SubscribeAck], /) -> None:
        self.sink.resumed(connection_id, acks)

    def closed(self, reason: CloseReason, /) -> None:
        self.sink.closed(reason)


class BrokenLink:
    """Passes on what the client asks."""

    def __init__(self, transport: BrokenTransport, link: Link, sink: BrokenSink) -> None:
        self.transport = transport
        self.link = link
        self.sink = sink
        self.number = transport.opened

    @property
    def connection_id(self) -> str:
        return self.link.connection_id

    @property
    def user_id(self) -> str | None:
        return self.link.user_id

    async def subscribe(self, channel: str, /, *, since: Position | None) -> SubscribeAck:
        return await self.link.subscribe(channel, since=since)

    async def unsubscribe(self, channel: str, /) -> None:
        await self.link.unsubscribe(channel)

    async def publish(self, channel: str, data: JSON, /) -> None:
        await self.link.publish(channel, data)

    async def ping(self) -> None:
        await self.link.ping()

    async def close(self) -> None:
        await self.link.close()


class BrokenTransport:
    """Wraps a transport; subclasses spoil it. The first line of the docstring says how, and `caught_by` names a check
    that notices."""

    caught_by: ClassVar[str]
    sink_type: ClassVar[type[BrokenSink]] = BrokenSink
    link_type: ClassVar[type[BrokenLink]] = BrokenLink

    def __init__(self, transport: RealtimeTransport) -> None:
        self.transport = transport
        self.opened = 0

    @property
    def capabilities(self) -> Capabilities:
        return self.transport.capabilities

    async def open(self, request: OpenRequest, sink: LinkSink, /) -> Link:
        self.opened += 1
        outer = self.sink_type(self, sink)
        return self.link_type(self, await self.transport.open(request, outer), outer)


BROKEN_TRANSPORTS: Final[list[type[BrokenTransport]]] = []
"""All of them; a new one of your own belongs into your own list."""


B = TypeVar("B", bound=type[BrokenTransport])


def broken(caught_by: str) -> Callable[[B], B]:
    """Register a broken transport.

    Args:
        caught_by: name of a check that notices.
    """

    def register(transport: B) -> B:
        transport.caught_by = caught_by
        BROKEN_TRANSPORTS.append(transport)
        return transport

    return register


@broken("every_channel_comes_back_after_a_reconnect")
class NoResubscribe(BrokenTransport):
    """Believes that a subscription of an earlier connection still holds."""

    class link_type(BrokenLink):
        async def subscribe(self, channel: str, /, *, since: Position | None) -> SubscribeAck:
            if self.number == 1:
                return await super().subscribe(channel, since=since)
            return SubscribeAck(since, None if since is None else True)


@broken("every_channel_comes_back_after_a_reconnect")
class DoubleBind(BrokenTransport):
    """Binds its handler again on every reconnect, to an object that the SDK keeps."""

    class sink_type(BrokenSink):
        def message(self, channel: str, message: Inbound, /) -> None:
            for _ in range(self.transport.opened):
                super().message(channel, replace(message, position=None))


@broken("the_echo_comes_once_and_is_marked")
class LostEchoMark(BrokenTransport):
    """Does not say which messages are the publisher's own."""

    class sink_type(BrokenSink):
        def message(self, channel: str, message: Inbound, /) -> None:
            super().message(channel, replace(message, own=False))


@broken("the_echo_comes_once_and_is_marked")
class EverythingIsMine(BrokenTransport):
    """Marks by user instead of by connection, so another tab's message counts as its own."""

    class sink_type(BrokenSink):
        def message(self, channel: str, message: Inbound, /) -> None:
            super().message(channel, replace(message, own=message.user_id is not None))


@broken("every_channel_comes_back_after_a_reconnect")
class DuplicateAfterReconnect(BrokenTransport):
    """Delivers the last message of the former connection again."""

    last: tuple[str, Inbound] | None = None

    class sink_type(BrokenSink):
        def message(self, channel: str, message: Inbound, /) -> None:
            assert isinstance(self.transport, DuplicateAfterReconnect)
            again, self.transport.last = self.transport.last, None
            if again is not None and self.transport.opened > 1:
                super().message(*again)
            super().message(channel, replace(message, position=None))
            self.transport.last = (channel, replace(message, position=None))


@broken("live_means_that_messages_arrive")
class StaleSnapshot(BrokenTransport):
    """Acknowledges before the provider has subscribed, so what changes between snapshot and stream is lost."""

    class link_type(BrokenLink):
        late: asyncio.Task[SubscribeAck] | None = None

        async def subscribe(self, channel: str, /, *, since: Position | None) -> SubscribeAck:
            async def subscribe_later() -> SubscribeAck:
                await asyncio.sleep(0.5)
                return await self.link.subscribe(channel, since=since)

            self.late = asyncio.ensure_future(subscribe_later())
            return SubscribeAck(None, None if since is None else False)

        async def close(self) -> None:
            if self.late is not None:
                self.late.cancel()
                await asyncio.gather(self.late, return_exceptions=True)
            await super().close()


@broken("a_denied_subscribe_is_reported_once")
class SilentDenial(BrokenTransport):
    """Never answers a subscribe that was refused."""

    class link_type(BrokenLink):
        async def subscribe(self, channel: str, /, *, since: Position | None) -> SubscribeAck:
            try:
                return await super().subscribe(channel, since=since)
            except ChannelDeniedError:
                await asyncio.Event().wait()
                raise


@broken("delivers_to_the_exact_channel")
class PublishIntoTheVoid(BrokenTransport):
    """Says that a publish was accepted, and sends nothing."""

    class link_type(BrokenLink):
        async def publish(self, channel: str, data: JSON, /) -> None:
            await self.ping()


@broken("a_denied_publish_raises")
class SwallowedDenial(BrokenTransport):
    """Says nothing when a publish was refused."""

    class link_type(BrokenLink):
        async def publish(self, channel: str, data: JSON, /) -> None:
            try:
                await super().publish(channel, data)
            except ChannelDeniedError:
                return


@broken("a_closed_link_is_silent")
class LeakedTask(BrokenTransport):
    """Leaves a task behind when it is closed."""

    class link_type(BrokenLink):
        heartbeat: asyncio.Task[None] | None = None

        async def close(self) -> None:
            await super().close()
            if self.heartbeat is None:
                self.heartbeat = asyncio.ensure_future(asyncio.sleep(60.0))


@broken("an_old_connection_does_not_touch_a_new_one")
class OldSocketKillsNewOne(BrokenTransport):
    """Takes the end of an earlier socket for the end of the present one."""

    newest: BrokenSink | None = None

    class link_type(BrokenLink):
        def __init__(self, transport: BrokenTransport, link: Link, sink: BrokenSink) -> None:
            super().__init__(transport, link, sink)
            assert isinstance(transport, OldSocketKillsNewOne)
            transport.newest = sink

        async def close(self) -> None:
            await super().close()
            assert isinstance(self.transport, OldSocketKillsNewOne)
            newest = self.transport.newest
            if newest is not None and newest is not self.sink:
                newest.closed(CloseReason(1000, "closed"))


@broken("the_last_intent_wins")
class UnsubscribeRace(BrokenTransport):
    """Answers an unsubscribe at once and carries it out later, when somebody has subscribed again."""

    class link_type(BrokenLink):
        late: tuple[asyncio.Task[None], ...] = ()

        async def unsubscribe(self, channel: str, /) -> None:
            async def unsubscribe_later() -> None:
                await asyncio.sleep(0.5)
                await self.link.unsubscribe(channel)

            self.late = (*self.late, asyncio.ensure_future(unsubscribe_later()))

        async def close(self) -> None:
            for task in self.late:
                task.cancel()
            await asyncio.gather(*self.late, return_exceptions=True)
            await super().close()
