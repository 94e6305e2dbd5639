"""Transports whose presence is wrong on purpose, each in one way; for providers that claim presence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, cast

from tanstack_realtime._errors import ChannelDeniedError
from tanstack_realtime._presence_link import PresenceEntry, PresenceLink, PresenceSink

from ._broken import BrokenLink, BrokenTransport

__all__ = ["BROKEN_PRESENCE", "BrokenPresenceLink"]


class BrokenPresenceLink(BrokenLink):
    """Passes presence on; subclasses spoil it."""

    @property
    def presence(self) -> PresenceLink:
        return cast("PresenceLink", self.link)

    async def observe_presence(self, channel: str, sink: PresenceSink, /) -> None:
        await self.presence.observe_presence(channel, sink)

    async def join_presence(self, channel: str, state: Mapping[str, Any], sink: PresenceSink, /) -> None:
        await self.presence.join_presence(channel, state, sink)

    async def update_presence(self, channel: str, state: Mapping[str, Any], clock: int, /) -> None:
        await self.presence.update_presence(channel, state, clock)

    async def leave_presence(self, channel: str, /) -> None:
        await self.presence.leave_presence(channel)

    async def unobserve_presence(self, channel: str, /) -> None:
        await self.presence.unobserve_presence(channel)


class _NeverLeavesLink(BrokenPresenceLink):
    async def leave_presence(self, channel: str, /) -> None: ...


class NeverLeaves(BrokenTransport):
    """A leave is not sent, so a ghost stays while the connection lives."""

    caught_by = "members_see_each_other"
    link_type = _NeverLeavesLink


class _NotReenteredLink(BrokenPresenceLink):
    async def join_presence(self, channel: str, state: Mapping[str, Any], sink: PresenceSink, /) -> None:
        if self.number > 1:
            await self.presence.observe_presence(channel, sink)
        else:
            await self.presence.join_presence(channel, state, sink)


class NotReentered(BrokenTransport):
    """After a reconnect the client is not a member again."""

    caught_by = "presence_is_entered_again"
    link_type = _NotReenteredLink


class _StaleReentryLink(BrokenPresenceLink):
    async def join_presence(self, channel: str, state: Mapping[str, Any], sink: PresenceSink, /) -> None:
        first = {key: value for key, value in state.items() if key == "name"} if self.number > 1 else state
        await self.presence.join_presence(channel, first, sink)


class StaleReentry(BrokenTransport):
    """After a reconnect the client is a member with the state that it began with."""

    caught_by = "presence_is_entered_again"
    link_type = _StaleReentryLink


class _LeadingOnlyLink(BrokenPresenceLink):
    updates = 0

    async def update_presence(self, channel: str, state: Mapping[str, Any], clock: int, /) -> None:
        self.updates += 1
        if self.updates == 1:
            await self.presence.update_presence(channel, state, clock)


class LeadingOnly(BrokenTransport):
    """The first update is sent, the last one is not."""

    caught_by = "the_last_of_many_updates_arrives"
    link_type = _LeadingOnlyLink


class _Emptied:
    """A sink that hears nothing of who was there before."""

    def __init__(self, sink: PresenceSink) -> None:
        self._sink = sink

    def snapshot(self, entries: Sequence[PresenceEntry], /) -> None:
        self._sink.snapshot([])

    def changed(self, entries: Sequence[PresenceEntry], left: Sequence[str], /) -> None:
        self._sink.changed(entries, left)

    def revoked(self, code: str, reason: str, /) -> None:
        self._sink.revoked(code, reason)


class _NoSnapshotLink(BrokenPresenceLink):
    async def observe_presence(self, channel: str, sink: PresenceSink, /) -> None:
        await self.presence.observe_presence(channel, _Emptied(sink))

    async def join_presence(self, channel: str, state: Mapping[str, Any], sink: PresenceSink, /) -> None:
        await self.presence.join_presence(channel, state, _Emptied(sink))


class NoSnapshot(BrokenTransport):
    """Who comes late sees only who comes later."""

    caught_by = "members_see_each_other"
    link_type = _NoSnapshotLink


class _Renamed(_Emptied):
    """A sink that hears other names for connections than the link gave."""

    def snapshot(self, entries: Sequence[PresenceEntry], /) -> None:
        self._sink.snapshot([replace(entry, connection_id=f"x{entry.connection_id}") for entry in entries])

    def changed(self, entries: Sequence[PresenceEntry], left: Sequence[str], /) -> None:
        renamed = [replace(entry, connection_id=f"x{entry.connection_id}") for entry in entries]
        self._sink.changed(renamed, [f"x{name}" for name in left])


class _SelfAmongOthersLink(BrokenPresenceLink):
    async def join_presence(self, channel: str, state: Mapping[str, Any], sink: PresenceSink, /) -> None:
        await self.presence.join_presence(channel, state, _Renamed(sink))


class SelfAmongOthers(BrokenTransport):
    """Members carry other ids than the link's own, so that one is among the others."""

    caught_by = "an_observer_is_not_a_member"
    link_type = _SelfAmongOthersLink


class _ObserverJoinsLink(BrokenPresenceLink):
    async def observe_presence(self, channel: str, sink: PresenceSink, /) -> None:
        await self.presence.join_presence(channel, {}, sink)


class ObserverJoins(BrokenTransport):
    """Who only looks is a member."""

    caught_by = "an_observer_is_not_a_member"
    link_type = _ObserverJoinsLink


class _DenialSwallowedLink(BrokenPresenceLink):
    async def join_presence(self, channel: str, state: Mapping[str, Any], sink: PresenceSink, /) -> None:
        try:
            await self.presence.join_presence(channel, state, sink)
        except ChannelDeniedError:
            sink.snapshot([])


class DenialSwallowed(BrokenTransport):
    """A refused join looks like an empty room."""

    caught_by = "denied_presence_is_refused"
    link_type = _DenialSwallowedLink


class _PartialUpdateLink(BrokenPresenceLink):
    async def update_presence(self, channel: str, state: Mapping[str, Any], clock: int, /) -> None:
        fields = {key: value for key, value in state.items() if key != "name"}
        await self.presence.update_presence(channel, fields, clock)


class PartialUpdate(BrokenTransport):
    """An update drops the fields that it does not change."""

    caught_by = "members_see_each_other"
    link_type = _PartialUpdateLink


class _DeafToRevocation(_Emptied):
    def snapshot(self, entries: Sequence[PresenceEntry], /) -> None:
        self._sink.snapshot(entries)

    def revoked(self, code: str, reason: str, /) -> None: ...


class _RevocationLostLink(BrokenPresenceLink):
    async def join_presence(self, channel: str, state: Mapping[str, Any], sink: PresenceSink, /) -> None:
        await self.presence.join_presence(channel, state, _DeafToRevocation(sink))


class RevocationLost(BrokenTransport):
    """A member whose access ended is not told."""

    caught_by = "revoked_presence_ends"
    link_type = _RevocationLostLink


BROKEN_PRESENCE: Final[list[type[BrokenTransport]]] = [
    NeverLeaves,
    NotReentered,
    StaleReentry,
    LeadingOnly,
    NoSnapshot,
    SelfAmongOthers,
    ObserverJoins,
    DenialSwallowed,
    PartialUpdate,
    RevocationLost,
]
"""All of them."""
