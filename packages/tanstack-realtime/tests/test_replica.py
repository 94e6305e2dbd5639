"""How snapshots, messages and own results merge. The database in these tests is a dict; its history is the truth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tanstack_realtime._envelope import RowChange
from tanstack_realtime._errors import MessageError, RealtimeError
from tanstack_realtime._replica import Replica, wire_key

Row: TypeAlias = dict[str, Any]


class DictCodec:
    """Rows are dicts with columns id, room, text and perhaps version."""

    def key(self, row: Row, /) -> Any:
        return row["id"]

    def scope(self, row: Row, /) -> str:
        return str(row["room"])

    def decode(self, data: Mapping[str, Any], /) -> Row:
        row = dict(data)
        if not {"id", "room", "text"} <= row.keys():
            raise ValueError("not a whole row")
        return row

    def merge(self, row: Row, data: Mapping[str, Any], /) -> Row:
        return self.decode({**row, **data})

    def version(self, row: Row, /) -> int | None:
        return row.get("version")


class Screen:
    """A replica with the collection it feeds: what a reader would see."""

    def __init__(self, *scopes: str) -> None:
        self.replica: Replica[Row, Any] = Replica(DictCodec())
        self.rows: dict[Any, Row] = {}
        for scope in scopes:
            self.replica.open(scope)

    def write(self, writes: Mapping[Any, Row | None]) -> None:
        for key, written in writes.items():
            if written is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = written

    def hear(self, scope: str, *changes: RowChange) -> bool:
        received = self.replica.receive(scope, changes)
        self.write(received.writes)
        return received.incomplete

    def load(self, scope: str, *rows: Row) -> None:
        self.write(self.replica.snapshot(self.replica.fetching(scope), rows))


def row(key: int, text: str = "", room: str = "a", **more: Any) -> Row:
    return {"id": key, "room": room, "text": text, **more}


def put(value: Row, action: Any = "update") -> RowChange:
    return RowChange(action, value, value["id"], value.get("version"))


def test_a_newer_update_is_not_overwritten_by_the_older_row() -> None:  # Q1, G4
    screen = Screen("a")
    mark = screen.replica.fetching("a")
    screen.hear("a", put(row(1, "new")))

    screen.write(screen.replica.snapshot(mark, [row(1, "old")]))

    assert screen.rows == {1: row(1, "new")}


def test_whether_a_row_was_told_of_since_a_moment() -> None:  # Q6
    screen = Screen("a")
    screen.load("a", row(1))
    before = screen.replica.tick
    screen.hear("a", put(row(2), "insert"))
    screen.write(screen.replica.confirm([row(3)]).writes)
    assert [screen.replica.heard_since(key, before) for key in (1, 2, 3)] == [False, True, False]
    screen.hear("a", put(row(1, "b")))
    screen.write(screen.replica.confirm([row(1, "c")]).writes)
    assert screen.replica.heard_since(1, before)


def test_a_deleted_row_does_not_come_back_with_the_snapshot() -> None:  # Q1
    screen = Screen("a")
    mark = screen.replica.fetching("a")
    screen.hear("a", RowChange("delete", key=1))

    screen.write(screen.replica.snapshot(mark, [row(1)]))

    assert screen.rows == {}


def test_a_row_inserted_meanwhile_is_not_deleted_by_the_older_snapshot() -> None:  # G4
    screen = Screen("a")
    mark = screen.replica.fetching("a")
    screen.hear("a", put(row(1), "insert"))

    screen.write(screen.replica.snapshot(mark, []))

    assert screen.rows == {1: row(1)}


def test_a_snapshot_is_newer_than_what_came_before_its_own_fetch() -> None:
    screen = Screen("a", "b")
    screen.replica.fetching("a")
    screen.hear("b", RowChange("delete", key=1))
    mark = screen.replica.fetching("b")

    screen.write(screen.replica.snapshot(mark, [row(1, room="b")]))

    assert screen.rows == {1: row(1, room="b")}


def test_a_partial_update_before_its_row_is_replayed_on_the_snapshot() -> None:  # Q12
    screen = Screen("a")
    mark = screen.replica.fetching("a")

    incomplete = screen.hear("a", RowChange("update", {"text": "new"}, 1))
    screen.write(screen.replica.snapshot(mark, [row(1, "old")]))

    assert not incomplete
    assert screen.rows == {1: row(1, "new")}


def test_a_partial_update_merges_and_keeps_the_other_columns() -> None:  # Q12
    screen = Screen("a")
    screen.load("a", row(1, "old", extra=5))

    screen.hear("a", RowChange("update", {"text": "new"}, 1))

    assert screen.rows == {1: row(1, "new", extra=5)}


def test_a_partial_update_of_an_unknown_row_asks_for_a_fetch() -> None:  # Q9
    screen = Screen("a")
    screen.load("a")

    assert screen.hear("a", RowChange("update", {"text": "new"}, 1))
    assert screen.rows == {}


def test_the_refetch_inserts_updates_deletes_and_leaves_equal_rows_alone() -> None:  # G3
    screen = Screen("a")
    screen.load("a", row(1), row(2, "old"), row(3))

    writes = screen.replica.snapshot(screen.replica.fetching("a"), [row(1), row(2, "new"), row(4)])

    assert writes == {2: row(2, "new"), 3: None, 4: row(4)}


def test_insert_updates_update_inserts_unknown_delete_is_silent() -> None:  # Q9
    screen = Screen("a")
    screen.load("a", row(1, "old"))

    screen.hear("a", put(row(1, "new"), "insert"))
    screen.hear("a", put(row(2, "second"), "update"))
    screen.hear("a", RowChange("delete", key=3))

    assert screen.rows == {1: row(1, "new"), 2: row(2, "second")}


@pytest.mark.parametrize("key", [0, ""])
def test_falsy_keys_are_keys(key: Any) -> None:  # Q13
    screen = Screen("a")
    screen.hear("a", put(row(key), "insert"))
    assert key in screen.rows

    screen.hear("a", RowChange("delete", key=key))
    assert screen.rows == {}


def test_a_row_of_another_scope_is_refused_and_the_whole_message_with_it() -> None:  # Q19, Q10
    screen = Screen("a", "b")

    with pytest.raises(MessageError, match="belongs to 'b'"):
        screen.hear("a", put(row(1)), put(row(2, room="b")))

    assert screen.rows == {}


def test_a_partial_update_cannot_move_a_row_into_another_scope() -> None:  # Q19
    screen = Screen("a", "b")
    screen.load("a", row(1))

    with pytest.raises(MessageError, match="delete and an insert"):
        screen.hear("a", RowChange("update", {"room": "b"}, 1))

    assert screen.rows == {1: row(1)}


@pytest.mark.parametrize("first", ["a", "b"])
def test_a_moved_row_is_one_row_whichever_channel_speaks_first(first: str) -> None:  # Q20
    screen = Screen("a", "b")
    screen.load("a", row(1))
    moved = {"a": ("a", RowChange("delete", key=1)), "b": ("b", put(row(1, "moved", "b"), "insert"))}

    for scope in sorted(moved, key=lambda name: name != first):
        screen.hear(*moved[scope])

    assert screen.rows == {1: row(1, "moved", "b")}


def test_a_moved_row_does_not_return_with_the_old_scopes_snapshot() -> None:  # Q20
    screen = Screen("a", "b")
    screen.load("a", row(1))
    mark = screen.replica.fetching("a")
    screen.hear("b", put(row(1, "moved", "b"), "insert"))

    screen.write(screen.replica.snapshot(mark, [row(1)]))

    assert screen.rows == {1: row(1, "moved", "b")}


def test_an_older_version_never_replaces_a_newer_one_nor_a_deleted_one() -> None:  # Q11
    screen = Screen("a")
    screen.hear("a", put(row(1, "two", version=2)))
    screen.hear("a", put(row(1, "one", version=1)))
    assert screen.rows[1]["text"] == "two"

    screen.hear("a", RowChange("delete", key=1, version=2))
    screen.hear("a", put(row(1, "one", version=1)))
    assert screen.rows == {}


def test_a_delete_by_a_writer_that_saw_an_older_version_asks_for_a_fetch() -> None:  # Q11
    screen = Screen("a")
    screen.hear("a", put(row(1, "two", version=2)))

    assert screen.hear("a", RowChange("delete", key=1, version=1))
    assert screen.rows == {1: row(1, "two", version=2)}


def test_an_update_of_a_row_that_was_deleted_asks_for_a_fetch() -> None:  # Q11
    screen = Screen("a")
    screen.hear("a", put(row(1, version=1)))
    screen.hear("a", RowChange("delete", key=1, version=1))

    assert screen.hear("a", put(row(1, version=2)))


def test_an_update_of_a_row_that_was_deleted_here_asks_for_a_fetch() -> None:  # Q11
    """Found by history 68: another's update was committed before the own delete, and its message came after it."""
    screen = Screen("a")
    screen.hear("a", put(row(1, version=1)))
    screen.write(screen.replica.confirm([], [(1, "a")]).writes)

    assert screen.rows == {}
    assert screen.hear("a", put(row(1, version=2)))


