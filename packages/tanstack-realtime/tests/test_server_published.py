"""Collections whose rows only the server publishes: references, echoes, refusals."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from starlette.requests import HTTPConnection

from tanstack_db import DbClient, LoadSubset, Transaction, create_collection
from tanstack_realtime import (
    JSON,
    Capabilities,
    Channel,
    ChannelDeniedError,
    ConfigurationError,
    Inbound,
    LinkSink,
    MessageError,
    OpenRequest,
    Position,
    SubscribeAck,
    create_realtime_client,
    mutation_ref,
    parse_channel,
    realtime_collection_options,
    serialize_key,
)
from tanstack_realtime.server import Permissions, publish_change
from tanstack_realtime.server._declared import DeclaredChannels
from tanstack_realtime.server._gate import Gate
from tanstack_realtime.server._origin import OriginPolicy
from tanstack_realtime.server._preset import ServerObserver


@dataclass(frozen=True)
class Note:
    id: str
    room: str
    text: str


class Server:
    """Server functions that publish what they write; the channel carries it to everybody."""

    capabilities = Capabilities(
        recovery=False,
        history=0,
        ordering=True,
        echo=True,
        publish_over_link=True,
        native_presence=False,
        max_message_bytes=65536,
        revocation_delay=0.0,
    )

    def __init__(self) -> None:
        self.table: dict[str, Note] = {}
        self.sinks: list[LinkSink] = []
        self.published: list[Any] = []
        self.client_published: list[Any] = []
        self.echo_first = True
        self.answer_lost = False
        self.late: list[asyncio.Future[None]] = []
        self.notes = create_collection(
            realtime_collection_options(
                id="notes",
                schema=Note,
                get_key=lambda note: note.id,
                channel="notes",
                query_fn=self.get_notes,
                on_insert=self.on_insert,
                on_delete=self.on_delete,
                publish="server",
            )
        )

    async def get_notes(self, room: str) -> list[Note]:
        return list(self.table.values())

    async def publish(self, channel: object, data: Any) -> None:
        self.published.append(data)
        for sink in self.sinks:
            sink.message("notes:room=1", Inbound(data, own=False))

    async def save(self, note: Note, mutation: str | None) -> Note:
        saved = self.table[note.id] = Note(note.id, note.room, note.text.upper())
        if self.echo_first:
            await publish_change(
                ("notes", {"room": "1"}), "insert", saved, key=note.id, mutation=mutation, publish=self.publish
            )
            await asyncio.sleep(0.1)
        if self.answer_lost:
            raise OSError("the answer was lost")
        return saved

    async def on_insert(self, transaction: Transaction[Note]) -> Note:
        ref = mutation_ref()
        saved = await self.save(transaction.mutations[0].modified, ref)
        if not self.echo_first:
            asyncio.get_running_loop().call_later(
                0.1, lambda: self.late.append(asyncio.ensure_future(self.publish_late(saved, ref)))
            )
        return saved

    async def publish_late(self, saved: Note, ref: str | None) -> None:
        await publish_change(("notes", {"room": "1"}), "insert", saved, mutation=ref, publish=self.publish)

    async def on_delete(self, transaction: Transaction[Note]) -> None:
        key = transaction.mutations[0].key
        del self.table[key]
        await publish_change(("notes", {"room": "1"}), "delete", key=key, mutation=mutation_ref(), publish=self.publish)

    async def open(self, request: OpenRequest, sink: LinkSink, /) -> Link:
        self.sinks.append(sink)
        return Link(self, sink)


class Link:
    connection_id = "c"
    user_id = "ada"

    def __init__(self, server: Server, sink: LinkSink) -> None:
        self.server = server
        self.sink = sink

    async def subscribe(self, channel: str, /, *, since: Position | None) -> SubscribeAck:
        return SubscribeAck()

    async def unsubscribe(self, channel: str, /) -> None: ...

    async def publish(self, channel: str, data: JSON, /) -> None:
        self.server.client_published.append(data)

    async def ping(self) -> None: ...

    async def close(self) -> None:
        if self.sink in self.server.sinks:
            self.server.sinks.remove(self.sink)


class Screen:
    def __init__(self, server: Server) -> None:
        self.errors: list[Exception] = []
        self.db = DbClient(on_error=self.errors.append)
        self.client = create_realtime_client(transport=server, db=self.db)
        self.notes = self.db.collection(server.notes)
        self.lease = self.notes.acquire(LoadSubset({"room": ("1",)}), lambda: None)

    @property
    def texts(self) -> list[str]:
        return sorted(note.text for note in self.notes.to_list())


@asynccontextmanager
async def two(server: Server) -> AsyncGenerator[tuple[Screen, Screen]]:
    made = (Screen(server), Screen(server))
    try:
        for screen in made:
            screen.client.connect()
            await screen.client.connected()
        await asyncio.sleep(1)
        yield made
    finally:
        for screen in made:
            screen.lease.release()
            await screen.db.close()


@pytest.mark.parametrize("echo_first", [True, False])
async def test_the_server_publishes_and_the_writer_knows_its_echo(echo_first: bool) -> None:  # P5, Q6
    server = Server()
    server.echo_first = echo_first
    async with two(server) as (ada, bob):
        transaction = ada.notes.insert(Note("n1", "1", "hello"))
        await transaction.persisted()
        await asyncio.sleep(1)
        assert ada.texts == bob.texts == ["HELLO"]
        assert server.client_published == []
        assert server.published[0]["origin"] == ada.client.origin
        assert ada.notes.statistics().echoes == 1
        assert bob.notes.statistics().applied == 1


async def test_an_echo_of_a_write_that_seemed_to_fail_is_shown() -> None:  # Q22, Q5
    server = Server()
    server.answer_lost = True
    async with two(server) as (ada, bob):
        transaction = ada.notes.insert(Note("n1", "1", "hello"))
        with pytest.raises(OSError, match="lost"):
            await transaction.persisted()
        assert ada.texts == bob.texts == ["HELLO"]


async def test_a_delete_and_a_server_fn_carry_the_reference_too() -> None:  # Q3
    server = Server()
    async with two(server) as (ada, bob):
        await ada.notes.insert(Note("n1", "1", "hello")).persisted()
        await ada.notes.delete("n1").persisted()
        assert ada.texts == bob.texts == []

        async def save_two() -> None:
            for key in ("n2", "n3"):
                await server.save(Note(key, "1", key), mutation_ref())

        tx = ada.db.transact(lambda tx: tx.insert(ada.notes, Note("n2", "1", "n2"), Note("n3", "1", "n3")), save_two)
        await tx.persisted()
        await asyncio.sleep(1)
        assert ada.texts == bob.texts == ["N2", "N3"]
        assert ada.notes.statistics().echoes == 4
        assert server.client_published == []


def test_outside_of_a_transaction_there_is_no_reference() -> None:
    assert mutation_ref() is None


@pytest.mark.parametrize("ref", ["", "x", ".", "a.", ".b", "a." + "b" * 300])
async def test_a_reference_that_is_none_is_refused_and_nothing_published(ref: str) -> None:  # A2
    server = Server()
    with pytest.raises(MessageError, match="mutation_ref"):
        await publish_change("notes", "refetch", mutation=ref, publish=server.publish)  # type: ignore[arg-type]
    assert server.published == []


async def test_arguments_must_fit_the_action() -> None:
    server = Server()
    channel = ("notes", {"room": "1"})
    with pytest.raises(MessageError, match="needs the row"):
        await publish_change(channel, "insert", publish=server.publish)
    with pytest.raises(MessageError, match="takes no row"):
        await publish_change(channel, "delete", Note("n", "1", ""), publish=server.publish)
    with pytest.raises(MessageError, match="needs key="):
        await publish_change(channel, "delete", publish=server.publish)
    await publish_change(channel, "refetch", publish=server.publish)
    assert server.published == [{"action": "refetch"}]


async def test_the_trace_of_the_call_travels_with_the_row() -> None:
    server = Server()
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    for value in (trace, "no trace", None):
        await publish_change(("notes", {"room": "1"}), "refetch", traceparent=value, publish=server.publish)
    assert server.published == [
        {"action": "refetch", "traceparent": trace},
        {"action": "refetch"},
        {"action": "refetch"},
    ]


def get_user(connection: HTTPConnection) -> str:
    return "u"


def grant(user_id: str, channel: Channel) -> Permissions:
    return Permissions(subscribe=True, publish=True)


async def test_clients_may_not_publish_where_only_the_server_does() -> None:  # A1
    gate = Gate(
        authorize=grant,
        get_user=get_user,
        validate=None,
        declared=DeclaredChannels([Server().notes]),
        origins=OriginPolicy(None),
        max_message_bytes=1000,
        allow_anonymous=False,
        hook_timeout=1.0,
        report=lambda error: pytest.fail(str(error)),
        observer=ServerObserver(),
    )
    with pytest.raises(ChannelDeniedError) as refused:
        await gate.admit_publish("u", "notes:room=1", {"action": "refetch"})
    assert refused.value.reason == "only the server publishes here"
    assert (await gate.admit_publish("u", "chat:room=1", 1)).channel == parse_channel("chat:room=1")
    assert gate.prepare(parse_channel(serialize_key(("notes", {"room": "1"}))), 1, None).text == "1"


def test_who_publishes_is_the_client_or_the_server() -> None:
    wrong: Any = "everybody"
    with pytest.raises(ConfigurationError, match='"client" or "server"'):
        realtime_collection_options(id="x", get_key=str, channel="x", query_fn=list, publish=wrong)
