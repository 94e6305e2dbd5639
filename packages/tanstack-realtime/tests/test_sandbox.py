"""Server and clients in one process, over the reference preset."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from tanstack_realtime import AuthenticationError, Channel, ChannelDeniedError, Inbound, RealtimeClient
from tanstack_realtime.server import Permissions, Realtime
from tanstack_realtime.testing import MEMORY_CAPABILITIES, Conditions, MemoryPreset, RealtimeSandbox, allow_everything

ROOM = ("chat", {"room": "1"})


class Ear:
    def __init__(self) -> None:
        self.heard: list[Any] = []

    def on_message(self, message: Inbound) -> None:
        self.heard.append(message.data)

    def on_live(self, recovered: bool | None) -> None:
        self.heard.append(("live", recovered))

    def on_gap(self, reason: str) -> None:
        self.heard.append("gap")

    def on_offline(self) -> None:
        self.heard.append("offline")

    def on_denied(self, error: ChannelDeniedError) -> None:
        self.heard.append(("denied", error.code))

    def on_focus(self) -> None:
        self.heard.append("focus")


async def listen(client: RealtimeClient) -> Ear:
    ear = Ear()
    await client.subscribe(ROOM, ear).live()
    return ear


async def test_two_users_meet() -> None:  # P4, P5
    async with RealtimeSandbox() as sandbox:
        ann, bob = await sandbox.client("ann"), await sandbox.client("bob")
        to_ann, to_bob = await listen(ann), await listen(bob)
        await ann.publish(ROOM, {"text": "hello"})
        await sandbox.pass_time()
        assert to_ann.heard == to_bob.heard == [("live", None), {"text": "hello"}]
        assert (ann.user_id, bob.user_id) == ("ann", "bob")


@pytest.mark.parametrize("recovery", [True, False])
async def test_a_cut_connection_comes_back(recovery: bool) -> None:  # X4, X5
    preset = MemoryPreset(replace(MEMORY_CAPABILITIES, recovery=recovery))
    async with RealtimeSandbox(preset=preset) as sandbox:
        ear = await listen(await sandbox.client("ann"))
        await sandbox.realtime.publish(ROOM, 1)
        await sandbox.pass_time()
        sandbox.network.cut("ann")
        await sandbox.realtime.publish(ROOM, 2)
        await sandbox.pass_time(5)
        await sandbox.realtime.publish(ROOM, 3)
        await sandbox.pass_time()
        missed = [2] if recovery else []
        assert ear.heard == [("live", None), 1, "offline", ("live", recovery), *missed, 3]


@pytest.mark.parametrize("way", ["restart", "kill"])
async def test_a_server_that_restarts_begins_anew(way: str) -> None:  # G1, V7
    async with RealtimeSandbox() as sandbox:
        ear = await listen(await sandbox.client("ann"))
        if way == "restart":
            await sandbox.restart()
        else:
            await sandbox.kill()
            await sandbox.start()
        await sandbox.pass_time(5)
        await sandbox.realtime.publish(ROOM, 1)
        await sandbox.pass_time()
        assert ear.heard == [("live", None), "offline", ("live", False), 1]


async def test_a_half_open_connection_is_found_by_both_ends() -> None:  # C14
    async with RealtimeSandbox() as sandbox:
        ann = await sandbox.client("ann")
        await sandbox.pass_time(100)
        sandbox.network.half_open("ann")
        await sandbox.pass_time(55)
        assert ann.is_connected
        assert sandbox.network.connections("ann") == 1


async def test_a_slow_reader_is_sent_away_and_resynchronises() -> None:  # A17
    async with RealtimeSandbox(conditions=Conditions(buffer=1000)) as sandbox:
        ear = await listen(await sandbox.client("ann"))
        sandbox.network.stall("ann")
        for number in range(2000):
            await sandbox.realtime.publish(ROOM, number)
        await sandbox.pass_time()
        sandbox.network.resume("ann")
        await sandbox.pass_time(5)
        await sandbox.realtime.publish(ROOM, "after")
        await sandbox.pass_time()
        assert "offline" in ear.heard
        assert ("live", False) in ear.heard
        assert ear.heard[-1] == "after"


async def test_the_gate_decides() -> None:  # X7, S17, S20
    secret = Permissions()

    def authorize(user_id: str, channel: Channel) -> Permissions:
        if channel.namespace == "broken":
            raise ValueError("a bug")
        return Permissions(subscribe=True) if channel.namespace == "chat" else secret

    async with RealtimeSandbox(authorize=authorize) as sandbox:
        ann = await sandbox.client("ann")
        ear = await listen(ann)
        with pytest.raises(ChannelDeniedError):
            await ann.subscribe(("other", {}), ear).live()
        with pytest.raises(ChannelDeniedError):
            await ann.publish(ROOM, 1)
        undecided = ann.subscribe(("broken", {}), Ear())
        await sandbox.pass_time()
        assert undecided.state == "pending"
        assert "a bug" in str(sandbox.errors[0])
        undecided.unsubscribe()
        await sandbox.realtime.revoke("ann", ROOM)
        await sandbox.pass_time()
        assert ear.heard == [("live", None), ("denied", "denied"), ("denied", "revoked")]
        await sandbox.realtime.revoke("ann")
        await sandbox.pass_time()
        assert ann.store.state.status == "disconnected"


async def test_an_expired_grant_is_asked_again() -> None:  # A5
    grants = [Permissions(subscribe=True, expires_in=10), Permissions(subscribe=True, expires_in=10), Permissions()]

    def authorize(_user_id: str, _channel: Channel) -> Permissions:
        return grants.pop(0)

    async with RealtimeSandbox(authorize=authorize) as sandbox:
        ear = await listen(await sandbox.client("ann"))
        await sandbox.pass_time(15)
        await sandbox.realtime.publish(ROOM, 1)
        await sandbox.pass_time(10)
        await sandbox.realtime.publish(ROOM, 2)
        await sandbox.pass_time()
        assert ear.heard == [("live", None), 1, ("denied", "denied")]


async def test_collections_may_publish_over_http() -> None:
    async with RealtimeSandbox() as sandbox:
        ann = await sandbox.client("ann")
        ear = await listen(ann)
        await ann.publish_via_http(ROOM, 1)
        await sandbox.pass_time()
        assert ear.heard == [("live", None), 1]


async def test_a_server_of_the_applications_own() -> None:
    def serve(preset: Any) -> Realtime:
        return Realtime(authorize=allow_everything, get_user=lambda _: None, preset=preset)

    async with RealtimeSandbox(serve=serve) as sandbox:
        client = sandbox.new_client("ann")
        client.connect()
        with pytest.raises(AuthenticationError, match="not signed in"):
            await client.connected()


async def test_a_task_that_is_left_fails_the_test() -> None:  # X9
    task = None
    with pytest.raises(AssertionError, match="forgotten"):
        async with RealtimeSandbox():
            task = asyncio.get_running_loop().create_task(asyncio.sleep(1e6), name="forgotten")
    assert task is not None
    task.cancel()


async def test_a_failure_names_the_seed() -> None:
    with pytest.raises(ValueError, match="a bug") as caught:
        async with RealtimeSandbox(seed=42):
            raise ValueError("a bug")
    assert "seed=42" in caught.value.__notes__[0]
