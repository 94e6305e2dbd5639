"""What subscribers see. Numbers: behaviours every port of TanStack DB should have."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from tanstack_db import Change, Collection, DbClient, UsageError, collection_options, live_query
from tanstack_db._base.delta import Delta, Deltas
from tanstack_db.testing import ManualSource


@dataclass(frozen=True)
class Todo:
    id: str
    text: str = ""
    done: bool = False


Batches = list[list[Change[Todo, str]]]


class World:
    def __init__(self, *rows: Todo) -> None:
        self.errors: list[Exception] = []
        self.client = DbClient(on_error=self.errors.append)
        self.source = ManualSource[Todo, str](rows)
        self.todos: Collection[Todo, str] = self.client.build(
            collection_options(id="todos", schema=Todo, get_key=lambda todo: todo.id, sync=self.source, start_sync=True)
        )

    def listen(self, **options: Any) -> Batches:
        batches: Batches = []
        self.todos.subscribe_changes(lambda changes: batches.append(list(changes)), **options)
        return batches


def test_21_a_row_appears_once_per_batch_with_its_net_change() -> None:
    world = World(Todo("1"), Todo("2"), Todo("3"))
    batches = world.listen()

    with world.client.batch():
        world.source.write(Todo("new", "a"), Todo("gone"), Todo("1", "a"))
        world.source.write(Todo("new", "b"), Todo("1", "b"), Todo("3"), delete=["gone"])
        world.source.write(delete=["2"])
        world.source.write(Todo("2", "back"))
        assert batches == []

    assert batches == [
        [
            Change("insert", "new", Todo("new", "b")),
            Change("update", "1", Todo("1", "b"), Todo("1")),
            Change("update", "2", Todo("2", "back"), Todo("2")),
        ]
    ]


def test_21_an_unchanged_row_is_not_published() -> None:
    world = World(Todo("1"))
    batches = world.listen()

    world.source.write(Todo("1"))
    with world.client.batch():
        world.source.write(Todo("1", "x"))
        world.source.write(Todo("1"))

    assert batches == []


def test_22_a_filter_turns_entering_and_leaving_into_insert_and_delete() -> None:
    world = World(Todo("1"), Todo("2", done=True))
    batches: Batches = []
    world.todos.subscribe_changes(
        lambda changes: batches.append(list(changes)), where=lambda todo: todo.done, include_initial_state=True
    )

    world.source.write(Todo("1", done=True))
    world.source.write(Todo("1", "x", done=True))
    world.source.write(Todo("1", "x"))
    world.source.write(Todo("1", "y"))
    world.source.write(delete=["1", "2"])

    assert batches == [
        [Change("insert", "2", Todo("2", done=True))],
        [Change("insert", "1", Todo("1", done=True))],
        [Change("update", "1", Todo("1", "x", done=True), Todo("1", done=True))],
        [Change("delete", "1", Todo("1", "x", done=True))],
        [Change("delete", "2", Todo("2", done=True))],
    ]


def test_23_a_failing_subscriber_neither_hides_nor_undoes_the_change() -> None:
    world = World()
    failure = ValueError("screen")

    def fail(_: object) -> None:
        raise failure

    world.todos.subscribe_changes(fail)
    batches = world.listen()

    world.source.write(Todo("1"))

    assert batches == [[Change("insert", "1", Todo("1"))]]
    assert world.todos.has("1")
    assert world.errors == [failure]


def test_the_initial_state_comes_before_the_call_returns() -> None:
    world = World(Todo("1"), Todo("2"))

    assert world.listen(include_initial_state=True) == [
        [Change("insert", "1", Todo("1")), Change("insert", "2", Todo("2"))]
    ]
    assert world.listen() == []


def test_no_empty_lists() -> None:
    world = World()
    batches = world.listen(include_initial_state=True)

    world.source.ctx.mark_error(ValueError())
    world.source.ctx.mark_ready()
    world.source.write()

    assert batches == []


def test_rows_that_a_starting_source_has_at_once_arrive_once() -> None:
    source = ManualSource([Todo("1")])
    todos = DbClient().build(collection_options(id="todos", schema=Todo, get_key=lambda todo: todo.id, sync=source))
    batches: Batches = []

    todos.subscribe_changes(lambda changes: batches.append(list(changes)), include_initial_state=True)

    assert batches == [[Change("insert", "1", Todo("1"))]]


def test_a_write_in_a_subscriber_is_told_after_everybody_heard_of_the_first() -> None:
    world = World()
    order: list[tuple[str, str]] = []

    def writer(changes: Any) -> None:
        order.append(("writer", changes[0].key))
        if changes[0].key == "1":
            world.source.write(Todo("2"))

    world.todos.subscribe_changes(writer)
    world.todos.subscribe_changes(lambda changes: order.append(("other", changes[0].key)))
    world.source.write(Todo("1"))

    assert order == [("writer", "1"), ("other", "1"), ("writer", "2"), ("other", "2")]


def test_a_write_while_the_initial_state_is_told_is_not_lost() -> None:
    world = World(Todo("1"))
    mirror: dict[str, Todo] = {}

    def mirrored(changes: Any) -> None:
        for change in changes:
            mirror[change.key] = change.value
        if "2" not in mirror:
            world.source.write(Todo("2"))

    world.todos.subscribe_changes(mirrored, include_initial_state=True)

    assert mirror == dict(world.todos.rows)


def test_a_callback_that_raises_on_the_initial_state_is_not_subscribed() -> None:
    world = World(Todo("1"))
    calls: list[int] = []

    def fail(_: object) -> None:
        calls.append(1)
        raise ValueError("screen")

    with pytest.raises(ValueError, match="screen"):
        world.todos.subscribe_changes(fail, include_initial_state=True)
    world.source.write(Todo("2"))

    assert calls == [1]


def test_stopping_during_a_delivery_is_immediate() -> None:
    world = World()
    late: list[object] = []

    def first(_: object) -> None:
        stop_late()
        stop_first()

    stop_first = world.todos.subscribe_changes(first)
    stop_late = world.todos.subscribe_changes(late.append)
    world.source.write(Todo("1"))
    world.source.write(Todo("2"))

    assert late == []


def test_a_subscriber_that_comes_in_the_middle_of_a_batch_starts_from_there() -> None:
    world = World(Todo("1"))
    early: list[Delta] = []
    late: list[Delta] = []

    def sink(into: list[Delta]) -> Any:
        def take(deltas: Deltas) -> None:
            into.extend(deltas)

        return take

    world.todos.attach(sink(early))
    with world.client.batch():
        world.source.write(Todo("1", "a"), Todo("2", "a"))
        detach = world.todos.attach(sink(late))
        world.source.write(Todo("2", "b"), Todo("3", "b"))

    assert early == [
        ("1", Todo("1"), Todo("1", "a")),
        ("2", None, Todo("2", "b")),
        ("3", None, Todo("3", "b")),
    ]
    assert late == [("2", Todo("2", "a"), Todo("2", "b")), ("3", None, Todo("3", "b"))]
    world.source.write(Todo("1", "c"))
    assert late[2:] == [("1", Todo("1", "a"), Todo("1", "c"))]
    detach()
    detach()
    world.source.write(Todo("1", "d"))
    assert len(late) == 3


@pytest.mark.parametrize("what", ["subscribe", "subscribe_changes", "changes of a collection", "on"])
def test_a_subscriber_is_a_plain_function(what: str) -> None:
    async def never_awaited(*_: object) -> None:
        raise AssertionError

    world = World(Todo("1"))
    with world.client.activate():
        query = live_query(lambda q: q.from_(world.todos))
    subscribe: dict[str, Any] = {
        "subscribe": query.subscribe,
        "subscribe_changes": query.subscribe_changes,
        "changes of a collection": world.todos.subscribe_changes,
        "on": partial(world.todos.on, "status:change"),
    }

    for wrong in (never_awaited, None, "render"):
        with pytest.raises(UsageError, match="takes a plain function"):
            subscribe[what](wrong)
    query.close()
