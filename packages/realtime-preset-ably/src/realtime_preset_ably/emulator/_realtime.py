"""The realtime half of the server: all connections and channels of all apps, without I/O.

Its shell reports sockets, messages and the passing of time, and writes what the outboxes hold.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Final

from ._access import Access
from ._attachment import Peer
from ._authority import Authority, Revocation
from ._channels import Channels
from ._clock import Clock
from ._connection import Connection, Deadline, Phase
from ._errors import AblyError
from ._faults import Faults
from ._limits import Limits
from ._outbox import Outbox
from ._timers import Timers
from ._wire import Action, Frame, decode

__all__ = ["Realtime"]

_SWEEP: Final = 30_000
_MIN_IDLE: Final = 1_000
_MAX_IDLE: Final = 60_000


class Realtime:
    """Connections and channels.

    Attributes:
        authority: Who may enter.
        limits: Bounds.
        timers: The deadlines of the connections.
        faults: What tests do to clients.
    """

    def __init__(self, authority: Authority, clock: Clock, limits: Limits | None = None) -> None:
        """Begin without connections.

        Args:
            authority: Who may enter.
            clock: The time.
            limits: Bounds.
        """
        self.authority = authority
        self.limits = limits or Limits()
        self.timers: Timers[tuple[str, Deadline]] = Timers()
        self.faults = Faults(self, clock)
        self._clock = clock
        self._apps: dict[str, Channels] = {}
        self._connections: dict[str, Connection] = {}
        self._next_sweep = clock.now() + _SWEEP
        authority.on_revoked(self._on_revoked)

    def now(self) -> int:
        """Return the time in milliseconds since the epoch."""
        return self._clock.now()

    @property
    def has_heartbeats(self) -> bool:
        """Whether heartbeats are sent."""
        return self.faults.heartbeats

    def authenticate(self, token: str) -> Access:
        """Return what a token permits."""
        return self.authority.by_token(token)

    def check(self, access: Access) -> None:
        """Raise an :class:`AblyError` if what was valid is so no more."""
        self.authority.check(access)

    def app(self, app_id: str) -> Channels:
        """Return the channels of an app that the authority knows."""
        found = self._apps.get(app_id)
        if found is None:
            app = self.authority.apps[app_id]
            found = self._apps[app_id] = Channels(self.limits, self._clock.now, app.persists)
        return found

    def forget_app(self, app_id: str) -> None:
        """End the connections of an app that was deleted, and drop its channels."""
        for connection in self.connections():
            if connection.peer.access.app_id == app_id:
                connection.fail(AblyError("the app was deleted", 40101))
                connection.forget()
        self._apps.pop(app_id, None)

    def forget_messages(self) -> None:
        """Lose what was sent on all channels of all apps."""
        for channels in self._apps.values():
            channels.forget_messages()

    def connections(self) -> list[Connection]:
        """Return all connections, those without a socket included."""
        return list(self._connections.values())

    def connection(self, key: str) -> tuple[str, str | None] | None:
        """Return id and client id of the connection with a key, as a REST publish may name one."""
        found = self._find(key)
        return (found.peer.id, found.peer.identity) if found else None

    def connect(self, query: Mapping[str, str], outbox: Outbox) -> Connection | None:
        """Answer a new socket.

        Args:
            query: The parameters of its URL.
            outbox: The way to it.

        Returns:
            The connection, new or resumed. ``None`` if it was refused; the outbox then says why, and closes.

        Raises:
            ConnectionRefusedError: If a test refuses the WebSocket itself.
        """
        try:
            self.faults.check_connect()
            return self._connect(query, outbox)
        except AblyError as error:
            # What a client cannot be blamed for it shall try again.
            action = Action.DISCONNECTED if error.code >= 80_000 else Action.ERROR
            outbox.send(Frame(action, error=error.info()))
            outbox.close()
            return None

    def receive(self, connection: Connection, outbox: Outbox, raw: str | bytes) -> None:
        """Take a WebSocket message of a socket."""
        if outbox is not connection.peer.outbox or outbox.is_frozen:
            return
        try:
            request = decode(raw)
        except AblyError as error:
            connection.disconnect(error)
        else:
            connection.receive(request)

    def tick(self) -> None:
        """Do what is due."""
        now = self.now()
        while (key := self.timers.pop(now)) is not None:
            connection_id, deadline = key
            self._connections[connection_id].due(deadline)
        if now >= self._next_sweep:
            self._next_sweep = now + _SWEEP
            for channels in self._apps.values():
                channels.sweep()

    @property
    def next_tick(self) -> int:
        """When :meth:`tick` has something to do, in milliseconds since the epoch."""
        return min(self._next_sweep, self.timers.next or self._next_sweep)

    def _connect(self, query: Mapping[str, str], outbox: Outbox) -> Connection:
        access = self._authenticate(query)
        identity = access.identify(query.get("clientId"))
        echo = query.get("echo") != "false"
        wanted, error = query.get("resume") or query.get("recover"), None
        if wanted:
            found = self._find(wanted)
            if found is not None and found.peer.access.app_id == access.app_id:
                if found.peer.identity != identity:
                    raise AblyError("the connection to resume belongs to another client id", 40102)
                found.resume(access, outbox, echo=echo)
                return found
            error = AblyError("the connection cannot be resumed: it is unknown, or was lost for too long", 80018)
        self._make_room()
        peer = Peer(secrets.token_hex(5), access, identity, echo, outbox)
        connection = Connection(peer, self, self.app(access.app_id), self.faults, self._on_gone)
        connection.remain_present = _number(
            query, "remainPresentFor", 0, self.limits.state_ttl, self.limits.remain_present
        )
        connection.max_idle = _number(query, "heartbeatInterval", _MIN_IDLE, _MAX_IDLE, self.limits.max_idle)
        self._connections[peer.id] = connection
        connection.connected(error)
        return connection

    def _authenticate(self, query: Mapping[str, str]) -> Access:
        token = query.get("accessToken") or query.get("access_token")
        if token:
            return self.authenticate(token)
        if query.get("key"):
            return self.authority.by_key(query["key"])
        raise AblyError("a connection shows a key or a token: ?key=... or ?accessToken=...", 40101)

    def _find(self, key: str) -> Connection | None:
        found = self._connections.get(key.partition("!")[0])
        return found if found is not None and key in (found.key, found.previous_key) else None

    def _make_room(self) -> None:
        if len(self._connections) < self.limits.connections:
            return
        for connection in self._connections.values():
            if connection.phase is Phase.ADRIFT:
                connection.forget()
                return
        raise AblyError(f"there are {self.limits.connections} connections already", 40114)

    def _on_gone(self, connection: Connection) -> None:
        self._connections.pop(connection.peer.id, None)

    def _on_revoked(self, revocation: Revocation) -> None:
        for connection in self.connections():
            if connection.phase is Phase.LINKED and revocation.covers(connection.peer.access):
                connection.revoked(revocation.applies_at)


def _number(query: Mapping[str, str], name: str, low: int, high: int, default: int) -> int:
    """Return a parameter in milliseconds, kept within bounds."""
    value = query.get(name)
    if value is None:
        return default
    if not value.isascii() or not value.isdigit():
        raise AblyError(f"{name} is a number of milliseconds, not {value[:50]!r}", 40003)
    return max(low, min(int(value[:12]), high))
