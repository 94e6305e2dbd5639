"""When paced mutations are committed: windows of time, and a queue."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from .._errors import UsageError
from .._transactions.savepoint import savepoint
from .._transactions.transaction import Transaction, Tx
from .._transactions.work import Work

__all__ = ["Change", "PacedTx", "Pacer", "Queue", "Strategy", "Window"]

Change: TypeAlias = Callable[[Tx], object]


class Strategy(Protocol):
    """What `debounce`, `throttle` and `queue` return."""

    def _pacer(self, begin: Callable[[], PacedTx]) -> Pacer: ...


class Pacer(Protocol):
    """Decides for the calls of one client."""

    def call(self, change: Change) -> Tx:
        """Make the change in a transaction, or refuse it."""
        ...

    def stop(self) -> None:
        """Commit nothing any more."""
        ...


class PacedTx(Tx):
    """A transaction that its strategy commits, and nobody else."""

    def __init__(self, work: Work, mutation_fn: Callable[[Transaction[Any]], Awaitable[object]]) -> None:
        super().__init__(work, lambda: mutation_fn(self))

    def commit(self) -> None:
        raise UsageError("a paced transaction is committed by its strategy; use transact() to commit at once")

    @property
    def is_open(self) -> bool:
        """Whether it was neither sent nor rolled back."""
        return self.state == "pending"

    def send(self) -> None:
        """Commit it, unless it was rolled back meanwhile."""
        if self.is_open:
            self._work.commit(self._server_fn)

    def change(self, change: Change) -> None:
        """Stage one call. If it raises, what it staged is undone, and what earlier calls staged stays."""
        try:
            with savepoint(self._work):
                change(self)
        except BaseException as error:
            if not self.mutations:
                self._work.fail(
                    error if isinstance(error, Exception) else self._work.problem("interrupted"), report=False
                )
            raise

    def refuse(self, reason: str) -> None:
        """Fail it: its call is not taken."""
        self._work.fail(self._work.problem(f"was not taken: {reason}"), report=False)


@dataclass(frozen=True, slots=True)
class Window:
    """`debounce` and `throttle`: the calls in a window of time are one transaction.

    Attributes:
        name: for errors.
        wait: length of the window in seconds.
        leading: whether the call that opens a window is committed at once.
        trailing: whether calls in an open window are taken, and committed at its end.
        is_extended: whether each call makes the window begin anew.
    """

    name: str
    wait: float
    leading: bool
    trailing: bool
    is_extended: bool

    def __post_init__(self) -> None:
        if not self.wait > 0:
            raise UsageError(f"{self.name}: wait is in seconds and positive, not {self.wait!r}")
        if not (self.leading or self.trailing):
            raise UsageError(f"{self.name}: with neither leading nor trailing nothing would ever be committed")

    def _pacer(self, begin: Callable[[], PacedTx]) -> Pacer:
        return _WindowPacer(self, begin)


class _WindowPacer:
    """While the timer runs, a window is open: calls in it wait for its end."""

    def __init__(self, rule: Window, begin: Callable[[], PacedTx]) -> None:
        self._rule = rule
        self._begin = begin
        self._waiting: PacedTx | None = None
        self._timer: asyncio.TimerHandle | None = None

    def call(self, change: Change) -> Tx:
        rule, in_window = self._rule, self._timer is not None
        if in_window and not rule.trailing:
            tx = self._begin()
            tx.refuse(f"{rule.name} takes one call in {rule.wait:g} s")
        else:
            tx = self._waiting if self._waiting is not None and self._waiting.is_open else self._begin()
            tx.change(change)
            if rule.leading and not in_window:
                tx.send()
            else:
                self._waiting = tx
        if rule.is_extended or not in_window:
            self._open_window()
        return tx

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _open_window(self) -> None:
        self.stop()
        self._timer = asyncio.get_running_loop().call_later(self._rule.wait, self._due)

    def _due(self) -> None:
        self._timer = None
        tx, self._waiting = self._waiting, None
        if tx is not None and tx.is_open:
            if not self._rule.is_extended:
                # The commit counts, so the next call waits as well.
                self._open_window()
            tx.send()


@dataclass(frozen=True, slots=True)
class Queue:
    """`queue`: one transaction after another; the attributes are its arguments."""

    wait: float
    max_size: int | None

    def _pacer(self, begin: Callable[[], PacedTx]) -> Pacer:
        return _QueuePacer(self, begin)


class _QueuePacer:
    def __init__(self, rule: Queue, begin: Callable[[], PacedTx]) -> None:
        self._rule = rule
        self._begin = begin
        self._waiting: deque[PacedTx] = deque()
        self._is_busy = False

    def call(self, change: Change) -> Tx:
        tx = self._begin()
        waiting = sum(other.is_open for other in self._waiting)
        if self._rule.max_size is not None and waiting >= self._rule.max_size:
            tx.refuse(f"{waiting} wait already")
            return tx
        tx.change(change)
        if self._is_busy:
            self._waiting.append(tx)
        else:
            self._is_busy = True
            tx.send()
            tx._work.client.start(self._follow(tx), "tanstack-db queue of mutations")
        return tx

    def stop(self) -> None:
        self._waiting.clear()

    async def _follow(self, tx: PacedTx) -> None:
        try:
            await self._settled(tx)
            while self._waiting:
                tx = self._waiting.popleft()
                if tx.is_open:
                    tx.send()
                    await self._settled(tx)
        finally:
            self._is_busy = False

    async def _settled(self, tx: PacedTx) -> None:
        await tx._work.settled()
        await asyncio.sleep(self._rule.wait)
