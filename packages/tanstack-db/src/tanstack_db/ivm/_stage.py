"""What every operator of the engine is: keyed deltas in, keyed deltas out.

A pipeline is a chain of stages. Each keeps the state that it needs, takes the net deltas of one batch and gives the net
deltas of its output. Nothing here knows collections, batches or subscribers.

Contract for every stage, besides the invariants of `Deltas`:

- `push` is called at most once per batch per input, with at least one delta.
- The first call after construction loads: ``[(key, None, row), …]`` for all rows there are.
- The cost per delta does not depend on the number of rows, but for an O(log n) where an order is kept.
- `push` does not raise for data; what an application's function raises inside it propagates, and the stage must then be
  discarded.
"""

from __future__ import annotations

from typing import Protocol

from .._base.delta import Deltas

__all__ = ["Stage"]


class Stage(Protocol):
    """An operator with one input."""

    def push(self, deltas: Deltas, /) -> Deltas:
        """Take the deltas of one batch; return those of the output, in the order to be applied."""
        ...
