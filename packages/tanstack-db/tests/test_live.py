"""Live queries: life cycle, snapshots, publications, errors."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tanstack_db import (
    Change,
    Collection,
    CollectionStateError,
    DbClient,
    LiveQuery,
    Rows,
    SourceError,
    UsageError,
    collection_options,
    live,
    live_query,
    local_only_collection_options,
)
from tanstack_db._live.live_query import open_query
from tanstack_db.query import QueryBuilder
from tanstack_db.testing import ManualSource, settle

Row = dict[str, Any]


def table(client: DbClient, source: ManualSource[Row, int], name: str = "t", **options: Any) -> Collection[Row, int]:
    return client.build(collection_options(id=name, get_key=lambda row: row["id"], sync=source, **options))


def rows(*ids: int, **values: Any) -> list[Row]:
    return [{"id": number, **values} for number in ids]


@pytest.fixture
def client() -> DbClient:
    return DbClient()


async def accept(_: object) -> None:
    """A handler."""


# -- snapshots ---------------------------------------------------------------------------------------------------------


async def test_get_gives_the_same_object_until_something_changed(client: DbClient) -> None:
    source = ManualSource[Row, int](rows(1, n=1))
    query = live_query(lambda q: q.from_(table(client, source)).where(lambda t: t["n"] == 1), client=client)
    first = query.get()
    assert first == rows(1, n=1)
    source.write({"id": 2, "n": 2})
    assert query.get() is first
    source.write({"id": 3, "n": 1})
    assert query.get() == rows(1, 3, n=1)
    assert first == rows(1, n=1)
    await client.close()


async def test_a_snapshot_that_nobody_has_read_keeps_its_rows(client: DbClient) -> None:
    source = ManualSource[Row, int](rows(1))
    query = live_query(table(client, source), client=client)
    unread = query.get()
    source.write({"id": 2})
    assert unread == rows(1)
    assert query.get() == rows(1, 2)


@pytest.mark.parametrize("limit", [None, 2])
async def test_an_ordered_snapshot_that_nobody_has_read_keeps_its_rows(client: DbClient, limit: int | None) -> None:
    source = ManualSource[Row, int](rows(2, 3, 4))
    ordered = QueryBuilder().from_(table(client, source)).order_by(lambda row: row["id"])
    query = live_query(ordered if limit is None else ordered.limit(limit), client=client)
    query.subscribe(lambda: None)
    unread = query.get()
    source.write({"id": 1})
    assert unread == rows(2, 3, 4)[:limit]
    assert query.get() == rows(1, 2, 3, 4)[:limit]


async def test_equal_queries_of_one_client_are_one(client: DbClient) -> None:
    source = ManualSource[Row, int](rows(1, n=1))
    todos = table(client, source)

    def wanting(wanted: int) -> LiveQuery[Rows[Row]]:
        return live_query(lambda q: q.from_(todos).where(lambda t: t["n"] == wanted), client=client)

    queries = [wanting(wanted) for wanted in (1, 1, 2)]
    one, same, other = (open_query(query.ir, client) for query in queries)
    assert one is same
    assert other is not one
    elsewhere = DbClient()
    assert open_query(queries[0].ir, elsewhere) is not one


async def test_a_query_starts_its_source_and_stops_five_seconds_after_the_last_consumer(client: DbClient) -> None:
    source = ManualSource[Row, int](rows(1))
    query = live_query(table(client, source, gc_time=10.0), client=client)
    assert source.starts == 0
    stop = query.subscribe(lambda: None)
    other = query.subscribe(lambda: None)
    stop()
    stop()
    await asyncio.sleep(60)
    assert (source.starts, source.stops) == (1, 0)
    other()
    await asyncio.sleep(14.9)
    again = query.subscribe(lambda: None)
    await asyncio.sleep(60)
    assert (source.starts, source.stops) == (1, 0)
    again()
    await asyncio.sleep(15.1)
    assert (source.starts, source.stops) == (1, 1)
    assert query.get() == rows(1)  # starts it afresh
    assert source.starts == 2


def test_without_a_loop_a_query_can_be_read_and_followed() -> None:
    client = DbClient()
    numbers = client.build(
        local_only_collection_options(id="n", get_key=lambda row: row["id"], initial_data=rows(1, 2))
    )
    query = live_query(numbers, client=client)
    assert query.get() == rows(1, 2)
    assert query.get().is_ready
    told: list[int] = []
    stop = query.subscribe(lambda: told.append(len(query.get())))
    numbers.insert({"id": 3})
    assert told == [3]
    stop()
    numbers.insert({"id": 4})
    assert told == [3]
    assert query.get() == rows(1, 2, 3, 4)


# -- publications ------------------------------------------------------------------------------------------------------


async def test_a_batch_is_told_once_and_only_if_something_changed(client: DbClient) -> None:
    source = ManualSource[Row, int](rows(1, n=1))
    query = live_query(lambda q: q.from_(table(client, source)).where(lambda t: t["n"] > 0), client=client)
    told: list[Rows[Row]] = []
    query.subscribe(lambda: told.append(query.get()))
    source.write({"id": 1, "n": 1}, {"id": 2, "n": 0})
    assert told == []
    source.write({"id": 1, "n": 5}, {"id": 2, "n": 3})
    assert told == [[{"id": 1, "n": 5}, {"id": 2, "n": 3}]]


async def test_changes_are_keyed_and_seen_through_the_filter(client: DbClient) -> None:  # f.2 21, 22
    source = ManualSource[Row, int](rows(1, n=1))
    query = live_query(lambda q: q.from_(table(client, source)).where(lambda t: t["n"] > 0), client=client)
    told: list[Sequence[Change[Any, Any]]] = []
    query.subscribe_changes(told.append, include_initial_state=True)
    source.write({"id": 1, "n": 2}, {"id": 2, "n": 1}, {"id": 3, "n": 0})
    source.write({"id": 1, "n": 0}, delete=[2])
    assert told == [
        [Change("insert", 1, {"id": 1, "n": 1})],
        [Change("update", 1, {"id": 1, "n": 2}, {"id": 1, "n": 1}), Change("insert", 2, {"id": 2, "n": 1})],
        [Change("delete", 2, {"id": 2, "n": 1}), Change("delete", 1, {"id": 1, "n": 2})],
    ]


async def test_one_failing_subscriber_hides_nothing_from_the_others() -> None:  # f.2 23
    reported: list[Exception] = []
    client = DbClient(on_error=reported.append)
    source = ManualSource[Row, int]()
    query = live_query(table(client, source), client=client)
    told: list[int] = []

    def fail() -> None:
        raise RuntimeError("broken")

    query.subscribe(fail)
    query.subscribe(lambda: told.append(len(query.get())))
    source.write({"id": 1})
    assert told == [1]
    assert [str(error) for error in _leaves(reported)] == ["broken"]


def _leaves(errors: Sequence[Exception]) -> list[Exception]:
    found: list[Exception] = []
    for error in errors:
        inner: Sequence[Exception] = getattr(error, "exceptions", ())
        found += _leaves(inner) if inner else [error]
    return found


async def test_a_subscriber_can_stop_another_one_and_begin_a_query_while_it_is_told(client: DbClient) -> None:
    source = ManualSource[Row, int](rows(1))
    todos = table(client, source)
    query = live_query(todos, client=client)
    told: list[str] = []
    stops: list[Callable[[], None]] = []

    def first() -> None:
        told.append("first")
        stops[1]()
        late = live_query(lambda q: q.from_(todos).where(lambda t: t["id"] > 1), client=client)
        late.subscribe(lambda: told.append("late"))
        assert late.get() == rows(2)

    stops.append(query.subscribe(first))
    stops.append(query.subscribe(lambda: told.append("second")))
    source.write({"id": 2})
    assert told == ["first"]
    stops[0]()
    source.write({"id": 3})
    assert told == ["first", "late"]


async def test_a_query_begun_inside_a_batch_sees_each_row_once(client: DbClient) -> None:
    source = ManualSource[Row, int](rows(1))
    todos = table(client, source)
    live_query(todos, client=client).subscribe(lambda: None)
    told: list[Sequence[Change[Any, Any]]] = []
    with client.batch():
        source.write({"id": 2})
        late = live_query(lambda q: q.from_(todos).where(lambda t: t["id"] > 0), client=client)
        late.subscribe_changes(told.append)
        assert late.get() == rows(1, 2)
        source.write({"id": 3})
    assert told == [[Change("insert", 3, {"id": 3})]]
    assert late.get() == rows(1, 2, 3)


# -- readiness and errors ----------------------------------------------------------------------------------------------


async def test_ready_when_all_sources_are_and_rows_are_shown_before(client: DbClient) -> None:  # f.2 39
    left = ManualSource[Row, int](rows(1), ready=False)
    right = ManualSource[Row, int](ready=False)
    todos, notes = table(client, left), table(client, right, "notes")
    query = live_query(
        lambda q: q.from_(todos).join(notes, on=lambda t, n: t["id"] == n["todo"]),
        client=client,
    )
    states: list[tuple[int, bool]] = []
    query.subscribe(lambda: states.append((len(query.get()), query.get().is_ready)))
    assert query.get() == [({"id": 1}, None)]
    assert not query.get().is_ready
    left.ctx.mark_ready()
    assert states == []
    with client.batch():  # the last source's readiness and its rows are told together
        right.write({"id": 9, "todo": 1})
        right.ctx.mark_ready()
    assert states == [(1, True)]


async def test_a_query_comes_back_with_a_source_that_was_cleaned_up(client: DbClient) -> None:  # f.2 28, g 5
    source = ManualSource[Row, int](rows(1, 2))
    items = table(client, source)
    query = live_query(lambda q: q.from_(items).where(lambda t: t["id"] > 1), client=client)
    told: list[tuple[int, bool, bool]] = []
    query.subscribe(lambda: told.append((len(query.get()), query.is_ready, query.error is None)))
    await items.cleanup()
    assert isinstance(query.error, CollectionStateError)
    assert not query.get()
    with pytest.raises(CollectionStateError):
        await query.preload()

    await items.preload()
    assert query.get() == rows(2)
    source.write({"id": 3})
    assert query.get() == rows(2, 3)
    assert told[0] == (0, False, False)
    assert told[-1] == (2, True, True)


async def test_a_source_error_is_the_query_s_until_it_recovers(client: DbClient) -> None:  # f.2 39, g 5
    source = ManualSource[Row, int](rows(1))
    query = live_query(table(client, source), client=client)
    told: list[Exception | None] = []
    query.subscribe(lambda: told.append(query.get().error))
    failure = RuntimeError("no network")
    source.ctx.mark_error(failure)
    assert query.get() == rows(1)
    assert query.get().error is failure
    with pytest.raises(SourceError, match="no network"):
        await query.preload()
    source.ctx.mark_ready()
    assert query.get().error is None
    assert told == [failure, None]


async def test_a_function_that_raises_is_the_query_s_error_and_a_later_good_row_recovers(client: DbClient) -> None:
    source = ManualSource[Row, int](rows(1, n=2))
    todos = table(client, source)
    inverse = live_query(lambda q: q.from_(todos).select(lambda t: 10 / t["n"]), client=client)
    whole = live_query(todos, client=client)
    told: list[str] = []
    inverse.subscribe(lambda: told.append("inverse"))
    whole.subscribe(lambda: told.append("whole"))
    source.write({"id": 1, "n": 5}, {"id": 2, "n": 0})
    assert inverse.get() == [5.0]
    assert isinstance(inverse.get().error, ZeroDivisionError)
    assert whole.get() == [{"id": 1, "n": 5}, {"id": 2, "n": 0}]
    assert sorted(told) == ["inverse", "whole"]
    with pytest.raises(ZeroDivisionError):
        await inverse.preload()
    source.write({"id": 2, "n": 1})
    assert inverse.get() == [2.0, 10.0]
    assert inverse.get().error is None


class Incomparable:
    """A value whose comparison fails in a way that is no fact about data."""

    def __le__(self, other: object) -> bool:
        raise RuntimeError("cannot tell")


async def test_a_condition_that_raises_is_the_query_s_error_and_a_later_good_row_recovers(client: DbClient) -> None:
    source = ManualSource[Row, int](rows(1, n=1))
    todos = table(client, source)
    ones = live_query(lambda q: q.from_(todos).where(lambda t: t["n"] > 0), client=client)
    whole = live_query(todos, client=client)
    told: list[str] = []
    ones.subscribe(lambda: told.append("ones"))
    whole.subscribe(lambda: told.append("whole"))
    source.write({"id": 2, "n": Incomparable()})
    assert ones.get() == rows(1, n=1)
    assert isinstance(ones.get().error, RuntimeError)
    assert whole.get().error is None
    assert len(whole.get()) == 2
    assert sorted(told) == ["ones", "whole"]
    source.write({"id": 3, "n": 1}, delete=[2])
    assert ones.get() == rows(1, 3, n=1)
    assert ones.get().error is None


async def test_a_function_that_raises_at_the_start_is_state_as_well(client: DbClient) -> None:
    source = ManualSource[Row, int](rows(1, n=0))
    query = live_query(lambda q: q.from_(table(client, source)).select(lambda t: 10 / t["n"]), client=client)
    assert isinstance(query.get().error, ZeroDivisionError)
    source.write({"id": 1, "n": 2})
    assert query.get() == [5.0]


async def test_a_first_run_pauses_the_garbage_collector_and_always_lets_it_go_on(client: DbClient) -> None:
    source = ManualSource[Row, int](rows(1, n=0))
    seen: list[bool] = []

    def inverse(row: Row) -> float:
        seen.append(gc.isenabled())
        return 10 / float(row["n"])

    todos = table(client, source)
    query = live_query(lambda q: q.from_(todos).select(inverse), client=client)
    assert isinstance(query.get().error, ZeroDivisionError)
    assert seen == [False]
    assert gc.isenabled()
    gc.disable()
    try:
        assert len(live_query(todos, client=client).get()) == 1
        assert not gc.isenabled()
    finally:
        gc.enable()


async def test_rows_keep_their_order_while_a_function_fails(client: DbClient) -> None:
    source = ManualSource[Row, int]({"id": number, "n": 10 - number} for number in (1, 2, 3))
    query = live_query(
        lambda q: q.from_(table(client, source)).order_by("n").select(lambda t: 6 / t["n"]), client=client
    )
    query.subscribe(lambda: None)
    source.write({"id": 1, "n": -1}, {"id": 4, "n": 0}, delete=[3])  # nobody has read a snapshot yet
    assert query.get() == [6 / 7, 6 / 8, 6 / 9]
    assert query.get().error is not None
    source.write(delete=[4])
    assert query.get() == [-6.0, 6 / 8]
    assert query.get().error is None


async def test_a_query_s_error_is_that_of_the_queries_that_read_it(client: DbClient) -> None:
    source = ManualSource[Row, int](rows(1, n=1))
    inner = live_query(lambda q: q.from_(table(client, source)).select(lambda t: {"v": 1 / t["n"]}), client=client)
    outer = live_query(lambda q: q.from_(inner).where(lambda row: row["v"] > 0), client=client)
    told: list[bool] = []
    outer.subscribe(lambda: told.append(outer.error is None))
    source.write({"id": 1, "n": 0})
    assert isinstance(outer.error, ZeroDivisionError)
    assert outer.get() == [{"v": 1.0}]
    source.write({"id": 1, "n": 2})
    assert outer.error is None
    assert outer.get() == [{"v": 0.5}]
    assert told == [False, True]


async def test_preload_waits_until_ready(client: DbClient) -> None:
    source = ManualSource[Row, int](ready=False)
    query = live_query(table(client, source), client=client)
    loading = asyncio.ensure_future(query.preload())
    await settle()
    source.write({"id": 1})
    await settle()
    assert not loading.done()
    source.ctx.mark_ready()
    await loading
    assert query.get() == rows(1)


# -- handles -----------------------------------------------------------------------------------------------------------


async def test_iteration_gives_the_newest_result_after_each_change(client: DbClient) -> None:
    source = ManualSource[Row, int](ready=False)
    query = live_query(table(client, source), client=client)
    seen: list[list[int]] = []

    async def follow() -> None:
        async for result in query:
            ids = [row["id"] for row in result]
            seen.append(ids)

    task = asyncio.ensure_future(follow())
    await settle()
    source.write({"id": 1})
    await settle()
    assert seen == []
    source.ctx.mark_ready()
    await settle()
    source.write({"id": 2})
    source.write({"id": 3})  # both before the iteration gets its turn
    await settle()
    assert seen == [[1], [1, 2, 3]]
    query.close()
    await task


async def test_changes_lose_nothing_for_a_slow_loop_and_end_with_the_query(client: DbClient) -> None:
    source = ManualSource[Row, int](rows(1))
    query = live_query(table(client, source), client=client)
    seen: list[tuple[str, Any]] = []
    is_free = asyncio.Event()

    async def follow() -> None:
        async for change in query.changes(include_initial_state=True):
            seen.append((change.type, change.key))
            await is_free.wait()

    task = asyncio.ensure_future(follow())
    await settle()
    assert seen == [("insert", 1)]
    source.write({"id": 2})
    source.write({"id": 2, "n": 1}, delete=[1])
    source.write({"id": 3})
    query.close()
    source.write({"id": 4})
    is_free.set()
    await task
    assert seen == [("insert", 1), ("insert", 2), ("delete", 1), ("update", 2), ("insert", 3)]


async def test_a_loop_over_changes_that_waits_ends_with_the_query(client: DbClient) -> None:
    source = ManualSource[Row, int](rows(1))
    query = live_query(table(client, source), client=client)

    async def follow() -> list[Any]:
        return [change.key async for change in query.changes()]

    task = asyncio.ensure_future(follow())
    await settle()
    source.write({"id": 2})
    await settle()
    source.write({"id": 3})
    query.close()  # before the loop has taken it
    assert await task == [2, 3]
    with pytest.raises(UsageError, match="closed"):
        await anext(query.changes())


async def test_a_loop_over_changes_that_was_left_lets_go_of_the_query(client: DbClient) -> None:
    source = ManualSource[Row, int](rows(1))
    query = live(table(client, source, gc_time=1.0), client=client)
    async for change in query.changes(include_initial_state=True):
        assert change.key == 1
        break
    await asyncio.sleep(60)
    assert source.stops == 1


async def test_a_client_in_async_with_is_closed_at_the_end() -> None:
    source = ManualSource[Row, int](rows(1))
    async with DbClient() as client:
        live(table(client, source), client=client).subscribe(lambda: None)
        assert source.starts == 1
    assert client.is_closed
    assert source.stops == 1


async def test_closing_a_handle_leaves_other_handles_of_the_same_query_alone(client: DbClient) -> None:
    source = ManualSource[Row, int]()
    todos = table(client, source)
    mine, yours = live_query(todos, client=client), live_query(todos, client=client)
    told: list[str] = []
    mine.subscribe(lambda: told.append("mine"))
    yours.subscribe(lambda: told.append("yours"))
    mine.close()
    mine.close()
    source.write({"id": 1})
    assert told == ["yours"]
    with pytest.raises(UsageError, match="closed"):
        mine.get()


async def test_a_handle_in_async_with_keeps_the_query_running(client: DbClient) -> None:
    source = ManualSource[Row, int](rows(1))
    async with live_query(table(client, source, gc_time=1.0), client=client) as query:
        await asyncio.sleep(100)
        assert (source.starts, source.stops) == (1, 0)
        assert query.get() == rows(1)
    await asyncio.sleep(100)
    assert source.stops == 1


async def test_closing_the_client_stops_what_lingers(client: DbClient) -> None:
    source = ManualSource[Row, int](rows(1))
    query: LiveQuery[Rows[Row]] = live_query(lambda q: q.from_(table(client, source)), client=client)
    query.get()
    await client.close()
    assert source.stops == 1
    assert not query.is_ready


async def test_closing_the_client_stops_queries_that_read_queries_at_once(client: DbClient) -> None:
    inner = live_query(table(client, ManualSource[Row, int](rows(1))), client=client)
    outer = live_query(QueryBuilder().from_(inner), client=client)
    assert outer.get() == rows(1)
    read_by_outer = weakref.ref(inner._result)

    await client.close()
    del inner, outer
    gc.collect()

    assert read_by_outer() is None, "a timer keeps it"


async def test_a_query_is_a_source_of_queries(client: DbClient) -> None:  # f.2 28
    source = ManualSource[Row, int](rows(1, 2, 3))
    todos = table(client, source, gc_time=1.0)
    inner = QueryBuilder().from_(todos).where(lambda t: t["id"] > 1)
    outer = live_query(lambda q: q.from_(inner).where(lambda t: t["id"] < 4), client=client)
    over_handle = live_query(lambda q: q.from_(live_query(inner, client=client)), client=client)
    told: list[list[Row]] = []
    stop = outer.subscribe(lambda: told.append(list(outer.get())))
    source.write({"id": 3, "n": 1}, {"id": 4}, delete=[2])
    assert told == [[{"id": 3, "n": 1}]]
    assert over_handle.get() == [{"id": 3, "n": 1}, {"id": 4}]
    stop()
    await asyncio.sleep(60)
    assert source.stops == 1
    outer.subscribe(lambda: None)
    assert outer.get() == rows(2, 3)


async def test_a_query_that_outlives_its_client_leaves_no_timer() -> None:
    client = DbClient()
    some = client.build(local_only_collection_options(id="rows", get_key=key_of_row, initial_data=rows(1)))
    query = live_query(lambda q: q.from_(some), client=client)
    stop = query.subscribe(lambda: None)

    await client.close()
    stop()
    query.close()

    loop: Any = asyncio.get_running_loop()
    assert [timer for timer in loop._scheduled if not timer.cancelled()] == []


def key_of_row(row: dict[str, Any]) -> int:
    return int(row["id"])
