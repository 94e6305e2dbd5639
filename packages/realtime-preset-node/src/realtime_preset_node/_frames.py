"""The frames of the wire protocol as values, its versions and its close codes. docs/protocol.md explains them."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

__all__ = [
    "ENVELOPE_BYTES",
    "MAX_ID",
    "SEPARATOR",
    "VERSIONS",
    "Auth",
    "AuthRequest",
    "BadFrameError",
    "ClientFrame",
    "CloseCode",
    "ErrorFrame",
    "Gap",
    "Hello",
    "Messages",
    "Ok",
    "Ping",
    "Pong",
    "PresenceChange",
    "PresenceJoin",
    "PresenceLeave",
    "PresenceMember",
    "PresenceObserve",
    "PresenceRequest",
    "PresenceRevoked",
    "PresenceSnapshot",
    "PresenceUnobserve",
    "PresenceUpdate",
    "Publish",
    "Revoked",
    "ServerFrame",
    "Subscribe",
    "Subscription",
    "UnknownFrame",
    "Unsubscribe",
    "Welcome",
]

VERSIONS: Final = (1,)
"""Protocol versions that this package speaks, best first."""

SEPARATOR: Final = "\n"
"""Stands between the frames of one WebSocket message. JSON as written here never holds it."""

ENVELOPE_BYTES: Final = 1024
"""What a frame of a client may hold besides the payload, in bytes."""

MAX_ID: Final = 2**53 - 1
"""The largest integer that every JSON parser keeps exact."""


class CloseCode(enum.IntEnum):
    """WebSocket close codes. 4400 to 4499: the same attempt would fail again. All others: come back."""

    NORMAL = 1000
    GOING_AWAY = 1001
    LOST = 1006
    INTERNAL_ERROR = 1011
    RESTART = 1012
    SLOW_READER = 1013
    PROTOCOL_ERROR = 4400
    UNAUTHENTICATED = 4401
    BAD_ORIGIN = 4403
    UNSUPPORTED_VERSION = 4406
    UNAVAILABLE = 4500
    TOO_MANY_CONNECTIONS = 4503
    SILENT = 4508
    EXPIRED = 4510
    TOO_MANY_FRAMES = 4529

    @staticmethod
    def is_final(code: int) -> bool:
        """Tell whether the same attempt would fail again."""
        return 4400 <= code <= 4499


class BadFrameError(ValueError):
    """A frame that breaks the protocol; `id` is its id where it has a valid one."""

    def __init__(self, reason: str, *, id: int | None = None) -> None:  # noqa: A002 -- the wire's name
        super().__init__(reason)
        self.reason = reason
        self.id = id


# -- frames from the client ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hello:
    """The first frame: versions that the client speaks, its token, and a name for the logs."""

    versions: tuple[int, ...]
    token: str | None = None
    client: str = ""


@dataclass(frozen=True, slots=True)
class Auth:
    """A new token for the connection; None where the handshake itself says who the client is."""

    id: int
    token: str | None = None


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Subscribe to a channel; `since` is the last position (epoch, offset) that the client has."""

    id: int
    channel: str
    since: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Stop a channel."""

    id: int
    channel: str


@dataclass(slots=True)  # one is made per message, and frozen ones take three times as long
class Publish:
    """Publish to a channel; `text` is `data` as it came, where it can be passed on like that."""

    id: int
    channel: str
    data: Any
    text: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class PresenceJoin:
    """Be a member of a channel with this state, and observe."""

    id: int
    channel: str
    state: dict[str, Any]


@dataclass(frozen=True, slots=True)
class PresenceUpdate:
    """Replace the own state."""

    id: int
    channel: str
    state: dict[str, Any]


@dataclass(frozen=True, slots=True)
class PresenceLeave:
    """Be a member no longer."""

    id: int
    channel: str


@dataclass(frozen=True, slots=True)
class PresenceObserve:
    """Hear who the members of a channel are."""

    id: int
    channel: str


@dataclass(frozen=True, slots=True)
class PresenceUnobserve:
    """Hear nothing more, and be a member no longer."""

    id: int
    channel: str


@dataclass(frozen=True, slots=True)
class Ping:
    """Asks for a pong. Both ends may send it."""

    id: int | None = None


@dataclass(frozen=True, slots=True)
class Pong:
    """Answers a ping, with its id."""

    id: int | None = None


@dataclass(frozen=True, slots=True)
class UnknownFrame:
    """A frame of a type that this version does not know."""

    type: str
    id: int | None = None


PresenceRequest: TypeAlias = PresenceJoin | PresenceUpdate | PresenceLeave | PresenceObserve | PresenceUnobserve

ClientFrame: TypeAlias = PresenceRequest | Hello | Auth | Subscribe | Unsubscribe | Publish | Ping | Pong | UnknownFrame


# -- frames from the server ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Welcome:
    """The answer to hello.

    After `heartbeat + timeout` seconds of silence the other end is gone. After a restart of the server the client comes
    back at a random moment within `restart_spread` seconds.
    """

    version: int
    connection: str
    user: str
    preset: str
    heartbeat: float
    timeout: float
    max_message_bytes: int
    restart_spread: float = 0.0


@dataclass(frozen=True, slots=True)
class AuthRequest:
    """The server wants an `Auth`; without one it closes the connection after `within` seconds."""

    within: float


@dataclass(slots=True)  # as with `Publish`
class Messages:
    """Messages of a channel that follow each other; `offset` is the number of the first."""

    channel: str
    offset: int
    data: Sequence[Any]
    user: str | None = None
    own: bool = False
    superseded: int = 0


@dataclass(frozen=True, slots=True)
class Gap:
    """Messages of a channel were dropped for this client; the subscription goes on."""

    channel: str
    reason: str
    missed: int


@dataclass(frozen=True, slots=True)
class Subscription:
    """The acknowledgement of a subscribe."""

    id: int
    channel: str
    epoch: str
    offset: int
    recovered: bool | None
    missed: tuple[Messages, ...]


@dataclass(slots=True)  # as with `Publish`
class Ok:
    """A request was done."""

    id: int


@dataclass(frozen=True, slots=True)
class ErrorFrame:
    """A request was refused; or, without an id, a frame that could not be understood."""

    id: int | None
    code: str
    reason: str
    retryable: bool
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class PresenceMember:
    """One connection among the members of a channel."""

    connection: str
    user: str
    state: dict[str, Any]
    stalled: bool = False


@dataclass(frozen=True, slots=True)
class PresenceSnapshot:
    """The answer to a join or observe: all members."""

    id: int
    channel: str
    members: tuple[PresenceMember, ...]


@dataclass(frozen=True, slots=True)
class PresenceChange:
    """Members that joined or changed, and connections that left."""

    channel: str
    members: tuple[PresenceMember, ...]
    left: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PresenceRevoked:
    """The server ended a membership and an observation."""

    channel: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Revoked:
    """The server ended a subscription."""

    channel: str
    code: str
    reason: str


ServerFrame: TypeAlias = (
    Welcome
    | AuthRequest
    | Subscription
    | Ok
    | ErrorFrame
    | Messages
    | Gap
    | Revoked
    | Ping
    | Pong
    | UnknownFrame
    | PresenceSnapshot
    | PresenceChange
    | PresenceRevoked
)
