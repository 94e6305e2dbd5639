"""Packets: joined text, and the WebSocket frame that carries it."""

from __future__ import annotations

import pytest
from websockets.frames import Frame, Opcode

from realtime_preset_node._packet import BATCH_BYTES, Packet, join_packets


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 70_000])
def test_the_wire_is_what_another_implementation_writes(size: int) -> None:
    text = "x" * size
    assert Packet(text).wire == Frame(Opcode.TEXT, text.encode()).serialize(mask=False)


def test_sizes_are_in_bytes() -> None:
    packet = Packet("é€𝄞")
    assert packet.size == 9
    assert packet.wire == Frame(Opcode.TEXT, "é€𝄞".encode()).serialize(mask=False)
    assert packet.wire is packet.wire  # made once


def test_packets_are_joined_up_to_a_size() -> None:
    half = "x" * (BATCH_BYTES // 2)
    packets = [Packet(text) for text in ("a", half, "é", half, "b")]
    joined = join_packets(packets)
    assert [packet.text for packet in joined] == [f"a\n{half}\né", f"{half}\nb"]
    assert [packet.size for packet in joined] == [len(packet.text.encode()) for packet in joined]


def test_one_packet_is_not_made_again() -> None:
    one, large = Packet("a"), Packet("x" * (BATCH_BYTES + 1))
    assert join_packets([one]) == [one]
    assert join_packets([one, large, one]) == [one, large, one]
    assert join_packets([]) == []
