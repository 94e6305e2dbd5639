"""Who hears of changes: sinks of the engine, and subscribers with callbacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import Generic, Literal, ParamSpec, TypeAlias

from typing_extensions import TypeVar

from .._base.delta import DATA_ERRORS, Delta, Deltas, DeltaSink
from .._errors import UsageError
from .._transactions.overlay import Overlay

__all__ = ["Change", "ChangeCallback", "ChangeSubscription", "Feeds", "Listeners", "require_callback"]

T = TypeVar("T")
K = TypeVar("K")
P = ParamSpec("P")


@dataclass(slots=True)
class Change(Generic[T, K]):
    """How one row changed. To be read only: all subscribers are told the same object.

    Attributes:
        type: what happened, as this subscriber sees it.
        key: the row's key.
        value: the row now; for a delete the row that went.
        previous: the row before, for an update; else None.
        index: for an ordered query, where the row is now; None for a delete and where rows have no order.
    """

    type: Literal["insert", "update", "delete"]
    key: K
    value: T
    previous: T | None = None
    index: int | None = None


def require_callback(callback: object, what: str) -> None:
    """Raise `UsageError` where `callback` could not be called, or would return what nobody awaits."""
    if not callable(callback) or iscoroutinefunction(callback):
        raise UsageError(
            f"{what} takes a plain function, not {callback!r}. Nobody would await a coroutine function; let a plain "
            "function start a task instead"
        )


ChangeCallback: TypeAlias = Callable[[Sequence[Change[T, K]]], object]


class Feeds(Generic[T, K]):
    """Hands out the net change of each batch.

    A batch is one part, or several: a sink that comes in the middle starts from the rows of that moment, so there
    another part begins.

    Args:
        overlay: whose rows they are.
    """

    def __init__(self, overlay: Overlay[T, K]) -> None:
        self._overlay = overlay
        self._sinks: dict[object, DeltaSink] = {}
        self._parts: list[dict[K, T | None]] = []
        """What changed in the parts of this batch that have ended."""
        self._late: dict[object, int] = {}
        """The first part of each sink that came in the middle of this batch."""

    def attach(self, sink: DeltaSink) -> Callable[[], None]:
        """Hand deltas to `sink` from the present rows on. Returns the function that stops it."""
        token = object()
        self._sinks[token] = sink
        if self._overlay.before:
            self._parts.append(self._overlay.before)
            self._overlay.before = {}
        if self._parts:
            self._late[token] = len(self._parts)

        def detach() -> None:
            self._sinks.pop(token, None)
            self._late.pop(token, None)

        return detach

    def hand_out(self) -> None:
        """Give every sink the net change since the last call, or since it came."""
        last, self._overlay.before = self._overlay.before, {}
        if self._parts:
            self._hand_out_parts([*self._parts, last])
        elif last and self._sinks and (deltas := self._net(last)):
            for sink in list(self._sinks.values()):
                sink(deltas)

    def _hand_out_parts(self, parts: Sequence[Mapping[K, T | None]]) -> None:
        late, self._late, self._parts = self._late, {}, []
        since: dict[int, Deltas] = {}
        for token, sink in list(self._sinks.items()):
            first = late.get(token, 0)
            if first not in since:
                before: dict[K, T | None] = {}
                for part in parts[first:]:
                    for key, row in part.items():
                        before.setdefault(key, row)
                since[first] = self._net(before)
            if since[first]:
                sink(since[first])

    def _net(self, before: Mapping[K, T | None]) -> Deltas:
        rows = self._overlay.rows
        deltas: list[Delta] = []
        for key, old in before.items():
            new = rows.get(key)
            # `same`, without the cost of a call: this is where every change passes.
            try:
                is_change = old is not new and (old is None or new is None or old != new)
            except DATA_ERRORS:
                is_change = True
            if is_change:
                deltas.append((key, old, new))
        return deltas


class ChangeSubscription(Generic[T, K]):
    """One callback: takes deltas in phase 1, tells about them in phase 2.

    Args:
        callback: gets one non-empty list per batch.
        where: rows for which it is false do not exist for this subscriber.
    """

    def __init__(self, callback: ChangeCallback[T, K], where: Callable[[T], object] | None) -> None:
        self._callback = callback
        self._where = where
        self._pending: list[Delta] = []
        self.is_active = True

    def take(self, deltas: Deltas) -> None:
        """Phase 1: remember the deltas of this batch."""
        self._pending.extend(deltas)

    def deliver(self) -> None:
        """Phase 2: tell. Raises what the callback raises."""
        if not self._pending:
            return
        pending, self._pending = self._pending, []
        changes = [change for key, old, new in pending if (change := self._seen(key, old, new)) is not None]
        if changes and self.is_active:
            self._callback(changes)

    def deliver_initial(self, rows: Mapping[K, T]) -> None:
        """Tell about all rows as if they were new."""
        changes = [change for key, row in rows.items() if (change := self._seen(key, None, row)) is not None]
        if changes:
            self._callback(changes)

    def _seen(self, key: K, old: T | None, new: T | None) -> Change[T, K] | None:
        if self._where is not None:
            old = old if old is not None and self._where(old) else None
            new = new if new is not None and self._where(new) else None
        if new is not None:
            return Change("insert", key, new) if old is None else Change("update", key, new, old)
        return None if old is None else Change("delete", key, old)


class Listeners(Generic[P]):
    """Callbacks that are all told the same; each hears of it whatever another one raises."""

    def __init__(self) -> None:
        self._callbacks: dict[object, Callable[P, object]] = {}

    def __len__(self) -> int:
        return len(self._callbacks)

    def add(self, callback: Callable[P, object]) -> Callable[[], None]:
        """Returns the function that removes it; idempotent, effective at once."""
        token = object()
        self._callbacks[token] = callback

        def stop() -> None:
            self._callbacks.pop(token, None)

        return stop

    def emit(self, *args: P.args, **kwargs: P.kwargs) -> list[Exception]:
        """Call everybody, but those who are removed meanwhile; return what they raised."""
        errors: list[Exception] = []
        for token, callback in list(self._callbacks.items()):
            if token in self._callbacks:
                try:
                    callback(*args, **kwargs)
                except Exception as error:  # noqa: BLE001 -- one listener's failure is not another's
                    errors.append(error)
        return errors
