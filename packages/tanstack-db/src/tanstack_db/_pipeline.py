"""The stages of one query, in the order in which deltas pass them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ._delta import Delta, Deltas, DeltaSink
from ._plan import Plan
from ._relation import Relation
from .query._compile import predicate
from .query._ir import QueryIR

__all__ = ["Pipeline"]


class Pipeline:
    """Stand-in until the operators are there: one filtered source."""

    has_outer_rows = False

    def __init__(self, ir: QueryIR, made: Plan, relations: Sequence[Relation]) -> None:
        self._relations = relations
        self.positions_before: dict[Any, int | None] = {}
        self._test: Callable[[Any], bool] = predicate(made.sources[0].where, sources=1, accessors=["any"])

    def attach(self, index: int, sink: DeltaSink) -> Callable[[], None]:
        return self._relations[index].attach(sink)

    def load(self) -> Deltas:
        return self.push([[(key, None, row) for key, row in relation.rows.items()] for relation in self._relations])

    def push(self, inputs: Sequence[Deltas]) -> Deltas:
        found: list[Delta] = []
        for key, old, new in inputs[0]:
            before = old if old is not None and self._test(old) else None
            after = new if new is not None and self._test(new) else None
            if before is not None or after is not None:
                found.append((key, before, after))
        return found

    def ordered(self, row: Callable[[Any], Any]) -> Sequence[Any] | None:
        return None

    def position(self, key: object) -> int | None:
        return None
