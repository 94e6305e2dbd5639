"""Attaching, resuming a channel, rewinding, modes, parameters."""

from __future__ import annotations

from typing import Any

import pytest

from realtime_preset_ably.emulator._channels import Channels
from realtime_preset_ably.emulator._simulated import Socket, World
from realtime_preset_ably.emulator._wire import Action, Flag

ENTER = 2
MODES = Flag.PRESENCE | Flag.PUBLISH | Flag.SUBSCRIBE | Flag.PRESENCE_SUBSCRIBE


@pytest.fixture
def world() -> World:
    return World()


def flags(frame: dict[str, Any]) -> Flag:
    assert frame["action"] == Action.ATTACHED, frame
    return Flag(frame["flags"])


def position(socket: Socket, channel: str = "c") -> str:
    """The serial that a client of the channel would show."""
    frames = [frame for frame in socket.heard if frame.get("channel") == channel and "channelSerial" in frame]
    serial: str = [frame for frame in frames if frame["action"] != Action.SYNC][-1]["channelSerial"]
    return serial


def test_an_attach_is_answered_with_all_modes_and_a_serial(world: World) -> None:
    (attached,) = world.connect().attach()

    assert attached["channel"] == "c"
    assert attached["channelSerial"]
    assert flags(attached) == MODES
    assert "params" not in attached


def test_attaching_again_is_answered_again(world: World) -> None:
    socket = world.connect()
    socket.attach()

    (attached,) = socket.attach(flags=Flag.ATTACH_RESUME)
    assert flags(attached) == MODES | Flag.RESUMED
    (attached,) = socket.attach()
    assert flags(attached) == MODES


def test_messages_reach_those_who_are_attached(world: World) -> None:
    publisher, reader, other = (world.connect() for _ in range(3))
    reader.attach()
    other.attach("d")
    publisher.publish(0, "1", "2")

    assert reader.data() == ["1", "2"]
    assert other.data() == []
    assert publisher.data() == []


def test_publishers_hear_themselves_unless_they_do_not_want_to(world: World) -> None:
    loud, quiet, partly = world.connect(), world.connect(echo="false"), world.connect()
    loud.attach()
    quiet.attach()
    partly.attach(params={"echo": "false"})
    for number, socket in enumerate((loud, quiet, partly)):
        socket.publish(0, str(number))

    assert (loud.data(), quiet.data(), partly.data()) == (["0", "1", "2"], ["0", "2"], ["0", "1"])


def test_nothing_comes_on_a_resumed_socket_before_its_channel_is_attached_again(world: World) -> None:
    publisher, reader = world.connect(), world.connect()
    reader.attach()
    publisher.publish(0, "1")
    reader.lose()
    publisher.publish(1, "2")
    again = world.resume(reader)
    publisher.publish(2, "3")
    assert again.data() == []

    attached = again.attach(channelSerial=position(reader))[0]
    assert flags(attached) == MODES | Flag.RESUMED | Flag.HAS_BACKLOG
    assert attached["channelSerial"] == position(reader)
    publisher.publish(3, "4")
    assert again.data() == ["2", "3", "4"]


def test_a_channel_is_resumed_on_a_new_connection_too(world: World) -> None:
    publisher, reader = world.connect(), world.connect()
    reader.attach()
    publisher.publish(0, "1")
    other = world.connect()

    assert Flag.RESUMED in flags(other.attach(channelSerial=position(reader))[0])
    publisher.publish(1, "2")
    assert other.data() == ["2"]


def test_attaching_again_on_a_live_socket_repeats_nothing(world: World) -> None:
    """The client's serial is older than what is on its way to it."""
    publisher, reader = world.connect(), world.connect()
    before = reader.attach()[0]["channelSerial"]
    publisher.publish(0, "1")

    (attached,) = reader.attach(channelSerial=before)
    assert flags(attached) == MODES | Flag.RESUMED
    assert attached["channelSerial"] == position(reader)
    assert reader.data() == ["1"]


def test_a_reader_that_hears_nothing_keeps_its_place_on_a_live_socket(world: World) -> None:
    publisher, deaf = world.connect(), world.connect()
    before = deaf.attach(flags=Flag.PUBLISH)[0]["channelSerial"]
    publisher.publish(0, "1")
    world.advance(300)

    assert Flag.RESUMED in flags(deaf.attach(channelSerial=before)[0])


@pytest.mark.parametrize(("away", "resumed"), [(119.999, True), (120, False)])
def test_a_channel_is_resumed_within_two_minutes(world: World, away: float, resumed: bool) -> None:
    publisher, reader = world.connect(), world.connect()
    reader.attach()
    publisher.publish(0, "1")
    world.advance(away)
    attached, *replayed = world.connect().attach(channelSerial=reader.heard[1]["channelSerial"])

    assert (Flag.RESUMED in flags(attached)) is resumed
    assert len(replayed) == resumed
    if not resumed:
        assert attached["error"]["code"] == 90003
        assert attached["channelSerial"] == position(reader)


