"""Realtime collections from the outside: two clients, one database, one provider, virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tanstack_db import DbClient, LoadSubset, NoRunningLoopError, Transaction, create_collection, live_query
from tanstack_db.testing import settle
from tanstack_realtime import (
    JSON,
    Capabilities,
    ChannelDeniedError,
    ChannelError,
    CloseReason,
    ConfigurationError,
    Inbound,
    LinkSink,
    OpenRequest,
    Position,
    PublishError,
    RealtimeClient,
    RealtimeCollection,
    SubscribeAck,
    create_realtime_client,
    realtime_collection_options,
)


@dataclass(frozen=True)
class Todo:
    id: str
    project_id: str
    text: str
    version: int = 0


class Provider:
    """Carries messages between the links of one test. Nothing is recovered after a drop."""

    def __init__(self) -> None:
        self.links: list[Link] = []
        self.denied: set[str] = set()
        self.published: list[tuple[str, Any]] = []
        self.publish_failures: list[Exception] = []
        self.down = False

    def to(self, channel: str, data: Any, *, sender: Link | None = None) -> None:
        for link in self.links:
            if channel in link.channels:
                link.sink.message(channel, Inbound(data, own=link is sender))

    def drop(self) -> None:
        links, self.links = self.links, []
        for link in links:
            link.sink.closed(CloseReason(1006, "gone"))

    def revoke(self, channel: str) -> None:
        self.denied.add(channel)
        for link in self.links:
            if channel in link.channels:
                link.channels.discard(channel)
                link.sink.revoked(channel, "denied", "no longer a member")


class Link:
    def __init__(self, provider: Provider, sink: LinkSink, user_id: str) -> None:
        self.provider = provider
        self.sink = sink
        self.channels: set[str] = set()
        self.user_id = user_id
        self.connection_id = f"c{id(self)}"

    async def subscribe(self, channel: str, /, *, since: Position | None) -> SubscribeAck:
        await asyncio.sleep(0.01)
        if channel in self.provider.denied:
            raise ChannelDeniedError("not a member", channel=channel)
        self.channels.add(channel)
        return SubscribeAck(recovered=None if since is None else False)

    async def unsubscribe(self, channel: str, /) -> None:
        self.channels.discard(channel)

    async def publish(self, channel: str, data: JSON, /) -> None:
        await asyncio.sleep(0.01)
        if self.provider.publish_failures:
            raise self.provider.publish_failures.pop(0)
        self.provider.published.append((channel, data))
        self.provider.to(channel, data, sender=self)

    async def ping(self) -> None:
        await asyncio.sleep(0.01)

    async def close(self) -> None:
        if self in self.provider.links:
            self.provider.links.remove(self)


class Eager(Link):
    """Takes a message in the call that publishes it."""

    def begin_publish(self, channel: str, data: JSON, /) -> Callable[[], Awaitable[None]]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[None] = loop.create_future()

        def arrived() -> None:
            if self.provider.publish_failures:
                answer.set_exception(self.provider.publish_failures.pop(0))
                answer.exception()  # where nobody waits any more
                return
            self.provider.published.append((channel, data))
            self.provider.to(channel, data, sender=self)
            answer.set_result(None)

        loop.call_later(0.01, arrived)

        async def answered() -> None:
            await answer

        return answered


@pytest.fixture(autouse=True, params=[Link, Eager], ids=["in a task", "at once"])
def link_class(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything here holds whenever a message is written."""
    monkeypatch.setattr(Transport, "link", request.param)


class Transport:
    link: type[Link] = Link
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

    def __init__(self, provider: Provider, user_id: str) -> None:
        self.provider = provider
        self.user_id = user_id

    async def open(self, request: OpenRequest, sink: LinkSink, /) -> Link:
        await asyncio.sleep(0.01)
        link = self.link(self.provider, sink, self.user_id)
        self.provider.links.append(link)
        return link


