"""Splitting a client's bytes into messages, against a complete implementation of the protocol."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from realtime_preset_node._splitter import FrameSplitter

MAX_SIZE = 70_000


def wire(payload: str | bytes, opcode: Opcode = Opcode.TEXT, *, fin: bool = True, mask: bool = True) -> bytes:
    data = payload.encode() if isinstance(payload, str) else payload
    return Frame(opcode, data, fin=fin).serialize(mask=mask)


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    bounds = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in itertools.pairwise(bounds)]


_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=200) | st.sampled_from(
    ["x" * size for size in (0, 125, 126, 65_535, 65_536, MAX_SIZE)]
)
_others = st.sampled_from(
    [
        wire(b"ping", Opcode.PING),
        wire("", Opcode.CLOSE),
        wire(b"\x00\xff", Opcode.BINARY),
        wire("fir", fin=False) + wire("st", Opcode.CONT),
        wire("unmasked", mask=False),
        wire(b"\xff"),  # not UTF-8
        b"\xc1" + wire("compressed")[1:],
    ]
)


@given(st.lists(_texts | _others, max_size=6), st.lists(st.integers(0, 1_000_000), max_size=6))
def test_messages_come_out_wherever_the_bytes_are_cut(parts: list[str | bytes], places: list[int]) -> None:
    """Kills: a header that is cut within its size; a mask that is read before it is there; a frame given twice."""
    splitter = FrameSplitter(MAX_SIZE)
    stream = b"".join(part if isinstance(part, bytes) else wire(part) for part in parts)
    got = [piece for chunk in cut(stream, places) for piece in splitter.split(chunk)]
    assert [piece for piece in got if isinstance(piece, str)] == [part for part in parts if isinstance(part, str)]
    others = b"".join(part for part in parts if isinstance(part, bytes))
    assert b"".join(piece for piece in got if isinstance(piece, bytes)) == others


def test_what_stands_between_fragments_is_left_alone() -> None:
    splitter = FrameSplitter(MAX_SIZE)
    begin, ping, text, end = (
        wire("fir", fin=False),
        wire(b"", Opcode.PING),
        wire("wrong here"),
        wire("st", Opcode.CONT),
    )
    assert splitter.split(begin + ping + text) == [begin, ping, text]
    assert splitter.split(end + wire("next")) == [end, "next"]


@pytest.mark.parametrize("size", [MAX_SIZE + 1, 2**62])
def test_from_a_frame_on_that_is_too_large_nothing_is_kept(size: int) -> None:  # A17
    splitter = FrameSplitter(MAX_SIZE)
    header = b"\x81\xff" + size.to_bytes(8, "big")
    assert splitter.split(wire("a") + header[:5]) == ["a"]
    assert splitter.split(header[5:] + b"more") == [header + b"more"]
    later = wire("a")
    assert splitter.split(later) == [later]


def test_bytes_that_trickle_in_are_looked_at_when_there_are_enough() -> None:
    splitter = FrameSplitter(MAX_SIZE)
    frame = wire("x" * 60_000)
    got = [splitter.split(frame[at : at + 1]) for at in range(len(frame))]
    assert [part for parts in got for part in parts] == ["x" * 60_000]
