"""A channel: publishing, idempotent ids, presence, what readers hear."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from realtime_preset_ably.emulator._channel import Channel
from realtime_preset_ably.emulator._errors import AblyError
from realtime_preset_ably.emulator._limits import Limits
from realtime_preset_ably.emulator._log import Budget, Entry
from realtime_preset_ably.emulator._messages import check_messages, check_presence
from realtime_preset_ably.emulator._wire import Action, Flag, Message


class Ear:
    """A reader that keeps what it hears."""

    def __init__(self, modes: Flag = Flag.SUBSCRIBE) -> None:
        self.modes = modes
        self.heard: list[Entry] = []

    def deliver(self, entry: Entry) -> None:
        self.heard.append(entry)

    def presence(self) -> list[tuple[str, str, Any]]:
        return [
            (event["action"].name, event["clientId"], event.get("data"))
            for entry in self.heard
            for event in entry.frame.fields["presence"]
        ]


def new_channel(**limits: int) -> tuple[Channel, Ear]:
    channel, ear = Channel("c", Limits(**limits), Budget(1_000_000), Budget(1_000_000)), Ear()
    channel.readers.add(ear)
    return channel, ear


def messages(*found: dict[str, Any]) -> list[Message]:
    return check_messages(found, lambda claimed: claimed, 65_536)


def presence(*found: dict[str, Any]) -> list[Message]:
    return check_presence(found, lambda claimed: claimed or "me", 65_536)


ENTER, LEAVE, UPDATE = 2, 3, 4


def test_what_is_published_reaches_readers_with_ids_serials_and_time() -> None:
    channel, ear = new_channel()
    published = channel.publish(
        messages({"name": "a", "data": "1"}, {"data": b"2", "clientId": "x"}), 7, "conn", "conn:3"
    )
    frame = ear.heard[0].frame.fields
    first, second = frame["messages"]

    assert (frame["action"], frame["id"], frame["channel"], frame["connectionId"]) == (15, "conn:3", "c", "conn")
    assert frame["channelSerial"] == channel.log.head
    assert (first["id"], second["id"]) == ("conn:3:0", "conn:3:1")
    assert [first["serial"], second["serial"]] == list(published.serials)
    assert (first["timestamp"], first["connectionId"], first["name"], first["action"]) == (7, "conn", "a", 0)
    assert "clientId" not in first
    assert (second["clientId"], second["data"]) == ("x", b"2")


def test_a_repeated_id_gives_the_first_answer_and_delivers_nothing() -> None:
    channel, ear = new_channel()
    batch = [{"id": "k:0", "data": "1"}, {"id": "k:1", "data": "2"}]
    first = channel.publish(messages(*batch), 0, None, "r1")

    assert channel.publish(messages(*batch), 119_999, None, "r2") == first
    assert channel.publish(messages({"id": "k:0", "data": "other"}), 119_999, None, "r3") == first
    assert len(ear.heard) == 1
    assert channel.publish(messages(*batch), 120_000, None, "r4") != first
    assert len(ear.heard) == 2


def test_how_many_ids_are_remembered_is_bounded() -> None:
    channel, ear = new_channel(acknowledged=2)
    for name in "abca":
        channel.publish(messages({"id": name}), 0, None, "r")

    assert len(ear.heard) == 4


@pytest.mark.parametrize("ids", [["a:0", "a:2"], ["a:0", "b:1"], ["a:0", None], [None, "a:1"], ["0", "1"]])
def test_ids_that_do_not_belong_together_are_refused(ids: Sequence[str | None]) -> None:
    with pytest.raises(AblyError) as caught:
        messages(*({"id": given} for given in ids))

    assert caught.value.code == 40031


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"data": "x" * 65_530, "name": "yyyyyyy"}, 40009),
        ({"data": "€" * 21_846}, 40009),
        ({"data": "x", "name": 5}, 40000),
        ({"data": "x", "clientId": 5}, 40000),
        ({"data": "x", "extras": []}, 40000),
        ({"data": "x", "extras": {"n": 1 << 70}}, 40000),
        ({"data": "x", "action": 1}, 40000),
        ("x", 40000),
    ],
)
def test_messages_that_cannot_be_published(message: Any, code: int) -> None:
    with pytest.raises(AblyError) as caught:
        messages(message)

    assert caught.value.code == code


@pytest.mark.parametrize("count", [0, 1001])
def test_a_publish_is_neither_empty_nor_endless(count: int) -> None:
    with pytest.raises(AblyError) as caught:
        messages(*({"data": "x"} for _ in range(count)))

    assert caught.value.code == 40000


def test_members_enter_update_and_leave() -> None:
    channel, ear = new_channel()
    channel.change_presence(presence({"action": ENTER, "data": "1"}), 1, "c1", "c1:0")
    channel.change_presence(presence({"action": UPDATE, "data": "2"}), 2, "c1", "c1:1")
    assert [(member["action"].name, member["id"], member["data"]) for member in channel.members] == [
        ("PRESENT", "c1:1:0", "2")
    ]
    channel.change_presence(presence({"action": LEAVE}), 3, "c1", "c1:2")

    assert ear.presence() == [("ENTER", "me", "1"), ("UPDATE", "me", "2"), ("LEAVE", "me", "2")]
    assert list(channel.members) == []


def test_an_update_of_nobody_enters_and_a_leave_of_nobody_is_silent() -> None:
    channel, ear = new_channel()
    channel.change_presence(presence({"action": LEAVE}), 1, "c1", "c1:0")
    channel.change_presence(presence({"action": UPDATE}), 2, "c1", "c1:1")

    assert ear.presence() == [("ENTER", "me", None)]


def test_the_same_client_on_two_connections_is_two_members() -> None:
    channel, ear = new_channel()
    channel.change_presence(presence({"action": ENTER}), 1, "c1", "c1:0")
    channel.change_presence(presence({"action": ENTER}), 2, "c2", "c2:0")
    channel.leave("c1", 3)

    assert [member["connectionId"] for member in channel.members] == ["c2"]
    left = ear.heard[-1].frame.fields["presence"][0]
    assert (left["action"].name, left["connectionId"]) == ("LEAVE", "c1")
    assert not left["id"].startswith("c1")


def test_a_repeated_entry_after_a_resume_is_a_no_op() -> None:
    channel, ear = new_channel()
    channel.change_presence(presence({"action": ENTER}), 1, "c1", "c1:0")
    channel.change_presence(presence({"action": ENTER, "id": "c1:0:0"}), 2, "c1", "c1:1")
    assert len(ear.heard) == 1

    channel.leave("c1", 3)
    channel.change_presence(presence({"action": ENTER, "id": "c1:0:0"}), 4, "c1", "c1:2")
    assert [member["id"] for member in channel.members] == ["c1:2:0"]


def test_a_full_channel_refuses_whole_and_lets_members_change() -> None:
    channel, ear = new_channel(members=2)
    channel.change_presence(presence({"action": ENTER, "clientId": "a"}), 1, "c1", "c1:0")
    with pytest.raises(AblyError) as caught:
        channel.change_presence(presence(*({"action": ENTER, "clientId": name} for name in "bc")), 1, "c1", "c1:1")
    assert caught.value.code == 91003
    assert (len(channel.members), len(ear.heard)) == (1, 1)

    swap = presence({"action": ENTER, "clientId": "b"}, {"action": LEAVE, "clientId": "a"})
    channel.change_presence(swap, 1, "c1", "c1:2")
    channel.change_presence(presence({"action": ENTER, "clientId": "c"}), 1, "c1", "c1:3")
    channel.change_presence(presence({"action": UPDATE, "clientId": "c", "data": "x"}), 1, "c1", "c1:4")
    assert [member["clientId"] for member in channel.members] == ["b", "c"]


@pytest.mark.parametrize(
    ("message", "code"), [({"action": 0}, 40000), ({"action": "enter"}, 40000), ({}, 40000), ({"action": 5}, 40000)]
)
def test_presence_that_says_nothing_is_refused(message: Any, code: int) -> None:
    with pytest.raises(AblyError) as caught:
        presence(message)

    assert caught.value.code == code


def test_presence_needs_a_client_id() -> None:
    with pytest.raises(AblyError) as caught:
        check_presence([{"action": ENTER}], lambda claimed: claimed, 100)

    assert caught.value.code == 91000


def test_members_come_in_pages() -> None:
    channel, _ = new_channel(members=250, sync_page=100)
    assert channel.sync() == [[]]
    channel.change_presence(presence(*({"action": ENTER, "clientId": f"u{n}"} for n in range(201))), 1, "c1", "c1:0")

    assert [len(page) for page in channel.sync()] == [100, 100, 1]


def test_history_has_messages_or_presence_until_a_serial() -> None:
    channel, _ = new_channel()
    channel.publish(messages({"data": "1"}, {"data": "2"}), 1, None, "r")
    attached = channel.log.head
    channel.change_presence(presence({"action": ENTER}), 2, "c1", "c1:0")
    channel.publish(messages({"data": "3"}), 3, None, "r")

    assert [message["data"] for message in channel.history(Action.MESSAGE, 4)] == ["1", "2", "3"]
    assert [message["data"] for message in channel.history(Action.MESSAGE, 4, until=attached)] == ["1", "2"]
    assert [message["clientId"] for message in channel.history(Action.PRESENCE, 4)] == ["me"]
    assert list(channel.history(Action.MESSAGE, 120_003)) == []


def test_a_channel_that_persists_has_history_for_longer() -> None:
    channel = Channel("c", Limits(), Budget(1_000_000), Budget(1_000_000), persists=True)
    channel.publish(messages({"data": "1"}), 0, None, "r")

    assert len(list(channel.history(Action.MESSAGE, 23 * 3_600_000))) == 1
    assert list(channel.history(Action.MESSAGE, 24 * 3_600_000)) == []


def test_messages_without_payload_take_room_in_the_log_too() -> None:
    channel, _ = new_channel(log_bytes=10_240)
    for number in range(20):
        channel.publish(messages({}, {}), 0, None, str(number))

    assert len(list(channel.history(Action.MESSAGE, 0))) == 10


def test_a_channel_is_idle_when_nothing_would_be_lost_with_it() -> None:
    channel, ear = new_channel()
    channel.publish(messages({"data": "1"}), 0, None, "r")
    channel.readers.discard(ear)
    assert not channel.is_idle
    channel.log.trim(120_000)
    assert channel.is_idle


def test_occupancy_counts_readers_by_their_modes() -> None:
    channel, _ = new_channel()
    channel.readers.add(Ear(Flag.PUBLISH | Flag.PRESENCE))
    channel.change_presence(presence({"action": ENTER}), 1, "c1", "c1:0")

    assert channel.occupancy() == {
        "connections": 2,
        "publishers": 1,
        "subscribers": 1,
        "presenceConnections": 1,
        "presenceMembers": 1,
        "presenceSubscribers": 0,
    }