class World:
    """The server: a database, its server functions, and how long they take."""

    def __init__(self, *, versioned: bool = False) -> None:
        self.rows: dict[str, Todo] = {}
        self.reads: list[str] = []
        self.write_takes = 0.1
        self.read_failure: Exception | None = None
        self.read_takes = 0.0
        self.write_failure: Exception | None = None
        self.answers = True
        """Whether the server functions return the row."""
        self.answers_late: dict[str, float] = {}
        """Seconds from a write to its answer, by the row's text; of a delete by "delete"."""
        self.last_word: Todo | None = None
        """What another client writes right after each of our writes."""
        self.server_keys = False
        """Whether the server assigns the key of a new row."""
        self.server_versions = False
        """Whether the server counts a row's versions."""
        self.provider = Provider()
        self.collection: RealtimeCollection[Todo, str, [str]] = create_collection(
            realtime_collection_options(
                id="todos",
                schema=Todo,
                get_key=lambda todo: todo.id,
                channel=channel_of,
                query_fn=self.get_todos,
                version=(lambda todo: todo.version) if versioned else None,
                on_insert=self.on_insert,
                on_update=self.on_update,
                on_delete=self.on_delete,
            )
        )

    async def get_todos(self, project_id: str) -> list[Todo]:
        self.reads.append(project_id)
        if self.read_failure is not None:
            raise self.read_failure
        await asyncio.sleep(self.read_takes)
        return [row for row in self.rows.values() if row.project_id == project_id]

    async def write(self, row: Todo) -> Todo | None:
        await asyncio.sleep(self.write_takes)
        if self.write_failure is not None:
            raise self.write_failure
        if self.server_versions:
            row = replace(row, version=self.rows[row.id].version + 1 if row.id in self.rows else 1)
        self.rows[row.id] = self.last_word or row
        await asyncio.sleep(self.answers_late.get(row.text, 0))
        return row if self.answers else None

    async def on_insert(self, transaction: Transaction[Todo]) -> Todo | None:
        row = transaction.mutations[0].modified
        return await self.write(replace(row, id=f"server-{row.id}") if self.server_keys else row)

    async def on_update(self, transaction: Transaction[Todo]) -> Todo | None:
        return await self.write(transaction.mutations[0].modified)

    async def on_delete(self, transaction: Transaction[Todo]) -> None:
        await asyncio.sleep(self.write_takes)
        del self.rows[transaction.mutations[0].key]
        await asyncio.sleep(self.answers_late.get("delete", 0))


def channel_of(project_id: str) -> tuple[str, dict[str, str]]:
    return ("todos", {"project_id": project_id})


A, B = "todos:project_id=a", "todos:project_id=b"


class Screen:
    """One user's client with what it shows of the projects that it asked for."""

    def __init__(self, world: World, user_id: str = "ada") -> None:
        self.errors: list[Exception] = []
        self.db = DbClient(on_error=self.errors.append)
        self.world = world
        self.transport = Transport(world.provider, user_id)
        self.client: RealtimeClient = create_realtime_client(
            transport=self.transport, db=self.db, on_error=self.errors.append
        )
        self.todos = self.db.collection(world.collection)
        self.pictures: list[list[str]] = []
        self.stops: list[Callable[[], None]] = []
        self.stops.append(self.todos.subscribe_changes(lambda _: self.pictures.append(self.texts)))

    def open(self, *projects: str) -> Any:
        bindings: Mapping[str, tuple[Hashable, ...]] = {"project_id": projects}
        lease = self.todos.acquire(LoadSubset(bindings), lambda: None)
        self.stops.append(lease.release)
        return lease

    @property
    def texts(self) -> list[str]:
        return sorted(row.text for row in self.todos.to_list())


@asynccontextmanager
async def screens(world: World, *users: str, connect: bool = True) -> AsyncGenerator[list[Screen], None]:
    made = [Screen(world, user) for user in users]
    try:
        for screen in made:
            if connect:
                screen.client.connect()
                await screen.client.connected()
        yield made
    finally:
        for screen in made:
            for stop in screen.stops:
                stop()
            await screen.db.close()


def todo(key: str, text: str, project: str = "a", version: int = 0) -> Todo:
    return Todo(key, project, text, version)


async def test_a_scope_is_loaded_shared_and_released() -> None:
    world = World()
    world.rows = {"1": todo("1", "one"), "2": todo("2", "two", "b")}
    async with screens(world, "ada") as [ada]:
        first, second = ada.open("a"), ada.open("a")
        await asyncio.sleep(1)

        assert ada.texts == ["one"]
        assert first.is_ready
        assert world.reads == ["a"]
        assert [status.live for status in ada.todos.scopes] == [True]

        first.release()
        second.release()
        await asyncio.sleep(4)
        assert ada.texts == ["one"]
        await asyncio.sleep(2)
        assert ada.texts == []
        assert world.provider.links[0].channels == set()


