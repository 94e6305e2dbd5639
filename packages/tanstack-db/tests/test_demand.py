"""On-demand sources: what they are asked to load, and what leases say."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from tanstack_db import (
    Collection,
    CollectionStateError,
    DbClient,
    Lease,
    LoadSubset,
    OrderTerm,
    SubsetStatus,
    SyncContext,
    SyncRun,
    UsageError,
    collection_options,
)
from tanstack_db.testing import ManualSource

Row = dict[str, Any]


def subset(project: str, **more: Any) -> LoadSubset:
    return LoadSubset(bindings={"project": (project,)}, **more)


class OnDemand:
    """A source that notes what it is asked for."""

    def __init__(self) -> None:
        self.log: list[tuple[str, str]] = []
        self.statuses: dict[str, SubsetStatus] = {}
        self.fail: Exception | None = None
        self.contexts: list[SyncContext[Row, str]] = []

    def __call__(self, ctx: SyncContext[Row, str], /) -> SyncRun:
        self.contexts.append(ctx)
        ctx.mark_ready()
        return SyncRun(load_subset=self.load, unload_subset=self.unload)

    def load(self, subset: LoadSubset, status: SubsetStatus) -> None:
        name = str(subset.bindings["project"][0])
        self.log.append(("load", name))
        self.statuses[name] = status
        if self.fail is not None:
            raise self.fail

    def unload(self, subset: LoadSubset) -> None:
        self.log.append(("unload", str(subset.bindings["project"][0])))
        if self.fail is not None:
            raise self.fail


class World:
    def __init__(self) -> None:
        self.errors: list[Exception] = []
        self.client = DbClient(on_error=self.errors.append)
        self.source = OnDemand()
        self.rows: Collection[Row, str] = self.client.build(
            collection_options(
                id="rows",
                get_key=lambda row: str(row["id"]),
                sync=self.source,
                sync_mode="on-demand",
                partition={"project": "project"},
                gc_time=10,
            )
        )
        self.told: list[str] = []

    def acquire(self, wanted: LoadSubset, name: str = "lease") -> Lease:
        return self.rows.acquire(wanted, lambda: self.told.append(name))


async def test_equal_demands_are_loaded_and_unloaded_once() -> None:  # g 15
    world = World()
    one, two = world.acquire(subset("a")), world.acquire(subset("a"))
    other = world.acquire(subset("b"))
    window = world.acquire(subset("b", order_by=(OrderTerm("id"),), limit=5))

    one.release()
    one.release()
    assert world.source.log == [("load", "a"), ("load", "b"), ("load", "b")]
    two.release()
    assert world.source.log[3:] == [("unload", "a")]
    other.release()
    window.release()
    assert world.source.log[4:] == [("unload", "b"), ("unload", "b")]


async def test_a_lease_is_ready_when_its_subset_is() -> None:
    world = World()
    lease, other = world.acquire(subset("a"), "a"), world.acquire(subset("b"), "b")
    assert (lease.is_ready, lease.error) == (False, None)

    world.source.statuses["a"].mark_ready()
    world.source.statuses["a"].mark_ready()
    assert (lease.is_ready, other.is_ready, world.told) == (True, False, ["a"])
    world.source.statuses["a"].mark_loading()
    assert (lease.is_ready, world.told) == (False, ["a", "a"])


async def test_an_error_of_a_subset_is_its_own_and_a_success_clears_it() -> None:
    world = World()
    lease, other = world.acquire(subset("a")), world.acquire(subset("b"))
    failure = ValueError("query")

    world.source.statuses["a"].mark_ready()
    world.source.statuses["a"].mark_error(failure)
    assert (lease.is_ready, lease.error, other.error) == (True, failure, None)
    world.source.statuses["a"].mark_ready()
    assert lease.error is None


async def test_a_status_within_a_batch_is_told_when_it_ends() -> None:
    world = World()
    lease = world.acquire(subset("a"))

    with world.client.batch():
        world.source.contexts[0].begin()
        world.source.contexts[0].insert({"id": "1", "project": "a"})
        world.source.contexts[0].commit()
        world.source.statuses["a"].mark_ready()
        assert world.told == []

    assert (world.told, lease.is_ready) == (["lease"], True)


async def test_a_load_that_raises_is_the_error_of_the_lease() -> None:
    world = World()
    world.source.fail = ValueError("load")

    lease = world.acquire(subset("a"))

    assert lease.error is world.source.fail
    lease.release()
    assert world.errors == [world.source.fail], "an unload that raises has nobody else to go to"


async def test_a_stale_status_does_nothing() -> None:
    world = World()
    world.acquire(subset("a")).release()
    stale = world.source.statuses["a"]
    lease = world.acquire(subset("a"))

    stale.mark_ready()

    assert not lease.is_ready


async def test_a_restart_asks_for_every_demand_again() -> None:
    world = World()
    lease = world.acquire(subset("a"))
    stale = world.source.statuses["a"]
    stale.mark_ready()

    await world.rows.cleanup()
    assert not lease.is_ready
    assert isinstance(lease.error, CollectionStateError)
    world.rows.subscribe_changes(lambda _: None)

    assert world.source.log == [("load", "a"), ("load", "a")]
    again: Exception | None = lease.error
    assert again is None
    stale.mark_ready()
    assert not lease.is_ready
    world.source.statuses["a"].mark_ready()
    assert lease.is_ready


def eager(source: ManualSource[Row, str]) -> Collection[Row, str]:
    return DbClient().build(collection_options(id="rows", get_key=lambda row: str(row["id"]), sync=source, gc_time=10))


async def test_a_lease_on_an_eager_collection_follows_the_collection() -> None:
    source = ManualSource[Row, str](ready=False)
    rows = eager(source)
    told: list[tuple[bool, Exception | None]] = []
    lease = rows.acquire(subset("a"), lambda: told.append((lease.is_ready, lease.error)))
    failure = ValueError("down")

    source.ctx.mark_ready()
    source.ctx.mark_error(failure)
    source.ctx.mark_ready()

    assert told == [(True, None), (True, failure), (True, None)]
    await rows.cleanup()
    assert isinstance(lease.error, CollectionStateError)


async def test_a_lease_keeps_the_collection_running() -> None:
    source = ManualSource[Row, str]()
    rows = eager(source)
    lease = rows.acquire(LoadSubset(), lambda: None)
    assert lease.is_ready, "a source that is ready at once is ready when acquire returns"

    await asyncio.sleep(100)
    assert source.stops == 0
    lease.release()
    await asyncio.sleep(11)
    assert source.stops == 1


def test_an_unknown_partition_column_is_named_when_declared() -> None:
    @dataclass
    class Todo:
        id: str

    with pytest.raises(UsageError, match="'project'"):
        collection_options(
            id="todos",
            schema=Todo,
            get_key=lambda todo: todo.id,
            sync=lambda ctx: None,
            partition={"project_id": "project"},
        )
