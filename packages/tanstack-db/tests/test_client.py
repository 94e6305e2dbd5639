"""Clients: one user's instances, sessions, services, background tasks, close."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tanstack_db import (
    Collection,
    DbClient,
    NoSessionError,
    Transaction,
    TransactionError,
    UsageError,
    collection_options,
    create_collection,
    current_client,
    default_client,
    local_only_collection_options,
    require_sessions,
)
from tanstack_db.testing import ManualSource, settle


@dataclass(frozen=True)
class Todo:
    id: str
    text: str = ""


def notes() -> Collection[Todo, str]:
    return create_collection(local_only_collection_options(id="notes", schema=Todo, get_key=lambda todo: todo.id))


@pytest.fixture
def sessions_required() -> Iterator[None]:
    require_sessions()
    yield
    require_sessions(False)


def test_the_declared_object_belongs_to_the_default_client() -> None:
    todos = notes()

    assert todos.client is default_client()
    assert default_client().collection(todos) is todos


def test_every_client_has_its_own_instance() -> None:
    todos = notes()
    alice, bob = DbClient(), DbClient()

    assert alice.collection(todos) is alice.collection(todos)
    assert alice.collection(todos) is not bob.collection(todos)
    assert bob.collection(alice.collection(todos)) is bob.collection(todos)
    alice.collection(todos).insert(Todo("secret"))
    assert (bob.collection(todos).size, todos.size) == (0, 0)


def test_inside_a_session_the_declared_object_stands_for_its_instance() -> None:
    todos = notes()
    alice = DbClient()

    with alice.activate():
        assert current_client() is alice
        todos.insert(Todo("1", "a"))
        todos.update("1", text="b")
        with todos.edit("1"):
            pass
        seen: list[Any] = []
        todos.subscribe_changes(seen.extend, include_initial_state=True)
        assert (todos.size, todos.has("1"), todos.get("1"), len(seen)) == (1, True, Todo("1", "b"), 1)
        assert todos.to_list() == [Todo("1", "b")]

    assert current_client() is default_client()
    assert todos.size == 0
    assert alice.collection(todos).get("1") == Todo("1", "b")


def test_the_relation_that_queries_read_never_stands_for_another() -> None:
    todos = notes()
    alice = DbClient()

    with alice.activate():
        todos.insert(Todo("1"))
        assert dict(todos.rows) == {}
        assert todos._open(alice) is alice.collection(todos)


async def test_handlers_and_sources_run_in_their_client() -> None:
    seen: list[DbClient] = []

    def source(ctx: object) -> None:
        seen.append(current_client())

    async def on_insert(_: Transaction[Todo]) -> None:
        seen.append(current_client())

    todos = create_collection(
        collection_options(id="todos", schema=Todo, get_key=lambda todo: todo.id, sync=source, on_insert=on_insert)
    )
    alice = DbClient()

    await alice.collection(todos).insert(Todo("1")).persisted()

    assert seen == [alice, alice]


@pytest.mark.usefixtures("sessions_required")
def test_where_sessions_are_required_the_shared_object_is_refused() -> None:
    todos = notes()

    for use in (
        lambda: todos.insert(Todo("1")),
        lambda: todos.update("1", text="x"),
        lambda: todos.delete("1"),
        lambda: todos.edit("1"),
        lambda: todos.get("1"),
        lambda: todos.subscribe_changes(lambda _: None),
        current_client,
    ):
        with pytest.raises(NoSessionError, match="activate"):
            use()
    with DbClient().activate():
        todos.insert(Todo("1"))
        assert todos.size == 1


async def test_sessions_of_concurrent_tasks_do_not_mix() -> None:
    todos = notes()

    async def session(name: str) -> list[Todo]:
        with DbClient().activate():
            await asyncio.sleep(1)
            todos.insert(Todo(name))
            await asyncio.sleep(1)
            return todos.to_list()

    a, b = await asyncio.gather(session("a"), session("b"))

    assert (a, b) == ([Todo("a")], [Todo("b")])


def test_a_service_is_made_once_per_client() -> None:
    class Connection:
        def __init__(self, client: DbClient) -> None:
            self.client = client

    alice, bob = DbClient(), DbClient()

    assert alice.service(Connection, Connection) is alice.service(Connection, Connection)
    assert bob.service(Connection, Connection).client is bob


async def test_close_cancels_rolls_back_and_cleans_up() -> None:
    client = DbClient()
    source = ManualSource([Todo("1")])
    cancelled: list[str] = []

    async def slow(_: Transaction[Todo]) -> None:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            cancelled.append("handler")
            raise

    todos = client.build(
        collection_options(
            id="todos", schema=Todo, get_key=lambda todo: todo.id, sync=source, on_delete=slow, on_insert=slow
        )
    )
    order: list[str] = []

    async def closer() -> None:
        order.append("closed")

    client.on_close(lambda: order.append("first"))
    client.on_close(closer)
    running = todos.delete("1")
    await settle()
    not_started = todos.insert(Todo("2"))
    pending = client.create_transaction(_nothing)

    await client.close()
    await client.close()

    assert (cancelled, source.stops, order) == (["handler"], 1, ["closed", "first"])
    assert todos.size == 0
    for tx in (running, not_started, pending):
        assert tx.state == "failed"
        with pytest.raises(TransactionError, match="closed"):
            await tx.persisted()
    with pytest.raises(UsageError, match="closed"):
        todos.insert(Todo("3"))
    others = asyncio.all_tasks() - {asyncio.current_task()}
    assert not others


async def test_a_task_that_is_cancelled_from_outside_rolls_back() -> None:
    errors: list[Exception] = []
    client = DbClient(on_error=errors.append)
    todos = client.build(
        collection_options(
            id="todos",
            schema=Todo,
            get_key=lambda todo: todo.id,
            sync=ManualSource[Todo, str](),
            on_insert=lambda _: asyncio.sleep(1000),
        )
    )
    started = todos.insert(Todo("1"))
    await settle()
    not_started = todos.insert(Todo("2"))

    # What a loop does at its end.
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await settle()

    assert (started.state, not_started.state, todos.size, errors) == ("failed", "failed", 0, [])


async def test_close_from_within_a_handler() -> None:
    client = DbClient()

    async def on_insert(_: Transaction[Todo]) -> None:
        await client.close()

    todos = client.build(
        collection_options(
            id="todos",
            schema=Todo,
            get_key=lambda todo: todo.id,
            sync=ManualSource[Todo, str](),
            on_insert=on_insert,
        )
    )

    tx = todos.insert(Todo("1"))
    with pytest.raises(TransactionError):
        await tx.persisted()
    assert todos.size == 0


async def test_the_default_client_can_be_used_again_after_close() -> None:
    todos = notes()
    todos.insert(Todo("1"))

    await default_client().close()
    assert todos.size == 0
    todos.insert(Todo("2"))

    assert todos.to_list() == [Todo("2")]


async def test_discarding_transactions_cancels_their_handlers() -> None:
    errors: list[Exception] = []
    client = DbClient(on_error=errors.append)
    ended: list[str] = []

    async def slow(_: Transaction[Todo]) -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            ended.append("handler")

    todos = client.build(
        collection_options(
            id="todos", schema=Todo, get_key=lambda todo: todo.id, sync=ManualSource[Todo, str](), on_insert=slow
        )
    )
    tx = todos.insert(Todo("1"))
    await settle()

    client.discard_transactions("another user logged in")

    assert todos.size == 0
    await settle()
    assert (ended, errors) == (["handler"], [])
    with pytest.raises(TransactionError, match="another user"):
        await tx.persisted()


async def test_what_a_background_task_raises_is_reported() -> None:
    errors: list[Exception] = []
    client = DbClient(on_error=errors.append)
    failure = ValueError("background")

    async def work() -> None:
        raise failure

    client.start(work(), "work")
    await settle()

    assert errors == [failure]


async def test_a_background_task_can_be_cancelled() -> None:
    errors: list[Exception] = []
    client = DbClient(on_error=errors.append)
    cancel = client.start(asyncio.sleep(1000), "work")

    cancel()
    await client.close()

    assert errors == []


def test_without_a_loop_and_hook_a_failure_is_raised() -> None:
    failure = ValueError("nobody hears")

    with pytest.raises(ValueError, match="nobody hears"):
        DbClient().report(failure)


def test_what_is_no_collection_is_named() -> None:
    with pytest.raises(UsageError, match="not a collection"):
        DbClient().collection("todos")


def test_options_that_cannot_be_right() -> None:
    good: dict[str, Any] = {"id": "todos", "get_key": len, "sync": _nothing}

    for wrong, says in (
        ({"id": ""}, "id must be a non-empty string"),
        ({"id": 5}, "id must be a non-empty string, not 5"),
        ({"get_key": "id"}, "get_key must be a function"),
        ({"get_key": None}, "get_key must be a function, not None"),
        ({"on_insert": "handler"}, "on_insert must be a function"),
        ({"schema": Todo("1")}, "is no class of rows"),
        ({"sync_mode": "lazy"}, "sync_mode"),
        ({"row_update_mode": "merge"}, "row_update_mode"),
    ):
        options: dict[str, Any] = {**good, **wrong}
        with pytest.raises(UsageError, match=says):
            collection_options(**options)


async def _nothing() -> None:
    return None
