"""Writing to an ASGI server: batches, backlog, and the end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.types import Message

from realtime_preset_node._packet import BATCH_BYTES, Packet
from realtime_preset_node._sink import AsgiSink
from tanstack_db.testing import settle


class Server:
    """Takes one message each time it is told to."""

    def __init__(self) -> None:
        self.taken: list[Message] = []
        self.turns = asyncio.Semaphore(0)
        self.failure: Exception | None = None

    async def send(self, message: Message) -> None:
        await self.turns.acquire()
        if self.failure is not None:
            raise self.failure
        self.taken.append(message)

    async def take(self, times: int = 1) -> None:
        for _ in range(times):
            self.turns.release()
            await settle()

    def texts(self) -> list[Any]:
        return [message.get("text", message["type"]) for message in self.taken]


def start() -> tuple[Server, AsgiSink, asyncio.Task[None]]:
    server = Server()
    sink = AsgiSink(server.send, max_backlog=1_000_000)
    return server, sink, asyncio.get_running_loop().create_task(sink.run())


async def test_ready_frames_are_joined_up_to_a_size() -> None:
    server, sink, writer = start()
    big = "x" * (BATCH_BYTES // 3 * 2)
    for frame in ("a", "b", big, "c", big, "d"):
        sink.write(Packet(frame))
    await server.take(3)
    assert server.texts() == [f"a\nb\n{big}\nc", f"{big}\nd"]
    sink.close(1000, "", discard=False)
    await server.take()
    await writer


async def test_a_frame_larger_than_a_batch_goes_alone() -> None:
    server, sink, writer = start()
    huge = "x" * BATCH_BYTES
    for frame in ("a", huge, "b"):
        sink.write(Packet(frame))
    await server.take(3)
    assert server.texts() == ["a", huge, "b"]
    sink.close(1000, "", discard=True)
    await server.take()
    await writer


async def test_the_backlog_counts_what_the_server_has_not_taken() -> None:  # A17
    server, sink, writer = start()
    assert sink.backlog == 0
    for _ in range(3):
        sink.write(Packet("x" * BATCH_BYTES))
    await settle()
    assert sink.backlog == 3 * BATCH_BYTES  # the batch that is being sent included
    await server.take()
    assert sink.backlog == 2 * BATCH_BYTES
    waiting = asyncio.ensure_future(sink.drained())
    await server.take()
    assert (sink.backlog, waiting.done()) == (BATCH_BYTES, False)
    await server.take()
    assert (sink.backlog, waiting.done()) == (0, True)
    sink.close(1000, "", discard=False)
    await server.take()
    await writer


async def test_a_reader_that_has_taken_everything_is_not_slow() -> None:  # A17
    server, sink, writer = start()
    assert sink.write(Packet("x" * 2_000_000))
    assert not sink.write(Packet("a"))
    await server.take()
    assert sink.write(Packet("b"))
    assert sink.write(Packet("c"))
    sink.close(1000, "", discard=False)
    assert sink.write(Packet("x" * 2_000_000))  # forgotten
    await server.take(2)
    await writer
    assert [len(text) for text in server.texts()[:2]] == [2_000_000, 3]


async def test_closing_sends_what_is_left_first_and_takes_nothing_more() -> None:
    server, sink, writer = start()
    sink.write(Packet("a"))
    sink.close(1012, "bye", discard=False)
    sink.close(1013, "another reason", discard=False)
    sink.write(Packet("b"))
    await server.take(2)
    await writer
    assert server.taken == [
        {"type": "websocket.send", "text": "a"},
        {"type": "websocket.close", "code": 1012, "reason": "bye"},
    ]
    await sink.drained()


async def test_discarding_closes_instead_of_what_is_left() -> None:  # A17
    server, sink, writer = start()
    for _ in range(3):
        sink.write(Packet("x" * BATCH_BYTES))
    await settle()
    sink.close(1013, "slow", discard=True)
    await server.take(2)
    await writer
    assert [message["type"] for message in server.taken] == ["websocket.send", "websocket.close"]
    assert sink.backlog == 0


async def test_a_long_reason_fits_into_a_close_frame() -> None:
    server, sink, writer = start()
    sink.close(4401, "é" * 200, discard=False)
    await server.take()
    await writer
    assert server.taken[0]["reason"] == "é" * 60
    assert len(server.taken[0]["reason"].encode()) <= 123


@pytest.mark.parametrize("failure", [OSError("gone"), RuntimeError("already closed")])
async def test_a_client_that_is_gone_ends_the_writer_quietly(failure: Exception) -> None:
    server, sink, writer = start()
    server.failure = failure
    sink.write(Packet("a"))
    await server.take()
    await writer
    sink.write(Packet("b"))
    assert sink.backlog == 0
    await sink.drained()


async def test_a_cancelled_writer_lets_nobody_wait() -> None:
    _, sink, writer = start()
    sink.write(Packet("a"))
    await settle()
    waiting = asyncio.ensure_future(sink.drained())
    await settle()
    writer.cancel()
    await asyncio.wait([writer, waiting])
    assert writer.cancelled()
    assert (waiting.done(), sink.backlog) == (True, 0)
