"""What a session asks of the gate, what it is answered, and how it ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from tanstack_realtime import Channel, RealtimeError
from tanstack_realtime.server import Permissions, Publication

from ._frames import Publish

__all__ = ["AdmitPresence", "AdmitSubscribe", "Authenticate", "Closing", "Operation", "Outcome"]


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Find out who the client is. Outcome: the user id and the seconds that it is good for, or an error."""

    token: str | None


@dataclass(frozen=True, slots=True)
class AdmitSubscribe:
    """Ask whether the user may subscribe. Outcome: the channel and its permissions, or an error."""

    user_id: str
    channel: str


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


Operation: TypeAlias = Authenticate | AdmitSubscribe | AdmitPresence | Publish
"""A `Publish` is to be passed through the gate, for the session's user. Outcome: the publication, or an error."""

Outcome: TypeAlias = tuple[str, float | None] | tuple[Channel, Permissions] | Publication | RealtimeError
