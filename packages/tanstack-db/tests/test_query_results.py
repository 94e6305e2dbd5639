"""What the builder's own constructs show once they run, and after rows change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from tanstack_db import (
    Collection,
    LiveQuery,
    LiveSource,
    QueryBuilder,
    avg,
    col,
    count,
    count_if,
    create_collection,
    live_query,
    local_only_collection_options,
    max_,
    sum_,
)


@dataclass(frozen=True)
class Todo:
    id: str
    project_id: str
    priority: int = 0
    done: bool = False
    due: int | None = None

    @property
    def code(self) -> str:
        return f"{self.project_id}-{self.id}"


@dataclass(frozen=True)
class Comment:
    id: str
    todo_id: str


@dataclass(frozen=True)
class Project:
    name: str
    rows: int
    done: int
    dated: int
    points: int
    mean: float | None
    due: int | None


TODOS = [
    Todo("1", "a", 5),
    Todo("2", "a", 3, done=True, due=7),
    Todo("3", "b", 4),
    Todo("4", "b", 1, done=True),
]


class World:
    def __init__(self) -> None:
        self.todos: Collection[Todo, str] = create_collection(
            local_only_collection_options(id="todos", schema=Todo, get_key=lambda t: t.id, initial_data=TODOS)
        )
        self.comments: Collection[Comment, str] = create_collection(
            local_only_collection_options(
                id="comments",
                schema=Comment,
                get_key=lambda c: c.id,
                initial_data=[Comment("x", "1"), Comment("y", "1"), Comment("z", "9")],
            )
        )

    def show(self, query: Callable[[QueryBuilder], LiveSource[Any]]) -> LiveQuery[Any]:
        live = live_query(query)
        live.subscribe(lambda: None)
        return live


def test_properties_are_columns() -> None:
    world = World()
    live = world.show(lambda q: q.from_(world.todos).where(lambda t: t.code == "a-9").select(lambda t: t.id))
    assert live.get() == []
    world.todos.insert(Todo("9", "a"))
    assert live.get() == ["9"]


def test_null_and_absent_rows() -> None:
    world = World()
    no_date = world.show(lambda q: q.from_(world.todos).where(lambda t: col(t.due).is_none()).select(lambda t: t.id))
    late = world.show(lambda q: q.from_(world.todos).where(lambda t: ~(col(t.due) < 5)).select(lambda t: t.id))
    silent = world.show(
        lambda q: (
            q.from_(world.todos)
            .join(world.comments, on=lambda t, c: t.id == c.todo_id)
            .where(lambda t, c: col(c).is_none() & ~col(t.done))
            .select(lambda t, c: t.id)
        )
    )
    assert (sorted(no_date.get()), late.get(), silent.get()) == (["1", "3", "4"], ["2"], ["3"])
    world.todos.update("3", due=9)
    world.comments.insert(Comment("w", "3"))
    assert (sorted(no_date.get()), sorted(late.get()), silent.get()) == (["1", "4"], ["2", "3"], [])


def test_groups_follow_their_rows() -> None:
    world = World()
    live = world.show(
        lambda q: (
            q.from_(world.todos)
            .group_by(lambda t: t.project_id)
            .aggregate(
                lambda t: Project(
                    name=t.project_id.upper(),
                    rows=count(),
                    done=count_if(t.done),
                    dated=count(t.due),
                    points=sum_(t.priority),
                    mean=avg(t.priority),
                    due=max_(t.due),
                )
            )
            .where(lambda project: project.rows > 1)
            .order_by("name", "desc")
        )
    )
    a = Project("A", rows=2, done=1, dated=1, points=8, mean=4.0, due=7)
    b = Project("B", rows=2, done=1, dated=0, points=5, mean=2.5, due=None)
    assert live.get() == [b, a]
    world.todos.update("1", done=True, due=8)
    world.todos.delete("3")
    assert live.get() == [replace(a, done=2, dated=2, due=8)]


def test_keys_by_expression() -> None:
    world = World()
    live = world.show(
        lambda q: (
            q.from_(world.todos)
            .group_by(lambda t: (t.priority % 2, t.done))
            .aggregate(lambda t: (t.priority % 2, t.done, count_if(t.done & (t.priority > 2)), count()))
        )
    )
    assert sorted(live.get()) == [(0, False, 0, 1), (1, False, 0, 1), (1, True, 1, 2)]


def test_one_row_of_totals_also_for_no_rows() -> None:
    world = World()

    def totals(done: bool) -> Callable[[QueryBuilder], LiveSource[Any]]:
        return lambda q: (
            q.from_(world.todos)
            .where(project_id="c", done=done)
            .aggregate(lambda t: (count(), sum_(t.priority), avg(t.priority), max_(t.due, default=-1)))
        )

    live, other = world.show(totals(False)), world.show(totals(True))
    assert live.get() == (0, 0, None, -1)
    world.todos.insert(Todo("9", "c", 4, due=3))
    assert live.get() == (1, 4, 4.0, 3)
    assert other.get() == (0, 0, None, -1)


def test_comments_are_counted_per_todo() -> None:
    world = World()
    live = world.show(
        lambda q: (
            q.from_(world.todos)
            .join(world.comments, on=lambda t, c: t.id == c.todo_id)
            .group_by(lambda t, c: t.id)
            .aggregate(lambda t, c: (t.id, count(c)))
        )
    )
    assert sorted(live.get()) == [("1", 2), ("2", 0), ("3", 0), ("4", 0)]
    world.comments.delete("y")
    world.comments.insert(Comment("v", "3"))
    assert sorted(live.get()) == [("1", 1), ("2", 0), ("3", 1), ("4", 0)]


def test_a_window_after_select_keeps_the_order() -> None:
    world = World()
    ids = world.show(
        lambda q: q.from_(world.todos).order_by("priority", "desc").select(lambda t: t.id).limit(2).offset(1)
    )
    first = world.show(lambda q: q.from_(world.todos).order_by("priority").select(lambda t: t.id).find_one())
    assert (ids.get(), first.get()) == (["3", "2"], "4")
    world.todos.update("4", priority=9)
    assert (ids.get(), first.get()) == (["1", "3"], "2")


def test_joined_rows_as_a_source() -> None:
    world = World()
    live = world.show(
        lambda q: (
            q.from_(q.from_(world.todos).inner_join(world.comments, on=lambda t, c: t.id == c.todo_id))
            .where(lambda pair: pair[0].priority > 3)
            .where("comments.id", "!=", "y")
            .select(lambda pair: pair[1].id)
        )
    )
    assert live.get() == ["x"]
    world.todos.update("1", priority=0)
    assert live.get() == []


def test_an_update_is_seen_by_a_query_on_a_query() -> None:
    world = World()
    done = QueryBuilder().from_(world.todos).where(done=True)
    live = world.show(lambda q: q.from_(done).where(lambda t: t.priority > 2).select(lambda t: t.id))
    assert live.get() == ["2"]
    world.todos.update("3", lambda todo: replace(todo, done=True))
    assert sorted(live.get()) == ["2", "3"]


async def test_plain_values_are_compared_as_they_are() -> None:
    todos: Collection[Todo, str] = create_collection(
        local_only_collection_options(id="todos", schema=Todo, get_key=lambda todo: todo.id)
    )
    todos.insert(*TODOS)
    q = QueryBuilder()
    points = q.from_(todos).select(lambda t: t.priority)
    assert live_query(points.where(lambda n: (n > 1) & (n != 5)).order_by(lambda n: -n)).get() == [4, 3]
    assert live_query(points.order_by(lambda n: n, desc=True).limit(1)).get() == [5]
    assert live_query(points.aggregate(lambda n: (sum_(n), max_(n * 2 + 1), count()))).get() == (13, 11, 4)
    assert live_query(q.from_(todos).select(lambda t: t.done).where(lambda done: done)).get() == [True, True]
    names = q.from_(todos).select(lambda t: t.project_id).distinct()
    matched = q.from_(todos).inner_join(name=names, on=lambda t, name: t.project_id == name)
    assert len(live_query(matched).get()) == 4
    either = q.from_(name=names).inner_join(todos, on=lambda name, t: name == t.project_id)
    assert len(live_query(either).get()) == 4
