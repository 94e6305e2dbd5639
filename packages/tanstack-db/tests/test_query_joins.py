"""What the builder makes of joins, and of columns with several sources."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import pytest

from tanstack_db import (
    Collection,
    QueryBuilder,
    QueryError,
    UnknownColumnError,
    col,
    create_collection,
    local_only_collection_options,
)
from tanstack_db._base.ir import Call, Const, JoinIR, Ref


@dataclass
class Todo:
    id: str
    project_id: str
    text: str
    done: bool = False


@dataclass
class Comment:
    id: str
    todo_id: str
    author_id: str
    project_id: str


@dataclass
class User:
    id: str
    name: str


def make(name: str, schema: type[Any] | None) -> Any:
    return create_collection(local_only_collection_options(id=name, schema=schema, get_key=lambda row: row.id))


todos: Collection[Todo, str] = make("todos", Todo)
comments: Collection[Comment, str] = make("comments", Comment)
users: Collection[User, str] = make("users", User)
notes: Collection[dict[str, Any], str] = make("notes", None)
q = QueryBuilder()


def eq(column: str, value: Any, source: int = 0) -> Call:
    return Call("eq", (Ref(source, tuple(column.split("."))), Const(value)))


def one_row(row: Any) -> Any:
    return row.id == 1


def joined(on: Callable[[Any, Any], Any]) -> Any:
    return cast("Any", q.from_(todos)).join(comments, on=on)


@pytest.mark.parametrize(
    ("method", "kind"), [("join", "left"), ("inner_join", "inner"), ("right_join", "right"), ("full_join", "full")]
)
def test_kinds_of_joins(method: str, kind: str) -> None:
    join: Any = getattr(q.from_(todos), method)
    on: Callable[[Any, Any], Any] = lambda t, c: t.id == c.todo_id  # noqa: E731
    by_lambda = join(comments, on=on)
    by_path = join("todos.id", "=", "comments.todo_id", comments=comments)
    assert by_lambda.ir.joins[0].kind == kind
    assert by_lambda == by_path


def test_a_join_on_several_equalities() -> None:
    query = q.from_(todos).join(comments, on=lambda t, c: (t.id == c.todo_id) & (c.project_id == t.project_id))
    on = ((Ref(0, ("id",)), Ref(1, ("todo_id",))), (Ref(0, ("project_id",)), Ref(1, ("project_id",))))
    assert query.ir.joins == (JoinIR(1, "left", on),)


def test_three_sources() -> None:
    query = (
        q.from_(todos)
        .inner_join(comments, on=lambda t, c: t.id == c.todo_id)
        .join(users, on=lambda t, c, u: c.author_id == u.id)
        .where(lambda t, c, u: (t.done == False) & col(u).is_none())  # noqa: E712
        .where("users.name", "!=", "Ada")
        .where(todo_id="t1")
    )
    assert query.ir.joins[1] == JoinIR(2, "left", ((Ref(1, ("author_id",)), Ref(2, ("id",))),))
    assert query.ir.where == (
        eq("done", False),
        Call("is_none", (Ref(2),)),
        Call("ne", (Ref(2, ("name",)), Const("Ada"))),
        eq("todo_id", "t1", 1),
    )


NO_JOIN: list[Callable[[Any, Any], Any]] = [
    lambda t, c: t.id != c.todo_id,
    lambda t, c: t.id < c.todo_id,
    lambda t, c: (t.id == c.todo_id) | (t.project_id == c.project_id),
    lambda t, c: (t.id == c.todo_id) & (c.author_id == "u"),
    lambda t, c: t.id == t.project_id,
    lambda t, c: c.id == c.todo_id,
    lambda t, c: ~(t.id == c.todo_id),
    lambda t, c: t.done,
    lambda t, c: False,
]


@pytest.mark.parametrize("on", NO_JOIN)
def test_what_a_join_cannot_compare(on: Any) -> None:
    with pytest.raises(QueryError, match="a join compares columns of 'comments'"):
        joined(on)


def test_other_errors_of_joins() -> None:
    query = cast("Any", q.from_(todos))
    with pytest.raises(QueryError, match="both sides"):
        joined(lambda t, c: True)
    with pytest.raises(QueryError, match="a join takes a source and what to compare"):
        query.join(comments)
    with pytest.raises(QueryError, match="a join takes a source and what to compare"):
        query.join("todos.id", comments=comments)
    with pytest.raises(QueryError, match="compares with '='"):
        query.join("todos.id", "<", "comments.todo_id", comments=comments)
    with pytest.raises(QueryError, match=r"one row per source, 2 in all \(todos, comments\)"):
        joined(cast("Any", one_row))
    with pytest.raises(UnknownColumnError, match="did you mean 'todo_id'"):
        joined(lambda t, c: t.id == c.todo_idd)
    with pytest.raises(UnknownColumnError, match="did you mean 'todo_id'"):
        query.join("todos.id", "=", "comments.todo_idd", comments=comments)


def test_paths_with_several_sources() -> None:
    pairs = q.from_(todos).join(comments, on=lambda t, c: t.id == c.todo_id)
    assert pairs.where(text="a").ir.where == (eq("text", "a"),)
    with pytest.raises(QueryError, match=r"whose column is 'project_id'\? .*'todos.project_id'"):
        pairs.where(project_id="p")
    with pytest.raises(UnknownColumnError, match="did you mean 'comments'"):
        pairs.where("coments.author_id", "=", "u")
    open_pairs = q.from_(todos).join(notes, on=lambda t, n: t.id == n["todo_id"])
    with pytest.raises(QueryError, match="whose column is 'text'"):
        open_pairs.where(text="a")
    assert open_pairs.where("notes.anything", "=", 1).ir.where == (eq("anything", 1, 1),)
