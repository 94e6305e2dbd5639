"""Long results in pieces: `paged_query` shows one page at a time, `infinite_query` all pages up to the last one.

Both move the window of a live query of their own. They ask for one row more than they show, which tells whether there
is a next page without counting rows.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Self

from typing_extensions import TypeVar

from .._base.relation import LiveSource
from .._base.snapshot import Rows
from .._collections.subscription import require_callback
from .._errors import UsageError
from .._execution.paging import WindowMove
from ..query import QueryBuilder
from .live_query import LiveQuery, live_query

if TYPE_CHECKING:
    from .._collections.client import DbClient

__all__ = ["InfiniteQuery", "Page", "PagedQuery", "Pages", "infinite_query", "paged_query"]

T = TypeVar("T")
S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Pages(Generic[T]):
    """What an `InfiniteQuery` shows. Never changes; the next state is another object.

    Attributes:
        pages: the rows of each page. All but the last are full, also after rows came or went.
        has_next_page: whether there are more rows.
        is_fetching_next_page: whether a source is loading them.
        is_ready: whether the first page was loaded.
        error: why a source, the query or the last `InfiniteQuery.fetch_next_page` failed.
    """

    pages: tuple[Sequence[T], ...]
    has_next_page: bool
    is_fetching_next_page: bool
    is_ready: bool
    error: Exception | None

    @property
    def rows(self) -> Sequence[T]:
        """The rows of all pages."""
        return [row for page in self.pages for row in page]


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """What a `PagedQuery` shows. Never changes; the next state is another object.

    Attributes:
        rows: the rows of the page.
        number: which page, from 0.
        has_next_page: whether there are rows behind it.
        is_fetching: whether a source is loading its rows.
        is_ready: whether the first page that was asked for was loaded.
        error: why a source, the query or the last change of the page failed.
    """

    rows: Sequence[T]
    number: int
    has_next_page: bool
    is_fetching: bool
    is_ready: bool
    error: Exception | None

    @property
    def has_previous_page(self) -> bool:
        """Whether there is a page before it."""
        return self.number > 0


class _Windowed(Generic[T, S]):
    """A live query whose window is moved by pages. `S` is what it shows."""

    def __init__(self, live: LiveQuery[Rows[T]], page_size: int) -> None:
        _require_number("page_size", page_size, least=1)
        if live.ir.limit is not None or live.ir.offset:
            raise UsageError("a query in pages has no limit and no offset of its own: leave them out")
        self.page_size = page_size
        self._live = live
        self._move: WindowMove | None = None
        self._listeners: dict[object, Callable[[], object]] = {}
        self._shown: S | None = None
        self._rows: Rows[T] | None = None
        self._status: object = None
        """What `_shown` was made of."""

    def get(self) -> S:
        """Return what is shown now: the same object until something changed."""
        rows, move = self._live.get(), self._move
        is_fetching = move is not None and not move.is_loaded and move.error is None
        error = rows.error or (None if move is None else move.error)
        status = self._position(), is_fetching, error
        if self._shown is None or rows is not self._rows or status != self._status:
            self._rows, self._status = rows, status
            self._shown = self._snapshot(rows, is_fetching, error)
        return self._shown

    def subscribe(self, callback: Callable[[], object], /) -> Callable[[], None]:
        """Call `callback` whenever what `get` returns has changed.

        Returns:
            The function that stops it. Idempotent.
        """
        require_callback(callback, "subscribe")
        token = object()
        end = self._live.subscribe(callback)
        self._listeners[token] = callback

        def stop() -> None:
            self._listeners.pop(token, None)
            end()

        return stop

    async def preload(self) -> None:
        """Start, and wait until the first page is there.

        Raises:
            SourceError: a source failed; carries the cause.
            Exception: what a function of the query raised.
        """
        await self._live.preload()

    def close(self) -> None:
        """End every subscription. Idempotent."""
        self._listeners.clear()
        self._live.close()

    async def __aenter__(self) -> Self:
        await self._live.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def _position(self) -> object:
        """Return which pages are shown."""

    @abstractmethod
    def _snapshot(self, rows: Rows[T], is_fetching: bool, error: Exception | None, /) -> S: ...

    def _show(self, *, limit: int, offset: int, failed: Callable[[], None]) -> WindowMove:
        """Move the window. `failed` is called when its rows cannot be loaded, and it is back where it was."""
        self._move = move = self._live.set_window(limit=limit, offset=offset)

        def settled() -> None:
            if move.error is not None:
                failed()
            self._tell()

        if not move.is_loaded:
            move.then(settled)
            self._tell()
        return move

    def _tell(self) -> None:
        for token, callback in list(self._listeners.items()):
            if token in self._listeners:
                try:
                    callback()
                except Exception as error:  # noqa: BLE001 -- one subscriber's failure is not another's
                    self._live.client.report(error)


class InfiniteQuery(_Windowed[T, Pages[T]]):
    """All pages of a query up to the last one that was fetched; made by `infinite_query`.

    Attributes:
        page_size: rows in a page.
    """

    def __init__(self, live: LiveQuery[Rows[T]], page_size: int) -> None:
        super().__init__(live, page_size)
        self._count = 1
        live.set_window(limit=page_size + 1)

    def fetch_next_page(self) -> WindowMove:
        """Show one page more, if there is one. While one is being fetched, this is that fetch.

        Returns:
            Whether its rows are there, and something to await.
        """
        shown = self.get()
        if self._move is not None and (shown.is_fetching_next_page or not shown.has_next_page):
            return self._move
        if not shown.has_next_page:
            return self._live.set_window(limit=self._count * self.page_size + 1)
        self._count += 1
        return self._show(limit=self._count * self.page_size + 1, offset=0, failed=self._back)

    def _back(self) -> None:
        self._count -= 1

    def _position(self) -> object:
        return self._count

    def _snapshot(self, rows: Rows[T], is_fetching: bool, error: Exception | None, /) -> Pages[T]:
        size, end = self.page_size, min(len(rows), self._count * self.page_size)
        pages = tuple(rows[start : min(start + size, end)] for start in range(0, end, size)) or ((),)
        return Pages(pages, len(rows) > end, is_fetching, rows.is_ready, error)


class PagedQuery(_Windowed[T, Page[T]]):
    """One page of a query; made by `paged_query`.

    Attributes:
        page_size: rows in a page.
    """

    def __init__(self, live: LiveQuery[Rows[T]], page_size: int) -> None:
        super().__init__(live, page_size)
        self._number = 0
        live.set_window(limit=page_size + 1)

    def set_page(self, number: int, /) -> WindowMove:
        """Show another page. One behind the last is empty.

        Args:
            number: which page, from 0.

        Returns:
            Whether its rows are there, and something to await.

        Raises:
            UsageError: it is no page.
        """
        _require_number("number", number, least=0)
        before, self._number = self._number, number

        def back() -> None:
            # Where the window is after a failure: the last page that was loaded.
            self._number = self._live.ir.offset // self.page_size

        try:
            return self._show(limit=self.page_size + 1, offset=number * self.page_size, failed=back)
        except BaseException:
            self._number = before
            raise

    def next_page(self) -> WindowMove:
        """Show the next page, also where it is empty."""
        return self.set_page(self._number + 1)

    def previous_page(self) -> WindowMove:
        """Show the page before; the first one stays."""
        return self.set_page(max(0, self._number - 1))

    def _position(self) -> object:
        return self._number

    def _snapshot(self, rows: Rows[T], is_fetching: bool, error: Exception | None, /) -> Page[T]:
        size = self.page_size
        return Page(rows[:size], self._number, len(rows) > size, is_fetching, rows.is_ready, error)


def _require_number(name: str, value: object, *, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UsageError(f"{name} must be a number, {least} or more, not {value!r}")


def infinite_query(
    query: LiveSource[Rows[T]] | Callable[[QueryBuilder], LiveSource[Rows[T]]],
    /,
    *,
    page_size: int = 20,
    client: DbClient | None = None,
) -> InfiniteQuery[T]:
    """Show an ordered query from its first row on, page by page.

    Args:
        query: a query with an order and without a limit, or a function that builds one.
        page_size: rows in a page.
        client: whose collections are read; see `live_query`.

    Example:
        >>> feed = infinite_query(lambda q: q.from_(posts).order_by(lambda p: p.created_at, desc=True), page_size=50)
        >>> await feed.fetch_next_page().loaded()

    Raises:
        UsageError: the query has a limit, or `page_size` is no number of rows.
        QueryError: the query has no order, or cannot be built.
    """
    return InfiniteQuery(live_query(query, client=client), page_size)


def paged_query(
    query: LiveSource[Rows[T]] | Callable[[QueryBuilder], LiveSource[Rows[T]]],
    /,
    *,
    page_size: int = 20,
    client: DbClient | None = None,
) -> PagedQuery[T]:
    """Show an ordered query one page at a time. Arguments and errors as for `infinite_query`.

    Example:
        >>> table = paged_query(lambda q: q.from_(orders).order_by(lambda o: o.number))
        >>> table.set_page(3)
        >>> table.get().rows
    """
    return PagedQuery(live_query(query, client=client), page_size)
