"""The life of one connection, without I/O: frames and deadlines in, frames and a closed outbox out.

A connection is more than its socket. When the socket goes, the connection is adrift: its presence stays for 15 seconds,
its place in the channels for two minutes. A client that comes back in time with the connection's key takes it up again.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import Any, Final, Protocol

from ._access import Access
from ._attachment import Peer
from ._errors import AblyError, bad_request
from ._limits import Limits
from ._operations import Acknowledger, ChannelSource, Operations
from ._outbox import ABRUPT, Outbox
from ._timers import Timers
from ._wire import Action, Frame

__all__ = ["Connection", "Deadline", "Environment", "Event", "Phase"]


class Phase(Enum):
    """Where a connection is in its life."""

    LINKED = auto()
    """It has a socket."""
    ADRIFT = auto()
    """It has none, and can be resumed."""
    GONE = auto()
    """It is over."""


class Event(Enum):
    """What moves a connection from one phase to another."""

    RESUMED = auto()
    SOCKET_LOST = auto()
    DISCONNECTED = auto()
    CLOSED = auto()
    FAILED = auto()
    FORGOTTEN = auto()


TRANSITIONS: Final[Mapping[tuple[Phase, Event], Phase]] = {
    (Phase.LINKED, Event.RESUMED): Phase.LINKED,
    (Phase.LINKED, Event.SOCKET_LOST): Phase.ADRIFT,
    (Phase.LINKED, Event.DISCONNECTED): Phase.ADRIFT,
    (Phase.LINKED, Event.CLOSED): Phase.GONE,
    (Phase.LINKED, Event.FAILED): Phase.GONE,
    (Phase.LINKED, Event.FORGOTTEN): Phase.GONE,
    (Phase.ADRIFT, Event.RESUMED): Phase.LINKED,
    (Phase.ADRIFT, Event.FORGOTTEN): Phase.GONE,
}
"""The legal moves. Any other event finds the connection where it makes no difference, and is ignored."""


class Deadline(Enum):
    """What a connection waits for."""

    HEARTBEAT = auto()
    RENEWAL = auto()
    EXPIRY = auto()
    ABSENCE = auto()
    FORGETTING = auto()


class Environment(Protocol):
    """What all connections share."""

    @property
    def limits(self) -> Limits:
        """The bounds."""
        ...

    @property
    def timers(self) -> Timers[tuple[str, Deadline]]:
        """Deadlines by connection id and kind."""
        ...

    @property
    def has_heartbeats(self) -> bool:
        """Whether heartbeats are sent, which a test may stop."""
        ...

    def now(self) -> int:
        """The time in milliseconds since the epoch."""
        ...

    def authenticate(self, token: str) -> Access:
        """Return what a token permits, or raise the :class:`AblyError` that says why not."""
        ...

    def check(self, access: Access) -> None:
        """Raise an :class:`AblyError` if what was valid is so no more."""
        ...


class Connection:
    """One connection.

    Attributes:
        peer: Who is on the other side.
        operations: Its channels.
        phase: Where it is in its life.
        key: What the client shows to resume.
        remain_present: How long its members stay after its socket is lost, in milliseconds.
        max_idle: The longest silence that the client was promised, in milliseconds.
    """

    def __init__(
        self,
        peer: Peer,
        environment: Environment,
        channels: ChannelSource,
        acknowledger: Acknowledger,
        on_gone: Callable[[Connection], None],
    ) -> None:
        """Make a connection that has a socket; :meth:`connected` greets it."""
        limits = environment.limits
        self.peer = peer
        self.operations = Operations(peer, channels, acknowledger, limits, environment.now)
        self.phase = Phase.LINKED
        self.key = ""
        self.previous_key = ""
        self.remain_present = limits.remain_present
        self.max_idle = limits.max_idle
        self._environment = environment
        self._on_gone = on_gone

    def connected(self, error: AblyError | None = None) -> None:
        """Greet the socket.

        Args:
            error: Why this is not the connection that the client wanted to resume.
        """
        self.previous_key, self.key = self.key, f"{self.peer.id}!{secrets.token_urlsafe(12)}"
        self._greet(error)
        self._after(self.max_idle * 2 // 3, Deadline.HEARTBEAT)
        self._watch_token()

    def resume(self, access: Access, outbox: Outbox, *, echo: bool) -> None:
        """Take the connection up again on another socket. One that it still has is closed."""
        old = self.peer.outbox
        self.peer.access, self.peer.outbox, self.peer.echo = access, outbox, echo
        self._move(Event.RESUMED)
        old.close(ABRUPT)
        self._cancel(Deadline.ABSENCE, Deadline.FORGETTING)
        self.operations.suspend()
        self.connected()
        self.operations.renew()

    def receive(self, request: Mapping[str, Any]) -> None:
        """Do what a protocol message asks for."""
        if self.phase is not Phase.LINKED:
            return
        try:
            handler = _HANDLERS.get(request["action"])
            if handler is not None:
                handler(self, request)
            elif not self.operations.handle(request):
                raise bad_request(f"clients do not send {request['action'].name}")
        except AblyError as error:
            self.disconnect(error)

    def socket_lost(self, outbox: Outbox) -> None:
        """Learn that a socket is gone. An older one than the present makes no difference."""
        if outbox is self.peer.outbox:
            self._drift(Event.SOCKET_LOST)

    def disconnect(self, error: AblyError) -> None:
        """Close the socket with a reason; the client may come back and resume."""
        self.peer.outbox.send(Frame(Action.DISCONNECTED, error=error.info()))
        self._drift(Event.DISCONNECTED)

    def fail(self, error: AblyError) -> None:
        """End the connection with a reason that no repetition would help."""
        self.peer.outbox.send(Frame(Action.ERROR, error=error.info()))
        self._end(Event.FAILED)

    def forget(self) -> None:
        """End the connection without a word, as if there had never been one."""
        self._end(Event.FORGOTTEN)

    def ask_for_token(self) -> None:
        """Prompt the client for a new token."""
        self.peer.outbox.send(Frame(Action.AUTH))

    def revoked(self, applies_at: int) -> None:
        """Disconnect because the token was revoked; if that is for later, prompt for another one before."""
        if applies_at > self._environment.now():
            self.ask_for_token()
            self._set(Deadline.EXPIRY, min(applies_at, self.peer.access.expires or applies_at))
        else:
            self.check_token()

    def check_token(self) -> None:
        """Disconnect if the token has ended."""
        try:
            self._environment.check(self.peer.access)
        except AblyError as error:
            self.disconnect(error)

    def due(self, deadline: Deadline) -> None:
        """Do what was to be done at a deadline."""
        match deadline:
            case Deadline.HEARTBEAT:
                if self._environment.has_heartbeats:
                    self.peer.outbox.send(Frame(Action.HEARTBEAT))
                self._after(self.max_idle * 2 // 3, Deadline.HEARTBEAT)
            case Deadline.RENEWAL:
                self.ask_for_token()
            case Deadline.EXPIRY:
                self.check_token()
            case Deadline.ABSENCE:
                self.operations.leave_presence()
            case Deadline.FORGETTING:
                self.forget()

    def _on_heartbeat(self, request: Mapping[str, Any]) -> None:
        if self._environment.has_heartbeats:
            self.peer.outbox.send(Frame(Action.HEARTBEAT, id=request.get("id")))

    def _on_auth(self, request: Mapping[str, Any]) -> None:
        """Swap the token. The client cannot become somebody else by it."""
        token: object = request.get("auth", {}).get("accessToken")
        try:
            if not isinstance(token, str):
                raise bad_request("AUTH holds auth.accessToken")
            access = self._environment.authenticate(token)
            if access.app_id != self.peer.access.app_id or access.identify(self.peer.identity) != self.peer.identity:
                raise AblyError("the new token is not for the client of this connection", 40102)
        except AblyError as error:
            # A token error would make the client ask for another token, for ever.
            is_token_error = error.status == 401 and error.code // 10 == 4014
            self.fail(AblyError(error.message, 40101) if is_token_error else error)
            return
        self.peer.access = access
        self.operations.renew()
        self._watch_token()
        self._greet()

    def _on_close(self, request: Mapping[str, Any]) -> None:
        self.peer.outbox.send(Frame(Action.CLOSED))
        self._end(Event.CLOSED)

    def _greet(self, error: AblyError | None = None) -> None:
        limits = self._environment.limits
        details: dict[str, object] = {
            "connectionKey": self.key,
            "connectionStateTtl": limits.state_ttl,
            "maxIdleInterval": self.max_idle,
            "maxMessageSize": limits.message_size,
            "maxFrameSize": limits.frame_size,
            "maxInboundRate": 1000,
            "serverId": "emulator",
            "siteCode": "local",
        }
        # A token for any client says so. A key does not: ably-python could not enter under a name of its own.
        identity = self.peer.identity or (self.peer.access.client_id if self.peer.access.token_id else None)
        if identity is not None:
            details["clientId"] = identity
        self.peer.outbox.send(
            Frame(
                Action.CONNECTED,
                connectionId=self.peer.id,
                connectionKey=self.key,
                connectionDetails=details,
                error=error.info() if error else None,
            )
        )

    def _watch_token(self) -> None:
        self._cancel(Deadline.RENEWAL, Deadline.EXPIRY)
        expires = self.peer.access.expires
        if expires is not None:
            prompt = expires - self._environment.limits.renewal_margin
            self._set(Deadline.EXPIRY, expires)
            if prompt > self._environment.now():
                self._set(Deadline.RENEWAL, prompt)

    def _drift(self, event: Event) -> None:
        if self._move(event):
            self.peer.outbox.close()
            self._cancel(*Deadline)
            self.operations.suspend()
            self._after(self.remain_present, Deadline.ABSENCE)
            self._after(self._environment.limits.state_ttl, Deadline.FORGETTING)

    def _end(self, event: Event) -> None:
        if self._move(event):
            self.peer.outbox.close()
            self._cancel(*Deadline)
            self.operations.release()
            self._on_gone(self)

    def _move(self, event: Event) -> bool:
        phase = TRANSITIONS.get((self.phase, event))
        self.phase = phase or self.phase
        return phase is not None

    def _after(self, delay: int, deadline: Deadline) -> None:
        self._set(deadline, self._environment.now() + delay)

    def _set(self, deadline: Deadline, at: int) -> None:
        self._environment.timers.set((self.peer.id, deadline), at)

    def _cancel(self, *deadlines: Deadline) -> None:
        for deadline in deadlines:
            self._environment.timers.cancel((self.peer.id, deadline))


_HANDLERS: Final[Mapping[Action, Callable[[Connection, Mapping[str, Any]], None]]] = {
    Action.HEARTBEAT: Connection._on_heartbeat,
    Action.AUTH: Connection._on_auth,
    Action.CLOSE: Connection._on_close,
}
