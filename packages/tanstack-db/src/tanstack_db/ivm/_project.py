"""Replaces every row by what a function makes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._base.delta import Delta, Deltas, same
from .._errors import QueryError

__all__ = ["Project", "row_maker"]


class Project:
    """Output rows by key, each made once: the application's function need not be cheap or deterministic.

    That is why the made rows are kept. What consumers were told is what they are told is gone.
    """

    __slots__ = ("_make", "_rows")

    def __init__(self, make: Callable[..., Any], *, sources: int = 1) -> None:
        """Args:
        make: makes the output row; gets the row, or with several sources one argument per source.
        sources: how many rows make up an input row.
        """
        self._make = row_maker(make, sources=sources)
        self._rows: dict[Any, Any] = {}

    def push(self, deltas: Deltas) -> Deltas:
        """Take the deltas of one batch; return those of the outputs. Equal outputs are no change."""
        make, rows = self._make, self._rows
        out: list[Delta] = []
        for key, _, new in deltas:
            old = rows.get(key)
            if new is None:
                del rows[key]
                out.append((key, old, None))
                continue
            made = make(new)
            if made is None:
                raise QueryError(
                    f"select() returned None for the row {key!r}; a result is never None: return a value for every "
                    "row, or leave the row out with where()"
                )
            if old is None or not same(old, made):
                rows[key] = made
                out.append((key, old, made))
        return out


def row_maker(make: Callable[..., Any], *, sources: int) -> Callable[[Any], Any]:
    """Return `make` as a function of one input row; arguments as for `Project`."""
    if sources == 1:
        return make

    def call(rows: Any) -> Any:
        return make(*rows)

    return call
