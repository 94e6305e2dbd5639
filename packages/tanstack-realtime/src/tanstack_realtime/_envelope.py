"""The envelope of a row change: what a collection publishes and what it accepts.

On the wire a message is the seed form ``{"action": "insert", "data": {...}}`` plus what makes it safe::

    {"action": "update", "data": {...}, "key": "t1", "version": 7, "id": "…", "origin": "…"}
    {"changes": [{"action": …, "data": …, "key": …}, …], "id": "…", "origin": "…"}      a transaction of several
    {"action": "refetch", "id": "…", "origin": "…"}                                     rows changed; ask the database

``traceparent`` may stand beside them: the W3C trace context of the mutation.

``id`` names the mutation, ``origin`` the client instance that made it; together they let a client recognise its own
echo. ``key`` is the row's key as JSON; a delete needs nothing else. Unknown members are ignored, so the envelope can
grow; an unknown action is not guessed at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, cast

from ._errors import MessageError

__all__ = ["Action", "RowChange", "RowMessage", "WireKey", "is_traceparent", "parse_message", "row_message"]

Action: TypeAlias = Literal["insert", "update", "delete"]
WireKey: TypeAlias = str | int

_ACTIONS: Final[Mapping[object, Action]] = {"insert": "insert", "update": "update", "delete": "delete"}
_MAX_CHANGES: Final = 10_000
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)
"""https://www.w3.org/TR/trace-context/#traceparent-header"""


@dataclass(slots=True)
class RowChange:
    """One change of one row. Nobody changes it; frozen, it would take several times as long to make.

    Attributes:
        action: what happened to the row.
        data: the row as JSON object: whole, or for an update perhaps only the changed columns. None for a delete.
        key: the row's key as it travels, or None where the sender left it out.
        version: the row's version where the collection defines one.
    """

    action: Action
    data: Mapping[str, Any] | None = None
    key: WireKey | None = None
    version: int | None = None

    def to_wire(self) -> dict[str, Any]:
        """Return the JSON object of this change, without absent members."""
        wire: dict[str, Any] = {"action": self.action}
        if self.data is not None:
            wire["data"] = self.data
        if self.key is not None:
            wire["key"] = self.key
        if self.version is not None:
            wire["version"] = self.version
        return wire


@dataclass(slots=True)
class RowMessage:
    """A parsed message. Nobody changes it, as with `RowChange`.

    Attributes:
        changes: the changes, to be applied in one commit; empty for a refetch.
        id: mutation id, or None for the bare form.
        origin: client instance, or None.
        traceparent: the W3C trace context of the mutation, or None.
    """

    changes: tuple[RowChange, ...] = ()
    id: str | None = None
    origin: str | None = None
    traceparent: str | None = None

    @property
    def is_refetch(self) -> bool:
        """Whether the message only says that rows changed."""
        return not self.changes


def row_message(
    changes: Iterable[RowChange],
    *,
    id: str,  # noqa: A002 -- the wire's name
    origin: str,
    traceparent: str | None = None,
) -> dict[str, Any]:
    """Build the message that is published for one channel.

    Args:
        changes: what to tell; nothing means "refetch".
        id: the mutation id; a retry uses the same.
        origin: this client instance.
        traceparent: the W3C trace context of the mutation, where it is traced.

    Returns:
        A JSON object: the flat form for one change, ``changes`` for several.
    """
    wires = [change.to_wire() for change in changes]
    if not wires:
        body: dict[str, Any] = {"action": "refetch"}
    elif len(wires) == 1:
        body = wires[0]
    else:
        body = {"changes": wires}
    body |= {"id": id, "origin": origin}
    if traceparent is not None:
        body["traceparent"] = traceparent
    return body


def parse_message(data: object) -> RowMessage:
    """Check a message from the network.

    Args:
        data: the decoded payload, from an untrusted sender.

    Raises:
        MessageError: it is not a row message. Nothing of it may be applied: a transaction is all or nothing.
    """
    body = _object(data, "a row message")
    message_id, origin = _optional_string(body, "id"), _optional_string(body, "origin")
    trace = _traceparent(body)
    if "changes" in body:
        items = body["changes"]
        if isinstance(items, str) or not isinstance(items, Sequence) or not items:
            raise MessageError('"changes" must be a non-empty list of changes')
        items = cast("Sequence[object]", items)
        if len(items) > _MAX_CHANGES:
            raise MessageError(
                f'"changes" has {len(items)} entries; {_MAX_CHANGES} is the limit, publish a refetch instead'
            )
        return RowMessage(tuple(_parse_change(_object(item, "a change")) for item in items), message_id, origin, trace)
    if body.get("action") == "refetch":
        return RowMessage((), message_id, origin, trace)
    return RowMessage((_parse_change(body),), message_id, origin, trace)


def _parse_change(body: Mapping[str, Any]) -> RowChange:
    named = body.get("action")
    action = _ACTIONS.get(named) if isinstance(named, str) else None
    if action is None:
        raise MessageError(f'"action" is {named!r}; known are insert, update, delete and refetch')
    key = body.get("key")
    if key is not None and (isinstance(key, bool) or not isinstance(key, (str, int))):
        raise MessageError(f'"key" must be a string or an integer, not {key!r}')
    version = body.get("version")
    if version is not None and (isinstance(version, bool) or not isinstance(version, int)):
        raise MessageError(f'"version" must be an integer, not {version!r}')
    data = body.get("data")
    if action == "delete":
        if data is not None and not isinstance(data, Mapping):
            raise MessageError('"data" of a delete must be an object or absent')
        if key is None and data is None:
            raise MessageError('a delete needs its "key"')
        return RowChange(action, cast("Mapping[str, Any] | None", data), key, version)
    return RowChange(action, _object(data, f'"data" of an {action}'), key, version)


def _object(value: object, what: str) -> Mapping[str, Any]:
    # The class first that JSON has: asking the abstract one takes longer than everything else here.
    if type(value) is not dict and not isinstance(value, Mapping):
        raise MessageError(f"{what} must be a JSON object, not {type(value).__name__}")
    return cast("Mapping[str, Any]", value)


def _optional_string(body: Mapping[str, Any], name: str) -> str | None:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise MessageError(f'"{name}" must be a string, not {type(value).__name__}')
    return value


def _traceparent(body: Mapping[str, Any]) -> str | None:
    # A trace is for people who look; a broken one is not a reason to refuse a row.
    value = body.get("traceparent")
    return value if isinstance(value, str) and is_traceparent(value) else None


def is_traceparent(text: str) -> bool:
    """Whether it has the form of a W3C trace context."""
    return _TRACEPARENT.fullmatch(text) is not None
