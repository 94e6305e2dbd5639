"""An observer that cannot hurt what it observes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tanstack_realtime._errors import RealtimeError

from ._preset import ServerObserver

if TYPE_CHECKING:
    from ._preset import Publication

__all__ = ["GuardedObserver"]


class GuardedObserver(ServerObserver):
    """Passes every call on, and what the application's observer raises to `report`."""

    def __init__(self, inner: ServerObserver, report: Callable[[RealtimeError], None]) -> None:
        self._inner = inner
        self._report = report

    def _guard(self, call: Callable[..., None], *arguments: object) -> None:
        try:
            call(*arguments)
        except Exception as error:  # noqa: BLE001 -- an observer may raise anything; it must not end a connection
            name = getattr(call, "__name__", call)
            failure = RealtimeError(f"observer.{name} raised {error!r}", code="observer_failed")
            failure.__cause__ = error
            self._report(failure)

    def connected(self, connection_id: str, user_id: str) -> None:
        self._guard(self._inner.connected, connection_id, user_id)

    def disconnected(self, connection_id: str, user_id: str, code: int) -> None:
        self._guard(self._inner.disconnected, connection_id, user_id, code)

    def denied(self, user_id: str | None, channel: str | None, error: RealtimeError) -> None:
        self._guard(self._inner.denied, user_id, channel, error)

    def published(self, publication: Publication) -> None:
        self._guard(self._inner.published, publication)

    def subscribed(self, connection_id: str, user_id: str, channel: str, recovered: bool | None) -> None:
        self._guard(self._inner.subscribed, connection_id, user_id, channel, recovered)

    def dropped(self, user_id: str, channel: str, count: int) -> None:
        self._guard(self._inner.dropped, user_id, channel, count)

    def presence_joined(self, connection_id: str, user_id: str, channel: str) -> None:
        self._guard(self._inner.presence_joined, connection_id, user_id, channel)

    def presence_left(self, connection_id: str, user_id: str, channel: str) -> None:
        self._guard(self._inner.presence_left, connection_id, user_id, channel)

    def channel_opened(self, channel: str) -> None:
        self._guard(self._inner.channel_opened, channel)

    def channel_emptied(self, channel: str) -> None:
        self._guard(self._inner.channel_emptied, channel)
