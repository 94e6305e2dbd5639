"""Grants that end: until when each is good, and what is to be asked again. No I/O and no clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["NEVER", "Leases"]

NEVER: Final = float("inf")

_TRIES: Final = 10


@dataclass(slots=True)
class _Lease:
    expires: float
    failures: int = 0


class Leases:
    """The limited grants of one connection, by name.

    Args:
        retry: seconds after which an expired grant is asked for again where it could not be decided.

    Attributes:
        due: when the first of them ends, or earlier.
    """

    def __init__(self, *, retry: float) -> None:
        self.due = NEVER
        self._retry = retry
        self._leases: dict[str, _Lease] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._leases

    def grant(self, name: str, expires_in: float | None, now: float) -> None:
        """Something is granted for so many seconds, or with None for good."""
        if expires_in is None:
            self._leases.pop(name, None)
        else:
            self._leases[name] = _Lease(now + expires_in)
            self.due = min(self.due, now + expires_in)

    def end(self, name: str) -> None:
        """It is granted no longer."""
        self._leases.pop(name, None)

    def clear(self) -> None:
        """Nothing is granted any more."""
        self._leases.clear()

    def expired(self, now: float) -> list[str]:
        """Return what must be asked for again. Each is named once; `grant`, `undecided` or `end` follows."""
        if now < self.due:
            return []
        names = [name for name, lease in self._leases.items() if now >= lease.expires]
        for name in names:
            self._leases[name].expires = NEVER
        self.due = min((lease.expires for lease in self._leases.values()), default=NEVER)
        return names

    def undecided(self, name: str, now: float) -> bool:
        """It could not be decided. Returns whether it is good until the next try: not for ever.

        A database that is away for a moment must not empty everybody's screen.
        """
        lease = self._leases[name]
        if lease.failures >= _TRIES:
            return False
        lease.failures += 1
        lease.expires = now + self._retry
        self.due = min(self.due, lease.expires)
        return True
