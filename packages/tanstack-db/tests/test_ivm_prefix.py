"""`PrefixSums` against ``sum``, and the positions that `SortedRows` makes of them."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tanstack_db.ivm import _sorted
from tanstack_db.ivm._prefix import PrefixSums
from tanstack_db.ivm._sorted import SortedRows


@given(st.lists(st.integers(1, 5), max_size=40), st.data())
def test_prefix_sums_are_sums_of_prefixes(counts: list[int], data: st.DataObject) -> None:
    """Kills: a node added to a wrong parent; a change that stops at its own node; a search that takes `<` for `<=`."""
    sums = PrefixSums(counts)
    for place in data.draw(st.lists(st.integers(0, len(counts) - 1), max_size=5)) if counts else []:
        counts[place] += 3
        sums.add(place, 3)

    assert [sums.before(place) for place in range(len(counts) + 1)] == [sum(counts[:n]) for n in range(len(counts) + 1)]
    items = [(place, n) for place, count in enumerate(counts) for n in range(count)]
    assert [sums.find(index) for index in range(len(items))] == items
    assert sums.find(len(items))[0] == len(counts)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 11)), max_size=60))
@example([*((True, number) for number in range(12)), *((False, number) for number in range(6))])
def test_positions_follow_every_change(changes: list[tuple[bool, int]]) -> None:
    """Kills: an insert, a removal, a split or an emptied chunk that the sums are not told of."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_sorted, "_SPLIT", 4)
        ordered, numbers = SortedRows(), set[int]()
        for is_insert, number in changes:
            if is_insert and number not in numbers:
                ordered.insert((number,), number, number)
                numbers.add(number)
            elif not is_insert and number in numbers:
                ordered.remove((number,))
                numbers.remove(number)
            assert [ordered.index((each,)) for each in sorted(numbers)] == list(range(len(numbers)))
            assert [entry and entry[1] for entry in map(ordered.at, range(len(numbers) + 1))] == [
                *sorted(numbers),
                None,
            ]