def test_a_serial_of_another_time_is_a_gap(world: World) -> None:
    reader = world.connect()
    reader.attach()
    world.realtime.faults.forget_messages()

    attached = world.connect().attach(channelSerial=position(reader))[0]
    assert flags(attached) == MODES
    assert attached["error"]["code"] == 90005


def test_presence_that_was_missed_is_replayed_and_synced(world: World) -> None:
    member, reader = world.connect(clientId="m"), world.connect()
    reader.attach()
    member.attach()
    member.present(0, ENTER)
    start = reader.heard[1]["channelSerial"]
    attached, replayed, sync = world.connect().attach(channelSerial=start)

    assert Flag.HAS_PRESENCE in flags(attached)
    assert replayed["action"] == Action.PRESENCE
    assert [(event["action"], event["clientId"]) for event in sync["presence"]] == [(1, "m")]


def test_many_members_come_in_pages_the_last_with_an_empty_cursor() -> None:
    world = World(members=250, sync_page=100)
    member = world.connect()
    member.attach()
    events = [{"action": ENTER, "clientId": f"u{n}"} for n in range(201)]
    member.send(Action.PRESENCE, channel="c", msgSerial=0, presence=events)
    attached, *pages = world.connect().attach()

    assert flags(attached) == MODES | Flag.HAS_PRESENCE
    sequences, cursors = zip(*(page["channelSerial"].split(":") for page in pages), strict=True)
    assert len(set(sequences)) == 1
    assert [bool(cursor) for cursor in cursors] == [True, True, False]
    assert [event["clientId"] for page in pages for event in page["presence"]] == [f"u{n}" for n in range(201)]
    assert {event["id"].split(":")[1] for page in pages for event in page["presence"]} == {"0"}


def test_rewind_shows_what_was_before_on_the_first_attach_only(world: World) -> None:
    publisher = world.connect()
    for number in range(4):
        publisher.publish(number, str(number))
    reader = world.connect()
    attached = reader.attach(params={"rewind": "2", "colour": "red"})[0]

    assert attached["params"] == {"rewind": "2"}
    assert flags(attached) == MODES | Flag.HAS_BACKLOG
    assert reader.data() == ["2", "3"]
    reader.attach(params={"rewind": "2"}, channelSerial=position(reader))
    reader.attach(params={"rewind": "2"}, flags=Flag.ATTACH_RESUME)
    assert reader.data() == ["2", "3"]
    resumed = world.connect()
    assert flags(resumed.attach(params={"rewind": "2"}, flags=Flag.ATTACH_RESUME)[0]) == MODES
    assert resumed.data() == []


def test_rewind_by_time_and_through_the_middle_of_a_publish(world: World) -> None:
    publisher = world.connect()
    publisher.publish(0, "0")
    world.advance(15)
    publisher.publish(1, "1", "2", "3")
    by_time, by_number = world.connect(), world.connect()
    by_time.attach(params={"rewind": "15s"})
    by_number.attach(params={"rewind": "2"})

    assert by_time.data() == ["1", "2", "3"]
    assert by_number.data() == ["2", "3"]


def test_a_qualified_channel_keeps_its_name_in_every_answer(world: World) -> None:
    publisher, reader = world.connect(), world.connect()
    publisher.publish(0, "1")
    reader.attach("[?rewind=1]c")
    publisher.publish(1, "2")

    assert reader.data() == ["1", "2"]
    assert {frame["channel"] for frame in reader.heard[1:]} == {"[?rewind=1]c"}
    assert reader.send(Action.DETACH, channel="[?rewind=1]c")[0]["channel"] == "[?rewind=1]c"


@pytest.mark.parametrize(
    ("channel", "params", "code"),
    [("", {}, 40010), (":x", {}, 40010), ("[meta]x", {}, 40010), ("c", {"rewind": "soon"}, 40003)],
)
def test_what_cannot_be_attached_fails_alone(world: World, channel: str, params: dict[str, str], code: int) -> None:
    socket = world.connect()
    (frame,) = socket.attach(channel, params=params)

    assert (frame["action"], frame["channel"], frame["error"]["code"]) == (Action.ERROR, channel, code)
    assert socket.outbox.is_open


def test_attaching_needs_an_operation_that_gives_a_mode(world: World) -> None:
    socket = world.connect(accessToken=world.token({"c": ["history"], "d:*": ["subscribe"]}))

    for channel in ("c", "d", "e"):
        (frame,) = socket.attach(channel)
        assert (frame["action"], frame["error"]["code"], frame["error"]["statusCode"]) == (Action.ERROR, 40160, 401)
    assert flags(socket.attach("d:e")[0]) == Flag.SUBSCRIBE | Flag.PRESENCE_SUBSCRIBE
    assert world.realtime.app("app").names() == ["d:e"]


