"""`Publishing`: how a client's messages get out, and how many did."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from ._connection import Phase
from ._driver import ConnectionDriver
from ._endpoint import Endpoint
from ._errors import NotConnectedError
from ._observe import Observer
from ._state_store import StateStore
from ._subscriptions import SubscriptionHub
from ._transport import JSON, EagerLink, Inbound, Link, RealtimeTransport

__all__ = ["Publishing"]

_WITHIN: Final = 30.0
"""Seconds until a publish without an answer counts as lost."""

_WAIT_FOR_CONNECTION: Final = 10.0
"""Seconds that a publish waits for a connection that is on its way."""


class Publishing:
    """Publishes over the connection or through the server's route, as the caller chooses.

    Args:
        transport: says whether the provider sends a client its own messages back.
        driver: has the link.
        endpoint: the server's routes.
        hub: has the listeners, who hear of the client's own messages too.
        state: knows why there is no connection.
        observer: hears of every message that was sent or failed.

    Attributes:
        published: messages that the server accepted.
        failed: messages that it did not, tries counted one by one.
    """

    def __init__(
        self,
        transport: RealtimeTransport,
        driver: ConnectionDriver,
        endpoint: Endpoint,
        hub: SubscriptionHub,
        state: StateStore,
        observer: Observer,
    ) -> None:
        self.published = 0
        self.failed = 0
        self._transport = transport
        self._driver = driver
        self._endpoint = endpoint
        self._hub = hub
        self._state = state
        self._observer = observer
        self._link: Link | None = None
        self._eager: EagerLink | None = None

    async def over_link(self, channel: str, data: JSON) -> None:
        """Publish over the connection; wait for one that is on its way. See `RealtimeClient.publish`."""
        await self._link_there(f"publish to {channel!r}")
        await self._send(channel, data, lambda link: link.publish(channel, data))

    def begin(self, channel: str, data: JSON) -> Callable[[], Awaitable[None]] | None:
        """Write to the connection at once, if that can be. See `RealtimeClient.begin_publish`."""
        link = self._driver.link
        if link is None or self._driver.machine.phase is not Phase.CONNECTED:
            return None
        if link is not self._link:
            # Once per link: to ask for a protocol's methods takes as long as to write a message.
            self._link, self._eager = link, link if isinstance(link, EagerLink) else None
        answered = None if self._eager is None else self._eager.begin_publish(channel, data)
        return None if answered is None else lambda: self._send(channel, data, lambda _: answered())

    async def over_http(self, channel: str, data: JSON) -> None:
        """Publish through the server's route. See `RealtimeClient.publish_via_http`."""
        await self._counted(channel, data, self._endpoint.publish(channel, data))

    async def _link_there(self, what: str) -> None:
        if self._driver.link is not None:
            return
        machine = self._driver.machine
        if machine.phase in (Phase.IDLE, Phase.REFUSED):
            why = machine.refusal.reason if machine.refusal is not None else "connect() was not called"
            raise NotConnectedError(f"{what}: not connected, {why}; nothing was sent", reason=why)
        try:
            async with asyncio.timeout(_WAIT_FOR_CONNECTION):
                await self._driver.connected()
        except TimeoutError as error:
            why = self._state.state.reason or "no answer yet"
            raise NotConnectedError(
                f"{what}: no connection within {_WAIT_FOR_CONNECTION:g} s ({why}); nothing was sent", reason=why
            ) from error

    async def _send(self, channel: str, data: JSON, call: Callable[[Link], Awaitable[None]]) -> None:
        sending = self._driver.request(f"publish to {channel!r}", call, deadline=_WITHIN)
        await self._counted(channel, data, sending)
        if not self._transport.capabilities.echo:
            self._hub.message(channel, Inbound(data, own=True, user_id=self._driver.machine.user_id))

    async def _counted(self, channel: str, data: JSON, sending: Awaitable[None]) -> None:
        clock = asyncio.get_running_loop().time
        started = clock()
        try:
            await sending
        except Exception as error:
            self.failed += 1
            self._observer.published(channel, data, clock() - started, error)
            raise
        self.published += 1
        self._observer.published(channel, data, clock() - started, None)
