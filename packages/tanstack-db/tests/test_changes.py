"""Published keys of joined rows, and the order in which changes are told."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tanstack_db import Change
from tanstack_db._execution.changes import ResultKeys, told


def test_a_left_row_keeps_its_key_when_its_only_match_comes_and_goes() -> None:  # f.2 33, g 12
    keys = ResultKeys()
    assert keys.translate([((1, None), "t", None), ((1, 7), None, "tc")]) == [((1, None), "t", "tc")]
    assert keys.published((1, 7)) == (1, None)
    assert keys.joined((1, None)) == (1, 7)
    assert keys.translate([((1, 7), "tc", "tC")]) == [((1, None), "tc", "tC")]
    assert keys.translate([((1, 7), "tC", None), ((1, None), None, "t")]) == [((1, None), "tC", "t")]
    assert keys.published((1, None)) == (1, None)


def test_two_matches_at_once_are_two_new_rows() -> None:
    deltas = [((1, None), "t", None), ((1, 7), None, "a"), ((1, 8), None, "b")]
    assert ResultKeys().translate(deltas) == deltas


def test_the_key_of_a_row_that_stands_for_another_is_not_given_twice() -> None:
    keys = ResultKeys()
    keys.translate([((1, 8), None, "8")])
    keys.translate([((1, 8), "8", None), ((1, None), None, "-")])  # (1, None) is published as (1, 8)
    keys.translate([((1, None), "-", None), ((1, 9), None, "9")])  # and so is (1, 9)
    assert keys.published((1, 9)) == (1, 8)
    assert keys.translate([((1, 8), None, "8")]) == [((1, 9), None, "8")]
    assert keys.joined((1, 9)) == (1, 8)


def test_of_two_rows_that_a_full_join_leaves_alone_one_keeps_the_key() -> None:
    keys = ResultKeys()
    keys.translate([((1, 7), None, "both")])
    parted = keys.translate([((1, 7), "both", None), ((1, None), None, "left"), ((None, 7), None, "right")])
    assert parted == [((1, 7), "both", "left"), ((None, 7), None, "right")]
    again = keys.translate([((1, None), "left", None), ((None, 7), "right", None), ((1, 7), None, "both")])
    assert again == [((1, 7), "left", "both"), ((None, 7), "right", None)]


def test_gaps_in_several_places_are_filled_one_by_one() -> None:
    keys = ResultKeys()
    keys.translate([((1, None, None), None, "a")])
    keys.translate([((1, None, None), "a", None), ((1, 2, None), None, "b")])
    assert keys.translate([((1, 2, None), "b", None), ((1, 2, 3), None, "c")]) == [((1, None, None), "b", "c")]


@given(st.lists(st.lists(st.tuples(st.integers(0, 1), st.sets(st.integers(0, 3))), max_size=2), max_size=12))
def test_published_changes_lead_from_result_to_result(history: list[list[tuple[int, set[int]]]]) -> None:
    """Random matches in a full join of two left and four right rows: keys stay unique, and the published deltas rebuild
    the published rows.

    Kills: `_free` returning its argument; two heirs of one key.
    """
    keys = ResultKeys()
    matches: dict[int, set[int]] = {}
    shown: dict[Any, Any] = {}
    before: dict[Any, Any] = {}
    for step in history:
        matches |= dict(step)
        rows: dict[Any, Any] = {
            (left, right): (left, right) for left, found in matches.items() for right in found or [None]
        }
        alone = set(range(4)).difference(*matches.values())
        rows |= {(None, right): (None, right) for right in alone}
        deltas: list[Any] = [(key, row, None) for key, row in before.items() if key not in rows]
        deltas += [(key, None, row) for key, row in rows.items() if key not in before]
        published = keys.translate(deltas)
        assert len({key for key, _, _ in published}) == len(published)
        for key, old, new in published:
            assert shown.get(key) == old
            if new is None:
                del shown[key]
            else:
                shown[key] = new
        assert sorted(shown.values(), key=repr) == sorted(rows.values(), key=repr)
        assert {keys.published(key): row for key, row in rows.items()} == shown
        before = rows


def test_deletes_are_told_first_then_rows_by_their_place() -> None:
    places: dict[object, int | None] = {"a": 2, "b": 0}
    changes = told([("a", None, 1), ("x", 9, None), ("b", 3, 4)], places)
    assert changes == [
        Change("delete", "x", 9),
        Change("update", "b", 4, previous=3, index=0),
        Change("insert", "a", 1, index=2),
    ]
