"""Protocol messages: their numbers, and their way into and out of JSON and MessagePack.

A connection speaks one of two formats, and a channel has readers of both. Payloads are therefore kept in one canonical
form, as a MessagePack reader would get them: text or bytes, with ``encoding`` naming what a reader has still to undo.
JSON has no bytes, so a JSON reader gets them as base64 and one more step in ``encoding``.

https://github.com/ably/specification/blob/main/specifications/protocol.md
"""

from __future__ import annotations

import binascii
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from enum import IntEnum, IntFlag
from typing import Any, Final, Literal, TypeAlias, cast

from ._errors import AblyError, bad_request
from ._plain import from_json, from_msgpack, to_msgpack

__all__ = ["Action", "Flag", "Format", "Frame", "Message", "canonical", "decode", "for_reader", "pack"]

Format: TypeAlias = Literal["json", "msgpack"]

Message: TypeAlias = dict[str, Any]
"""A message or a presence message by the wire's names, its ``data`` in canonical form."""


class Action(IntEnum):
    """What a protocol message is."""

    HEARTBEAT = 0
    ACK = 1
    NACK = 2
    CONNECT = 3
    CONNECTED = 4
    DISCONNECT = 5
    DISCONNECTED = 6
    CLOSE = 7
    CLOSED = 8
    ERROR = 9
    ATTACH = 10
    ATTACHED = 11
    DETACH = 12
    DETACHED = 13
    PRESENCE = 14
    MESSAGE = 15
    SYNC = 16
    AUTH = 17
    ACTIVATE = 18
    OBJECT = 19
    OBJECT_SYNC = 20
    ANNOTATION = 21


class Flag(IntFlag):
    """Bits of ``flags`` in ATTACH and ATTACHED. The upper ones are channel modes."""

    HAS_PRESENCE = 1
    HAS_BACKLOG = 1 << 1
    RESUMED = 1 << 2
    ATTACH_RESUME = 1 << 5
    PRESENCE = 1 << 16
    PUBLISH = 1 << 17
    SUBSCRIBE = 1 << 18
    PRESENCE_SUBSCRIBE = 1 << 19


class Frame:
    """A protocol message on its way out. It is encoded once per format, however many connections read it."""

    __slots__ = ("_encoded", "fields")

    fields: Mapping[str, Any]

    def __init__(self, action: Action, **fields: object) -> None:
        """Make a message of the fields that are not ``None``, under the wire's names."""
        self.fields = {"action": int(action)} | {name: value for name, value in fields.items() if value is not None}
        self._encoded: dict[Format, str | bytes] = {}

    @property
    def action(self) -> Action:
        """What the message is."""
        return Action(self.fields["action"])

    def encoded(self, format: Format) -> str | bytes:  # noqa: A002 - the protocol's own name
        """Return the WebSocket message: text for JSON, bytes for MessagePack."""
        found = self._encoded.get(format)
        if found is None:
            fields = dict(self.fields)
            for name in ("messages", "presence"):
                if name in fields:
                    fields[name] = [for_reader(message, format) for message in fields[name]]
            found = self._encoded[format] = pack(fields, format)
        return found

    def __repr__(self) -> str:
        return f"Frame({self.action.name}, { ({k: v for k, v in self.fields.items() if k != 'action'})!r})"


_ACTIONS: Final = frozenset(Action)

_TYPES: Final[Mapping[str, type]] = {
    "channel": str,
    "channelSerial": str,
    "id": str,
    "count": int,
    "flags": int,
    "msgSerial": int,
    "messages": list,
    "presence": list,
    "annotations": list,
    "params": dict,
    "auth": dict,
}
"""What a client may send, beside ``action``. Other fields are not read."""

_MAX_INTEGER: Final = 2**53 - 1


def decode(raw: str | bytes) -> dict[str, Any]:
    """Return the fields of a client's protocol message, checked for their types. Nulls are left out.

    Text is JSON and bytes are MessagePack, whatever ``format`` the connection was opened with.

    Raises:
        AblyError: 40000 if it is no protocol message.
    """
    try:
        found: Any = from_msgpack(raw) if isinstance(raw, bytes) else from_json(raw)
    except ValueError as error:
        raise bad_request(f"a protocol message is one JSON or MessagePack object: {error}") from None
    if not isinstance(found, dict):
        raise bad_request(f"a protocol message is an object, not {type(found).__name__}")
    found = cast("dict[str, Any]", found)
    action: Any = found.get("action")
    if not _is(action, int) or action not in _ACTIONS:
        raise bad_request(f"unknown action {action!r}")
    fields: dict[str, Any] = {"action": Action(action)}
    for name, expected in _TYPES.items():
        value: Any = found.get(name)
        if value is None:
            continue
        if not _is(value, expected):
            raise bad_request(f"{name!r} of a protocol message is a {expected.__name__}, not {type(value).__name__}")
        if expected is int and not 0 <= value <= _MAX_INTEGER:
            raise bad_request(f"{name!r} of a protocol message is between 0 and 2**53 - 1")
        fields[name] = value
    return fields


def canonical(message: Mapping[str, Any]) -> tuple[str | bytes | None, str | None]:
    """Return ``data`` and ``encoding`` of a client's message in canonical form.

    Objects and arrays become JSON text; a last ``base64`` is undone.

    Raises:
        AblyError: 40013 if the payload is neither text, bytes, object nor array; 40000 if it is no base64.
    """
    data, encoding = message.get("data"), message.get("encoding") or None
    if encoding is not None and not isinstance(encoding, str):
        raise bad_request(f"the encoding of a message is text, not {type(encoding).__name__}")
    if isinstance(data, dict | list):
        text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, default=_refuse)
        return text, _steps(encoding, "json")
    if isinstance(data, str) and encoding is not None and encoding.rpartition("/")[2] == "base64":
        try:
            return b64decode(data), encoding.rpartition("/")[0] or None
        except binascii.Error:
            raise bad_request("the data of a message says that it is base64 and is not") from None
    if data is None or isinstance(data, str | bytes):
        return data, encoding
    raise AblyError(f"the data of a message is text, bytes, an object or an array, not {type(data).__name__}", 40013)


def for_reader(message: Mapping[str, Any], format: Format) -> Mapping[str, Any]:  # noqa: A002
    """Return a stored message as a reader of a format gets it."""
    data = message.get("data")
    if format == "msgpack" or not isinstance(data, bytes):
        return message
    encoded = b64encode(data).decode("ascii")
    return {**message, "data": encoded, "encoding": _steps(message.get("encoding"), "base64")}


def pack(value: object, format: Format) -> str | bytes:  # noqa: A002
    """Encode plain data: compact text for JSON, bytes for MessagePack."""
    if format == "json":
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return to_msgpack(value)


def _steps(encoding: str | None, last: str) -> str:
    return f"{encoding}/{last}" if encoding else last


def _is(value: object, expected: type) -> bool:
    return isinstance(value, expected) and not (expected is int and isinstance(value, bool))


def _refuse(value: object) -> object:
    raise AblyError(f"an object within the data of a message holds {type(value).__name__}, which JSON has not", 40013)
