"""Messages that share a frame: which do, and that nothing is lost or moved on the way."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from realtime_preset_node._frames import Messages
from realtime_preset_node._message import Numbered, write_bodies, write_messages
from realtime_preset_node._packet import BATCH_BYTES, Packet
from realtime_preset_node._protocol import messages_frame, parse_server_frame
from tanstack_realtime._json import encode_json


def numbered(offset: int, data: object, user_id: str | None = None) -> Numbered:
    text = encode_json(data)
    return Numbered(offset, text, len(text.encode()), user_id, 0.0)


def read(packet: Packet) -> list[Messages]:
    assert packet.size == len(packet.text.encode())
    frames = [parse_server_frame(frame) for frame in packet.text.split("\n")]
    assert all(isinstance(frame, Messages) for frame in frames)
    return [frame for frame in frames if isinstance(frame, Messages)]


def test_messages_of_one_publisher_share_a_frame() -> None:
    (packet,) = write_messages("a", [numbered(7, "é", "ann"), numbered(8, None, "ann"), numbered(9, [1], "ann")])
    assert read(packet) == [Messages("a", 7, ["é", None, [1]], "ann")]


def test_publishers_do_not_share_one() -> None:
    messages = [numbered(1, 1, "ann"), numbered(2, 2), numbered(3, 3, "bo"), numbered(4, 4, "bo")]
    (packet,) = write_messages("a", messages)
    assert read(packet) == [Messages("a", 1, [1], "ann"), Messages("a", 2, [2]), Messages("a", 3, [3, 4], "bo")]
    assert [body.count("data") for body in write_bodies(messages)] == [1, 1, 1]


def test_a_message_that_is_its_readers_own_is_alone() -> None:
    (packet,) = write_messages("a", [numbered(1, 1, "ann"), replace(numbered(2, 2, "ann"), own=True)])
    assert [(run.data, run.own) for run in read(packet)] == [([1], False), ([2], True)]


def test_a_packet_has_its_size_unless_one_message_is_larger() -> None:
    small, half, large = "x" * 10, "x" * (BATCH_BYTES // 2), "x" * BATCH_BYTES
    packets = write_messages("a", [numbered(n, data) for n, data in enumerate([half, small, half, large, small], 1)])
    assert [[run.offset for run in read(packet)] for packet in packets] == [[1], [3], [4], [5]]
    assert [len(run.data) for packet in packets for run in read(packet)] == [2, 1, 1, 1]
    assert [packet.size > BATCH_BYTES for packet in packets] == [False, False, True, False]


def test_nothing_is_written_for_nothing() -> None:
    assert (write_messages("a", []), write_bodies([])) == ([], [])


@given(
    st.lists(st.tuples(st.integers(1, 3), st.sampled_from([None, "ann", "bo"]), st.booleans()), max_size=12),
    st.none() | st.integers(0, 3),
)
def test_numbers_and_holes_survive(steps: list[tuple[int, str | None, bool]], before: int | None) -> None:
    """Kills: a run that goes on over a hole, another publisher or an own message; a hole counted twice or never."""
    messages = list[Numbered]()
    offset = before or 0
    for step, user_id, own in steps:
        offset += step
        messages.append(replace(numbered(offset, offset, user_id), own=own))
    told, known = list[tuple[int, object, str | None, bool]](), before
    for run in [run for packet in write_messages("a", messages, after=before) for run in read(packet)]:
        assert run.superseded == (0 if known is None else run.offset - known - 1)
        known = run.offset + len(run.data) - 1
        told += [(run.offset + index, data, run.user, run.own) for index, data in enumerate(run.data)]
    assert told == [(message.offset, message.offset, message.user_id, message.own) for message in messages]


@given(st.lists(st.sampled_from([None, "ann", "bo"]), max_size=8))
def test_a_replay_tells_the_same(users: list[str | None]) -> None:
    messages = [numbered(n, n, user) for n, user in enumerate(users, 5)]
    bodies = write_bodies(messages)
    live = [run for packet in write_messages("a", messages) for run in read(packet)]
    assert [parse_server_frame(messages_frame("a", body)) for body in bodies] == live
