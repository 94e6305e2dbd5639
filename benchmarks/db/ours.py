"""Our side of the benchmark: the same data, queries and changes as ``peer.mjs``, in the same order.

One JSON command per line on stdin, one JSON answer per line on stdout.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count as counter
from operator import attrgetter, itemgetter
from time import perf_counter_ns as now
from typing import Any, TypeAlias, TypedDict

from tanstack_db import (
    Collection,
    LiveQuery,
    QueryBuilder,
    SyncContext,
    Tx,
    collection_options,
    count,
    create_collection,
    current_client,
    live_query,
    sum_,
)

SEED = int(os.environ["BENCH_SEED"])

SLICES = 10
"""Parts of a batch that are timed apart, so that some of them run without another process taking the processor."""

Answer: TypeAlias = dict[str, Any]
Fed: TypeAlias = tuple["Collection[Any, str]", "SyncContext[Any, str]"]


class Todo(TypedDict):
    id: str
    project_id: str
    title: str
    priority: int
    done: bool
    created: int


class Comment(TypedDict):
    id: str
    todo_id: str
    author: str
    text: str
    score: int


@dataclass(slots=True)
class SlotsTodo:
    id: str
    project_id: str
    title: str
    priority: int
    done: bool
    created: int


def mixed(i: int, salt: int, modulus: int) -> int:
    x = (i + (salt + SEED) * 0x9E3779B1) & 0xFFFFFFFF
    x = ((x ^ (x >> 16)) * 0x45D9F3B) & 0xFFFFFFFF
    x = ((x ^ (x >> 16)) * 0x45D9F3B) & 0xFFFFFFFF
    return (x ^ (x >> 16)) % modulus


def todo(i: int, n: int) -> Todo:
    return {
        "id": f"t{i}",
        "project_id": f"p{mixed(i, 1, 100)}",
        "title": f"todo {i}",
        "priority": mixed(i, 2, 10),
        "done": mixed(i, 3, 2) == 0,
        "created": (i * 7919 + SEED) % n,
    }


def comment(i: int, n: int) -> Comment:
    return {
        "id": f"c{i}",
        "todo_id": f"t{mixed(i, 4, n)}",
        "author": f"u{mixed(i, 5, 50)}",
        "text": f"comment {i}",
        "score": mixed(i, 6, 100),
    }


def sliced(count: int) -> list[range]:
    """Cut `count` changes into up to `SLICES` parts."""
    size = -(-count // SLICES)
    return [range(begin, min(begin + size, count)) for begin in range(0, count, size)]


async def nothing() -> None:
    """Persist nothing."""


class Side:
    """The collections, queries and changes of one scenario.

    Args:
        scenario: its name in the driver.
        n: number of todos; there are twice as many comments.
    """

    def __init__(self, scenario: str, n: int) -> None:
        self.client = current_client()
        self.scenario = scenario
        self.n = n
        self.delivered = 0
        self.steps = counter()
        self.queries: list[LiveQuery[Any]] = []
        self.pending: list[Tx] = []
        self.notes: list[Comment] = []
        self.changes: dict[str, Callable[[int], object]] = {
            "accepted": lambda step: {**self.rows[self.picked(self.accepted, step)], "title": f"changed {step}"},
            "rejected": lambda step: {**self.rows[self.picked(self.rejected, step)], "title": f"changed {step}"},
            "moved": lambda step: {**self.rows[self.picked(self.accepted, step)], "created": mixed(step, 8, n)},
            "inside": lambda step: {**self.rows[self.picked(self.inside, step)], "created": mixed(step, 8, 50)},
            "outside": lambda step: {
                **self.rows[self.picked(self.outside, step)],
                "created": 50 + mixed(step, 8, n - 50),
            },
            "value": lambda step: {**self.rows[mixed(step, 7, n)], "priority": 100 + step % 1000},
            "todo": lambda step: {**self.rows[mixed(step, 7, n)], "title": f"changed {step}"},
            "comment": lambda step: {**self.notes[mixed(step, 7, 2 * n)], "score": 100 + step % 1000},
        }

    def open(self) -> Answer:
        n = self.n
        if self.scenario in ("load", "memory", "memory slots"):
            return {}
        self.rows = [todo(i, n) for i in range(n)]
        self.accepted = [i for i, row in enumerate(self.rows) if row["priority"] > 4]
        self.rejected = [i for i, row in enumerate(self.rows) if row["priority"] <= 4]
        self.inside = [i for i, row in enumerate(self.rows) if row["created"] < 50]
        self.outside = [i for i, row in enumerate(self.rows) if row["created"] >= 50]
        self.todos, self.todos_ctx = self.fed("todos", self.rows, Todo)
        if "join" in self.scenario:
            self.notes = [comment(i, n) for i in range(2 * n)]
            self.comments, self.comments_ctx = self.fed("comments", self.notes, Comment)
        if self.scenario == "100 queries":
            for project in range(100):
                name = f"p{project}"
                self.keep(live_query(QueryBuilder().from_(self.todos).where(project_id=name), client=self.client))
            return {"size": sum(len(query.get()) for query in self.queries)}
        if self.scenario == "optimistic":
            self.todos.subscribe_changes(self.seen)
        return {"size": self.todos.size}

    def first(self) -> Answer:
        while self.queries:
            self.queries.pop().close()
        gc.collect()
        began = now()
        query = live_query(self.query(), client=self.client)
        stop = query.subscribe(lambda: None)
        took = now() - began
        size = len(query.get())
        self.keep(query)
        stop()
        return {"ns": took, "size": size}

    def sync(self, *, change: str, count: int) -> Answer:
        ctx = self.comments_ctx if change == "comment" else self.todos_ctx
        make = self.changes[change]
        slices = [[make(next(self.steps)) for _ in part] for part in sliced(count)]
        times: list[int] = []
        self.delivered = 0
        gc.collect()
        for rows in slices:
            began = now()
            for row in rows:
                ctx.begin()
                ctx.update(row)
                ctx.commit()
            times.append((now() - began) // len(rows))
        return {"ns": times, "delivered": self.delivered}

    def optimistic(self, *, change: str, count: int, pending: int) -> Answer:
        client, todos = self.client, self.todos
        while len(self.pending) < pending:
            tx = client.create_transaction(nothing)
            tx.insert(todos, {**todo(0, self.n), "id": f"pending{len(self.pending)}"})
            self.pending.append(tx)
        slices = [[next(self.steps) for _ in part] for part in sliced(count)]
        times: list[int] = []
        self.delivered = 0
        gc.collect()
        for steps in slices:
            forward = back = 0
            for step in steps:
                row = {**todo(step, self.n), "id": f"new{step}"}
                key, title = f"t{mixed(step, 7, self.n)}", f"changed {step}"
                began = now()
                tx = client.create_transaction(nothing)
                if change == "update":
                    tx.update(todos, key, title=title)
                else:
                    tx.insert(todos, row)
                between = now()
                tx.rollback()
                back += now() - between
                forward += between - began
            times.append((back if change == "rollback" else forward) // len(steps))
        return {"ns": times, "delivered": self.delivered}

    def load(self) -> Answer:
        rows = [todo(i, self.n) for i in range(self.n)]
        gc.collect()
        began = now()
        collection, _ = self.fed(f"load{next(self.steps)}", rows, Todo)
        return {"ns": now() - began, "size": collection.size}

    def memory(self) -> Answer:
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        if self.scenario == "memory slots":
            kept = self.fed("todos", [SlotsTodo(**todo(i, self.n)) for i in range(self.n)], SlotsTodo)
        else:
            kept = self.fed("todos", [todo(i, self.n) for i in range(self.n)], Todo)
        gc.collect()
        return {"bytes": tracemalloc.get_traced_memory()[0] - before, "size": kept[0].size}

    def fed(self, name: str, rows: Sequence[Any], schema: type[Any]) -> Fed:
        """Make a collection with `rows` in it, and what writes to it."""
        contexts: list[SyncContext[Any, str]] = []
        waiting = [rows]

        def source(ctx: SyncContext[Any, str]) -> None:
            contexts.append(ctx)
            ctx.begin()
            for row in waiting.pop():
                ctx.insert(row)
            ctx.commit()
            ctx.mark_ready()

        get_key: Callable[[Any], str] = attrgetter("id") if schema is SlotsTodo else itemgetter("id")
        options = collection_options(id=name, schema=schema, get_key=get_key, sync=source, start_sync=True, gc_time=0)
        return create_collection(options), contexts[0]

    def query(self) -> Any:
        todos = QueryBuilder().from_(self.todos)
        if self.scenario == "filter":
            return todos.where("priority", ">", 4)
        if self.scenario == "filter+order":
            return todos.where("priority", ">", 4).order_by("created")
        if self.scenario == "window":
            return todos.order_by("created").limit(50)
        if self.scenario == "group":
            return todos.group_by(lambda t: t["project_id"]).aggregate(
                lambda t: {"project": t["project_id"], "rows": count(), "total": sum_(t["priority"])}
            )
        if self.scenario == "left join":
            return todos.join(self.comments, on=lambda t, c: t["id"] == c["todo_id"])
        joined = todos.inner_join(self.comments, on=lambda t, c: t["id"] == c["todo_id"])
        if self.scenario == "inner join":
            return joined
        return joined.group_by(lambda t, c: t["project_id"]).aggregate(
            lambda t, c: {"project": t["project_id"], "rows": count(), "total": sum_(c["score"])}
        )

    def keep(self, query: LiveQuery[Any]) -> None:
        query.subscribe_changes(self.seen)
        self.queries.append(query)

    def seen(self, changes: Sequence[object]) -> None:
        self.delivered += len(changes)

    @staticmethod
    def picked(indexes: Sequence[int], step: int) -> int:
        return indexes[mixed(step, 7, len(indexes))]


def main() -> None:
    side: Side | None = None
    for line in sys.stdin:
        command = json.loads(line)
        what = command.pop("do")
        if what == "open":
            side = Side(**command)
            answer = side.open()
        else:
            answer = getattr(side, what)(**command)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
