"""What live queries ask on-demand sources for, and which rows they show of what others have loaded."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Mapping
from typing import Any

import pytest

from tanstack_db import (
    Collection,
    DbClient,
    LiveSource,
    LoadSubset,
    OpenParameterError,
    Rows,
    SubsetStatus,
    SyncContext,
    SyncRun,
    collection_options,
    live_query,
)

Row = dict[str, Any]


class Server:
    """Loads rows by project, when the test says so."""

    def __init__(self, client: DbClient, name: str, *rows: Row) -> None:
        self.rows = rows
        self.asked: list[Mapping[str, tuple[Hashable, ...]]] = []
        self.loaded: dict[str, SubsetStatus] = {}
        self.unloaded: list[Mapping[str, tuple[Hashable, ...]]] = []
        self.collection: Collection[Row, Any] = client.build(
            collection_options(
                id=name,
                get_key=lambda row: row["id"],
                sync=self.sync,
                sync_mode="on-demand",
                partition={"project": "project"},
            )
        )

    def sync(self, ctx: SyncContext[Row, Any], /) -> SyncRun:
        self.ctx = ctx
        ctx.mark_ready()
        return SyncRun(load_subset=self.load, unload_subset=self.unload)

    def load(self, subset: LoadSubset, status: SubsetStatus) -> None:
        self.asked.append(subset.bindings)
        (project, *_) = subset.bindings["project"]
        self.loaded[str(project)] = status

    def unload(self, subset: LoadSubset) -> None:
        self.unloaded.append(subset.bindings)

    def answer(self, project: str) -> None:
        self.ctx.begin()
        for row in self.rows:
            if row["project"] == project:
                self.ctx.update(row)
        self.ctx.commit()
        self.loaded[project].mark_ready()


class Scope(LiveSource[Rows[Row]]):
    """A scope of a collection, as higher layers make them."""

    def __init__(self, collection: Collection[Row, Any], project: str) -> None:
        self.id = collection.id
        self._collection = collection
        self._project = project

    def _open(self, db: DbClient) -> Collection[Row, Any]:
        return db.collection(self._collection)

    def _demand(self) -> Mapping[str, tuple[Hashable, ...]]:
        return {"project": (self._project,)}


@pytest.fixture
def client() -> DbClient:
    return DbClient()


def row(name: str, project: str, **values: Any) -> Row:
    return {"id": name, "project": project, **values}


async def test_a_query_asks_for_what_it_binds_and_is_ready_when_that_is_there(client: DbClient) -> None:  # f.2 39
    server = Server(client, "todos", row("a", "p"), row("b", "q"))
    query = live_query(lambda q: q.from_(server.collection).where(lambda t: t["project"] == "p"), client=client)
    told: list[bool] = []
    stop = query.subscribe(lambda: told.append(query.get().is_ready))
    assert server.asked == [{"project": ("p",)}]
    assert not query.get().is_ready
    server.answer("p")
    assert query.get() == [row("a", "p")]
    assert told == [False, True]
    stop()
    await asyncio.sleep(6)
    assert server.unloaded == [{"project": ("p",)}]


async def test_queries_that_need_the_same_rows_are_one_demand(client: DbClient) -> None:  # g 15
    server = Server(client, "todos", row("a", "p", n=1))
    queries = [
        live_query(lambda q: q.from_(server.collection).where(project="p"), client=client),
        live_query(lambda q: q.from_(server.collection).where(project="p").where("n", ">", 0).limit(5), client=client),
    ]
    for query in queries:
        query.subscribe(lambda: None)
    assert len(server.asked) == 1
    server.answer("p")
    assert [query.get() for query in queries] == [[row("a", "p", n=1)]] * 2


async def test_a_query_shows_none_of_the_rows_that_others_have_loaded(client: DbClient) -> None:
    server = Server(client, "todos", row("a", "p"), row("b", "q"))
    mine, yours = (
        live_query(Scope(server.collection, project), client=client)
        if project == "p"
        else live_query(lambda q: q.from_(server.collection).where(project="q"), client=client)
        for project in ("p", "q")
    )
    for query in (mine, yours):
        query.subscribe(lambda: None)
    server.answer("p")
    server.answer("q")
    assert mine.get() == [row("a", "p")]
    assert yours.get() == [row("b", "q")]


async def test_the_joined_source_inherits_the_parameter_and_shows_only_its_rows(client: DbClient) -> None:
    todos = Server(client, "todos", row("a", "p"), row("b", "q"))
    notes = Server(client, "notes", row("n", "p", todo="a"), row("m", "q", todo="a"))
    live_query(Scope(notes.collection, "q"), client=client).subscribe(lambda: None)
    pairs = live_query(
        lambda q: (
            q.from_(todos.collection)
            .where(lambda t: t["project"] == "p")
            .join(notes.collection, on=lambda t, n: t["id"] == n["todo"])
        ),
        client=client,
    )
    pairs.subscribe(lambda: None)
    assert notes.asked == [{"project": ("q",)}, {"project": ("p",)}]
    for server, project in ((notes, "q"), (notes, "p"), (todos, "p")):
        server.answer(project)
    assert pairs.get() == [(row("a", "p"), row("n", "p", todo="a"))]
    assert pairs.get().is_ready


async def test_an_open_parameter_is_refused_where_the_query_is_made(client: DbClient) -> None:
    server = Server(client, "todos")
    with pytest.raises(OpenParameterError) as caught:
        live_query(lambda q: q.from_(server.collection).where("n", "=", 1), client=client)
    assert caught.value.parameters == ("project",)
    with pytest.raises(OpenParameterError):
        live_query(server.collection, client=client)
    assert server.asked == []


async def test_a_failed_load_is_the_query_s_error_until_the_next_one(client: DbClient) -> None:
    server = Server(client, "todos", row("a", "p"))
    query = live_query(Scope(server.collection, "p"), client=client)
    query.subscribe(lambda: None)
    failure = RuntimeError("refused")
    server.loaded["p"].mark_error(failure)
    assert query.get().error is failure
    server.answer("p")
    assert query.get().error is None
    assert query.get().is_ready
