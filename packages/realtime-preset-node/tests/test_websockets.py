"""The client's WebSocket without a network: the library's own server half answers, frame by frame."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import cast

import pytest
from websockets.client import ClientProtocol
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from realtime_preset_node._websockets import Socket


class Pipe(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.waiting = 0
        self.is_broken = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.is_broken:
            raise OSError("gone")
        self.written.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def is_closing(self) -> bool:
        return False

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        pass


class Pair:
    """A connected client and its server."""

    def __init__(self) -> None:
        self.pipe = Pipe()
        self.server = ServerProtocol()
        self.socket = Socket(ClientProtocol(parse_uri("ws://x/ws")), ping_interval=None)
        self.messages: list[str] = []

    async def shake_hands(self) -> None:
        self.socket.connection_made(self.pipe)
        shaking = asyncio.ensure_future(self.socket.handshake())
        await asyncio.sleep(0)
        (request,) = self.at_the_server()
        self.server.send_response(self.server.accept(cast("Request", request)))
        self.deliver()
        await shaking
        self.socket.receive = self.messages.append

    def deliver(self) -> None:
        """Bring the client what the server has written."""
        for data in self.server.data_to_send():
            self.socket.data_received(data)

    def arrive(self, *frames: Frame) -> None:
        """Bring the client frames in one piece."""
        self.socket.data_received(b"".join(frame.serialize(mask=False) for frame in frames))

    def at_the_server(self) -> Iterable[object]:
        """Bring the server what the client has written."""
        for data in self.pipe.written:
            self.server.receive_data(data)
        self.pipe.written.clear()
        return self.server.events_received()


@pytest.fixture
async def pair() -> Pair:
    made = Pair()
    await made.shake_hands()
    return made


def text(data: bytes, *, fin: bool = True) -> Frame:
    return Frame(Opcode.TEXT, data, fin)


def more(data: bytes, *, fin: bool) -> Frame:
    return Frame(Opcode.CONT, data, fin)


async def test_messages_are_handed_over_as_they_arrive_in_their_order(pair: Pair) -> None:
    pair.arrive(text(b"1"), text(b"2", fin=False), Frame(Opcode.PING, b""), more(b"", fin=False), more(b"3", fin=True))
    pair.arrive(text("4é".encode()))
    assert pair.messages == ["1", "23", "4é"]


async def test_a_character_may_be_divided_between_frames(pair: Pair) -> None:
    first, second = (bytes([byte]) for byte in "é".encode())
    pair.arrive(text(first, fin=False), more(second, fin=True))
    assert pair.messages == ["é"]


async def test_any_number_of_binary_messages_is_dropped(pair: Pair) -> None:
    for _ in range(50):
        pair.arrive(Frame(Opcode.BINARY, b"x", fin=False), more(b"y", fin=True))
    pair.arrive(text(b"1"))
    assert pair.messages == ["1"]


async def test_text_that_is_not_utf_8_ends_the_connection(pair: Pair) -> None:
    pair.arrive(text(b"1"), text(b"\xff"))
    assert pair.messages == ["1"]
    _ = pair.at_the_server()
    assert pair.server.close_rcvd is not None
    assert pair.server.close_rcvd.code == CloseCode.INVALID_DATA


async def test_a_message_is_written_at_once_unless_others_wait(pair: Pair) -> None:
    assert pair.socket.send_now("a")
    pair.pipe.waiting = 1
    assert not pair.socket.send_now("b")
    pair.pipe.waiting = 0
    assert pair.socket.send_now("é")
    frames = [cast("Frame", event) for event in pair.at_the_server()]
    assert [bytes(frame.data).decode() for frame in frames] == ["a", "é"]


async def test_nothing_is_written_to_a_connection_that_ends_or_is_broken(pair: Pair) -> None:
    pair.pipe.is_broken = True
    assert not pair.socket.send_now("a")
    pair.pipe.is_broken = False
    pair.server.send_close(CloseCode.GOING_AWAY)
    pair.deliver()
    assert not pair.socket.send_now("b")
