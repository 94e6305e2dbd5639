"""The clock of one open connection: silence, and an identity that ends. Times in, what to do out; no I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from ._frames import CloseCode
from ._leases import NEVER
from ._operations import Closing

if TYPE_CHECKING:
    from ._settings import SessionSettings

__all__ = ["AskForToken", "SendPing", "Stall", "Watch"]


@dataclass(frozen=True, slots=True)
class SendPing:
    """Nothing was heard for a while."""


@dataclass(frozen=True, slots=True)
class Stall:
    """Nothing was heard since the ping for half the time: others are to know."""


@dataclass(frozen=True, slots=True)
class AskForToken:
    """The identity ends after so many seconds."""

    within: float


_Action: TypeAlias = SendPing | Stall | AskForToken | Closing


class Watch:
    """When something was heard, and until when it is known who the client is.

    Args:
        settings: times of a session.
        now: seconds on the caller's clock.

    Attributes:
        heard: when something came last.
        stalled: whether `Stall` was the last that was told about the client's silence.
    """

    def __init__(self, settings: SessionSettings, now: float) -> None:
        self.stalled = False
        self._settings = settings
        self.heard = now
        self._pinged = False
        self._expires = NEVER
        self._ask = NEVER

    def hear(self, now: float) -> bool:
        """Something came. Returns whether the client was stalled until now."""
        self.heard = now
        self._pinged = False
        stalled, self.stalled = self.stalled, False
        return stalled

    def know_for(self, expires_in: float | None, now: float) -> None:
        """It is known for so many seconds who the client is, or with None for good."""
        self._expires = self._ask = NEVER
        if expires_in is not None:
            self._expires = now + expires_in
            self._ask = self._expires - min(self._settings.refresh, expires_in / 2)

    def tick(self, now: float) -> Iterator[_Action]:
        """Give what is due. Nothing follows a `Closing`."""
        settings = self._settings
        if now >= self.heard + settings.heartbeat + settings.timeout:
            quiet = settings.heartbeat + settings.timeout
            yield Closing(CloseCode.SILENT, f"nothing heard for {quiet:g} s")
            return
        if now >= self.heard + settings.heartbeat and not self._pinged:
            self._pinged = True
            yield SendPing()
        if not self.stalled and now >= self.heard + settings.heartbeat + settings.timeout / 2:
            self.stalled = True
            yield Stall()
        if now >= self._expires:
            yield Closing(CloseCode.EXPIRED, "the identity has expired and no new token came")
            return
        if now >= self._ask:
            self._ask = now + settings.recheck
            yield AskForToken(self._expires - now)

    @property
    def deadline(self) -> float:
        """When `tick` has something to give, at the earliest."""
        settings = self._settings
        waited = settings.timeout if self.stalled else settings.timeout / 2
        quiet = self.heard + settings.heartbeat + (waited if self._pinged else 0.0)
        return min(quiet, self._ask, self._expires)
