"""Collections that follow a shape log."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from tanstack_db import (
    Change,
    CollectionStateError,
    DbClient,
    SchemaError,
    SourceError,
    Transaction,
    UsageError,
    live_query,
)
from tanstack_db.shapes import (
    ShapeCollection,
    ShapeError,
    ShapeResponse,
    TxidTimeoutError,
    httpx_fetch,
    shape_collection_options,
)
from tanstack_db.shapes._log import Reset, RowChange, ShapeLog, UpToDate
from tanstack_db.shapes._values import column_types, parse_row
from tanstack_db.testing import ShapeServer, settle

Row = dict[str, Any]


@pytest.fixture
def errors() -> list[Exception]:
    return []


@pytest.fixture
def client(errors: list[Exception]) -> DbClient:
    return DbClient(on_error=errors.append)


def seconds_after(failures: int) -> float:
    return float(failures)


def status_of(collection: ShapeCollection[Any, Any]) -> str:
    return collection.status


def follow(client: DbClient, server: ShapeServer, **options: Any) -> ShapeCollection[Row, Any]:
    options.setdefault("retry_delay", seconds_after)
    return client.build(
        shape_collection_options(
            id="rows", get_key=lambda row: row["id"], url="http://host/v1/shape", fetch=server.fetch, **options
        )
    )


class Batches:
    """What a subscriber is told, one list for each batch."""

    def __init__(self, collection: ShapeCollection[Row, Any]) -> None:
        self.told: list[list[tuple[str, Any]]] = []
        self.stop = collection.subscribe_changes(self._take)

    def _take(self, changes: Sequence[Change[Row, Any]]) -> None:
        self.told.append([(change.type, change.key) for change in changes])


# -- following ---------------------------------------------------------------------------------------------------------


async def test_the_log_is_read_to_its_end_and_then_followed(client: DbClient) -> None:
    server = ShapeServer(chunk=2)
    server.write(*({"id": number, "n": 0} for number in range(5)))
    rows = follow(client, server, params={"table": "rows"})
    told = Batches(rows).told

    await rows.preload()

    assert told == [[("insert", number) for number in range(5)]]
    assert rows.is_up_to_date
    await settle()
    assert [query["offset"] for query, _ in server.requests] == ["-1", "1", "3", "4"]
    assert server.requests[0][0] == {"table": "rows", "offset": "-1"}
    assert server.requests[-1][0] == {"table": "rows", "offset": "4", "handle": "log-1", "live": "true"}

    server.write({"id": 1, "n": 7}, {"id": 9, "n": 1}, deletes=[0])
    await settle()
    assert told[1:] == [[("update", 1), ("insert", 9), ("delete", 0)]]
    assert rows.get(1) == {"id": 1, "n": 7}
    assert server.requests[-1][0]["cursor"] == "5"
    await rows.cleanup()


async def test_held_requests_that_bring_nothing_are_made_again(client: DbClient) -> None:
    server = ShapeServer(hold=20)
    rows = follow(client, server)
    told = Batches(rows).told
    await asyncio.sleep(61)
    assert len(server.requests) == 1 + 4
    assert told == []
    await rows.cleanup()
    asked = len(server.requests)
    await asyncio.sleep(100)
    assert len(server.requests) == asked


async def test_a_server_that_does_not_hold_requests_is_not_asked_without_pause(client: DbClient) -> None:
    answer = ShapeResponse(200, {"electric-offset": "0", "electric-handle": "h"}, "[]")
    first = ShapeResponse(200, {**answer.headers, "electric-up-to-date": ""}, "[]")
    server = ShapeServer()
    server.failures = [first, *[answer] * 100]
    rows = follow(client, server)
    await rows.preload()
    stop = rows.subscribe_changes(lambda _: None)
    await asyncio.sleep(10)
    assert len(server.requests) <= 12
    stop()
    await rows.cleanup()


async def test_a_log_that_was_given_up_is_replaced_in_one_batch(client: DbClient) -> None:
    server = ShapeServer(chunk=2)
    server.write(*({"id": number} for number in range(4)))
    rows = follow(client, server)
    told = Batches(rows).told
    await rows.preload()

    server.write({"id": 9}, deletes=[0])
    server.compact()
    await settle()

    assert told[1:] == [[("delete", 0), ("insert", 9)]] or told[1:] == [[("insert", 9), ("delete", 0)]]
    assert [query.get("handle") for query, _ in server.requests][-3:] == ["log-2", "log-2", "log-2"]
    assert rows.is_up_to_date
    await rows.cleanup()


async def test_half_of_a_new_log_is_never_shown(client: DbClient) -> None:
    server = ShapeServer(chunk=2)
    server.write(*({"id": number} for number in range(4)))
    rows = follow(client, server)
    told = Batches(rows).told
    await rows.preload()
    await settle()
    server.failures = [
        ShapeResponse(409, {"electric-handle": "log-1"}),
        await server.answer({"offset": "-1"}, {}),
        OSError("gone"),
    ]
    server.write({"id": 4})
    await settle()
    assert not rows.is_up_to_date
    assert rows.size == 5
    await asyncio.sleep(5)
    assert told[1:] == [[("insert", 4)]]
    assert rows.is_up_to_date
    await rows.cleanup()


# -- failures ----------------------------------------------------------------------------------------------------------


async def test_the_network_comes_back(client: DbClient, errors: list[Exception]) -> None:
    server = ShapeServer()
    server.write({"id": 1})
    rows = follow(client, server)
    await rows.preload()
    stop = rows.subscribe_changes(lambda _: None)
    await settle()
    down = OSError("no network")
    server.failures = [down, down, ShapeResponse(503, {})]

    server.write({"id": 2})
    await settle()

    assert rows.last_error is down
    assert not rows.is_up_to_date
    assert status_of(rows) == "ready"
    asked = len(server.requests)
    await asyncio.sleep(2.9)
    assert len(server.requests) == asked + 1
    await asyncio.sleep(10)
    assert rows.last_error is None
    assert rows.size == 2
    server.write({"id": 3})
    await settle()
    assert rows.size == 3
    assert not errors
    stop()
    await rows.cleanup()


async def test_a_first_read_that_fails_is_the_error_of_the_collection(client: DbClient) -> None:
    server = ShapeServer()
    server.write({"id": 1})
    server.failures = [OSError("no network")]
    rows = follow(client, server)
    with pytest.raises(SourceError):
        await rows.preload()
    assert status_of(rows) == "error"
    stop = rows.subscribe_changes(lambda _: None)
    await asyncio.sleep(2)
    assert status_of(rows) == "ready"
    stop()
    await rows.cleanup()


async def test_a_server_that_asks_to_wait_is_left_alone_for_so_long(client: DbClient) -> None:
    server = ShapeServer()
    server.failures = [ShapeResponse(429, {"Retry-After": "60"})]
    rows = follow(client, server)
    stop = rows.subscribe_changes(lambda _: None)
    await asyncio.sleep(59)
    assert len(server.requests) == 1
    await asyncio.sleep(2)
    assert rows.is_up_to_date
    stop()
    await rows.cleanup()


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_what_is_refused_for_good_waits_for_a_retry(client: DbClient, status: int) -> None:
    server = ShapeServer()
    server.write({"id": 1})
    tokens = iter(["old", "old", "new"])

    async def headers() -> Mapping[str, str]:
        return {"authorization": next(tokens)}

    rows = follow(client, server, headers=headers)
    stop = rows.subscribe_changes(lambda _: None)
    await settle()
    server.failures = [ShapeResponse(status, {}, "expired")]
    server.write({"id": 2})
    await settle()
    error = rows.last_error
    assert isinstance(error, ShapeError)
    assert (error.status, error.retryable) == (status, False)
    assert status_of(rows) == "error"
    assert rows.size == 2
    asked = len(server.requests)
    await asyncio.sleep(1000)
    assert len(server.requests) == asked

    tokens = iter(["new"] * 10)
    rows.retry()
    await settle()
    assert status_of(rows) == "ready"
    assert server.requests[-1][1] == {"authorization": "new"}
    stop()
    await rows.cleanup()


async def test_a_row_that_does_not_fit_is_an_error_and_the_log_is_read_anew(client: DbClient) -> None:
    @dataclass(frozen=True)
    class Item:
        id: int
        n: int

    server = ShapeServer()
    server.write({"id": 1, "n": 1})
    items: ShapeCollection[Item, int] = client.build(
        shape_collection_options(
            id="items", schema=Item, get_key=lambda item: item.id, url="http://host", fetch=server.fetch
        )
    )
    stop = items.subscribe_changes(lambda _: None)
    await settle()
    server.write({"id": 2, "n": 2}, {"id": 1, "n": "much"})
    await settle()
    assert isinstance(items.last_error, SchemaError)
    assert status_of(items) == "error"
    assert items.to_list() == [Item(1, 1)]
    server.write({"id": 1, "n": 5})
    server.compact()
    items.retry()
    await settle()
    assert items.to_list() == [Item(1, 5), Item(2, 2)]
    assert status_of(items) == "ready"
    stop()
    await items.cleanup()


async def test_a_log_that_only_begins_again_is_not_hammered(client: DbClient) -> None:
    server = ShapeServer()
    server.failures = [ShapeResponse(409, {}) for _ in range(1000)]
    rows = follow(client, server)
    stop = rows.subscribe_changes(lambda _: None)
    await asyncio.sleep(30)
    assert len(server.requests) < 20
    stop()
    await rows.cleanup()


# -- writes ------------------------------------------------------------------------------------------------------------


async def test_a_handler_waits_for_its_transaction_in_the_log(client: DbClient) -> None:
    """f.2 12."""
    server = ShapeServer()
    server.write({"id": 1, "n": 1})

    async def save(transaction: Transaction[Row]) -> None:
        await asyncio.sleep(1)
        await rows.await_txid(server.write({"id": 1, "n": transaction.mutations[0].modified["n"], "by": "server"}))

    rows = follow(client, server, on_update=save)
    batches = Batches(rows)
    await rows.preload()
    tx = rows.update(1, n=2)
    await tx.persisted()
    assert rows.get(1) == {"id": 1, "n": 2, "by": "server"}
    assert batches.told == [[("insert", 1)], [("update", 1)], [("update", 1)]]
    await rows.cleanup()


async def test_a_transaction_that_was_shown_before_is_not_waited_for(client: DbClient) -> None:
    server = ShapeServer()
    rows = follow(client, server)
    stop = rows.subscribe_changes(lambda _: None)
    await settle()
    txid = server.write({"id": 1})
    await settle()
    await rows.await_txid(txid)

    with pytest.raises(TxidTimeoutError, match="did not show transaction 7 within 5 s") as caught:
        await rows.await_txid(7)
    assert caught.value.txid == 7

    waiting = asyncio.ensure_future(rows.await_txid(8))
    await settle()
    stop()
    await rows.cleanup()
    with pytest.raises(CollectionStateError):
        await waiting
    with pytest.raises(CollectionStateError, match="it follows no log now"):
        await rows.await_txid(txid)


@pytest.mark.parametrize("answers", ["row", "nothing"])
async def test_a_temporary_row_is_one_row_at_every_moment(client: DbClient, answers: str) -> None:
    """f.2 18, g 1. The log may show the server's row before the handler returns."""
    server = ShapeServer()
    server.write({"id": 1, "text": "old"})

    async def save(transaction: Transaction[Row]) -> Row | None:
        row = {**transaction.mutations[0].modified, "id": 2}
        txid = server.write(row)
        await asyncio.sleep(1)
        server.write({"id": 1, "text": "changed meanwhile"})
        await rows.await_txid(txid)
        await asyncio.sleep(1)
        return row if answers == "row" else None

    rows = follow(client, server, on_insert=save)
    query = live_query(lambda q: q.from_(rows).order_by("text", "desc"), client=client)
    await query.preload()
    shown: list[list[str]] = []
    query.subscribe(lambda: shown.append([row["text"] for row in query.get()]))

    tx = rows.insert({"id": "temp", "text": "new"})
    await tx.persisted()
    await settle()

    assert [[text for text in texts if text == "new"] for texts in shown] == [["new"]] * len(shown)
    assert shown[1] == ["new", "changed meanwhile"]
    assert sorted(rows.rows) == [1, 2]
    query.close()
    await rows.cleanup()


