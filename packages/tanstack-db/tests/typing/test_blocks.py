"""What type checkers infer for queries over rows of each kind. Running it shows that the same code works.

The checks are `assert_type`: they do nothing at run time, and fail under mypy and pyright.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict, assert_type

import pydantic

from tanstack_db import (
    Change,
    Effect,
    Expr,
    Grouped,
    LiveQuery,
    One,
    Query,
    QueryBuilder,
    Rows,
    avg,
    case,
    col,
    collect,
    concat,
    count,
    count_if,
    create_collection,
    create_effect,
    live,
    live_query,
    local_only_collection_options,
    max_,
    min_,
    query_once,
    sum_,
)


@dataclass(frozen=True)
class Todo:
    id: str
    project_id: str
    text: str
    created_at: datetime
    priority: int = 0
    done: bool = False
    completed_at: datetime | None = None


@dataclass(frozen=True)
class Comment:
    id: str
    todo_id: str
    author_id: str


@dataclass(frozen=True)
class User:
    id: str
    name: str


@dataclass(frozen=True)
class Stats:
    total: int
    completed: int


class Message(pydantic.BaseModel):
    id: str
    room_id: str
    timestamp: float
    text: str
    edited_at: datetime | None = None


class Member(TypedDict):
    id: str
    project_id: str
    name: str
    age: int | None


def plain_id(row: dict[str, Any]) -> str:
    return str(row["id"])


todos = create_collection(local_only_collection_options(id="todos", schema=Todo, get_key=lambda t: t.id))
comments = create_collection(local_only_collection_options(id="comments", schema=Comment, get_key=lambda c: c.id))
users = create_collection(local_only_collection_options(id="users", schema=User, get_key=lambda u: u.id))
messages = create_collection(local_only_collection_options(id="messages", schema=Message, get_key=lambda m: m.id))
members = create_collection(local_only_collection_options(id="members", schema=Member, get_key=lambda m: m["id"]))
plain = create_collection(local_only_collection_options(id="plain", get_key=plain_id))
pid = "p1"
now = datetime(2024, 1, 1)


# -- the seed's blocks, on dataclasses ---------------------------------------------------------------------------------


def test_the_list() -> None:
    rows = live_query(
        lambda q: q.from_(todos).where(lambda t: t.project_id == pid).order_by(lambda t: t.created_at, desc=True)
    )
    assert_type(rows, LiveQuery[Rows[Todo]])
    assert_type(rows.get(), Rows[Todo])
    for todo in rows.get():
        assert_type(todo, Todo)

    by_path = live_query(
        lambda q: q.from_(todos=todos).where("project_id", "=", pid).order_by("created_at", "desc").limit(10).offset(5)
    )
    assert_type(by_path.get(), Rows[Todo])
    by_keyword = live_query(lambda q: q.from_(todos).where(project_id=pid))
    assert_type(by_keyword.get(), Rows[Todo])
    assert_type(live_query(todos).get(), Rows[Todo])


async def test_the_loops() -> None:
    async for rows in live(lambda q: q.from_(todos).where(lambda t: t.project_id == pid)):
        assert_type(rows, Rows[Todo])
        break
    changes = live(todos).changes()
    assert_type(changes, AsyncGenerator[Change[Todo, Any], None])
    await changes.aclose()
    first = live(lambda q: q.from_(todos).where(lambda t: t.id == "1").find_one())
    async for todo in first:
        assert_type(todo, Todo | None)
        break


def test_the_join() -> None:
    pairs = live_query(
        lambda q: (
            q.from_(todos)
            .where(lambda t: t.project_id == pid)
            .join(comments, on=lambda t, c: t.id == c.todo_id)
            .where(lambda t, c: col(c).is_none() | (t.priority > 1))
        )
    )
    assert_type(pairs, LiveQuery[Rows[tuple[Todo, Comment | None]]])
    for todo, comment in pairs.get():
        assert_type(todo, Todo)
        assert_type(comment, Comment | None)

    by_path = live_query(
        lambda q: (
            q.from_(todos=todos)
            .join("todos.id", "=", "comments.todo_id", comments=comments)
            .where("todos.project_id", "=", pid)
        )
    )
    assert_type(by_path.get(), Rows[tuple[Todo, Comment | None]])


def test_other_joins() -> None:
    q = QueryBuilder()
    inner = q.from_(todos).inner_join(comments, on=lambda t, c: t.id == c.todo_id)
    assert_type(inner, Query[tuple[Todo, Comment], Todo, Comment])
    three = inner.join(users=users, on=lambda t, c, u: c.author_id == u.id)
    assert_type(three, Query[tuple[Todo, Comment, User | None], Todo, Comment, User | None])
    bare = three.where(lambda t, c, u: (t.priority > 1) & (c.id == "x") & col(u).is_none())
    assert_type(bare.find_one(), One[tuple[Todo, Comment, User | None] | None])
    right = q.from_(todos).right_join(comments, on=lambda t, c: (t.id == c.todo_id) & (t.text == c.id))
    assert_type(right, Query[tuple[Todo | None, Comment], Todo | None, Comment])
    full = q.from_(todos).full_join("todos.id", "=", "comments.todo_id", comments=comments)
    assert_type(full, Query[tuple[Todo | None, Comment | None], Todo | None, Comment | None])
    right_of_two = inner.right_join(users, on=lambda t, c, u: c.author_id == u.id)
    assert_type(right_of_two, Query[tuple[Todo | None, Comment | None, User], Todo | None, Comment | None, User])
    again = q.from_(inner).where(lambda pair: pair[0].id == pair[1].todo_id)
    assert_type(again, Query[tuple[Todo, Comment], tuple[Todo, Comment]])


def test_the_totals() -> None:
    stats = live_query(
        lambda q: (
            q.from_(todos)
            .where(lambda t: t.project_id == pid)
            .aggregate(lambda t: Stats(total=count(), completed=count(t.completed_at)))
        )
    )
    assert_type(stats, LiveQuery[Stats])
    assert_type(stats.get(), Stats)

    over_rows = (
        QueryBuilder()
        .from_(todos)
        .where("project_id", "=", pid)
        .select(total=len, completed=lambda rows: len([row for row in rows if row.completed_at]))
    )
    assert_type(over_rows, One[Any])


def test_groups() -> None:
    grouped = QueryBuilder().from_(todos).group_by(lambda t: (t.project_id, t.done))
    assert_type(grouped, Grouped[Todo])
    totals = grouped.aggregate(lambda t: (t.project_id, count(), sum_(t.priority), avg(t.priority)))
    assert_type(totals, Query[tuple[str, int, int, float | None], tuple[str, int, int, float | None]])
    assert_type(totals.select(lambda row: row[0]), Query[str, str])
    having = grouped.aggregate(lambda t: Stats(count(), count_if(~col(t.done)))).where(lambda s: s.total > 3)
    assert_type(having, Query[Stats, Stats])


def test_aggregates() -> None:
    q = QueryBuilder()
    assert_type(q.from_(todos).aggregate(lambda t: count(t.text, distinct=True)), One[int])
    assert_type(q.from_(todos).aggregate(lambda t: count_if(t.priority > 3)), One[int])
    assert_type(q.from_(todos).aggregate(lambda t: sum_(t.priority)), One[int])
    assert_type(q.from_(todos).aggregate(lambda t: avg(t.priority)), One[float | None])
    assert_type(q.from_(todos).aggregate(lambda t: avg(t.priority, default=0)), One[float])
    assert_type(q.from_(todos).aggregate(lambda t: min_(t.created_at)), One[datetime | None])
    assert_type(q.from_(todos).aggregate(lambda t: max_(t.completed_at)), One[datetime | None])
    assert_type(q.from_(todos).aggregate(lambda t: max_(t.completed_at, default=now)), One[datetime])
    assert_type(q.from_(todos).aggregate(lambda t: min_(t.text, default=None)), One[str | None])


def test_select_and_find_one() -> None:
    q = QueryBuilder()
    assert_type(q.from_(todos).select(lambda t: t.text.title()), Query[str, str])
    assert_type(
        q.from_(todos)
        .join(comments, on=lambda t, c: t.id == c.todo_id)
        .select(lambda t, c: (t.text, c.id if c else None)),
        Query[tuple[str, str | None], tuple[str, str | None]],
    )
    assert_type(q.from_(todos).find_one(), One[Todo | None])
    assert_type(live_query(q.from_(todos).where(id="t1").find_one()).get(), Todo | None)


def test_operators_on_fields_of_any_type() -> None:
    q = QueryBuilder()
    ids: Sequence[str] = ["a", "b"]
    query = (
        q.from_(todos)
        .where(lambda t: t.done)
        .where(lambda t: ~col(t.done))
        .where(lambda t: (t.project_id == pid) & (t.priority > 3) | t.text.startswith("x"))
        .where(lambda t: (t.project_id == pid) & col(t.completed_at).is_none())
        .where(lambda t: col(t.completed_at) < now)
        .where(lambda t: col(t.id).one_of(ids) & col(t.priority).between(1, 3))
        .where(lambda t: col(t.text).like("a%") | col(t.text).contains("b") | (col(t.text).length() > 3))
        .where(lambda t: col(t.completed_at).coalesce(now) >= t.created_at)
        .where(lambda t: t.text.lower() == "x")
        .where(lambda t: t.priority % 2 == 0)
    )
    assert_type(query, Query[Todo, Todo])

    def types(todo: Todo) -> bool:
        assert_type(col(todo.completed_at), Expr[datetime])
        assert_type(col(todo.priority) + 1, Expr[int])
        assert_type(col(todo.priority) / 2, Expr[float])
        assert_type(col(todo.text).lower(), Expr[str])
        assert_type(col(todo.done) & (todo.priority > 3), Expr[bool])
        assert_type((todo.priority > 3) | col(todo.done), Expr[bool])
        return todo.done

    assert q.from_(todos).where(types) == q.from_(todos).where(lambda t: t.done)


# -- other rows --------------------------------------------------------------------------------------------------------


def test_pydantic_rows() -> None:
    chat = live_query(
        lambda q: (
            q.from_(messages=messages)
            .where(lambda m: (m.room_id == "r1") & col(m.edited_at).is_none())
            .order_by(lambda m: m.timestamp)
        )
    )
    assert_type(chat.get(), Rows[Message])
    last = (
        QueryBuilder().from_(messages).group_by(lambda m: m.room_id).aggregate(lambda m: (m.room_id, max_(m.timestamp)))
    )
    assert_type(last, Query[tuple[str, float | None], tuple[str, float | None]])
    joined = QueryBuilder().from_(messages).inner_join(users, on=lambda m, u: m.text == u.name)
    assert_type(joined, Query[tuple[Message, User], Message, User])


def test_typed_dict_rows() -> None:
    rows = live_query(
        lambda q: (
            q.from_(members)
            .where(lambda m: (m["project_id"] == pid) & (col(m["age"]) > 17))
            .order_by(lambda m: (m["name"], m["age"]))
        )
    )
    assert_type(rows.get(), Rows[Member])
    ages = QueryBuilder().from_(members).aggregate(lambda m: {"ages": sum_(m["age"]), "members": count()})
    assert_type(ages, One[dict[str, int]])
    names = QueryBuilder().from_(members).join(todos, on=lambda m, t: m["project_id"] == t.project_id)
    assert_type(names, Query[tuple[Member, Todo | None], Member, Todo | None])


def test_dict_rows() -> None:
    rows = live_query(lambda q: q.from_(plain).where(lambda row: row["project_id"] == pid).order_by("at", "desc"))
    assert_type(rows.get(), Rows[dict[str, Any]])
    total = QueryBuilder().from_(plain).aggregate(lambda row: sum_(row["amount"]))
    assert_type(total, One[Any])
    pairs = QueryBuilder().from_(plain).join(todos, on=lambda row, t: row["id"] == t.id)
    assert_type(pairs, Query[tuple[dict[str, Any], Todo | None], dict[str, Any], Todo | None])


def test_unions_and_different_rows() -> None:
    q = QueryBuilder()
    assert_type(q.union_all(todos, q.from_(todos).where(lambda t: t.done)), Query[Todo, Todo])
    assert_type(q.union(*[todos, todos, todos, todos]), Query[Todo, Todo])
    mixed = q.union_all(todos, comments).where(lambda row: row.id == "1")
    assert_type(mixed, Query[Todo | Comment, Todo | Comment])
    assert_type(q.union(todos, comments, users), Query[Todo | Comment | User, Todo | Comment | User])
    different = q.from_(todos).select(lambda t: t.project_id).distinct()
    assert_type(different, Query[str, str])
    assert_type(live_query(different).get(), Rows[str])


async def test_effects() -> None:
    assert_type(await query_once(lambda q: q.from_(todos).where(lambda t: t.done)), Rows[Todo])
    assert_type(await query_once(lambda q: q.from_(todos).aggregate(lambda t: count())), int)

    def heard(change: Change[Todo, Any]) -> None:
        assert_type(change.value, Todo)

    async def saved(change: Change[Todo, Any]) -> None:
        assert_type(change.previous, Todo | None)

    effect = create_effect(lambda q: q.from_(todos).where(lambda t: t.done), on_enter=heard, on_update=saved)
    assert_type(effect, Effect[Todo])
    effect.close()
    create_effect(todos, on_exit=lambda change: print(change.value.text), on_batch=len).close()


def test_includes() -> None:
    q = QueryBuilder()
    lists = q.from_(todos).include(lambda t: q.from_(comments).where(lambda c: c.todo_id == t.id).limit(3))
    assert_type(lists, Query[tuple[Todo, Rows[Comment]], Todo, Rows[Comment]])
    for todo, found in live_query(lists).get():
        assert_type(todo, Todo)
        assert_type(found, Rows[Comment])
    nested = q.from_(todos).include(
        talk=lambda t: (
            q.from_(comments)
            .where(lambda c: c.todo_id == t.id)
            .include(lambda c: q.from_(users).where(lambda u: u.id == c.author_id))
            .select(lambda c, authors: (c.id, len(authors)))
        )
    )
    assert_type(nested, Query[tuple[Todo, Rows[tuple[str, int]]], Todo, Rows[tuple[str, int]]])
    assert_type(nested.select(lambda t, talk: [author for _, author in talk]), Query[list[int], list[int]])


def test_functions_of_columns() -> None:
    q = QueryBuilder()
    by_day = q.from_(todos).group_by(lambda t: t.created_at.date())
    assert_type(
        by_day.aggregate(lambda t: (collect(t.text), collect(t.priority, distinct=True))),
        Query[tuple[tuple[str, ...], tuple[int, ...]], tuple[tuple[str, ...], tuple[int, ...]]],
    )
    assert_type(q.from_(todos).group_by("project_id", "done"), Grouped[Todo])
    assert_type(concat("a", 1), str)
    assert_type(case((True, 1), default=2), int)
    q.from_(todos).order_by(lambda t: case((t.done, 1), (t.priority > 3, 0), default=2)).where(
        lambda t: (t.text.strip().replace("a", "b") == "x") & col(t.text).ilike("A%") & (abs(t.priority) > 3)
    )


def test_outer_joins_of_five_sources() -> None:
    q = QueryBuilder()
    four = (
        q.from_(todos)
        .inner_join(comments, on=lambda t, c: t.id == c.todo_id)
        .inner_join(users, on=lambda t, c, u: c.author_id == u.id)
        .inner_join(messages, on=lambda t, c, u, m: u.id == m.room_id)
    )
    right = four.right_join(others=users, on=lambda t, c, u, m, o: u.id == o.id)
    assert_type(right, Query[
        tuple[Todo | None, Comment | None, User | None, Message | None, User],
        Todo | None, Comment | None, User | None, Message | None, User,
    ])  # fmt: skip
    full = four.full_join("users.id", "=", "others.id", others=users)
    assert_type(full.select(lambda t, c, u, m, o: o), Query[User | None, User | None])
