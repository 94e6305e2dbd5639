"""What live queries show, one behaviour per test, on real collections. Numbers name the port's list of behaviours."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, cast

import pytest
from typing_extensions import TypeVar

from tanstack_db import (
    Change,
    Collection,
    DbClient,
    Expr,
    LiveQuery,
    LiveSource,
    QueryBuilder,
    Rows,
    avg,
    col,
    collection_options,
    count,
    live_query,
    max_,
    min_,
    sum_,
)
from tanstack_db.testing import ManualSource, settle

Row = dict[str, Any]
V = TypeVar("V")


class Shop:
    """Two collections that a test fills."""

    def __init__(self) -> None:
        self.client = DbClient()
        self.todo_source = ManualSource[Row, Any]()
        self.note_source = ManualSource[Row, Any]()
        self.todos = self._table("todos", self.todo_source)
        self.notes = self._table("notes", self.note_source)

    def _table(self, name: str, source: ManualSource[Row, Any]) -> Collection[Row, Any]:
        table = self.client.build(collection_options(id=name, get_key=lambda row: row["id"], sync=source))
        table.subscribe_changes(lambda _: None)
        return table

    def watch(self, query: LiveSource[V] | Callable[[QueryBuilder], LiveSource[V]]) -> Watch[V]:
        return Watch(live_query(query, client=self.client))


class Watch(Generic[V]):
    """A live query and everything that it told."""

    def __init__(self, query: LiveQuery[V]) -> None:
        self.query = query
        self.results: list[V] = []
        self.changes: list[Sequence[Change[Any, Any]]] = []
        query.subscribe(lambda: self.results.append(query.get()))
        query.subscribe_changes(self.changes.append)

    @property
    def now(self) -> V:
        return self.query.get()


@pytest.fixture
def shop() -> Shop:
    return Shop()


def names(result: Sequence[Row]) -> list[str]:
    return [row["id"] for row in result]


def cell(row: Any, column: str) -> Any:
    """A column of a row that a join may lack, as far as the type checker knows."""
    return row[column]


# -- batches -----------------------------------------------------------------------------------------------------------


async def test_a_query_over_two_collections_runs_once_per_batch(shop: Shop) -> None:  # f.2 27
    pairs = shop.watch(lambda q: q.from_(shop.todos).join(shop.notes, on=lambda t, n: t["id"] == n["todo"]))
    with shop.client.batch():
        shop.note_source.write({"id": "n", "todo": "t"})
        assert pairs.now == []
        shop.todo_source.write({"id": "t"})
        assert pairs.now == []
    assert pairs.results == [[({"id": "t"}, {"id": "n", "todo": "t"})]]


async def test_a_diamond_is_told_once_without_a_state_in_between(shop: Shop) -> None:  # f.2 27
    done = live_query(lambda q: q.from_(shop.todos).where(lambda t: t["n"] > 0), client=shop.client)
    loud = live_query(lambda q: q.from_(done).where(lambda t: t["n"] > 1), client=shop.client)
    both = shop.watch(lambda q: q.from_(left=done).inner_join(on=lambda one, other: one["n"] == other["n"], right=loud))
    shop.todo_source.write({"id": "a", "n": 5})
    shop.todo_source.write({"id": "a", "n": 6})
    row, newer = {"id": "a", "n": 5}, {"id": "a", "n": 6}
    assert both.results == [[(row, row)], [(newer, newer)]]


async def test_an_optimistic_write_of_an_equal_row_tells_nothing(shop: Shop) -> None:
    shop.todo_source.write({"id": "a", "n": 1})
    rows = shop.watch(shop.todos)
    answer = asyncio.get_running_loop().create_future()

    async def server() -> None:
        await answer

    tx = shop.client.create_transaction(server)
    with shop.client.batch():
        tx.update(shop.todos, "a", n=2)
        tx.update(shop.todos, "a", n=1)
    assert rows.results == []
    tx.update(shop.todos, "a", n=7)
    tx.commit()
    shop.todo_source.write({"id": "a", "n": 7})  # held below the optimistic row, and equal to it
    answer.set_result(None)
    await settle()
    assert rows.results == [[{"id": "a", "n": 7}]]


async def test_a_truncate_is_one_batch_and_unsettled_writes_stay(shop: Shop) -> None:  # f.2 19
    shop.todo_source.write({"id": "a", "n": 1}, {"id": "b", "n": 2})
    rows = shop.watch(lambda q: q.from_(shop.todos).order_by("id"))
    tx = shop.client.create_transaction(settle)
    tx.update(shop.todos, "a", n=9)
    rows.results.clear()
    shop.todo_source.write({"id": "a", "n": 5}, {"id": "c", "n": 3}, truncate=True)
    assert rows.results == [[{"id": "a", "n": 9}, {"id": "c", "n": 3}]]
    tx.rollback()
    assert rows.now == [{"id": "a", "n": 5}, {"id": "c", "n": 3}]


async def test_a_write_inside_a_subscriber_is_a_batch_of_its_own(shop: Shop) -> None:
    rows = live_query(shop.todos, client=shop.client)
    seen: list[tuple[str, int]] = []

    def first() -> None:
        seen.append(("first", len(rows.get())))
        if len(rows.get()) == 1:
            shop.todo_source.write({"id": "b"})

    rows.subscribe(first)
    rows.subscribe(lambda: seen.append(("second", len(rows.get()))))
    shop.todo_source.write({"id": "a"})
    assert [who for who, _ in seen] == ["first", "second", "first", "second"]
    assert seen[-1] == ("second", 2)


# -- nulls, order, windows ---------------------------------------------------------------------------------------------


async def test_comparisons_with_null_are_unknown(shop: Shop) -> None:  # f.2 29
    shop.todo_source.write({"id": "null", "n": None}, {"id": "two", "n": 2}, {"id": "three", "n": 3})

    def matching(condition: Callable[[Row], bool | Expr[bool]]) -> list[str]:
        return names(shop.watch(lambda q: q.from_(shop.todos).where(condition)).now)

    assert matching(lambda t: ~(col(t["n"]) == 2)) == ["three"]
    assert matching(lambda t: t["n"] != 2) == ["three"]
    assert matching(lambda t: col(t["n"]).is_none()) == ["null"]
    assert matching(lambda t: ~col(t["n"]).one_of([2])) == ["three"]


@pytest.mark.parametrize(("desc", "expected"), [(False, ["x", "y", "b", "c", "a"]), (True, ["x", "y", "a", "b", "c"])])
async def test_nulls_come_first_and_ties_are_broken_by_key(  # f.2 30
    shop: Shop, *, desc: bool, expected: list[str]
) -> None:
    values = {"x": None, "y": None, "a": 2, "b": 1, "c": 1}
    ordered = shop.watch(lambda q: q.from_(shop.todos).order_by(lambda t: t["n"], desc=desc))
    arrival = list(values)
    random.Random(7).shuffle(arrival)
    for name in arrival:
        shop.todo_source.write({"id": name, "n": values[name]})
    assert names(ordered.now) == expected


async def test_values_of_any_type_have_an_order_and_nan_is_above_numbers(shop: Shop) -> None:
    values = {"nan": math.nan, "int": 3, "float": 0.5, "text": "x", "null": None, "inf": math.inf}
    ordered = shop.watch(lambda q: q.from_(shop.todos).order_by("n"))
    for name, value in values.items():
        shop.todo_source.write({"id": name, "n": value})
    found = names(ordered.now)
    assert found[0] == "null"
    numbers = [name for name in found if name not in ("null", "text")]
    assert numbers == ["float", "int", "inf", "nan"]
    assert ordered.query.error is None
    shop.todo_source.write(delete=list(values))
    assert ordered.now == []


async def test_a_row_deleted_inside_a_window_pulls_in_the_next(shop: Shop) -> None:  # f.2 31
    shop.todo_source.write(*({"id": name, "n": index} for index, name in enumerate("abcde")))
    window = shop.watch(lambda q: q.from_(shop.todos).order_by("n").offset(1).limit(2))
    assert names(window.now) == ["b", "c"]
    shop.todo_source.write(delete=["b"])
    assert [names(result) for result in window.results] == [["c", "d"]]
    assert window.changes == [
        [Change("delete", "b", {"id": "b", "n": 1}), Change("insert", "d", {"id": "d", "n": 3}, index=1)]
    ]
    shop.todo_source.write({"id": "e", "n": 99})
    shop.todo_source.write({"id": "a", "n": -1})
    assert len(window.results) == 1


async def test_windows_forward_backward_and_past_the_end(shop: Shop) -> None:  # f.2 32
    shop.todo_source.write(*({"id": name, "n": index} for index, name in enumerate("abc")))

    def window(offset: int, limit: int) -> Watch[Rows[Row]]:
        return shop.watch(lambda q: q.from_(shop.todos).order_by("n").offset(offset).limit(limit))

    first, second, beyond, nothing = window(0, 2), window(2, 2), window(5, 2), window(0, 0)
    assert [names(item.now) for item in (first, second, beyond, nothing)] == [["a", "b"], ["c"], [], []]
    shop.todo_source.write(*({"id": name, "n": index} for index, name in enumerate("uvwxyz", start=10)))
    assert [names(item.now) for item in (first, second, beyond, nothing)] == [["a", "b"], ["c", "u"], ["w", "x"], []]
    assert (first.results, nothing.results) == ([], [])
    shop.todo_source.write(delete=list("abcuvwxyz"))
    assert [names(item.now) for item in (first, second, beyond)] == [[], [], []]


async def test_a_row_that_moves_is_told_with_its_new_place(shop: Shop) -> None:
    shop.todo_source.write(*({"id": name, "n": index, "text": name} for index, name in enumerate("abc")))
    texts = shop.watch(lambda q: q.from_(shop.todos).order_by("n").select(lambda t: t["text"]))
    shop.todo_source.write({"id": "a", "n": 0.5, "text": "a"})  # still the first, and the text is the same
    assert (texts.results, texts.changes) == ([], [])
    shop.todo_source.write({"id": "a", "n": 9, "text": "a"})
    assert texts.results == [["b", "c", "a"]]
    assert texts.changes == [[Change("update", "a", "a", "a", index=2)]]


# -- joins -------------------------------------------------------------------------------------------------------------


async def test_a_left_join_keeps_the_row_and_its_identity(shop: Shop) -> None:  # f.2 33
    shop.todo_source.write({"id": "t"})
    pairs = shop.watch(lambda q: q.from_(shop.todos).join(shop.notes, on=lambda t, n: t["id"] == n["todo"]))
    todo, note, other = {"id": "t"}, {"id": "n", "todo": "t"}, {"id": "o", "todo": "t"}
    assert pairs.now == [(todo, None)]
    shop.note_source.write(note)
    shop.note_source.write(delete=["n"])
    key = ("t", None)
    assert pairs.changes == [
        [Change("update", key, (todo, note), (todo, None))],
        [Change("update", key, (todo, None), (todo, note))],
    ]
    shop.note_source.write(note, other)
    assert sorted(map(repr, pairs.now)) == sorted(map(repr, shop.watch(pairs.query).now))
    assert {change.type for change in pairs.changes[-1]} == {"insert", "delete"}
    assert len(pairs.now) == 2
    assert cast("Any", pairs.now[0]).todos == todo


async def test_a_left_row_that_moves_between_keys_without_match_is_one_update(shop: Shop) -> None:
    shop.todo_source.write({"id": "t", "note": "x"})
    pairs = shop.watch(lambda q: q.from_(shop.todos).join(shop.notes, on=lambda t, n: t["note"] == n["id"]))
    shop.todo_source.write({"id": "t", "note": "y"})
    assert [[change.type for change in batch] for batch in pairs.changes] == [["update"]]


async def test_both_sides_of_a_join_change_in_one_batch(shop: Shop) -> None:
    shop.todo_source.write({"id": "t", "note": "n"})
    shop.note_source.write({"id": "n", "v": 1})
    pairs = shop.watch(lambda q: q.from_(shop.todos).join(shop.notes, on=lambda t, n: t["note"] == n["id"]))
    with shop.client.batch():
        shop.note_source.write({"id": "m", "v": 2}, delete=["n"])
        shop.todo_source.write({"id": "t", "note": "m"})
    assert pairs.results == [[({"id": "t", "note": "m"}, {"id": "m", "v": 2})]]


async def test_a_condition_on_the_right_of_a_left_join_filters_joined_rows(shop: Shop) -> None:  # f.2 34
    shop.todo_source.write({"id": "a"}, {"id": "b"})
    shop.note_source.write({"id": "n", "todo": "a", "v": None})
    pairs = QueryBuilder().from_(shop.todos).join(shop.notes, on=lambda t, n: t["id"] == n["todo"])
    without = shop.watch(pairs.where(lambda t, n: col(n).is_none()))
    assert [todo["id"] for todo, _ in without.now] == ["b"]
    absent_or_null = shop.watch(pairs.where(lambda t, n: col(cell(n, "v")).is_none()))
    assert sorted(todo["id"] for todo, _ in absent_or_null.now) == ["a", "b"]
    positive = shop.watch(pairs.where("notes.v", "=", 1))
    assert positive.now == []
    shop.note_source.write({"id": "n", "todo": "a", "v": 1})
    assert [todo["id"] for todo, _ in positive.now] == ["a"]
    shop.note_source.write(delete=["n"])
    assert [todo["id"] for todo, _ in without.now] == ["b", "a"]


async def test_an_updated_join_key_moves_the_row_in_one_batch(shop: Shop) -> None:  # f.2 35
    shop.todo_source.write({"id": "a"}, {"id": "b"})
    shop.note_source.write({"id": "n", "todo": "a"})
    pairs = shop.watch(lambda q: q.from_(shop.todos).inner_join(shop.notes, on=lambda t, n: t["id"] == n["todo"]))
    shop.note_source.write({"id": "n", "todo": "b"})
    assert pairs.results == [[({"id": "b"}, {"id": "n", "todo": "b"})]]
    assert [sorted(change.type for change in batch) for batch in pairs.changes] == [["delete", "insert"]]


# -- groups ------------------------------------------------------------------------------------------------------------


@dataclass
class Stat:
    kind: str | None
    rows: int
    total: int


async def test_groups_come_change_and_go_and_having_takes_whole_groups(shop: Shop) -> None:  # f.2 36
    stats = shop.watch(
        lambda q: (
            q.from_(shop.todos)
            .group_by(lambda t: t["kind"])
            .aggregate(lambda t: Stat(t["kind"], count(), sum_(t["n"])))
            .where(lambda stat: stat.rows > 1)
        )
    )
    shop.todo_source.write({"id": "a", "kind": "x", "n": 1})
    assert stats.results == []
    shop.todo_source.write({"id": "b", "kind": "x", "n": 5})
    shop.todo_source.write({"id": "a", "kind": "x", "n": 1, "unread": True})
    shop.todo_source.write({"id": "a", "kind": None, "n": 1}, {"id": "c", "kind": None, "n": None})
    assert stats.results == [[Stat("x", 2, 6)], [Stat(None, 2, 1)]]
    assert [[change.key for change in batch] for batch in stats.changes] == [["x"], ["x", None]]


async def test_aggregates_skip_nulls_and_no_rows_are_one_row(shop: Shop) -> None:
    totals = shop.watch(
        lambda q: q.from_(shop.todos).aggregate(lambda t: (count(), count(t["n"]), sum_(t["n"]), avg(t["n"])))
    )
    before = totals.now
    shop.todo_source.write({"id": "a", "n": 10}, {"id": "b", "n": None})
    assert before == (0, 0, 0, None)
    assert totals.now == (2, 1, 10, 10)


async def test_extremes_of_a_large_group(shop: Shop) -> None:
    extremes = shop.watch(lambda q: q.from_(shop.todos).aggregate(lambda t: (min_(t["n"]), max_(t["n"]))))
    values = list(range(12_000))
    random.Random(3).shuffle(values)
    shop.todo_source.write(*({"id": number, "n": number} for number in values))
    assert extremes.now == (0, 11_999)
    shop.todo_source.write(delete=range(6_000))
    assert extremes.now == (6_000, 11_999)
    shop.todo_source.write(delete=range(6_001, 12_000))
    assert extremes.now == (6_000, 6_000)


async def test_find_one_is_the_first_row_by_order_or_none(shop: Shop) -> None:
    newest = shop.watch(lambda q: q.from_(shop.todos).order_by("n", "desc").find_one())
    assert newest.now is None
    shop.todo_source.write({"id": "a", "n": 1}, {"id": "b", "n": 2})
    assert newest.now == {"id": "b", "n": 2}
    shop.todo_source.write({"id": "c", "n": 0})
    assert len(newest.results) == 1
    shop.todo_source.write(delete=["b"])
    assert newest.now == {"id": "a", "n": 1}
