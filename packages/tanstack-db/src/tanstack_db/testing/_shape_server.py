"""`ShapeServer`: a shape log in memory, for tests of what follows one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from ..shapes._reader import ShapeResponse

__all__ = ["ShapeServer"]

_UP_TO_DATE: Final = {"headers": {"control": "up-to-date"}}
_MUST_REFETCH: Final = [{"headers": {"control": "must-refetch"}}]


class ShapeServer:
    """Keeps one shape as a server of Electric's HTTP API does: a log, and requests that are held until there is news.

    Give `fetch` to `shape_collection_options`, or serve `answer` over HTTP.

    Args:
        key: the column that names a row.
        schema: as in the header ``electric-schema``, for rows of text: ``{"n": {"type": "int4"}}``.
        chunk: messages in one answer.
        hold: seconds for which a live request is held.

    Attributes:
        requests: query parameters and headers of every request.
        failures: what the next requests get in place of an answer, in order.
    """

    def __init__(
        self,
        *,
        key: str = "id",
        schema: Mapping[str, Mapping[str, Any]] | None = None,
        chunk: int = 100,
        hold: float = 20.0,
    ) -> None:
        self.requests: list[tuple[dict[str, str], Mapping[str, str]]] = []
        self.failures: list[Exception | ShapeResponse] = []
        self._key = key
        self._schema = schema
        self._chunk = chunk
        self._hold = hold
        self._rows: dict[Any, dict[str, Any]] = {}
        self._log: list[dict[str, Any]] = []
        self._generation = 1
        self._txid = 100
        self._news = asyncio.Event()

    # -- the table -----------------------------------------------------------------------------------------------------

    def write(self, *puts: Mapping[str, Any], deletes: Sequence[Any] = ()) -> int:
        """Write rows in one database transaction: whole new ones, or some columns of those that are there.

        Returns:
            The transaction's id.
        """
        self._txid += 1
        for put in puts:
            name = put[self._key]
            before = self._rows.get(name)
            self._rows[name] = {**(before or {}), **put}
            self._append("insert" if before is None else "update", name, dict(put))
        for name in deletes:
            del self._rows[name]
            self._append("delete", name, {self._key: name})
        self._wake()
        return self._txid

    def compact(self) -> None:
        """Give up the log: who follows it has to begin again, with the rows as they are."""
        self._generation += 1
        self._log = []
        for name, row in self._rows.items():
            self._append("insert", name, row)
        self._wake()

    def _append(self, operation: str, name: Any, value: Mapping[str, Any]) -> None:
        headers = {"operation": operation, "txids": [self._txid]}
        self._log.append({"key": f'"public"."rows"/"{name}"', "value": value, "headers": headers})

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    # -- requests ------------------------------------------------------------------------------------------------------

    async def fetch(self, url: str, headers: Mapping[str, str], /) -> ShapeResponse:
        """Answer a GET request. Raises what is in `failures`."""
        return await self.answer(dict(parse_qsl(urlsplit(url).query)), headers)

    async def answer(self, query: dict[str, str], headers: Mapping[str, str]) -> ShapeResponse:
        """Answer a request with these query parameters."""
        self.requests.append((query, headers))
        if self.failures:
            failure = self.failures.pop(0)
            if isinstance(failure, Exception):
                raise failure
            return failure
        handle, offset = f"log-{self._generation}", int(query["offset"]) + 1
        if query.get("handle", handle) != handle:
            return self._must_refetch()
        if query.get("live") == "true" and offset >= len(self._log):
            try:
                async with asyncio.timeout(self._hold):
                    await self._news.wait()
            except TimeoutError:
                pass
            if handle != f"log-{self._generation}":
                return self._must_refetch()
        messages: list[dict[str, Any]] = self._log[offset : offset + self._chunk]
        named = {"electric-handle": handle, "electric-offset": str(offset + len(messages) - 1)}
        if query.get("live") == "true":
            named["electric-cursor"] = str(len(self.requests))
        elif self._schema is not None:
            named["electric-schema"] = json.dumps(self._schema)
        if offset + len(messages) >= len(self._log):
            messages = [*messages, _UP_TO_DATE]
            named["electric-up-to-date"] = ""
        return ShapeResponse(200, named, json.dumps(messages))

    def _must_refetch(self) -> ShapeResponse:
        return ShapeResponse(409, {"electric-handle": f"log-{self._generation}"}, json.dumps(_MUST_REFETCH))
