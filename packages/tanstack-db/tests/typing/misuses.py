"""Queries that type checkers must refuse: every marked line, and no other. Checked by ``test_misuses.py``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from tanstack_db import (
    Query,
    QueryBuilder,
    Rows,
    avg,
    col,
    count,
    create_collection,
    live_query,
    local_only_collection_options,
    max_,
    min_,
)


@dataclass
class Todo:
    id: str
    project_id: str
    priority: int
    done: bool
    completed_at: datetime | None


@dataclass
class Comment:
    id: str
    todo_id: str


@dataclass
class Stats:
    total: int
    newest: datetime | None


todos = create_collection(local_only_collection_options(id="todos", schema=Todo, get_key=lambda t: t.id))
comments = create_collection(local_only_collection_options(id="comments", schema=Comment, get_key=lambda c: c.id))
q = QueryBuilder()
now = datetime(2024, 1, 1)
query = q.from_(todos)
pairs = query.join(comments, on=lambda t, c: t.id == c.todo_id)

# sources
q.from_([Todo])  # error
q.from_(Todo)  # error
q.from_(query.find_one())  # error
query.join([Comment], on=lambda t, c: True)  # error

q.union_all(todos, [Todo])  # error

# columns
q.union_all(todos, comments).where(lambda row: row.done)  # error
query.where(lambda t: t.projectid == "p")  # error
query.order_by(lambda t: t.projectid)  # error
query.group_by(lambda t: t.projectid)  # error
query.select(lambda t: t.projectid)  # error
query.aggregate(lambda t: count(t.projectid))  # error
query.join(comments, on=lambda t, c: t.id == c.todoid)  # error

# conditions
query.where(lambda t: t.project_id)  # error
query.where(lambda t: t.priority + 1)  # error
query.where(lambda t: ~t.done)  # error
query.where(lambda t: t.completed_at < now)  # error
query.where(lambda t: col(t.priority) > "3")  # error
query.where(lambda t: col(t.priority).one_of(["3"]))  # error
query.where(lambda t: col(t.priority).between("1", "3"))  # error
query.where(lambda t: t.priority.one_of([3]))  # error
query.where(lambda t: t.completed_at.is_none())  # error
query.where(lambda t: col(t.done) & 3)  # error

# includes
query.include(lambda t: q.from_(comments).where(lambda c: c.todoid == t.id))  # error
query.include(lambda t: q.from_(comments).where(lambda c: c.todo_id == t.idd))  # error
query.include(lambda t: comments.get("1"))  # error
query.include(lambda t: q.from_(comments).where(todo_id=t.id)).select(lambda t, cs: cs.todo_id)  # error

# arguments
query.where(lambda t, c: t.done)  # error
query.where("project_id", "==", "p")  # error
query.where("project_id", "=")  # error
query.order_by("project_id", "down")  # error
query.order_by("project_id", nulls="end")  # error
query.order_by(lambda t: t.priority, collation="nocase")  # error
query.limit("3")  # error
query.join(comments)  # error
query.join("todos.id", "<", "comments.todo_id", comments=comments)  # error
query.select(total=3)  # error

# rows that a join may lack
pairs.where(lambda t, c: c.todo_id == "t1")  # error
pairs.where(lambda t: t.done)  # error
for todo, comment in live_query(pairs).get():
    print(todo.id, comment.id)  # error

# results
wrong_rows: Rows[Comment] = live_query(query).get()  # error
wrong_query: Query[Comment, Comment] = query  # error
print(live_query(query.find_one()).get().id)  # error
query.select(lambda t: t.priority).where(lambda n: n.done)  # error
query.group_by(lambda t: t.done).aggregate(lambda t: Stats(count(), None)).where(lambda s: s.totl > 3)  # error
query.aggregate(lambda t: Stats(total=max_(t.priority), newest=None))  # error
query.aggregate(lambda t: Stats(total=avg(t.priority), newest=None))  # error
query.aggregate(lambda t: Stats(total=count(), newest=min_(t.priority)))  # error
query.find_one().where(lambda t: t.done)  # error
query.group_by(lambda t: t.done).where(lambda t: t.done)  # error

# and what must stay allowed
query.order_by("project_id", "desc", nulls="last", collation=len).order_by(lambda t: t.id, collation="ignore_case")
query.where(lambda t: t.done).where(lambda t: True).where(lambda t: col(t.completed_at).is_none())
pairs.where(lambda t, c: col(c).is_none() & t.done)
live_query(lambda q: q.from_(todos).where(lambda t: t.project_id == "p").find_one())