async def test_before_connect_the_collection_loads_and_after_it_is_live() -> None:  # S22
    world = World()
    world.rows = {"1": todo("1", "one")}
    async with screens(world, "ada", connect=False) as [ada]:
        ada.open("a")
        await asyncio.sleep(1)
        assert ada.texts == ["one"]

        world.rows["2"] = todo("2", "two")
        ada.client.connect()
        await asyncio.sleep(1)

        assert ada.texts == ["one", "two"]
        assert world.reads == ["a", "a"]


async def test_an_insert_reaches_the_other_client_with_the_servers_row() -> None:  # P4
    world = World()
    world.server_keys = True
    async with screens(world, "ada", "bob") as [ada, bob]:
        ada.open("a")
        bob.open("a")
        await asyncio.sleep(1)

        transaction = ada.todos.insert(todo("temp", "milk"))
        assert ada.texts == ["milk"]
        await transaction.persisted()
        await asyncio.sleep(1)

        assert ada.texts == bob.texts == ["milk"]
        assert list(ada.todos.rows) == list(bob.todos.rows) == ["server-temp"]
        # One row at every moment, under whichever key.
        assert [len(picture) for picture in ada.pictures] == [1] * len(ada.pictures)
        [(channel, message)] = world.provider.published
        assert channel == A
        assert (message["action"], message["data"]["id"], message["origin"]) == (
            "insert",
            "server-temp",
            ada.client.origin,
        )


async def test_others_have_a_row_before_the_writers_own_screen_is_done() -> None:
    world = World()
    heard: list[list[str]] = []
    async with screens(world, "ada") as [ada]:
        ada.open("a")
        await asyncio.sleep(1)
        world.server_keys = True
        [link] = world.provider.links
        if not isinstance(link, Eager):
            return
        begin = link.begin_publish

        def spied(channel: str, data: JSON, /) -> Callable[[], Awaitable[None]]:
            heard.append([row.id for row in ada.todos.to_list()])
            return begin(channel, data)

        link.begin_publish = spied  # type: ignore[method-assign]
        await ada.todos.insert(todo("1", "one")).persisted()

    assert heard == [["1"]]
    assert [row["data"]["id"] for _, row in world.provider.published] == ["server-1"]


async def test_a_failing_mutation_rolls_back_and_publishes_nothing() -> None:  # Q5
    world = World()
    world.write_failure = PermissionError("not yours")
    async with screens(world, "ada", "bob") as [ada, bob]:
        ada.open("a")
        bob.open("a")
        await asyncio.sleep(1)

        transaction = ada.todos.insert(todo("1", "milk"))
        with pytest.raises(PermissionError):
            await transaction.persisted()
        await asyncio.sleep(1)

        assert ada.texts == []
        assert bob.pictures == []
        assert world.provider.published == []


async def test_a_delete_is_published_though_its_handler_returns_nothing() -> None:  # Q3
    world = World()
    world.rows = {"1": todo("1", "one")}
    async with screens(world, "ada", "bob") as [ada, bob]:
        ada.open("a")
        bob.open("a")
        await asyncio.sleep(1)

        await ada.todos.delete("1").persisted()
        await asyncio.sleep(1)

        assert ada.texts == bob.texts == []
        assert world.provider.published[0][1]["action"] == "delete"


async def test_where_the_handler_returns_nothing_both_fetch_and_the_optimistic_row_is_never_published() -> None:  # Q21
    world = World()
    world.answers, world.server_keys = False, True
    async with screens(world, "ada", "bob") as [ada, bob]:
        ada.open("a")
        bob.open("a")
        await asyncio.sleep(1)

        await ada.todos.insert(todo("temp", "milk")).persisted()
        assert list(ada.todos.rows) == ["server-temp"]
        await asyncio.sleep(3)

        assert list(bob.todos.rows) == ["server-temp"]
        assert [message["action"] for _, message in world.provider.published] == ["refetch"]
        assert [len(picture) for picture in ada.pictures] == [1] * len(ada.pictures)