async def test_what_was_held_back_is_shown_when_the_insert_fails(client: DbClient) -> None:
    server = ShapeServer()

    async def save(transaction: Transaction[Row]) -> None:
        server.write({"id": 2, "n": 0}, {"id": 3})
        await asyncio.sleep(1)
        server.write({"id": 2, "n": 5}, deletes=[3])
        await asyncio.sleep(1)
        raise OSError("no network")

    rows = follow(client, server, on_insert=save)
    batches = Batches(rows)
    await rows.preload()
    tx = rows.insert({"id": "temp"})
    with pytest.raises(OSError, match="no network"):
        await tx.persisted()
    assert sorted(map(sorted, batches.told)) == [[("delete", "temp"), ("insert", 2)], [("insert", "temp")]]
    assert rows.get(2) == {"id": 2, "n": 5}
    await rows.cleanup()


async def test_inserts_at_the_same_time_end_each_with_its_own_row(client: DbClient) -> None:
    server = ShapeServer()

    async def save(transaction: Transaction[Row]) -> None:
        row = transaction.mutations[0].modified
        txid = server.write({"id": row["n"], "n": row["n"]})
        await rows.await_txid(txid)
        await asyncio.sleep(row["n"])

    rows = follow(client, server, on_insert=save)
    batches = Batches(rows)
    await rows.preload()
    first, second = rows.insert({"id": "a", "n": 1}), rows.insert({"id": "b", "n": 2})
    await first.persisted()
    assert sorted(rows.rows, key=str) == [1, "b"]
    await second.persisted()
    assert sorted(rows.rows) == [1, 2]
    assert len(batches.told) == 4
    await rows.cleanup()


