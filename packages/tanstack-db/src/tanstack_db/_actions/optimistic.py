"""`create_optimistic_action`: a function that shows a change at once and tells the server about it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from inspect import iscoroutinefunction
from typing import Any, Concatenate, ParamSpec

from .._collections.client import current_client
from .._errors import UsageError
from .._transactions.transaction import Tx

__all__ = ["create_optimistic_action", "require_plain"]

P = ParamSpec("P")


def create_optimistic_action(
    *,
    on_mutate: Callable[Concatenate[Tx, P], object],
    mutation_fn: Callable[P, Awaitable[object]],
    optimistic: bool = True,
    metadata: Mapping[str, Any] | None = None,
) -> Callable[P, Tx]:
    """Make a function out of what to show and how to tell the server; see `transact`.

    Args:
        on_mutate: a plain function that makes the changes with the transaction that it gets, guessing what the server
            will do. If it raises, nothing is changed.
        mutation_fn: a coroutine function that tells the server; called with the same arguments, in place of the
            collections' handlers. `current_transaction` gives it the transaction.
        optimistic: False shows nothing before the server has it.
        metadata: goes into every mutation.

    Returns:
        A function that takes the arguments of `mutation_fn` and returns the transaction. It works with the rows of the
        session that is active when it is called.

    Example:
        >>> def show(tx: Tx, key: str) -> None:
        ...     tx.update(todos, key, done=True)
        >>> finish = create_optimistic_action(on_mutate=show, mutation_fn=api.finish_todo)
        >>> await finish("t1").persisted()

    Raises:
        UsageError: `on_mutate` is a coroutine function.
    """
    require_plain(on_mutate)

    def action(*args: P.args, **kwargs: P.kwargs) -> Tx:
        return current_client().transact(
            lambda tx: on_mutate(tx, *args, **kwargs),
            lambda: mutation_fn(*args, **kwargs),
            optimistic=optimistic,
            metadata=metadata,
        )

    return action


def require_plain(on_mutate: Callable[..., object]) -> None:
    """Refuse what would change rows later, when others have seen half of it."""
    if iscoroutinefunction(on_mutate):
        raise UsageError(
            "on_mutate must be a plain function, since its changes are shown at once; await in mutation_fn"
        )
