"""How long a client's connection to Ably waits for what."""

from __future__ import annotations

from dataclasses import dataclass

from ._limits import REMAIN_PRESENT

__all__ = ["AblyTiming"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AblyTiming:
    """Delays of a connection, in seconds.

    Attributes:
        request: Ably has to answer whatever it is asked. A connection that is silent for this long, after Ably's own
            interval of heartbeats, is dead.
        gather: channels that are asked for within this time share one token.
        channel_retry: until a channel is attached again that Ably could not serve.
        remain_present: a member whose connection died stays one for so long.
    """

    request: float = 10.0
    gather: float = 0.01
    channel_retry: float = 5.0
    remain_present: float = REMAIN_PRESENT
