"""Writing to a transport that the server gave access to."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.types import Message

from realtime_preset_node._packet import Packet
from realtime_preset_node._transport_sink import EXTENSION, TransportSink, transport_access
from tanstack_db.testing import settle


class Network(asyncio.Transport):
    """A transport whose peer takes nothing until told to."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer = b""
        self.high = 0
        self.closing = False
        self.aborted = False
        self.writable = asyncio.Event()
        self.writable.set()

    def write(self, data: Any) -> None:
        assert not self.closing, "nothing may follow a close frame"
        self.buffer += bytes(data)
        if len(self.buffer) > self.high:
            self.writable.clear()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = high or 0

    def get_write_buffer_size(self) -> int:
        return len(self.buffer)

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        self.aborted = True

    def take(self) -> bytes:
        taken, self.buffer = self.buffer, b""
        self.writable.set()
        return taken


class Server:
    """ASGI `send`, as a server whose transport can be full."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.sent: list[Message] = []
        self.failure: Exception | None = None

    async def send(self, message: Message) -> None:
        await self.network.writable.wait()
        if self.failure is not None:
            raise self.failure
        self.sent.append(message)


def start() -> tuple[Network, Server, TransportSink, asyncio.Task[None]]:
    network = Network()
    server = Server(network)
    sink = TransportSink(network, network.writable, server.send, high_water=100, max_backlog=1000)
    return network, server, sink, asyncio.get_running_loop().create_task(sink.run())


async def end(sink: TransportSink, writer: asyncio.Task[None]) -> None:
    sink.close(1000, "", discard=False)
    await writer


async def test_a_packet_is_written_at_once() -> None:
    network, _, sink, writer = start()
    packet = Packet("hello")
    sink.write(packet)
    sink.write(packet)
    assert sink.backlog == 2 * len(packet.wire)
    assert network.take() == packet.wire * 2
    assert sink.backlog == 0
    await end(sink, writer)


async def test_a_reader_that_has_taken_everything_is_not_slow() -> None:  # A17
    network, _, sink, writer = start()
    assert sink.write(Packet("x" * 2000))
    assert not sink.write(Packet("a"))
    assert network.take() == Packet("x" * 2000).wire
    assert sink.write(Packet("b"))
    assert sink.write(Packet("c"))
    await end(sink, writer)


async def test_waiting_for_a_reader_that_is_behind() -> None:  # A17
    network, _, sink, writer = start()
    await sink.drained()
    sink.write(Packet("x" * 101))
    waiting = asyncio.ensure_future(sink.drained())
    await settle()
    assert not waiting.done()
    network.take()
    await waiting
    await end(sink, writer)


async def test_the_close_frame_comes_after_what_is_in_the_buffer() -> None:
    network, server, sink, writer = start()
    sink.write(Packet("x" * 101))
    sink.close(1012, "é" * 100, discard=True)
    sink.close(1013, "another reason", discard=False)
    await settle()
    assert server.sent == []
    sink.write(Packet("too late"))
    assert network.take() == Packet("x" * 101).wire
    await writer
    assert server.sent == [{"type": "websocket.close", "code": 1012, "reason": "é" * 60}]
    assert network.take() == b""


async def test_a_reader_that_does_not_take_its_end_is_dropped() -> None:  # A17
    network, server, sink, writer = start()
    sink.write(Packet("x" * 101))
    sink.close(1013, "slow", discard=True)
    await settle()
    writer.cancel()
    await asyncio.wait([writer])
    assert (writer.cancelled(), network.aborted, server.sent) == (True, True, [])


async def test_a_client_that_left_is_not_dropped() -> None:
    network, _, sink, writer = start()
    await settle()
    writer.cancel()
    await asyncio.wait([writer])
    assert (writer.cancelled(), network.aborted) == (True, False)  # its close handshake may still be under way
    sink.close(1006, "", discard=True)


async def test_nothing_is_written_while_the_server_closes_the_connection() -> None:
    network, _, sink, writer = start()
    network.closing = True
    sink.write(Packet("a"))
    assert network.take() == b""
    await end(sink, writer)


@pytest.mark.parametrize("failure", [OSError("gone"), RuntimeError("already closed")])
async def test_a_client_that_is_gone_ends_the_writer_quietly(failure: Exception) -> None:
    _, server, sink, writer = start()
    server.failure = failure
    await end(sink, writer)
    assert server.sent == []


async def test_only_a_server_that_offers_it_gives_access() -> None:
    network = Network()
    assert transport_access({"type": "websocket"}) is None
    assert transport_access({"type": "websocket", "extensions": None}) is None
    assert transport_access({"type": "websocket", "extensions": {"websocket.http.response": {}}}) is None
    scope = {"extensions": {EXTENSION: {"transport": network, "writable": network.writable}}}
    assert transport_access(scope) == (network, network.writable)