def test_a_row_that_moved_out_of_sight_does_not_return_with_an_older_message() -> None:  # Q11, Q20
    """Found by history 167: another's update was committed before the move, and its message came after it."""
    screen = Screen("a")
    screen.hear("a", put(row(1, version=1)))
    screen.write(screen.replica.confirm([row(1, room="b", version=3)]).writes)

    assert screen.rows == {}
    assert screen.hear("a", put(row(1, version=2)))
    assert screen.rows == {}


def test_a_row_that_moved_stays_away_when_its_new_scope_closes() -> None:  # Q11, Q20
    """Found by history 302: the row moved to a scope that was closed before the older message came."""
    screen = Screen("a", "b")
    screen.hear("a", put(row(1, version=1)))
    screen.write(screen.replica.confirm([row(1, room="b", version=3)]).writes)
    screen.write(screen.replica.close("b"))

    assert screen.rows == {}
    assert screen.hear("a", put(row(1, version=2)))
    assert screen.rows == {}


def test_an_update_of_a_row_that_the_snapshot_lacks_asks_for_another_fetch() -> None:  # G4, Q11
    """Found by history 319: the delete was missed in a gap, and the older update came while the snapshot was read."""
    screen = Screen("a")
    screen.hear("a", put(row(1, version=1)))
    mark = screen.replica.fetching("a")
    screen.hear("a", put(row(1, version=2)))
    screen.write(screen.replica.snapshot(mark, []))

    assert mark.incomplete
    screen.load("a")
    assert screen.rows == {}


