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
from contextlib import AbstractContextManager
from heapq import heappop, heappush

__all__ = ["Node", "Scheduler"]


class Node(ABC):
    """Something that takes part in batches: a collection or a live query.

    Attributes:
        rank: 0 for a collection, one more than the highest rank it reads for anything derived.
    """

    rank: int = 0

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
        self._scheduler.enter()

    def __exit__(self, *_: object) -> None:
        self._scheduler.leave()


class Scheduler:
    """Orders the nodes of one `DbClient`; nothing is shared between clients.

    Not thread-safe: one event loop owns a client and everything in it.
    """

    def __init__(self) -> None:
        self._depth = 0
        self._flushing = False
        self._heap: list[tuple[int, int, Node]] = []
        self._queued: set[Node] = set()
        self._sequence = 0
        self._block = _Block(self)

    @property
    def is_batching(self) -> bool:
        """Whether a batch is open or being flushed."""
        return self._depth > 0 or self._flushing

    def batch(self) -> AbstractContextManager[None]:
        """Group writes; leaving the outermost block flushes, also when the body raised.

        Raises:
            ExceptionGroup: what subscribers raised, after all of them were told. The data stays applied.
        """
        return self._block

    def enter(self) -> None:
        """Open a batch; `leave` must follow."""
        self._depth += 1

    def leave(self) -> None:
        """Close a batch; the outermost one flushes. Raises as `batch` does."""
        self._depth -= 1
        if self._depth == 0 and not self._flushing:
            self._flush()

    def schedule(self, node: Node) -> None:
        """Run `node` in this batch. Outside a batch, open one around the write first."""
        if node not in self._queued:
            self._queued.add(node)
            self._sequence += 1
            heappush(self._heap, (node.rank, self._sequence, node))

    def _flush(self) -> None:
        errors: list[Exception] = []
        self._flushing = True
        try:
            while self._heap:
                settled: list[Node] = []
                while self._heap:
                    node = heappop(self._heap)[2]
                    self._queued.discard(node)
                    node.run()
                    settled.append(node)
                for node in settled:
                    try:
                        node.publish()
                    except Exception as error:  # noqa: BLE001 -- one subscriber's failure is not another's
                        errors.append(error)
        finally:
            self._flushing = False
        if errors:
            raise ExceptionGroup("subscribers failed; the data stays applied", errors)
