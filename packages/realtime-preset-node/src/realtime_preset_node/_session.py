"""The server's side of one connection, as a machine: frames and results in, frames and operations out.

It does no I/O, owns no task and reads no clock. The shell around it

1. passes every received frame to `receive`,
2. while that or `next_operation` gives an operation, runs it against the gate and passes the outcome to `complete`,
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
from collections.abc import Callable
from typing import Final

from tanstack_realtime import AuthenticationError, Channel, RealtimeError
from tanstack_realtime.server import Permissions, Publication, ServerObserver

from ._answers import Answers, Outbox
from ._frames import (
    VERSIONS,
    Auth,
    BadFrameError,
    CloseCode,
    Hello,
    Ping,
    Pong,
    PresenceJoin,
    PresenceLeave,
    PresenceObserve,
    PresenceUnobserve,
    PresenceUpdate,
    Publish,
    Subscribe,
    UnknownFrame,
    Unsubscribe,
    Welcome,
)
from ._grants import Grants, presence_grant
from ._hub import Hub
from ._inbox import Inbox, Recheck, TooFast, Waiting
from ._operations import AdmitPresence, AdmitSubscribe, Authenticate, Closing, Operation, Outcome
from ._presence import Rooms
from ._protocol import (
    auth_request_frame,
    error_frame,
    ok_frame,
    ping_frame,
    pong_frame,
    welcome_frame,
)
from ._settings import SessionSettings
from ._watch import AskForToken, SendPing, Stall, Watch

__all__ = ["Session"]


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
        outbox: Outbox,
        settings: SessionSettings,
        observer: ServerObserver,
        identify: Callable[[str], bool],
        now: float,
    ) -> None:
        self.connection_id = connection_id
        self.user_id: str | None = None
        self.closing: Closing | None = None
        self._hub = hub
        self._outbox = outbox
        self._answers = Answers(hub, outbox)
        self._grants = Grants(
            connection_id, hub=hub, rooms=rooms, answers=self._answers, settings=settings, observer=observer
        )
        self._watch = Watch(settings, now)
        self._settings = settings
        self._observer = observer
        self._identify = identify
        self._state = _State.NEW
        self._started = now
        self._inbox = Inbox(settings, now)
        self._running: Hello | Auth | Subscribe | Publish | PresenceJoin | PresenceObserve | Recheck | None = None
        self._stale = False
        """Whether access was revoked while the running operation was asked: its answer may be older than that."""

    # -- in ----------------------------------------------------------------------------------------------------------

    def receive(self, text: str, now: float, *, ready: bool = False) -> Operation | None:
        """Take one frame. A broken one is answered, never a reason to close, except before the hello is done.

        Args:
            text: the frame.
            now: seconds on the caller's clock.
            ready: whether the caller can run an operation now.

        Returns:
            What to ask the gate, as `next_operation` does, if the caller is ready and it is this frame's turn.
        """
        if self.closing is not None:
            return None
        if now > self._watch.heard and self._watch.hear(now):
            self._grants.stall(stalled=False)
        inbox = self._inbox
        frame = inbox.read(text, now)
        if isinstance(frame, Closing):
            self.closing = frame
            return None
        if isinstance(frame, (Ping, Pong)):
            if isinstance(frame, Ping):
                self._answers.send(pong_frame(frame.id))
            return None
        if self._state is _State.NEW and not inbox.waiting and not isinstance(frame, Hello):
            self.close(CloseCode.PROTOCOL_ERROR, "the first frame must be hello")
            return None
        if ready and self._running is None and not inbox.waiting:
            return self._handle(frame)
        if inbox.full:
            self.close(CloseCode.TOO_MANY_FRAMES, "more frames were sent at once than the server lets wait")
            return None
        inbox.put(frame, len(text))
        return None

    def next_operation(self) -> Operation | None:
        """Handle what waits up to the next frame that needs the gate, and return what to ask it.

        The caller runs the operation and passes its outcome to `complete` before it calls this again.
        """
        while self._running is None and self._inbox.waiting and self.closing is None:
            operation = self._handle(self._inbox.take())
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
            self._inbox.put_first(request)
            if isinstance(request, Hello):
                self._move(_State.NEW)
            return
        if isinstance(request, Publish) and isinstance(outcome, Publication):  # what comes most often is first
            wire = request.channel
            self._hub.publish(wire, outcome.text, outcome.user_id, now, publisher=self._outbox, data=outcome.data)
            self._observer.published(outcome)
            self._answers.send(ok_frame(request.id))
            return
        match request, outcome:
            case Hello(), (str() as user_id, float() | int() | None as expires_in):
                self._grants.client_id = request.client
                self._open(user_id, expires_in, now)
            case Hello(), RealtimeError():
                self._refuse_identity(outcome)
            case Auth(), (str() as user_id, float() | int() | None as expires_in):
                self._refreshed(request, user_id, expires_in, now)
            case Auth(), RealtimeError(retryable=True):
                self._answers.send(error_frame(request.id, outcome))
            case Auth(), RealtimeError():
                self._refuse_identity(outcome)
            case Subscribe(), RealtimeError():
                self._answers.send(error_frame(request.id, outcome))
                self._grants.drop(request.channel, now)
            case Subscribe(), (Channel(), Permissions() as permissions):
                self._grants.subscribe(request, permissions, now)
            case ((PresenceJoin() | PresenceObserve()), RealtimeError()):
                self._answers.send(error_frame(request.id, outcome))
                self._grants.drop(presence_grant(request.channel), now)
            case ((PresenceJoin() | PresenceObserve()), (Channel(), Permissions() as permissions)):
                self._grants.enter(request, permissions, now)
            case Recheck(), _:
                self._grants.rechecked(request.grant, outcome, now)
            case Publish(), RealtimeError():
                self._answers.send(error_frame(request.id, outcome))
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
        for action in self._watch.tick(now):
            match action:
                case Closing():
                    self.closing = action
                    return
                case SendPing():
                    self._answers.send(ping_frame())
                case Stall():
                    self._grants.stall(stalled=True)
                case AskForToken(within):
                    self._answers.send(auth_request_frame(within))
        for grant in self._grants.expired(now):
            self._inbox.put(Recheck(grant), 0)

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
        self._grants.revoke(channel, now)

    def close(self, code: int, reason: str) -> None:
        """Ask the shell to close the connection. The first reason stays."""
        if self.closing is None:
            self.closing = Closing(code, reason)

    def end(self, code: int, now: float) -> None:
        """Clean up: the connection is gone. Idempotent."""
        self.close(code, "")
        was_open = self._state is _State.OPEN
        self._move(_State.CLOSED)
        self._inbox.waiting.clear()
        self._grants.end(now)
        if was_open:
            self._observer.disconnected(self.connection_id, self.user_id or "", code)

    # -- out ---------------------------------------------------------------------------------------------------------

    @property
    def inbox_full(self) -> bool:
        """Whether the shell must stop reading: the next frame would close the connection."""
        return self._inbox.full

    @property
    def deadline(self) -> float | None:
        """When `tick` must be called, on the caller's clock, or None. It moves with every frame."""
        if self.closing is not None or self._state in (_State.AUTHENTICATING, _State.CLOSED):
            return None
        if self._state is _State.NEW:
            return self._started + self._settings.hello_timeout
        return min(self._watch.deadline, self._grants.due)

    # -- how ---------------------------------------------------------------------------------------------------------

    def _move(self, state: _State) -> None:
        assert state in _NEXT[self._state], (self._state, state)
        self._state = state

    def _handle(self, frame: Waiting) -> Operation | None:
        match frame:
            case Publish():
                self._running = frame
                return frame
            case Hello() if self._state is _State.NEW:
                if not set(frame.versions) & set(VERSIONS):
                    self.close(CloseCode.UNSUPPORTED_VERSION, f"this server speaks protocol versions {list(VERSIONS)}")
                    return None
                self._move(_State.AUTHENTICATING)
                self._running = frame
                return Authenticate(frame.token)
            case Hello():
                self._answers.refuse(None, "bad_frame", "hello comes once")
            case Auth():
                self._running = frame
                return Authenticate(frame.token)
            case Subscribe():
                if self._grants.has_room(frame.id, frame.channel):
                    self._running = frame
                    return AdmitSubscribe(self.user_id or "", frame.channel)
            case TooFast():
                error = RealtimeError(
                    "requests come too fast", code="rate_limited", retryable=True, retry_after=frame.wait
                )
                self._answers.send(error_frame(frame.id, error))
            case Recheck():
                operation = self._grants.recheck(frame.grant)
                self._running = None if operation is None else frame
                return operation
            case PresenceJoin() | PresenceObserve():
                usable = isinstance(frame, PresenceObserve) or self._grants.state_text(frame) is not None
                if usable and self._grants.has_room(frame.id, presence_grant(frame.channel)):
                    self._running = frame
                    return AdmitPresence(self.user_id or "", frame.channel)
            case PresenceUpdate():
                self._grants.update(frame)
            case PresenceLeave():
                self._grants.leave(frame.channel)
                self._answers.send(ok_frame(frame.id))
            case PresenceUnobserve():
                self._grants.drop(presence_grant(frame.channel), self._watch.heard)
                self._answers.send(ok_frame(frame.id))
            case Unsubscribe():
                self._grants.drop(frame.channel, self._watch.heard)
                self._answers.send(ok_frame(frame.id))
            case BadFrameError():
                self._answers.refuse(frame.id, "bad_frame", frame.reason)
            case UnknownFrame():
                if frame.id is not None:
                    self._answers.refuse(frame.id, "unsupported", f"this server does not know {frame.type[:64]!r}")
        return None

    def _open(self, user_id: str, expires_in: float | None, now: float) -> None:
        settings = self._settings
        if not self._identify(user_id):
            self.close(CloseCode.TOO_MANY_CONNECTIONS, "the user has too many connections")
            return
        self.user_id = self._grants.user_id = user_id
        self._watch.know_for(expires_in, now)
        self._watch.hear(now)
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
        self._answers.send(welcome_frame(welcome))
        self._observer.connected(self.connection_id, user_id)

    def _refreshed(self, request: Auth, user_id: str, expires_in: float | None, now: float) -> None:
        if user_id != self.user_id:
            # Everything on this connection was granted to somebody else; a new one begins with nothing.
            self.close(CloseCode.EXPIRED, "the token belongs to another user; connect again")
            return
        self._watch.know_for(expires_in, now)
        self._answers.send(ok_frame(request.id))

    def _refuse_identity(self, error: RealtimeError) -> None:
        final = isinstance(error, AuthenticationError) and not error.retryable
        self.close(CloseCode.UNAUTHENTICATED if final else CloseCode.UNAVAILABLE, error.reason)
