"""Follows a shape log in one run of a collection: makes the requests, and shows what was read in whole states."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from inspect import isawaitable
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeAlias, cast
from urllib.parse import urlencode, urlsplit

from typing_extensions import TypeVar

from .. import rows as _rows
from .._errors import RowError
from .._sync.contract import SyncContext
from ._log import Reset, RowChange, ShapeError, ShapeLog
from ._values import Parser, parse_row

if TYPE_CHECKING:
    from .._collections.collection import Collection

__all__ = ["Fetch", "Headers", "Shape", "ShapeReader", "ShapeResponse"]

T = TypeVar("T")
K = TypeVar("K")

_REMEMBERED: Final = 1024
"""So many transaction ids are remembered for those who ask after the log has shown them."""

_QUIET: Final = 1.0
"""A held request that brings nothing is repeated no sooner than this many seconds after it was made."""


@dataclass(frozen=True, slots=True)
class ShapeResponse:
    """An answer of the server.

    Attributes:
        status: the HTTP status.
        headers: its headers; their names in any case.
        body: its text.
    """

    status: int
    headers: Mapping[str, str]
    body: str = ""


class Fetch(Protocol):
    """Makes a GET request.

    A server holds a request for a while, Electric for 20 s, so the time limit must be longer. Whatever it raises is
    taken for a network that fails: the request is made again.
    """

    def __call__(self, url: str, headers: Mapping[str, str], /) -> Awaitable[ShapeResponse]: ...


Headers: TypeAlias = "Mapping[str, str] | Callable[[], Mapping[str, str] | Awaitable[Mapping[str, str]]]"
"""Headers of every request, or a function that gives them before each one, for tokens that are renewed."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What is followed, and how; see `shapes.shape_collection_options`."""

    url: str
    params: Mapping[str, str]
    headers: Headers
    fetch: Fetch
    parsers: Mapping[str, Parser]
    retry_delay: Callable[[int], float]


@dataclass(frozen=True, slots=True)
class _Held(Generic[T]):
    """A row that is not shown yet, and the database transactions that wrote it."""

    row: T
    txids: frozenset[int]


