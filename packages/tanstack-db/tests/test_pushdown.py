"""What a query says is known below its subqueries and across its joins, so that parameters are found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from tanstack_db import (
    DbClient,
    LiveSource,
    LoadSubset,
    OpenParameterError,
    QueryBuilder,
    SubsetStatus,
    SyncContext,
    SyncRun,
    collection_options,
    live_query,
)
from tanstack_db._execution.pushdown import known_columns

Row = dict[str, Any]
q = QueryBuilder()


@dataclass
class Source:
    """A collection that loads rows by project."""

    client: DbClient
    name: str
    rows: list[Row] = field(default_factory=list[Row])
    asked: list[Any] = field(default_factory=list[Any])

    def __post_init__(self) -> None:
        self.collection: Any = self.client.build(
            collection_options(
                id=self.name,
                get_key=lambda row: row["id"],
                sync=self.sync,
                sync_mode="on-demand",
                partition={"project": "project"},
            )
        )

    def sync(self, ctx: SyncContext[Row, Any], /) -> SyncRun:
        def load(subset: LoadSubset, status: SubsetStatus) -> None:
            self.asked += subset.bindings["project"]
            ctx.begin()
            for row in self.rows:
                if row["project"] in subset.bindings["project"]:
                    ctx.update(row)
            ctx.commit()
            status.mark_ready()

        def unload(subset: LoadSubset) -> None: ...

        ctx.mark_ready()
        return SyncRun(load_subset=load, unload_subset=unload)


class World:
    """Two such collections, and projects that are loaded whole."""

    def __init__(self) -> None:
        self.client = DbClient()
        self.todos = Source(self.client, "todos", [{"id": n, "project": p, "by": "u"} for n, p in ((1, "a"), (2, "b"))])
        self.notes = Source(self.client, "notes", [{"id": n, "project": p, "of": 1} for n, p in ((7, "a"), (8, "b"))])
        projects = collection_options(id="projects", get_key=lambda row: row["id"], sync=self.sync)
        self.projects: Any = self.client.build(projects)

    def sync(self, ctx: SyncContext[Row, Any], /) -> None:
        ctx.begin()
        for name in ("a", "b"):
            ctx.insert({"id": name})
        ctx.commit()
        ctx.mark_ready()

    def get(self, query: LiveSource[Any]) -> Any:
        live = live_query(query, client=self.client)
        live.subscribe(lambda: None)
        if live.error is not None:
            raise live.error
        assert live.is_ready
        return live.get()


def of_project(row: Any, other: Any) -> Any:
    return row["id"] == other["project"]


async def test_a_subquery_finds_its_parameters_in_the_outer_where() -> None:
    w = World()
    mine = q.from_(w.todos.collection).where(lambda t: t["by"] == "u")
    assert w.get(q.from_(q.from_(mine)).where(project="a")) == [w.todos.rows[0]]
    assert w.todos.asked == ["a"]
    with pytest.raises(OpenParameterError):
        w.get(mine)
    # A window counts rows that the outer condition leaves out, and a function may make anything of a column.
    for opaque in (mine.limit(1), mine.select(lambda t: t), mine.offset(1)):
        with pytest.raises(OpenParameterError):
            w.get(q.from_(opaque).where(project="a"))


def in_a(pair: Any) -> Any:
    return pair["todos"]["project"] == "a"


async def test_rows_of_a_joined_subquery_and_of_a_union() -> None:
    w = World()
    todos, notes = w.todos.collection, w.notes.collection
    pairs = q.from_(todos).join(notes, on=lambda t, n: (t["id"] == n["of"]) & (t["project"] == n["project"]))
    assert w.get(q.from_(pairs).where(in_a)) == [(w.todos.rows[0], w.notes.rows[0])]
    assert (w.todos.asked, w.notes.asked) == (["a"], ["a"])

    both = q.union_all(todos, q.from_(notes).where(lambda n: n["id"] > 0))
    assert w.get(q.from_(both).where(project="b")) == [w.todos.rows[1], w.notes.rows[1]]


async def test_joins_and_includes_tell_parameters() -> None:
    w = World()
    todos, notes = w.todos.collection, w.notes.collection
    joined = q.from_(w.projects).join(q.from_(todos).where(by="u"), on=of_project).where(lambda p, t: p["id"] == "a")
    assert w.get(joined) == [({"id": "a"}, w.todos.rows[0])]
    lists = (
        q.from_(w.projects)
        .where(id="b")
        .include(lambda p: q.from_(todos).where(project=p["id"]).include(
            lambda t: q.from_(notes).where(lambda n: n["project"] == t["project"])
        ))
    )  # fmt: skip
    assert w.get(lists) == [({"id": "b"}, [(w.todos.rows[1], [w.notes.rows[1]])])]
    assert w.notes.asked == ["b"]
    with pytest.raises(OpenParameterError):
        w.get(q.from_(w.projects).include(lambda p: q.from_(todos).where(project=p["id"])))


async def test_a_parameter_of_the_same_name_is_shared_with_subqueries() -> None:
    w = World()
    todos, notes = w.todos.collection, w.notes.collection
    query = q.from_(todos).where(project="a").join(q.from_(notes).where(of=1), on=lambda t, n: t["id"] == n["of"])
    assert w.get(query) == [(w.todos.rows[0], w.notes.rows[0])]
    assert w.notes.asked == ["a"]


def same_project(first: Any, second: Any) -> Any:
    return first["project"] == second["project"]


def first_in_a(first: Any, second: Any) -> Any:
    return first["project"] == "a"


def second_in_a(first: Any, second: Any) -> Any:
    return second["project"].one_of(["a"])


class Scope(LiveSource[Any]):
    """Rows of one project."""

    id = "scope"

    def __init__(self, collection: Any) -> None:
        self._collection = collection

    def _demand(self) -> Mapping[str, tuple[str, ...]]:
        return {"project": ("a",)}


@pytest.mark.parametrize(
    ("kind", "left_of_scope", "right_of_scope", "of_where"),
    [
        # A scope joined to rows of its own: rows without a match may be shown, so nothing is known of them.
        ("join", False, True, True),
        ("inner_join", True, True, True),
        ("right_join", True, False, True),
        ("full_join", False, False, True),
    ],
)
def test_what_a_join_passes_on(kind: str, left_of_scope: bool, right_of_scope: bool, of_where: bool) -> None:
    w = World()
    scope = Scope(w.todos.collection)

    def known(first: Any, second: Any, *conditions: Any) -> set[tuple[int, tuple[str, ...]]]:
        query = getattr(q.from_(first=first), kind)(second=second, on=same_project)
        for condition in conditions:
            query = query.where(condition)
        return set(known_columns(query.ir))

    left, right = (0, ("project",)), (1, ("project",))
    assert (left in known(w.projects, scope)) is left_of_scope
    assert (right in known(scope, w.projects)) is right_of_scope
    assert known(w.projects, w.projects, first_in_a) == {left, right}
    assert (left in known(w.projects, w.projects, second_in_a)) is of_where
