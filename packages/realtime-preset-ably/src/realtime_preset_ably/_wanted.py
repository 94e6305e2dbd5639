"""What a link needs a token for, and what its token holds. No I/O.

A token names its channels, so a channel that is new asks for another token, which names all that are needed then. One
that is needed no longer is left out of the next.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeAlias

from ._grant import Denial, Grant

__all__ = ["Operation", "Use", "Wanted"]

Operation: TypeAlias = Literal["subscribe", "presence"]
Use: TypeAlias = tuple[str, Operation]
"""A channel by its wire name, and what for."""


class Wanted:
    """The bookkeeping of one link."""

    def __init__(self) -> None:
        self._uses: dict[Use, None] = {}
        self._granted: dict[str, frozenset[str]] = {}
        self._denied: dict[str, Denial] = {}

    def need(self, channel: str, operation: Operation) -> None:
        """A channel is needed from now on. Idempotent."""
        self._uses[channel, operation] = None

    def drop(self, channel: str, operation: Operation) -> None:
        """It is needed no longer. Idempotent."""
        self._uses.pop((channel, operation), None)

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels that the next token is to name, sorted."""
        return tuple(sorted({channel for channel, _ in self._uses}))

    def covers(self, channel: str, operation: Operation) -> bool:
        """Tell whether the token allows it."""
        return operation in self._granted.get(channel, ())

    def denial(self, channel: str, operation: Operation) -> Denial:
        """Return why the token does not allow it."""
        known = self._denied.get(channel)
        return known or Denial("denied", f"authorize does not grant {operation}", retryable=False)

    def undecided(self, grant: Grant) -> list[Use]:
        """Return what is in use and granted until now, and what this grant could not decide about."""
        undecided = {name for name, denial in grant.denied.items() if denial.retryable}
        return [use for use in self._uses if use[0] in undecided and self.covers(*use)]

    def renewed(self, grant: Grant, asked: Iterable[str]) -> list[Use]:
        """There is another token, for these channels.

        Returns:
            what is in use and was asked for, and had been granted until now.
        """
        former = self._granted
        self._granted, self._denied = dict(grant.granted), dict(grant.denied)
        names = frozenset(asked)
        return [
            (channel, operation)
            for channel, operation in self._uses
            if channel in names and operation in former.get(channel, ()) and not self.covers(channel, operation)
        ]
