"""Collections whose rows a function fetches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tanstack_db import (
    Change,
    CollectionStateError,
    DbClient,
    DuplicateKeyError,
    KeyChangedError,
    QueryCollection,
    SchemaError,
    SourceError,
    Transaction,
    UnknownKeyError,
    UsageError,
    create_collection,
    live_query,
    local_only_collection_options,
    query_collection_options,
)
from tanstack_db._sources.fetching import back_off
from tanstack_db.testing import settle


@dataclass(frozen=True)
class Todo:
    id: str
    text: str = ""
    done: bool = False


@dataclass(frozen=True)
class Comment:
    id: str
    todo_id: str


class Server:
    """A table behind an API. A fetch takes `latency` seconds and sees the table as it is when it begins."""

    def __init__(self, *rows: Todo) -> None:
        self.rows = {row.id: row for row in rows}
        self.latency = 0.5
        self.fetches: list[float] = []
        self.failing: Exception | None = None
        self.errors: list[Exception] = []

    async def fetch(self) -> list[Todo | Mapping[str, Any]]:
        self.fetches.append(asyncio.get_running_loop().time())
        rows, error = list(self.rows.values()), self.failing
        await asyncio.sleep(self.latency)
        if error is not None:
            raise error
        return [*rows]

    async def add(self, transaction: Transaction[Todo]) -> None:
        for mutation in transaction.mutations:
            await asyncio.sleep(0.1)
            if mutation.modified.text == "bad":
                raise ValueError("bad")
            self.rows[f"s-{mutation.key}"] = replace(mutation.modified, id=f"s-{mutation.key}")

    async def change(self, transaction: Transaction[Todo]) -> None:
        for mutation in transaction.mutations:
            await asyncio.sleep(0.1)
            self.rows[mutation.key] = mutation.modified

    async def remove(self, transaction: Transaction[Todo]) -> None:
        for mutation in transaction.mutations:
            del self.rows[mutation.key]

    def collection(self, **options: Any) -> QueryCollection[Todo, str]:
        defaults: dict[str, Any] = {
            "query_fn": self.fetch,
            "on_insert": self.add,
            "on_update": self.change,
            "on_delete": self.remove,
            "retry_delay": float,
        }
        described = query_collection_options(
            id="todos", schema=Todo, get_key=lambda todo: todo.id, **{**defaults, **options}
        )
        return DbClient(on_error=self.errors.append).build(described)


def told(todos: QueryCollection[Todo, str]) -> list[list[str]]:
    batches: list[list[str]] = []

    def note(changes: Any) -> None:
        batches.append([f"{change.type} {change.key}" for change in changes])

    todos.subscribe_changes(note)
    return batches


def now() -> float:
    return round(asyncio.get_running_loop().time(), 3)


async def elapse(until: float) -> None:
    await asyncio.sleep(until - asyncio.get_running_loop().time())
    await settle()


# -- fetching ----------------------------------------------------------------------------------------------------------


async def test_a_fetch_is_the_complete_state_and_only_differences_are_written() -> None:
    server = Server(Todo("1", "a"), Todo("2", "b"))
    todos = server.collection()
    batches = told(todos)
    await todos.preload()
    kept = todos.get("1")
    server.rows = {"1": Todo("1", "a"), "3": Todo("3", "c")}
    await todos.refetch()
    await todos.refetch()

    assert batches == [["insert 1", "insert 2"], ["delete 2", "insert 3"]]
    assert todos.get("1") is kept


async def test_an_empty_answer_empties_it() -> None:
    server = Server(Todo("1"))
    todos = server.collection()
    await todos.preload()
    server.rows.clear()
    await todos.refetch()

    assert (todos.to_list(), todos.status) == ([], "ready")


async def test_rows_and_readiness_come_in_one_batch() -> None:
    server = Server(Todo("1"))
    todos = server.collection()
    query = live_query(lambda q: q.from_(todos), client=todos.client)
    seen: list[tuple[int, bool]] = []
    query.subscribe(lambda: seen.append((len(query.get()), query.get().is_ready)))
    await todos.preload()

    assert seen == [(1, True)]


async def test_mappings_become_rows() -> None:
    async def fetch() -> list[Todo | Mapping[str, Any]]:
        return [{"id": "1", "text": "a"}, Todo("2")]

    todos = Server().collection(query_fn=fetch)
    await todos.preload()

    assert todos.to_list() == [Todo("1", "a"), Todo("2")]


async def test_without_a_schema_rows_are_dicts() -> None:
    async def fetch() -> list[dict[str, Any]]:
        return [{"id": "1"}]

    rows = DbClient().build(query_collection_options(id="rows", get_key=lambda row: row["id"], query_fn=fetch))
    await rows.preload()

    assert rows.to_list() == [{"id": "1"}]


async def test_refetches_at_the_same_time_are_one() -> None:
    server = Server(Todo("1"))
    todos = server.collection()
    await asyncio.gather(todos.preload(), todos.refetch(), todos.refetch())
    assert server.fetches == [0.0]

    task = asyncio.ensure_future(todos.refetch())
    await settle()
    assert todos.is_fetching
    other = asyncio.ensure_future(todos.refetch())
    await settle()
    task.cancel()
    await other

    assert len(server.fetches) == 2
    assert not todos.is_fetching


async def test_the_interval_runs_only_while_it_is_used() -> None:
    server = Server(Todo("1"))
    todos = server.collection(refetch_interval=10)
    await todos.preload()
    await elapse(60)
    assert server.fetches == [0.0]

    stop = todos.subscribe_changes(lambda _: None)
    await elapse(85)
    stop()
    await elapse(200)

    assert [round(at, 1) for at in server.fetches] == [0.0, 60.0, 70.5, 81.0]


async def test_a_live_query_uses_it_too() -> None:
    server = Server(Todo("1"))
    todos = server.collection(refetch_interval=10)
    async with live_query(lambda q: q.from_(todos), client=todos.client) as query:
        await query.preload()
        await elapse(25)

    assert len(server.fetches) == 3


async def test_rows_that_are_used_again_are_fetched_unless_they_are_fresh() -> None:
    server = Server(Todo("1"))
    todos = server.collection(stale_time=5, refetch_interval=4)
    await todos.preload()
    await elapse(2)
    stop = todos.subscribe_changes(lambda _: None)
    await elapse(4)
    assert len(server.fetches) == 1
    await elapse(4.6)  # 4 s after the end of the first, not after the pause
    assert len(server.fetches) == 2
    stop()
    await elapse(30)
    todos.subscribe_changes(lambda _: None)
    await settle()

    assert len(server.fetches) == 3


async def test_it_is_fetched_anew_after_gc() -> None:
    server = Server(Todo("1"))
    todos = server.collection(gc_time=10)
    await todos.preload()
    await elapse(11)
    assert (todos.status, todos.size) == ("cleaned-up", 0)
    todos.subscribe_changes(lambda _: None)
    await elapse(20)

    assert (todos.size, len(server.fetches)) == (1, 2)


async def test_a_refetch_puts_off_the_next_one() -> None:
    server = Server(Todo("1"))
    todos = server.collection(refetch_interval=10)
    todos.subscribe_changes(lambda _: None)
    await elapse(5)
    await todos.refetch()
    await elapse(20)

    assert [round(at, 1) for at in server.fetches] == [0.0, 5.0, 15.5]


# -- failures ----------------------------------------------------------------------------------------------------------


async def test_a_first_failure_is_an_error_and_is_repeated_with_growing_delay() -> None:
    server = Server(Todo("1"))
    server.failing = OSError("down")
    todos = server.collection()
    todos.subscribe_changes(lambda _: None)
    with pytest.raises(SourceError) as caught:
        await todos.preload()
    assert caught.value.cause is server.failing
    assert (todos.status, todos.last_error, todos.error_count) == ("error", server.failing, 1)

    await elapse(5)
    assert [round(at, 1) for at in server.fetches] == [0.0, 1.5, 4.0]
    server.failing = None
    await elapse(9)

    assert (todos.status, todos.last_error, todos.error_count) == ("ready", None, 0)
    assert todos.size == 1
    assert server.errors == []


async def test_nobody_waits_so_nothing_is_repeated_and_preload_tries_again() -> None:
    server = Server(Todo("1"))
    server.failing = OSError("down")
    todos = server.collection()
    with pytest.raises(SourceError):
        await todos.preload()
    await elapse(100)
    assert len(server.fetches) == 1
    server.failing = None
    await todos.preload()

    assert todos.size == 1


async def test_a_later_failure_keeps_the_rows_and_is_reported() -> None:
    server = Server(Todo("1"))
    todos = server.collection(refetch_interval=10)
    todos.subscribe_changes(lambda _: None)
    await todos.preload()
    server.failing = OSError("down")
    await elapse(11.5)
    assert (todos.status, todos.last_error, todos.error_count) == ("ready", server.failing, 1)
    assert todos.size == 1
    assert server.errors == [server.failing]
    server.failing = None
    await elapse(13)

    assert (todos.last_error, todos.error_count) == (None, 0)


async def test_after_a_failure_no_row_is_fresh() -> None:
    server = Server(Todo("1"))
    todos = server.collection(stale_time=100)
    await todos.preload()
    server.failing = OSError("down")
    with pytest.raises(OSError, match="down"):
        await todos.refetch()
    todos.subscribe_changes(lambda _: None)
    await settle()

    assert len(server.fetches) == 3


async def test_who_refetches_hears_why_it_failed() -> None:
    server = Server(Todo("1"))
    todos = server.collection()
    await todos.preload()
    server.failing = OSError("down")
    with pytest.raises(OSError, match="down"):
        await todos.refetch()

    assert server.errors == []


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ([{"id": "1"}, {"id": "1"}], DuplicateKeyError),
        ([{"id": 1}], SchemaError),
        ([None], SchemaError),
        (None, TypeError),
    ],
)
async def test_an_answer_that_makes_no_sense_is_a_failure(answer: Any, error: type[Exception]) -> None:
    answers = [[Todo("0")], answer]

    async def fetch() -> Any:
        return answers.pop(0)

    todos = Server().collection(query_fn=fetch)
    await todos.preload()
    with pytest.raises(error):
        await todos.refetch()

    assert todos.to_list() == [Todo("0")]


async def test_a_query_fn_that_cancels_itself_is_a_failure() -> None:
    async def fetch() -> list[Todo]:
        raise asyncio.CancelledError

    todos = Server().collection(query_fn=fetch)
    with pytest.raises(SourceError, match="cancelled"):
        await todos.preload()


async def test_cleaning_up_ends_the_fetch() -> None:
    server = Server(Todo("1"))
    todos = server.collection(refetch_interval=1)
    todos.subscribe_changes(lambda _: None)
    await todos.preload()
    waiting = asyncio.ensure_future(todos.refetch())
    await settle()
    await todos.cleanup()
    with pytest.raises(CollectionStateError, match="during the fetch"):
        await waiting
    await elapse(20)

    assert (todos.status, todos.size, len(server.fetches)) == ("cleaned-up", 0, 2)


async def test_cleaning_up_cancels_the_query_function() -> None:
    ended: list[float] = []

    async def fetch() -> list[Todo]:
        try:
            await asyncio.sleep(5)
        finally:
            ended.append(now())
        return []

    todos = Server().collection(query_fn=fetch)
    todos.subscribe_changes(lambda _: None)
    await elapse(1)
    await todos.cleanup()
    await settle()

    assert ended == [1.0]


async def test_closing_the_client_ends_the_fetch_in_silence() -> None:
    server = Server(Todo("1"))
    todos = server.collection(refetch_interval=1)
    todos.subscribe_changes(lambda _: None)
    await todos.preload()
    await elapse(1.6)
    assert todos.is_fetching
    await todos.client.close()
    await elapse(20)

    assert (server.errors, len(server.fetches)) == ([], 2)


async def test_a_query_fn_that_ignores_its_cancellation_changes_nothing() -> None:
    async def stubborn() -> list[Todo]:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(1)
        return [Todo("late")]

    todos = Server().collection(query_fn=stubborn)
    todos.subscribe_changes(lambda _: None)
    await settle()
    await todos.cleanup()
    await elapse(5)

    assert (todos.status, todos.size) == ("cleaned-up", 0)


def test_without_a_loop_it_cannot_start() -> None:
    todos = Server().collection()
    todos.subscribe_changes(lambda _: None)

    assert todos.status == "error"
    assert "event loop" in str(todos.error)


def test_the_delay_grows_to_half_a_minute_and_is_spread() -> None:
    delays = [{back_off(failures) for _ in range(50)} for failures in (1, 2, 5, 6, 2000)]

    for found, longest in zip(delays, (1, 2, 16, 30, 30), strict=True):
        assert longest * 0.75 <= min(found) < max(found) <= longest


@pytest.mark.parametrize(
    "options",
    [{"refetch_interval": 0}, {"refetch_interval": -1}, {"stale_time": -1}, {"query_fn": 3}, {"retry_delay": 1}],
)
def test_options_that_cannot_be_right(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        Server().collection(**options)


# -- optimistic writes -------------------------------------------------------------------------------------------------


async def test_a_write_is_shown_until_the_fetch_after_it_has_landed() -> None:
    server = Server(Todo("1", "a"))
    todos = server.collection()
    await todos.preload()
    batches = told(todos)
    tx = todos.update("1", text="b")
    await elapse(1)  # the handler has returned at 0.6
    assert tx.state == "persisting"
    await tx.persisted()

    assert (now(), batches) == (1.1, [["update 1"]])
    assert not todos.has_pending_writes("1")


async def test_a_temporary_key_is_one_row_at_every_moment() -> None:
    """f.2 18, g 1."""
    server = Server()
    todos = server.collection()
    await todos.preload()
    batches = told(todos)
    await todos.insert(Todo("t")).persisted()

    assert batches == [["insert t"], ["insert s-t", "delete t"]]


async def test_a_returned_row_needs_no_fetch() -> None:
    server = Server()

    async def add(transaction: Transaction[Todo]) -> Todo:
        return replace(transaction.mutations[0].modified, id="9")

    todos = server.collection(on_insert=add)
    await todos.preload()
    await todos.insert(Todo("t", "a")).persisted()

    assert todos.to_list() == [Todo("9", "a")]
    assert len(server.fetches) == 1


async def test_a_returned_row_is_not_undone_by_an_older_fetch() -> None:
    server = Server(Todo("1", "a"))

    async def change(transaction: Transaction[Todo]) -> Todo:
        return transaction.mutations[0].modified

    todos = server.collection(on_update=change)
    await todos.preload()
    early = asyncio.ensure_future(todos.refetch())
    await settle()
    await todos.update("1", text="b").persisted()
    await early

    assert todos.get("1") == Todo("1", "b")


async def test_after_a_rollback_no_further_handler_is_called() -> None:
    server = Server()
    todos = server.collection()
    await todos.preload()
    tx = todos.insert(Todo("a"), Todo("b"), Todo("c"))
    await elapse(0.65)
    tx.rollback()
    assert todos.size == 0
    await elapse(3)

    assert [todo.id for todo in todos.to_list()] == ["s-a", "s-b"]


async def test_several_rows_need_one_fetch() -> None:
    server = Server()
    todos = server.collection()
    await todos.preload()
    await todos.insert(Todo("a"), Todo("b"), Todo("c")).persisted()
    await todos.delete("s-a", "s-b").persisted()

    assert len(server.fetches) == 3
    assert [todo.id for todo in todos.to_list()] == ["s-c"]


async def test_what_the_server_took_stays_when_a_later_row_is_refused() -> None:
    server = Server()
    todos = server.collection()
    await todos.preload()
    tx = todos.insert(Todo("a"), Todo("b", "bad"), Todo("c"))
    with pytest.raises(ValueError, match="bad"):
        await tx.persisted()

    assert [todo.id for todo in todos.to_list()] == ["s-a"]


async def test_a_fetch_that_began_before_the_server_knew_is_not_enough() -> None:
    """g 3: the value must not jump back."""
    server = Server(Todo("1", "a"))
    todos = server.collection()
    await todos.preload()
    texts: list[str] = []
    todos.subscribe_changes(lambda changes: texts.extend(change.value.text for change in changes))
    early = asyncio.ensure_future(todos.refetch())
    await settle()
    first = todos.update("1", text="b")
    await asyncio.sleep(0.15)
    second = todos.update("1", text="c")
    await asyncio.gather(early, first.persisted(), second.persisted())

    assert texts == ["b", "c"]
    assert len(server.fetches) == 3


async def test_a_write_stays_as_it_was_made_when_the_fetch_after_it_fails() -> None:
    server = Server(Todo("1", "a"), Todo("2"))
    todos = server.collection()
    todos.subscribe_changes(lambda _: None)
    await todos.preload()
    server.failing = OSError("down")
    await todos.update("1", text="b").persisted()
    await todos.delete("2").persisted()
    assert todos.to_list() == [Todo("1", "b")]
    server.failing = None
    server.rows["1"] = Todo("1", "as the server has it")
    await elapse(6)

    assert todos.to_list() == [Todo("1", "as the server has it")]


async def test_a_transaction_with_a_server_function_fetches_as_well() -> None:
    server = Server(Todo("1", "a"))
    todos = server.collection()
    await todos.preload()

    async def save() -> None:
        server.rows["1"] = Todo("1", "B")

    await todos.client.transact(lambda tx: tx.update(todos, "1", text="b"), save).persisted()

    assert todos.get("1") == Todo("1", "B")


# -- writing what the server has ---------------------------------------------------------------------------------------


async def test_rows_can_be_written_without_telling_the_server() -> None:  # g 14
    todos = Server(Todo("1"), Todo("2")).collection()
    await todos.preload()
    batches = told(todos)
    todos.write_insert(Todo("3"), {"id": "4"})
    todos.write_update("1", text="a")
    todos.write_update("1", lambda todo: replace(todo, done=True))
    todos.write_upsert({"id": "1", "text": "b"}, Todo("5"))
    todos.write_delete("2", "3")

    assert batches == [
        ["insert 3", "insert 4"],
        ["update 1"],
        ["update 1"],
        ["update 1", "insert 5"],
        ["delete 2", "delete 3"],
    ]
    assert todos.to_list() == [Todo("1", "b"), Todo("4"), Todo("5")]


async def test_a_batch_is_shown_at_once_and_sees_itself() -> None:
    todos = Server(Todo("1"), Todo("2")).collection()
    await todos.preload()
    batches = told(todos)
    with todos.write_batch():
        todos.write_insert(Todo("3"))
        todos.write_update("3", text="a")
        todos.write_delete("1")
        todos.write_insert(Todo("1", "again"))
        todos.write_delete("2")
        assert todos.get("3") is None

    assert [sorted(batch) for batch in batches] == [["delete 2", "insert 3", "update 1"]]
    assert todos.get("3") == Todo("3", "a")


async def test_a_batch_or_a_call_that_fails_writes_nothing() -> None:
    todos = Server(Todo("1")).collection()
    await todos.preload()
    with pytest.raises(UnknownKeyError), todos.write_batch():  # noqa: PT012 -- the first write is what must not stay
        todos.write_delete("1")
        todos.write_delete("1")
    with pytest.raises(DuplicateKeyError):
        todos.write_insert(Todo("2"), Todo("1"))
    with todos.write_batch():
        todos.write_insert(Todo("3"))
        with pytest.raises(DuplicateKeyError):
            todos.write_insert(Todo("4"), Todo("3"))

    assert [todo.id for todo in todos.to_list()] == ["1", "3"]


async def test_writes_that_are_refused() -> None:
    server = Server(Todo("1"))
    todos = server.collection()
    with pytest.raises(CollectionStateError, match="preload"):
        todos.write_insert(Todo("1"))
    await todos.preload()
    refused: list[tuple[Callable[[], object], type[Exception]]] = [
        (lambda: todos.write_insert(Todo("1")), DuplicateKeyError),
        (lambda: todos.write_insert({"id": 7}), SchemaError),
        (lambda: todos.write_upsert(None), SchemaError),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        (lambda: todos.write_update("2", text="a"), UnknownKeyError),
        (lambda: todos.write_update("1", txt="a"), SchemaError),
        (lambda: todos.write_update("1", lambda todo: replace(todo, id="2")), KeyChangedError),
        (lambda: todos.write_delete("2"), UnknownKeyError),
    ]
    for write, error in refused:
        with pytest.raises(error):
            write()
    with todos.write_batch(), pytest.raises(UsageError, match="inside another"), todos.write_batch():
        pass

    assert todos.to_list() == [Todo("1")]


async def test_a_write_goes_below_what_a_transaction_shows() -> None:
    server = Server(Todo("1", "a"))

    async def refuse(transaction: Transaction[Todo]) -> None:
        await asyncio.sleep(1)
        raise ValueError

    todos = server.collection(on_update=refuse)
    await todos.preload()
    tx = todos.update("1", text="mine")
    todos.write_update("1", done=True)
    assert todos.get("1") == Todo("1", "mine")
    with pytest.raises(ValueError):  # noqa: PT011 -- the handler's
        await tx.persisted()

    assert todos.get("1") == Todo("1", "a", done=True)


async def test_a_fetch_does_not_undo_what_was_written_meanwhile() -> None:
    server = Server(Todo("1", "a"), Todo("2"))
    todos = server.collection()
    await todos.preload()
    fetch = asyncio.ensure_future(todos.refetch())
    await settle()
    todos.write_update("1", text="newer")
    todos.write_delete("2")
    todos.write_insert(Todo("3"))
    batches = told(todos)
    await fetch
    assert batches == []
    assert [todo.id for todo in todos.to_list()] == ["1", "3"]
    await todos.refetch()

    assert todos.to_list() == [Todo("1", "a"), Todo("2")]


# -- beside another kind of source -------------------------------------------------------------------------------------


async def test_it_joins_another_kind_of_collection() -> None:
    server = Server(Todo("1", "a"))
    todos = server.collection()
    comments = todos.client.build(
        local_only_collection_options(
            id="comments", schema=Comment, get_key=lambda comment: comment.id, initial_data=[Comment("c", "2")]
        )
    )
    query = live_query(lambda q: q.from_(comments).join(todos, on=lambda c, t: c.todo_id == t.id), client=todos.client)
    seen: list[list[tuple[str, str | None]]] = []
    query.subscribe(lambda: seen.append([(comment.id, todo.text if todo else None) for comment, todo in query.get()]))
    await query.preload()
    server.rows["2"] = Todo("2", "b")
    await todos.refetch()
    todos.write_update("2", text="c")
    comments.insert(Comment("d", "1"))

    assert seen[1:] == [[("c", "b")], [("c", "c")], [("c", "c"), ("d", "a")]]


async def test_the_module_level_collection_stands_for_the_session() -> None:
    server = Server(Todo("1"))
    todos = create_collection(
        query_collection_options(id="todos", schema=Todo, get_key=lambda todo: todo.id, query_fn=server.fetch)
    )
    client = DbClient()
    with client.activate():
        await todos.refetch()
        todos.write_insert(Todo("2"))
        assert todos.size == 2
        changes: list[Change[Todo, str]] = []
        todos.subscribe_changes(changes.extend)
    assert todos.size == 0
    await client.close()
