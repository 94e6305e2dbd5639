"""`Filter` and `Project` against a comprehension over the table: laws 1 to 4 of ``ivm/ARCHITECTURE.md``."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tanstack_db._errors import QueryError
from tanstack_db.ivm._filter import Filter
from tanstack_db.ivm._laws import BrokenLawError, apply, change
from tanstack_db.ivm._project import Project

rows = st.fixed_dictionaries({"a": st.integers(0, 3), "b": st.integers(0, 2)})
histories = st.lists(st.dictionaries(st.integers(0, 5), st.none() | rows, max_size=4), max_size=12)


def is_low(row: dict[str, int]) -> bool:
    return row["a"] < 2


def lowness(row: dict[str, int]) -> dict[str, bool]:
    return {"low": is_low(row)}


def pair(left: object, right: object) -> tuple[object, object]:
    return left, right


def nothing(row: object) -> None:
    return None


@given(histories)
def test_filter_is_a_comprehension(history: list[dict[int, Any]]) -> None:
    """Kills: an entering row passed on with its old row; a leaving row passed on as an update."""
    table: dict[int, Any] = {}
    output: dict[int, Any] = {}
    stage = Filter(is_low)
    for batch in history:
        apply(output, stage.push(change(table, batch)))
        assert output == {key: row for key, row in table.items() if is_low(row)}


@given(histories)
def test_project_is_a_comprehension(history: list[dict[int, Any]]) -> None:
    """Kills: an output equal to the last one handed out; a delete that forgets to drop the made row."""
    table: dict[int, Any] = {}
    output: dict[int, Any] = {}
    stage = Project(lowness)
    for batch in history:
        apply(output, stage.push(change(table, batch)))
        assert output == {key: {"low": is_low(row)} for key, row in table.items()}


def test_an_update_of_a_passing_row_is_passed_on_as_it_is() -> None:
    stage = Filter(is_low)
    stage.push([(1, None, {"a": 0})])
    delta = (1, {"a": 0}, {"a": 1})

    assert stage.push([delta])[0] is delta


def test_project_calls_the_function_once_per_changed_row() -> None:
    made: list[int] = []

    def make(row: int) -> object:
        made.append(row)
        return object()  # never equal: what is retracted must be what was handed out

    stage = Project(make)
    [(_, _, first)] = stage.push([(1, None, 7)])
    [(_, old, second)] = stage.push([(1, 7, 8)])
    assert old is first
    assert stage.push([(1, 8, None)]) == [(1, second, None)]
    assert made == [7, 8]


def test_project_spreads_the_rows_of_a_join() -> None:
    stage = Project(pair, sources=2)

    assert stage.push([((1, None), None, ("l", None))]) == [((1, None), None, ("l", None))]


def test_a_select_that_returns_nothing_is_an_error_that_says_so() -> None:
    with pytest.raises(QueryError, match="select\\(\\) returned None for the row 1"):
        Project(nothing).push([(1, None, {"a": 1})])


def test_the_laws_are_checked() -> None:
    for deltas in (
        [(1, None, "a"), (1, "a", "b")],
        [(1, "x", "b")],
        [(2, "kept", "kept")],
        [(2, None, "new")],
        [(3, None, None)],
    ):
        with pytest.raises(BrokenLawError):
            apply({2: "kept"}, deltas)
