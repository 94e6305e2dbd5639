"""Stores and derived values.

Values are pulled, notifications are pushed. Every node counts the changes of its value; a derived value remembers the
counts of what it was computed from and computes again only when one of them moved. So a read is never stale and never
sees half of a change, mounted or not. A store knows a derived value only while somebody subscribes to it, or to
something derived from it: what nobody watches costs nothing and can be freed.
"""

from __future__ import annotations

import operator
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from inspect import iscoroutinefunction
from typing import Any, Generic, cast

from typing_extensions import TypeVar

__all__ = ["Derived", "Readable", "Store", "batch"]

T = TypeVar("T")


class _Batch(threading.local):
    """What changed in the batch that is open in this thread."""

    def __init__(self) -> None:
        self.depth = 0
        self.flushing = False
        self.touched: dict[Readable[Any], None] = {}


_batch = _Batch()


@contextmanager
def batch() -> Generator[None, None, None]:
    """Group changes; subscribers are told once, when the outermost block ends, also when its body raised.

    Do not await inside: changes made meanwhile by other tasks would wait for this block as well.

    Raises:
        ExceptionGroup: what subscribers raised, after all of them were told. The values stay set.
    """
    _batch.depth += 1
    try:
        yield
    finally:
        _batch.depth -= 1
        if _batch.depth == 0 and not _batch.flushing:
            _flush()


def _flush() -> None:
    errors: list[Exception] = []
    _batch.flushing = True
    try:
        while _batch.touched:
            touched, _batch.touched = _batch.touched, {}
            changed: list[Readable[Any]] = []
            for node in _watched(touched):
                try:
                    if node._settle():
                        changed.append(node)
                except Exception as error:  # noqa: BLE001 -- one derived value's failure is not another's
                    errors.append(error)
            for node in changed:
                errors += node._deliver()
    finally:
        _batch.flushing = False
    if errors:
        raise ExceptionGroup("subscribers or derived values failed; the values stay set", errors)


def _watched(touched: dict[Readable[Any], None]) -> list[Readable[Any]]:
    """Every node that is one of `touched` or derived from one, each once."""
    found = dict(touched)
    queue = list(touched)
    while queue:
        for dependent in queue.pop()._dependents:
            if dependent not in found:
                found[dependent] = None
                queue.append(dependent)
    return list(found)


class Readable(ABC, Generic[T]):
    """A value that can be read and watched: a `Store` or a `Derived`.

    Args:
        equal: when two values count as the same. A change between equal values is not told.
    """

    def __init__(self, equal: Callable[[T, T], bool] = operator.eq) -> None:
        self._equal = equal
        self._version = 0
        self._subscribers: dict[object, Callable[[T], object]] = {}
        self._dependents: dict[Derived[Any], None] = {}
        self._told: T | None = None

    @abstractmethod
    def get(self) -> T:
        """Return the current value. Never stale, also inside a batch."""

    @property
    def state(self) -> T:
        """The current value."""
        return self.get()

    def subscribe(self, callback: Callable[[T], object]) -> Callable[[], None]:
        """Call `callback` with the new value after each change; not now.

        A callback that raises does not keep the others from being called.

        Returns:
            The function that stops it: at once, also from within a delivery. Idempotent.

        Raises:
            TypeError: `callback` is no plain function.
        """
        given = cast("object", callback)
        if not callable(given) or iscoroutinefunction(given):
            raise TypeError(
                f"subscribe takes a plain function of the new value, not {given!r}: nobody would await a coroutine "
                "function; let a plain function start a task instead"
            )
        token = object()
        if not self._subscribers:
            self._told = self.get()
            if not self._dependents:
                self._mount()
        self._subscribers[token] = callback

        def stop() -> None:
            if self._subscribers.pop(token, None) is not None:
                self._unmount_if_unwatched()

        return stop

    def _settle(self) -> bool:
        """Whether subscribers have something new to hear."""
        if not self._subscribers:
            return False
        value = self.get()
        if self._equal(cast("T", self._told), value):
            return False
        self._told = value
        return True

    def _deliver(self) -> list[Exception]:
        value = cast("T", self._told)
        errors: list[Exception] = []
        for token, callback in list(self._subscribers.items()):
            if token not in self._subscribers:
                continue
            try:
                callback(value)
            except Exception as error:  # noqa: BLE001 -- one subscriber's failure is not another's
                errors.append(error)
        return errors

    def _watch(self, dependent: Derived[Any]) -> None:
        if not self._dependents and not self._subscribers:
            self._mount()
        self._dependents[dependent] = None

    def _unwatch(self, dependent: Derived[Any]) -> None:
        del self._dependents[dependent]
        self._unmount_if_unwatched()

    def _unmount_if_unwatched(self) -> None:
        if not self._subscribers and not self._dependents:
            self._told = None
            self._unmount()

    def _mount(self) -> None:
        """The first watcher came."""

    def _unmount(self) -> None:
        """The last watcher left."""


class Store(Readable[T]):
    """A value that is set from outside.

    Args:
        state: the first value. Treat it as immutable: set another value instead of changing it in place.
        equal: when two values count as the same; default ``==``.

    Example:
        >>> counter = Store(0)
        >>> stop = counter.subscribe(print)
        >>> counter.set_state(lambda n: n + 1)
        1
    """

    def __init__(self, state: T, *, equal: Callable[[T, T], bool] = operator.eq) -> None:
        super().__init__(equal)
        self._state = state

    def get(self) -> T:
        """Return the current value."""
        return self._state

    def set_state(self, update: T | Callable[[T], T], /) -> None:
        """Set the value and tell subscribers, or at the end of the batch that is open.

        Args:
            update: the new value, or a function from the old value to the new one.

        Raises:
            ExceptionGroup: what subscribers raised, after all of them were told. The value stays set.
        """
        value = update(self._state) if callable(update) else update
        if self._equal(self._state, value):
            return
        with batch():
            self._state = value
            self._version += 1
            _batch.touched[self] = None


class Derived(Readable[T]):
    """A value computed from others.

    Args:
        fn: computes the value from the ``state`` of `deps`; must not have side effects.
        deps: every store or derived value that `fn` reads.
        equal: when two values count as the same; default ``==``.

    Example:
        >>> price, count = Store(3), Store(2)
        >>> total = Derived(lambda: price.state * count.state, deps=[price, count])
        >>> total.state
        6
    """

    def __init__(
        self, fn: Callable[[], T], *, deps: Sequence[Readable[Any]], equal: Callable[[T, T], bool] = operator.eq
    ) -> None:
        super().__init__(equal)
        self._fn = fn
        self._deps = tuple(deps)
        self._seen: tuple[int, ...] | None = None
        self._value: T | None = None

    def get(self) -> T:
        """Return the value, computed again if something it depends on changed.

        Raises:
            Exception: what `fn` raised. It is called again on the next read.
        """
        self._current_version()
        return cast("T", self._value)

    def _current_version(self) -> int:
        seen = tuple(dep._current_version() if isinstance(dep, Derived) else dep._version for dep in self._deps)
        if seen != self._seen:
            value = self._fn()
            if self._seen is None or not self._equal(cast("T", self._value), value):
                self._value = value
                self._version += 1
            self._seen = seen
        return self._version

    def _mount(self) -> None:
        for dep in dict.fromkeys(self._deps):
            dep._watch(self)

    def _unmount(self) -> None:
        for dep in dict.fromkeys(self._deps):
            dep._unwatch(self)
