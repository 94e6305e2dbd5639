"""Channel names, their qualifiers, and the parameters of an ATTACH.

``[?rewind=3]todos:1`` is the channel ``todos:1`` with a parameter. Answers repeat the name as the client wrote it.

https://ably.com/docs/channels, https://ably.com/docs/channels/options
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from ._errors import AblyError
from ._wire import Flag

__all__ = ["ChannelName", "Rewind", "parse_name", "parse_rewind", "requested_modes"]

MAX_LENGTH: Final = 2048

_QUALIFIED: Final = re.compile(r"\[\?([^\]]*)\](.*)", re.DOTALL)
_RECOGNISED: Final = frozenset({"appendMode", "delta", "echo", "modes", "occupancy", "rewind"})
_REWIND: Final = re.compile(r"(\d{1,6})([sm]?)", re.ASCII)
_MAX_REWIND: Final = 100
_MAX_REWIND_TIME: Final = 120_000

_MODES: Final[Mapping[str, Flag]] = {
    "presence": Flag.PRESENCE,
    "publish": Flag.PUBLISH,
    "subscribe": Flag.SUBSCRIBE,
    "presence_subscribe": Flag.PRESENCE_SUBSCRIBE,
}
_ALL_MODES: Final = Flag.PRESENCE | Flag.PUBLISH | Flag.SUBSCRIBE | Flag.PRESENCE_SUBSCRIBE


@dataclass(frozen=True, slots=True)
class ChannelName:
    """A channel as a client named it.

    Attributes:
        wire: The name with its qualifier, which the client expects in every answer.
        name: The channel.
        params: The recognised parameters of the qualifier and of the ATTACH, the latter first.
    """

    wire: str
    name: str
    params: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Rewind:
    """How far back a first attach begins: a number of messages, or a time in milliseconds."""

    count: int | None = None
    duration: int | None = None


def parse_name(wire: str, params: Mapping[str, object] | None = None) -> ChannelName:
    """Read a channel's name and the parameters that came with it.

    Raises:
        AblyError: 40010 if no channel can have this name.
    """
    found = _QUALIFIED.fullmatch(wire)
    query, name = found.groups() if found else ("", wire)
    if not name or len(name) > MAX_LENGTH or name[0] in "[:" or any(char in name for char in "\r\n\0"):
        raise AblyError(
            f"{wire[:100]!r} is no channel name here: one is not empty, begins with neither ':' nor '[' and has no "
            "line breaks ([meta] and [queue] resources are not served)",
            40010,
        )
    merged: dict[str, object] = {**dict(parse_qsl(query)), **(params or {})}
    return ChannelName(wire, name, {key: str(value) for key, value in merged.items() if key in _RECOGNISED})


def parse_rewind(value: str | None) -> Rewind | None:
    """Read the parameter ``rewind``: ``"5"``, ``"30s"``, ``"2m"``.

    Raises:
        AblyError: 40003 for any other value.
    """
    if value is None:
        return None
    found = _REWIND.fullmatch(value)
    if found is None:
        raise AblyError(f"rewind is a number of messages or a time such as 15s or 2m, not {value!r}", 40003)
    number, unit = int(found[1]), found[2]
    if not unit:
        return Rewind(count=min(number, _MAX_REWIND))
    return Rewind(duration=min(number * (1000 if unit == "s" else 60_000), _MAX_REWIND_TIME))


def requested_modes(flags: int, params: Mapping[str, str]) -> Flag:
    """Return the channel modes that an ATTACH asks for: by its parameter ``modes``, else by its flags, else all."""
    named = Flag(0)
    for mode in params.get("modes", "").lower().split(","):
        named |= _MODES.get(mode.strip(), Flag(0))
    return named or Flag(flags & _ALL_MODES) or _ALL_MODES
