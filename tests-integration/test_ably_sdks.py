"""The emulator, seen by Ably's own SDKs: ably-js and ably-python, unmodified, each in JSON and in MessagePack."""

from __future__ import annotations

import asyncio
import subprocess
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from ably_js import AblyJs
from ably_python import AblyPython
from ably_sdk import Sdk, SdkClient, SdkError
from ably_server import KEY, Rest

from realtime_preset_ably.emulator import AblyError, Emulator, Limits, serve
from tanstack_realtime.testing import TcpProxy

pytestmark = pytest.mark.usefixtures("ably_js_installed")

EVERYTHING = {"capability": '{"*":["*"]}'}


@dataclass
class Side:
    """One SDK in one format, in front of a server.

    Attributes:
        port: of what its clients run through; None for Ably itself.
        direct: of the server; None for Ably itself.
        rest: the same server, asked with plain HTTP.
        room: a channel that nobody has used.
        key: of the application.
    """

    sdk: Sdk
    binary: bool
    port: int | None
    direct: int | None
    rest: Rest
    key: str = KEY
    room: str = field(default_factory=lambda: f"room:name=a%20b&run={uuid.uuid4().hex}")

    async def open(self, name: str, **options: Any) -> SdkClient:
        """Return a connected client; by default it holds a token with every right."""
        if "key" not in options:
            options.setdefault("auth", {"key": self.key, "params": {"clientId": name, **EVERYTHING}})
        options.setdefault("port", self.port)
        options.setdefault("binary", self.binary)
        client = await self.sdk.open(name, **options)
        await client.do("connected")
        return client

    async def publish(self, channel: str, data: Any) -> None:
        """Publish as the server of an application does."""
        status, _ = await self.rest("POST", f"/channels/{quote(channel, safe='')}/messages", {"data": data})
        assert status == 201


@dataclass
class Emulated(Side):
    """With the emulator, and a way there that can be cut."""

    emulator: Emulator = field(kw_only=True)
    proxy: TcpProxy = field(kw_only=True)


