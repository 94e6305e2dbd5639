"""Channel keys: what a channel is called, and the one wire string that identifies it.

::

    ("todos", {"project_id": 7})  <-->  todos:project_id=7
    ("chat:typing", {"room": "a b"})  <-->  chat%3Atyping:room=a%20b
    ("news", {})  <-->  news

Namespace, names and values are percent-encoded outside ``[A-Za-z0-9_.~-]``; parameters are sorted by code point and
joined by ``&``. Every channel has exactly one wire string, so equal strings are equal channels, and nothing is guessed:
what `serialize_key` would not write, `parse_channel` does not read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, TypeAlias, cast
from urllib.parse import quote, unquote
from uuid import UUID

from ._errors import ChannelError

__all__ = ["MAX_CHANNEL_LENGTH", "Channel", "ChannelLike", "ChannelParam", "parse_channel", "serialize_key"]

MAX_CHANNEL_LENGTH: Final = 240
"""Longest wire string in characters, on every preset; the strictest provider allows 255 and presets add a prefix."""

_WORD: Final = r"(?:[A-Za-z0-9_.~-]|%[0-9A-F]{2})"
_WIRE: Final = re.compile(rf"({_WORD}+)(?::({_WORD}+={_WORD}*(?:&{_WORD}+={_WORD}*)*))?")


@dataclass(frozen=True, slots=True, eq=False)
class Channel:
    """A channel: what `authorize` gets, and what every function that takes a channel accepts.

    It is immutable and hashable, equal to every channel with the same wire string, and made for ``match``::

        match channel:
            case Channel("todos", {"project_id": project_id}):
                ...

    A mapping pattern ignores extra parameters; declare the channel's parameters on the server to have those refused.

    Attributes:
        namespace: the kind of channel, for example ``"todos"``. Not empty.
        params: parameter names and values, all `str`, read-only.
        raw: the wire string.

    Raises:
        ChannelError: a part that has no wire form, or a wire string of more than `MAX_CHANNEL_LENGTH` characters.
    """

    namespace: str
    params: Mapping[str, str] = field(default_factory=dict[str, str])
    raw: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        namespace, params = _plain(self.namespace, self.params)
        raw = _encode(namespace, params)
        object.__setattr__(self, "namespace", namespace)
        object.__setattr__(self, "params", MappingProxyType(params))
        object.__setattr__(self, "raw", raw)

    def __eq__(self, other: object) -> bool:
        return self.raw == other.raw if isinstance(other, Channel) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.raw)

    def __str__(self) -> str:
        return self.raw

    def __repr__(self) -> str:
        return f"Channel({self.namespace!r}, {dict(self.params)!r})"

    def __reduce__(self) -> tuple[type[Channel], tuple[str, dict[str, str]]]:
        return Channel, (self.namespace, dict(self.params))


ChannelParam: TypeAlias = str | int | UUID
"""A parameter's value as the application writes it. On the wire, and in a `Channel`, it is a `str`."""

ChannelLike: TypeAlias = Channel | tuple[str, Mapping[str, ChannelParam]]
"""A channel as the application writes it: ``("todos", {"project_id": 7})``, or a `Channel`."""


def serialize_key(channel: ChannelLike, /) -> str:
    """Return a channel's wire string.

    Args:
        channel: ``("todos", {"project_id": "123"})`` or a `Channel`.

    Returns:
        For example ``"todos:project_id=123"``: ASCII, at most `MAX_CHANNEL_LENGTH` characters.

    Raises:
        ChannelError: it is no channel; the message shows what to pass.
    """
    if isinstance(channel, Channel):
        return channel.raw
    pair = cast("object", channel)
    if isinstance(pair, str):
        raise ChannelError(
            f'{pair!r} is a string; pass a pair such as ("todos", {{"project_id": "1"}}), or parse_channel({pair!r}) '
            "for a wire string",
            reason="not a pair of namespace and parameters",
        )
    parts = list(cast("Sequence[Any]", pair)) if isinstance(pair, (tuple, list)) else []
    if len(parts) != 2:
        raise ChannelError(
            f'a channel is a pair of namespace and parameters, such as ("todos", {{"project_id": "1"}}), not {pair!r}',
            reason="not a pair of namespace and parameters",
        )
    return _encode(*_plain(parts[0], parts[1]))


