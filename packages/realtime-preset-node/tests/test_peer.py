"""The shell around a session, over a sink that counts its writes."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from realtime_preset_node import DropOldest, NodePreset
from realtime_preset_node._packet import BATCH_BYTES, Packet
from realtime_preset_node._peer import Peer
from realtime_preset_node._server import NodeServer
from tanstack_db.testing import settle
from tanstack_realtime import Channel
from tanstack_realtime.server import Permissions, Realtime, ServerContext, ServerPreset


class Transport(asyncio.Transport):
    """Takes what is written past the sink."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.waiting = 0
        self.closing = False

    def write(self, data: Any) -> None:
        self.writes.append(data)

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def is_closing(self) -> bool:
        return self.closing


class Sink:
    """Takes everything at once, but says that it has a backlog where told to."""

    def __init__(self, transport: Transport | None = None) -> None:
        self.writes: list[str] = []
        self.transport = transport
        self.backlog = 0
        self.empty = asyncio.Event()
        self.empty.set()

    def write(self, packet: Packet, /) -> bool:
        self.writes.append(packet.text)
        return True

    def close(self, code: int, reason: str, /, *, discard: bool) -> None:
        self.writes.append(f"closed {code}")

    async def drained(self) -> None:
        await self.empty.wait()

    def frames(self) -> list[dict[str, Any]]:
        return [json.loads(line) for text in self.writes for line in text.split("\n")]


def keeping(servers: list[NodeServer], **options: Any) -> NodePreset:
    """A preset that keeps the server halves that it makes."""

    class Preset(NodePreset):
        def create_server(self, context: ServerContext, /) -> ServerPreset:
            server = NodePreset.create_server(self, context)
            assert isinstance(server, NodeServer)
            servers.append(server)
            return server

    return Preset(**options)


def grant_all(user_id: str, channel: Channel) -> Permissions:
    return Permissions(subscribe=True, publish=True)


async def ann(_token: str | None) -> tuple[str, float | None]:
    return "ann", None


async def connected(server: NodeServer, transport: Transport | None = None) -> tuple[Peer, Sink]:
    sink = Sink(transport)
    peer = Peer(server.shared, sink=sink, authenticate=ann)
    server.attach(peer)
    peer.feed('{"type":"hello","versions":[1]}')
    await settle()
    sink.writes.clear()
    return peer, sink


@pytest.mark.parametrize("direct", [False, True])
async def test_the_answers_of_one_turn_are_one_write_and_in_order(direct: bool) -> None:
    servers = list[NodeServer]()
    async with Realtime(authorize=grant_all, get_user=lambda connection: "ann", preset=keeping(servers)) as realtime:
        transport = Transport() if direct else None
        peer, sink = await connected(servers[0], transport)
        peer.feed('{"type":"subscribe","id":0,"channel":"a"}')
        for number in range(1, 51):
            peer.feed(f'{{"type":"publish","id":{number},"channel":"a","data":{number}}}')
        await settle()
        assert len(sink.writes) == 1
        told = [(frame["type"], frame.get("id", frame.get("data"))) for frame in sink.frames()]
        published = [pair for number in range(1, 51) for pair in (("messages", [number]), ("ok", number))]
        assert told == [("subscribed", 0), *published]
        # What the server says meanwhile does not overtake the answers.
        sink.writes.clear()
        peer.feed('{"type":"publish","id":51,"channel":"a","data":51}')
        await asyncio.sleep(0)
        await realtime.publish(("a", {}), 52)
        await settle()
        got = [frame["data"] for frame in sink.frames() if frame["type"] == "messages"]
        if transport is None:
            assert got == [[51], [52]]
        else:
            assert got == [[51]]
            assert [write.partition(b"{")[2] for write in transport.writes] == [
                b'"type":"messages","channel":"a","offset":52,"data":[52]}'
            ]
        servers[0].detach(peer)
        await peer.end(1006)


