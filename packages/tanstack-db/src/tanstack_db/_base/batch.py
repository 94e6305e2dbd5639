"""Batches in two phases: first every derived result is brought up to date, then the world is told.

A batch is one ``mutate``, one sync commit, or one block of them. Inside it collections change at once; nothing derived
runs and nobody is told. When the outermost batch ends, the scheduler

1. runs every touched node in order of rank, so that a live query sees all of its sources' deltas together and runs
   once, whatever the shape of the graph (a diamond does not run its lower corner twice);
2. publishes every node that ran, in the same order. No subscriber is told before every node has settled, so nobody
   reads half of a batch.

What a subscriber writes during phase 2 becomes a batch of its own, run after everybody heard of this one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from typing import cast

__all__ = ["Node", "Scheduler"]


class Node(ABC):
    """Something that takes part in batches: a collection or a live query.

    Attributes:
        rank: 0 for a collection, one more than the highest rank it reads for anything derived.
        is_scheduled: whether it waits to be run in this batch; the scheduler's.
    """

    rank: int = 0
    is_scheduled: bool = False

    @abstractmethod
    def run(self) -> None:
        """Phase 1: settle this node's own state and hand its net deltas to the sinks attached to it.

        It must not raise: a node whose user code fails turns that into its own error state.
        """

    @abstractmethod
    def publish(self) -> None:
        """Phase 2: tell subscribers. May raise an ``ExceptionGroup`` after all of them were told."""


class _Block:
    """One batch block. It has no state of its own, so one object serves them all."""

    __slots__ = ("_scheduler",)

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def __enter__(self) -> None:
        self._scheduler.depth += 1

    def __exit__(self, *_: object) -> None:
        self._scheduler.leave()


class Scheduler:
    """Orders the nodes of one `DbClient`; nothing is shared between clients.

    Not thread-safe: one event loop owns a client and everything in it.

    Args:
        report: gets what subscribers raise, after all of them were told. The data stays applied.

    Attributes:
        depth: how many batches are open, one inside the other. One more opens a batch; `leave` must follow.
    """

    def __init__(self, report: Callable[[Exception], object]) -> None:
        self.depth = 0
        self._report = report
        self._is_flushing = False
        self._scheduled: list[list[Node]] = [[]]
        """The nodes to be run, by rank."""
        self._is_due = False
        self._block = _Block(self)

    @property
    def is_batching(self) -> bool:
        """Whether a batch is open or being flushed."""
        return self.depth > 0 or self._is_flushing

    def batch(self) -> AbstractContextManager[None]:
        """Group writes; leaving the outermost block flushes, also when the body raised."""
        return self._block

    def leave(self) -> None:
        """Close a batch; the outermost one flushes."""
        self.depth -= 1
        if self._is_due and not self.depth and not self._is_flushing:
            self._flush()

    def schedule(self, node: Node) -> None:
        """Run `node` in this batch. Outside a batch, open one around the write first."""
        if node.is_scheduled:
            return
        node.is_scheduled = self._is_due = True
        try:
            self._scheduled[node.rank].append(node)
        except IndexError:
            self._scheduled += [[] for _ in range(len(self._scheduled), node.rank + 1)]
            self._scheduled[node.rank].append(node)

    def _flush(self) -> None:
        errors: list[Exception] = []
        self._is_flushing = True
        try:
            while self._is_due:
                settled: list[Node] = []
                while self._is_due:
                    # By rank. A list grows while it is walked, so the walk comes to what is scheduled meanwhile.
                    for nodes in self._scheduled:
                        for node in nodes:
                            node.is_scheduled = False
                            node.run()
                        settled += nodes
                        nodes.clear()
                    # But for what is of a lower rank than the node that scheduled it.
                    self._is_due = any(self._scheduled)
                for node in settled:
                    try:
                        node.publish()
                    except Exception as error:  # noqa: BLE001 -- one subscriber's failure is not another's
                        errors.append(error)
        finally:
            self._is_flushing = False
        for failure in errors:
            for leaf in _leaves(failure):
                self._report(leaf)


def _leaves(error: Exception) -> Generator[Exception, None, None]:
    if isinstance(error, ExceptionGroup):
        for part in cast("ExceptionGroup[Exception]", error).exceptions:
            yield from _leaves(part)
    else:
        yield error
