"""The collection-source contract and the life cycle. Numbers: behaviours every port of TanStack DB should have."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tanstack_db import (
    Change,
    Collection,
    CollectionEvent,
    CollectionStateError,
    DbClient,
    DuplicateKeyError,
    SourceError,
    SyncContext,
    SyncContractError,
    SyncRun,
    collection_options,
)
from tanstack_db._sync.lifecycle import Lifecycle
from tanstack_db.testing import ManualSource, settle


@dataclass(frozen=True)
class Todo:
    id: str
    text: str = ""
    done: bool = False


Source = ManualSource[Todo, str]
Todos = Collection[Todo, str]
Sync = Callable[[SyncContext[Todo, str]], Any]


def make(sync: Sync, **options: Any) -> Todos:
    return DbClient().build(
        collection_options(id="todos", schema=Todo, get_key=lambda todo: todo.id, sync=sync, **options)
    )


def test_1_rows_are_readable_before_ready() -> None:
    source = Source([Todo("1")], ready=False)
    todos = make(source)
    todos.subscribe_changes(lambda _: None)
    source.write(Todo("2"))

    assert [todo.id for todo in todos.to_list()] == ["1", "2"]
    assert (todos.status, todos.is_ready) == ("loading", False)
    source.ctx.mark_ready()
    assert (todos.status, todos.is_ready) == ("ready", True)


WRITES: dict[str, Callable[[SyncContext[Todo, str]], object]] = {
    "insert": lambda ctx: ctx.insert(Todo("1")),
    "update": lambda ctx: ctx.update(Todo("1")),
    "delete": lambda ctx: ctx.delete("1"),
    "truncate": lambda ctx: ctx.truncate(),
    "commit": lambda ctx: ctx.commit(),
}


@pytest.mark.parametrize("name", WRITES)
def test_2_writing_without_begin_is_refused(name: str) -> None:
    source = Source()
    make(source).subscribe_changes(lambda _: None)

    with pytest.raises(SyncContractError, match="begin"):
        WRITES[name](source.ctx)


def test_2_begin_twice_is_refused() -> None:
    source = Source()
    make(source).subscribe_changes(lambda _: None)
    source.ctx.begin()

    with pytest.raises(SyncContractError, match="commit"):
        source.ctx.begin()


def test_3_a_sync_insert_of_a_known_key() -> None:
    source = Source([Todo("1", "a")])
    todos = make(source)
    changes: list[Change[Todo, str]] = []
    todos.subscribe_changes(changes.extend)
    changes.clear()

    source.ctx.begin()
    source.ctx.insert(Todo("1", "a"))
    with pytest.raises(DuplicateKeyError, match="update"):
        source.ctx.insert(Todo("1", "b"))
    source.ctx.commit()

    assert changes == []
    assert todos.get("1") == Todo("1", "a")


def test_3_a_key_written_earlier_in_the_transaction_counts() -> None:
    source = Source([Todo("1", "a")])
    todos = make(source)
    todos.subscribe_changes(lambda _: None)

    source.ctx.begin()
    source.ctx.delete("1")
    source.ctx.insert(Todo("1", "b"))
    source.ctx.insert(Todo("2", "c"))
    with pytest.raises(DuplicateKeyError):
        source.ctx.insert(Todo("2", "d"))
    source.ctx.commit()

    assert todos.to_list() == [Todo("1", "b"), Todo("2", "c")]


def test_4_partial_updates_merge_and_full_ones_replace() -> None:
    partial, full = ManualSource[dict[str, Any], str](), ManualSource[dict[str, Any], str]()
    for source, mode, expected in (
        (partial, "partial", {"id": "1", "a": 1, "b": 3}),
        (full, "full", {"id": "1", "b": 3}),
    ):
        options: Any = {"row_update_mode": mode}
        rows = DbClient().build(
            collection_options(id="rows", get_key=lambda row: str(row["id"]), sync=source, **options)
        )
        rows.subscribe_changes(lambda _: None)
        source.write({"id": "1", "a": 1, "b": 2})
        source.write({"id": "1", "b": 3})
        assert rows.get("1") == expected


def test_4_a_mapping_updates_a_typed_row() -> None:
    source = Source([Todo("1", "a")])
    todos = make(source)
    todos.subscribe_changes(lambda _: None)

    source.ctx.begin()
    source.ctx.update({"done": True}, key="1")
    source.ctx.update({"id": "2", "text": "new"}, key="2")
    with pytest.raises(SyncContractError, match="key="):
        source.ctx.update({"done": True})
    source.ctx.commit()

    assert todos.to_list() == [Todo("1", "a", done=True), Todo("2", "new")]


def test_5_a_sync_delete_needs_only_the_key() -> None:
    source = Source([Todo("1")])
    todos = make(source)
    batches: list[Any] = []
    todos.subscribe_changes(batches.append)
    batches.clear()

    source.write(delete=["unknown"])
    assert batches == []
    source.write(delete=["1"])
    assert batches == [[Change("delete", "1", Todo("1"))]]


def test_6_reading_never_starts_the_source() -> None:
    source = Source([Todo("1")])
    todos = make(source)

    assert (todos.get("1"), todos.has("1"), todos.size, todos.to_list()) == (None, False, 0, [])
    assert (source.starts, todos.status) == (0, "idle")


async def test_6_subscribing_preloading_and_writing_start_it_once() -> None:
    source = Source([Todo("1")])
    todos = make(source, on_delete=_nothing)

    await todos.preload()
    todos.subscribe_changes(lambda _: None)
    todos.delete("1")

    assert source.starts == 1


async def test_6_a_write_sees_the_rows_that_the_source_has_at_once() -> None:
    todos = make(Source([Todo("1")]), on_insert=_nothing, on_update=_nothing)

    with pytest.raises(DuplicateKeyError):
        todos.insert(Todo("1"))
    todos.update("1", text="x")

    assert todos.get("1") == Todo("1", "x")


async def test_7_an_unused_collection_is_stopped_after_gc_time() -> None:
    source = Source([Todo("1")])
    todos = make(source, gc_time=10)
    todos.subscribe_changes(lambda _: None)()

    await asyncio.sleep(9)
    stop = todos.subscribe_changes(lambda _: None)
    await asyncio.sleep(20)
    assert (source.stops, todos.size) == (0, 1), "used again in time"

    stop()
    stop()
    await asyncio.sleep(9.9)
    assert source.stops == 0
    await asyncio.sleep(0.2)
    assert (source.stops, todos.size, todos.status) == (1, 0, "cleaned-up")


@pytest.mark.parametrize("gc_time", [0, -1, float("inf"), float("nan")])
async def test_7_never_stopped(gc_time: float) -> None:
    source = Source()
    make(source, gc_time=gc_time).subscribe_changes(lambda _: None)()

    await asyncio.sleep(1_000_000)

    assert source.stops == 0


async def test_7_an_open_transaction_keeps_the_collection() -> None:
    source = Source([Todo("1")])
    todos = make(source, gc_time=1, on_delete=_slowly)
    tx = todos.delete("1")

    await asyncio.sleep(50)
    assert source.stops == 0
    await tx.persisted()
    await asyncio.sleep(2)
    assert source.stops == 1


async def test_8_a_restart_is_a_fresh_run_and_the_old_one_is_inert() -> None:
    source = Source([Todo("1")])
    todos = make(source)
    todos.subscribe_changes(lambda _: None)
    old = source.ctx
    old.begin()
    old.insert(Todo("ghost"))

    await todos.cleanup()
    assert (todos.status, todos.size, source.stops) == ("cleaned-up", 0, 1)
    todos.subscribe_changes(lambda _: None)
    old.commit()
    old.begin()
    old.insert(Todo("ghost"))
    old.truncate()
    old.commit()
    old.mark_error(ValueError())

    assert (source.starts, todos.to_list(), todos.status) == (2, [Todo("1")], "ready")
    assert not old.is_active


async def test_8_cleaning_up_tells_subscribers_that_the_rows_went() -> None:
    todos = make(Source([Todo("1")]))
    changes: list[Change[Todo, str]] = []
    todos.subscribe_changes(changes.extend)
    changes.clear()

    await todos.cleanup()

    assert changes == [Change("delete", "1", Todo("1"))]


async def test_9_concurrent_preloads_share_a_run_and_its_error() -> None:
    source = Source(ready=False)
    todos = make(source)
    loads = [asyncio.create_task(todos.preload()) for _ in range(3)]
    await settle()
    failure = ValueError("no database")

    source.ctx.mark_error(failure)
    outcomes = await asyncio.gather(*loads, return_exceptions=True)

    assert source.starts == 1
    assert all(isinstance(outcome, SourceError) and outcome.cause is failure for outcome in outcomes)
    assert (todos.status, todos.error) == ("error", failure)
    source.ctx.mark_ready()
    await todos.preload()
    assert (todos.status, todos.error) == ("ready", None)


async def test_9_a_source_that_raises() -> None:
    failure = RuntimeError("broken")

    def sync(_: SyncContext[Todo, str]) -> None:
        raise failure

    todos = make(sync, on_insert=_nothing)

    with pytest.raises(SourceError) as caught:
        await todos.preload()
    assert caught.value.__cause__ is failure
    with pytest.raises(CollectionStateError, match="cleanup"):
        todos.insert(Todo("1"))
    assert todos.size == 0


async def test_9_a_preload_that_is_cleaned_up_meanwhile() -> None:
    todos = make(Source(ready=False))
    load = asyncio.create_task(todos.preload())
    await settle()

    await todos.cleanup()

    with pytest.raises(CollectionStateError, match="while it was loading"):
        await load


async def test_an_asynchronous_clean_up_is_awaited() -> None:
    done: list[str] = []

    async def cleanup() -> None:
        await asyncio.sleep(5)
        done.append("stopped")

    client = DbClient()
    todos = client.build(
        collection_options(id="todos", get_key=lambda todo: todo.id, schema=Todo, sync=lambda ctx: cleanup, gc_time=1)
    )
    stop = todos.subscribe_changes(lambda _: None)
    await todos.cleanup()
    assert done == ["stopped"]
    stop()

    todos.subscribe_changes(lambda _: None)()
    await asyncio.sleep(10)
    assert done == ["stopped", "stopped"]


async def test_a_clean_up_that_raises_is_reported() -> None:
    failure = ValueError("socket")

    def cleanup() -> None:
        raise failure

    errors: list[Exception] = []
    client = DbClient(on_error=errors.append)
    todos = client.build(
        collection_options(id="todos", get_key=lambda todo: todo.id, schema=Todo, sync=lambda ctx: cleanup)
    )
    todos.subscribe_changes(lambda _: None)

    await todos.cleanup()

    assert errors == [failure]
    assert todos.status == "cleaned-up"


def test_an_on_demand_source_must_load_subsets() -> None:
    todos = make(lambda ctx: SyncRun(), sync_mode="on-demand")

    todos.subscribe_changes(lambda _: None)

    assert isinstance(todos.error, SyncContractError)


async def test_what_was_started_when_made_and_is_never_used_stops() -> None:  # g 7
    source = Source()
    todos = make(source, gc_time=10, start_sync=True)
    await asyncio.sleep(9)
    assert (source.starts, source.stops, todos.status) == (1, 0, "ready")
    await asyncio.sleep(2)
    assert (source.stops, todos.size) == (1, 0)


def test_start_sync_starts_when_made() -> None:
    source = Source()
    todos = make(source, start_sync=True)

    assert (source.starts, todos.status) == (1, "ready")


def test_none_is_not_a_row() -> None:
    source = Source()
    make(source).subscribe_changes(lambda _: None)
    nothing: Any = None

    source.ctx.begin()
    with pytest.raises(SyncContractError, match="delete"):
        source.ctx.insert(nothing)


def test_events_tell_of_status_and_subscribers() -> None:
    source = Source(ready=False)
    todos = make(source)
    events: list[tuple[str, str, int]] = []

    def note(event: CollectionEvent) -> None:
        events.append((event.type, event.status, event.subscribers))

    todos.on("status:change", note)
    stop_noting = todos.on("subscribers:change", note)
    stop = todos.subscribe_changes(lambda _: None)
    source.ctx.mark_ready()
    stop()
    stop_noting()
    todos.subscribe_changes(lambda _: None)

    assert events == [
        ("subscribers:change", "idle", 1),
        ("status:change", "loading", 1),
        ("status:change", "ready", 1),
        ("subscribers:change", "ready", 0),
    ]


_STATES = ("idle", "loading", "ready", "error", "cleaned-up")
_PATHS: dict[str, list[Any]] = {
    "idle": [],
    "loading": ["loading"],
    "ready": ["loading", "ready"],
    "error": ["error"],
    "cleaned-up": ["cleaned-up"],
}


@pytest.mark.parametrize(
    ("start", "legal"),
    [
        ("idle", {"loading", "error", "cleaned-up"}),
        ("loading", {"ready", "error", "cleaned-up"}),
        ("ready", {"cleaned-up", "error"}),
        # "error" again: the source reports another error.
        ("error", {"ready", "cleaned-up", "idle", "error"}),
        ("cleaned-up", {"loading", "error"}),
    ],
)
def test_only_legal_transitions(start: str, legal: set[str]) -> None:
    for target in _STATES:
        life = Lifecycle("todos", 0, lambda: None, lambda: None)
        for step in _PATHS[start]:
            life.go(step)
        status: Any = target
        if target in legal:
            life.go(status)
        else:
            with pytest.raises(CollectionStateError, match=f"cannot become {target}"):
                life.go(status)


async def _slowly(_: object) -> None:
    await asyncio.sleep(100)


async def _nothing(_: object) -> None:
    return None
