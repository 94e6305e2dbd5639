"""`session_realtime`: a connection for one session of a process that renders for many users."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from ._client import RealtimeClient
from ._errors import ConfigurationError
from ._slot import client_slot

if TYPE_CHECKING:
    from tanstack_db import DbClient

__all__ = ["session_realtime"]


def session_realtime(factory: Callable[[], RealtimeClient], db: DbClient, provider: str) -> RealtimeClient:
    """Make the realtime client of a session.

    Args:
        factory: makes it; the session is the active one meanwhile.
        db: the client of the session's collections.
        provider: who asks for it, for errors.

    Raises:
        ConfigurationError: `factory` is a client, or returned one that is not this session's.
    """
    given: object = factory
    if isinstance(given, RealtimeClient) or not callable(given):
        raise ConfigurationError(
            f"{provider} takes a function that makes a client, not {given!r}: each session needs its own, or "
            "all users would be one user to the server",
            reason="a shared client",
        )
    with db.activate():
        made = cast("object", given())
    if not isinstance(made, RealtimeClient):
        raise ConfigurationError(
            f"{provider}: the function must return a RealtimeClient, not {made!r}", reason="no client"
        )
    if made.db is not db or client_slot(db).client is not made:
        raise ConfigurationError(
            f"{provider}: the function returned a client that serves other collections than this session's; call "
            "create_realtime_client(...) in it, without db=",
            reason="a client of another session",
        )
    return made
