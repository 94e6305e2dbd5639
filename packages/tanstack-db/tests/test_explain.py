"""`LiveQuery.explain`: the operators of a query and the rows that pass them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, TypeAlias, TypeVar, cast

import pytest
import pytest_asyncio

from tanstack_db import (
    Collection,
    DbClient,
    Explanation,
    LiveQuery,
    LiveSource,
    Operator,
    QueryBuilder,
    UsageError,
    col,
    collection_options,
    count,
    live_query,
    sum_,
)
from tanstack_db._execution.pipeline import Pipeline
from tanstack_db.testing import ManualSource

Row: TypeAlias = dict[str, Any]
V = TypeVar("V")


class World:
    """Twenty tasks with a note each."""

    def __init__(self) -> None:
        self.client = DbClient()
        self.task_source, self.note_source = ManualSource[Row, int](), ManualSource[Row, int]()
        self.tasks = self._table("tasks", self.task_source)
        self.notes = self._table("notes", self.note_source)
        for table in (self.tasks, self.notes):
            self.live(table)

    def _table(self, name: str, source: ManualSource[Row, int]) -> Collection[Row, int]:
        return self.client.build(collection_options(id=name, get_key=lambda row: row["id"], sync=source))

    def live(self, query: LiveSource[V] | Callable[[QueryBuilder], LiveSource[V]]) -> LiveQuery[V]:
        made = live_query(query, client=self.client)
        made.subscribe(lambda: None)
        return made

    def fill(self) -> None:
        self.task_source.write(*({"id": number, "project": number % 2, "n": number} for number in range(20)))
        self.note_source.write(*({"id": number, "task": number, "weight": number % 5} for number in range(20)))


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.client.close()


def figures(explanation: Explanation) -> list[tuple[str, int, int]]:
    return [(operator.name, operator.rows_in, operator.rows_out) for operator in explanation.operators]


def joined(world: World) -> LiveQuery[Any]:
    heavy = QueryBuilder().from_(world.notes).where(lambda note: note["weight"] > 0)
    return world.live(
        lambda q: (
            q.from_(world.tasks)
            .where(lambda task: (task["project"] == 1) & (task["n"] != 3))
            .join(notes=heavy, on=lambda task, note: task["id"] == note["task"])
            .where(no_light_note)
            .order_by(lambda task, note: task["n"], desc=True)
            .limit(3)
            .select(number_of)
        )
    )


def no_light_note(task: Any, note: Any) -> Any:
    return col(note["weight"]).is_none() | (note["weight"] > 1)


def number_of(task: Any, note: Any) -> Any:
    return task["n"]


async def test_the_first_call_shows_the_rows_of_a_first_run(world: World) -> None:
    query = joined(world)
    world.fill()

    assert figures(query.explain()) == [
        ("select", 3, 3),
        ("order", 7, 3),
        ("where", 9, 7),
        ("left join", 25, 9),
        ("where", 10, 9),
        ("read", 10, 10),
        ("read", 16, 16),
        ("where", 20, 16),  # of the query that is read
        ("read", 20, 20),
    ]


async def test_what_a_change_costs_shows_after_a_reset(world: World) -> None:
    query = joined(world)
    world.fill()
    query.explain(reset=True)

    world.task_source.write({"id": 7, "project": 1, "n": 99})

    assert figures(query.explain())[:6] == [
        ("select", 2, 2),  # 7 comes in, 15 goes out
        ("order", 1, 2),
        ("where", 1, 1),
        ("left join", 1, 1),
        ("where", 1, 1),
        ("read", 1, 1),
    ]
    assert [operator.runs for operator in query.explain().operators] == [1, 1, 1, 1, 1, 1, 0, 0, 0]


async def test_without_a_reset_the_figures_add_up(world: World) -> None:
    query = world.live(lambda q: q.from_(world.tasks).where(lambda task: task["n"] > 17))
    world.fill()
    query.explain()

    world.task_source.write({"id": 30, "project": 1, "n": 30})

    root: Operator = query.explain().root
    assert (root.runs, root.rows_in, root.rows_out) == (2, 21, 3)


async def test_the_table_says_with_what(world: World) -> None:
    query = joined(world)
    world.fill()

    lines = [line.split("  ")[0].rstrip() for line in str(query.explain()).splitlines() if line[0] != " "]
    assert lines == [
        "operator",
        "select number_of",
        "└─ order by tasks.n desc, limit 3",
    ]
    for detail in (
        "where is_none(notes.weight) | (notes.weight > 1)",
        "left join tasks.id == notes.task",
        "where project == 1 and n != 3",
        "read tasks by project in 1",
        "read notes",
    ):
        assert f"─ {detail} " in str(query.explain())


async def test_groups_tell_their_keys_and_aggregates(world: World) -> None:
    query = world.live(
        lambda q: (
            q.from_(world.tasks)
            .group_by(lambda task: task["project"])
            .aggregate(lambda task: {"project": task["project"], "rows": count(), "sum": sum_(task["n"])})
        )
    )
    world.fill()

    root: Operator = query.explain().root
    assert (root.name, root.detail) == ("group", "count(), sum(n) by project")
    assert (root.rows_in, root.rows_out) == (20, 2)


async def test_explaining_tells_nobody_and_changes_nothing(world: World) -> None:
    query = joined(world)
    world.fill()
    told: list[object] = []
    query.subscribe(lambda: told.append("told"))
    before = query.get()

    query.explain()

    assert query.get() is before
    assert told == []


async def test_nothing_is_counted_until_somebody_asks(world: World) -> None:
    """What runs is the operators' own methods: counting costs nothing where nobody asked."""
    query = joined(world)
    world.fill()
    pipeline = cast("Pipeline", query._result._table.pipeline)

    assert {step.meter for step in pipeline.last.walk()} == {None}
    query.explain()
    assert None not in {step.meter for step in pipeline.last.walk()}


async def test_a_query_that_fails_can_be_explained(world: World) -> None:
    query = world.live(lambda q: q.from_(world.tasks).where(lambda task: task["n"] < 5).select(lambda t: 1 / t["n"]))
    world.fill()
    assert isinstance(query.error, ZeroDivisionError)

    operators = query.explain().operators
    assert [operator.name for operator in operators] == ["select", "where", "read"]
    assert operators[1].rows_out == 5

    world.task_source.write(delete=[0])  # it works again, and goes on counting
    assert query.error is None
    assert query.explain().root.runs == 0
    world.task_source.write({"id": 40, "project": 1, "n": 4})
    assert query.explain().root.rows_in == 1


async def test_counting_ends_when_the_query_stops(world: World) -> None:
    query = live_query(lambda q: q.from_(world.tasks).where(lambda task: task["n"] > 17), client=world.client)
    stop = query.subscribe(lambda: None)
    world.fill()
    query.explain()
    stop()
    query._result.stop_if_unused()

    assert query._result._meters is None


async def test_a_closed_query_is_not_explained(world: World) -> None:
    query = world.live(world.tasks)
    query.close()

    with pytest.raises(UsageError):
        query.explain()
