"""Positions in a channel: Ably's serials as the numbers that the core counts with.

Ably marks a place in a channel with a serial, a string that only Ably can read. Who attaches with one gets what came
after it, or is told that this is not possible any more. Links number what they hear from there, and each position
carries the serial that it stands for, so it is good on any later connection.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from tanstack_realtime import Position

__all__ = ["Attachment", "SerialPosition", "Stream"]


@dataclass(frozen=True, slots=True)
class SerialPosition(Position):
    """A place in a channel.

    Attributes:
        serial: what Ably calls it.
    """

    serial: str = field(default="", compare=False)


class Attachment(enum.Enum):
    """What an ATTACHED means for those who listen."""

    FIRST = enum.auto()
    """Messages arrive from now on."""
    RECOVERED = enum.auto()
    """What came after the position follows, all of it."""
    LOST = enum.auto()
    """What came after the position may be lost; messages arrive from now on."""
    SAME = enum.auto()
    """Nothing happened: every re-authorisation attaches all channels again."""
    GAP = enum.auto()
    """The channel went on without us for a while."""


_MEANING: Final[Mapping[tuple[bool, bool, bool], Attachment]] = {
    # attached before, a position was named, Ably says that it resumed
    (False, False, False): Attachment.FIRST,
    (False, False, True): Attachment.FIRST,
    (False, True, False): Attachment.LOST,
    (False, True, True): Attachment.RECOVERED,
    (True, False, False): Attachment.GAP,
    (True, False, True): Attachment.SAME,
    (True, True, False): Attachment.GAP,
    (True, True, True): Attachment.SAME,
}
_BEGINS_ANEW: Final = frozenset({Attachment.FIRST, Attachment.LOST, Attachment.GAP})


class Stream:
    """One channel as one link hears it.

    Args:
        since: where to go on, or None at the beginning. A position of another preset is of no use.
        new_epoch: names a life of the stream.

    Attributes:
        serial: to attach with, or None.
    """

    def __init__(self, since: Position | None, new_epoch: Callable[[], str]) -> None:
        known = since if isinstance(since, SerialPosition) and since.serial else None
        self.serial: Final = None if known is None else known.serial
        self._here = known
        self._named = since is not None
        self._new_epoch = new_epoch
        self._attached = False

    @property
    def position(self) -> SerialPosition | None:
        """Where the channel is; None before it is attached for the first time."""
        return self._here

    def attached(self, serial: str, *, resumed: bool) -> Attachment:
        """Ably has attached the channel at `serial`."""
        meaning = _MEANING[self._attached, self._named, resumed and self._here is not None]
        self._attached = True
        if meaning in _BEGINS_ANEW:
            self._here = SerialPosition(self._new_epoch(), 0, serial)
        return meaning

    def message(self, serial: str) -> SerialPosition:
        """Number the message that came with `serial`, which several messages of one frame share."""
        assert self._here is not None, "messages follow an ATTACHED"
        self._here = SerialPosition(self._here.epoch, self._here.offset + 1, serial or self._here.serial)
        return self._here
