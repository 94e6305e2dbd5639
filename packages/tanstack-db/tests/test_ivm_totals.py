"""`Totals` against the functions called on the table: laws 1 to 4 of ``ivm/ARCHITECTURE.md``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tanstack_db.ivm._laws import apply, change
from tanstack_db.ivm._totals import Totals, TotalsRow

histories = st.lists(st.dictionaries(st.integers(0, 5), st.none() | st.integers(0, 2), max_size=4), max_size=12)


def largest(rows: Sequence[int]) -> int | None:
    return max(rows, default=None)


FUNCTIONS: list[tuple[str, Any]] = [("n", len), ("largest", largest)]


@given(histories, st.booleans())
def test_totals_are_the_functions_of_all_rows(history: list[dict[int, Any]], is_kept: bool) -> None:
    """Kills: equal totals told again; a deleted row that still counts; the first batch told as an update."""
    table: dict[int, int] = {}
    output: dict[Any, Any] = {}
    stage = Totals(FUNCTIONS) if is_kept else Totals(FUNCTIONS, lambda: sorted(table.values()))
    apply(output, stage.start())
    assert not stage.start()
    for batch in history:
        apply(output, stage.push(change(table, batch)))
        assert output == {(): TotalsRow(n=len(table), largest=max(table.values(), default=None))}


def test_the_first_push_needs_no_start() -> None:
    stage = Totals(FUNCTIONS)

    assert stage.push([(1, None, 5)]) == [((), None, TotalsRow(n=1, largest=5))]
    assert stage.start() == ()


def test_functions_get_the_rows_in_the_order_of_their_provider() -> None:
    [(_, _, row)] = Totals([("all", list)], lambda: [3, 1, 2]).push([(1, None, 3)])

    assert row.all == [3, 1, 2]


def test_totals_cannot_be_changed() -> None:
    row = TotalsRow(total=1)

    with pytest.raises(AttributeError, match="total is computed"):
        row.total = 2
    with pytest.raises(AttributeError, match="total is computed"):
        del row.total
    assert row == TotalsRow(total=1) != TotalsRow(total=2)