async def test_several_inserts_whose_handler_returns_nothing_wait_for_nobody() -> None:  # Q21
    world = World()
    world.answers, world.server_keys = False, True
    async with screens(world, "ada") as [ada]:
        ada.open("a")
        await asyncio.sleep(1)

        async with asyncio.timeout(1):
            await ada.todos.insert(todo("t1", "milk"), todo("t2", "bread")).persisted()
        assert list(ada.todos.rows) == ["server-t1", "server-t2"]
        assert [len(picture) for picture in ada.pictures] == [2] * len(ada.pictures)


async def test_a_key_that_lives_again_with_a_version_that_begins_anew_shows_for_everybody() -> None:  # Q11
    world = World(versioned=True)
    world.rows = {"t1": todo("t1", "first life", version=5)}
    async with screens(world, "ada", "bob") as [ada, bob]:
        ada.open("a")
        bob.open("a")
        await asyncio.sleep(1)
        await bob.todos.delete("t1").persisted()
        await asyncio.sleep(1)

        ada.pictures.clear()
        await ada.todos.insert(todo("t1", "second life", version=1)).persisted()
        await asyncio.sleep(3)

        assert ada.texts == bob.texts == ["second life"]
        assert [] not in ada.pictures


async def test_an_insert_that_hangs_keeps_nobody_from_being_fetched_for_long() -> None:  # Q21
    world = World()
    world.answers = False
    async with screens(world, "ada") as [ada]:
        ada.open("a")
        await asyncio.sleep(1)
        world.write_takes = 3600
        hanging = ada.todos.insert(todo("t1", "milk"))
        await settle()
        world.write_takes = 0.1

        async with asyncio.timeout(10):
            await ada.todos.insert(todo("t2", "bread")).persisted()
        world.rows["t3"] = todo("t3", "jam")
        ada.todos.refetch()
        await asyncio.sleep(10)

        assert ada.texts == ["bread", "jam", "milk"]
        hanging.rollback()


async def test_a_server_function_in_place_of_the_handlers_is_fetched_after_as_in_the_seed() -> None:  # Q21
    world = World()
    async with screens(world, "ada", "bob") as [ada, bob]:
        ada.open("a")
        bob.open("a")
        await asyncio.sleep(1)

        async def add() -> None:
            await world.write(todo("server", "milk"))

        transaction = ada.db.transact(lambda tx: tx.insert(ada.todos, todo("temp", "milk")), add)
        assert ada.texts == ["milk"]
        await transaction.persisted()
        await asyncio.sleep(3)

        assert list(ada.todos.rows) == list(bob.todos.rows) == ["server"]


async def test_a_row_that_changes_its_parameter_moves_for_everybody() -> None:  # Q20
    world = World()
    world.rows = {"1": todo("1", "one")}
    async with screens(world, "ada", "bob") as [ada, bob]:
        ada.open("a", "b")
        bob.open("a")
        cleo = bob.open("b")
        await asyncio.sleep(1)
        assert cleo.is_ready

        await ada.todos.update("1", project_id="b").persisted()
        await asyncio.sleep(1)

        assert {channel: message["action"] for channel, message in world.provider.published} == {
            A: "delete",
            B: "insert",
        }
        for screen in (ada, bob):
            assert [row.project_id for row in screen.todos.to_list()] == ["b"]


async def test_several_rows_are_one_message_and_one_commit() -> None:  # Q10
    world = World()
    async with screens(world, "ada", "bob") as [ada, bob]:
        ada.open("a")
        bob.open("a")
        await asyncio.sleep(1)

        await ada.todos.insert(todo("1", "one"), todo("2", "two"), todo("3", "three")).persisted()
        await asyncio.sleep(1)

        assert len(world.provider.published) == 1
        assert [change["action"] for change in world.provider.published[0][1]["changes"]] == ["insert"] * 3
        assert bob.pictures == [["one", "three", "two"]]


async def test_what_succeeded_before_a_failure_is_kept_and_published() -> None:
    world = World()
    async with screens(world, "ada", "bob") as [ada, bob]:
        ada.open("a")
        bob.open("a")
        await asyncio.sleep(1)

        transaction = ada.todos.insert(todo("1", "one"), todo("2", "two"))
        await asyncio.sleep(0.15)
        world.write_failure = OSError("disk full")
        with pytest.raises(OSError, match="disk full"):
            await transaction.persisted()
        await asyncio.sleep(1)

        assert ada.texts == bob.texts == ["one"]


