from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_preset_ably._stream import Attachment, SerialPosition, Stream
from tanstack_realtime import Position


def new_stream(since: Position | None = None) -> Stream:
    names = map(str, itertools.count(1))
    return Stream(since, lambda: next(names))


def test_a_first_attachment_begins_a_stream() -> None:
    stream = new_stream()
    assert stream.serial is None
    assert stream.attached("s0", resumed=False) is Attachment.FIRST
    assert stream.position == SerialPosition("1", 0)
    assert stream.message("s1") == SerialPosition("1", 1)


@pytest.mark.parametrize("resumed", [False, True])
def test_a_server_that_resumes_what_nobody_named_has_a_first_attachment(resumed: bool) -> None:
    assert new_stream().attached("s0", resumed=resumed) is Attachment.FIRST


def test_a_position_is_good_on_another_link() -> None:
    first = new_stream()
    first.attached("s0", resumed=False)
    first.message("s1")
    second = new_stream(first.message("s2"))
    assert second.serial == "s2"
    assert second.attached("s2", resumed=True) is Attachment.RECOVERED
    assert second.message("s3") == SerialPosition("1", 3)


def test_what_cannot_be_resumed_begins_anew() -> None:
    stream = Stream(SerialPosition("old", 7, "s7"), lambda: "new")
    assert stream.attached("s9", resumed=False) is Attachment.LOST
    assert stream.position == SerialPosition("new", 0)
    assert stream.position is not None
    assert stream.position.serial == "s9"


def test_a_position_without_a_serial_recovers_nothing() -> None:
    stream = Stream(Position("another preset", 7), lambda: "new")
    assert stream.serial is None
    assert stream.attached("s9", resumed=True) is Attachment.LOST


def test_a_repeated_attachment_is_no_news_if_resumed() -> None:
    stream = new_stream()
    stream.attached("s0", resumed=False)
    stream.message("s1")
    assert stream.attached("s1", resumed=True) is Attachment.SAME
    assert stream.message("s2") == SerialPosition("1", 2)


def test_a_repeated_attachment_is_a_gap_if_not_resumed() -> None:
    stream = new_stream(SerialPosition("1", 3, "s3"))
    stream.attached("s3", resumed=True)
    assert stream.attached("s9", resumed=False) is Attachment.GAP
    assert stream.message("s10") == SerialPosition("1", 1)


def test_a_frame_without_a_serial_keeps_the_last_one() -> None:
    stream = new_stream()
    stream.attached("s0", resumed=False)
    assert stream.message("").serial == "s0"


@given(st.lists(st.one_of(st.just("message"), st.sampled_from([True, False])), max_size=30), st.booleans())
def test_numbers_grow_by_one_within_an_epoch(steps: list[str | bool], named: bool) -> None:
    """Kills: an epoch that goes on after a gap, or numbers that restart after a resumed attachment."""
    stream = new_stream(SerialPosition("0", 5, "s") if named else None)
    stream.attached("s", resumed=True)
    last = stream.position
    assert last is not None
    for number, step in enumerate(steps):
        if isinstance(step, bool):
            meaning = stream.attached(f"a{number}", resumed=step)
            assert (meaning is Attachment.SAME) == step
            here = stream.position
            assert here is not None
            assert (here == last) == step
            last = here
        else:
            here = stream.message(f"m{number}")
            assert (here.epoch, here.offset, here.serial) == (last.epoch, last.offset + 1, f"m{number}")
            last = here
