"""Sums of the first counts of a list, in O(log n): a Fenwick tree."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["PrefixSums"]


class PrefixSums:
    """Counts whose prefix sums are kept while single counts change.

    Node ``i`` holds the sum of the ``i & -i`` counts that end at it, so each sum and each change touches one node per
    bit.
    """

    __slots__ = ("_nodes",)

    def __init__(self, counts: Iterable[int]) -> None:
        nodes = [0, *counts]
        for node in range(1, len(nodes)):
            parent = node + (node & -node)
            if parent < len(nodes):
                nodes[parent] += nodes[node]
        self._nodes = nodes

    def add(self, place: int, change: int) -> None:
        """Change the count at a place."""
        nodes, node = self._nodes, place + 1
        while node < len(nodes):
            nodes[node] += change
            node += node & -node

    def before(self, place: int) -> int:
        """Return the sum of the counts before a place."""
        nodes, total = self._nodes, 0
        while place:
            total += nodes[place]
            place &= place - 1
        return total

    def find(self, index: int) -> tuple[int, int]:
        """Return the place whose count holds the item at `index`, and the item's index there.

        Past the end the place is the number of counts.
        """
        nodes, place = self._nodes, 0
        step = 1 << len(nodes).bit_length()
        while step := step >> 1:
            node = place + step
            if node < len(nodes) and nodes[node] <= index:
                place = node
                index -= nodes[node]
        return place, index
