"""Rows that hold values which cannot be compared: arrays of numpy or pandas, signalling NaNs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, NoReturn

import pytest

from tanstack_db import (
    Change,
    Collection,
    DbClient,
    LiveQuery,
    LiveSource,
    QueryBuilder,
    Transaction,
    collect,
    collection_options,
    count,
    live_query,
)
from tanstack_db.testing import ManualSource, settle


class NoTruth:
    def __bool__(self) -> NoReturn:
        raise ValueError("the truth value of an array is ambiguous")


class Array:
    """Compares like an array: item by item, and hashes like one: not at all."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, *items: float) -> None:
        self.items = items

    def __eq__(self, other: object) -> Any:
        return NoTruth()

    def __ne__(self, other: object) -> Any:
        return NoTruth()

    def __deepcopy__(self, memo: object) -> Array:
        return self


@dataclass
class Item:
    id: str
    n: int
    data: Any


async def accept(transaction: Transaction[Item]) -> Item:
    return transaction.mutations[0].modified


def items(client: DbClient, source: ManualSource[Item, str]) -> Collection[Item, str]:
    return client.build(
        collection_options(
            id="items", schema=Item, get_key=lambda item: item.id, sync=source, on_insert=accept, on_update=accept
        )
    )


WRITES: list[Callable[[Collection[Item, str]], object]] = [
    lambda collection: collection.update("a", n=5),
    lambda collection: collection.update("a", lambda item: replace(item, n=5)),
    lambda collection: collection.update("a", data=Array(2)),
]


@pytest.mark.parametrize("write", WRITES)
async def test_a_row_with_an_array_is_written(write: Callable[[Collection[Item, str]], object]) -> None:
    client, source, told = DbClient(), ManualSource[Item, str](), list[Change[Item, str]]()
    collection = items(client, source)
    collection.subscribe_changes(told.extend)
    source.write(Item("a", 1, Array(1)))
    source.write(Item("a", 1, Array(1)))  # nobody can tell whether that is a change, so it is one

    write(collection)
    await settle()

    assert [change.type for change in told[:3]] == ["insert", "update", "update"]
    assert not collection.has_pending_writes("a")
    await client.close()


async def test_only_the_changed_column_is_sent() -> None:
    client, source = DbClient(), ManualSource[Item, str]([Item("a", 1, Array(1))])
    collection = items(client, source)
    await collection.preload()

    transaction = collection.update("a", n=5)

    assert transaction.mutations[0].changes == {"n": 5}
    await client.close()


async def test_queries_follow_rows_with_arrays() -> None:
    client, source = DbClient(), ManualSource[Item, str]([Item("a", 1, Array(1)), Item("b", 2, Array(2))])
    collection = items(client, source)
    q = QueryBuilder()
    made: list[LiveSource[Any]] = [
        q.from_(collection).where(lambda item: item.n > 0).order_by("n").limit(5),
        q.from_(collection).order_by("data").limit(5),
        q.from_(collection).join(other=collection, on=lambda a, b: a.n == b.n),
        q.from_(collection).include(same=lambda a: q.from_(collection).where(lambda b: b.n == a.n)),
        q.from_(collection).group_by("n").aggregate(lambda item: (count(), collect(item.data))),
        q.from_(collection).select(lambda item: {"data": item.data}),
    ]
    queries: list[LiveQuery[Any]] = [live_query(query, client=client) for query in made]
    for query in queries:
        query.subscribe(lambda: None)
    source.write(Item("a", 1, Array(1)))
    collection.update("b", n=3)
    await settle()

    assert [(len(query.get()), query.get().error) for query in queries] == [(2, None)] * len(queries)
    await client.close()


async def test_a_signalling_nan_may_be_written_and_asked_for() -> None:
    client, source = DbClient(), ManualSource[Item, str]([Item("a", 1, Decimal("sNaN")), Item("b", 2, 1.5)])
    collection = items(client, source)
    await collection.preload()

    below = live_query(lambda q: q.from_(collection).where("data", "<", Decimal("sNaN")), client=client)
    collection.update("a", data=2.5)

    assert below.get() == []  # it has no place among the numbers
    assert below.get().error is None
    await client.close()
