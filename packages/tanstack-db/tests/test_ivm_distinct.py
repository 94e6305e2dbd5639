"""`Distinct` against a set over the table: laws 1 to 5 of ``ivm/ARCHITECTURE.md``."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tanstack_db.ivm._distinct import Distinct
from tanstack_db.ivm._laws import apply, change
from tanstack_db.query._compile import sort_key

rows = st.fixed_dictionaries({"a": st.sampled_from([None, 0, 1]), "b": st.lists(st.integers(0, 1), max_size=1)})
histories = st.lists(st.dictionaries(st.integers(0, 5), st.none() | rows, max_size=4), max_size=12)


@dataclass
class Tag:
    """Equal by content, and without a hash."""

    name: str
    colors: list[str] = field(default_factory=list[str])


@given(histories)
def test_distinct_is_a_set(history: list[dict[int, Any]]) -> None:  # f.2 37
    """Kills: a row dropped with the first of its contributors; one that goes and comes back in a batch told as new."""
    table: dict[int, Any] = {}
    output: dict[Any, Any] = {}
    stage = Distinct()
    for batch in history:
        apply(output, stage.push(change(table, batch)))
        expected = {repr(sorted(row.items())) for row in table.values()}
        assert {repr(sorted(row.items())) for row in output.values()} == expected
        assert len(output) == len(expected)


def test_a_row_stays_until_its_last_contributor_is_gone() -> None:
    stage = Distinct()
    assert stage.push([(1, None, "x"), (2, None, "x"), (3, None, "y")]) == [("x", None, "x"), ("y", None, "y")]
    assert stage.push([(1, "x", None)]) == []
    assert stage.push([(2, "x", "y")]) == [("x", "x", None)]
    assert stage.push([(3, "y", None), (2, "y", "x"), (4, None, "y")]) == [("x", None, "x")]


@pytest.mark.parametrize(
    ("one", "same", "other"),
    [
        (Tag("a", ["red"]), Tag("a", ["red"]), Tag("a", ["blue"])),
        ({"a": [1], "b": {2}}, {"b": {2}, "a": [1]}, {"a": [1], "b": {3}}),
        ((Tag("a"), None), (Tag("a"), None), (None, Tag("a"))),
        (math.nan, -math.nan, 0.0),
    ],
)
def test_what_is_equal_is_one_row(one: Any, same: Any, other: Any) -> None:
    stage = Distinct()
    first = stage.push([(1, None, one), (2, None, same), (3, None, other)])

    assert [repr(row) for _, _, row in first] == [repr(one), repr(other)]
    # An order by anything tells the two apart by their names.
    by = sort_key([], sources=1, accessors=["any"])
    low, high = sorted(by(key, row) for key, _, row in first)
    assert low < high
    assert stage.push([(1, one, None)]) == []
    [(_, old, new)] = stage.push([(2, same, None)])
    assert old is one
    assert new is None
