"""`use_session`: a component that owns a client for as long as it is mounted."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from .._collections.client import DbClient, default_client
from .._collections.sessions import session_client

if TYPE_CHECKING:
    from ._runtime import Cleanup, Runtime

__all__ = ["use_session"]


class _Session:
    """The client of one mounted provider; the key of the effect that closes it."""

    def __init__(self, client: DbClient) -> None:
        self.client = client
        self._is_mounted = False

    def mount(self) -> Cleanup:
        self._is_mounted = True
        return self._unmount

    def _unmount(self) -> None:
        self._is_mounted = False
        # The process outlives the session: its own client cancels and awaits this where it ends first.
        default_client().start(self._close(), "close the client of a session")

    async def _close(self) -> None:
        if not self._is_mounted:  # it may have been mounted again at once
            await self.client.close()


def use_session(runtime: Runtime, factory: Callable[[], DbClient], provider: str) -> DbClient:
    """Make a client when the component is first rendered, and close it when it is unmounted.

    From the first one on, module-level collections cannot be used without a session in this process, as if
    `require_sessions` had been called: it renders for many users.

    Args:
        factory: makes a new client for each session.
        provider: the provider's name, for errors.

    Raises:
        UsageError: `factory` is a client, or returned one that another session has.
    """
    place = runtime.use_ref()
    session = cast("_Session | None", place.current)
    if session is None:
        session = place.current = _Session(session_client(factory, provider))
    runtime.use_effect(session.mount, session)
    return session.client
