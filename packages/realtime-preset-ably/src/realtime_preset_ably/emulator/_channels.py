"""The channels of one app. They open when they are named, and close when nothing would be lost with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ._channel import Channel
from ._errors import AblyError
from ._limits import Limits
from ._log import Budget

__all__ = ["Channels"]

_BETWEEN_SWEEPS: Final = 1_000
"""Milliseconds. Looking through thousands of channels for every one that is refused would hold up all clients."""


class Channels:
    """A bounded set of channels."""

    def __init__(self, limits: Limits, clock: Callable[[], int], persists: Callable[[str], bool]) -> None:
        """Begin without channels; ``persists`` tells of which ones history is kept for long."""
        self._limits = limits
        self._now = clock
        self._persists = persists
        self._budget = Budget(limits.log_bytes_in_all)
        self._members_budget = Budget(limits.members_bytes_in_all)
        self._channels: dict[str, Channel] = {}
        self._swept = 0

    def channel(self, name: str) -> Channel:
        """Return the channel of a name, opening it if need be.

        Raises:
            AblyError: 42910 if there are too many.
        """
        found = self._channels.get(name)
        if found is None:
            if len(self._channels) >= self._limits.channels and self._now() >= self._swept + _BETWEEN_SWEEPS:
                self.sweep()
            if len(self._channels) >= self._limits.channels:
                raise AblyError(f"there are {self._limits.channels} channels in use already", 42910)
            found = self._channels[name] = Channel(
                name, self._limits, self._budget, self._members_budget, persists=self._persists(name)
            )
        return found

    def find(self, name: str) -> Channel | None:
        """Return the channel of a name, if it is open."""
        return self._channels.get(name)

    def names(self) -> list[str]:
        """Return the names of the open channels, sorted."""
        return sorted(self._channels)

    def sweep(self) -> None:
        """Drop old messages everywhere, and the channels that are idle."""
        now = self._swept = self._now()
        for name, channel in list(self._channels.items()):
            channel.log.trim(now)
            if channel.is_idle:
                del self._channels[name]

    def forget_messages(self) -> None:
        """Lose what was sent on all channels, as a server does that restarts. Nobody can resume them."""
        for name, channel in list(self._channels.items()):
            channel.forget_messages()
            if channel.is_idle:
                del self._channels[name]
