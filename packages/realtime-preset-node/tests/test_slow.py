"""What a lagging reader gets in the end, against what it may do without."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_preset_node import DropOldest, LatestPerKey, message_key
from realtime_preset_node._message import Numbered
from realtime_preset_node._slow import LagQueue, SlowReaders
from tanstack_realtime import ConfigurationError, Inbound, Position, RealtimeError, SubscribeAck
from tanstack_realtime._channels import ChannelMachine, Deliver, NotifyGap


def message(offset: int, key: str | None = None) -> Numbered:
    text = json.dumps(key)
    return Numbered(offset, text, len(text), None, 0.0, key)


def frames(queue: LagQueue) -> list[dict[str, Any]]:
    """What a reader is sent; messages that share a frame one by one."""
    found = list[dict[str, Any]]()
    for frame in [json.loads(line) for packet in queue.drain() for line in packet.text.split("\n")]:
        if frame["type"] == "gap":
            found.append(frame)
            continue
        superseded, start, data = frame.pop("superseded", None), frame["offset"], frame["data"]
        found += [frame | {"offset": start + index, "data": item} for index, item in enumerate(data)]
        if superseded is not None:
            found[-len(data)]["superseded"] = superseded
    return found


def test_the_oldest_are_dropped_and_the_gap_is_told() -> None:  # A17, L4
    queue = LagQueue("a", DropOldest(messages=2))
    for offset in range(5, 9):
        queue.push(message(offset))
    assert queue.size == sum(message(offset).size for offset in (7, 8))
    got = frames(queue)
    assert got[0] == {"type": "gap", "channel": "a", "reason": "lagged", "missed": 2}
    assert [frame["offset"] for frame in got[1:]] == [7, 8]
    assert not any("superseded" in frame for frame in got)
    assert (queue.drain(), queue.size) == ([], 0)


def test_the_latest_of_each_key_is_kept_and_the_holes_are_explained() -> None:  # A17
    queue = LagQueue("a", LatestPerKey())
    for offset, key in enumerate(["x", "y", None, "x", None, "x"], start=5):
        queue.push(message(offset, key))
    assert [(frame["offset"], frame["data"], frame.get("superseded", 0)) for frame in frames(queue)] == [
        (6, "y", 1),
        (7, None, 0),
        (9, None, 1),
        (10, "x", 0),
    ]


@given(
    st.integers(1, 6),
    st.booleans(),
    st.lists(st.one_of(st.none(), st.sampled_from("xyz"), st.just("drain")), max_size=40),
)
def test_a_client_learns_the_latest_of_each_key_or_of_a_gap(room: int, latest: bool, steps: list[str | None]) -> None:
    """Kills: a wrong count of superseded messages, a loss without a gap, a superseded message that was the newest."""
    queue = LagQueue("a", LatestPerKey(keys=room) if latest else DropOldest(messages=room))
    client = ChannelMachine("a", random=lambda: 0.0)
    client.link_up(retry_denied=False)
    client.added()
    client.acked(1, SubscribeAck(Position("e", 0)))
    sent: dict[str, int] = {}
    got: dict[str, int] = {}
    gaps, lost_nothing, offset = 0, True, 0
    for step in [*steps, "drain"]:
        if step != "drain":
            offset += 1
            sent[step or f"alone {offset}"] = offset
            queue.push(message(offset, step if latest else None))
            continue
        for frame in frames(queue):
            if frame["type"] == "gap":
                gaps += 1
                client.gap(frame["reason"])
                continue
            here = Position("e", frame["offset"])
            for action in client.message(Inbound(frame["data"], here, superseded=frame.get("superseded", 0))):
                lost_nothing &= not isinstance(action, NotifyGap)
                if isinstance(action, Deliver) and action.message.position is not None:
                    number = action.message.position.offset
                    got[action.message.data or f"alone {number}"] = number
    assert lost_nothing  # the only gaps are those that were told
    assert gaps or not latest or got == sent
    assert max(got.values(), default=0) == offset


def test_a_key_that_cannot_be_told_supersedes_nothing_and_is_reported() -> None:
    reported: list[RealtimeError] = []
    policy = LatestPerKey(key=lambda data: data["id"])
    readers = SlowReaders({"cursors": policy}, reported.append)
    assert readers.of("cursors:page=1") is policy
    assert readers.of("todos") is None
    assert readers.key(policy, "cursors:page=1", {"id": 7}) == 7
    assert readers.key(policy, "cursors:page=1", {}) is None
    assert readers.key(policy, "cursors:page=1", {"id": []}) is None
    assert [error.code for error in reported] == ["key_failed"] * 2


@pytest.mark.parametrize(("data", "key"), [({"key": "t1"}, "t1"), ({"changes": []}, None), (None, None), ([1], None)])
def test_a_row_message_is_about_its_key(data: Any, key: str | None) -> None:
    assert message_key(data) == key


@pytest.mark.parametrize("policies", [{"a": "drop"}, {"a": DropOldest}, {7: "disconnect"}])
def test_what_is_no_policy_is_refused(policies: Any) -> None:
    with pytest.raises(ConfigurationError, match="slow_readers"):
        SlowReaders(policies, lambda error: None)


def test_a_queue_has_room_for_something() -> None:
    with pytest.raises(ConfigurationError, match="positive"):
        DropOldest(messages=0)
    with pytest.raises(ConfigurationError, match="positive"):
        LatestPerKey(keys=0)