async def test_a_publish_that_fails_rolls_nothing_back_and_is_retried_with_the_same_id() -> None:  # Q4
    world = World()
    async with screens(world, "ada", "bob") as [ada, bob]:
        ada.open("a")
        bob.open("a")
        await asyncio.sleep(1)
        world.provider.publish_failures = [PublishError("busy", retryable=True)] * 2  # late, whatever the jitter

        await ada.todos.insert(todo("1", "one")).persisted()
        assert ada.texts == ["one"]
        await asyncio.sleep(5)

        assert bob.texts == ["one"]
        assert [message["action"] for _, message in world.provider.published] == ["insert", "refetch"]


async def test_a_writer_that_dies_before_its_publish_is_seen_at_the_next_refetch() -> None:  # Q22
    world = World()
    async with screens(world, "ada", "bob") as [ada, bob]:
        ada.open("a")
        bob.open("a")
        await asyncio.sleep(10)
        world.provider.publish_failures = [PublishError("power cut", retryable=True)] * 10

        await ada.todos.insert(todo("1", "one")).persisted()
        await ada.client.close()
        await asyncio.sleep(60)
        assert bob.texts == []

        bob.client.lifecycle.focus()
        await asyncio.sleep(1)
        assert bob.texts == ["one"]


async def test_a_denied_publish_is_reported_and_rolls_nothing_back() -> None:  # P3, Q4
    world = World()
    async with screens(world, "ada") as [ada]:
        ada.open("a")
        await asyncio.sleep(1)
        denial = ChannelDeniedError("read only", channel=A)
        world.provider.publish_failures = [denial]

        await ada.todos.insert(todo("1", "one")).persisted()
        await asyncio.sleep(1)

        assert ada.texts == ["one"]
        assert ada.errors == [denial]


async def test_the_own_echo_does_not_undo_a_later_own_change() -> None:  # Q6, Q7
    world = World()
    async with screens(world, "ada") as [ada]:
        ada.open("a")
        await asyncio.sleep(1)
        await ada.todos.insert(todo("1", "one")).persisted()
        await asyncio.sleep(1)
        [(channel, echo)] = world.provider.published
        await ada.todos.update("1", text="two").persisted()

        world.provider.to(channel, echo)
        await settle()

        assert ada.texts == ["two"]


async def test_a_message_during_a_handler_is_neither_lost_nor_undoes_the_optimistic_row() -> None:  # Q18
    world = World()
    world.rows = {"1": todo("1", "one")}
    async with screens(world, "ada") as [ada]:
        ada.open("a")
        await asyncio.sleep(1)
        transaction = ada.todos.update("1", text="mine")
        other = todo("1", "theirs")
        world.rows["1"] = other
        world.provider.to(
            A, {"action": "update", "data": {"id": "1", "project_id": "a", "text": "theirs", "version": 0}}
        )
        await settle()
        assert ada.texts == ["mine"]

        transaction.rollback()
        await settle()
        assert ada.texts == ["theirs"]


async def test_a_conflict_without_versions_is_settled_by_the_database() -> None:  # Q18
    world = World()
    world.rows = {"1": todo("1", "one")}
    async with screens(world, "ada") as [ada]:
        ada.open("a")
        await asyncio.sleep(1)
        # The other's write comes to the database last, its message while ours is still under way.
        world.last_word = todo("1", "theirs")
        transaction = ada.todos.update("1", text="mine")
        await settle()
        theirs = {"id": "1", "project_id": "a", "text": "theirs", "version": 0}
        world.provider.to(A, {"action": "update", "data": theirs})
        await transaction.persisted()
        await asyncio.sleep(1)

        assert ada.texts == ["theirs"]


