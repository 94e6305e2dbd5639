"""Presence between clients of one server, in its own process and over sockets that a test holds; virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from realtime_preset_node import NodePreset
from realtime_preset_node._server import NodeServer
from tanstack_db import DbClient, SchemaError
from tanstack_db.testing import settle
from tanstack_realtime import (
    Channel,
    ChannelDeniedError,
    ClosedError,
    ConfigurationError,
    MessageError,
    Presence,
    RealtimeClient,
    RealtimeError,
    create_presence_channel,
    create_realtime_client,
)
from tanstack_realtime.server import Permissions, Realtime, ServerObserver, bearer_token


@dataclass(frozen=True)
class Cursor:
    name: str
    x: int = 0
    y: int = 0


def channel(document_id: str) -> tuple[str, dict[str, str]]:
    return ("editor", {"document_id": document_id})


def reserved_channel() -> tuple[str, dict[str, str]]:
    return ("$presence", {})


EDITOR = create_presence_channel(id="editor", channel=channel, state=Cursor)
D1 = EDITOR.scope(document_id="d1")


class Site:
    """A server, and clients in its own process."""

    def __init__(self) -> None:
        self.members = {"ada", "bob", "cy"}
        self.reported: list[RealtimeError] = []
        self.realtime = Realtime(
            authorize=self.authorize,
            get_user=bearer_token,
            preset=NodePreset(heartbeat=25, timeout=10),
            on_error=self.reported.append,
        )
        self.clients: list[RealtimeClient] = []
        self.errors: list[Exception] = []
        self.decision_takes = 0.0

    async def authorize(self, user_id: str, channel: Channel) -> Permissions:
        await asyncio.sleep(self.decision_takes)
        return Permissions(subscribe=True, presence=user_id in self.members, publish=True)

    async def client(self, user_id: str, *, connect: bool = True) -> RealtimeClient:
        transport = self.realtime.local_transport(user_id=user_id)
        client = create_realtime_client(transport=transport, db=DbClient(), on_error=self.errors.append)
        self.clients.append(client)
        if connect:
            client.connect()
            await client.connected()
        return client

    @property
    def server(self) -> NodeServer:
        server = self.realtime._server
        assert isinstance(server, NodeServer)
        return server

    def break_off(self, client: RealtimeClient) -> None:
        """End the client's connection from the server's side."""
        connection_id = client.store.state.connection_id
        for peer in list(self.server._registry._users):
            if peer.session.connection_id == connection_id:
                peer.close(1006, "", discard=True)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    made = Site()
    yield made
    for client in made.clients:
        await client.close()
    await made.realtime.aclose()
    await asyncio.sleep(1)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert made.server._rooms.rooms == 0


async def turn() -> None:
    """Let a few updates get through."""
    await asyncio.sleep(0.2)


def names(presence: Presence[Cursor]) -> list[str]:
    return sorted(member.state.name for member in presence.others)


async def test_members_see_each_other_join_move_and_leave(site: Site) -> None:  # X8, R5, R7
    ada, bob = await site.client("ada"), await site.client("bob")
    mine = ada.presence(D1, initial=Cursor("Ada"))
    assert mine.get().me == Cursor("Ada")
    await mine.live()
    his = bob.presence(D1, initial=Cursor("Bob"))
    await his.live()
    assert names(his) == ["Ada"], "a late joiner sees who is there"
    await turn()
    assert names(mine) == ["Bob"]
    [member] = mine.others
    assert (member.user_id, member.connection_id, member.status) == ("bob", bob.store.state.connection_id, "online")

    his.update(x=3)
    his.update(lambda cursor: replace(cursor, y=4))
    await turn()
    assert [member.state for member in mine.others] == [Cursor("Bob", 3, 4)]

    his.leave()
    his.leave()
    await turn()
    assert mine.others == ()
    assert names(his) == ["Ada"], "who left still sees the others"
    assert his.get().me is None


async def test_an_observer_sees_and_is_not_seen(site: Site) -> None:  # R5, R6
    ada, bob = await site.client("ada"), await site.client("bob")
    mine = ada.presence(D1, initial=Cursor("Ada"))
    watching = bob.presence(D1)
    await turn()
    assert names(watching) == ["Ada"]
    assert mine.others == ()
    watching.close()
    watching.close()
    await turn()
    assert len(site.server._rooms._rooms["editor:document_id=d1"].guests) == 1


async def test_a_join_before_connect_is_remembered_and_joined_again_with_the_merged_state(
    site: Site,
) -> None:  # R2, R3, R1, V1
    site.decision_takes = 0.05
    ada, bob = await site.client("ada", connect=False), await site.client("bob")
    mine = ada.presence(D1, initial=Cursor("Ada"))
    mine.update(x=1)
    his = bob.presence(D1, initial=Cursor("Bob"))
    ada.connect()
    await mine.live()
    await turn()
    assert [member.state for member in his.others] == [Cursor("Ada", 1)]

    before = ada.store.state.connection_id
    site.break_off(ada)
    await settle()
    assert mine.status == "pending"
    assert [member.status for member in mine.others] == ["stalled"]  # R14
    await turn()
    assert not his.others, "R4: a member whose connection died is gone"
    mine.update(y=2)
    await asyncio.sleep(5)
    assert ada.store.state.connection_id not in (None, before)
    assert [member.state for member in his.others] == [Cursor("Ada", 1, 2)]
    assert names(mine) == ["Bob"]
    assert [member.status for member in mine.others] == ["online"]


async def test_a_burst_of_moves_is_few_frames_and_the_last_one_arrives(site: Site) -> None:  # R15, T1
    ada, bob = await site.client("ada"), await site.client("bob")
    mine = ada.presence(D1, initial=Cursor("Ada"))
    his = bob.presence(D1)
    await turn()
    seen: list[int] = []
    his.subscribe(lambda: seen.append(his.others[0].state.x))
    for x in range(1, 101):
        mine.update(x=x)
        await asyncio.sleep(0.01)
    await turn()
    assert seen[-1] == 100
    assert 15 <= len(seen) <= 25, "about twenty times in the second"


async def test_a_pending_move_is_sent_to_its_own_room_when_one_switches(site: Site) -> None:  # R10, R15
    ada, bob = await site.client("ada"), await site.client("bob")
    his = bob.presence(D1)
    sent: list[int] = []
    his.subscribe(lambda: sent.extend(member.state.x for member in his.others))
    bobs_other = bob.presence(EDITOR.scope(document_id="d2"))
    mine = ada.presence(D1, initial=Cursor("Ada"))
    await turn()
    mine.update(x=1)
    mine.update(x=2)
    mine.close()
    assert mine.others == ()
    there = ada.presence(EDITOR.scope(document_id="d2"), initial=Cursor("Ada"))
    assert there.others == ()
    await turn()
    assert his.others == ()
    assert [member.state.x for member in bobs_other.others] == [0]


async def test_two_windows_are_two_members_of_one_user(site: Site) -> None:  # R1
    ada, bob = await site.client("ada"), await site.client("bob")
    again = await site.client("bob")
    mine = ada.presence(D1)
    for client in (bob, again):
        client.presence(D1, initial=Cursor("Bob"))
    await turn()
    assert {user: len(members) for user, members in mine.by_user().items()} == {"bob": 2}


async def test_the_server_is_told_who_joins_and_leaves() -> None:  # V8, R4
    class Ear(ServerObserver):
        def __init__(self) -> None:
            self.heard: list[tuple[str, str, str]] = []

        def presence_joined(self, connection_id: str, user_id: str, channel: str) -> None:
            self.heard.append(("joined", user_id, channel))
            raise RuntimeError("hook broke")

        def presence_left(self, connection_id: str, user_id: str, channel: str) -> None:
            self.heard.append(("left", user_id, channel))

    ear = Ear()
    realtime = Realtime(
        authorize=lambda user_id, channel: Permissions(presence=True),
        get_user=bearer_token,
        observer=ear,
        preset="node",
        on_error=lambda error: None,
    )
    clients: list[RealtimeClient] = []
    for user in ("ada", "bob"):
        clients.append(create_realtime_client(transport=realtime.local_transport(user_id=user), db=DbClient()))
        clients[-1].connect()
    ada, bob = clients
    mine = ada.presence(D1, initial=Cursor("Ada"))
    bob.presence(D1)  # looks, and is no member
    await mine.live()
    mine.update(x=1)
    await turn()
    assert realtime.statistics().members == 1
    mine.leave()
    await turn()
    mine.join(Cursor("Ada"))
    await turn()
    await ada.close()
    await bob.close()
    await turn()
    assert ear.heard == [(what, "ada", "editor:document_id=d1") for what in ("joined", "left", "joined", "left")]
    assert realtime.statistics().members == 0


async def test_views_of_one_client_share_one_membership(site: Site) -> None:  # S4
    ada, bob = await site.client("ada"), await site.client("bob")
    his = bob.presence(D1)
    first, second = ada.presence(D1, initial=Cursor("Ada")), ada.presence(D1, initial=Cursor("Ada", 5))
    await turn()
    assert [member.state for member in his.others] == [Cursor("Ada", 5)]
    first.close()
    await turn()
    assert names(his) == ["Ada"]
    second.close()
    await turn()
    assert his.others == ()


async def test_presence_is_refused_without_the_permission(site: Site) -> None:  # X7, S15
    mallory, ada = await site.client("mallory"), await site.client("ada")
    mine = ada.presence(D1, initial=Cursor("Ada"))
    hers = mallory.presence(D1, initial=Cursor("Mallory"))
    with pytest.raises(ChannelDeniedError, match="presence is not granted"):
        await hers.live()
    await turn()
    assert hers.others == ()
    assert mine.others == ()
    assert [type(error) for error in site.errors] == [ChannelDeniedError]
    assert mallory.store.state.presence["editor:document_id=d1"].status == "denied"

    site.members.add("mallory")
    hers.retry()
    await hers.live()
    await turn()
    assert names(mine) == ["Mallory"]


async def test_reserved_channels_have_no_presence(site: Site) -> None:  # A11
    ada = await site.client("ada")
    reserved = create_presence_channel(id="reserved", channel=reserved_channel)
    with pytest.raises(ChannelDeniedError, match="reserved namespace"):
        await ada.presence(reserved.scope()).live()


async def test_losing_the_permission_removes_presence(site: Site) -> None:  # R9, S20
    ada, bob = await site.client("ada"), await site.client("bob")
    mine, his = ada.presence(D1, initial=Cursor("Ada")), bob.presence(D1, initial=Cursor("Bob"))
    await turn()
    site.members.discard("bob")
    await site.realtime.revoke("bob", ("editor", {"document_id": "d1"}))
    await turn()
    assert mine.others == ()
    assert his.status == "denied"
    assert his.others == ()


async def test_a_state_that_is_none_of_the_class_is_reported_once_and_left_out(site: Site) -> None:  # S14
    ada, bob = await site.client("ada"), await site.client("bob")
    anything = create_presence_channel(id="anything", channel=channel)
    mine = ada.presence(D1, initial=Cursor("Ada"))
    his = bob.presence(anything.scope(document_id="d1"), initial={"nonsense": True})
    await turn()
    assert mine.others == ()
    his.update(more=1)
    await turn()
    assert mine.others == ()
    assert [type(error) for error in site.errors] == [MessageError]
    assert [member.state for member in his.others] == [{"name": "Ada", "x": 0, "y": 0}]


async def test_a_state_that_is_too_large_is_reported(site: Site) -> None:  # A17
    ada = await site.client("ada")
    mine = ada.presence(D1, initial=Cursor("x" * 5000))
    with pytest.raises(ChannelDeniedError, match="4096"):
        await mine.live()


async def test_what_makes_no_sense_is_an_error_that_says_so(site: Site) -> None:
    ada = await site.client("ada")
    mine = ada.presence(D1)
    with pytest.raises(ConfigurationError, match="call join"):
        mine.update(x=1)
    wrong: Any = {"name": "no Cursor"}
    with pytest.raises(SchemaError):
        ada.presence(D1, initial=wrong)
    mine.join(Cursor("Ada"))
    with pytest.raises(SchemaError):
        mine.update(z=1)

    async def later() -> None: ...

    with pytest.raises(ConfigurationError, match="plain function"):
        mine.subscribe(later)
    mine.close()
    with pytest.raises(ClosedError):
        mine.update(x=1)
    with pytest.raises(ClosedError):
        mine.join(Cursor("Ada"))
    with pytest.raises(ClosedError):
        await mine.live()
    await ada.close()
    with pytest.raises(ClosedError):
        ada.presence(D1)


async def test_a_picture_stays_the_same_until_something_changes(site: Site) -> None:  # R12
    ada, bob = await site.client("ada"), await site.client("bob")
    mine, his = ada.presence(D1), bob.presence(D1, initial=Cursor("Bob"))
    cy = (await site.client("cy")).presence(D1, initial=Cursor("Cy"))
    await turn()
    picture = mine.get()
    assert mine.get() is picture
    calls: list[None] = []
    stop = mine.subscribe(lambda: calls.append(None))
    cy.update(x=0)
    await turn()
    assert not calls
    cy.update(x=1)
    await turn()
    assert len(calls) == 1
    kept = {member.user_id: member for member in picture.others}
    assert {member.user_id: member is kept[member.user_id] for member in mine.others} == {"bob": True, "cy": False}
    stop()
    his.close()
    await turn()
    assert len(calls) == 1


async def test_a_listener_that_raises_disturbs_nobody(site: Site) -> None:  # S13
    ada, bob = await site.client("ada"), await site.client("bob")
    mine = ada.presence(D1)
    heard: list[None] = []

    def fail() -> None:
        raise ValueError("a bug")

    mine.subscribe(fail)
    mine.subscribe(lambda: heard.append(None))
    bob.presence(D1, initial=Cursor("Bob"))
    await turn()
    assert heard
    assert {type(error) for error in site.errors} == {ValueError}


async def test_the_store_shows_rooms(site: Site) -> None:
    ada, bob = await site.client("ada"), await site.client("bob")
    bob.presence(D1, initial=Cursor("Bob"))
    mine = ada.presence(D1)
    await turn()
    info = ada.store.state.presence["editor:document_id=d1"]
    assert (info.status, info.others, info.joined, info.reason) == ("live", 1, False, None)
    mine.close()
    await turn()
    assert ada.store.state.presence == {}


def test_the_channel_declares_its_shape() -> None:
    assert EDITOR.declared_channel == ("editor", frozenset({"document_id"}))
