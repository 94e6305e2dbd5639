"""`Include` against nested loops: laws 1 to 5 of ``ivm/ARCHITECTURE.md``."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tanstack_db.ivm._include import Include
from tanstack_db.ivm._join import match_on
from tanstack_db.ivm._laws import apply, change
from tanstack_db.ivm._order import Order

rows = st.fixed_dictionaries({"a": st.sampled_from([None, 0, 1]), "b": st.integers(0, 2)})
batches = st.dictionaries(st.integers(0, 4), st.none() | rows, max_size=3)


def name(row: Any) -> Any:
    return row["a"]


def place(key: Any, pair: Any) -> tuple[Any, ...]:
    return (pair[0]["b"], key)


def include(limit: int | None = None, offset: int = 0, make: Any = None) -> Include:
    by = match_on([name])
    return Include(by, by, lambda: Order(place, limit=limit, offset=offset), make)


def is_large(row: Any) -> bool:
    return bool(row["b"])


@pytest.mark.parametrize("make", [None, is_large])
@given(
    history=st.lists(st.tuples(batches, batches), max_size=10),
    limit=st.none() | st.integers(0, 2),
    offset=st.integers(0, 1),
)
def test_every_parent_has_its_children(history: Any, limit: int | None, offset: int, make: Any) -> None:  # f.2 38
    """Kills: a moved child left in its old list; a parent told though its list is equal; a window without refill."""
    parents: dict[int, Any] = {}
    children: dict[int, Any] = {}
    output: dict[int, Any] = {}
    stage = include(limit, offset, make)
    for left, right in history:
        apply(output, stage.push(change(parents, left), change(children, right)))
        expected: dict[int, Any] = {}
        for key, parent in parents.items():
            found = [(child["b"], k, child) for k, child in children.items() if child["a"] == parent["a"] is not None]
            ordered = [child for _, _, child in sorted(found, key=lambda item: item[:2])][offset:]
            shown = ordered if limit is None else ordered[:limit]
            expected[key] = (parent, shown if make is None else [make(child) for child in shown])
        assert output == expected


def test_parents_share_a_list_and_what_is_read_later_is_what_was_there() -> None:
    stage = include()
    first = stage.push([(1, None, {"a": 0}), (2, None, {"a": 0}), (3, None, {"a": 1})], [(7, None, {"a": 0, "b": 1})])
    lists = [row[1] for _, _, row in first]
    assert lists[0] is lists[1]
    [one, two] = stage.push([], [(8, None, {"a": 0, "b": 0})])
    assert (one[0], two[0]) == (1, 2)
    assert one[2][1] == [{"a": 0, "b": 0}, {"a": 0, "b": 1}]
    assert lists == [[{"a": 0, "b": 1}], [{"a": 0, "b": 1}], []]
