"""`use_realtime_session`: a component that owns a connection for as long as it is mounted."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from tanstack_db import DbClient, default_client
from tanstack_db.hooks import use_session

from .._client import RealtimeClient
from .._sessions import session_realtime

if TYPE_CHECKING:
    from tanstack_db.hooks import Cleanup, Runtime

    from .._lifecycle import LifecycleSource

__all__ = ["use_realtime_session"]


class _Connection:
    """The realtime client of one mounted provider; the key of the effect that connects and closes it."""

    def __init__(
        self, client: RealtimeClient, *, auto_connect: bool, lifecycle: Callable[[], LifecycleSource] | None
    ) -> None:
        self.client = client
        self._auto_connect = auto_connect
        self._lifecycle = lifecycle
        self._is_mounted = False

    def mount(self) -> Cleanup:
        self._is_mounted = True
        stop = None if self._lifecycle is None else self.client.lifecycle.follow(self._lifecycle())
        if self._auto_connect:
            self.client.connect()

        def unmount() -> None:
            self._is_mounted = False
            if stop is not None:
                stop()
            # The process outlives the session: its own client cancels and awaits this where it ends first.
            default_client().start(self._close(), "close the realtime client of a session")

        return unmount

    async def _close(self) -> None:
        if not self._is_mounted:  # it may have been mounted again at once
            await self.client.close()


def use_realtime_session(
    runtime: Runtime,
    factory: Callable[[], RealtimeClient],
    *,
    auto_connect: bool = True,
    lifecycle: Callable[[], LifecycleSource] | None = None,
) -> RealtimeClient:
    """Make a realtime client when the component is first rendered, and close it when it is unmounted.

    It serves the collections of the session: of the ``DBProvider`` above, else of a session that begins here.

    Args:
        factory: makes a new client for each session; `create_realtime_client` in it takes the session's collections.
        auto_connect: whether it connects once the component is mounted.
        lifecycle: makes what tells the client that the user or the network is back.

    Returns:
        The client; `RealtimeClient.db` is what the components below are given.

    Raises:
        ConfigurationError: `factory` is a client, or returned one that is not the session's.
        UsageError: see `tanstack_db.hooks.use_session`.
    """
    above = runtime.use_client()
    # Providers do not change places, so that the hooks below are called at every render, or at none.
    db = use_session(runtime, DbClient, "RealtimeProvider") if above is None else above
    place = runtime.use_ref()
    connection = cast("_Connection | None", place.current)
    if connection is None:
        connection = place.current = _Connection(
            session_realtime(factory, db, "RealtimeProvider"), auto_connect=auto_connect, lifecycle=lifecycle
        )
    runtime.use_effect(connection.mount, connection)
    return connection.client