@pytest.mark.parametrize("whose", ["own", "another's"])
def test_a_delete_of_an_older_version_than_the_snapshot_has_asks_for_another_fetch(whose: str) -> None:  # G4, Q11
    """The snapshot was read before the delete, or the row lives again: the database knows which."""
    screen = Screen("a")
    screen.load("a", row(1, "one", version=1))
    mark = screen.replica.fetching("a")
    if whose == "own":
        screen.write(screen.replica.confirm([], [(1, "a")]).writes)
    else:
        screen.hear("a", RowChange("delete", key=1, version=1))
    screen.write(screen.replica.snapshot(mark, [row(1, "two", version=2)]))

    assert mark.incomplete
    screen.load("a")
    assert screen.rows == {}


def test_a_row_that_the_database_shows_again_counts_whatever_its_version() -> None:
    screen = Screen("a")
    screen.hear("a", put(row(1, "first life", version=5)))
    screen.hear("a", RowChange("delete", key=1, version=5))

    screen.load("a", row(1, "second life", version=1))

    assert screen.rows == {1: row(1, "second life", version=1)}

    screen.hear("a", put(row(1, "updated", version=2)))
    assert screen.rows == {1: row(1, "updated", version=2)}


def test_a_deleted_key_that_lives_again_is_fetched() -> None:  # Q11
    screen = Screen("a")
    screen.hear("a", put(row(1, "first life", version=5)))
    screen.hear("a", RowChange("delete", key=1, version=5))

    assert screen.hear("a", put(row(1, "second life", version=1), "insert"))
    assert screen.rows == {}

    screen.load("a", row(1, "second life", version=1))
    assert not screen.hear("a", put(row(1, "second life", version=2)))


def test_an_own_row_under_a_deleted_key_shows_until_the_database_tells() -> None:  # Q11
    screen = Screen("a")
    screen.hear("a", put(row(1, "first life", version=5)))
    screen.hear("a", RowChange("delete", key=1, version=5))

    confirmed = screen.replica.confirm([row(1, "second life", version=1)])
    screen.write(confirmed.writes)

    assert confirmed.incomplete
    assert screen.rows == {1: row(1, "second life", version=1)}
    screen.load("a")
    assert screen.rows == {}


def test_an_older_version_in_the_database_counts_at_the_second_look() -> None:  # Q11
    screen = Screen("a")
    screen.hear("a", put(row(1, "newest", version=9)))

    first = screen.replica.fetching("a")
    screen.write(screen.replica.snapshot(first, [row(1, "lagging or true?", version=3)]))
    assert screen.rows == {1: row(1, "newest", version=9)}
    assert first.incomplete

    second = screen.replica.fetching("a")
    screen.write(screen.replica.snapshot(second, [row(1, "true", version=3)]))
    assert screen.rows == {1: row(1, "true", version=3)}
    assert not second.incomplete

    screen.hear("a", put(row(1, "next", version=4)))
    assert screen.rows == {1: row(1, "next", version=4)}


