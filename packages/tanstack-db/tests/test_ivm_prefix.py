"""`PrefixSums` against ``sum``."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tanstack_db.ivm._prefix import PrefixSums


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