async def test_what_was_answered_is_sent_before_the_close() -> None:
    servers = list[NodeServer]()
    async with Realtime(authorize=grant_all, get_user=lambda connection: "ann", preset=keeping(servers)):
        peer, sink = await connected(servers[0])
        peer.feed('{"type":"unsubscribe","id":1,"channel":"a"}')
        peer.feed('{"type":"subscribe","id":2,"channel":"a"}')
        await asyncio.sleep(0)
        peer.close(1012, "the server stops")
        assert [json.loads(line)["id"] for text in sink.writes[:-1] for line in text.split("\n")] == [1, 2]
        assert sink.writes[-1] == "closed 1012"
        servers[0].detach(peer)
        await peer.end(1006)


async def test_a_message_does_not_overtake_answers_of_the_same_turn() -> None:
    servers = list[NodeServer]()
    async with Realtime(authorize=grant_all, get_user=lambda connection: "ann", preset=keeping(servers)):
        peer, sink = await connected(servers[0])
        peer.feed('{"type":"unsubscribe","id":1,"channel":"a"}')
        peer.feed('{"type":"publish","id":2,"channel":"a","data":1}')
        # Right after the step that answers, before the turn has ended.
        asyncio.get_running_loop().call_soon(peer.deliver, Packet('{"type":"messages"}'))
        await settle()
        assert [frame["type"] for frame in sink.frames()] == ["ok", "ok", "messages"]
        servers[0].detach(peer)
        await peer.end(1006)


async def test_a_hook_that_must_be_awaited_begins_even_if_the_connection_ends_at_once() -> None:  # X9
    # A mutant that cancels the worker before its first step leaves a coroutine behind that nobody awaited.
    begun: list[str] = []

    async def authorize(user_id: str, channel: Channel) -> Permissions:
        begun.append(channel.raw)
        await asyncio.Event().wait()
        return Permissions(publish=True)

    servers = list[NodeServer]()
    async with Realtime(authorize=authorize, get_user=lambda connection: "ann", preset=keeping(servers)):
        peer, sink = await connected(servers[0])
        peer.feed('{"type":"publish","id":1,"channel":"a","data":1}')
        peer.close(1012, "the server stops")
        servers[0].detach(peer)
        await peer.end(1006)
        assert (begun, sink.writes) == (["a"], ["closed 1012"])


async def test_a_message_is_done_when_it_has_come_in_unless_a_hook_waits() -> None:
    servers = list[NodeServer]()
    async with Realtime(authorize=grant_all, get_user=lambda connection: "ann", preset=keeping(servers)):
        peer, _ = await connected(servers[0])
        frames = iter([f'{{"type":"publish","id":{number},"channel":"a","data":1}}' for number in range(3)])
        assert not peer.take(frames, 2)
        assert len(list(frames)) == 1
        assert peer.take(frames, 2)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        servers[0].detach(peer)
        await peer.end(1006)


async def test_who_has_taken_everything_is_written_to_directly() -> None:
    servers = list[NodeServer]()
    async with Realtime(authorize=grant_all, get_user=lambda connection: "ann", preset=keeping(servers)):
        transport = Transport()
        peer, sink = await connected(servers[0], transport)
        one, two, three, four = (Packet(text) for text in "1234")
        peer.deliver(one)
        transport.waiting = 1
        peer.deliver(two)
        transport.waiting, transport.closing = 0, True
        peer.deliver(three)
        transport.closing = False
        peer.deliver(four)
        assert (transport.writes, sink.writes) == ([one.wire, four.wire], ["2", "3"])
        # Behind what was answered in this turn.
        transport.writes.clear()
        sink.writes.clear()
        peer.feed('{"type":"unsubscribe","id":1,"channel":"a"}')
        peer.deliver(one)
        peer.deliver(two)
        assert (transport.writes, sink.writes) == ([two.wire], ['{"type":"ok","id":1}', "1"])
        peer.close(1012, "the server stops")
        peer.deliver(three)
        assert (len(transport.writes), sink.writes[-1]) == (1, "closed 1012")
        servers[0].detach(peer)
        await peer.end(1006)


