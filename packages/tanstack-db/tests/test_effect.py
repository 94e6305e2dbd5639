"""`query_once` and `create_effect`."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from tanstack_db import (
    Change,
    Collection,
    DbClient,
    QueryBuilder,
    SourceError,
    UsageError,
    collection_options,
    create_effect,
    live_query,
    query_once,
)
from tanstack_db.testing import ManualSource, settle

Row = dict[str, Any]


class World:
    """A client with one collection, and what handlers were told."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []
        self.client = DbClient(on_error=self.errors.append)
        self.source = ManualSource[Row, int](ready=False)
        self.rows: Collection[Row, int] = self.client.build(
            collection_options(id="rows", get_key=lambda row: row["id"], sync=self.source)
        )
        self.told: list[str] = []

    def large(self, q: QueryBuilder) -> Any:
        return q.from_(self.rows).where(lambda row: row["n"] > 1)

    def note(self, word: str) -> Any:
        def handler(change: Change[Row, int]) -> None:
            self.told.append(f"{word} {change.key}={change.value['n']}")

        return handler

    def write(self, *rows: tuple[int, int], **options: Any) -> None:
        self.source.write(*({"id": key, "n": n} for key, n in rows), **options)


async def test_a_query_once_waits_and_lets_go() -> None:
    world = World()
    asking = asyncio.ensure_future(query_once(world.large, client=world.client))
    await settle()
    world.write((1, 1), (2, 2))
    await settle()
    assert not asking.done()
    world.source.ctx.mark_ready()
    rows = await asking

    assert rows == [{"id": 2, "n": 2}]
    assert rows.is_ready
    live = live_query(world.large, client=world.client)
    assert not live.is_ready, "nothing runs"
    live.subscribe(lambda: None)
    assert await query_once(live, client=world.client) == rows
    assert live.is_ready, "what somebody shows goes on"
    await world.client.close()


async def test_a_query_once_raises_what_a_source_reports() -> None:
    world = World()
    asking = asyncio.ensure_future(query_once(world.rows, client=world.client))
    await settle()
    world.source.ctx.mark_error(OSError("gone"))
    with pytest.raises(SourceError, match="gone"):
        await asking
    await world.client.close()


async def test_rows_enter_change_and_leave() -> None:
    world = World()
    effect = create_effect(
        world.large,
        on_enter=world.note("enter"),
        on_update=world.note("update"),
        on_exit=world.note("exit"),
        on_batch=lambda changes: world.told.append(f"batch of {len(changes)}"),
        client=world.client,
    )
    world.write((1, 1), (2, 2), (3, 3))
    assert world.told == ["enter 2=2", "enter 3=3", "batch of 2"]
    world.told.clear()
    world.write((1, 5), (2, 7), (3, 0))
    assert world.told == ["exit 3=3", "enter 1=5", "update 2=7", "batch of 3"]
    world.told.clear()
    effect.close()
    assert effect.is_closed
    world.write((1, 6))
    assert not world.told
    await world.client.close()


async def test_a_row_that_only_moved_is_no_update() -> None:
    world = World()
    create_effect(
        lambda q: q.from_(world.rows).order_by("n").select(lambda row: {"id": row["id"], "n": 0}),
        on_enter=world.note("enter"),
        on_update=world.note("update"),
        on_batch=lambda changes: world.told.append(f"batch of {len(changes)}"),
        client=world.client,
    )
    world.write((1, 1), (2, 2))
    world.told.clear()
    world.write((1, 3))
    assert not world.told
    await world.client.close()


@pytest.mark.parametrize("at_once", [True, False])
async def test_the_rows_of_the_first_load_can_be_left_out(at_once: bool) -> None:
    world = World()
    create_effect(world.large, on_enter=world.note("enter"), skip_initial=True, client=world.client)
    world.write((1, 2))
    if at_once:
        with world.client.batch():
            world.write((2, 2))
            world.source.ctx.mark_ready()
    else:
        world.source.ctx.mark_ready()
    world.write((3, 3))
    late = create_effect(world.large, on_enter=world.note("late"), skip_initial=True, client=world.client)
    world.write((4, 4))
    late.close()
    create_effect(world.large, on_enter=world.note("all"), client=world.client)

    expected = ["enter 3=3", "enter 4=4", "late 4=4"]
    assert world.told[:3] == expected
    assert len(world.told[3:]) == (4 if at_once else 3)
    await world.client.close()


