"""What a live query shows: `Rows`, an immutable list that is built when it is first read, and `JoinRow`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, Generic, cast, overload
from weakref import ref

from typing_extensions import TypeVar

from .._errors import did_you_mean

__all__ = ["JoinRow", "Rows", "Shown", "join_row_type"]

Out = TypeVar("Out", covariant=True)


class Rows(Sequence[Out], Generic[Out]):
    """The result of a live query at one moment. Never changes; the next result is another object.

    Compares equal to any list, tuple or `Rows` with equal items in the same order, whatever the status.

    Args:
        items: the items, or the function that gives them when they are first read.
        is_ready: see below.
        error: see below.

    Attributes:
        is_ready: whether every source has delivered what the query asked for. Rows may be there before.
        error: why the query or one of its sources fails; the rows are then the last good ones.
    """

    __slots__ = ("__weakref__", "_items", "_source", "error", "is_ready")
    __hash__ = None  # type: ignore[assignment]  # like a list, since it equals one

    def __init__(
        self,
        items: Sequence[Out] | Callable[[], Sequence[Out]] = (),
        *,
        is_ready: bool = True,
        error: Exception | None = None,
    ) -> None:
        self._source: Callable[[], Sequence[Out]] | None = None
        self._items: Sequence[Out] = ()
        if callable(items):
            self._source = items
        else:
            self._items = items
        self.is_ready = is_ready
        self.error = error

    def freeze(self) -> Sequence[Out]:
        """Build the items now if they have not been read yet: what they are built from is about to change."""
        if self._source is not None:
            self._items, self._source = self._source(), None
        return self._items

    @overload
    def __getitem__(self, index: int) -> Out: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Out]: ...
    def __getitem__(self, index: int | slice) -> Out | Sequence[Out]:
        return self.freeze()[index]

    def __len__(self) -> int:
        return len(self.freeze())

    def __iter__(self) -> Iterator[Out]:
        return iter(self.freeze())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Rows | list | tuple):
            items, others = self.freeze(), cast("Sequence[object]", other)
            return len(items) == len(others) and all(
                mine is theirs or mine == theirs for mine, theirs in zip(items, others, strict=True)
            )
        return NotImplemented

    def __repr__(self) -> str:
        status = "" if self.is_ready else ", is_ready=False"
        if self.error is not None:
            status += f", error={self.error!r}"
        return f"Rows({list(self.freeze())!r}{status})"


class Shown:
    """The present result: keeps what was built, and gives the same `Rows` until something changed.

    Args:
        build: gives the items as they are now.
    """

    def __init__(self, build: Callable[[], Sequence[Any]]) -> None:
        self._build = build
        self._items: Sequence[Any] | None = None
        self._rows: ref[Rows[Any]] | None = None

    def items(self) -> Sequence[Any]:
        """Return the items, built at most once."""
        if self._items is None:
            self._items = self._build()
        return self._items

    def rows(self, *, is_ready: bool, error: Exception | None) -> Rows[Any]:
        """Return the snapshot with this status."""
        rows = None if self._rows is None else self._rows()
        if rows is None or rows.is_ready is not is_ready or rows.error is not error:
            rows = Rows(self.items, is_ready=is_ready, error=error)
            self._rows = ref(rows)
        return rows

    def keep(self, items: Sequence[Any]) -> None:
        """These are the items until something changes."""
        self._items = items

    def freeze(self) -> None:
        """What the items are built from is about to change, but perhaps not the items."""
        if self._items is None and self._rows is not None and (rows := self._rows()) is not None:
            rows.freeze()

    def forget(self) -> None:
        """The items are about to change. A snapshot that somebody holds but has not read keeps the old ones."""
        if self._rows is not None and (rows := self._rows()) is not None:
            rows.freeze()
        self._items = self._rows = None


class JoinRow(tuple[Any, ...]):
    """One row of a join: a tuple of the sources' rows, None where an outer join has no match.

    Every row is also an attribute named like its source, so ``row.comments`` is ``row[1]``.
    """

    __slots__ = ()
    source_names: tuple[str, ...] = ()

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"the join has no source {name!r}{did_you_mean(name, self.source_names)}")

    def __reduce__(self) -> tuple[Any, ...]:
        return _remade, (self.source_names, tuple(self))

    def __repr__(self) -> str:
        pairs = zip(self.source_names, self, strict=False)
        return f"JoinRow({', '.join(f'{name}={row!r}' for name, row in pairs)})"


@lru_cache(maxsize=512)
def join_row_type(names: tuple[str, ...]) -> type[JoinRow]:
    """Return the class of the rows of a join of sources with these names; made from one iterable, like a tuple."""
    members: dict[str, Any] = {"__slots__": (), "source_names": names}
    members.update({name: property(itemgetter(position)) for position, name in enumerate(names)})
    return type("JoinRow", (JoinRow,), members)


def _remade(names: tuple[str, ...], rows: tuple[Any, ...]) -> JoinRow:
    return join_row_type(names)(rows)
