"""A collection source for tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic

from typing_extensions import TypeVar

from .._sync.contract import SyncContext

__all__ = ["ManualSource"]

T = TypeVar("T", default=dict[str, Any])
K = TypeVar("K", default=Any)


class ManualSource(Generic[T, K]):
    """A source that a test drives by hand. One source feeds one collection.

    Args:
        rows: what the collection gets as soon as it starts.
        ready: whether it is ready then.

    Attributes:
        starts: how often it was started.
        stops: how often it was stopped.

    Example:
        >>> source = ManualSource([Todo(id="1", text="a")])
        >>> todos = create_collection(collection_options(id="todos", get_key=lambda t: t.id, sync=source))
        >>> source.write(Todo(id="2", text="b"), delete=["1"])
    """

    def __init__(self, rows: Iterable[T] = (), *, ready: bool = True) -> None:
        self.starts = 0
        self.stops = 0
        self._rows = tuple(rows)
        self._ready = ready
        self._ctx: SyncContext[T, K] | None = None

    def __call__(self, ctx: SyncContext[T, K], /) -> Callable[[], None]:
        self.starts += 1
        self._ctx = ctx
        self.write(*self._rows)
        if self._ready:
            ctx.mark_ready()
        return self._stopped

    @property
    def ctx(self) -> SyncContext[T, K]:
        """The context of the latest start."""
        assert self._ctx is not None, "nothing has started this source yet: subscribe, preload or write first"
        return self._ctx

    def write(self, *rows: T, delete: Iterable[K] = (), truncate: bool = False) -> None:
        """Commit one sync transaction: put rows, delete keys, perhaps after forgetting everything."""
        self.ctx.begin()
        if truncate:
            self.ctx.truncate()
        for key in delete:
            self.ctx.delete(key)
        for row in rows:
            self.ctx.update(row)
        self.ctx.commit()

    def _stopped(self) -> None:
        self.stops += 1
