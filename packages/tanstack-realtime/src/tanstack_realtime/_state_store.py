"""`StateStore`: keeps what a client shows of itself up to date."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from tanstack_store import Derived, Readable, Store

from ._connection_events import Emit
from ._presence_hub import PresenceHub
from ._state import PresenceInfo, RealtimeState, SubscriptionInfo
from ._subscriptions import SubscriptionHub

__all__ = ["StateStore"]


class StateStore:
    """A store of one `RealtimeState`.

    Args:
        hub: has the channels.
        presence: has the rooms.
        report: gets what subscribers of the store raise.

    Attributes:
        store: the state, to be read and subscribed to.
    """

    def __init__(self, hub: SubscriptionHub, presence: PresenceHub, report: Callable[[Exception], object]) -> None:
        self._hub = hub
        self._presence = presence
        self._report = report
        self._store = Store(RealtimeState())
        self.store: Final[Readable[RealtimeState]] = Derived(lambda: self._store.state, deps=[self._store])
        self._refreshing: asyncio.Handle | None = None

    @property
    def state(self) -> RealtimeState:
        """The present state."""
        return self._store.state

    def show(self, status: Emit, *, connection_id: str | None, user_id: str | None) -> None:
        """Show another status of the connection.

        Args:
            status: what the machine says. Needs a running loop where it tells when to retry.
            connection_id: of the present link.
            user_id: who the server says we are, or were last.
        """
        retry_at = None
        if status.retry_in is not None:
            retry_at = asyncio.get_running_loop().time() + status.retry_in
        self._set(
            RealtimeState(
                status=status.status,
                reason=status.reason,
                attempt=status.attempt,
                retry_at=retry_at,
                connection_id=connection_id if status.status == "connected" else None,
                user_id=user_id,
                subscriptions=self._subscriptions(),
                presence=self._rooms(),
            )
        )

    def refresh_soon(self) -> None:
        """A channel or a room is another than before. Shown once per turn of the loop: a reconnect changes all."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._refresh()
            return
        if self._refreshing is None:
            self._refreshing = loop.call_soon(self._refresh)

    def close(self) -> None:
        """Show the last changes now."""
        if self._refreshing is not None:
            self._refreshing.cancel()
        self._refresh()

    def _refresh(self) -> None:
        self._refreshing = None
        self._set(replace(self._store.state, subscriptions=self._subscriptions(), presence=self._rooms()))

    def _subscriptions(self) -> Mapping[str, SubscriptionInfo]:
        return MappingProxyType(
            {
                channel: SubscriptionInfo(state, listeners, None if error is None else error.reason)
                for channel, (state, listeners, error) in self._hub.snapshot().items()
            }
        )

    def _rooms(self) -> Mapping[str, PresenceInfo]:
        return MappingProxyType(
            {
                channel: PresenceInfo(
                    machine.status,
                    len(machine.others),
                    machine.state is not None,
                    None if machine.error is None else machine.error.reason,
                )
                for channel, room in self._presence.rooms.items()
                for machine in (room.machine,)
            }
        )

    def _set(self, state: RealtimeState) -> None:
        try:
            self._store.set_state(state)
        except ExceptionGroup as group:
            for error in group.exceptions:
                self._report(error)