def publish(number: int, size: int = 1) -> str:
    return f'{{"type":"publish","id":{number},"channel":"a","data":"{"x" * size}"}}'


async def test_who_does_not_read_its_answers_gets_no_more_of_them() -> None:
    servers = list[NodeServer]()
    async with Realtime(authorize=grant_all, get_user=lambda connection: "ann", preset=keeping(servers)):
        peer, sink = await connected(servers[0])
        sink.backlog = servers[0].shared.high_water
        sink.empty.clear()
        peer.take(iter([publish(1), publish(2)]), 10)
        peer.feed(publish(3))
        await settle()
        peer.feed(publish(4))
        await settle()
        assert [frame["id"] for frame in sink.frames()] == [1]
        sink.backlog = 0
        sink.empty.set()
        await settle()
        assert [frame["id"] for frame in sink.frames()] == [1, 2, 3, 4]
        servers[0].detach(peer)
        await peer.end(1006)


async def test_many_answers_are_several_writes_and_count_as_said() -> None:
    servers = list[NodeServer]()
    async with Realtime(authorize=grant_all, get_user=lambda connection: "ann", preset=keeping(servers)):
        peer, sink = await connected(servers[0])
        peer.feed('{"type":"subscribe","id":0,"channel":"a"}')
        await settle()
        sink.writes.clear()
        high_water = servers[0].shared.high_water
        size = 60_000
        peer.take(iter([publish(number, size) for number in range(20)]), 20)
        assert sum(map(len, sink.writes)) <= high_water + BATCH_BYTES
        await settle()
        assert [frame["id"] for frame in sink.frames() if frame["type"] == "ok"] == list(range(20))
        assert all(len(text) <= BATCH_BYTES for text in sink.writes)
        servers[0].detach(peer)
        await peer.end(1006)


async def test_readers_do_not_wait_for_the_publishers_answer() -> None:
    servers = list[NodeServer]()
    async with Realtime(authorize=grant_all, get_user=lambda connection: "ann", preset=keeping(servers)):
        (publisher, first), (reader, second) = [await connected(servers[0]) for _ in range(2)]
        for peer in (publisher, reader):
            peer.feed('{"type":"subscribe","id":0,"channel":"a"}')
        await settle()
        second.writes = first.writes
        first.writes.clear()
        publisher.feed(publish(1))
        await settle()
        assert ["own" in text for text in first.writes] == [False, True]
        for peer in (publisher, reader):
            servers[0].detach(peer)
            await peer.end(1006)


@pytest.mark.parametrize("revoked", [False, True])
async def test_what_a_slow_reader_left_waiting_does_not_come_after_the_end_of_the_subscription(revoked: bool) -> None:
    servers = list[NodeServer]()
    preset = keeping(servers, slow_readers={"a": DropOldest()})
    async with Realtime(authorize=grant_all, get_user=lambda connection: "ann", preset=preset) as realtime:
        peer, sink = await connected(servers[0])
        peer.feed('{"type":"subscribe","id":1,"channel":"a"}')
        await settle()
        sink.writes.clear()
        sink.backlog = servers[0].shared.high_water + 1
        sink.empty.clear()
        await realtime.publish("a", 1)
        await settle()
        await realtime.publish("a", 2)
        if revoked:
            await realtime.revoke("ann", "a")
        else:
            peer.feed('{"type":"unsubscribe","id":2,"channel":"a"}')
        sink.backlog = 0
        sink.empty.set()
        await settle()
        assert [frame["type"] for frame in sink.frames()] == ["revoked" if revoked else "ok"]
        servers[0].detach(peer)
        await peer.end(1006)
