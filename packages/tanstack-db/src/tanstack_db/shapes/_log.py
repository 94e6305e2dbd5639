"""The protocol of a shape log, without I/O: which request comes next, and what an answer means.

A *shape* is a filtered table. Its server keeps a log: first the rows as inserts, then every change, each at an offset.
A client reads from offset -1 on until it is up to date, and from there on with requests that the server holds until
there is something new::

    offset=-1 ──> chunk ──> chunk ──> up-to-date ──> live request ──> live request …
       ^                                                  │
       └────────────── 409, must-refetch ─────────────────┘

It is the protocol of Electric's HTTP API, https://electric-sql.com/docs/api/http.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, cast

from .._errors import DbError
from ._values import ColumnType, column_types

__all__ = ["Event", "Reset", "RowChange", "ShapeError", "ShapeLog", "UpToDate"]

_START: Final = "-1"
_RETRYABLE: Final = frozenset((408, 425, 429))


class ShapeError(DbError):
    """The server did not give what the log needs.

    Attributes:
        status: the HTTP status, or None where there was no answer, or one that cannot be understood.
        retryable: whether the same request may succeed later. If not, something has to change first: who is logged in,
            or what is asked for.
        retry_after: seconds that the server asks to wait, or None.
    """

    def __init__(
        self, message: str, *, status: int | None = None, retryable: bool, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retryable = retryable
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class RowChange:
    """One row of the log.

    Attributes:
        operation: an update may have only the columns that changed, a delete only those of the primary key.
        name: the server's name of the row.
        value: columns and values, as they were sent.
        txids: the database transactions that made the change.
    """

    operation: Literal["insert", "update", "delete"]
    name: str
    value: Mapping[str, Any]
    txids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class UpToDate:
    """Everything before is one consistent state."""


@dataclass(frozen=True, slots=True)
class Reset:
    """What follows is the shape from scratch; everything before is void."""


Event: TypeAlias = RowChange | UpToDate | Reset


class ShapeLog:
    """Where a client is in a log.

    Attributes:
        types: the schema that the server has sent.
        is_live: whether the next request may be held by the server.
    """

    def __init__(self) -> None:
        self.types: Mapping[str, ColumnType] = {}
        self.is_live = False
        self._offset = _START
        self._handle: str | None = None
        self._cursor: str | None = None

    def request(self) -> dict[str, str]:
        """Return the query parameters of the next request."""
        parameters = {"offset": self._offset}
        if self._handle is not None:
            parameters["handle"] = self._handle
        if self.is_live:
            parameters["live"] = "true"
            if self._cursor is not None:
                parameters["cursor"] = self._cursor
        return parameters

    def catch_up(self) -> None:
        """Have the next request answered at once: after a failure, to know soon that all is well again."""
        self.is_live = False

    def receive(self, status: int, headers: Mapping[str, str], body: str) -> Sequence[Event]:
        """Take an answer; the next request then follows it.

        Args:
            status: the HTTP status.
            headers: its headers; their names in any case.
            body: its text.

        Raises:
            ShapeError: it is none of a log. The next request is then the same once more.
        """
        named = {name.lower(): value for name, value in headers.items()}
        if status == 409:
            self._begin_again(named.get("electric-handle"))
            return (Reset(),)
        if status not in (200, 204):
            raise _refused(status, named, body)
        try:
            events = _events(body) if status == 200 else ()
            types = column_types(named["electric-schema"]) if "electric-schema" in named else self.types
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ShapeError(f"the answer is no shape log: {error}", retryable=True) from error
        if any(isinstance(event, Reset) for event in events):
            self._begin_again(named.get("electric-handle"))
            return (Reset(),)
        offset = named.get("electric-offset", self._offset)
        if not self.is_live and "electric-up-to-date" in named and not any(map(_is_up_to_date, events)):
            events = (*events, UpToDate())
        is_up_to_date = any(map(_is_up_to_date, events))
        if not self.is_live and not is_up_to_date and offset == self._offset:
            raise ShapeError("the answer has no electric-offset to go on from", retryable=True)
        self.types, self._offset = types, offset
        self._handle = named.get("electric-handle", self._handle)
        self._cursor = named.get("electric-cursor", self._cursor)
        self.is_live = self.is_live or is_up_to_date
        return events

    def _begin_again(self, handle: str | None) -> None:
        self.is_live = False
        self._offset, self._handle, self._cursor = _START, handle, None


def _is_up_to_date(event: Event) -> bool:
    return isinstance(event, UpToDate)


def _events(body: str) -> tuple[Event, ...]:
    messages: object = json.loads(body) if body else []
    if not isinstance(messages, list):
        raise ValueError("a list of messages was expected")
    events = (_event(message) for message in cast("list[dict[str, Any]]", messages))
    return tuple(event for event in events if event is not None)


def _event(message: Mapping[str, Any]) -> Event | None:
    headers: Mapping[str, Any] = message["headers"]
    control = headers.get("control")
    if control == "up-to-date":
        return UpToDate()
    if control == "must-refetch":
        return Reset()
    operation = headers.get("operation")
    if operation not in ("insert", "update", "delete"):
        # Kinds of messages that come later in the protocol's life are for those who know them.
        return None
    txids = tuple(int(txid) for txid in headers.get("txids", ()))
    return RowChange(operation, str(message["key"]), dict(message.get("value") or {}), txids)


def _refused(status: int, headers: Mapping[str, str], body: str) -> ShapeError:
    wait = headers.get("retry-after", "")
    reason = {401: "log in again", 403: "this user may not read the shape"}.get(status, body[:200])
    return ShapeError(
        f"the server answered {status}: {reason}",
        status=status,
        retryable=status >= 500 or status in _RETRYABLE,
        retry_after=float(wait) if wait.isdecimal() else None,
    )
