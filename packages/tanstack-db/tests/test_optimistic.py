"""Optimistic writes of one collection. Numbers: behaviours every port of TanStack DB should have."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from tanstack_db import (
    Change,
    Collection,
    DbClient,
    DuplicateKeyError,
    KeyChangedError,
    MissingHandlerError,
    NoRunningLoopError,
    RowError,
    SchemaError,
    Transaction,
    TransactionError,
    Tx,
    UnknownKeyError,
    UsageError,
    collection_options,
    live_query,
)
from tanstack_db.testing import ManualSource, settle


@dataclass(frozen=True)
class Todo:
    id: str
    text: str = ""
    done: bool = False


@dataclass
class Draft:
    id: str
    text: str = ""
    tags: list[str] = field(default_factory=list[str])


class Server:
    """Stands for the other end: a handler waits in it until the test answers."""

    def __init__(self) -> None:
        self.calls: list[tuple[Transaction[Any], asyncio.Future[Any]]] = []

    async def __call__(self, transaction: Transaction[Any]) -> Any:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.calls.append((transaction, answer))
        return await answer

    def answer(self, result: object = None, call: int = -1) -> None:
        self.calls[call][1].set_result(result)

    def refuse(self, error: Exception, call: int = -1) -> None:
        self.calls[call][1].set_exception(error)


Batches = list[list[Change[Any, Any]]]


class World:
    def __init__(self, *rows: Todo, **options: Any) -> None:
        self.errors: list[Exception] = []
        self.client = DbClient(on_error=self.errors.append)
        self.source = ManualSource[Todo, str](rows)
        self.server = Server()
        handlers: dict[str, Any] = {
            "on_insert": self.server,
            "on_update": self.server,
            "on_delete": self.server,
            **options,
        }
        self.todos: Collection[Todo, str] = self.client.build(
            collection_options(id="todos", schema=Todo, get_key=lambda todo: todo.id, sync=self.source, **handlers)
        )
        self.batches: Batches = []
        self.todos.subscribe_changes(lambda changes: self.batches.append(list(changes)))
        self.batches.clear()

    def rows(self) -> list[Todo]:
        return sorted(self.todos.to_list(), key=lambda todo: todo.id)


async def test_10_a_write_is_visible_before_the_call_returns() -> None:
    world = World(Todo("1"), Todo("2"))

    world.todos.insert(Todo("3", "new"))
    assert world.batches == [[Change("insert", "3", Todo("3", "new"))]]
    world.todos.update("1", text="x")
    assert world.batches[1:] == [[Change("update", "1", Todo("1", "x"), Todo("1"))]]
    world.todos.delete("2")
    assert world.batches[2:] == [[Change("delete", "2", Todo("2"))]]
    assert world.rows() == [Todo("1", "x"), Todo("3", "new")]


async def test_11_a_failing_handler_restores_what_was_shown() -> None:
    world = World(Todo("1"), Todo("2"))
    before = world.rows()
    failure = ValueError("refused")
    writes: list[Callable[[], Transaction[Todo]]] = [
        lambda: world.todos.insert(Todo("3")),
        lambda: world.todos.update("1", done=True),
        lambda: world.todos.delete("2"),
    ]

    for write in writes:
        tx = write()
        assert world.rows() != before
        await settle()
        world.server.refuse(failure)
        with pytest.raises(ValueError, match="refused") as caught:
            await tx.persisted()
        assert caught.value is failure
        assert (tx.state, tx.error) == ("failed", failure)
        assert world.rows() == before
    assert world.errors == []


async def test_12_a_row_synced_by_the_handler_arrives_as_one_update() -> None:
    world = World(Todo("1"))
    tx = world.todos.update("1", text="mine")
    await settle()
    world.batches.clear()

    world.source.write(Todo("1", "theirs"))
    assert world.batches == []
    world.server.answer()
    await tx.persisted()

    assert world.batches == [[Change("update", "1", Todo("1", "theirs"), Todo("1", "mine"))]]


async def test_12_a_row_that_is_confirmed_as_it_was_shown_arrives_not_at_all() -> None:
    world = World()
    tx = world.todos.insert(Todo("1", "mine"))
    await settle()
    world.batches.clear()

    world.server.answer(Todo("1", "mine"))
    await tx.persisted()

    assert world.batches == []
    assert world.rows() == [Todo("1", "mine")]


async def test_13_without_a_synced_row_it_reverts() -> None:
    world = World(Todo("1", "old"))
    tx = world.todos.update("1", text="mine")
    await settle()
    world.batches.clear()

    world.server.answer()
    await tx.persisted()

    assert world.batches == [[Change("update", "1", Todo("1", "old"), Todo("1", "mine"))]]


async def test_14_only_the_rows_of_a_persisting_transaction_are_held() -> None:
    world = World(Todo("1"), Todo("2"))
    tx = world.todos.update("1", text="mine")
    await settle()
    world.batches.clear()

    world.source.write(Todo("1", "first"), Todo("2", "seen at once"))
    assert world.batches == [[Change("update", "2", Todo("2", "seen at once"), Todo("2"))]]
    world.source.write(Todo("1", "second"))
    world.server.answer()
    await tx.persisted()

    assert world.batches[1:] == [[Change("update", "1", Todo("1", "second"), Todo("1", "mine"))]]


async def test_15_a_pending_transaction_stays_above_newer_synced_rows() -> None:
    world = World(Todo("1"), Todo("2"))
    tx = world.client.create_transaction(_accept)
    tx.update(world.todos, "1", text="draft")

    world.source.write(Todo("1", "synced"), Todo("2", "synced"))

    assert world.rows() == [Todo("1", "draft"), Todo("2", "synced")]
    tx.rollback()
    assert world.rows() == [Todo("1", "synced"), Todo("2", "synced")]


async def test_16_rolling_back_takes_pending_transactions_on_the_same_row_along() -> None:
    world = World(Todo("1"), Todo("2"))
    first = world.client.create_transaction(_accept)
    first.update(world.todos, "1", text="a")
    same_row = world.client.create_transaction(_accept)
    same_row.update(world.todos, "1", done=True)
    other_row = world.client.create_transaction(_accept)
    other_row.update(world.todos, "2", done=True)
    persisting = world.todos.update("1", text="sent")
    await settle()

    first.rollback()

    assert (first.state, same_row.state, other_row.state) == ("failed", "failed", "pending")
    assert persisting.state == "persisting"
    with pytest.raises(TransactionError, match="together with"):
        await same_row.persisted()
    with pytest.raises(TransactionError, match="rolled back"):
        await first.persisted()
    assert world.rows() == [Todo("1", "sent"), Todo("2", done=True)]


async def test_16_a_later_update_that_survives_no_longer_shows_what_was_undone() -> None:
    world = World(Todo("1"))
    refused = world.todos.update("1", text="refused")
    world.todos.update("1", done=True)
    await settle()

    world.server.refuse(ValueError(), call=0)
    with pytest.raises(ValueError):  # noqa: PT011 -- the identity of the error is not the point
        await refused.persisted()

    assert world.rows() == [Todo("1", "", done=True)]


async def test_18_a_temporary_key_is_one_row_at_every_moment() -> None:
    world = World()
    tx = world.todos.insert(Todo("temp", "new"))
    await settle()
    world.batches.clear()

    world.server.answer(Todo("server", "new"))
    await tx.persisted()

    assert world.batches == [
        [Change("insert", "server", Todo("server", "new")), Change("delete", "temp", Todo("temp", "new"))]
    ]
    assert world.rows() == [Todo("server", "new")]


def id_of(row: dict[str, Any]) -> str:
    return cast("str", row["id"])


@pytest.mark.parametrize("fails", [False, True])
async def test_18_a_row_that_the_handler_writes_itself_comes_when_the_temporary_one_goes(fails: bool) -> None:
    source, client = ManualSource[dict[str, Any], str](), DbClient()
    seen: list[list[str]] = []

    async def on_insert(_: object) -> None:
        source.write({"id": "server", "n": 1})
        seen.append(sorted(todos.keys()))
        await asyncio.sleep(1)
        if fails:
            raise OSError

    todos = client.build(collection_options(id="todos", get_key=id_of, sync=source, on_insert=on_insert))
    query = live_query(lambda q: q.from_(todos), client=client)
    query.subscribe(lambda: seen.append([row["id"] for row in query.get()]))
    tx = todos.insert({"id": "temp", "n": 1})
    source.write({"id": "another", "n": 2})  # not the handler's doing, so it is not kept back
    with suppress(OSError):
        await tx.persisted()
    shown = [ids for ids in seen if "temp" in ids and "server" in ids]
    assert shown == []
    assert sorted(seen[-1]) == ["another", "server"]
    assert ["another", "temp"] in [sorted(ids) for ids in seen]
    await client.close()


async def test_18_an_edit_of_a_temporary_row_follows_it_to_its_key() -> None:
    world = World()
    insert = world.todos.insert(Todo("temp", "new"))
    update = world.todos.update("temp", done=True)
    await settle()
    assert len(world.server.calls) == 1, "the server must know the row first"

    world.server.answer(Todo("server", "NEW"))
    await insert.persisted()
    assert world.rows() == [Todo("server", "NEW", done=True)]
    await settle()
    mutation = world.server.calls[1][0].mutations[0]
    assert (mutation.key, mutation.original, dict(mutation.changes)) == (
        "server",
        Todo("server", "NEW"),
        {"done": True},
    )
    assert mutation.modified == Todo("server", "NEW", done=True)

    world.server.answer(Todo("server", "NEW", done=True))
    await update.persisted()
    assert world.rows() == [Todo("server", "NEW", done=True)]


async def test_18_an_edit_of_a_row_whose_insert_fails_goes_with_it() -> None:
    world = World()
    calls: list[str] = []

    async def server() -> None:
        calls.append("called")

    insert = world.todos.insert(Todo("temp"))
    update = world.todos.update("temp", done=True)
    other = world.client.transact(lambda tx: tx.update(world.todos, "temp", text="x"), server)
    await settle()

    failure = ValueError("refused")
    world.server.refuse(failure)
    await settle()

    assert [tx.state for tx in (insert, update, other)] == ["failed"] * 3
    assert world.rows() == []
    assert (len(world.server.calls), calls) == (1, [])
    assert world.errors == [failure, update.error, other.error], "each is told once"
    with pytest.raises(TransactionError) as caught:
        await update.persisted()
    assert caught.value.__cause__ is failure


async def test_18_a_pending_transaction_follows_the_row_to_its_key() -> None:
    world = World()
    insert = world.todos.insert(Todo("temp", "new"))
    pending = world.client.create_transaction(_accept)
    pending.update(world.todos, "temp", done=True)
    await settle()

    world.server.answer(Todo("server", "new"))
    await insert.persisted()
    pending.update(world.todos, "server", text="x")

    (mutation,) = pending.mutations
    assert (mutation.key, dict(mutation.changes)) == ("server", {"done": True, "text": "x"})
    assert world.rows() == [Todo("server", "x", done=True)]
    pending.rollback()
    assert world.rows() == [Todo("server", "new")]


async def test_18_a_row_inserted_anew_under_the_temporary_key_is_another_row() -> None:
    world = World()
    world.todos.insert(Todo("temp", "first"))
    world.todos.delete("temp")
    world.todos.insert(Todo("temp", "second"))
    await settle()

    world.server.answer(Todo("server", "first"), call=0)
    await settle()

    assert world.rows() == [Todo("temp", "second")]
    calls = [call[0].mutations[0] for call in world.server.calls[1:]]
    assert [(mutation.type, mutation.key) for mutation in calls] == [("delete", "server"), ("insert", "temp")]


async def test_18_a_confirmation_that_comes_before_the_handler_returns() -> None:
    world = World()
    tx = world.todos.insert(Todo("temp", "new"))
    await settle()

    world.todos._confirm(tx.mutations[0], Todo("server", "new"))
    assert (world.rows(), tx.state) == ([Todo("server", "new")], "persisting")
    world.server.answer(Todo("server", "new"))
    await tx.persisted()

    assert world.rows() == [Todo("server", "new")]


async def test_18_a_row_confirmed_before_the_handler_fails_stays() -> None:
    world = World()
    tx = world.todos.insert(Todo("temp", "new"))
    await settle()
    world.todos._confirm(tx.mutations[0], Todo("server", "new"))

    world.server.refuse(TimeoutError())
    with pytest.raises(TimeoutError):
        await tx.persisted()

    assert world.rows() == [Todo("server", "new")]


async def test_19_a_truncate_is_one_batch_under_the_open_writes() -> None:
    world = World(Todo("1"), Todo("2"), Todo("3"))
    world.todos.insert(Todo("new"))
    world.todos.update("1", text="mine")
    world.todos.delete("2")
    await settle()
    world.batches.clear()

    world.source.write(Todo("1", "base"), Todo("2", "base"), Todo("4", "base"), truncate=True)

    assert world.batches == [[Change("delete", "3", Todo("3")), Change("insert", "4", Todo("4", "base"))]]
    assert world.rows() == [Todo("1", "mine"), Todo("4", "base"), Todo("new")]
    for call in range(3):
        world.server.answer(call=call)
    await settle()
    assert world.rows() == [Todo("1", "base"), Todo("2", "base"), Todo("4", "base")]


async def test_20_a_write_that_is_not_optimistic_shows_nothing() -> None:
    world = World(Todo("1"))
    release = asyncio.Event()

    def change(tx: Tx) -> None:
        tx.update(world.todos, "1", done=True)
        tx.update(world.todos, "1", text="x")

    tx = world.client.transact(
        change,
        release.wait,
        optimistic=False,
    )
    assert world.rows() == [Todo("1")]
    assert tx.mutations[0].changes == {"done": True, "text": "x"}

    world.source.write(Todo("1", "x", done=True))
    assert world.rows() == [Todo("1", "x", done=True)]
    release.set()
    await tx.persisted()
    assert world.rows() == [Todo("1", "x", done=True)]


async def test_24_pending_writes_are_told_per_row() -> None:
    world = World(Todo("1"), Todo("2"))
    tx = world.todos.update("1", text="x")

    assert (world.todos.has_pending_writes("1"), world.todos.has_pending_writes("2")) == (True, False)
    await settle()
    world.server.answer()
    await tx.persisted()
    assert not world.todos.has_pending_writes("1")


BAD: list[tuple[Callable[[Collection[Todo, str]], object], type[Exception], str]] = [
    (lambda todos: todos.insert(Todo("new"), Todo("1")), DuplicateKeyError, "'1'"),
    (lambda todos: todos.insert(Todo("new"), Todo("new")), DuplicateKeyError, "'new'"),
    (lambda todos: todos.update("unknown", text="x"), UnknownKeyError, "'unknown'"),
    (lambda todos: todos.delete("1", "unknown"), UnknownKeyError, "'unknown'"),
    (lambda todos: todos.update("1", id="2"), KeyChangedError, "delete the row"),
    (lambda todos: todos.update("1", lambda todo: replace(todo, id="2")), KeyChangedError, "'2'"),
    (lambda todos: todos.update("1", txt="x"), SchemaError, "did you mean 'text'"),
    (lambda todos: todos.update("1", done="no"), SchemaError, "done is a bool"),
    (lambda todos: todos.update("1", _returns_none), SchemaError, "edit"),
    (lambda todos: todos.update("1"), UsageError, "something to change"),
    (lambda todos: todos.update("1", lambda todo: todo, text="x"), UsageError, "not both"),
    (lambda todos: todos.insert(_any({"id": "9", "text": "x"})), SchemaError, "Todo"),
    (lambda todos: todos.insert(_any([Todo("9")])), SchemaError, r"insert\(\*rows\)"),
    (lambda todos: todos.delete(_any(["1"])), UsageError, r"delete\(\*keys\)"),
    (lambda todos: todos.insert(_any(None)), SchemaError, "None"),
    (lambda todos: todos.insert(Todo("9", _any(5))), SchemaError, "text is a str"),
    (lambda todos: todos.insert(Todo(_any([]))), SchemaError, "get_key|id is a str"),
]


@pytest.mark.parametrize(("write", "error", "says"), BAD)
async def test_25_bad_writes_are_refused_before_anything_changes(
    write: Callable[[Collection[Todo, str]], object], error: type[Exception], says: str
) -> None:
    world = World(Todo("1"))

    with pytest.raises(error, match=says):
        write(world.todos)
    await settle()

    assert (world.rows(), world.batches, world.server.calls, world.errors) == ([Todo("1")], [], [], [])
    assert not world.todos.has_pending_writes("1")


async def test_25_errors_carry_the_collection_and_the_key() -> None:
    world = World(Todo("1"))

    with pytest.raises(RowError) as caught:
        world.todos.insert(Todo("1"))

    assert (caught.value.collection, caught.value.key) == ("todos", "1")


async def test_a_missing_handler_is_named_before_anything_changes() -> None:
    world = World(Todo("1"), on_insert=None, on_update=None, on_delete=None)

    for write, option in (
        (lambda: world.todos.insert(Todo("2")), "on_insert"),
        (lambda: world.todos.update("1", text="x"), "on_update"),
        (lambda: world.todos.delete("1"), "on_delete"),
        (lambda: world.todos.edit("1").__enter__(), "on_update"),
    ):
        with pytest.raises(MissingHandlerError, match=option):
            write()
    assert world.batches == []


def test_without_a_running_loop_nothing_changes() -> None:
    world = World(Todo("1"))

    for write in (
        lambda: world.todos.insert(Todo("2")),
        lambda: world.todos.update("1", text="x"),
        lambda: world.todos.delete("1"),
        lambda: world.todos.edit("1").__enter__(),
        lambda: world.client.transact(lambda tx: tx.delete(world.todos, "1"), _accept),
    ):
        with pytest.raises(NoRunningLoopError, match="event loop"):
            write()
    assert (world.rows(), world.batches) == ([Todo("1")], [])


async def test_26_an_update_sends_only_what_changed() -> None:
    world = World(Todo("1", "a"))

    tx = world.todos.update("1", text="a", done=True)

    assert tx.mutations[0].changes == {"done": True}
    assert (tx.mutations[0].original, tx.mutations[0].modified) == (Todo("1", "a"), Todo("1", "a", done=True))


async def test_an_update_that_changes_nothing_is_completed_and_empty() -> None:
    world = World(Todo("1", "a"))

    tx = world.todos.update("1", text="a")
    await tx.persisted()

    assert (tx.state, tx.mutations, world.batches) == ("completed", (), [])


async def test_an_optimistic_row_equal_to_the_synced_one_is_the_synced_one() -> None:
    world = World(Todo("1", "a"))
    world.todos.update("1", text="b")
    synced = Todo("1", "b")
    world.batches.clear()

    world.source.write(synced)
    tx = world.todos.update("1", text="c")
    back = world.todos.update("1", text="b")

    assert world.todos.get("1") is synced
    del tx, back


async def test_several_rows_are_several_calls_in_order() -> None:
    world = World()
    tx = world.todos.insert(Todo("1"), Todo("2"), Todo("3"))

    for key in "123":
        await settle()
        (mutation,) = world.server.calls[-1][0].mutations
        assert mutation.key == key
        world.server.answer(Todo(key, "server"))
    await tx.persisted()

    assert world.rows() == [Todo(key, "server") for key in "123"]


async def test_a_call_that_fails_keeps_the_rows_that_were_accepted_before() -> None:
    world = World()
    tx = world.todos.insert(Todo("1"), Todo("2"), Todo("3"))
    await settle()
    world.server.answer(Todo("1", "server"))
    await settle()

    world.server.refuse(ValueError("full"))
    with pytest.raises(ValueError, match="full"):
        await tx.persisted()

    assert world.rows() == [Todo("1", "server")]
    assert len(world.server.calls) == 2


async def test_rows_that_were_rolled_back_meanwhile_are_not_sent() -> None:
    world = World()
    tx = world.todos.insert(Todo("1"), Todo("2"))
    await settle()

    tx.rollback()
    world.server.answer(Todo("1", "written"))
    await settle()

    assert len(world.server.calls) == 1
    assert world.rows() == [Todo("1", "written")]


async def test_batch_handlers_get_all_rows_in_one_call() -> None:
    world = World(batch_handlers=True)
    tx = world.todos.insert(Todo("1"), Todo("2"))
    await settle()

    assert [mutation.key for mutation in world.server.calls[0][0].mutations] == ["1", "2"]
    world.server.answer([Todo("1", "x"), Todo("2", "y")])
    await tx.persisted()

    assert world.rows() == [Todo("1", "x"), Todo("2", "y")]


async def test_a_batch_handler_that_returns_too_few_rows() -> None:
    world = World(batch_handlers=True)
    tx = world.todos.insert(Todo("1"), Todo("2"))
    await settle()

    world.server.answer([Todo("1", "x")])
    with pytest.raises(SchemaError, match="1 rows for 2 mutations"):
        await tx.persisted()


async def test_a_handler_may_return_some_columns_as_json() -> None:
    world = World(Todo("1", "a"))
    tx = world.todos.update("1", done=True)
    await settle()

    world.server.answer({"text": "trimmed"})
    await tx.persisted()

    assert world.rows() == [Todo("1", "trimmed", done=True)]


async def test_a_handler_that_returns_no_row_fails_the_write() -> None:
    world = World(Todo("1", "a"))
    tx = world.todos.update("1", done=True)
    await settle()

    world.server.answer(42)
    with pytest.raises(SchemaError, match="must be a Todo"):
        await tx.persisted()

    assert world.rows() == [Todo("1", "a")]


async def test_a_handler_that_is_no_coroutine_function_is_named() -> None:
    def handler(transaction: Transaction[Todo]) -> None:
        del transaction

    world = World(on_insert=handler)

    with pytest.raises(UsageError, match="coroutine function"):
        await world.todos.insert(Todo("1")).persisted()


def drafts(*rows: Draft) -> tuple[Collection[Draft, str], Server]:
    server = Server()
    collection = DbClient().build(
        collection_options(
            id="drafts", schema=Draft, get_key=lambda row: row.id, sync=ManualSource[Draft, str](rows), on_update=server
        )
    )
    collection.subscribe_changes(lambda _: None)
    return collection, server


async def test_edit_changes_a_deep_copy() -> None:
    original = Draft("1", tags=["a"])
    rows, server = drafts(original)

    with rows.edit("1") as draft:
        draft.text = "x"
        draft.tags.append("b")
        assert rows.get("1") == Draft("1", tags=["a"])

    assert rows.get("1") == Draft("1", "x", ["a", "b"])
    assert original == Draft("1", tags=["a"])
    await settle()
    assert server.calls[0][0].mutations[0].changes == {"text": "x", "tags": ["a", "b"]}


async def test_edit_is_discarded_by_an_exception() -> None:
    rows, server = drafts(Draft("1"))

    def failing() -> None:
        with rows.edit("1") as draft:
            draft.text = "x"
            raise LookupError

    with pytest.raises(LookupError):
        failing()
    await settle()

    assert rows.get("1") == Draft("1")
    assert server.calls == []


async def test_edit_names_a_misspelt_column_and_a_changed_key() -> None:
    rows, _ = drafts(Draft("1"))

    def misspelt() -> None:
        with rows.edit("1") as draft:
            _any(draft).txet = "x"

    def moved() -> None:
        with rows.edit("1") as draft:
            draft.id = "2"

    with pytest.raises(SchemaError, match="did you mean 'text'"):
        misspelt()
    with pytest.raises(KeyChangedError):
        moved()
    with pytest.raises(UnknownKeyError):
        rows.edit("9").__enter__()
    assert rows.get("1") == Draft("1")


async def test_edit_keeps_what_changed_meanwhile() -> None:
    rows, _ = drafts(Draft("1"))

    with rows.edit("1") as draft:
        draft.text = "mine"
        rows.update("1", tags=["theirs"])

    assert rows.get("1") == Draft("1", "mine", ["theirs"])


async def test_edit_of_a_dict_can_remove_a_column() -> None:
    server = Server()
    rows = DbClient().build(
        collection_options(
            id="rows",
            get_key=lambda row: str(row["id"]),
            sync=ManualSource[dict[str, Any], str]([{"id": "1", "a": 1}]),
            on_update=server,
        )
    )

    with rows.edit("1") as row:
        del row["a"]

    assert rows.get("1") == {"id": "1"}


async def test_update_hands_a_copy_to_the_function() -> None:
    original = Draft("1")
    rows, _ = drafts(original)

    def change(row: Draft) -> Draft:
        row.text = "x"
        return row

    rows.update("1", change)

    assert rows.get("1") == Draft("1", "x")
    assert original.text == ""


async def test_a_batch_tells_once() -> None:
    world = World(Todo("1"))

    with world.client.batch():
        world.todos.insert(Todo("2"))
        world.todos.update("2", text="x")
        world.todos.insert(Todo("3"))
        world.todos.delete("3")
        world.todos.delete("1")
        assert world.batches == []

    assert world.batches == [[Change("insert", "2", Todo("2", "x")), Change("delete", "1", Todo("1"))]]


async def _accept() -> None:
    return None


def _returns_none(todo: Todo) -> Any:
    return None


def _any(value: object) -> Any:
    return value
