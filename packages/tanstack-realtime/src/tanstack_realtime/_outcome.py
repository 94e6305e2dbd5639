"""What one transaction did on the server, and what the others are told about it.

A transaction is one message per channel. The channel of a change comes from the row's parameter columns: a delete uses
the row that was there, an update that moved a row to another channel is a delete on the old one and an insert on the
new one. Where the server function did not say what became of a row, the channel is told to refetch: the optimistic row
is never published.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic

from typing_extensions import TypeVar

from ._envelope import RowChange, row_message
from ._json import Encoded
from ._replica import RowCodec, wire_key

__all__ = ["Outcome"]

T = TypeVar("T")


@dataclass(slots=True)
class Outcome(Generic[T]):
    """The growing result of one transaction in one collection.

    Attributes:
        codec: how rows are keyed, placed and versioned.
        encode: a row as JSON object.
        id: the mutation id that the messages carry.
        expected: mutations of the transaction in this collection.
        accepted: mutations whose result is known so far.
        traceparent: the trace context that the messages carry, or None.
    """

    codec: RowCodec[T]
    encode: Callable[[T], Mapping[str, Any]]
    id: str
    expected: int
    accepted: int = 0
    traceparent: str | None = None
    _changes: dict[str, list[RowChange]] = field(default_factory=dict[str, list[RowChange]])
    _refetch: set[str] = field(default_factory=set[str])

    @property
    def is_complete(self) -> bool:
        """Whether every mutation has been accepted."""
        return self.accepted >= self.expected

    def inserted(self, row: T) -> None:
        """The server has this new row."""
        self._put("insert", row)

    def updated(self, original: T, row: T) -> None:
        """The server has `row` where it had `original`."""
        if self.codec.scope(original) == self.codec.scope(row) and self.codec.key(original) == self.codec.key(row):
            self._put("update", row)
        else:
            self.deleted(original)
            self._put("insert", row)

    def deleted(self, row: T) -> None:
        """The server no longer has `row`."""
        change = RowChange("delete", None, wire_key(self.codec.key(row)), self.codec.version(row))
        self._changes.setdefault(self.codec.scope(row), []).append(change)

    def unknown(self, channel: str) -> None:
        """Something changed on the channel; the server function did not say what."""
        self._refetch.add(channel)

    def messages(self, *, origin: str, limit: int) -> dict[str, Encoded]:
        """Return the message of each channel.

        Args:
            origin: this client instance.
            limit: largest message in bytes. A larger one, and one that JSON cannot carry, becomes a refetch.
        """
        found: dict[str, Encoded] = {}
        message = partial(row_message, id=self.id, origin=origin, traceparent=self.traceparent)
        for channel in {**self._changes, **dict.fromkeys(sorted(self._refetch))}:
            changes = () if channel in self._refetch else self._changes[channel]
            found[channel] = _fitting(message(changes), limit) or Encoded(message(()))
        return found

    def _put(self, action: Any, row: T) -> None:
        try:
            data = self.encode(row)
        except Exception:  # noqa: BLE001 -- the server has the row; the others can still fetch it
            self.unknown(self.codec.scope(row))
            return
        change = RowChange(action, data, wire_key(self.codec.key(row)), self.codec.version(row))
        self._changes.setdefault(self.codec.scope(row), []).append(change)


def _fitting(message: Mapping[str, Any], limit: int) -> Encoded | None:
    try:
        encoded = Encoded(message)
    except ValueError:
        return None
    return encoded if len(encoded.text.encode()) <= limit else None
