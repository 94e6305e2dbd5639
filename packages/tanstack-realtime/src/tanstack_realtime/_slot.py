"""Where a collection finds the realtime client of its `DbClient`, now or later."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tanstack_db import DbClient

from ._errors import ConfigurationError

if TYPE_CHECKING:
    from ._client import RealtimeClient

__all__ = ["ClientSlot", "client_slot"]


class ClientSlot:
    """Holds the realtime client of one `DbClient`, of which there is at most one at a time.

    Closing the `DbClient` closes its realtime client.
    """

    def __init__(self, db: DbClient) -> None:
        db.on_close(self._close)
        self._client: RealtimeClient | None = None
        self._callbacks: dict[object, Callable[[RealtimeClient | None], object]] = {}

    @property
    def client(self) -> RealtimeClient | None:
        """The client, or None while there is none."""
        return self._client

    def subscribe(self, callback: Callable[[RealtimeClient | None], object], /) -> Callable[[], None]:
        """Call `callback` when a client comes, and with None when it is closed; not now.

        Returns:
            The function that stops it. Idempotent.
        """
        token = object()
        self._callbacks[token] = callback

        def stop() -> None:
            self._callbacks.pop(token, None)

        return stop

    def attach(self, client: RealtimeClient, /) -> None:
        """Put a client in.

        Raises:
            ConfigurationError: there is one.
        """
        if self._client is not None:
            raise ConfigurationError(
                "this DbClient has a realtime client already; close it first, or create the second one with "
                "db=DbClient()",
                reason="the DbClient has a realtime client",
            )
        self._tell(client)

    def detach(self, client: RealtimeClient, /) -> None:
        """Take a client out, if it is the one that is in."""
        if self._client is client:
            self._tell(None)

    async def _close(self) -> None:
        if self._client is not None:
            await self._client.shut_down()

    def _tell(self, client: RealtimeClient | None) -> None:
        self._client = client
        for token, callback in list(self._callbacks.items()):
            if token in self._callbacks:
                callback(client)


def client_slot(db: DbClient, /) -> ClientSlot:
    """Return the slot of `db`."""
    return db.service(ClientSlot, ClientSlot)