# -- values ------------------------------------------------------------------------------------------------------------


async def test_texts_become_the_values_of_their_types(client: DbClient) -> None:
    @dataclass(frozen=True)
    class Item:
        id: int
        price: Decimal
        at: dt.datetime
        tags: list[str]
        extra: dict[str, int]
        done: bool
        note: str | None

    names = {"id": "int8", "price": "numeric", "at": "timestamptz", "extra": "jsonb", "done": "bool", "note": "text"}
    schema: dict[str, Any] = {name: {"type": kind} for name, kind in names.items()}
    server = ShapeServer(schema={**schema, "tags": {"type": "text", "dims": 1}})
    server.write(
        {
            "id": "1",
            "price": "9.50",
            "at": "2026-01-02 03:04:05+00",
            "tags": '{a,"b c"}',
            "extra": '{"x": 1}',
            "done": "t",
            "note": None,
        }
    )
    items: ShapeCollection[Item, int] = client.build(
        shape_collection_options(
            id="items", schema=Item, get_key=lambda item: item.id, url="http://host", fetch=server.fetch
        )
    )
    stop = items.subscribe_changes(lambda _: None)
    await settle()
    at = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    assert items.get(1) == Item(1, Decimal("9.50"), at, ["a", "b c"], {"x": 1}, True, None)
    server.write({"id": "1", "done": "f"})
    await settle()
    changed = items.get(1)
    assert changed is not None
    assert changed.done is False
    stop()
    await items.cleanup()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", []),
        ("{1,2}", [1, 2]),
        ("{1,NULL}", [1, None]),
        ("{{1,2},{3,4}}", [[1, 2], [3, 4]]),
    ],
)
def test_arrays(text: str, expected: list[Any]) -> None:
    types = column_types(json.dumps({"n": {"type": "int4", "dims": 1}}))
    assert parse_row({"n": text}, types, {}) == {"n": expected}


