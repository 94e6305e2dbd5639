"""`Join` against nested loops over the tables: laws 1 to 4 of ``ivm/ARCHITECTURE.md``."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tanstack_db._base.ir import JoinKind
from tanstack_db.ivm._join import Join, match_on
from tanstack_db.ivm._laws import apply, change

KINDS: tuple[JoinKind, ...] = get_args(JoinKind)

on = st.none() | st.integers(0, 2) | st.just(1.0) | st.builds(float, st.just("nan"))
rows = st.fixed_dictionaries({"on": on, "v": st.integers(0, 1)})
batches = st.dictionaries(st.integers(0, 4), st.none() | rows, max_size=3)
histories = st.lists(st.tuples(batches, batches), max_size=12)


def column(row: dict[str, Any]) -> Any:
    return row["on"]


name = match_on([column])


def is_match(left: Any, right: Any) -> bool:
    a, b = left["on"], right["on"]
    return a is not None and b is not None and (a == b or (a != a and b != b))


def joined(kind: JoinKind, left: dict[Any, Any], right: dict[Any, Any]) -> dict[Any, Any]:
    out: dict[Any, Any] = {(k, m): (a, b) for k, a in left.items() for m, b in right.items() if is_match(a, b)}
    if kind in ("left", "full"):
        out |= {(k, None): (a, None) for k, a in left.items() if not any(is_match(a, b) for b in right.values())}
    if kind in ("right", "full"):
        out |= {(None, m): (None, b) for m, b in right.items() if not any(is_match(a, b) for a in left.values())}
    return out


@pytest.mark.parametrize("kind", KINDS)
@given(history=histories)
def test_join_is_two_nested_loops(kind: JoinKind, history: list[tuple[dict[int, Any], dict[int, Any]]]) -> None:
    """Kills: a bucket dropped with its second row; the unmatched
    row of the other side left in place at the first match, or not put back at the last; null keys that match; NaN
    keys that do not; a net that keeps the last old row."""
    left: dict[Any, Any] = {}
    right: dict[Any, Any] = {}
    output: dict[Any, Any] = {}
    stage = Join(kind, name, name)
    for left_batch, right_batch in history:
        apply(output, stage.push(change(left, left_batch), change(right, right_batch)))
        assert output == joined(kind, left, right)


@given(history=st.lists(st.tuples(batches, batches, batches), max_size=8), kind=st.sampled_from(KINDS))
def test_joins_chain(history: list[tuple[dict[int, Any], ...]], kind: JoinKind) -> None:
    """Kills: a joined row nested in the next one; one None for an absent side of two sources."""
    tables: tuple[dict[Any, Any], ...] = ({}, {}, {})
    output: dict[Any, Any] = {}
    first = Join("full", name, name)

    def of_pair(row: Any) -> Hashable:
        return None if row[0] is None else name(row[0])

    second = Join(kind, of_pair, name, left_arity=2)
    for batch in history:
        deltas = [change(table, part) for table, part in zip(tables, batch, strict=True)]
        apply(output, second.push(first.push(deltas[0], deltas[1]), deltas[2]))

        pairs = {
            key: {"on": None if row[0] is None else row[0]["on"], "rows": row}
            for key, row in joined("full", tables[0], tables[1]).items()
        }
        assert output == {
            (*(key[0] or (None, None)), key[1]): (*(row[0]["rows"] if row[0] else (None, None)), row[1])
            for key, row in joined(kind, pairs, tables[2]).items()
        }


def test_the_right_side_may_be_a_join() -> None:
    stage = Join("left", name, lambda row: name(row[1]), right_arity=2)
    left, right = {"on": 1}, ({"on": 0}, {"on": 1})

    assert stage.push([("l", None, left)], []) == [(("l", None, None), None, (left, None, None))]
    assert dict((key, new) for key, _, new in stage.push([], [(("a", "b"), None, right)])) == {
        ("l", None, None): None,
        ("l", "a", "b"): (left, *right),
    }


def test_a_left_row_that_moves_between_unmatched_keys_is_one_update() -> None:
    stage = Join("left", name, name)
    stage.push([("l", None, {"on": 1})], [])

    assert stage.push([("l", {"on": 1}, {"on": 2})], []) == [(("l", None), ({"on": 1}, None), ({"on": 2}, None))]


def test_a_match_that_is_replaced_in_one_batch_shows_no_gap() -> None:
    stage = Join("left", name, name)
    left, old, new = {"on": 1}, {"on": 1, "v": 0}, {"on": 1, "v": 1}
    stage.push([("l", None, left)], [("old", None, old)])

    deltas = stage.push([], [("old", old, None), ("new", None, new)])

    assert deltas == [(("l", "old"), (left, old), None), (("l", "new"), None, (left, new))]


def test_several_equalities_must_all_hold() -> None:
    def other(row: dict[str, Any]) -> Any:
        return row["v"]

    both = match_on([column, other])
    assert both({"on": 1, "v": [2]}) == both({"on": 1.0, "v": [2]})
    assert both({"on": 1, "v": 2}) != both({"on": 1, "v": 3})
    assert both({"on": 1, "v": None}) is None


def test_join_keys_need_not_be_hashable() -> None:
    stage = Join("inner", name, name)

    assert len(stage.push([(1, None, {"on": ["x", {"y"}]})], [(1, None, {"on": ["x", {"y"}]})])) == 1
