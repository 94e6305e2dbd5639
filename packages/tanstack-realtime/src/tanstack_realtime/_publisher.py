"""`Publisher`: what a client's collections tell the others, sent by the way that the preset and the moment allow."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

from tanstack_db import DbClient

from ._client import RealtimeClient
from ._errors import NotConnectedError
from ._keys import parse_channel
from ._outbox import Outbox
from ._outcome import Outcome
from ._slot import ClientSlot, client_slot
from ._state import RealtimeState

__all__ = ["ClientWatch", "Publisher"]

_GRACE: Final = 2.0
"""Seconds that closing waits for messages to get out."""


class ClientChanged(Protocol):
    """Hears that a client is there, or no longer."""

    def __call__(self, *, attached: bool) -> None: ...


class ClientWatch:
    """Follows which realtime client a `DbClient` has, and who its user is.

    Args:
        slot: where the client is.
        client_changed: called now where there is one, and whenever one comes or goes.
        user_changed: called when another user is connected than before.
    """

    def __init__(self, slot: ClientSlot, *, client_changed: ClientChanged, user_changed: Callable[[], object]) -> None:
        self._client_changed = client_changed
        self._user_changed = user_changed
        self._stop_slot = slot.subscribe(self._update)
        self._stop_user: Callable[[], None] | None = None
        self._update(slot.client)

    def close(self) -> None:
        """Follow no longer."""
        self._stop_slot()
        self._forget_client()

    def _update(self, client: RealtimeClient | None) -> None:
        had_one = self._stop_user is not None
        self._forget_client()
        if client is not None:
            self._stop_user = client.on_user_change(self._user_changed)
        if had_one or client is not None:
            self._client_changed(attached=client is not None)

    def _forget_client(self) -> None:
        if self._stop_user is not None:
            self._stop_user()
            self._stop_user = None


class Publisher:
    """One per `DbClient`, shared by its collections, so that a collection that ends does not take its messages along.

    Without a realtime client nothing is published: the collections then are plain collections.
    """

    def __init__(self, db: DbClient) -> None:
        self._slot = client_slot(db)
        self._outbox = Outbox(begin=self._begin, send=self._send, report=db.report, random=random.random)
        self._stops: list[Callable[[], None]] = []
        self._watch = ClientWatch(self._slot, client_changed=self._client_changed, user_changed=self._outbox.clear)
        db.on_close(self._aclose)

    @staticmethod
    def of(db: DbClient) -> Publisher:
        """Return the client's publisher."""
        return db.service(Publisher, Publisher)

    def post(self, outcome: Outcome[Any]) -> None:
        """Publish what a transaction did, as soon as possible."""
        client = self._slot.client
        if client is None:
            return
        limit = client.capabilities.max_message_bytes
        for channel, message in outcome.messages(origin=client.origin, limit=limit).items():
            self._outbox.post(channel, message)

    def _begin(self, channel: str, message: Mapping[str, Any]) -> Callable[[], Awaitable[None]] | None:
        client = self._slot.client
        if client is None or not client.capabilities.publish_over_link:
            return None
        return client.begin_publish(channel, message)

    async def _send(self, channel: str, message: Mapping[str, Any]) -> None:
        client = self._slot.client
        if client is None:
            raise NotConnectedError(f"there is no realtime client any more to publish on {channel!r}", channel=channel)
        await _deliver(client, channel, message)

    def _client_changed(self, *, attached: bool) -> None:
        self._forget_client()
        client = self._slot.client
        if client is not None:
            self._stops = [
                client.store.subscribe(self._status_changed),
                client.before_close(lambda: self._outbox.drain(_GRACE)),
            ]

    def _forget_client(self) -> None:
        for stop in self._stops:
            stop()
        self._stops = []

    def _status_changed(self, _: RealtimeState) -> None:
        if self._slot.client is not None and self._slot.client.is_connected:
            self._outbox.wake()

    async def _aclose(self) -> None:
        self._watch.close()
        self._forget_client()
        await self._outbox.drain(_GRACE)


async def _deliver(client: RealtimeClient, channel: str, message: Mapping[str, Any]) -> None:
    to = parse_channel(channel)
    if client.is_connected and client.capabilities.publish_over_link:
        await client.publish(to, message)
    elif client.url is not None:
        await client.publish_via_http(to, message)
    else:
        raise NotConnectedError(f"not connected; the message for {channel!r} waits", channel=channel)
