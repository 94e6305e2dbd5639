"""`Explanation`: the operators of a live query, with the work that each of them did."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from .meter import Meter, Step
from .pipeline import Pipeline

__all__ = ["Explanation", "Operator", "first_run", "operator_of"]

_TITLES = ("operator", "runs", "rows in", "rows out", "ms")


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator of a query.

    Attributes:
        name: what it does: ``read``, ``where``, ``left join``, ``order``, ``select``, ``group``, …
        detail: with what.
        runs: batches that reached it, the first run included.
        rows_in: changed rows that it was given; in the first run all rows are.
        rows_out: changed rows that it handed on.
        seconds: time that it took, without the operators before it.
        inputs: the operators that feed it. That of ``read`` is what another query is made of, if it reads one.
    """

    name: str
    detail: str
    runs: int
    rows_in: int
    rows_out: int
    seconds: float
    inputs: tuple[Operator, ...] = ()

    def walk(self) -> Iterator[Operator]:
        """Iterate over this operator and all before it, from the result to the sources."""
        yield self
        for operator in self.inputs:
            yield from operator.walk()


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a live query is made of, and what that did so far. ``str()`` gives a table.

    Attributes:
        root: the operator that gives the result; its `inputs` lead to the sources.
    """

    root: Operator

    @property
    def operators(self) -> tuple[Operator, ...]:
        """All operators, from the result to the sources, as the table lists them."""
        return tuple(self.root.walk())

    def __str__(self) -> str:
        lines = [_TITLES, *_lines(self.root, "", "")]
        first, *others = (max(map(len, column)) for column in zip(*lines, strict=True))

        def line(tree: str, *cells: str) -> str:
            figures = (cell.rjust(width) for cell, width in zip(cells, others, strict=True))
            return "  ".join([tree.ljust(first), *figures])

        return "\n".join(line(*cells) for cells in lines)


def operator_of(step: Step, explained: Callable[[object], Operator | None]) -> Operator:
    """Return what is known about a step and those before it.

    Args:
        step: a step that is measured.
        explained: gives the last operator of a relation that is the result of another query, None for others.
    """
    assert step.meter is not None, "only a measured step has figures"
    meter = step.meter
    inputs = [operator_of(before, explained) for before in step.inputs]
    if step.reads is not None and (read := explained(step.reads)) is not None:
        inputs.append(read)
    return Operator(step.name, step.detail(), meter.runs, meter.rows_in, meter.rows_out, meter.seconds, tuple(inputs))


def first_run(pipeline: Pipeline, sources: int) -> Sequence[Meter]:
    """Run a query once more, beside the one that runs, and return what that has cost.

    Args:
        pipeline: that of the query, made for this.
        sources: how many it has.
    """
    meters = pipeline.measure()
    stops = [pipeline.attach(index, _nobody, _nobody) for index in range(sources)]
    try:
        pipeline.load()
    except Exception:  # noqa: BLE001 -- it is `error` of the query already, and what was done until then is to be seen
        return meters
    finally:
        for stop in stops:
            stop()
    return meters


def _nobody(_: object) -> None:
    """Keep what is shared of a source, and take nothing."""


def _lines(operator: Operator, lead: str, below: str) -> Iterator[tuple[str, ...]]:
    """Return the lines of a tree: `lead` stands before its first line, `below` before the others."""
    figures = (operator.runs, operator.rows_in, operator.rows_out)
    yield (f"{lead}{operator.name} {operator.detail}", *map(str, figures), f"{operator.seconds * 1000:.3f}")
    for other in operator.inputs[:-1]:
        yield from _lines(other, f"{below}├─ ", f"{below}│  ")
    for last in operator.inputs[-1:]:
        yield from _lines(last, f"{below}└─ ", f"{below}   ")