@pytest.mark.parametrize("versioned", [False, True])
async def test_a_row_stays_deleted_when_the_answer_to_an_earlier_move_comes_last(versioned: bool) -> None:  # Q11
    """Found by history 11378: the move's message followed that of the delete and brought the row back for good."""
    world = World(versioned=versioned)
    world.server_versions = versioned
    world.rows = {"1": todo("1", "one", version=1)}
    world.answers_late = {"two": 5.0}
    async with screens(world, "ada", "bob") as [ada, bob]:
        ada.open("a", "b")
        bob.open("a", "b")
        await asyncio.sleep(1)
        move = ada.todos.update("1", text="two", project_id="b")
        await asyncio.sleep(1)
        await ada.todos.delete("1").persisted()
        await move.persisted()
        await asyncio.sleep(10)

        assert world.rows == {}
        assert ada.texts == bob.texts == []


@pytest.mark.parametrize("later", ["delete", "update", "update without an answer"])
async def test_readers_of_where_a_row_was_hear_of_a_mutation_that_builds_on_an_open_move(later: str) -> None:  # Q20
    """The move is refused, but what came after it was done: the row is gone from where the others still see it."""
    world = World()
    world.rows = {"1": todo("1", "one")}
    async with screens(world, "ada", "bob") as [ada, bob]:
        ada.open("a", "b")
        bob.open("a")
        await asyncio.sleep(1)
        world.write_takes = 5.0
        move = ada.todos.update("1", project_id="b")
        await asyncio.sleep(0.1)
        world.write_takes = 0.1
        world.answers = later == "update"
        await (ada.todos.delete("1") if later == "delete" else ada.todos.update("1", text="two")).persisted()
        world.write_failure = PermissionError("it stays")
        with pytest.raises(PermissionError):
            await move.persisted()
        await asyncio.sleep(10)

        assert bob.texts == []
        assert ada.texts == ([] if later == "delete" else ["two"])


async def test_readers_of_where_another_client_moved_a_row_hear_of_an_update_without_an_answer() -> None:  # Q20
    """The move is heard while the database is asked what became of the update."""
    world = World()
    world.rows = {"1": todo("1", "one")}
    async with screens(world, "ada", "bob") as [ada, bob]:
        ada.open("a", "b")
        bob.open("a", "b")
        await asyncio.sleep(1)
        world.answers = False
        world.read_takes = 1.0
        update = ada.todos.update("1", text="two")
        await asyncio.sleep(0.5)
        world.rows["1"] = todo("1", "two", "b")  # another program moved it, and tells with what it had read before
        world.provider.to(A, {"action": "delete", "key": "1"})
        world.provider.to(B, {"action": "insert", "data": {"id": "1", "project_id": "b", "text": "one", "version": 0}})
        await update.persisted()
        await asyncio.sleep(10)

        assert ada.texts == bob.texts == ["two"]


async def test_a_row_that_is_new_again_stays_when_the_answer_to_its_delete_comes_last() -> None:  # Q11
    world = World()
    world.rows = {"1": todo("1", "one")}
    world.answers_late = {"delete": 5.0}
    async with screens(world, "ada", "bob") as [ada, bob]:
        ada.open("a")
        bob.open("a")
        await asyncio.sleep(1)
        delete = ada.todos.delete("1")
        await asyncio.sleep(1)
        await ada.todos.insert(todo("1", "again")).persisted()
        await delete.persisted()
        await asyncio.sleep(10)

        assert ada.texts == bob.texts == ["again"]


async def test_what_the_later_answer_left_stands_in_while_the_settling_fetch_fails() -> None:  # Q11, G6
    world = World()
    world.rows = {"1": todo("1", "one")}
    world.answers_late = {"two": 5.0}
    async with screens(world, "ada") as [ada]:
        ada.open("a")
        await asyncio.sleep(1)
        update = ada.todos.update("1", text="two")
        await asyncio.sleep(1)
        await ada.todos.update("1", text="three").persisted()
        world.read_failure = OSError("database is busy")
        await update.persisted()
        assert ada.texts == ["three"]

        world.rows["1"] = todo("1", "two")
        world.read_failure = None
        await asyncio.sleep(40)
        assert ada.texts == ["two"]


