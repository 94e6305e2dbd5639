"""The seam that a preset implements: one attempt at a connection, and the link that a successful one gives.

What a preset author could forget lives above this seam, in the client: reference counts, resubscription, backoff,
listener isolation, ordering across reconnects, echo recognition. A transport opens a link when it is asked to, moves
frames, and says what happened. It never retries by itself, with one exception: a provider SDK that owns the retry loop
keeps the link and reports `suspended` and `resumed` (its `Capabilities.retry` says so).

Life of a link, as the client drives it::

    open() ──> Link ── subscribe / publish / unsubscribe … ──> close()
       │                         │
       └ raises                  └ sink.closed(...)   exactly once, unless close() was called first

Every call to the sink is synchronous, happens on the client's loop, in the order of arrival, and never raises.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from ._presence_link import PresenceCapabilities

__all__ = [
    "JSON",
    "Capabilities",
    "CloseReason",
    "EagerLink",
    "Inbound",
    "Link",
    "LinkSink",
    "OpenRequest",
    "Position",
    "RealtimeTransport",
    "SubscribeAck",
]

JSON: TypeAlias = "Mapping[str, JSON] | Sequence[JSON] | str | int | float | bool | None"
"""What travels as data: anything that `json.dumps` writes and `json.loads` gives back equal."""


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a channel's stream, as the provider counts.

    Attributes:
        epoch: identifies one life of the stream; positions of different epochs do not compare.
        offset: number of the last message seen, counted from 1; 0 before the first.
    """

    epoch: str
    offset: int


@dataclass(slots=True)
class Inbound:
    """One message of a channel. To be read only: all listeners are told the same object.

    Attributes:
        data: the payload, unchanged.
        position: where it stands in the stream, or None where the provider does not number messages.
        own: whether this very link published it; None where the provider cannot tell.
        user_id: the authenticated publisher, or None where the provider does not say (a server publish, for one).
        superseded: how many messages right before this one were left out on purpose, since later ones tell the same
            and more; not a gap.
    """

    data: Any
    position: Position | None = None
    own: bool | None = None
    user_id: str | None = None
    superseded: int = 0


@dataclass(frozen=True, slots=True)
class SubscribeAck:
    """The provider's acknowledgement: from now on every message of the channel arrives.

    Attributes:
        position: the stream's position now, after `missed`; None where the provider does not number messages.
        recovered: for a subscribe that named a position: True if `missed` is provably all that came after it, False if
            something may be lost. None for a first subscribe.
        missed: the messages after the named position, oldest first; empty unless `recovered`.
    """

    position: Position | None = None
    recovered: bool | None = None
    missed: Sequence[Inbound] = ()


@dataclass(frozen=True, slots=True)
class CloseReason:
    """Why a link ended or an attempt failed.

    Attributes:
        code: WebSocket close code or provider code; 0 where there is none.
        reason: text for people.
        retry: whether connecting again can succeed without a change. An authentication refusal is not.
        retry_after: least delay in seconds that the server asked for, or None.
    """

    code: int = 0
    reason: str = ""
    retry: bool = True
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """What one attempt needs.

    Attributes:
        url: base address of the application's realtime routes, for example ``http://host/_realtime``; None in process.
        token: fresh from the application's `get_token`, or None. Never put into a URL.
        headers: extra HTTP headers for the handshake.
        client_id: id of this client instance, for the server's logs.
        get_token: gives another fresh token while the link lives, for a provider that asks for one; None where `token`
            is None for good. What it raises is a `RealtimeError` that has been reported.
    """

    url: str | None
    token: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    client_id: str = ""
    get_token: Callable[[], Awaitable[str | None]] | None = None


class LinkSink(Protocol):
    """What a transport tells the client. See the module docstring for the rules."""

    def message(self, channel: str, message: Inbound, /) -> None:
        """A message on a subscribed channel, in the channel's order."""

    def gap(self, channel: str, reason: str, /) -> None:
        """Messages of a live channel may be lost while the link goes on: a slow reader, a provider's position check."""

    def revoked(self, channel: str, code: str, reason: str, /) -> None:
        """The server ended this subscription."""

    def suspended(self, reason: CloseReason, /) -> None:
        """Only `retry="provider"`: the SDK lost its connection and is retrying by itself."""

    def resumed(self, connection_id: str, acks: Mapping[str, SubscribeAck], /) -> None:
        """Only `retry="provider"`: connected again; `acks` holds each resubscribed channel."""

    def closed(self, reason: CloseReason, /) -> None:
        """The link is gone. Nothing follows."""