def test_texts_in_arrays() -> None:
    types = column_types(json.dumps({"n": {"type": "text", "dims": 1}}))
    assert parse_row({"n": r'{a,"b,c","d\"e\\",""}'}, types, {}) == {"n": ["a", "b,c", 'd"e\\', ""]}
    for broken in ("{", "{a}}", '{"a', "a"):
        with pytest.raises(ValueError, match=r"not an array|without its end"):
            parse_row({"n": broken}, types, {})


def test_further_types_are_read_by_the_application() -> None:
    types = column_types(json.dumps({"n": {"type": "numeric"}, "m": {"type": "money"}}))
    assert parse_row({"n": "1.5", "m": "$2"}, types, {"numeric": Decimal}) == {"n": Decimal("1.5"), "m": "$2"}


# -- the protocol ------------------------------------------------------------------------------------------------------


def message(operation: str, **value: Any) -> dict[str, Any]:
    return {"key": f"k{value['id']}", "value": value, "headers": {"operation": operation}}


def test_unknown_messages_are_for_those_who_know_them() -> None:
    body = [message("insert", id=1), {"headers": {"control": "snapshot-end"}}, {"headers": {"control": "up-to-date"}}]
    log = ShapeLog()
    events = log.receive(200, {"Electric-Offset": "0_0", "electric-handle": "h"}, json.dumps(body))
    assert list(events) == [RowChange("insert", "k1", {"id": 1}), UpToDate()]
    assert log.request() == {"offset": "0_0", "handle": "h", "live": "true"}