@pytest.mark.parametrize(
    ("operations", "asked", "granted"),
    [
        (["publish"], 0, Flag.PUBLISH),
        (["presence"], 0, Flag.PRESENCE),
        (["subscribe", "publish"], Flag.SUBSCRIBE, Flag.SUBSCRIBE),
        (["*"], Flag.PUBLISH | Flag.PRESENCE, Flag.PUBLISH | Flag.PRESENCE),
    ],
)
def test_modes_are_what_is_asked_for_and_allowed(
    world: World, operations: list[str], asked: int, granted: Flag
) -> None:
    socket = world.connect(accessToken=world.token({"c": operations}))

    assert flags(socket.attach(flags=asked)[0]) == granted


def test_asking_only_for_what_is_denied_fails(world: World) -> None:
    socket = world.connect(accessToken=world.token({"c": ["subscribe"]}))

    assert socket.attach(flags=Flag.PUBLISH)[0]["error"]["code"] == 40160


def test_who_may_only_publish_hears_nothing(world: World) -> None:
    socket = world.connect(accessToken=world.token({"c": ["publish"]}))
    socket.attach()
    socket.publish(0, "1")

    assert socket.data() == []


def test_channels_of_a_connection_are_bounded() -> None:
    socket = World(channels_per_connection=2).connect()
    socket.attach("a")
    socket.attach("b")

    assert socket.attach("c")[0]["error"]["code"] == 90010
    assert flags(socket.attach("a")[0])
    socket.send(Action.DETACH, channel="b")
    assert flags(socket.attach("c")[0])


def test_channels_of_an_app_are_bounded_and_idle_ones_make_room() -> None:
    world = World(channels=2)
    socket = world.connect()
    socket.attach("a")
    socket.publish(0, "1", channel="b")
    assert socket.attach("c")[0]["error"]["code"] == 42910

    world.advance(120)
    assert flags(socket.attach("c")[0])
    assert world.realtime.app("app").names() == ["a", "c"]


def test_a_full_app_looks_for_idle_channels_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    world, sweeps = World(channels=1), list[int]()
    socket = world.connect()
    socket.attach("a")
    sweep = Channels.sweep

    def counted(channels: Channels) -> None:
        sweeps.append(world.clock.now())
        sweep(channels)

    monkeypatch.setattr(Channels, "sweep", counted)
    for number in range(10):
        assert socket.publish(number, "1", channel=f"b{number}")[0]["error"]["code"] == 42910
    assert len(sweeps) == 1

    socket.send(Action.DETACH, channel="a")
    world.advance(1)
    assert socket.publish(10, "1", channel="b")[0]["action"] == Action.ACK


def test_a_narrowed_token_ends_what_it_no_longer_covers(world: World) -> None:
    socket = world.connect(accessToken=world.token({"a": ["*"], "b": ["*"], "c": ["*"]}, client_id="u"))
    for number, channel in enumerate("abc"):
        socket.attach(channel)
        socket.present(number, ENTER, channel=channel)
    socket.heard.clear()
    frames = socket.send(Action.AUTH, auth={"accessToken": world.token({"a": ["*"], "b": ["subscribe"]}, "u")})
    channels = world.realtime.app("app")

    error, *rest = (frame for frame in frames if frame["action"] == Action.ERROR)
    assert (rest, error["channel"], error["error"]["code"]) == ([], "c", 40160)
    attached, *rest = (frame for frame in frames if frame["action"] == Action.ATTACHED)
    assert (rest, attached["channel"]) == ([], "b")
    assert flags(attached) - Flag.HAS_PRESENCE == Flag.SUBSCRIBE | Flag.PRESENCE_SUBSCRIBE | Flag.RESUMED
    assert frames[-1]["action"] == Action.CONNECTED
    assert [len(channels.channel(name).members) for name in "abc"] == [1, 0, 0]
    world.connect().publish(0, "x", channel="c")
    assert socket.data() == []


def test_a_wider_token_widens_the_modes(world: World) -> None:
    socket = world.connect(accessToken=world.token({"c": ["subscribe"]}))
    socket.attach()
    attached, greeting = socket.send(Action.AUTH, auth={"accessToken": world.token()})

    assert flags(attached) == MODES | Flag.RESUMED
    assert greeting["action"] == Action.CONNECTED
    assert socket.publish(0, "1")[-1]["action"] == Action.ACK


def test_a_resume_with_a_narrower_token_ends_channels_too(world: World) -> None:
    first = world.connect(accessToken=world.token({"a": ["*"]}, client_id="u"))
    first.attach("a")
    first.present(0, ENTER, channel="a")
    again = world.resume(first, accessToken=world.token({"b": ["*"]}, client_id="u"))

    assert [(frame["channel"], frame["error"]["code"]) for frame in again.of(Action.ERROR)] == [("a", 40160)]
    assert len(world.realtime.app("app").channel("a").members) == 0