class Link(Protocol):
    """An authenticated connection."""

    @property
    def connection_id(self) -> str:
        """Assigned by the server, unique among its connections."""
        ...

    @property
    def user_id(self) -> str | None:
        """Who the server says we are, or None where the provider does not tell."""
        ...

    async def subscribe(self, channel: str, /, *, since: Position | None) -> SubscribeAck:
        """Subscribe and wait for the provider's acknowledgement.

        Messages that come after the ack's position reach the sink, never before this call has returned its ack to the
        client's task: the client holds back what the sink gets for a channel until it has seen the ack.

        Raises:
            ChannelDeniedError: refused; `retryable` for a temporary failure of the server's `authorize`.
            ConnectionLostError: the link went away meanwhile.
        """
        ...

    async def unsubscribe(self, channel: str, /) -> None:
        """Stop a channel. Idempotent; never raises for a link that is gone."""
        ...

    async def publish(self, channel: str, data: JSON, /) -> None:
        """Publish and wait until the provider has accepted it.

        Raises:
            ChannelDeniedError: not allowed.
            PublishError: refused, too large, rate-limited.
            ConnectionLostError: the link went away before the answer; it may have happened or not.
        """
        ...

    async def ping(self) -> None:
        """A round trip to the server; the caller sets the deadline. Raises `ConnectionLostError` without a link."""
        ...

    async def close(self) -> None:
        """Close and wait until every task and socket of the link is gone. Idempotent. The sink hears nothing more."""
        ...


@runtime_checkable
class EagerLink(Protocol):
    """What a `Link` may be able to do besides: write a message at once, not when a task gets its turn."""

    def begin_publish(self, channel: str, data: JSON, /) -> Callable[[], Awaitable[None]] | None:
        """Write a message, in order with what was published before. Never raises.

        Returns:
            What waits for the provider's answer, and raises as `Link.publish` does. None where the message cannot be
            written now; nothing has happened then, and `Link.publish` says why.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a preset guarantees. Declared, and proved by the conformance kit.

    Attributes:
        recovery: whether a reconnect can prove that nothing was missed (positions and replay).
        history: messages kept per channel for replay; 0 without recovery.
        ordering: messages of one channel arrive in the order in which the provider accepted them.
        echo: whether the publisher's own message comes back to it.
        publish_over_link: whether collections publish over the connection; False sends them to ``/_realtime/publish``.
        native_presence: whether the provider keeps each member's latest state and tells it to whoever comes. Where not,
            it knows the state of the join only, and the client announces its own to newcomers.
        presence: how its links carry presence, or None where they do not.
        max_message_bytes: largest payload, as UTF-8 JSON.
        revocation_delay: seconds until `revoke` takes effect, at most.
        retry: who owns the reconnect loop.
        retry_schedule: one sentence for the docs.
    """

    recovery: bool
    history: int
    ordering: bool
    echo: bool
    publish_over_link: bool
    native_presence: bool
    max_message_bytes: int
    revocation_delay: float
    retry: Literal["client", "provider"] = "client"
    presence: PresenceCapabilities | None = None
    retry_schedule: str = "1 s doubling to 30 s, plus or minus 25 %, never above 30 s"


class RealtimeTransport(Protocol):
    """The client half of a preset."""

    @property
    def capabilities(self) -> Capabilities: ...

    async def open(self, request: OpenRequest, sink: LinkSink, /) -> Link:
        """One attempt: returns once the server has authenticated us and assigned a connection id.

        Cancelling it closes whatever was half open.

        Raises:
            AuthenticationError: the identity was refused; final.
            ConnectionLostError: anything that may succeed later; its `__cause__` tells.
            PresetMismatchError: the server runs another preset.
        """
        ...