def test_a_control_message_can_end_a_log_as_well() -> None:
    log = ShapeLog()
    log.receive(200, {"electric-offset": "5", "electric-up-to-date": "", "electric-handle": "a"}, "[]")
    body = json.dumps([message("insert", id=1), {"headers": {"control": "must-refetch"}}])
    assert list(log.receive(200, {"electric-handle": "b"}, body)) == [Reset()]
    assert log.request() == {"offset": "-1", "handle": "b"}


@pytest.mark.parametrize(
    "answer",
    [
        ({"electric-offset": "0"}, "<html>"),
        ({"electric-offset": "0"}, '{"a": 1}'),
        ({"electric-offset": "0"}, "[1]"),
        ({"electric-offset": "0", "electric-schema": "[]"}, "[]"),
        ({}, "[]"),
    ],
)
def test_what_is_no_log_is_asked_for_again(answer: tuple[dict[str, str], str]) -> None:
    log = ShapeLog()
    with pytest.raises(ShapeError) as caught:
        log.receive(200, *answer)
    assert caught.value.retryable
    assert log.request() == {"offset": "-1"}


def test_wrong_options_are_refused(client: DbClient) -> None:
    server = ShapeServer()
    with pytest.raises(UsageError, match="handle, offset are the log's own"):
        follow(client, server, params={"offset": "3", "handle": "h"})
    with pytest.raises(UsageError, match="fetch must be a function"):
        shape_collection_options(id="rows", get_key=lambda row: row["id"], url="", fetch=None)  # type: ignore[arg-type]


async def test_httpx_makes_the_requests(client: DbClient) -> None:
    httpx = pytest.importorskip("httpx")
    server = ShapeServer()
    server.write({"id": 1})

    async def handle(request: Any) -> Any:
        answer = await server.answer(dict(request.url.params), request.headers)
        return httpx.Response(answer.status, headers=dict(answer.headers), text=answer.body)

    async with httpx.AsyncClient(transport=httpx.MockTransport(handle)) as http:
        rows: ShapeCollection[Row, int] = client.build(
            shape_collection_options(
                id="rows",
                get_key=lambda row: row["id"],
                url="http://host/shape?tenant=a",
                fetch=httpx_fetch(http),
                headers={"authorization": "token"},
            )
        )
        await rows.preload()
        query, headers = server.requests[0]
        assert query == {"tenant": "a", "offset": "-1"}
        assert headers["authorization"] == "token"
        assert rows.get(1) == {"id": 1}
        await rows.cleanup()
