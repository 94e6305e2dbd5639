"""Faults on demand: what a network, a server or an operator does to clients, at the moment a test wants it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

from ._connection import Connection, Phase
from ._errors import AblyError
from ._wire import Action, Frame

if TYPE_CHECKING:
    from ._attachment import Peer
    from ._clock import Clock
    from ._outbox import Outbox
    from ._realtime import Realtime

__all__ = ["Faults"]

_EXPIRED: Final = AblyError("the token has expired", 40142)
_REVOKED: Final = AblyError("the token was revoked", 40141)
_MOVED: Final = AblyError("the server asks the client to come back", 80003, 400)
_NACKED: Final = AblyError("the publish was refused by a test", 40000)
MAX_HELD: Final = 100_000


class Faults:
    """Does harm to the connections of a server, all of them or those of one client id.

    Attributes:
        heartbeats: Whether the server sends heartbeats and answers to pings. Set it to ``False`` for a server that
            hangs.
        delay: How long each protocol message is held on its way to a client, in milliseconds.
    """

    def __init__(self, realtime: Realtime, clock: Clock) -> None:
        """Begin harmless."""
        self.heartbeats = True
        self.delay = 0
        self._realtime = realtime
        self._clock = clock
        self._refusal: tuple[AblyError | None, int | None] | None = None
        self._nack: tuple[AblyError, int | None] | None = None
        self._is_holding = False
        self._held: list[tuple[Outbox, Frame]] = []

    # Sockets

    def drop_transports(self, client_id: str | None = None) -> int:
        """Close sockets without a word. The connections can be resumed. Returns how many there were."""
        return self._each(client_id, lambda connection: connection.peer.outbox.drop())

    def freeze(self, client_id: str | None = None) -> int:
        """Keep sockets open, but write nothing to them and ignore what they send."""
        return self._each(client_id, lambda connection: connection.peer.outbox.freeze())

    def thaw(self, client_id: str | None = None) -> int:
        """Write to frozen sockets again. What they sent meanwhile stays lost."""
        return self._each(client_id, lambda connection: connection.peer.outbox.thaw())

    def refuse_connections(self, error: AblyError | None = None, *, count: int | None = None) -> None:
        """Refuse new connections.

        Args:
            error: What to answer with. ``None``: the WebSocket itself is refused.
            count: How many to refuse. ``None``: all until :meth:`accept_connections`.
        """
        self._refusal = (error, count)

    def accept_connections(self) -> None:
        """Take new connections again."""
        self._refusal = None

    # Connections

    def disconnect(self, error: AblyError = _MOVED, *, client_id: str | None = None) -> int:
        """Send DISCONNECTED and close. The clients come back and resume."""
        return self._each(client_id, lambda connection: connection.disconnect(error))

    def fail_connections(self, error: AblyError, *, client_id: str | None = None) -> int:
        """Send ERROR and close. The clients go to ``failed``, unless it is a token error."""
        return self._each(client_id, lambda connection: connection.fail(error))

    def forget_connections(self) -> None:
        """Lose all connections, those that could be resumed too, and close their sockets without a word."""
        for connection in self._realtime.connections():
            connection.peer.outbox.drop()
            connection.forget()

    def forget_messages(self) -> None:
        """Lose what was sent on all channels: nobody can resume one, and history is empty."""
        self._realtime.forget_messages()

    def forget_state(self) -> None:
        """Lose all but the keys, as a server does that restarts."""
        self.forget_connections()
        self.forget_messages()

    def send(self, frame: Frame, *, client_id: str | None = None) -> int:
        """Send any protocol message, and leave the sockets and the server's state as they are.

        For what a server of Ably says that the other faults do not: a DISCONNECTED without ``error``, for example.
        """
        return self._each(client_id, lambda connection: connection.peer.outbox.send(frame))

    # Tokens

    def prompt_for_tokens(self, client_id: str | None = None) -> int:
        """Ask clients for new tokens, as the server does before the old ones expire."""
        return self._each(client_id, lambda connection: connection.ask_for_token())

    def expire_tokens(self, client_id: str | None = None) -> int:
        """End the tokens of connections now, with 40142. Connections by key have none."""
        return self._end_tokens(client_id, _EXPIRED)

    def revoke_tokens(self, client_id: str | None = None) -> int:
        """End the tokens of connections now, with 40141."""
        return self._end_tokens(client_id, _REVOKED)

    # Channels

    def detach(self, channel: str, error: AblyError | None = None, *, client_id: str | None = None) -> int:
        """Send DETACHED for a channel, which clients attach again at once. Returns how many were attached."""
        info = error.info() if error else None
        return self._end_channel(channel, client_id, lambda wire: Frame(Action.DETACHED, channel=wire, error=info))

    def fail_channel(self, channel: str, error: AblyError, *, client_id: str | None = None) -> int:
        """Send ERROR for a channel, which goes to ``failed``. Returns how many were attached."""
        info = error.info()
        return self._end_channel(channel, client_id, lambda wire: Frame(Action.ERROR, channel=wire, error=info))

    # Publishing

    def hold_acks(self) -> None:
        """Take publishes, and keep their answers back."""
        self._is_holding = True

    def release_acks(self) -> None:
        """Send the answers that were kept back, and go on as usual."""
        self._is_holding = False
        held, self._held = self._held, []
        for outbox, frame in held:
            outbox.send(frame)

    def nack(self, error: AblyError = _NACKED, *, count: int | None = None) -> None:
        """Refuse publishes over sockets.

        Args:
            error: What to answer with.
            count: How many to refuse. ``None``: all until :meth:`stop_nack`.
        """
        self._nack = (error, count)

    def stop_nack(self) -> None:
        """Take publishes again."""
        self._nack = None

    # Time

    def advance(self, seconds: float) -> None:
        """Let time pass for the server at once: tokens expire, members leave, connections are forgotten."""
        self._clock.advance(round(seconds * 1000))

    # What the server asks

    def check_connect(self) -> None:
        """Do nothing, or raise what a new connection is refused with.

        Raises:
            AblyError: The error to answer with.
            ConnectionRefusedError: If the WebSocket itself is to be refused.
        """
        # An error that is raised many times would grow by a traceback each, and keep what clients sent.
        if self._refusal is None:
            return
        error, count = self._refusal
        self._refusal = _less(error, count)
        raise error.with_traceback(None) if error is not None else ConnectionRefusedError

    def check_publish(self) -> None:
        """Do nothing, or raise the error to refuse a publish with."""
        if self._nack is not None:
            error, count = self._nack
            self._nack = _less(error, count)
            raise error.with_traceback(None)

    def answer(self, peer: Peer, frame: Frame) -> None:
        """Send an ACK or NACK, or keep it back."""
        if self._is_holding and len(self._held) < MAX_HELD:
            self._held.append((peer.outbox, frame))
        else:
            peer.outbox.send(frame)

    def _linked(self, client_id: str | None) -> list[Connection]:
        return [
            connection
            for connection in self._realtime.connections()
            if connection.phase is Phase.LINKED and client_id in (None, connection.peer.identity)
        ]

    def _each(self, client_id: str | None, harm: Callable[[Connection], None]) -> int:
        found = self._linked(client_id)
        for connection in found:
            harm(connection)
        return len(found)

    def _end_channel(self, channel: str, client_id: str | None, frame: Callable[[str], Frame]) -> int:
        return sum(connection.operations.detach_all(channel, frame) for connection in self._linked(client_id))

    def _end_tokens(self, client_id: str | None, error: AblyError) -> int:
        def end(connection: Connection) -> None:
            access = connection.peer.access
            if access.token_id is not None:
                self._realtime.authority.end(access, error)
                connection.check_token()

        return self._each(client_id, end)


_Error = TypeVar("_Error")


def _less(error: _Error, count: int | None) -> tuple[_Error, int | None] | None:
    """Return what is left of a fault that happens a number of times."""
    if count is None:
        return error, None
    return (error, count - 1) if count > 1 else None
