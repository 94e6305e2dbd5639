"""Totals by plain functions of all rows: ``select(total=len, done=lambda rows: …)``.

Nothing is known about the functions, so each change costs O(rows). `Group` is the stage that does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from types import SimpleNamespace
from typing import Any, NoReturn

from .._base.delta import Deltas, same

__all__ = ["Totals", "TotalsRow"]


class TotalsRow(SimpleNamespace):
    """The one row of totals, with the names of ``select`` as attributes. Immutable, and compared by content."""

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"totals cannot be changed: {name} is computed from the rows")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"totals cannot be changed: {name} is computed from the rows")


class Totals:
    """One row with the key (), also when there is no row to total."""

    __slots__ = ("_functions", "_kept", "_out", "_rows")

    def __init__(
        self,
        functions: Sequence[tuple[str, Callable[[Sequence[Any]], Any]]],
        rows: Callable[[], Iterable[Any]] | None = None,
    ) -> None:
        """Args:
        functions: names and functions of all rows.
        rows: gives the rows after the deltas of `push`, for example in order. Without it they are kept here.
        """
        self._functions = functions
        self._kept: dict[Any, Any] = {}
        self._rows = rows
        self._out: TotalsRow | None = None

    def start(self) -> Deltas:
        """Hand out the totals of no rows, if nothing was handed out yet."""
        return () if self._out is not None else self._settle()

    def push(self, deltas: Deltas) -> Deltas:
        """Take the deltas of one batch; return that of the totals, if they changed."""
        if self._rows is None:
            for key, _, new in deltas:
                if new is None:
                    del self._kept[key]
                else:
                    self._kept[key] = new
        return self._settle()

    def _settle(self) -> Deltas:
        rows = tuple(self._kept.values() if self._rows is None else self._rows())
        out = TotalsRow(**{name: function(rows) for name, function in self._functions})
        old = self._out
        if old is not None and same(old, out):
            return ()
        self._out = out
        return [((), old, out)]
