"""What one connection takes part in: channels and rooms, how many, and for how long it was granted. No I/O, no clock.

A grant has a name: a channel's wire string, or `presence_grant` of it. What it is kept under ends everything about it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tanstack_realtime import Channel, ChannelDeniedError, RealtimeError
from tanstack_realtime._json import encode_json
from tanstack_realtime.server import Permissions, ServerObserver

from ._frames import PresenceJoin, PresenceObserve, PresenceUpdate, Subscribe
from ._leases import Leases
from ._operations import AdmitPresence, AdmitSubscribe
from ._presence import Attendee, Rooms
from ._protocol import ok_frame, presence_frame, presence_revoked_frame, revoked_frame, subscription_frame

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._answers import Answers
    from ._hub import Hub
    from ._operations import Outcome
    from ._settings import SessionSettings

__all__ = ["Grants", "presence_grant"]

_PRESENCE: Final = "presence "
"""No channel has a space."""


def presence_grant(channel: str) -> str:
    """Return the name of the grant to take part in a channel's presence."""
    return _PRESENCE + channel


class Grants:
    """The grants of one connection.

    Args:
        connection_id: unique among the server's connections.
        hub: where channels live.
        rooms: who is where.
        answers: to the client.
        settings: bounds.
        observer: hears about subscriptions; its methods never raise.

    Attributes:
        user_id: the authenticated user, once known.
        client_id: what the client calls itself.
    """

    def __init__(
        self,
        connection_id: str,
        *,
        hub: Hub,
        rooms: Rooms,
        answers: Answers,
        settings: SessionSettings,
        observer: ServerObserver,
    ) -> None:
        self.user_id = ""
        self.client_id = ""
        self._connection_id = connection_id
        self._hub = hub
        self._rooms = rooms
        self._answers = answers
        self._outbox = answers.outbox
        self._settings = settings
        self._observer = observer
        self._leases = Leases(retry=settings.recheck)

    @property
    def due(self) -> float:
        """When the first grant must be asked for again, or earlier."""
        return self._leases.due

    def expired(self, now: float) -> Sequence[str]:
        """Return the grants that must be asked for again; `rechecked` or `drop` follows for each."""
        return self._leases.expired(now)

    def has(self, grant: str) -> bool:
        """Tell whether the connection takes part."""
        if grant.startswith(_PRESENCE):
            return self._rooms.is_guest(self._outbox, grant.removeprefix(_PRESENCE))
        return self._hub.is_subscribed(self._outbox, grant)

    def has_room(self, identifier: int, grant: str) -> bool:
        """Tell whether there may be this grant too; if not, the request is refused."""
        limit = self._settings.limits.subscriptions
        used = self._hub.subscriptions(self._outbox) + self._rooms.count(self._outbox)
        if used < limit or self.has(grant):
            return True
        self._answers.refuse(identifier, "too_many_subscriptions", f"a connection may have {limit} subscriptions")
        return False

    def subscribe(self, request: Subscribe, permissions: Permissions, now: float) -> None:
        """Subscribe to a channel, as granted, and answer."""
        channel = request.channel
        self._hub.catch_up(self._outbox)
        self._outbox.forget(channel)
        answer = self._hub.subscribe(self._outbox, channel, request.since, now)
        self._observer.subscribed(self._connection_id, self.user_id, channel, answer.recovered)
        self._leases.grant(channel, permissions.expires_in, now)
        self._answers.send(
            subscription_frame(request.id, channel, answer.epoch, answer.offset, answer.recovered, answer.missed)
        )

    def enter(self, request: PresenceJoin | PresenceObserve, permissions: Permissions, now: float) -> None:
        """Join or observe a room, as granted, and answer."""
        channel = request.channel
        if isinstance(request, PresenceJoin):
            who = Attendee(self._connection_id, self.user_id, self.client_id)
            members = self._rooms.join(self._outbox, channel, who, encode_json(request.state))
        else:
            members = self._rooms.observe(self._outbox, channel)
        self._leases.grant(presence_grant(channel), permissions.expires_in, now)
        self._answers.send(presence_frame(request.id, channel, members))

    def update(self, request: PresenceUpdate) -> None:
        """Replace the state of a member, and answer."""
        text = self.state_text(request)
        if text is None:
            return
        if self._rooms.update(self._outbox, request.channel, text):
            self._answers.send(ok_frame(request.id))
        else:
            self._answers.refuse(request.id, "not_joined", "this connection is no member here; join first")

    def leave(self, channel: str) -> None:
        """Be no member any more."""
        self._rooms.leave(self._outbox, channel)

    def stall(self, *, stalled: bool) -> None:
        """Show the other members whether something is heard of this one."""
        self._rooms.stall(self._outbox, stalled=stalled)

    def state_text(self, request: PresenceJoin | PresenceUpdate) -> str | None:
        """Return a member's state as JSON; None where it cannot be one, which is answered."""
        limit = self._settings.max_presence_bytes
        try:
            text = encode_json(request.state)
        except ValueError:
            self._answers.refuse(request.id, "bad_data", "not JSON")
            return None
        if len(text.encode()) > limit:
            self._answers.refuse(request.id, "too_large", f"a presence state has at most {limit} bytes")
            return None
        return text

    def recheck(self, grant: str) -> AdmitSubscribe | AdmitPresence | None:
        """Return what to ask about an expired grant, or None if it is not held any more."""
        if grant not in self._leases:
            return None
        if grant.startswith(_PRESENCE):
            return AdmitPresence(self.user_id, grant.removeprefix(_PRESENCE))
        return AdmitSubscribe(self.user_id, grant)

    def rechecked(self, grant: str, outcome: Outcome, now: float) -> None:
        """Take the answer to `recheck`."""
        if grant not in self._leases:
            return
        match outcome:
            case (Channel(), Permissions() as permissions):
                self._leases.grant(grant, permissions.expires_in, now)
            case ChannelDeniedError(retryable=True) if self._leases.undecided(grant, now):
                pass
            case RealtimeError():
                self._take_back(grant, outcome.code, outcome.reason, now)
            case _:
                raise AssertionError(f"{outcome!r} is no outcome of a subscribe")

    def revoke(self, channel: str, now: float) -> None:
        """End everything about a channel that is held, and tell the client."""
        for grant in (channel, presence_grant(channel)):
            if self.has(grant):
                self._take_back(grant, "revoked", "access was revoked", now)

    def drop(self, grant: str, now: float) -> None:
        """End a grant. One that is not held is no error."""
        self._leases.end(grant)
        if grant.startswith(_PRESENCE):
            self._rooms.unobserve(self._outbox, grant.removeprefix(_PRESENCE))
        else:
            self._hub.unsubscribe(self._outbox, grant, now)
            self._outbox.forget(grant)

    def end(self, now: float) -> None:
        """End all of them: the connection is gone."""
        self._leases.clear()
        self._hub.remove(self._outbox, now)
        self._rooms.remove(self._outbox)

    def _take_back(self, grant: str, code: str, reason: str, now: float) -> None:
        self.drop(grant, now)
        if grant.startswith(_PRESENCE):
            self._answers.send(presence_revoked_frame(grant.removeprefix(_PRESENCE), code, reason))
        else:
            self._answers.send(revoked_frame(grant, code, reason))
