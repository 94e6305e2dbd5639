"""`Step`: one operator of a running query, as `LiveQuery.explain` tells about it.

A pipeline calls ``step.push``. Until somebody asks, that is the operator's own method and counting costs nothing;
`Step.measure` puts a counting function in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from time import perf_counter
from typing import Any

from .._base.delta import Deltas

__all__ = ["Meter", "Step"]


class Meter:
    """What was counted.

    Attributes:
        runs: batches that reached the operator.
        rows_in: changed rows that it was given.
        rows_out: changed rows that it handed on.
        seconds: time that it took, without the operators before it.
    """

    __slots__ = ("rows_in", "rows_out", "runs", "seconds")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self.runs = self.rows_in = self.rows_out = 0
        self.seconds = 0.0

    def counting(self, push: Callable[..., Deltas]) -> Callable[..., Deltas]:
        """Return `push` with its work counted here."""

        def counted(*inputs: Deltas) -> Deltas:
            begin = perf_counter()
            out = push(*inputs)
            self.seconds += perf_counter() - begin
            self.runs += 1
            self.rows_in += sum(map(len, inputs))
            self.rows_out += len(out)
            return out

        return counted


class Step:
    """An operator in its place.

    Attributes:
        name: what it does, in one or two words.
        detail: says in text with what; called only when somebody asks.
        push: takes the deltas of one batch, one argument per input, and returns those of the output.
        inputs: the steps that it is fed by.
        reads: for a source: the relation. None for all others.
        meter: what was counted, or None where nobody asked.
    """

    __slots__ = ("detail", "inputs", "meter", "name", "push", "reads")

    def __init__(
        self,
        name: str,
        detail: Callable[[], str],
        push: Callable[..., Deltas],
        inputs: Sequence[Step] = (),
        *,
        reads: Any = None,
    ) -> None:
        self.name = name
        self.detail = detail
        self.push = push
        self.inputs = tuple(inputs)
        self.reads = reads
        self.meter: Meter | None = None

    def walk(self) -> Iterator[Step]:
        """Iterate over this step and all before it."""
        yield self
        for step in self.inputs:
            yield from step.walk()

    def measure(self, meter: Meter) -> None:
        """Count from now on. To be called once."""
        self.meter = meter
        self.push = meter.counting(self.push)
