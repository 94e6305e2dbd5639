"""What a client tells an observer: a small protocol, and the wrapper that keeps an observer from disturbing anything.

The server half has its counterpart, `tanstack_realtime.server.ServerObserver`. Metrics and traces are one
implementation of both: `tanstack_realtime.opentelemetry`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from ._errors import RealtimeError
from ._transport import JSON

__all__ = ["GuardedObserver", "Observer"]

T = TypeVar("T")


class Observer:
    """Hears what happens in a client. Every method does nothing; override the ones you want.

    Calls are synchronous and on the client's loop, so a method must be quick. What it raises reaches `on_error` and
    nothing else.
    """

    def connected(self, connection_id: str, user_id: str | None) -> None:
        """The connection can be used: authenticated, and every channel answered."""

    def disconnected(self, reason: str | None) -> None:
        """A connection that was `connected` is gone, or being left."""

    def subscribed(self, channel: str, recovered: bool | None) -> None:
        """The server acknowledged a channel.

        Args:
            channel: wire string.
            recovered: None the first time; after an interruption whether everything that was missed follows.
        """

    def denied(self, channel: str, error: RealtimeError) -> None:
        """The server refuses a channel, now or from now on."""

    def mutating(self, mutation_id: str, collection: str) -> str | None:
        """The server is told about a transaction of a collection.

        Returns:
            A W3C ``traceparent`` to travel with its messages, or None.
        """
        return None

    def settled(self, mutation_id: str, collection: str, *, accepted: bool) -> None:
        """The server took the transaction, or did not. Follows `mutating` once."""

    def published(self, channel: str, message: JSON, seconds: float, error: Exception | None) -> None:
        """A message was handed to the server, or could not be.

        Args:
            channel: wire string.
            message: the payload.
            seconds: how long it took.
            error: why it failed; it may be tried again.
        """

    def applied(self, channel: str, mutation_id: str | None, traceparent: str | None) -> None:
        """A collection applied somebody's message, or a live channel an event.

        Args:
            channel: wire string.
            mutation_id: from the message, or None.
            traceparent: from the message: the trace of the mutation that caused it, or None.
        """

    def refetched(self, channel: str, seconds: float, error: Exception | None) -> None:
        """A collection called ``query_fn``, or a live channel ``initial_data``, for a scope.

        Args:
            channel: wire string.
            seconds: how long it took.
            error: why it failed, or None.
        """

    def dropped(self, channel: str, reason: str) -> None:
        """A message changed nothing though it should have, or may never have arrived: malformed, refused, a gap."""


class GuardedObserver(Observer):
    """Passes every call on, and what the application's observer raises to `report`."""

    def __init__(self, inner: Observer, report: Callable[[Exception], None]) -> None:
        self._inner = inner
        self._report = report

    def _guard(self, method: Callable[..., T], *facts: Any, **named: Any) -> T | None:
        try:
            return method(*facts, **named)
        except Exception as error:  # noqa: BLE001 -- an observer may raise anything; nothing may depend on it
            name = getattr(method, "__name__", repr(method))
            failure = RealtimeError(f"observer.{name} raised {error!r}", code="observer_failed")
            failure.__cause__ = error
            self._report(failure)
            return None

    def connected(self, connection_id: str, user_id: str | None) -> None:
        self._guard(self._inner.connected, connection_id, user_id)

    def disconnected(self, reason: str | None) -> None:
        self._guard(self._inner.disconnected, reason)

    def subscribed(self, channel: str, recovered: bool | None) -> None:
        self._guard(self._inner.subscribed, channel, recovered)

    def denied(self, channel: str, error: RealtimeError) -> None:
        self._guard(self._inner.denied, channel, error)

    def mutating(self, mutation_id: str, collection: str) -> str | None:
        traceparent: object = self._guard(self._inner.mutating, mutation_id, collection)
        return traceparent if isinstance(traceparent, str) else None

    def settled(self, mutation_id: str, collection: str, *, accepted: bool) -> None:
        self._guard(self._inner.settled, mutation_id, collection, accepted=accepted)

    def published(self, channel: str, message: JSON, seconds: float, error: Exception | None) -> None:
        self._guard(self._inner.published, channel, message, seconds, error)

    def applied(self, channel: str, mutation_id: str | None, traceparent: str | None) -> None:
        self._guard(self._inner.applied, channel, mutation_id, traceparent)

    def refetched(self, channel: str, seconds: float, error: Exception | None) -> None:
        self._guard(self._inner.refetched, channel, seconds, error)

    def dropped(self, channel: str, reason: str) -> None:
        self._guard(self._inner.dropped, channel, reason)
