"""Each different row once.

A row's name is what `hashable` makes of it, and the key of the output. It stays for as long as one of the rows that
have it is there; only the first and the last of them change something.
"""

from __future__ import annotations

from typing import Any

from .._base.delta import Delta, Deltas
from ._values import hashable

__all__ = ["Distinct"]


class Distinct:
    """Counts rows by name; hands on the first row of each."""

    __slots__ = ("_counts", "_rows")

    def __init__(self) -> None:
        self._counts: dict[Any, int] = {}
        self._rows: dict[Any, Any] = {}
        """What was handed on. A later row of the same name is equal, and no change."""

    def push(self, deltas: Deltas) -> Deltas:
        """Take the deltas of one batch; see `Stage.push`."""
        counts = self._counts
        touched: dict[Any, Any] = {}
        for _, old, new in deltas:
            was = None if old is None else hashable(old)
            now = None if new is None else hashable(new)
            if was == now:
                continue
            if old is not None:
                counts[was] -= 1
                touched.setdefault(was, None)
            if new is not None:
                counts[now] = counts.get(now, 0) + 1
                if touched.get(now) is None:
                    touched[now] = new
        return self._settle(touched)

    def _settle(self, touched: dict[Any, Any]) -> Deltas:
        out: list[Delta] = []
        for name, row in touched.items():
            shown = self._rows.get(name)
            if not self._counts[name]:
                del self._counts[name]
                if shown is not None:
                    del self._rows[name]
                    out.append((name, shown, None))
            elif shown is None:
                self._rows[name] = row
                out.append((name, None, row))
        return out