@pytest.fixture(params=["js", "python"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["json", "msgpack"])
def binary(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "msgpack")


@pytest.fixture
async def side(name: str, binary: bool) -> AsyncIterator[Emulated]:
    async with (
        serve(key=KEY) as emulator,
        TcpProxy(emulator.port) as proxy,
        Rest(emulator.port) as rest,
        AblyJs() if name == "js" else AblyPython() as sdk,
    ):
        yield Emulated(sdk, binary, proxy.port, emulator.port, rest, emulator=emulator, proxy=proxy)


# -- connections -------------------------------------------------------------------------------------------------------


async def test_it_connects_pings_and_closes(side: Side) -> None:
    client = await side.open("ann", key=side.key)
    assert (await client.do("state"))["state"] == "connected"
    assert await client.do("ping") >= 0
    await client.do("close")

    assert client.states()[-2:] == ["closing", "closed"]
    assert {"disconnected", "suspended", "failed"}.isdisjoint(client.states())


async def test_a_token_says_who_it_is(side: Side) -> None:
    client = await side.open("ann")

    assert (await client.do("connected"))["clientId"] == "ann"
    assert len(client.events("token")) == 1


async def test_a_wrong_key_ends_it(side: Side) -> None:
    with pytest.raises(SdkError) as caught:
        await side.open("ann", key=side.key[:-1])

    assert (caught.value.code, caught.value.status) == (40101, 401)


async def test_it_resumes_after_a_drop(side: Emulated) -> None:
    client = await side.open("ann")
    before = await client.do("state")
    await client.do("subscribe", channel=side.room)
    await side.publish(side.room, "first")
    await client.hears("message", data="first")
    side.proxy.cut()
    await client.hears("connection", state="disconnected")
    await side.publish(side.room, "missed")
    await client.hears("channel", channel=side.room, state="attached", resumed=True)
    await side.publish(side.room, "last")
    await client.hears("message", data="last")

    assert client.data(side.room) == ["first", "missed", "last"]
    assert (await client.do("state"))["id"] == before["id"]


async def test_it_learns_that_its_state_is_lost(side: Emulated) -> None:
    client = await side.open("ann")
    before = await client.do("state")
    await client.do("subscribe", channel=side.room)
    side.emulator.faults.forget_state()
    side.proxy.cut()
    await client.hears("channel", channel=side.room, state="attached", times=2, resumed=False)
    await side.publish(side.room, "last")
    await client.hears("message", data="last")

    assert (await client.do("state"))["id"] != before["id"]


async def test_a_message_sent_again_is_delivered_once(side: Emulated) -> None:
    """The acknowledgement is lost with the transport: the SDK sends the message again, with its old number."""
    client = await side.open("ann")
    reader = await side.open("bob", port=side.direct)
    for each in (client, reader):
        await each.do("subscribe", channel=side.room)
    side.emulator.faults.hold_acks()
    publishing = asyncio.create_task(client.do("publish", channel=side.room, data="once"))
    await reader.hears("message", data="once")
    side.proxy.cut()
    await client.hears("connection", state="disconnected")
    side.emulator.faults.release_acks()
    await publishing
    await side.publish(side.room, "last")
    for each in (client, reader):
        await each.hears("message", data="last")

        assert each.data(side.room) == ["once", "last"]


async def test_a_server_that_has_fallen_silent_is_given_up(name: str) -> None:
    """The socket stays open. The client learns how long a silence may last when it connects."""
    async with (
        serve(key=KEY, limits=Limits(max_idle=500)) as emulator,
        AblyJs() if name == "js" else AblyPython() as sdk,
    ):
        client = await sdk.open("ann", port=emulator.port, key=KEY)
        before = await client.do("connected")
        emulator.faults.freeze()
        await client.hears("connection", state="disconnected")
        await client.hears("connection", state="connected", times=2)

        assert (await client.do("connected"))["id"] == before["id"]


# -- tokens ------------------------------------------------------------------------------------------------------------


async def test_more_rights_do_not_cost_the_connection(side: Side) -> None:
    client = await side.open("ann", auth={"key": side.key, "params": {"clientId": "ann", "capability": '{"a":["*"]}'}})
    await client.do("subscribe", channel="a")
    with pytest.raises(SdkError) as caught:
        await client.do("attach", channel="b")
    before = await client.do("state")
    await client.do("authorize", params={"clientId": "ann", "capability": '{"a":["*"],"b":["*"]}'})
    await client.do("attach", channel="b")
    await side.publish("a", "heard")
    await client.hears("message", data="heard")

    assert (caught.value.code, caught.value.status) == (40160, 401)
    assert (await client.do("state"))["id"] == before["id"]
    assert "disconnected" not in client.states()


async def test_the_server_asks_for_another_token_in_time(side: Side) -> None:
    """It asks 30 seconds before the end, which is at once for a token of 31."""
    client = await side.open("ann", auth={"key": side.key, "params": {"clientId": "ann", "ttl": 31_000, **EVERYTHING}})
    before = await client.do("state")
    await client.hears("token", times=2)
    await client.do("ping")

    assert (await client.do("state"))["id"] == before["id"]
    assert "disconnected" not in client.states()


async def test_a_revoked_token_is_replaced(side: Side) -> None:
    client = await side.open("ann")
    status, _ = await side.rest(
        "POST", f"/keys/{side.key.partition(':')[0]}/revokeTokens", {"targets": ["clientId:ann"]}
    )
    assert status < 300
    dropped = await client.hears("connection", state="disconnected")
    await client.hears("token", times=2)
    await client.hears("connection", state="connected", times=2)

    assert dropped["reason"]["code"] == 40141


async def test_rights_are_held_to(side: Side) -> None:
    rights = '{"read":["subscribe"],"write":["publish"]}'
    client = await side.open("ann", auth={"key": side.key, "params": {"clientId": "ann", "capability": rights}})
    await client.do("subscribe", channel="read")
    refused: list[tuple[int | None, int | None]] = []
    forbidden: list[tuple[str, str, dict[str, Any]]] = [
        ("publish", "read", {"data": "forged"}),
        ("enter", "read", {"data": "forged"}),
        ("attach", "other", {}),
        ("history", "read", {}),
    ]
    for command, channel, more in forbidden:
        with pytest.raises(SdkError) as caught:
            await client.do(command, channel=channel, **more)
        refused.append((caught.value.code, caught.value.status))
    await client.do("publish", channel="write", data="accepted")
    await side.publish("read", "heard")
    await client.hears("message", data="heard")

    assert refused == [(40160, 401)] * 4
    assert client.data("read") == ["heard"]


# -- messages ----------------------------------------------------------------------------------------------------------


async def test_it_publishes_and_reads_history(side: Side) -> None:
    client = await side.open("ann")
    await client.do("subscribe", channel=side.room)
    await client.do("burst", channel=side.room, count=30)
    await client.hears("message", times=30)
    newest = await client.do("history", channel=side.room, limit=10)
    everything = await client.do("history", channel=side.room, direction="forwards")

    sent = [{"n": number} for number in range(30)]
    assert client.data(side.room) == sent
    assert ([message["data"] for message in newest["messages"]], newest["more"]) == (sent[:-11:-1], True)
    assert [message["data"] for message in everything["messages"]] == sent
    assert {message["clientId"] for message in everything["messages"]} == {"ann"}
    assert [message["id"] for message in everything["messages"]] == [said["id"] for said in client.events("message")]


KINDS: list[Any] = ["text", "\N{SNOWMAN} \u00fc", {"a": [1, None, {"b": True}]}, [1, 2], {"$bytes": "AAECAwT/"}]


async def test_data_means_the_same_in_every_format(side: Side) -> None:
    client = await side.open("ann")
    other = await side.open("bob", binary=not side.binary)
    for each in (client, other):
        await each.do("subscribe", channel=side.room)
    for each in (client, other):
        for data in KINDS:
            await each.do("publish", channel=side.room, name="kind", data=data)
    for each in (client, other):
        await each.hears("message", channel=side.room, times=2 * len(KINDS))
        page = await each.do("history", channel=side.room, direction="forwards")

        assert each.data(side.room) == KINDS * 2
        assert [message["data"] for message in page["messages"]] == KINDS * 2


async def test_without_echo_it_does_not_hear_itself(side: Side) -> None:
    client, other = await side.open("ann", echo=False), await side.open("bob")
    for each in (client, other):
        await each.do("subscribe", channel=side.room)
    await client.do("publish", channel=side.room, data="mine")
    await other.hears("message", data="mine")
    await side.publish(side.room, "the server's")
    await client.hears("message", data="the server's")

    assert client.data(side.room) == ["the server's"]


async def test_who_comes_late_can_rewind(side: Side) -> None:
    for number in range(5):
        await side.publish(side.room, str(number))
    client = await side.open("ann")
    await client.do("subscribe", channel=side.room, params={"rewind": "2", "unknown": "1"})
    attached = await client.do("attach", channel=side.room)
    await side.publish(side.room, "live")
    await client.hears("message", data="live")

    assert client.data(side.room) == ["3", "4", "live"]
    assert attached["params"] == {"rewind": "2"}


async def test_a_bad_name_is_refused(side: Side) -> None:
    client = await side.open("ann")
    codes: list[int | None] = []
    for name in (":a", "[odd]b", "a\nb"):
        with pytest.raises(SdkError) as caught:
            await client.do("attach", channel=name)
        codes.append(caught.value.code)

    assert codes == [40010, 40010, 40010]
    assert (await client.do("state"))["state"] == "connected"


async def test_what_the_server_does_to_a_channel_is_felt(side: Emulated) -> None:
    """It refuses a publish, ends an attachment, which the SDK renews at once, and ends one for good."""
    client = await side.open("ann")
    await client.do("subscribe", channel=side.room)
    side.emulator.faults.nack(count=1)
    with pytest.raises(SdkError) as caught:
        await client.do("publish", channel=side.room, data="refused")
    side.emulator.faults.detach(side.room)
    await client.hears("channel", channel=side.room, state="attached", times=2)
    await client.do("publish", channel=side.room, data="accepted")
    await client.hears("message", data="accepted")
    side.emulator.faults.fail_channel(side.room, AblyError("over", 40160))
    failed = await client.hears("channel", channel=side.room, state="failed")

    assert caught.value.code == 40000
    assert failed["reason"]["code"] == 40160
    assert client.data(side.room) == ["accepted"]
    assert (await client.do("state"))["state"] == "connected"


# -- presence ----------------------------------------------------------------------------------------------------------


def actions(client: SdkClient, who: str) -> list[tuple[str, Any]]:
    return [(said["action"], said["data"]) for said in client.events("presence", clientId=who)]


async def test_members_are_seen(side: Side) -> None:
    ann, bob = await side.open("ann"), await side.open("bob")
    await bob.do("watch", channel=side.room)
    await ann.do("enter", channel=side.room, data={"x": 1})
    await bob.hears("presence", action="enter", clientId="ann")
    await ann.do("update", channel=side.room, data={"x": 2})
    await bob.hears("presence", action="update", clientId="ann")
    late = await side.open("eve")
    found = await late.do("members", channel=side.room)
    await ann.do("leave", channel=side.room)
    await bob.hears("presence", action="leave", clientId="ann")

    assert [(member["clientId"], member["data"]) for member in found] == [("ann", {"x": 2})]
    assert actions(bob, "ann") == [("enter", {"x": 1}), ("update", {"x": 2}), ("leave", {"x": 2})]
    assert await late.do("members", channel=side.room) == []


async def test_a_full_room_comes_in_pages(side: Side) -> None:
    """More members than one page of the synchronisation has."""
    names = [f"member-{number:03}" for number in range(120)]
    host = await side.open("host", key=side.key)
    await host.do("crowd", channel=side.room, names=names)
    late = await side.open("late")
    found = await late.do("members", channel=side.room)

    assert sorted(member["clientId"] for member in found) == names


async def test_presence_survives_a_drop(side: Emulated) -> None:
    ann, bob = await side.open("ann"), await side.open("bob", port=side.direct)
    await bob.do("watch", channel=side.room)
    await ann.do("enter", channel=side.room, data={"x": 1})
    await bob.hears("presence", action="enter", clientId="ann")
    side.proxy.cut()
    await ann.hears("channel", channel=side.room, state="attached", times=2)
    await ann.do("update", channel=side.room, data={"x": 2})
    await bob.hears("presence", action="update", clientId="ann")

    assert [member["clientId"] for member in await bob.do("members", channel=side.room)] == ["ann"]
    assert ("leave", {"x": 1}) not in actions(bob, "ann")


async def test_presence_is_entered_again_after_lost_state(side: Emulated) -> None:
    ann, bob = await side.open("ann"), await side.open("bob", port=side.direct)
    await ann.do("enter", channel=side.room, data={"x": 1})
    side.emulator.faults.forget_state()
    side.proxy.cut()
    await ann.hears("channel", channel=side.room, state="attached", times=2)
    await bob.do("watch", channel=side.room)
    await bob.hears("presence", clientId="ann")

    assert [member["data"] for member in await bob.do("members", channel=side.room)] == [{"x": 1}]


async def test_who_vanishes_leaves_after_a_while(side: Emulated) -> None:
    bob = await side.open("bob")
    await bob.do("watch", channel=side.room)
    async with TcpProxy(side.emulator.port) as way:
        ann = await side.open("ann", port=way.port, transport={"remainPresentFor": "300"})
        await ann.do("enter", channel=side.room, data={"x": 1})
        await bob.hears("presence", action="enter", clientId="ann")
    await bob.hears("presence", action="leave", clientId="ann")

    assert await bob.do("members", channel=side.room) == []


# -- TLS ---------------------------------------------------------------------------------------------------------------


async def test_a_key_travels_over_tls(name: str, binary: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it ably-python gives no key to REST, and Ably takes none."""
    certificate, private = tmp_path / "certificate.pem", tmp_path / "private.pem"
    made = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    files = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(private), "-out", str(certificate)]
    await asyncio.to_thread(subprocess.run, ["openssl", "req", *made, *files], check=True, capture_output=True)
    for variable in ("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"):
        monkeypatch.setenv(variable, str(certificate))
    async with (
        serve(key=KEY, tls=(certificate, private)) as emulator,
        AblyJs() if name == "js" else AblyPython() as sdk,
    ):
        client = await sdk.open("ann", port=emulator.port, tls=True, key=KEY, binary=binary)
        await client.do("connected")
        await client.do("subscribe", channel="room")
        await client.do("publish", channel="room", data={"n": 1})
        await client.hears("message", data={"n": 1})
        page = await client.do("history", channel="room")

    assert [message["data"] for message in page["messages"]] == [{"n": 1}]


# -- what only ably-js can ---------------------------------------------------------------------------------------------


async def test_another_process_recovers_a_connection(binary: bool) -> None:
    """A page was closed without a word; the next one has its recovery key."""
    options: dict[str, Any] = {"auth": {"key": KEY, "params": {"clientId": "ann", **EVERYTHING}}, "binary": binary}
    async with serve(key=KEY) as emulator, Rest(emulator.port) as rest, TcpProxy(emulator.port) as way:
        async with AblyJs() as js:
            first = await js.open("first", port=way.port, **options)
            await first.do("subscribe", channel="room")
            await rest("POST", "/channels/room/messages", {"data": "seen"})
            await first.hears("message", data="seen")
            before = await first.do("connected")
            recovery = await first.do("recoveryKey")
            way.half_open()
        await rest("POST", "/channels/room/messages", {"data": "missed"})
        async with AblyJs() as js:
            second = await js.open("second", port=way.port, recover=recovery, **options)
            await second.do("subscribe", channel="room")
            await second.hears("message", data="missed")

            assert (await second.do("connected"))["id"] == before["id"]
            assert second.data("room") == ["missed"]


async def test_history_until_the_attachment(binary: bool) -> None:
    async with serve(key=KEY) as emulator, Rest(emulator.port) as rest, AblyJs() as js:
        await rest("POST", "/channels/room/messages", [{"data": "1"}, {"data": "2"}])
        client = await js.open("ann", port=emulator.port, auth={"key": KEY}, binary=binary)
        await client.do("subscribe", channel="room")
        await rest("POST", "/channels/room/messages", {"data": "3"})
        await client.hears("message", data="3")
        page = await client.do("history", channel="room", untilAttach=True)

    assert [message["data"] for message in page["messages"]] == ["2", "1"]
