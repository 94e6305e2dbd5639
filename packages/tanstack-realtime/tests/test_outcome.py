"""What the others are told about a transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import pytest

from tanstack_realtime._outcome import Outcome

Row: TypeAlias = dict[str, Any]


class Codec:
    def key(self, row: Row, /) -> Any:
        return row["id"]

    def scope(self, row: Row, /) -> str:
        return str(row["room"])

    def decode(self, data: Mapping[str, Any], /) -> Row:
        return dict(data)

    def merge(self, row: Row, data: Mapping[str, Any], /) -> Row:
        return {**row, **data}

    def version(self, row: Row, /) -> int | None:
        return row.get("version")


def outcome(expected: int = 1) -> Outcome[Row]:
    return Outcome(codec=Codec(), encode=dict, id="m1", expected=expected)


def told(found: Outcome[Row], limit: int = 65536) -> Mapping[str, Mapping[str, Any]]:
    return found.messages(origin="me", limit=limit)


ONE = {"id": 1, "room": "a", "text": "one"}


def test_what_the_server_function_returned_is_published() -> None:
    found = outcome()
    found.inserted({**ONE, "version": 3})

    assert told(found) == {
        "a": {"action": "insert", "data": {**ONE, "version": 3}, "key": 1, "version": 3, "id": "m1", "origin": "me"}
    }


def test_a_delete_needs_only_the_key() -> None:  # Q3
    found = outcome()
    found.deleted(ONE)

    assert told(found) == {"a": {"action": "delete", "key": 1, "id": "m1", "origin": "me"}}


def test_a_row_that_moves_is_a_delete_there_and_an_insert_here() -> None:  # Q20
    found = outcome()
    found.updated(ONE, {**ONE, "room": "b"})

    messages = told(found)
    assert (messages["a"]["action"], messages["a"]["key"]) == ("delete", 1)
    assert (messages["b"]["action"], messages["b"]["data"]["room"]) == ("insert", "b")


def test_a_key_that_the_server_changed_is_a_delete_and_an_insert() -> None:  # Q21
    found = outcome()
    found.updated(ONE, {**ONE, "id": 2})

    assert [(change["action"], change["key"]) for change in told(found)["a"]["changes"]] == [
        ("delete", 1),
        ("insert", 2),
    ]


def test_a_transaction_is_one_message_per_channel_in_order() -> None:  # Q10
    found = outcome(3)
    found.inserted(ONE)
    found.inserted({**ONE, "id": 2})
    found.deleted({"id": 3, "room": "b"})

    messages = told(found)
    assert [change["key"] for change in messages["a"]["changes"]] == [1, 2]
    assert messages["b"]["action"] == "delete"
    assert {message["id"] for message in messages.values()} == {"m1"}


def test_where_nothing_is_known_a_refetch_is_told_and_never_the_optimistic_row() -> None:  # Q21
    found = outcome(2)
    found.inserted(ONE)
    found.unknown("a")

    assert told(found) == {"a": {"action": "refetch", "id": "m1", "origin": "me"}}


def test_a_message_too_large_for_the_provider_becomes_a_refetch() -> None:
    found = outcome()
    found.inserted({**ONE, "text": "x" * 500})

    assert told(found, limit=400)["a"]["action"] == "refetch"
    assert told(found, limit=4000)["a"]["action"] == "insert"


@pytest.mark.parametrize("value", [float("nan"), "\ud800", b"x"])
def test_a_row_that_json_cannot_carry_is_fetched_by_the_others(value: object) -> None:
    found = outcome()
    found.inserted({**ONE, "text": value})

    assert told(found) == {"a": {"action": "refetch", "id": "m1", "origin": "me"}}


def test_a_row_that_cannot_be_encoded_is_fetched_by_the_others() -> None:
    def refuse(row: Row) -> Row:
        raise TypeError(row)

    found = Outcome(codec=Codec(), encode=refuse, id="m1", expected=1)
    found.updated(ONE, {**ONE, "text": "two"})

    assert told(found) == {"a": {"action": "refetch", "id": "m1", "origin": "me"}}