@pytest.mark.parametrize(("versioned", "reads"), [(False, ["a", "a", "a", "a"]), (True, ["a", "a"])])
async def test_the_last_of_two_updates_is_shown_when_its_answer_comes_first(  # Q11
    versioned: bool, reads: list[str]
) -> None:
    world = World(versioned=versioned)
    world.rows = {"1": todo("1", "one", version=1)}
    world.answers_late = {"two": 5.0}
    async with screens(world, "ada", "bob") as [ada, bob]:
        ada.open("a")
        bob.open("a")
        await asyncio.sleep(1)
        first = ada.todos.update("1", text="two", version=2)
        await asyncio.sleep(1)
        await ada.todos.update("1", text="three", version=3).persisted()
        await first.persisted()
        await asyncio.sleep(10)

        assert ada.texts == bob.texts == ["three"]
        assert ada.pictures[-1] == ["three"]
        # Versions say which was last; without them each client asks the database once.
        assert world.reads == reads


async def test_an_answer_that_is_older_than_a_message_does_not_regress_the_row() -> None:  # Q11, Q18
    world = World(versioned=True)
    world.rows = {"1": todo("1", "one", version=1)}
    async with screens(world, "ada") as [ada]:
        ada.open("a")
        await asyncio.sleep(1)
        transaction = ada.todos.update("1", text="mine")
        await settle()
        theirs = {"id": "1", "project_id": "a", "text": "theirs", "version": 3}
        world.provider.to(A, {"action": "update", "data": theirs})
        await transaction.persisted()

        assert ada.texts == ["theirs"]


async def test_the_optimistic_row_stands_in_while_the_settling_fetch_fails() -> None:  # Q21, G6
    world = World()
    world.answers, world.server_keys = False, True
    async with screens(world, "ada") as [ada]:
        ada.open("a")
        await asyncio.sleep(1)
        world.read_failure = OSError("database is busy")
        await ada.todos.insert(todo("temp", "milk")).persisted()
        assert list(ada.todos.rows) == ["temp"]

        world.read_failure = None
        await asyncio.sleep(10)
        assert list(ada.todos.rows) == ["server-temp"]


async def test_what_waits_for_a_connection_is_published_as_soon_as_there_is_one() -> None:  # P1, Q4
    world = World()
    async with screens(world, "ada", "bob") as [ada, bob]:
        ada.open("a")
        bob.open("a")
        await asyncio.sleep(1)
        ada.client.disconnect()
        await ada.todos.insert(todo("1", "one")).persisted()
        # Long enough for the wait between two tries to be half a minute.
        await asyncio.sleep(300.5)
        assert bob.texts == []

        ada.client.connect()
        await ada.client.connected()
        await asyncio.sleep(0.5)
        assert bob.texts == ["one"]


async def test_a_parameter_of_the_wrong_type_is_the_querys_error() -> None:  # K4
    world = World()
    async with screens(world, "ada") as [ada]:
        wrong: Any = 5
        lease = ada.open(wrong)

        assert isinstance(lease.error, ConfigurationError)
        assert world.reads == []


async def test_a_row_of_another_scope_is_refused_counted_and_reported() -> None:  # Q19
    world = World()
    async with screens(world, "ada") as [ada]:
        ada.open("a", "b")
        await asyncio.sleep(1)
        forged = {"id": "9", "project_id": "b", "text": "forged", "version": 0}
        world.provider.to(A, {"action": "insert", "data": forged})
        await settle()

        assert ada.texts == []
        assert ada.todos.statistics().refused == 1
        assert "belongs to" in str(ada.errors[0])


async def test_after_a_drop_every_scope_fetches_once() -> None:  # G1, G2, G8, S2
    world = World()
    async with screens(world, "ada") as [ada]:
        ada.open("a")
        ada.open("b")
        await asyncio.sleep(1)
        assert sorted(world.reads) == ["a", "b"]

        world.provider.drop()
        world.rows = {"1": todo("1", "missed")}
        await asyncio.sleep(10)

        assert ada.texts == ["missed"]
        assert sorted(world.reads) == ["a", "a", "b", "b"]


async def test_focus_refetches() -> None:  # G11
    world = World()
    async with screens(world, "ada") as [ada]:
        ada.open("a")
        await asyncio.sleep(10)
        world.rows = {"1": todo("1", "written elsewhere")}

        for _ in range(5):
            ada.client.lifecycle.focus()
            await asyncio.sleep(0.1)

        assert ada.texts == ["written elsewhere"]
        assert world.reads == ["a", "a"]