async def test_async_handlers_of_one_row_follow_each_other() -> None:
    world = World()
    gates: dict[int, asyncio.Event] = {1: asyncio.Event(), 2: asyncio.Event()}

    async def slow(change: Change[Row, int]) -> None:
        world.told.append(f"begin {change.key}={change.value['n']}")
        await gates[change.key].wait()
        world.told.append(f"end {change.key}={change.value['n']}")

    effect = create_effect(world.large, on_enter=slow, on_update=slow, on_exit=world.note("exit"), client=world.client)
    world.write((1, 2), (2, 2))
    world.write((1, 3))
    world.write(delete=[1])
    await settle()
    assert world.told == ["begin 1=2", "begin 2=2"]
    gates[1].set()
    await settle()
    assert world.told[2:] == ["end 1=2", "begin 1=3", "end 1=3", "exit 1=3"]
    world.write((1, 4))
    await settle()
    assert world.told[-1] == "end 1=4", "the row's queue is free again"

    closing = asyncio.ensure_future(effect.aclose())
    await settle()
    assert not closing.done()
    gates[2].set()
    await closing
    assert world.told[-1] == "end 2=2"
    await world.client.close()


async def test_close_cancels_what_runs() -> None:
    world = World()
    ended: list[str] = []

    async def forever(change: Change[Row, int]) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    effect = create_effect(world.large, on_enter=forever, client=world.client)
    world.write((1, 2))
    await settle()
    world.write((2, 2))
    effect.close()  # one has not even begun
    await settle()
    assert ended == ["cancelled"]
    await world.client.close()
    assert not world.errors


async def test_a_handler_may_close_its_own_effect() -> None:
    world = World()

    async def once(change: Change[Row, int]) -> None:
        await effect.aclose()
        world.told.append("closed")

    async with create_effect(world.large, on_enter=once, client=world.client) as effect:
        world.write((1, 2), (2, 2))
        await settle()
    assert world.told == ["closed", "closed"]
    await world.client.close()


async def test_failures_reach_the_hook_and_stop_nobody() -> None:
    world = World()
    failures: list[Exception] = []

    def plain(change: Change[Row, int]) -> None:
        raise ValueError(f"plain {change.key}")

    async def later(change: Change[Row, int]) -> None:
        raise ValueError(f"async {change.key}")

    effect = create_effect(
        world.large, on_enter=plain, on_update=later, on_exit=world.note("exit"), on_error=failures.append,
        client=world.client,
    )  # fmt: skip
    world.write((1, 2))
    world.write((1, 3))
    world.write(delete=[1])
    await settle()
    assert [str(failure) for failure in failures] == ["plain 1", "async 1"]
    assert "raised by a handler of an effect, for Change(type='insert', key=1" in failures[0].__notes__[0]
    assert world.told == ["exit 1=3"]
    effect.close()

    create_effect(world.large, on_enter=plain, client=world.client)
    world.write((2, 2))
    assert [str(failure) for failure in world.errors] == ["plain 2"]
    await world.client.close()


async def test_what_a_source_reports() -> None:
    world = World()
    reported: list[Exception] = []
    create_effect(world.large, on_enter=world.note("enter"), on_source_error=reported.append, client=world.client)
    world.source.ctx.mark_error(OSError("gone"))
    assert len(reported) == 1
    world.source.ctx.mark_ready()
    world.write((1, 2))
    assert world.told == ["enter 1=2"]
    await world.client.close()


async def test_what_is_refused() -> None:
    world = World()

    async def hook(error: Exception) -> None: ...

    with pytest.raises(UsageError, match="create_effect needs a handler"):
        create_effect(world.large, client=world.client)
    with pytest.raises(UsageError, match="on_error takes a plain function"):
        create_effect(world.large, on_enter=world.note(""), on_error=cast("Any", hook), client=world.client)
    await world.client.close()
