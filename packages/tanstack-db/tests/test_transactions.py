"""Transactions: merging, states, several collections, and where failures go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from tanstack_db import (
    Change,
    Collection,
    CollectionConfig,
    CollectionOptions,
    DbClient,
    DuplicateKeyError,
    Mutation,
    Transaction,
    TransactionError,
    Tx,
    UnknownKeyError,
    UsageError,
    collection_options,
    current_transaction,
    default_client,
    local_only_collection_options,
    transact,
    transaction,
)
from tanstack_db.testing import ManualSource, settle


@dataclass(frozen=True)
class Todo:
    id: str
    text: str = ""
    done: bool = False


class World:
    def __init__(self, *rows: Todo) -> None:
        self.errors: list[Exception] = []
        self.client = DbClient(on_error=self.errors.append)
        self.source = ManualSource[Todo, str](rows)
        self.todos = self.build("todos", self.source)
        self.todos.subscribe_changes(lambda _: None)

    def build(self, id: str, source: ManualSource[Todo, str]) -> Collection[Todo, str]:  # noqa: A002
        return self.client.build(
            collection_options(id=id, schema=Todo, get_key=lambda todo: todo.id, sync=source, on_insert=refuse)
        )

    def rows(self) -> list[Todo]:
        return sorted(self.todos.to_list(), key=lambda todo: todo.id)


FAILURE = ValueError("refused")


async def refuse(_: object = None) -> None:
    raise FAILURE


async def accept() -> None:
    return None


Steps = Callable[[Tx, Collection[Todo, str]], object]


def _insert(text: str, key: str = "1") -> Steps:
    return lambda tx, todos: tx.insert(todos, Todo(key, text))


def _update(text: str, key: str = "1") -> Steps:
    return lambda tx, todos: tx.update(todos, key, text=text)


def _delete(key: str = "1") -> Steps:
    return lambda tx, todos: tx.delete(todos, key)


OLD = Todo("1", "old")


MERGED: dict[str, tuple[list[Todo], list[Steps], tuple[str, dict[str, Any]] | None]] = {
    "insert+update=insert": ([], [_insert("a"), _update("b")], ("insert", {"id": "1", "text": "b", "done": False})),
    "insert+delete=nothing": ([], [_insert("a"), _delete()], None),
    "update+update=update": ([OLD], [_update("a"), _update("b")], ("update", {"text": "b"})),
    "update+back=nothing": ([OLD], [_update("a"), _update("old")], None),
    "update+delete=delete": ([OLD], [_update("a"), _delete()], ("delete", {})),
    "delete+same insert=nothing": ([OLD], [_delete(), _insert("old")], None),
    "delete+insert=update": ([OLD], [_delete(), _insert("new")], ("update", {"text": "new"})),
    "delete+insert+delete=delete": ([OLD], [_delete(), _insert("new"), _delete()], ("delete", {})),
}


@pytest.mark.parametrize("name", MERGED)
async def test_17_mutations_of_one_row_merge(name: str) -> None:
    rows, steps, expected = MERGED[name]
    world = World(*rows)
    calls: list[int] = []

    async def server() -> None:
        calls.append(len(tx.mutations))

    tx = world.client.create_transaction(server)
    for step in steps:
        step(tx, world.todos)
    told = [(mutation.type, dict(mutation.changes)) for mutation in tx.mutations]
    assert told == ([] if expected is None else [expected])
    if rows and expected is not None:
        assert tx.mutations[0].original is OLD

    tx.commit()
    await tx.persisted()

    assert calls == ([] if expected is None else [1]), "nothing to send: the server is not called"


async def test_17_the_order_of_first_touch_is_kept() -> None:
    world = World(Todo("1"), Todo("2"))

    with world.client.transaction(accept) as tx:
        tx.update(world.todos, "2", text="x")
        tx.insert(world.todos, Todo("3"))
        tx.update(world.todos, "1", text="x")
        tx.update(world.todos, "2", text="y")

    assert [mutation.key for mutation in tx.mutations] == ["2", "3", "1"]


async def test_transact_changes_several_collections_in_one_batch_and_calls_once() -> None:
    world = World(Todo("1"))
    other = world.build("other", ManualSource([Todo("9")]))
    seen: list[tuple[int, int]] = []
    for collection in (world.todos, other):
        collection.subscribe_changes(lambda _: seen.append((world.todos.size, other.size)))
    seen.clear()
    calls: list[object] = []

    async def server() -> None:
        calls.append(current_transaction())
        world.source.write(Todo("2"))

    def change(tx: Tx) -> None:
        tx.insert(world.todos, Todo("2"))
        tx.delete(other, "9")

    tx = world.client.transact(change, server)
    assert seen == [(2, 0), (2, 0)], "nobody saw half of it"
    await tx.persisted()

    assert len(calls) == 1
    assert isinstance(calls[0], Transaction)
    assert calls[0].id == tx.id
    assert current_transaction() is None
    assert seen[2:] == [(2, 1)], "the overlay of both dropped in one batch"


async def test_work_that_a_server_function_begins_is_not_its_own() -> None:
    world = World(Todo("1"))
    begun: list[object] = []

    async def work() -> None:
        begun.append(current_transaction())

    async def server() -> None:
        assert current_transaction() is not None
        world.client.start(work(), "work")
        await settle()

    await world.client.transact(lambda tx: tx.delete(world.todos, "1"), server).persisted()
    assert begun == [None]


async def test_transact_that_raises_changes_nothing() -> None:
    world = World(Todo("1"))
    batches: list[Sequence[Change[Todo, str]]] = []
    world.todos.subscribe_changes(batches.append)

    def change(tx: Tx) -> None:
        tx.insert(world.todos, Todo("2"))
        tx.update(world.todos, "unknown", text="x")

    with pytest.raises(UnknownKeyError):
        world.client.transact(change, accept)

    assert (world.rows(), batches, world.errors) == ([Todo("1")], [], [])


async def test_a_with_block_that_raises_changes_nothing_and_calls_nobody() -> None:
    world = World(Todo("1"))
    kept: list[Tx] = []

    def failing() -> None:
        with world.client.transaction(refuse) as tx:
            kept.append(tx)
            tx.delete(world.todos, "1")
            raise LookupError("stop")

    with pytest.raises(LookupError, match="stop") as caught:
        failing()
    await settle()

    assert (world.rows(), world.errors) == ([Todo("1")], [])
    with pytest.raises(LookupError) as again:
        await kept[0].persisted()
    assert again.value is caught.value


async def test_a_with_block_that_is_interrupted_changes_nothing() -> None:
    world = World(Todo("1"))
    kept: list[Tx] = []

    def interrupted() -> None:
        with world.client.transaction(refuse) as tx:
            kept.append(tx)
            tx.delete(world.todos, "1")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert (world.rows(), kept[0].state, world.errors) == ([Todo("1")], "failed", [])


@pytest.mark.parametrize("server", [None, "add_todo"])
async def test_a_server_fn_that_is_no_function_changes_nothing(server: Any) -> None:
    world = World()
    called: list[Tx] = []

    with pytest.raises(UsageError, match=r"pass the function and not its call"):
        world.client.transact(called.append, server)
    with pytest.raises(UsageError):
        world.client.transaction(server)

    assert (called, world.errors) == ([], [])


async def test_a_coroutine_is_no_server_fn_and_is_closed() -> None:
    world = World()
    made: Any = accept()

    with pytest.raises(UsageError, match="server_fn must be a coroutine function"):
        world.client.transact(lambda tx: tx.insert(world.todos, Todo("1")), made)

    assert world.rows() == []


async def test_rolling_back_inside_the_block() -> None:
    world = World(Todo("1"))

    with world.client.transaction(refuse) as tx:
        tx.delete(world.todos, "1")
        tx.rollback()
    await settle()

    assert (world.rows(), tx.state, world.errors) == ([Todo("1")], "failed", [])


async def test_a_coroutine_function_cannot_be_the_change() -> None:
    world = World()

    async def change(tx: Tx) -> None:
        tx.insert(world.todos, Todo("1"))

    with pytest.raises(UsageError, match="plain function"):
        world.client.transact(change, accept)
    assert world.rows() == []


async def test_a_server_fn_that_is_no_coroutine_function() -> None:
    world = World()
    server: Any = lambda: 5  # noqa: E731 -- what somebody would write by mistake

    tx = world.client.transact(lambda tx: tx.insert(world.todos, Todo("1")), server)

    with pytest.raises(UsageError, match="coroutine function"):
        await tx.persisted()
    assert world.rows() == []


async def test_edit_in_a_transaction() -> None:
    world = World()
    rows = world.client.build(
        collection_options(id="rows", get_key=lambda row: str(row["id"]), sync=ManualSource[dict[str, Any], str]())
    )

    with world.client.transaction(accept) as tx:
        tx.insert(rows, {"id": "1", "tags": ["a"]})
        with tx.edit(rows, "1") as row:
            row["tags"].append("b")

    assert tx.mutations[0].modified == {"id": "1", "tags": ["a", "b"]}
    assert tx.mutations[0].type == "insert"


async def test_metadata_reaches_the_mutations() -> None:
    world = World()

    tx = world.client.transact(lambda tx: tx.insert(world.todos, Todo("1")), accept, metadata={"from": "button"})

    assert tx.metadata == tx.mutations[0].metadata == {"from": "button"}
    assert tx.mutations[0].id != tx.id
    assert tx.created_at.tzinfo is not None


async def test_states_and_the_calls_that_they_allow() -> None:
    world = World(Todo("1"))
    tx = world.client.create_transaction(accept)
    states = [tx.state]
    tx.delete(world.todos, "1")
    tx.commit()
    states.append(tx.state)
    with pytest.raises(TransactionError, match="persisting") as caught:
        tx.insert(world.todos, Todo("2"))
    assert (caught.value.transaction_id, caught.value.state) == (tx.id, "persisting")
    with pytest.raises(TransactionError):
        tx.commit()
    assert await tx.persisted() is tx
    assert [*states, tx.state] == ["pending", "persisting", "completed"]
    with pytest.raises(TransactionError, match="completed"):
        tx.rollback()


async def test_a_transaction_cannot_be_awaited() -> None:
    world = World(Todo("1"))
    tx = world.client.transact(lambda tx: tx.delete(world.todos, "1"), accept)

    assert not hasattr(tx, "__await__")
    await tx.persisted()


async def test_a_transaction_that_is_not_optimistic_sees_its_own_writes() -> None:
    world = World(Todo("1"))
    tx = world.client.create_transaction(accept, optimistic=False)
    tx.insert(world.todos, Todo("2"))

    with pytest.raises(DuplicateKeyError):
        tx.insert(world.todos, Todo("2"))
    tx.update(world.todos, "2", text="x")
    tx.delete(world.todos, "1")
    with pytest.raises(UnknownKeyError):
        tx.update(world.todos, "1", text="x")

    assert [(mutation.type, mutation.modified) for mutation in tx.mutations] == [
        ("insert", Todo("2", "x")),
        ("delete", Todo("1")),
    ]
    assert world.rows() == [Todo("1")]


# -- where failures go -------------------------------------------------------------------------------------------------


async def test_a_failure_that_nobody_awaits_reaches_on_error_once() -> None:
    world = World()

    tx = world.todos.insert(Todo("1"))
    await settle()

    assert world.errors == [FAILURE]
    assert tx.error is FAILURE
    with pytest.raises(ValueError, match="refused"):
        await tx.persisted()
    await settle()
    assert world.errors == [FAILURE]


async def test_a_failure_that_is_awaited_does_not() -> None:
    world = World()
    txs = [world.todos.insert(Todo(key)) for key in "123"]

    outcomes = await asyncio.gather(*(tx.persisted() for tx in txs), return_exceptions=True)
    await settle()

    assert [outcome is FAILURE for outcome in outcomes] == [True, True, True]
    assert world.errors == []


async def test_waiting_that_was_given_up_does_not_count_as_awaited() -> None:
    world = World()
    release = asyncio.Event()

    async def server() -> None:
        await release.wait()
        raise FAILURE

    tx = world.client.transact(lambda tx: tx.insert(world.todos, Todo("1")), server)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(tx.persisted(), 5)
    release.set()
    await settle()

    assert world.errors == [FAILURE]


async def test_without_on_error_the_loop_is_told() -> None:
    contexts: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: contexts.append(context))
    world = World()
    world.client.on_error = None

    world.todos.insert(Todo("1"))
    await settle()

    assert [context["exception"] for context in contexts] == [FAILURE]


async def test_a_rollback_that_was_asked_for_is_not_reported() -> None:
    world = World()
    tx = world.todos.insert(Todo("1"))

    tx.rollback()
    await settle()

    assert (tx.state, world.errors, world.rows()) == ("failed", [], [])
    with pytest.raises(TransactionError, match="rolled back"):
        await tx.persisted()


async def test_what_the_server_took_after_a_rollback_is_shown() -> None:
    world = World(Todo("1", "old"))
    release = asyncio.Event()

    async def server() -> Todo:
        await release.wait()
        return Todo("1", "written")

    tx = world.client.transact(lambda tx: tx.update(world.todos, "1", text="mine"), server)
    await settle()
    tx.rollback()
    assert world.rows() == [Todo("1", "old")]
    release.set()
    await settle()

    assert world.rows() == [Todo("1", "written")]
    assert tx.state == "failed"


# -- hooks for other collection types ----------------------------------------------------------------------------------


class Recording(Collection[Todo, str]):
    """A collection type that notes what it is told, and takes server rows from anywhere."""

    log: list[tuple[str, list[str], object]]

    def _on_persisting(self, mutations: Sequence[Mutation[Todo]], /) -> None:
        self._note("persisting", mutations, None)

    def _on_calling(self, mutations: Sequence[Mutation[Todo]], /) -> None:
        self._note("calling", mutations, None)

    async def _on_accepted(
        self, mutations: Sequence[Mutation[Todo]], result: object, /, *, from_handler: bool
    ) -> Callable[[], None]:
        await asyncio.sleep(3)
        self._note("accepted", mutations, (result, from_handler))

        def apply() -> None:
            for mutation in mutations:
                self._confirm(mutation)
            if isinstance(result, Todo):
                self._write_synced([result], ["old"])

        return apply

    def _on_rejected(self, mutations: Sequence[Mutation[Todo]], error: Exception, /) -> None:
        self._note("rejected", mutations, error)

    def _note(self, what: str, mutations: Sequence[Mutation[Todo]], detail: object) -> None:
        self.log.append((what, [mutation.key for mutation in mutations], detail))


class RecordingOptions(CollectionOptions[Recording]):
    def __init__(self, id: str, handler: Callable[[Transaction[Todo]], Any] | None = None) -> None:  # noqa: A002
        self._id = id
        self._handler = handler

    @property
    def id(self) -> str:
        return self._id

    def build(self, client: DbClient, /) -> Recording:
        made = Recording(
            client,
            self,
            CollectionConfig(
                id=self._id,
                get_key=lambda todo: todo.id,
                schema=Todo,
                sync=ManualSource([Todo("old")]),
                on_insert=self._handler,
                on_update=self._handler,
            ),
        )
        made.log = []
        return made


async def test_the_hooks_of_a_collection_type_by_handlers() -> None:
    async def handler(tx: Transaction[Todo]) -> Todo:
        if tx.mutations[0].key == "bad":
            raise FAILURE
        return Todo("server-" + tx.mutations[0].key)

    client = DbClient(on_error=lambda _: None)
    todos = client.build(RecordingOptions("todos", handler))
    todos.subscribe_changes(lambda _: None)

    tx = todos.insert(Todo("1"), Todo("2"), Todo("bad"))
    await settle()
    assert todos.log == [("persisting", ["1", "2", "bad"], None), ("calling", ["1"], None)]
    assert todos.has("1"), "shown while the collection type is at work"
    with pytest.raises(ValueError, match="refused"):
        await tx.persisted()

    assert todos.log[2:] == [
        ("accepted", ["1"], (Todo("server-1"), True)),
        ("calling", ["2"], None),
        ("accepted", ["2"], (Todo("server-2"), True)),
        ("calling", ["bad"], None),
        ("rejected", ["1", "2", "bad"], FAILURE),
    ]
    assert [mutation.is_confirmed for mutation in tx.mutations] == [True, True, False]
    assert {todo.id for todo in todos.to_list()} == {"server-1", "server-2"}


async def test_the_hooks_of_several_collections_by_server_fn() -> None:
    client = DbClient()
    first, second = client.build(RecordingOptions("first")), client.build(RecordingOptions("second"))
    seen: list[tuple[bool, bool]] = []
    for collection in (first, second):
        collection.subscribe_changes(lambda _: seen.append((first.has("1"), second.has("3"))))
    seen.clear()

    async def server() -> Todo:
        return Todo("server")

    with client.transaction(server) as tx:
        tx.insert(first, Todo("1"), Todo("2"))
        tx.insert(second, Todo("3"))
    await tx.persisted()

    for collection, keys in ((first, ["1", "2"]), (second, ["3"])):
        assert collection.log == [
            ("persisting", keys, None),
            ("calling", keys, None),
            ("accepted", keys, (Todo("server"), False)),
        ]
    assert seen == [(True, True)] * 2 + [(False, False)] * 2
    assert [todo.id for todo in first.to_list()] == ["server"]


async def test_a_hook_that_raises_fails_the_transaction() -> None:
    class Failing(Recording):
        async def _on_accepted(
            self, mutations: Sequence[Mutation[Todo]], result: object, /, *, from_handler: bool
        ) -> Callable[[], None]:
            def apply() -> None:
                raise FAILURE

            return apply

    class Options(RecordingOptions):
        def build(self, client: DbClient, /) -> Recording:
            config = CollectionConfig(
                id="todos", get_key=lambda todo: todo.id, schema=Todo, sync=ManualSource[Todo, str]()
            )
            made = Failing(client, self, config)
            made.log = []
            return made

    client = DbClient()
    todos = client.build(Options("todos"))

    tx = client.transact(lambda tx: tx.insert(todos, Todo("1")), accept)
    with pytest.raises(ValueError, match="refused"):
        await tx.persisted()

    assert (todos.size, tx.state) == (0, "failed")


# -- module functions --------------------------------------------------------------------------------------------------


async def test_the_module_functions_use_the_active_client() -> None:
    rows = default_client().build(local_only_collection_options(id="rows", get_key=lambda row: row.id, schema=Todo))
    client = DbClient()
    mine = client.collection(rows)

    with client.activate():
        await transact(lambda tx: tx.insert(rows, Todo("1")), accept).persisted()
        with transaction(accept) as tx:
            tx.update(rows, "1", text="x")
        await tx.persisted()

    assert mine.to_list() == [Todo("1", "x")]
    assert rows.to_list() == []