async def test_revoked_rows_go_and_a_later_grant_brings_them_back() -> None:  # S20, S23
    world = World()
    world.rows = {"1": todo("1", "secret")}
    async with screens(world, "ada") as [ada]:
        ada.open("a")
        await asyncio.sleep(1)
        world.read_failure = PermissionError("not a member")

        world.provider.revoke(A)
        await asyncio.sleep(1)
        assert ada.texts == []
        status = ada.todos.scope_status("a")
        assert status is not None
        assert isinstance(status.denied, ChannelDeniedError)

        world.provider.denied.clear()
        world.read_failure = None
        world.provider.drop()
        await asyncio.sleep(40)
        assert ada.texts == ["secret"]


async def test_another_user_sees_nothing_of_the_former() -> None:  # C18
    world = World()
    world.write_takes = 100.0
    world.rows = {"1": todo("1", "ada's")}
    async with screens(world, "ada") as [screen]:
        screen.open("a")
        await asyncio.sleep(1)
        screen.todos.insert(todo("2", "ada's draft"))
        assert screen.texts == ["ada's", "ada's draft"]

        screen.client.disconnect()
        screen.transport.user_id = "bob"
        world.rows = {"3": todo("3", "bob's")}
        screen.client.connect()
        await screen.client.connected()
        assert "ada's" not in screen.texts
        assert "ada's draft" not in screen.texts
        await asyncio.sleep(200)

        assert screen.texts == ["bob's"]
        assert world.provider.published == []


async def test_closing_the_client_sends_what_was_committed() -> None:  # P1
    world = World()
    async with screens(world, "ada", "bob") as [ada, bob]:
        ada.open("a")
        bob.open("a")
        await asyncio.sleep(1)
        await ada.todos.insert(todo("1", "one")).persisted()

        await ada.client.close()
        await settle()

        assert bob.texts == ["one"]


async def test_a_row_without_a_place_is_refused_before_anything_changes() -> None:
    world = World()
    async with screens(world, "ada") as [ada]:
        ada.open("a")
        await asyncio.sleep(1)

        with pytest.raises(ChannelError, match="240"):
            ada.todos.insert(todo("1", "one", project="x" * 300))

        assert ada.texts == []


def test_a_write_without_a_loop_changes_nothing() -> None:
    world = World()
    todos = DbClient().collection(world.collection)

    with pytest.raises(NoRunningLoopError):
        todos.insert(todo("1", "one"))

    assert todos.size == 0


def test_a_loop_that_ended_leaves_a_collection_that_the_next_one_uses() -> None:
    world = World()
    world.rows["1"] = todo("1", "one")
    todos = DbClient().collection(world.collection)
    query = live_query(lambda q: q.from_(todos).where(project_id="a"), client=todos.client)

    async def subscribe() -> Callable[[], None]:
        stop = query.subscribe(lambda: None)
        await query.preload()
        return stop

    stop = asyncio.run(subscribe())  # noqa: TID251 -- an application does
    stop()
    assert isinstance(query.get().error, ConfigurationError)
    other = live_query(lambda q: q.from_(todos).where(project_id="b"), client=todos.client)
    assert "no event loop runs" in str(other.get().error)

    async def preload() -> list[str]:
        await query.preload()
        return [row.text for row in query.get()]

    assert asyncio.run(preload()) == ["one"]  # noqa: TID251 -- again


async def test_scope_names_its_parameters() -> None:
    world = World()

    scope = world.collection.scope("a")
    assert scope._demand() == {"project_id": ("a",)}
    assert scope == world.collection.scope("a")
    assert hash(scope) == hash(world.collection.scope("a"))
    assert scope != world.collection.scope("b")
    assert (scope.columns, scope.schema) == (world.collection.columns, world.collection.schema)
    with pytest.raises(ConfigurationError, match=r"scope takes \(project_id\)"):
        world.collection.scope(room="a")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    assert world.collection.declared_channel == ("todos", frozenset({"project_id"}))


async def test_nothing_is_left_after_close() -> None:  # X9, Q14
    world = World()
    async with screens(world, "ada", "bob") as [ada, _]:
        ada.open("a")
        await settle()
    assert len(asyncio.all_tasks()) == 1
    reads = len(world.reads)
    await asyncio.sleep(60)
    assert len(world.reads) == reads
