"""What a session asks of the gate, what it is answered, and how it ends."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from tanstack_realtime import Channel, RealtimeError
from tanstack_realtime.server import Permissions, Publication

__all__ = ["AdmitPresence", "AdmitPublish", "AdmitSubscribe", "Authenticate", "Closing", "Operation", "Outcome"]


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Find out who the client is. Outcome: the user id and the seconds that it is good for, or an error."""

    token: str | None


@dataclass(frozen=True, slots=True)
class AdmitSubscribe:
    """Ask whether the user may subscribe. Outcome: the channel and its permissions, or an error."""

    user_id: str
    channel: str


@dataclass(slots=True)  # one is made per message, and frozen ones take three times as long
class AdmitPublish:
    """Pass a message through the gate. Outcome: the publication, or an error. `text` is that of `Publish`."""

    user_id: str
    channel: str
    data: Any
    text: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class AdmitPresence:
    """Ask whether the user may take part in presence. Outcome: the channel and its permissions, or an error."""

    user_id: str
    channel: str


@dataclass(frozen=True, slots=True)
class Closing:
    """The end of a connection from the server's side: the close code, and why."""

    code: int
    reason: str


Operation: TypeAlias = Authenticate | AdmitSubscribe | AdmitPublish | AdmitPresence
Outcome: TypeAlias = tuple[str, float | None] | tuple[Channel, Permissions] | Publication | RealtimeError