def parse_channel(wire: str, /) -> Channel:
    """Return the channel of a wire string; the inverse of `serialize_key`.

    Safe for strings from the network: anything that is not exactly what `serialize_key` writes is refused.

    Raises:
        ChannelError: not a wire string in canonical form.
    """
    given = cast("object", wire)
    if not isinstance(given, str):
        raise ChannelError(f"a wire string is a str, not {given!r}", reason="not a string")
    if len(wire) > MAX_CHANNEL_LENGTH:
        raise _too_long(wire)
    return _parsed(str.__str__(wire))


# Every message names its channel, and those of a process are few. What is refused is not kept.
@lru_cache(maxsize=1024)
def _parsed(wire: str) -> Channel:
    found = _WIRE.fullmatch(wire)
    if found is None:
        raise _not_canonical(wire, "it is not of the form namespace:name=value&name=value")
    try:
        namespace = unquote(found[1], errors="strict")
        items = [
            tuple(unquote(word, errors="strict") for word in item.split("="))
            for item in (found[2].split("&") if found[2] is not None else ())
        ]
    except UnicodeDecodeError:
        raise _not_canonical(wire, "its percent-encoding is not UTF-8") from None
    params = {name: value for name, value in items}
    if len(params) != len(items):
        raise _not_canonical(wire, "a parameter occurs twice")
    channel = Channel(namespace, params)
    if channel.raw != wire:
        raise _not_canonical(wire, f"the canonical form is {channel.raw!r}")
    return channel


def _plain(namespace: object, params: object) -> tuple[str, dict[str, str]]:
    if not isinstance(namespace, str) or not namespace:
        raise ChannelError(
            f'a namespace is a non-empty str, such as "todos", not {namespace!r}', reason="bad namespace"
        )
    if not isinstance(params, Mapping):
        raise ChannelError(
            f'the parameters of channel {namespace!r} are a mapping such as {{"project_id": "1"}}, not {params!r}',
            reason="bad parameters",
        )
    plain: dict[str, str] = {}
    for name, value in cast("Mapping[object, object]", params).items():
        if not isinstance(name, str) or not name:
            raise ChannelError(
                f"a parameter name of channel {namespace!r} is a non-empty str, not {name!r}", reason="bad parameters"
            )
        plain[str.__str__(name)] = _value(namespace, name, value)
    return str.__str__(namespace), plain


def _value(namespace: str, name: str, value: object) -> str:
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            return int.__repr__(value)
        except ValueError:
            raise ChannelError(
                f"parameter {name!r} of channel {namespace!r} has too many digits", reason="bad parameters"
            ) from None
    raise ChannelError(
        f"parameter {name!r} of channel {namespace!r} is {value!r}; a value is a str, an int or a UUID, so pass for "
        f"example {name}=str(...)",
        reason="bad parameters",
    )


def _encode(namespace: str, params: Mapping[str, str]) -> str:
    try:
        wire = quote(namespace, safe="")
        if params:
            # By code point of the name itself, not of its encoding: "~" sorts after "é" in one and before in the other.
            wire += ":" + "&".join(f"{quote(name, safe='')}={quote(params[name], safe='')}" for name in sorted(params))
    except UnicodeEncodeError:
        raise ChannelError(
            f"channel {namespace!r} holds a lone surrogate, which has no UTF-8 form", reason="not Unicode text"
        ) from None
    if len(wire) > MAX_CHANNEL_LENGTH:
        raise _too_long(wire)
    return wire


def _too_long(wire: str) -> ChannelError:
    shown = f"{wire[:60]}…"
    return ChannelError(
        f"channel {shown!r} has {len(wire)} characters on the wire, {MAX_CHANNEL_LENGTH} is the limit; use shorter "
        "parameters, for example an id instead of a title",
        channel=shown,
        reason="too long",
    )


def _not_canonical(wire: str, why: str) -> ChannelError:
    return ChannelError(
        f"{wire!r} is not a channel's wire string: {why}; build it with serialize_key", channel=wire, reason=why
    )
