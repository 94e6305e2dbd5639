"""What observers hear and what is counted, over the reference preset in virtual time."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tanstack_db import DbClient, Transaction, create_collection, live_query
from tanstack_realtime import (
    JSON,
    ChannelDeniedError,
    ConnectionStatistics,
    FeedStatistics,
    LiveEvent,
    Observer,
    RealtimeClient,
    RealtimeCollection,
    RealtimeError,
    SubscriptionStatistics,
    create_realtime_client,
    live_channel_options,
    realtime_collection_options,
)
from tanstack_realtime._envelope import parse_message
from tanstack_realtime.server import Permissions
from tanstack_realtime.testing import RealtimeSandbox

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ROOM = ("chat", {"room": "1"})


@dataclass(frozen=True)
class Note:
    id: str
    room: str
    text: str = ""


class Table:
    """The database and its server functions."""

    def __init__(self) -> None:
        self.rows: dict[str, Note] = {}
        self.failure: Exception | None = None

    async def read(self, room: str) -> list[Note]:
        if self.failure is not None:
            raise self.failure
        return [row for row in self.rows.values() if row.room == room]

    async def add(self, transaction: Transaction[Note]) -> Note:
        if self.failure is not None:
            raise self.failure
        note = transaction.mutations[0].modified
        self.rows[note.id] = note
        return note

    def collection(self, db: DbClient) -> RealtimeCollection[Note, str, [str]]:
        options = realtime_collection_options(
            id="notes", schema=Note, get_key=lambda n: n.id, channel="notes", query_fn=self.read, on_insert=self.add
        )
        return db.collection(create_collection(options))


class Ear(Observer):
    """Writes down what it hears; may fail at everything."""

    def __init__(self, *, broken: bool = False) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self.broken = broken

    def _hear(self, *facts: Any) -> None:
        self.heard.append(facts)
        if self.broken:
            raise LookupError("observer broke")

    def named(self, name: str) -> list[tuple[Any, ...]]:
        return [facts[1:] for facts in self.heard if facts[0] == name]

    def connected(self, connection_id: str, user_id: str | None) -> None:
        self._hear("connected", bool(connection_id), user_id)

    def disconnected(self, reason: str | None) -> None:
        self._hear("disconnected", reason is not None)

    def subscribed(self, channel: str, recovered: bool | None) -> None:
        self._hear("subscribed", channel, recovered)

    def denied(self, channel: str, error: RealtimeError) -> None:
        self._hear("denied", channel, error.code)

    def mutating(self, mutation_id: str, collection: str) -> str | None:
        self._hear("mutating", collection)
        return TRACE

    def settled(self, mutation_id: str, collection: str, *, accepted: bool) -> None:
        self._hear("settled", collection, accepted)

    def published(self, channel: str, message: JSON, seconds: float, error: Exception | None) -> None:
        self._hear("published", channel, error is None)

    def applied(self, channel: str, mutation_id: str | None, traceparent: str | None) -> None:
        self._hear("applied", channel, bool(mutation_id), traceparent)

    def refetched(self, channel: str, seconds: float, error: Exception | None) -> None:
        self._hear("refetched", channel, None if error is None else str(error))

    def dropped(self, channel: str, reason: str) -> None:
        self._hear("dropped", channel)


@asynccontextmanager
async def user(
    sandbox: RealtimeSandbox, name: str, observer: Observer, errors: list[Exception] | None = None
) -> AsyncGenerator[RealtimeClient]:
    db = DbClient(on_error=(sandbox.errors if errors is None else errors).append)
    transport = sandbox.preset.transport(name)
    async with create_realtime_client(
        "http://app.example", transport=transport, db=db, get_token=lambda: name, observer=observer
    ) as client:
        yield client
    await db.close()


def only_notes(user_id: str, channel: Any) -> Permissions:
    allowed = channel.namespace in ("notes", "chat")
    return Permissions(subscribe=allowed, publish=allowed)


async def test_an_observer_follows_a_mutation_to_the_other_screen() -> None:
    to_ann, to_bob, table = Ear(), Ear(), Table()
    async with (
        RealtimeSandbox(authorize=only_notes) as sandbox,
        user(sandbox, "ann", to_ann) as ann,
        user(sandbox, "bob", to_bob) as bob,
    ):
        notes, theirs = table.collection(ann.db), table.collection(bob.db)
        mine = live_query(lambda q: q.from_(notes).where(lambda n: n.room == "1"), client=ann.db)
        yours = live_query(lambda q: q.from_(theirs).where(lambda n: n.room == "1"), client=bob.db)
        await mine.preload()
        await yours.preload()
        await sandbox.pass_time()
        await notes.insert(Note("n1", "1")).persisted()
        await sandbox.pass_time()
        assert [note.id for note in yours.get()] == ["n1"]
        table.failure = OSError("database away")
        failing = notes.insert(Note("n2", "1"))
        with pytest.raises(OSError, match="away"):
            await failing.persisted()
        bob.subscribe(("secret", {}), lambda message: None)
        await sandbox.pass_time()
        assert theirs.statistics() == FeedStatistics(messages=1, applied=1, fetches=1)
        with pytest.raises(AttributeError):
            theirs.statistics().messages = 7  # type: ignore[misc]
    assert to_ann.named("connected") == [(True, "ann")]
    assert to_ann.named("subscribed") == [("notes:room=1", None)]
    assert to_ann.named("mutating") == [("notes",)] * 2
    assert to_ann.named("settled") == [("notes", True), ("notes", False)]
    assert to_ann.named("published") == [("notes:room=1", True)]
    assert to_ann.named("applied") == []  # its own echo
    assert to_bob.named("applied") == [("notes:room=1", True, TRACE)]
    assert to_bob.named("refetched") == [("notes:room=1", None)]
    assert to_bob.named("denied") == [("secret", "denied")]
    assert to_bob.named("disconnected") == [(False,)]


async def test_what_is_lost_is_told_and_counted() -> None:  # G12, Q13
    ear, table = Ear(), Table()
    async with RealtimeSandbox(authorize=only_notes) as sandbox, user(sandbox, "bob", ear) as bob:
        notes = table.collection(bob.db)
        subscription = bob.subscribe(ROOM, lambda message: None)
        screen = live_query(lambda q: q.from_(notes).where(lambda n: n.room == "1"), client=bob.db)
        await screen.preload()
        await sandbox.pass_time()
        await sandbox.realtime.publish(("notes", {"room": "1"}), {"action": "explode"})
        await sandbox.realtime.publish(ROOM, "hello")
        await sandbox.pass_time()
        assert ear.named("dropped") == [("notes:room=1",)]
        await sandbox.restart()  # what was before is not known any more
        table.failure = OSError("database away")
        await sandbox.pass_time(20)
        assert sorted(ear.named("dropped")) == [("chat:room=1",), ("notes:room=1",), ("notes:room=1",)]
        assert ("notes:room=1", "database away") in ear.named("refetched")
        assert subscription.statistics() == SubscriptionStatistics(
            listeners=1, messages=1, acknowledged=2, recovered=0, gaps=1, denials=0
        )
        with pytest.raises(ChannelDeniedError):
            await bob.publish(("secret", {}), 1)
        await bob.publish(ROOM, 1)
        counted = bob.statistics()  # of one channel: nobody looked at the notes any more
        assert counted == ConnectionStatistics(
            attempts=counted.attempts, connects=2, losses=1, messages=3, published=1, failed=1, channels=1
        )
        assert counted.attempts >= 2
        subscription.unsubscribe()
        assert subscription.statistics() is None
        sandbox.errors.clear()


async def test_an_observer_that_raises_disturbs_nothing_and_is_reported() -> None:
    ear, table, errors = Ear(broken=True), Table(), list[Exception]()
    async with RealtimeSandbox(authorize=only_notes) as sandbox, user(sandbox, "ann", ear, errors) as ann:
        notes = table.collection(ann.db)
        screen = live_query(lambda q: q.from_(notes).where(lambda n: n.room == "1"), client=ann.db)
        await screen.preload()
        await sandbox.pass_time()
        await notes.insert(Note("n1", "1")).persisted()
        await sandbox.realtime.publish(("notes", {"room": "1"}), {"action": "delete", "key": "n1"})
        await sandbox.pass_time()
        assert screen.get() == []
    assert len(errors) == len(ear.heard)
    assert {getattr(error, "code", None) for error in errors} == {"observer_failed"}
    assert all(isinstance(error.__cause__, LookupError) for error in errors)


async def test_a_live_channel_is_observed_too() -> None:  # L5
    ear = Ear()

    async def newest(room: str) -> list[Note]:
        return []

    def show(event: LiveEvent) -> Note:
        return Note(str(event.data["id"]), "1")

    chat = create_collection(
        live_channel_options(
            id="chat", schema=Note, get_key=lambda n: n.id, channel="chat", initial_data=newest, on_event=show
        )
    )
    async with RealtimeSandbox(authorize=only_notes) as sandbox, user(sandbox, "bob", ear) as bob:
        mine = bob.collection(chat)
        screen = live_query(lambda q: q.from_(mine).where(lambda n: n.room == "1"), client=bob.db)
        await screen.preload()
        await sandbox.pass_time()
        for event in ({"id": "n1"}, {"no": "id"}, "nonsense"):
            await sandbox.realtime.publish(ROOM, event)
        await sandbox.pass_time()
        assert [note.id for note in screen.get()] == ["n1"]
        sandbox.errors.clear()
    assert ear.named("refetched") == [("chat:room=1", None)]
    assert ear.named("applied") == [("chat:room=1", False, None)]
    assert ear.named("dropped") == [("chat:room=1",)] * 2


async def test_leaving_is_no_loss() -> None:
    ear = Ear()
    async with RealtimeSandbox() as sandbox, user(sandbox, "ann", ear) as ann:
        ann.disconnect()
        assert (ann.statistics().connects, ann.statistics().losses) == (1, 0)
        assert ear.named("disconnected") == [(False,)]


@pytest.mark.parametrize("value", [None, 7, "", "00-1-2-3", f"{TRACE}\n", TRACE.upper()])
def test_a_broken_trace_context_costs_no_row(value: object) -> None:  # Q13
    message = parse_message({"action": "delete", "key": "n1", "traceparent": value})
    assert (message.traceparent, len(message.changes)) == (None, 1)
    assert parse_message({"action": "refetch", "traceparent": TRACE}).traceparent == TRACE
