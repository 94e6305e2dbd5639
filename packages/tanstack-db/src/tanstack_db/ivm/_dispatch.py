"""Shares one column index among all queries that compare the column with constants.

A hundred components that each show ``project_id == x`` must not make each change cost a hundred predicates, nor each
mount a scan. So there is one index per relation and column, and one sink on the relation: a change is looked up by the
column's old and new value and reaches only the queries that ask for one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from .._base.delta import Delta, Deltas, DeltaSink
from ._buckets import Buckets, Pair
from ._values import hashable, read

if TYPE_CHECKING:
    from .._base.relation import Relation

__all__ = ["EqualityDispatch"]


class _Route:
    """One attached sink.

    Attributes:
        names: the values that it asks for.
        sink: who gets the deltas.
        deltas: what it gets of the batch that is being routed.
    """

    __slots__ = ("deltas", "names", "sink")

    def __init__(self, names: frozenset[Hashable], sink: DeltaSink) -> None:
        self.names = names
        self.sink = sink
        self.deltas: list[Delta] = []


class EqualityDispatch:
    """Routes the deltas of one relation by the value of one column.

    It lives while a sink is attached: the first builds the index, the last takes everything down.
    """

    __slots__ = ("_column", "_detach", "_index", "_relation", "_routes")

    def __init__(self, relation: Relation, column: str) -> None:
        self._relation = relation
        self._column = column
        self._index = Buckets()
        self._routes: dict[Hashable, dict[_Route, None]] = {}
        self._detach: Callable[[], None] | None = None

    @classmethod
    def of(cls, relation: Relation, column: str) -> EqualityDispatch:
        """Return the dispatch of a column, shared by everybody who reads this relation.

        Args:
            relation: whose deltas are routed.
            column: a column of its rows: an item of a mapping or an attribute of an object.
        """
        dispatch: EqualityDispatch = relation.shared.get((cls, column)) or cls(relation, column)
        return dispatch

    def attach(self, values: Sequence[Any], sink: DeltaSink) -> Callable[[], None]:
        """Hand the deltas of the rows with one of `values` in the column to `sink` from now on.

        A row whose value changes to or from one of them comes as an insert or a delete. Null equals nothing, so None
        among the values is ignored.

        Returns:
            The function that detaches. Idempotent.
        """
        if self._detach is None:
            self._begin()
        route = _Route(_names(values), sink)
        for name in route.names:
            self._routes.setdefault(name, {})[route] = None

        def detach() -> None:
            for name in route.names:
                routes = self._routes.get(name, {})
                routes.pop(route, None)
                if not routes:
                    self._routes.pop(name, None)
            if not self._routes:
                self._end()

        return detach

    def rows(self, values: Sequence[Any]) -> Iterator[Pair]:
        """Iterate over key and row of the rows with one of `values`: the state that the deltas of a sink start from.

        Where a batch is open, its changes are not in it yet; they come as deltas. Some sink must be attached.
        """
        for name in _names(values):
            yield from self._index.get(name)

    def _begin(self) -> None:
        relation, put, column = self._relation, self._index.put, self._column
        relation.shared[(EqualityDispatch, column)] = self
        self._detach = relation.attach(self._route)
        for key, row in relation.rows.items():
            put(hashable(read(row, column)), key, row)

    def _end(self) -> None:
        if self._detach is not None:
            self._detach()
            self._detach = None
            self._index = Buckets()
            if self._relation.shared.get((EqualityDispatch, self._column)) is self:
                del self._relation.shared[(EqualityDispatch, self._column)]

    def _route(self, deltas: Deltas) -> None:
        column, index, routes = self._column, self._index, self._routes
        nobody: dict[_Route, None] = {}
        touched: dict[_Route, None] = {}
        for delta in deltas:
            key, old, new = delta
            was = None if old is None else hashable(read(old, column))
            now = None if new is None else hashable(read(new, column))
            if was is not now and was != now:
                index.drop(was, key)
                for route in routes.get(was, nobody):
                    # A sink that asks for both values sees one update, below.
                    if now not in route.names:
                        route.deltas.append((key, old, None))
                        touched[route] = None
            if now is None:
                continue
            index.put(now, key, new)
            for route in routes.get(now, nobody):
                route.deltas.append(delta if was in route.names else (key, None, new))
                touched[route] = None
        for route in touched:
            routed, route.deltas = route.deltas, []
            route.sink(routed)


def _names(values: Sequence[Any]) -> frozenset[Hashable]:
    return frozenset(hashable(value) for value in values if value is not None)
