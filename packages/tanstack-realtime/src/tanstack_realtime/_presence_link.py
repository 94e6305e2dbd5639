"""The seam for presence: what a preset's link can do besides messages.

A link that offers presence implements `PresenceLink` too, and its transport's `Capabilities.presence` says how. What a
preset author could forget lives above: merging, throttling, re-joining after a reconnect, oneself among the others,
ghosts of one's own former connection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

__all__ = ["PresenceCapabilities", "PresenceEntry", "PresenceLink", "PresenceSink"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenceCapabilities:
    """How a preset carries presence; `Capabilities.native_presence` says whether the provider keeps the states.

    Attributes:
        ghost_timeout: seconds after which a member whose connection died is gone, at most.
        max_state_bytes: largest state, as UTF-8 JSON.
    """

    ghost_timeout: float
    max_state_bytes: int


@dataclass(frozen=True, slots=True)
class PresenceEntry:
    """One connection among the members of a channel, as the provider says.

    Attributes:
        connection_id: stamped by the provider, never by the member.
        user_id: likewise; None for nobody.
        state: the member's state, a JSON object from an untrusted sender.
        clock: of two states of a connection the one with the larger clock counts; 0 where the provider keeps the order.
        stalled: whether the provider has not heard of the connection for a while.
    """

    connection_id: str
    user_id: str | None
    state: Mapping[str, Any]
    clock: int = 0
    stalled: bool = False


class PresenceSink(Protocol):
    """What a link tells about one channel: synchronously, on the client's loop, in order, and it never raises."""

    def snapshot(self, entries: Sequence[PresenceEntry], /) -> None:
        """These are all members now; oneself may be among them. Comes first after a join or observe."""

    def changed(self, entries: Sequence[PresenceEntry], left: Sequence[str], /) -> None:
        """These joined or changed, and those connections left."""

    def revoked(self, code: str, reason: str, /) -> None:
        """The server ended it: no member any more, and nothing more is heard."""


@runtime_checkable
class PresenceLink(Protocol):
    """Presence over one connection. All calls wait for the provider's answer.

    Each raises `ChannelDeniedError` where it is refused, `PublishError` for a state that is too large or comes too
    fast (``not_joined`` for an update of one who is no member), and `ConnectionLostError` when the link went away. The
    sink is registered before anything is asked for.
    """

    async def observe_presence(self, channel: str, sink: PresenceSink, /) -> None:
        """Hear who the members are, without being one."""
        ...

    async def join_presence(self, channel: str, state: Mapping[str, Any], sink: PresenceSink, /) -> None:
        """Be a member with this state, and hear who the others are. One who is a member already changes its state."""
        ...

    async def update_presence(self, channel: str, state: Mapping[str, Any], clock: int, /) -> None:
        """Replace the own state; `clock` grows with every call on this link."""
        ...

    async def leave_presence(self, channel: str, /) -> None:
        """Be a member no longer, and go on observing. No member is no error."""
        ...

    async def unobserve_presence(self, channel: str, /) -> None:
        """Hear nothing more, and be a member no longer. Never raises for a link that is gone."""
        ...
