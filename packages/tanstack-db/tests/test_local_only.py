"""Collections that live in this process only."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from tanstack_db import Change, DbClient, LocalOnlyCollection, Transaction, local_only_collection_options


@dataclass(frozen=True)
class Tab:
    id: str
    title: str = ""


def tabs(*rows: Tab) -> LocalOnlyCollection[Tab, str]:
    return DbClient().build(
        local_only_collection_options(id="tabs", schema=Tab, get_key=lambda tab: tab.id, initial_data=rows)
    )


def test_initial_rows_are_there_at_once() -> None:
    rows = tabs(Tab("1"))

    assert (rows.to_list(), rows.status) == ([Tab("1")], "ready")


def test_writes_are_final_at_once_and_need_no_loop() -> None:
    rows = tabs(Tab("1"))
    batches: list[list[Change[Tab, str]]] = []
    rows.subscribe_changes(lambda changes: batches.append(list(changes)))

    inserted = rows.insert(Tab("2"))
    rows.update("2", title="x")
    with rows.edit("2"):
        pass
    rows.delete("1")

    assert inserted.state == "completed"
    assert rows.to_list() == [Tab("2", "x")]
    assert not rows.has_pending_writes("2")
    assert [len(batch) for batch in batches] == [1, 1, 1]


def test_a_collection_reads_like_a_mapping() -> None:
    rows = tabs(Tab("2"), Tab("1"))

    assert ("1" in rows, "3" in rows, len(rows), len(tabs())) == (True, False, 2, 0)
    assert rows["1"] == Tab("1")
    assert (list(rows), rows.keys(), rows.values()) == (["2", "1"], ["2", "1"], [Tab("2"), Tab("1")])
    assert rows.items() == [("2", Tab("2")), ("1", Tab("1"))]
    assert dict(rows) == {"2": Tab("2"), "1": Tab("1")}
    with pytest.raises(KeyError, match=r"^collection 'tabs' has no row with key '3'$"):
        rows["3"]


def test_keys_and_items_keep_the_order_of_the_collection() -> None:
    rows = DbClient().build(
        local_only_collection_options(
            id="tabs",
            schema=Tab,
            get_key=lambda tab: tab.id,
            initial_data=[Tab("1", "b"), Tab("2", "a")],
            compare=lambda a, b: -1 if a.title < b.title else 1,
        )
    )

    assert (list(rows), rows.keys(), rows.items()[0]) == (["2", "1"], ["2", "1"], ("2", Tab("2", "a")))


def test_rows_may_be_deleted_while_they_are_iterated() -> None:
    rows = tabs(Tab("1"), Tab("2"))

    for key in rows:
        rows.delete(key)

    assert len(rows) == 0


async def test_a_transaction_with_a_server_takes_local_rows_back_too() -> None:
    rows = tabs(Tab("1"))

    async def refuse() -> None:
        raise ValueError("refused")

    tx = rows.client.transact(lambda tx: tx.delete(rows, "1"), refuse)
    assert rows.size == 0
    with pytest.raises(ValueError, match="refused"):
        await tx.persisted()
    assert rows.to_list() == [Tab("1")]

    async def accept() -> None:
        await asyncio.sleep(1)

    await rows.client.transact(lambda tx: tx.delete(rows, "1"), accept).persisted()
    assert rows.to_list() == []


async def test_a_handler_runs_after_the_write_and_can_refuse_it() -> None:
    calls: list[str] = []

    async def on_insert(tx: Transaction[Tab]) -> None:
        calls.append(tx.mutations[0].key)
        if tx.mutations[0].key == "bad":
            raise ValueError("no")

    rows = DbClient().build(
        local_only_collection_options(id="tabs", schema=Tab, get_key=lambda tab: tab.id, on_insert=on_insert)
    )

    await rows.insert(Tab("good")).persisted()
    with pytest.raises(ValueError, match="no"):
        await rows.insert(Tab("bad")).persisted()

    assert (rows.to_list(), calls) == ([Tab("good")], ["good", "bad"])


def test_compare_orders_the_list() -> None:
    rows = DbClient().build(
        local_only_collection_options(
            id="tabs",
            schema=Tab,
            get_key=lambda tab: tab.id,
            initial_data=[Tab("2"), Tab("1")],
            compare=lambda a, b: (a.id > b.id) - (a.id < b.id),
        )
    )

    assert rows.to_list() == [Tab("1"), Tab("2")]
