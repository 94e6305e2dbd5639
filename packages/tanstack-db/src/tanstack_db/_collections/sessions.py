"""`session_client`: a client for one session of a process that renders for many users."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast
from weakref import WeakSet

from .._errors import UsageError
from .client import DbClient, default_client, require_sessions

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["session_client"]

_given: WeakSet[DbClient] = WeakSet()


def session_client(factory: Callable[[], DbClient], provider: str) -> DbClient:
    """Make the client of a session.

    From the first one on, module-level collections cannot be used without a session in this process, as if
    `require_sessions` had been called.

    Args:
        factory: makes a new client for each session.
        provider: who asks for it, for errors.

    Raises:
        UsageError: `factory` is a client, or returned one that another session has.
    """
    why = "each session needs its own: with a shared one, a user would see the optimistic rows of others"
    given: object = factory
    if isinstance(given, DbClient) or not callable(given):
        raise UsageError(f"{provider} takes a function that makes a client, not {given!r}: {why}")
    made = cast("object", given())
    if not isinstance(made, DbClient):
        raise UsageError(f"{provider}: the function must return a DbClient, not {made!r}")
    if made in _given or made is default_client():
        raise UsageError(f"{provider}: the function returned a client that is used already: {why}")
    _given.add(made)
    require_sessions()
    return made
