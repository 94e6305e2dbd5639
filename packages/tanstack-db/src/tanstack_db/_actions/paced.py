"""`create_paced_mutations`: every call is shown at once, and the server is told when a strategy says so.

``debounce``
    A burst of calls is one transaction. It is committed when there was no call for ``wait`` seconds.
``throttle``
    At most one commit per ``wait`` seconds; the calls between two commits are one transaction.
``queue``
    Every call is a transaction of its own. They are committed one after another.

With ``leading`` the first call of a burst is committed at once; without ``trailing`` the others are not taken.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import isawaitable, iscoroutine
from typing import Any, Concatenate, Generic, ParamSpec

from .._collections.client import DbClient, current_client
from .._errors import UsageError
from .._transactions.transaction import Transaction, Tx, require_loop
from .._transactions.work import Work
from .optimistic import require_plain
from .pacing import PacedTx, Pacer, Queue, Strategy, Window

__all__ = ["PacedMutations", "Strategy", "create_paced_mutations", "debounce", "queue", "throttle"]

P = ParamSpec("P")


class PacedMutations(Generic[P]):
    """A function whose calls are shown at once and sent at a pace. Make one with `create_paced_mutations`."""

    def __init__(
        self,
        on_mutate: Callable[Concatenate[Tx, P], object],
        mutation_fn: Callable[[Transaction[Any]], Awaitable[object]],
        strategy: Strategy,
    ) -> None:
        self._on_mutate = on_mutate
        self._mutation_fn = mutation_fn
        self._strategy = strategy
        self._pacers: dict[DbClient, Pacer] = {}

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Transaction[Any]:
        """Change the rows now.

        Returns:
            The transaction that the call is part of. One that the strategy did not take has failed already, and showed
            nothing.

        Raises:
            Exception: what ``on_mutate`` raised. Only this call's changes are undone.
            NoRunningLoopError: no event loop runs. Nothing was changed.
        """
        require_loop("a paced mutation")
        client = current_client()
        pacer = self._pacers.get(client) or self._new_pacer(client)

        def change(tx: Tx) -> None:
            result = self._on_mutate(tx, *args, **kwargs)
            if isawaitable(result):
                if iscoroutine(result):
                    result.close()
                raise UsageError(
                    "on_mutate returned a coroutine; it must be a plain function, and await in mutation_fn"
                )

        with client.batch():
            return pacer.call(change)

    def _new_pacer(self, client: DbClient) -> Pacer:
        def begin() -> PacedTx:
            return PacedTx(Work(client, optimistic=True, metadata=None), self._mutation_fn)

        pacer = self._pacers[client] = self._strategy._pacer(begin)

        def closed() -> None:
            del self._pacers[client]
            pacer.stop()

        client.on_close(closed)
        return pacer


def create_paced_mutations(
    *,
    on_mutate: Callable[Concatenate[Tx, P], object],
    mutation_fn: Callable[[Transaction[Any]], Awaitable[object]],
    strategy: Strategy,
) -> PacedMutations[P]:
    """Make a function for changes that come quicker than a server should hear of them: a slider, a text, a drag.

    Args:
        on_mutate: a plain function that makes the changes with the transaction that it gets, shown at once.
        mutation_fn: a coroutine function that tells the server about all mutations of a transaction, in place of the
            collections' handlers.
        strategy: `debounce`, `throttle` or `queue`.

    Returns:
        A function that takes the arguments of `on_mutate` after the first. Each session has its own pace.

    Example:
        >>> def show(tx: Tx, key: str, volume: int) -> None:
        ...     tx.update(speakers, key, volume=volume)
        >>> set_volume = create_paced_mutations(on_mutate=show, mutation_fn=save, strategy=debounce(0.5))
        >>> set_volume("kitchen", 11)

    Raises:
        UsageError: `on_mutate` is a coroutine function.
    """
    require_plain(on_mutate)
    return PacedMutations(on_mutate, mutation_fn, strategy)


def debounce(wait: float, *, leading: bool = False, trailing: bool = True) -> Strategy:
    """Commit when there was no call for `wait` seconds.

    Args:
        wait: seconds.
        leading: commit the first call of a burst at once.
        trailing: commit the calls after that at the end of the burst; False: do not take them.

    Raises:
        UsageError: a `wait` that is not positive, or neither leading nor trailing.
    """
    return Window("debounce", wait, leading, trailing, is_extended=True)


def throttle(wait: float, *, leading: bool = True, trailing: bool = True) -> Strategy:
    """Commit at most once in `wait` seconds.

    Args:
        wait: seconds.
        leading: commit a call at once when there was no commit in the last `wait` seconds.
        trailing: commit the calls in between at the end of that time; False: do not take them.

    Raises:
        UsageError: a `wait` that is not positive, or neither leading nor trailing.
    """
    return Window("throttle", wait, leading, trailing, is_extended=False)


def queue(wait: float = 0.0, *, max_size: int | None = None) -> Strategy:
    """Commit every call on its own, each when the one before has been settled.

    When one fails, those that wait and change the same rows fail with it.

    Args:
        wait: seconds from the end of one to the beginning of the next.
        max_size: how many may wait; a call beyond that is not taken. None: any number.

    Raises:
        UsageError: a negative `wait`, or a `max_size` below 1.
    """
    if not wait >= 0:
        raise UsageError(f"queue: wait is in seconds and not negative, not {wait!r}")
    if max_size is not None and max_size < 1:
        raise UsageError(f"queue: max_size must be at least 1, or None for any number, not {max_size!r}")
    return Queue(wait, max_size)
