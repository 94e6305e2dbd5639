"""Rows on the wire: how a collection's rows are keyed, placed on a channel, versioned, and written as JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, cast

from typing_extensions import TypeVar

from tanstack_db import rows as _rows

from ._errors import RealtimeError
from ._parameters import Parameters

__all__ = ["SchemaCodec"]

T = TypeVar("T")


class SchemaCodec(Generic[T]):
    """A `RowCodec` for the row classes that tanstack-db knows.

    Args:
        schema: the row class, or None for plain dicts.
        get_key: gives a row's key.
        parameters: say which columns name the channel.
        version: gives a row's version, or None where rows have none.
    """

    def __init__(
        self,
        *,
        schema: type[T] | None,
        get_key: Callable[[T], Any],
        parameters: Parameters,
        version: Callable[[T], int] | None,
    ) -> None:
        self._schema = schema
        self._get_key = get_key
        self._channel = parameters.channel_of
        self._columns = tuple(parameters.columns.values())
        self._version = version

    def key(self, row: T, /) -> Any:
        return self._get_key(row)

    def scope(self, row: T, /) -> str:
        return self._channel(*[_rows.get(row, column) for column in self._columns])

    def decode(self, data: Mapping[str, Any], /) -> T:
        return cast("T", _rows.from_plain(data, self._schema))

    def placed(self, data: Mapping[str, Any], /) -> T:
        """Make a row that has a key and a place: without a schema any mapping is a row, also one that has neither."""
        row = self.decode(data)
        self.key(row)
        self.scope(row)
        return row

    def merge(self, row: T, data: Mapping[str, Any], /) -> T:
        return self.decode({**_rows.to_plain(row), **data})

    def version(self, row: T, /) -> int | None:
        if self._version is None:
            return None
        version = cast("object", self._version(row))
        if isinstance(version, bool) or not isinstance(version, int):
            raise RealtimeError(f"version gave {version!r} for a row; it must give an int that grows with each change")
        return version

    def encode(self, row: T, /) -> dict[str, Any]:
        """Return the row as a JSON object."""
        return _rows.to_plain(row)

    def row(self, item: object, /) -> T:
        """Make a row of what a server function returned: a row already, or its JSON object.

        Raises:
            SchemaError: it is neither.
        """
        if not _rows.is_row(item, self._schema) and isinstance(item, Mapping):
            return self.placed(cast("Mapping[str, Any]", item))
        _rows.check(item, self._schema)
        return cast("T", item)
