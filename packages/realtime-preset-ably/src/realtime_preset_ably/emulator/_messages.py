"""What clients may publish: messages and presence messages, checked whole before anything happens.

The checks are one for the socket and for REST. They give messages in stored form: the wire's names, payloads canonical,
the author stamped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import Any, Final, TypeAlias, cast

from ._errors import AblyError, bad_request
from ._plain import to_msgpack
from ._wire import Message, canonical

__all__ = ["Author", "PresenceAction", "check_messages", "check_presence", "size_of"]

Author: TypeAlias = Callable[[str | None], str | None]
"""Gives the client id to stamp for the one that a message claims, or refuses it."""

MAX_MESSAGES: Final = 1000
"""How many messages one publish may hold."""


MAX_ID: Final = 1024
MAX_ENCODING: Final = 256
"""Characters. Neither counts for the size of a message, so that they have bounds of their own."""


class PresenceAction(IntEnum):
    """What a presence message says of its member."""

    ABSENT = 0
    PRESENT = 1
    ENTER = 2
    LEAVE = 3
    UPDATE = 4


def check_messages(found: Sequence[Any], author: Author, max_size: int) -> list[Message]:
    """Return the messages of one publish in stored form.

    Raises:
        AblyError: 40000 for what is no message, 40012 for another's client id, 40013 for a payload that cannot be,
            40031 for ids that do not belong together, 40009 if they are too large together.
    """
    if not 0 < len(found) <= MAX_MESSAGES:
        raise bad_request(f"a publish holds 1 to {MAX_MESSAGES} messages, not {len(found)}")
    messages = [_message(item, author) for item in found]
    _check_ids([message["id"] for message in messages])
    _check_size(messages, max_size)
    return messages


def check_presence(found: Sequence[Any], author: Author, max_size: int) -> list[Message]:
    """Return the presence messages of one PRESENCE in stored form, each with its ``action``.

    Raises:
        AblyError: 40000 for what is none, 91000 for one without client id, and as :func:`check_messages`.
    """
    if not 0 < len(found) <= MAX_MESSAGES:
        raise bad_request(f"a PRESENCE holds 1 to {MAX_MESSAGES} presence messages, not {len(found)}")
    messages: list[Message] = []
    for item in found:
        message = _common(_object(item), author)
        if not message["clientId"]:
            raise AblyError("a presence member has a client id; connect with one, or enter with one", 91000)
        action: object = item.get("action")
        if action not in (PresenceAction.PRESENT, PresenceAction.ENTER, PresenceAction.LEAVE, PresenceAction.UPDATE):
            raise bad_request(f"a client enters (2), leaves (3) or updates (4), but the presence action is {action!r}")
        message["action"] = PresenceAction(cast("int", action))
        messages.append(message)
    _check_size(messages, max_size)
    return messages


def size_of(message: Mapping[str, Any]) -> int:
    """Return the bytes that a message counts for: those of its name, author, data and extras."""
    data: str | bytes | None = message.get("data")
    size = len(data.encode()) if isinstance(data, str) else len(data or b"")
    size += sum(len((message.get(field) or "").encode()) for field in ("name", "clientId"))
    extras = message.get("extras")
    return size + (len(json.dumps(extras, ensure_ascii=False).encode()) if extras else 0)


def _message(item: object, author: Author) -> Message:
    found = _object(item)
    if found.get("action") not in (None, 0):
        raise bad_request("this server publishes messages; it does not update, delete or append to them")
    return {**_common(found, author), "name": _text(found, "name")}


def _common(found: Mapping[str, Any], author: Author) -> Message:
    data, encoding = canonical(found)
    if encoding is not None and len(encoding) > MAX_ENCODING:
        raise bad_request(f"the encoding of a message has at most {MAX_ENCODING} characters")
    message_id = _text(found, "id")
    if message_id is not None and len(message_id) > MAX_ID:
        raise AblyError(f"the id of a message has at most {MAX_ID} characters", 40031)
    return {
        "id": message_id,
        "clientId": author(_text(found, "clientId")),
        "data": data,
        "encoding": encoding,
        "extras": _extras(found.get("extras")),
    }


def _object(item: object) -> Mapping[str, Any]:
    if not isinstance(item, dict):
        raise bad_request(f"a message is an object, not {type(item).__name__}")
    return cast("Mapping[str, Any]", item)


def _text(found: Mapping[str, Any], field: str) -> str | None:
    value: object = found.get(field)
    if value is not None and not isinstance(value, str):
        raise bad_request(f"the {field} of a message is text, not {type(value).__name__}")
    return value or None


def _extras(value: object) -> Mapping[str, Any] | None:
    if value is None:
        return None
    if isinstance(value, dict):
        # Readers of both formats must get them.
        try:
            json.dumps(value)
            to_msgpack(cast("object", value))
        except (TypeError, OverflowError):
            pass
        else:
            return cast("Mapping[str, Any]", value)
    raise bad_request("the extras of a message are an object of JSON values, with integers of at most 64 bits")


def _check_ids(ids: Sequence[str | None]) -> None:
    if len(ids) < 2 or not any(ids):
        return
    base = (ids[0] or "").rpartition(":")[0]
    if not base or list(ids) != [f"{base}:{index}" for index in range(len(ids))]:
        raise AblyError("ids of messages that are published together are one text with :0, :1, … after it", 40031)


def _check_size(messages: Sequence[Message], max_size: int) -> None:
    size = sum(size_of(message) for message in messages)
    if size > max_size:
        raise AblyError(f"{size} bytes are too large for one publish; at most {max_size} are allowed", 40009)
