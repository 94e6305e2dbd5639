"""The seed's blocks on collections, authorization and mutations, for every kind of row, as type checkers see them.

Both checkers read this file in `make types`; `assert_type` fails there. Here it is run, so that it also works.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, assert_type
from uuid import UUID

from pydantic import BaseModel
from typing_extensions import TypedDict

from tanstack_db import DbClient, Transaction, Tx, create_collection, live_query
from tanstack_realtime import (
    Channel,
    ChannelLike,
    CollectionScope,
    parse_channel,
    realtime_collection_options,
    serialize_key,
)
from tanstack_realtime.server import Permissions


@dataclass(frozen=True)
class DataTodo:
    id: str
    project_id: str
    text: str
    completed_at: str | None = None


class ModelTodo(BaseModel):
    id: str
    project_id: str
    text: str
    completed_at: str | None = None


class DictTodo(TypedDict):
    id: str
    project_id: str
    text: str
    completed_at: str | None


# Block 1, collections: the same declaration for each kind of row.


def channel(project_id: str) -> ChannelLike:
    return ("todos", {"project_id": project_id})


async def get_data(project_id: str) -> list[DataTodo]:
    return [DataTodo("1", project_id, "one")]


async def add_data(transaction: Transaction[DataTodo]) -> DataTodo:
    assert_type(transaction.mutations[0].modified, DataTodo)
    return transaction.mutations[0].modified


async def remove_data(transaction: Transaction[DataTodo]) -> None:
    assert_type(transaction.mutations[0].original.id, str)


data_todos = create_collection(
    realtime_collection_options(
        id="todos",
        schema=DataTodo,
        get_key=lambda todo: todo.id,
        channel=lambda project_id: ("todos", {"project_id": project_id}),
        query_fn=get_data,
        on_insert=add_data,
        on_update=add_data,
        on_delete=remove_data,
    )
)


def get_models(project_id: str) -> list[ModelTodo]:
    return [ModelTodo(id="1", project_id=project_id, text="one")]


model_todos = create_collection(
    realtime_collection_options(
        id="models", schema=ModelTodo, get_key=lambda todo: todo.id, channel="models", query_fn=get_models
    )
)


async def get_dicts(project_id: str) -> list[DictTodo]:
    return [DictTodo(id="1", project_id=project_id, text="one", completed_at=None)]


dict_todos = create_collection(
    realtime_collection_options(
        id="dicts", schema=DictTodo, get_key=lambda todo: todo["id"], channel=channel, query_fn=get_dicts
    )
)


def key_of(row: dict[str, Any]) -> str:
    return str(row["id"])


async def get_plain(project_id: str) -> list[dict[str, Any]]:
    return [{"id": "1", "project_id": project_id, "text": "one"}]


plain_todos = create_collection(
    realtime_collection_options(id="plain", get_key=key_of, channel=channel, query_fn=get_plain)
)


async def test_collections_know_their_rows_and_keys_and_load_them() -> None:
    assert_type(data_todos.scope("p"), CollectionScope[DataTodo])
    assert_type(data_todos.get("1"), DataTodo | None)
    assert_type(model_todos.get("1"), ModelTodo | None)
    assert_type(dict_todos.get("1"), DictTodo | None)
    assert_type(plain_todos.get("1"), dict[str, Any] | None)

    data = live_query(lambda q: q.from_(data_todos).where(lambda t: t.project_id == "p").order_by(lambda t: t.text))
    models = live_query(lambda q: q.from_(model_todos).where(lambda t: t.project_id == "p"))
    dicts = live_query(lambda q: q.from_(dict_todos).where(lambda t: t["project_id"] == "p"))
    plain = live_query(lambda q: q.from_(plain_todos.scope(project_id="p")))
    for query in (data, models, dicts, plain):
        await query.preload()

    assert_type(data.get()[0], DataTodo)
    assert_type(models.get()[0], ModelTodo)
    assert_type(dicts.get()[0], DictTodo)
    assert_type(plain.get()[0], dict[str, Any])
    assert [data.get()[0].text, models.get()[0].text, dicts.get()[0]["text"], plain.get()[0]["text"]] == ["one"] * 4

    for query in (data, models, dicts, plain):
        query.close()
    for collection in (data_todos, model_todos, dict_todos, plain_todos):
        await collection.cleanup()


# Block 2, authorization.


async def authorize(user_id: str, channel: Channel) -> Permissions:
    match channel:
        case Channel(namespace="todos" | "comments", params={"project_id": project_id}):
            assert_type(project_id, str)
            return Permissions(subscribe=True, publish=user_id == project_id)
        case Channel("chat:typing", {"room_id": _}):
            return Permissions(subscribe=True, publish=True)
        case _:
            return Permissions()


async def test_authorize_reads_well_in_match() -> None:  # K2
    assert await authorize("p", parse_channel("todos:project_id=p")) == Permissions(subscribe=True, publish=True)
    assert await authorize("u", parse_channel("chat%3Atyping:room_id=1")) == Permissions(subscribe=True, publish=True)
    assert await authorize("u", parse_channel("chat:typing=1")) == Permissions()


# Block 4, optimistic mutations.


async def test_transact_as_in_the_seed() -> None:
    async def add_todo() -> DataTodo:
        return DataTodo("server", "p", "new todo")

    db = DbClient()
    todos = db.collection(data_todos)
    transaction = db.transact(lambda tx: tx.insert(todos, DataTodo("temp", "p", "new todo")), add_todo)
    assert_type(transaction, Tx)

    await transaction.persisted()
    assert todos.size == 0  # nobody looks at the project
    await db.close()


# The keys.


def test_keys_as_in_the_seed() -> None:  # K1
    assert serialize_key(("todos", {"project_id": "123"})) == "todos:project_id=123"
    assert serialize_key(("todos", {"project_id": UUID(int=0)})) == f"todos:project_id={UUID(int=0)}"
    assert parse_channel("todos:project_id=123") == Channel("todos", {"project_id": "123"})
