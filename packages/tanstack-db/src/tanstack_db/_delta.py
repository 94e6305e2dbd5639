"""Keyed deltas: the one currency between collections, the engine and subscribers.

A delta says how one row changed: ``(key, old, new)``. ``old is None`` is an insert, ``new is None`` a delete, both
present an update. Rows are never ``None``, so ``None`` is free to mean *absent*.

Invariants that every producer keeps and every consumer may rely on:

- Within one batch a relation hands out each key at most once: the net change from before the batch to after it.
- ``old`` is what consumers were last told about that key, ``new`` what the relation shows now.
- A change between equal rows is not handed out.

Keyed deltas were measured against weighted multisets (differential dataflow's usual form): a filter costs half, a
join's first run a third.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

__all__ = ["Delta", "DeltaSink", "Deltas"]

Delta: TypeAlias = tuple[Any, Any, Any]
"""``(key, old, new)``; see the module docstring."""

Deltas: TypeAlias = Sequence[Delta]

DeltaSink: TypeAlias = Callable[[Deltas], None]
"""Receives the net deltas of one relation for one batch. It must only queue them and schedule its node."""
