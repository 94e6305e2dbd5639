"""Publishing and presence over a connection: answers, repetition, permission, who leaves when."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from realtime_preset_ably.emulator._simulated import Socket, World
from realtime_preset_ably.emulator._wire import Action, Flag

ENTER, LEAVE, UPDATE = 2, 3, 4


@pytest.fixture
def world() -> World:
    return World()


def refusal(frames: list[dict[str, Any]]) -> tuple[int, int]:
    (frame,) = frames
    assert frame["action"] == Action.NACK
    return frame["msgSerial"], frame["error"]["code"]


def member(world: World, name: str, **query: str) -> Socket:
    """A client that entered the channel ``c``."""
    socket = world.connect(clientId=name, **query)
    socket.attach()
    socket.present(0, ENTER, data=name)
    return socket


def test_a_publish_is_acknowledged_with_its_serials(world: World) -> None:
    reader, publisher = world.connect(), world.connect()
    reader.attach()
    (ack,) = publisher.publish(0, "1", "2")
    (message,) = reader.of(Action.MESSAGE)

    assert (ack["action"], ack["msgSerial"], ack["count"]) == (Action.ACK, 0, 1)
    assert ack["res"] == [{"serials": [item["serial"] for item in message["messages"]]}]
    assert message["id"] == f"{publisher.heard[0]['connectionId']}:0"


def test_what_is_sent_again_is_answered_again_and_published_once(world: World) -> None:
    reader, publisher = world.connect(), world.connect()
    reader.attach()
    first = publisher.publish(7, "1")
    publisher.lose()

    assert world.resume(publisher).publish(7, "1") == first
    assert reader.data() == ["1"]


def test_a_refused_publish_stays_refused_when_it_is_sent_again(world: World) -> None:
    token = world.token({"c": ["subscribe"]})
    publisher = world.connect(accessToken=token)
    first = publisher.publish(0, "1")
    publisher.send(Action.AUTH, auth={"accessToken": world.token()})

    assert refusal(first) == (0, 40160)
    assert publisher.publish(0, "1") == first
    assert publisher.publish(1, "1")[0]["action"] == Action.ACK


def test_numbers_belong_to_their_connection(world: World) -> None:
    reader, first, second = (world.connect() for _ in range(3))
    reader.attach()
    first.publish(0, "1")
    second.publish(0, "2")

    assert reader.data() == ["1", "2"]


def test_a_number_with_other_content_is_another_publish(world: World) -> None:
    """ably-python counts from 0 again after a resume that failed, on the connection where it repeated old numbers."""
    reader, publisher = world.connect(), world.connect()
    reader.attach()
    for number, data in (0, "old 0"), (1, "old 1"), (0, "new 0"), (1, "new 1"), (1, "new 1"):
        (ack,) = publisher.publish(number, data)
        assert (ack["action"], ack["msgSerial"]) == (Action.ACK, number)

    assert reader.data() == ["old 0", "old 1", "new 0", "new 1"]


def test_who_counts_anew_repeats_nothing_though_the_content_is_the_same(world: World) -> None:
    reader, publisher = world.connect(), world.connect()
    reader.attach()
    for number in (5, 6, 0, 1, 1, 5):
        publisher.publish(number, "ping")

    assert reader.data() == ["ping"] * 5


def test_a_number_is_known_by_its_channel_too(world: World) -> None:
    publisher = world.connect()
    publisher.publish(0, "x", channel="a")
    publisher.publish(0, "x", channel="b")

    assert [len(list(world.realtime.app("app").channel(name).log)) for name in "ab"] == [1, 1]


def test_a_refused_publish_is_not_kept(world: World) -> None:
    """The memory of answers holds answers, not what was asked."""
    publisher = world.connect(accessToken=world.token({"other": ["subscribe"]}))
    tracemalloc.start()
    try:
        for number in range(100):
            publisher.publish(number, "x" * 50_000)
        world.realtime.faults.nack()
        for number in range(100, 200):
            publisher.publish(number, "x" * 50_000)
        assert tracemalloc.get_traced_memory()[0] < 2_000_000
    finally:
        tracemalloc.stop()


def test_how_many_answers_are_remembered_is_bounded() -> None:
    world = World(acknowledged=2)
    reader, publisher = world.connect(), world.connect()
    reader.attach()
    for number in (0, 1, 2, 1, 0):
        publisher.publish(number, str(number))

    assert reader.data() == ["0", "1", "2", "0"]


@pytest.mark.parametrize("action", [Action.MESSAGE, Action.PRESENCE])
def test_a_publish_without_number_or_channel_disconnects(world: World, action: Action) -> None:
    assert world.connect().send(action, channel="c")[0]["action"] == Action.DISCONNECTED
    assert world.connect().send(action, msgSerial=0)[0]["action"] == Action.DISCONNECTED


@pytest.mark.parametrize("action", [Action.ANNOTATION, Action.OBJECT])
def test_what_this_server_does_not_have_is_refused_and_harms_nothing(world: World, action: Action) -> None:
    socket = world.connect()

    assert refusal(socket.send(action, channel="c", msgSerial=0)) == (0, 40000)
    assert socket.publish(1, "1")[0]["action"] == Action.ACK


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"messages": []}, 40000),
        ({}, 40000),
        ({"messages": ["x"]}, 40000),
        ({"messages": [{"data": 1}]}, 40013),
        ({"messages": [{"data": "x" * 65_537}]}, 40009),
        ({"messages": [{"data": "x", "clientId": "you"}]}, 40012),
        ({"messages": [{"data": "x"}], "channel": "[meta]x"}, 40010),
        ({"messages": [{"data": "x", "id": "i" * 1025}]}, 40031),
        ({"messages": [{"data": "x", "encoding": "e" * 257}]}, 40000),
        ({"messages": [{"data": "x", "extras": {"n": 1 << 70}}]}, 40000),
    ],
)
def test_a_publish_that_cannot_be_is_refused_alone(world: World, fields: dict[str, Any], code: int) -> None:
    socket = world.connect(clientId="me")

    assert refusal(socket.send(Action.MESSAGE, **{"channel": "c", "msgSerial": 0, **fields})) == (0, code)
    assert socket.outbox.is_open


def test_the_author_is_stamped(world: World) -> None:
    reader, known, unknown = world.connect(), world.connect(clientId="me"), world.connect()
    reader.attach()
    known.publish(0, "1")
    known.publish(1, "2", clientId="me")
    unknown.publish(0, "3")
    unknown.publish(1, "4", clientId="any")
    authors = [message.get("clientId") for frame in reader.of(Action.MESSAGE) for message in frame["messages"]]

    assert authors == ["me", "me", None, "any"]


def test_an_anonymous_token_claims_to_be_nobody(world: World) -> None:
    socket = world.connect(accessToken=world.token())

    assert refusal(socket.publish(0, "1", clientId="me")) == (0, 40012)


def test_publishing_needs_the_operation_and_the_mode(world: World) -> None:
    reader = world.connect()
    reader.attach()
    denied = world.connect(accessToken=world.token({"c": ["subscribe", "presence"]}))
    denied.attach()
    modeless = world.connect()
    modeless.attach(flags=Flag.SUBSCRIBE)

    assert refusal(denied.publish(0, "1")) == (0, 40160)
    assert refusal(modeless.publish(0, "1")) == (0, 40165)
    assert reader.data() == []


def test_ids_of_messages_are_kept_and_recognised(world: World) -> None:
    reader, first, second = (world.connect() for _ in range(3))
    reader.attach()
    ack = first.publish(0, "1", id="mine")
    again = second.publish(0, "1", id="mine")

    assert ack[0]["res"] == again[0]["res"]
    assert [message["id"] for frame in reader.of(Action.MESSAGE) for message in frame["messages"]] == ["mine"]


def test_members_come_change_and_go(world: World) -> None:
    reader = world.connect()
    reader.attach()
    socket = member(world, "m")
    (ack,) = (frame for frame in socket.present(1, UPDATE, data="2") if frame["action"] == Action.ACK)
    socket.present(2, LEAVE)

    assert (ack["msgSerial"], ack["count"]) == (1, 1)
    assert reader.presence() == [(ENTER, "m"), (UPDATE, "m"), (LEAVE, "m")]
    event = reader.of(Action.PRESENCE)[1]["presence"][0]
    assert event["id"] == f"{socket.heard[0]['connectionId']}:1:0"
    assert (event["connectionId"], event["data"]) == (socket.heard[0]["connectionId"], "2")
    assert "channelSerial" in reader.of(Action.PRESENCE)[0]


def test_presence_needs_operation_mode_identity_and_an_attachment(world: World) -> None:
    denied = world.connect(accessToken=world.token({"c": ["subscribe", "publish"]}, "u"))
    denied.attach()
    modeless = world.connect(clientId="m")
    modeless.attach(flags=Flag.SUBSCRIBE)
    nobody = world.connect()
    nobody.attach()
    absent = world.connect(clientId="a")

    assert refusal(denied.present(0, ENTER)) == (0, 40160)
    assert refusal(modeless.present(0, ENTER)) == (0, 40165)
    assert refusal(nobody.present(0, ENTER)) == (0, 91000)
    assert refusal(absent.present(0, ENTER)) == (0, 91001)
    assert refusal(member(world, "m").present(1, ENTER, clientId="you")) == (1, 40012)
    assert nobody.present(1, ENTER, clientId="any")[-1]["action"] == Action.ACK


def test_who_may_not_hear_others_hears_itself(world: World) -> None:
    shy = world.connect(accessToken=world.token({"c": ["presence"]}, "shy"))
    shy.attach()
    member(world, "m")
    shy.present(0, ENTER)

    assert shy.presence() == [(ENTER, "shy")]
    assert Flag.HAS_PRESENCE not in Flag(shy.attach()[0]["flags"])


def test_members_leave_at_once_by_close_and_by_detach(world: World) -> None:
    reader = world.connect()
    reader.attach()
    member(world, "closes").send(Action.CLOSE)
    detached = member(world, "detaches").send(Action.DETACH, channel="c")

    assert reader.presence() == [(ENTER, "closes"), (LEAVE, "closes"), (ENTER, "detaches"), (LEAVE, "detaches")]
    assert detached == [{"action": Action.DETACHED, "channel": "c"}]


def test_a_detached_reader_hears_nothing_more(world: World) -> None:
    reader = world.connect()
    reader.attach()
    reader.send(Action.DETACH, channel="c")
    world.connect().publish(0, "1")

    assert reader.data() == []
    assert reader.send(Action.DETACH, channel="c") == [{"action": Action.DETACHED, "channel": "c"}]


@pytest.mark.parametrize(("query", "seconds"), [({}, 15), ({"remainPresentFor": "1000"}, 1)])
def test_members_of_a_lost_socket_leave_after_a_while(world: World, query: dict[str, str], seconds: float) -> None:
    reader = world.connect()
    reader.attach()
    lost = member(world, "m", **query)
    lost.lose()
    world.advance(seconds - 0.001)
    assert reader.presence() == [(ENTER, "m")]
    world.advance(0.001)

    left = reader.of(Action.PRESENCE)[-1]["presence"][0]
    assert (left["action"], left["data"]) == (LEAVE, "m")
    assert left["connectionId"] == lost.heard[0]["connectionId"]
    assert not left["id"].startswith(left["connectionId"])


def test_members_of_a_resumed_socket_stay(world: World) -> None:
    reader = world.connect()
    reader.attach()
    lost = member(world, "m")
    entered = lost.of(Action.PRESENCE)[0]["presence"][0]["id"]
    lost.lose()
    world.advance(14)
    again = world.resume(lost, clientId="m")
    # Whatever was not answered is repeated before the channel is attached again.
    assert again.present(1, ENTER, id=entered)[0]["action"] == Action.ACK
    again.attach()
    again.present(2, ENTER, id=entered)
    world.advance(60)

    assert reader.presence() == [(ENTER, "m")]


def test_the_members_are_sent_again_when_a_client_asks(world: World) -> None:
    socket = member(world, "m")
    (sync,) = socket.send(Action.SYNC, channel="c")

    assert [(event["action"], event["clientId"]) for event in sync["presence"]] == [(1, "m")]
    assert world.connect().send(Action.SYNC, channel="c") == []


def test_a_full_channel_takes_no_more_members() -> None:
    world = World(members=1)
    member(world, "a")
    socket = world.connect(clientId="b")
    socket.attach()

    assert refusal(socket.present(0, ENTER)) == (0, 91003)


def test_what_members_hold_is_bounded_over_all_channels() -> None:
    world = World(members_bytes_in_all=3_000)
    socket = world.connect(clientId="m")
    for number, channel in enumerate("abc"):
        socket.attach(channel)
        socket.present(number, ENTER, channel=channel, data="x" * 900)
    assert refusal(socket.present(3, UPDATE, channel="a", data="x" * 2_000)) == (3, 42910)
    assert [member["data"] for member in world.realtime.app("app").channel("a").members] == ["x" * 900]

    # What is taken back can be given again: by an update, by leaving, by being lost.
    socket.present(4, UPDATE, channel="a", data="x")
    assert socket.present(5, UPDATE, channel="b", data="x" * 1_700)[-1]["action"] == Action.ACK
    socket.present(6, LEAVE, channel="b")
    assert socket.present(7, UPDATE, channel="a", data="x" * 1_700)[-1]["action"] == Action.ACK
    socket.send(Action.CLOSE)
    again = world.connect(clientId="m")
    again.attach("a")
    assert again.present(0, ENTER, channel="a", data="x" * 2_900)[-1]["action"] == Action.ACK