def test_a_database_that_only_lagged_loses_nothing() -> None:  # Q11
    screen = Screen("a")
    screen.hear("a", put(row(1, "two", version=2)))
    screen.load("a", row(1, "one", version=1))
    screen.load("a", row(1, "two", version=2))
    screen.hear("a", put(row(1, "three", version=3)))

    screen.load("a", row(1, "two", version=2))

    assert screen.rows == {1: row(1, "three", version=3)}


def test_query_fn_rows_of_another_scope_or_with_one_key_twice_are_an_error() -> None:
    screen = Screen("a")

    for rows in ([row(1, room="b")], [row(1), row(1)]):
        with pytest.raises(RealtimeError, match="query_fn for 'a'"):
            screen.load("a", *rows)

    assert screen.rows == {}


def test_a_scope_that_closed_takes_its_rows_along_and_hears_nothing_more() -> None:  # Q14
    screen = Screen("a", "b")
    screen.load("a", row(1))
    screen.load("b", row(2, room="b"))
    mark = screen.replica.fetching("a")

    screen.write(screen.replica.close("a"))
    screen.hear("a", put(row(3)))
    screen.write(screen.replica.snapshot(mark, [row(4)]))

    assert screen.rows == {2: row(2, room="b")}


@pytest.mark.parametrize("key", [1.5, True, ("a", 1), None])
def test_a_key_that_cannot_travel_is_an_error_that_says_what_can(key: Any) -> None:
    with pytest.raises(RealtimeError, match="str, an int or a UUID"):
        wire_key(key)


Op: TypeAlias = tuple[str, int, str, str]
ops = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "delete"]), st.integers(0, 3), st.sampled_from("ab"), st.text("xyz", max_size=2)
    ),
    max_size=25,
)


def history(operations: list[Op], *, versioned: bool) -> list[tuple[dict[int, Row], list[tuple[str, RowChange]]]]:
    """Run operations on a database; after each one its state and the messages that its writer publishes."""
    database: dict[int, Row] = {}
    steps: list[tuple[dict[int, Row], list[tuple[str, RowChange]]]] = [({}, [])]
    for clock, (kind, key, room, text) in enumerate(operations, 1):
        before = database.pop(key, None)
        messages: list[tuple[str, RowChange]] = []
        if before is not None and (kind == "delete" or before["room"] != room):
            messages.append((before["room"], RowChange("delete", key=key, version=before.get("version"))))
        if kind == "put":
            database[key] = row(key, text, room, **({"version": clock} if versioned else {}))
            messages.append((room, put(database[key], "insert" if before is None or messages else "update")))
        steps.append((dict(database), messages))
    return steps


@given(ops, st.integers(0, 24), st.integers(0, 24), st.integers(0, 24))
def test_a_scope_that_subscribes_then_fetches_ends_with_what_the_database_holds(
    operations: list[Op], begin: int, read: int, end: int
) -> None:
    """Q1, Q2, G4. Kills: dropping the replay loop; replaying steps from before the mark; other rows."""
    steps = history(operations, versioned=False)
    begin, read, end = sorted(min(at, len(steps) - 1) for at in (begin, read, end))
    screen = Screen("a")
    mark, snapshot = None, list[Row]()
    for index, (database, messages) in enumerate(steps):
        for scope, change in messages:
            if scope == "a":
                screen.hear(scope, change)
        if index == begin:
            mark = screen.replica.fetching("a")
        if index == read:
            snapshot = [value for value in database.values() if value["room"] == "a"]
        if index == end:
            assert mark is not None
            screen.write(screen.replica.snapshot(mark, snapshot))

    assert screen.rows == {key: value for key, value in steps[-1][0].items() if value["room"] == "a"}


@given(ops, st.randoms(use_true_random=False))
def test_versions_make_the_order_and_number_of_arrivals_irrelevant(operations: list[Op], random: Any) -> None:
    """Q9, Q11. Kills: comparing versions with the wrong sign; forgetting the version of a deleted row."""
    steps = history(operations, versioned=True)
    messages = [message for _, of_step in steps for message in of_step]
    messages += random.sample(messages, len(messages) // 2)
    random.shuffle(messages)
    screen = Screen("a", "b")
    for scope, change in messages:
        screen.hear(scope, change)

    assert screen.rows == steps[-1][0]


@given(ops)
def test_applying_every_message_twice_changes_nothing(operations: list[Op]) -> None:
    """Q9. Kills: treating an insert of a known key as an error."""
    once, twice = Screen("a", "b"), Screen("a", "b")
    for _, messages in history(operations, versioned=False):
        for scope, change in messages:
            once.hear(scope, change)
            twice.hear(scope, change)
            twice.hear(scope, change)

    assert once.rows == twice.rows
