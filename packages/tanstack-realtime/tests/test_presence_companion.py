"""Presence on a provider that keeps no states but those of the join; the client announces the others."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from tanstack_db import DbClient
from tanstack_realtime import (
    JSON,
    Capabilities,
    CloseReason,
    LinkSink,
    OpenRequest,
    Position,
    PresenceCapabilities,
    PresenceEntry,
    PresenceSink,
    RealtimeClient,
    SubscribeAck,
    create_presence_channel,
    create_realtime_client,
)

ROOM = create_presence_channel(id="room", channel=lambda: ("room", {})).scope()


class Provider:
    """Membership with the state of the join; updates are broadcast to whoever is there and kept nowhere."""

    capabilities = Capabilities(
        recovery=False,
        history=0,
        ordering=True,
        echo=True,
        publish_over_link=True,
        native_presence=False,
        max_message_bytes=65536,
        revocation_delay=0.0,
        presence=PresenceCapabilities(ghost_timeout=60.0, max_state_bytes=2048),
    )

    def __init__(self) -> None:
        self.numbers = itertools.count(1)
        self.sinks: dict[Link, PresenceSink] = {}
        self.joined: dict[Link, Mapping[str, Any]] = {}
        self.updates = 0
        self.scrambled = False
        self.links: list[Link] = []

    async def open(self, request: OpenRequest, sink: LinkSink, /) -> Link:
        link = Link(self, sink, f"c{next(self.numbers)}")
        self.links.append(link)
        return link

    def entry(self, link: Link, state: Mapping[str, Any], clock: int = 0) -> PresenceEntry:
        return PresenceEntry(link.connection_id, link.user_id, state, clock)

    def tell(self, entries: list[PresenceEntry], left: list[str]) -> None:
        for sink in list(self.sinks.values()):
            sink.changed(entries, left)


class Link:
    user_id = "u"

    def __init__(self, provider: Provider, sink: LinkSink, connection_id: str) -> None:
        self.provider = provider
        self.sink = sink
        self.connection_id = connection_id

    async def subscribe(self, channel: str, /, *, since: Position | None) -> SubscribeAck:
        return SubscribeAck()

    async def unsubscribe(self, channel: str, /) -> None: ...

    async def publish(self, channel: str, data: JSON, /) -> None: ...

    async def ping(self) -> None: ...

    async def close(self) -> None:
        self.gone()

    def gone(self) -> None:
        self.provider.sinks.pop(self, None)
        if self.provider.joined.pop(self, None) is not None:
            self.provider.tell([], [self.connection_id])

    async def observe_presence(self, channel: str, sink: PresenceSink, /) -> None:
        self.provider.sinks[self] = sink
        sink.snapshot([self.provider.entry(link, state) for link, state in self.provider.joined.items()])

    async def join_presence(self, channel: str, state: Mapping[str, Any], sink: PresenceSink, /) -> None:
        self.provider.joined[self] = state
        await self.observe_presence(channel, sink)
        self.provider.tell([self.provider.entry(self, state)], [])

    async def update_presence(self, channel: str, state: Mapping[str, Any], clock: int, /) -> None:
        self.provider.updates += 1
        now = [self.provider.entry(self, state, clock)]
        self.provider.tell(now, [])
        if self.provider.scrambled:
            self.provider.tell([self.provider.entry(self, {"x": "old"}, clock - 1)], [])

    async def leave_presence(self, channel: str, /) -> None:
        self.provider.joined.pop(self, None)
        self.provider.tell([], [self.connection_id])

    async def unobserve_presence(self, channel: str, /) -> None:
        self.gone()


class World:
    def __init__(self) -> None:
        self.provider = Provider()
        self.clients: list[RealtimeClient] = []

    async def client(self) -> RealtimeClient:
        client = create_realtime_client(transport=self.provider, db=DbClient())
        self.clients.append(client)
        client.connect()
        await client.connected()
        return client


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    for client in made.clients:
        await client.close()


async def test_a_late_joiner_hears_of_states_that_the_provider_does_not_keep(world: World) -> None:  # R5
    ann = (await world.client()).presence(ROOM, initial={"x": 0, "name": "Ann"})
    await ann.live()
    ann.update(x=5)
    await asyncio.sleep(1)

    bo = (await world.client()).presence(ROOM, initial={"name": "Bo"})
    await bo.live()
    assert [member.state["x"] for member in bo.others] == [0], "what she said when she joined"
    await asyncio.sleep(0.5)
    assert [member.state for member in bo.others] == [{"x": 5, "name": "Ann"}]
    assert [member.state for member in ann.others] == [{"name": "Bo"}]


async def test_a_lost_announcement_is_repeated(world: World) -> None:  # R5
    ann = (await world.client()).presence(ROOM, initial={"x": 0})
    await ann.live()
    ann.update(x=5)
    await asyncio.sleep(1)
    watching = (await world.client()).presence(ROOM)
    await watching.live()
    assert [member.state for member in watching.others] == [{"x": 0}], "nobody announces to one who only looks"
    await asyncio.sleep(16)
    assert [member.state for member in watching.others] == [{"x": 5}]


async def test_members_with_nothing_new_say_nothing(world: World) -> None:
    for _ in range(3):
        await (await world.client()).presence(ROOM, initial={"x": 0}).live()
    await asyncio.sleep(60)
    assert world.provider.updates == 0


async def test_an_older_state_that_comes_later_is_not_shown(world: World) -> None:
    world.provider.scrambled = True
    ann = (await world.client()).presence(ROOM, initial={"x": 0})
    bo = (await world.client()).presence(ROOM)
    await bo.live()
    for x in range(1, 4):
        ann.update(x=x)
        await asyncio.sleep(1)
        assert [member.state for member in bo.others] == [{"x": x}]


async def test_after_a_reconnect_the_state_of_the_join_is_the_latest_one(world: World) -> None:  # R3, R1
    ann_client = await world.client()
    ann = ann_client.presence(ROOM, initial={"x": 0})
    bo = (await world.client()).presence(ROOM, initial={"name": "Bo"})
    await bo.live()
    ann.update(x=5)
    link = world.provider.links[0]
    link.gone()
    link.sink.closed(CloseReason(1006, "gone"))
    await asyncio.sleep(3)
    assert [member.state for member in bo.others] == [{"x": 5}]
    assert [member.state for member in ann.others] == [{"name": "Bo"}]


async def test_a_preset_without_presence_says_so(world: World) -> None:
    class Without(Provider):
        capabilities = Capabilities(
            recovery=False,
            history=0,
            ordering=True,
            echo=True,
            publish_over_link=True,
            native_presence=False,
            max_message_bytes=65536,
            revocation_delay=0.0,
        )

    errors: list[Exception] = []
    client = create_realtime_client(transport=Without(), db=DbClient(), on_error=errors.append)
    world.clients.append(client)
    client.connect()
    presence = client.presence(ROOM)
    await asyncio.sleep(0.1)
    view = presence.get()
    assert (view.status, view.others) == ("denied", ())
    assert view.error is not None
    assert view.error.code == "unsupported"
    assert len(errors) == 1
