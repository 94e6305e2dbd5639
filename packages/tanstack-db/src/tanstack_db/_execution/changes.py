"""How a live query's rows are identified, and how changes are told.

A row of a join is the combination of its sources' rows, so a left row that gets its first match is another combination.
Who shows it sees the same row with something filled in, and a list that takes it out and puts another in loses focus,
selection and animation. `ResultKeys` therefore lets the combination that replaces it keep its key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .._base.delta import Delta, Deltas
from .._collections.subscription import Change

__all__ = ["ResultKeys", "told"]


class ResultKeys:
    """Keys of joined rows as they are published: the joined key, but for rows that stand for an earlier one.

    A joined key is a tuple of the sources' keys, None where an outer join has no match. Published keys are unique at
    every moment. The cost is in the number of deltas.
    """

    def __init__(self) -> None:
        self._published: dict[Any, Any] = {}
        self._joined: dict[Any, Any] = {}

    def copy(self) -> ResultKeys:
        """Return one that goes on from here by itself."""
        keys = ResultKeys()
        keys._published.update(self._published)
        keys._joined.update(self._joined)
        return keys

    def published(self, joined: Any) -> Any:
        """Return the published key of a joined row."""
        return self._published.get(joined, joined)

    def joined(self, published: Any) -> Any:
        """Return the joined key of a published row."""
        return self._joined.get(published, published)

    def translate(self, deltas: Deltas) -> list[Delta]:
        """Return a batch of joined rows as it is published: again every key at most once.

        A row that stands for another one with an equal value comes as an update between equal rows.
        """
        gone = {key: old for key, old, new in deltas if new is None}
        came = {key: new for key, old, new in deltas if old is None}
        net: dict[Any, Delta] = {}
        for key, old, new in deltas:
            if old is not None and new is not None:
                name = self.published(key)
                net[name] = (name, old, new)
        names = {key: self._forget(key) for key in gone}
        for key, old in gone.items():
            net[names[key]] = (names[key], old, None)
        heirs = _heirs(gone, came) if gone and came else {}
        for key in sorted(came, key=lambda key: key not in heirs):
            name = names[heirs[key]] if key in heirs else self._free(key)
            if name != key:
                self._published[key] = name
                self._joined[name] = key
            before = net.get(name)
            net[name] = (name, None if before is None else before[1], came[key])
        return list(net.values())

    def _forget(self, joined: Any) -> Any:
        name = self._published.pop(joined, joined)
        self._joined.pop(name, None)
        return name

    def _free(self, joined: Any) -> Any:
        """A key that no row has. Whoever has this row's own key left its own one, or left it to another."""
        while joined in self._joined:
            joined = self._joined[joined]
        return joined


def _heirs(gone: Iterable[Any], came: Iterable[Any]) -> dict[Any, Any]:
    """Pair rows that came with rows that went: one has a match where the other has none, and it is the only one."""
    gone_keys, came_keys = list(gone), list(came)
    pairs = [(match, hollow) for hollow, match in _only_matches(unmatched=gone_keys, matched=came_keys).items()]
    pairs += _only_matches(unmatched=came_keys, matched=gone_keys).items()
    heirs: dict[Any, Any] = {}
    taken: set[Any] = set()
    for heir, before in pairs:
        # In a full join both sides of a pair may be left alone, or both may have been: one of them is the heir.
        if heir not in heirs and before not in taken:
            heirs[heir] = before
            taken.add(before)
    return heirs


def _only_matches(unmatched: Sequence[Any], matched: Sequence[Any]) -> dict[Any, Any]:
    """Return for each key with gaps the key that fills them, if exactly one does."""
    hollow = {key for key in unmatched if None in key}
    # Sorted: rows that have what comes first in the query are preferred.
    patterns = sorted({tuple(part is None for part in key) for key in hollow})
    fillers: dict[Any, list[Any]] = {}
    for key in matched:
        for pattern in patterns:
            with_gaps = tuple(None if gap else part for part, gap in zip(key, pattern, strict=True))
            if with_gaps in hollow and with_gaps != key:
                fillers.setdefault(with_gaps, []).append(key)
    return {key: found[0] for key, found in fillers.items() if len(found) == 1}


def told(deltas: Deltas, positions: Mapping[Any, int | None]) -> list[Change[Any, Any]]:
    """Return deltas as changes for subscribers, in an order in which a list can follow them.

    Deletes come first, then the others by ascending index: take out the rows of all deletes and updates, then put in
    each insert and update at its index.

    Args:
        deltas: an update between equal rows is a row that moved.
        positions: the indexes of the rows now; empty where rows have no order.
    """
    gone = [Change("delete", key, old) for key, old, new in deltas if new is None]
    rest = [
        Change("insert" if old is None else "update", key, new, old, positions.get(key))
        for key, old, new in deltas
        if new is not None
    ]
    if positions:
        rest.sort(key=lambda change: -1 if change.index is None else change.index)
    return [*gone, *rest]