class ShapeReader(Generic[T, K]):
    """Reads the log in one run of the collection.

    A new row may be what the server has made of a row that is shown under a temporary key. So while such an insert is
    under way, as `holds` tells, new rows are held back, and shown with its end. See `release`.

    Attributes:
        is_up_to_date: see `shapes.ShapeCollection.is_up_to_date`.
        error: see `shapes.ShapeCollection.last_error`.
        retry: set to cut a pause short.
        txids: the newest transaction ids that were shown.
        waiting: who waits for others.
    """

    def __init__(
        self, collection: Collection[T, K], ctx: SyncContext[T, K], shape: Shape, holds: Callable[[], bool]
    ) -> None:
        self.is_up_to_date = False
        self.error: Exception | None = None
        self.retry = asyncio.Event()
        self.txids: dict[int, None] = {}
        self.waiting: dict[int, list[asyncio.Future[None]]] = {}
        self._collection = collection
        self._ctx = ctx
        self._holds = holds
        self._shape = shape
        self._log = ShapeLog()
        self._keys: dict[str, K] = {}
        """Keys of the rows by the server's names: a delete need not tell more than a name."""
        self._staged: dict[K, T | None] = {}
        self._writers: dict[K, set[int]] = {}
        """The database transactions that wrote the staged rows."""
        self._held: dict[K, _Held[T]] = {}
        self._new_txids: list[int] = []
        self._is_reset = False
        self._resets = 0
        """How often the server has given up its log since it was read to its end."""

    async def run(self) -> None:
        """Read on, until the collection stops."""
        failures = 0
        loop = asyncio.get_running_loop()
        while True:
            self.retry.clear()
            asked_at, is_live = loop.time(), self._log.is_live
            try:
                shown = await self._step()
            except Exception as error:  # noqa: BLE001 -- it is the state of the collection
                failures += 1
                await self._failed(error, failures)
                continue
            failures = 0
            if is_live and not shown:
                await self._pause(asked_at + _QUIET - loop.time())

    async def _step(self) -> bool:
        """Make one request. Returns whether it brought anything."""
        shape = self._shape
        query = urlencode({**shape.params, **self._log.request()})
        given = shape.headers() if callable(shape.headers) else shape.headers
        headers = await given if isawaitable(given) else given
        answer = await shape.fetch(f"{shape.url}{'&' if urlsplit(shape.url).query else '?'}{query}", headers)
        events = self._log.receive(answer.status, answer.headers, answer.body)
        try:
            for event in events:
                if isinstance(event, RowChange):
                    self._stage(event)
                elif isinstance(event, Reset):
                    self._forget()
                    self._resets += 1
                else:
                    self._show()
                    self._resets = 0
        except Exception:
            # Some of the answer is lost, so the next try reads everything.
            self._log = ShapeLog()
            self._forget()
            raise
        if self._resets > 1:
            raise ShapeError("the server gives up its log before it was read", retryable=True)
        self.error = None
        if self._log.is_live and not self.is_up_to_date:
            self.is_up_to_date = True
            self._ctx.mark_ready()
        return bool(events)

    def _forget(self) -> None:
        self._staged.clear()
        self._writers.clear()
        self._held.clear()
        self._keys.clear()
        self._new_txids.clear()
        self._is_reset, self.is_up_to_date = True, False

    def _stage(self, change: RowChange) -> None:
        collection, name = self._collection, change.name
        self._new_txids += change.txids
        if change.operation == "delete":
            if (key := self._keys.pop(name, None)) is not None:
                self._staged[key] = None
            return
        values = parse_row(change.value, self._log.types, self._shape.parsers)
        known = self._keys.get(name)
        before = None if known is None else self._before(known)
        if change.operation == "update" and before is not None:
            row = cast("T", _rows.completed(before, values, collection.schema))
        else:
            row = cast("T", _rows.from_plain(values, collection.schema))
        key = collection._key(row)
        if known is not None and known != key:
            self._staged[known] = None
        self._keys[name] = key
        self._staged[key] = row
        self._writers.setdefault(key, set()).update(change.txids)

    def _is_new(self, key: K) -> bool:
        return self._collection._synced(key) is None and key not in self._collection.rows

    def release(self, txids: Iterable[int] | None) -> None:
        """Show rows that were held back.

        Args:
            txids: those of these database transactions, or None for all.
        """
        due = [key for key, held in self._held.items() if txids is None or not held.txids.isdisjoint(txids)]
        if due:
            self._ctx.begin()
            for key in due:
                self._ctx.update(self._held.pop(key).row)
            self._ctx.commit()

    def _before(self, key: K) -> T | None:
        if key in self._staged:
            return self._staged[key]
        if key in self._held:
            return self._held[key].row
        return None if self._is_reset else self._collection._synced(key)

    def _show(self) -> None:
        """What was read is one consistent state now."""
        staged, self._staged = self._staged, {}
        is_reset, self._is_reset = self._is_reset, False
        ctx, holds = self._ctx, self._holds()
        for key in [key for key in staged if key in self._held or (holds and self._is_new(key))]:
            row = staged[key]
            before = self._held.pop(key, None)
            if row is not None:
                del staged[key]
                txids = frozenset(self._writers[key])
                self._held[key] = _Held(row, txids if before is None else txids | before.txids)
        self._writers.clear()
        if staged or is_reset:
            ctx.begin()
            if is_reset:
                ctx.truncate()
            for key, row in staged.items():
                if row is None:
                    ctx.delete(key)
                else:
                    ctx.update(row)
            ctx.commit()
        shown, self._new_txids = self._new_txids, []
        for txid in shown:
            self.txids[txid] = None
            for waiter in self.waiting.pop(txid, ()):
                waiter.set_result(None)
        while len(self.txids) > _REMEMBERED:
            del self.txids[next(iter(self.txids))]

    async def _failed(self, error: Exception, failures: int) -> None:
        self.error, self.is_up_to_date = error, False
        self._log.catch_up()
        known = error if isinstance(error, ShapeError) else None
        # What a row cannot become, it will not become by being read again.
        is_final = isinstance(error, RowError) or (known is not None and not known.retryable)
        if is_final or not self._collection._life.was_ready:
            self._ctx.mark_error(error)
        if is_final:
            await self.retry.wait()
            return
        delay = self._shape.retry_delay(failures)
        await self._pause(delay if known is None or known.retry_after is None else max(delay, known.retry_after))

    async def _pause(self, seconds: float) -> None:
        if seconds > 0:
            try:
                async with asyncio.timeout(seconds):
                    await self.retry.wait()
            except TimeoutError:
                pass

    def forget(self, txid: int, waiter: asyncio.Future[None]) -> None:
        """Wait no longer."""
        waiters = self.waiting[txid]
        waiters.remove(waiter)
        if not waiters:
            del self.waiting[txid]

    def close(self, reason: Exception) -> None:
        """Nothing will be shown any more."""
        waiting, self.waiting = self.waiting, {}
        for waiters in waiting.values():
            for waiter in waiters:
                waiter.set_exception(reason)
