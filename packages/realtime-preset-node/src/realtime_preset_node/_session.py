"""The server's side of one connection, as a machine: frames and results in, frames and operations out.

It does no I/O, owns no task and reads no clock. The shell around it

1. passes every received frame to `receive`,
2. while `next_operation` gives one, runs it against the gate and passes the outcome to `complete`,
3. calls `tick` when `deadline` is reached,
4. closes the connection with `closing` as soon as that is set, and calls `end` when the connection is gone.

One operation runs at a time and frames are handled in the order of arrival, so that a frame which follows a subscribe
meets its outcome, however long `authorize` took. Only pings overtake: they ask about the connection, not about its
order. Replies and messages go to the outbox at once, in the order in which they become true.

    NEW ──hello──> AUTHENTICATING ──user──> OPEN
     │ <──revoked──────┤                     │
     └─────────────────┴─────────────────────┴─────> CLOSED
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from tanstack_realtime import AuthenticationError, Channel, ChannelDeniedError, RealtimeError
from tanstack_realtime._json import encode_json
from tanstack_realtime._rate import TokenBucket
from tanstack_realtime.server import Permissions, Publication, ServerObserver

from ._frames import (
    ENVELOPE_BYTES,
    VERSIONS,
    Auth,
    BadFrameError,
    ClientFrame,
    CloseCode,
    Hello,
    Ping,
    Pong,
    PresenceJoin,
    PresenceLeave,
    PresenceObserve,
    PresenceRequest,
    PresenceUnobserve,
    PresenceUpdate,
    Publish,
    Subscribe,
    UnknownFrame,
    Unsubscribe,
    Welcome,
)
from ._hub import Hub, Subscriber
from ._leases import NEVER, Leases
from ._operations import AdmitPresence, AdmitPublish, AdmitSubscribe, Authenticate, Operation, Outcome
from ._packet import Packet
from ._presence import Attendee, Rooms
from ._protocol import (
    auth_request_frame,
    error_frame,
    ok_frame,
    parse_client_frame,
    ping_frame,
    pong_frame,
    presence_frame,
    presence_revoked_frame,
    revoked_frame,
    subscription_frame,
    welcome_frame,
)
from ._settings import SessionSettings

__all__ = [
    "Closing",
    "Session",
]


@dataclass(frozen=True, slots=True)
class Closing:
    """Why the server closes the connection."""

    code: int
    reason: str


class _State(enum.Enum):
    NEW = enum.auto()
    AUTHENTICATING = enum.auto()
    OPEN = enum.auto()
    CLOSED = enum.auto()


_NEXT: Final = {
    _State.NEW: {_State.AUTHENTICATING, _State.CLOSED},
    _State.AUTHENTICATING: {_State.NEW, _State.OPEN, _State.CLOSED},
    _State.OPEN: {_State.CLOSED},
    _State.CLOSED: {_State.CLOSED},
}

_PRESENCE: Final = "presence "
"""Before a channel in the names of grants: what a presence grant is kept under. No channel has a space."""


@dataclass(frozen=True, slots=True)
class _Recheck:
    channel: str


@dataclass(frozen=True, slots=True)
class _TooFast:
    id: int | None
    wait: float


class _Outbox(Subscriber, Protocol):
    """Takes replies as it takes messages."""

    def forget(self, channel: str, /) -> None:
        """Drop what a slow reader has not taken of a channel: the subscription ends or begins anew."""
        ...


_Waiting: TypeAlias = (
    Hello
    | Auth
    | Subscribe
    | Unsubscribe
    | Publish
    | PresenceRequest
    | UnknownFrame
    | BadFrameError
    | _Recheck
    | _TooFast
)


_ALWAYS: Final = (Hello, Auth, Unsubscribe, PresenceLeave, PresenceUnobserve, Ping, Pong)
"""What is never refused for coming too fast: it keeps the connection in order, or frees something."""


class Session:
    """One connection of a client.

    Args:
        connection_id: unique among the server's connections.
        hub: where channels live.
        rooms: who is where.
        outbox: takes every frame for this client. It is the hub's subscriber too, so that replies and messages keep
            their order.
        settings: times and bounds.
        observer: hears about the connection; its methods never raise.
        identify: tells the server whose connection this is; False where the user has too many.
        now: seconds on the caller's clock.
    """

    def __init__(
        self,
        *,
        connection_id: str,
        hub: Hub,
        rooms: Rooms,
        outbox: _Outbox,
        settings: SessionSettings,
        observer: ServerObserver,
        identify: Callable[[str], bool],
        now: float,
    ) -> None:
        self.connection_id = connection_id
        self.user_id: str | None = None
        self.closing: Closing | None = None
        self._hub = hub
        self._rooms = rooms
        self._client_id = ""
        self._stalled = False
        self._outbox = outbox
        self._settings = settings
        self._max_frame_bytes = settings.max_message_bytes + ENVELOPE_BYTES
        self._observer = observer
        self._identify = identify
        self._bucket = TokenBucket(rate=settings.limits.rate, burst=settings.limits.burst, now=now)
        self._state = _State.NEW
        self._started = now
        self._heard = now
        self._pinged = False
        self._inbox: deque[tuple[_Waiting, int]] = deque()
        self._inbox_size = 0
        self._running: Hello | Auth | Subscribe | Publish | PresenceJoin | PresenceObserve | _Recheck | None = None
        self._stale = False
        """Whether access was revoked while the running operation was asked: its answer may be older than that."""
        self._leases = Leases(retry=settings.recheck)
        self._expires = NEVER
        """When the identity is no longer good."""
        self._ask = NEVER
        """When to ask for a new token."""

    # -- in ----------------------------------------------------------------------------------------------------------

    def receive(self, text: str, now: float) -> None:
        """Take one frame. A broken one is answered, never a reason to close, except before the hello is done."""
        if self.closing is not None:
            return
        self._heard = now
        self._pinged = False
        if self._stalled:
            self._stall(False)
        frame: ClientFrame | BadFrameError | _TooFast = self._parse(text)
        wait = self._bucket.take(now)
        if wait:
            if self._bucket.debt > self._settings.limits.burst:
                self.close(CloseCode.TOO_MANY_FRAMES, "the client did not slow down when it was told to")
                return
            if not isinstance(frame, _ALWAYS):
                frame = _TooFast(frame.id, wait)
        if isinstance(frame, (Ping, Pong)):
            if isinstance(frame, Ping):
                self._send(pong_frame(frame.id))
            return
        if self._state is _State.NEW and not self._inbox and not isinstance(frame, Hello):
            self.close(CloseCode.PROTOCOL_ERROR, "the first frame must be hello")
            return
        if self.inbox_full:
            self.close(CloseCode.TOO_MANY_FRAMES, "more frames were sent at once than the server lets wait")
            return
        self._inbox.append((frame, len(text)))
        self._inbox_size += len(text)

    def next_operation(self) -> Operation | None:
        """Handle what waits up to the next frame that needs the gate, and return what to ask it.

        The caller runs the operation and passes its outcome to `complete` before it calls this again.
        """
        while self._running is None and self._inbox and self.closing is None:
            frame, size = self._inbox.popleft()
            self._inbox_size -= size
            operation = self._handle(frame)
            if operation is not None:
                return operation
        return None

    def complete(self, outcome: Outcome, now: float) -> None:
        """Take the outcome of the operation that `next_operation` gave last."""
        request, self._running = self._running, None
        stale, self._stale = self._stale, False
        if self.closing is not None:
            return
        if stale and request is not None:
            self._inbox.appendleft((request, 0))
            if isinstance(request, Hello):
                self._move(_State.NEW)
            return
        match request, outcome:  # what comes most often is first
            case Publish(), Publication():
                wire = request.channel
                self._hub.publish(wire, outcome.text, outcome.user_id, now, publisher=self._outbox, data=outcome.data)
                self._observer.published(outcome)
                self._send(ok_frame(request.id))
            case Hello(), (str() as user_id, float() | int() | None as expires_in):
                self._client_id = request.client
                self._open(user_id, expires_in, now)
            case Hello(), RealtimeError():
                self._refuse_identity(outcome)
            case Auth(), (str() as user_id, float() | int() | None as expires_in):
                self._refreshed(request, user_id, expires_in, now)
            case Auth(), RealtimeError(retryable=True):
                self._send(error_frame(request.id, outcome))
            case Auth(), RealtimeError():
                self._refuse_identity(outcome)
            case Subscribe(), RealtimeError():
                self._send(error_frame(request.id, outcome))
                self._drop(request.channel, now)
            case Subscribe(), (Channel(), Permissions() as permissions):
                self._subscribe(request, permissions, now)
            case ((PresenceJoin() | PresenceObserve()), RealtimeError()):
                self._send(error_frame(request.id, outcome))
                self._drop(_PRESENCE + request.channel, now)
            case ((PresenceJoin() | PresenceObserve()), (Channel(), Permissions() as permissions)):
                self._enter(request, permissions, now)
            case _Recheck(), _:
                self._rechecked(request.channel, outcome, now)
            case Publish(), RealtimeError():
                self._send(error_frame(request.id, outcome))
            case _:
                raise AssertionError(f"{outcome!r} is no outcome of {request!r}")

    def tick(self, now: float) -> None:
        """Let the time pass that `deadline` asked for. Calling it too early changes nothing."""
        if self.closing is not None:
            return
        settings = self._settings
        if self._state is not _State.OPEN:
            if self._state is _State.NEW and now >= self._started + settings.hello_timeout:
                self.close(CloseCode.SILENT, f"no hello within {settings.hello_timeout:g} s")
            return
        if now >= self._heard + settings.heartbeat + settings.timeout:
            self.close(CloseCode.SILENT, f"nothing heard for {settings.heartbeat + settings.timeout:g} s")
            return
        if now >= self._heard + settings.heartbeat and not self._pinged:
            self._pinged = True
            self._send(ping_frame())
        if not self._stalled and now >= self._heard + settings.heartbeat + settings.timeout / 2:
            self._stall(True)
        if now >= self._expires:
            self.close(CloseCode.EXPIRED, "the identity has expired and no new token came")
            return
        if now >= self._ask:
            self._ask = now + settings.recheck
            self._send(auth_request_frame(self._expires - now))
        self._inbox.extend((_Recheck(grant), 0) for grant in self._leases.expired(now))

    def revoke(self, user_id: str, channel: str | None, now: float) -> None:
        """End a user's access to a channel, or with None to everything. Others are not concerned.

        What the gate is asked about meanwhile is asked again: its answer could be from before.
        """
        if self.closing is not None or self.user_id not in (None, user_id):
            return
        self._stale |= self._running is not None
        if self._state is not _State.OPEN:
            return
        if channel is None:
            self.close(CloseCode.UNAUTHENTICATED, "access was revoked")
            return
        for grant in (channel, _PRESENCE + channel):
            if self._has(grant):
                self._take_back(grant, "revoked", "access was revoked", now)

    def close(self, code: int, reason: str) -> None:
        """Ask the shell to close the connection. The first reason stays."""
        if self.closing is None:
            self.closing = Closing(code, reason)

    def end(self, code: int, now: float) -> None:
        """Clean up: the connection is gone. Idempotent."""
        self.close(code, "")
        was_open = self._state is _State.OPEN
        self._move(_State.CLOSED)
        self._inbox.clear()
        self._leases.clear()
        self._hub.remove(self._outbox, now)
        self._rooms.remove(self._outbox)
        if was_open:
            self._observer.disconnected(self.connection_id, self.user_id or "", code)

    # -- out ---------------------------------------------------------------------------------------------------------

    @property
    def inbox_full(self) -> bool:
        """Whether the shell must stop reading: the next frame would close the connection."""
        return len(self._inbox) >= self._settings.inbox or self._inbox_size >= self._settings.inbox_size

    @property
    def deadline(self) -> float | None:
        """When `tick` must be called, on the caller's clock, or None. It moves with every frame."""
        if self.closing is not None or self._state in (_State.AUTHENTICATING, _State.CLOSED):
            return None
        settings = self._settings
        if self._state is _State.NEW:
            return self._started + settings.hello_timeout
        waited = settings.timeout if self._stalled else settings.timeout / 2
        quiet = self._heard + settings.heartbeat + (waited if self._pinged else 0.0)
        return min(quiet, self._ask, self._expires, self._leases.due)

    # -- how ---------------------------------------------------------------------------------------------------------

    def _move(self, state: _State) -> None:
        assert state in _NEXT[self._state], (self._state, state)
        self._state = state

    def _send(self, frame: str) -> None:
        self._hub.catch_up(self._outbox)
        self._outbox.deliver(Packet(frame))

    def _parse(self, text: str) -> ClientFrame | BadFrameError:
        # Characters are at most bytes, so that a frame which is too long in characters need not be encoded.
        limit = self._max_frame_bytes
        if len(text) > limit or (not text.isascii() and len(text.encode(errors="replace")) > limit):
            return BadFrameError(f"the frame is larger than {limit} bytes")
        try:
            return parse_client_frame(text)
        except BadFrameError as error:
            return error

    def _handle(self, frame: _Waiting) -> Operation | None:
        user_id = self.user_id or ""
        match frame:
            case Publish():
                self._running = frame
                return AdmitPublish(user_id, frame.channel, frame.data, frame.text)
            case Hello() if self._state is _State.NEW:
                if not set(frame.versions) & set(VERSIONS):
                    self.close(CloseCode.UNSUPPORTED_VERSION, f"this server speaks protocol versions {list(VERSIONS)}")
                    return None
                self._move(_State.AUTHENTICATING)
                self._running = frame
                return Authenticate(frame.token)
            case Hello():
                self._refuse(None, "bad_frame", "hello comes once")
            case Auth():
                self._running = frame
                return Authenticate(frame.token)
            case Subscribe():
                if self._is_full(frame.id, frame.channel):
                    return None
                self._running = frame
                return AdmitSubscribe(user_id, frame.channel)
            case _TooFast():
                error = RealtimeError(
                    "requests come too fast", code="rate_limited", retryable=True, retry_after=frame.wait
                )
                self._send(error_frame(frame.id, error))
            case _Recheck():
                if frame.channel in self._leases:
                    self._running = frame
                    if frame.channel.startswith(_PRESENCE):
                        return AdmitPresence(user_id, frame.channel.removeprefix(_PRESENCE))
                    return AdmitSubscribe(user_id, frame.channel)
            case PresenceJoin() | PresenceObserve():
                usable = isinstance(frame, PresenceObserve) or self._state_text(frame) is not None
                if usable and not self._is_full(frame.id, _PRESENCE + frame.channel):
                    self._running = frame
                    return AdmitPresence(user_id, frame.channel)
            case PresenceUpdate():
                text = self._state_text(frame)
                if text is None:
                    return None
                if self._rooms.update(self._outbox, frame.channel, text):
                    self._send(ok_frame(frame.id))
                else:
                    self._refuse(frame.id, "not_joined", "this connection is no member here; join first")
            case PresenceLeave():
                self._rooms.leave(self._outbox, frame.channel)
                self._send(ok_frame(frame.id))
            case PresenceUnobserve():
                self._drop(_PRESENCE + frame.channel, self._heard)
                self._send(ok_frame(frame.id))
            case Unsubscribe():
                self._drop(frame.channel, self._heard)
                self._send(ok_frame(frame.id))
            case BadFrameError():
                self._refuse(frame.id, "bad_frame", frame.reason)
            case UnknownFrame():
                if frame.id is not None:
                    self._refuse(frame.id, "unsupported", f"this server does not know {frame.type[:64]!r}")
        return None

    def _refuse(self, identifier: int | None, code: str, reason: str) -> None:
        self._send(error_frame(identifier, RealtimeError(reason, code=code)))

    def _open(self, user_id: str, expires_in: float | None, now: float) -> None:
        settings = self._settings
        if not self._identify(user_id):
            self.close(CloseCode.TOO_MANY_CONNECTIONS, "the user has too many connections")
            return
        self.user_id = user_id
        self._know_for(expires_in, now)
        self._heard = now
        self._move(_State.OPEN)
        welcome = Welcome(
            version=VERSIONS[0],
            connection=self.connection_id,
            user=user_id,
            preset=settings.preset,
            heartbeat=settings.heartbeat,
            timeout=settings.timeout,
            max_message_bytes=settings.max_message_bytes,
            restart_spread=settings.restart_spread,
        )
        self._send(welcome_frame(welcome))
        self._observer.connected(self.connection_id, user_id)

    def _know_for(self, expires_in: float | None, now: float) -> None:
        self._expires = self._ask = NEVER
        if expires_in is not None:
            self._expires = now + expires_in
            self._ask = self._expires - min(self._settings.refresh, expires_in / 2)

    def _refreshed(self, request: Auth, user_id: str, expires_in: float | None, now: float) -> None:
        if user_id != self.user_id:
            # Everything on this connection was granted to somebody else; a new one begins with nothing.
            self.close(CloseCode.EXPIRED, "the token belongs to another user; connect again")
            return
        self._know_for(expires_in, now)
        self._send(ok_frame(request.id))

    def _refuse_identity(self, error: RealtimeError) -> None:
        final = isinstance(error, AuthenticationError) and not error.retryable
        self.close(CloseCode.UNAUTHENTICATED if final else CloseCode.UNAVAILABLE, error.reason)

    def _subscribe(self, request: Subscribe, permissions: Permissions, now: float) -> None:
        channel = request.channel
        self._hub.catch_up(self._outbox)
        self._outbox.forget(channel)
        answer = self._hub.subscribe(self._outbox, channel, request.since, now)
        self._observer.subscribed(self.connection_id, self.user_id or "", channel, answer.recovered)
        self._leases.grant(channel, permissions.expires_in, now)
        self._send(
            subscription_frame(request.id, channel, answer.epoch, answer.offset, answer.recovered, answer.missed)
        )

    def _rechecked(self, grant: str, outcome: Outcome, now: float) -> None:
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

    # -- presence ----------------------------------------------------------------------------------------------------

    def _enter(self, request: PresenceJoin | PresenceObserve, permissions: Permissions, now: float) -> None:
        channel = request.channel
        if isinstance(request, PresenceJoin):
            who = Attendee(self.connection_id, self.user_id or "", self._client_id)
            members = self._rooms.join(self._outbox, channel, who, encode_json(request.state))
        else:
            members = self._rooms.observe(self._outbox, channel)
        self._leases.grant(_PRESENCE + channel, permissions.expires_in, now)
        self._send(presence_frame(request.id, channel, members))

    def _state_text(self, frame: PresenceJoin | PresenceUpdate) -> str | None:
        """Return a state as JSON; None where it cannot be one, which is answered."""
        limit = self._settings.max_presence_bytes
        try:
            text = encode_json(frame.state)
        except ValueError:
            self._refuse(frame.id, "bad_data", "not JSON")
            return None
        if len(text.encode()) > limit:
            self._refuse(frame.id, "too_large", f"a presence state has at most {limit} bytes")
            return None
        return text

    def _stall(self, stalled: bool) -> None:
        self._stalled = stalled
        self._rooms.stall(self._outbox, stalled=stalled)

    # -- grants ------------------------------------------------------------------------------------------------------

    def _is_full(self, identifier: int, grant: str) -> bool:
        limit = self._settings.limits.subscriptions
        used = self._hub.subscriptions(self._outbox) + self._rooms.count(self._outbox)
        if used < limit or self._has(grant):
            return False
        self._refuse(identifier, "too_many_subscriptions", f"a connection may have {limit} subscriptions")
        return True

    def _has(self, grant: str) -> bool:
        if grant.startswith(_PRESENCE):
            return self._rooms.is_guest(self._outbox, grant.removeprefix(_PRESENCE))
        return self._hub.is_subscribed(self._outbox, grant)

    def _take_back(self, grant: str, code: str, reason: str, now: float) -> None:
        self._drop(grant, now)
        if grant.startswith(_PRESENCE):
            self._send(presence_revoked_frame(grant.removeprefix(_PRESENCE), code, reason))
        else:
            self._send(revoked_frame(grant, code, reason))

    def _drop(self, grant: str, now: float) -> None:
        self._leases.end(grant)
        if grant.startswith(_PRESENCE):
            self._rooms.unobserve(self._outbox, grant.removeprefix(_PRESENCE))
        else:
            self._hub.unsubscribe(self._outbox, grant, now)
