"""Aggregates that can take back: each value is added once and removed once, in any order.

Nulls are skipped, as in SQL, and so is what cannot be aggregated (the sum of a text). Sums are exact: a running float
total drifts when values come and go (2.5e-7 after 100,000 changes), and an aggregate must not depend on the order of
events. So floats are added as integers in units of 2**-1074, the smallest float, and rounded once when read.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Hashable
from decimal import Context, Decimal
from heapq import heapify, heappop, heappush
from typing import Any, Final, Protocol

from .._base.ir import AggregateCall
from ._sortkey import Slots, key_slots, slots, slots_desc
from ._values import hashable

__all__ = ["Accumulator", "accumulator"]

_UNIT: Final = 1 << 1074
_EXACT: Final = Context(prec=400)

_SPARE: Final = 32
"""Entries of removed values that a heap may hold besides as many as it has values."""


class Accumulator(Protocol):
    """One aggregate of one group. Values are never null."""

    def add(self, value: Any, /) -> None: ...

    def remove(self, value: Any, /) -> None: ...

    def value(self) -> Any:
        """Return the aggregate; None where SQL says null."""
        ...


def accumulator(call: AggregateCall) -> Accumulator:
    """Make an empty accumulator for a call."""
    made = _MAKERS[call.function]()
    return _Distinct(made) if call.distinct else made


class _Count:
    __slots__ = ("_count",)

    def __init__(self) -> None:
        self._count = 0

    def add(self, value: Any, /) -> None:
        self._count += 1

    def remove(self, value: Any, /) -> None:
        self._count -= 1

    def value(self) -> int:
        return self._count


class _Sum:
    """Integers, floats, decimals and durations each in their own exact total."""

    __slots__ = ("_decimal", "_decimals", "_duration", "_durations", "_float", "_floats", "_int", "_ints", "_odd")

    def __init__(self) -> None:
        self._int = self._ints = 0
        self._float = self._floats = 0
        self._decimal, self._decimals = Decimal(0), 0
        self._duration, self._durations = dt.timedelta(0), 0
        self._odd: dict[str, int] = {}
        """How often inf, -inf and nan are there: they cannot be taken back from a number."""

    @property
    def count(self) -> int:
        return self._ints + self._floats + self._decimals + self._durations + sum(self._odd.values())

    def add(self, value: Any, /) -> None:
        if value.__class__ is int:
            self._int += value
            self._ints += 1
        else:
            self._change(value, 1)

    def remove(self, value: Any, /) -> None:
        if value.__class__ is int:
            self._int -= value
            self._ints -= 1
        else:
            self._change(value, -1)

    def value(self) -> Any:
        if not self.count:
            return None
        if self._durations:
            return self._duration
        if self._decimals and not (self._floats or self._odd):
            return self._decimal + self._int
        if not (self._floats or self._odd or self._decimals):
            return self._int
        return self._as_float()

    def _as_float(self) -> float:
        infinite = {name for name, times in self._odd.items() if times}
        if "nan" in infinite or len(infinite) == 2:
            return float("nan")
        if infinite:
            return float(next(iter(infinite)))
        total = self._float + self._int * _UNIT + int(_EXACT.multiply(self._decimal, Decimal(_UNIT)))
        try:
            return total / _UNIT
        except OverflowError:
            return float("inf") if total > 0 else float("-inf")

    def _change(self, value: Any, times: int) -> None:
        if isinstance(value, int):
            self._int += value * times
            self._ints += times
        elif isinstance(value, float):
            if value - value == 0.0:
                top, bottom = value.as_integer_ratio()
                self._float += top * (_UNIT // bottom) * times
                self._floats += times
            else:
                name = str(value)
                self._odd[name] = self._odd.get(name, 0) + times
        elif isinstance(value, Decimal):
            if value.is_finite():
                self._decimal = _EXACT.add(self._decimal, value * times)
                self._decimals += times
        elif isinstance(value, dt.timedelta):
            self._duration += value * times
            self._durations += times


class _Average:
    __slots__ = ("_sum",)

    def __init__(self) -> None:
        self._sum = _Sum()

    def add(self, value: Any, /) -> None:
        self._sum.add(value)

    def remove(self, value: Any, /) -> None:
        self._sum.remove(value)

    def value(self) -> Any:
        count = self._sum.count
        return self._sum.value() / count if count else None


class _Extreme:
    """The smallest or largest value: a heap whose entries of removed values are dropped when they reach the top.

    Adding is O(log n), and so is removing, amortized: a heap that is mostly removed values is built anew.
    """

    __slots__ = ("_heap", "_pushed", "_slots", "_there")

    def __init__(self, order: Callable[[Any], Slots]) -> None:
        self._slots = order
        self._there: dict[Hashable, list[int]] = {}
        """How often each value is there, and the number of its entry in the heap."""
        self._heap: list[tuple[str, Any, int, Hashable, Any]] = []
        """Slots, number, name, value. Numbers differ, so nothing after them is compared."""
        self._pushed = 0

    def add(self, value: Any, /) -> None:
        name = hashable(value)
        there = self._there.get(name)
        if there is not None:
            there[0] += 1
            return
        self._pushed += 1
        self._there[name] = [1, self._pushed]
        heappush(self._heap, (*self._slots(value), self._pushed, name, value))
        if len(self._heap) > 2 * len(self._there) + _SPARE:
            self._heap = [entry for entry in self._heap if self._is_there(entry)]
            heapify(self._heap)

    def remove(self, value: Any, /) -> None:
        name = hashable(value)
        there = self._there.get(name)
        if there is None:
            return
        there[0] -= 1
        if not there[0]:
            del self._there[name]

    def value(self) -> Any:
        heap = self._heap
        while heap and not self._is_there(heap[0]):
            heappop(heap)
        return heap[0][4] if heap else None

    def _is_there(self, entry: tuple[str, Any, int, Hashable, Any]) -> bool:
        there = self._there.get(entry[3])
        return there is not None and there[1] == entry[2]


class _Collect:
    """The values themselves, ascending, so that they do not depend on the order of arrival. O(values) when read."""

    __slots__ = ("_there",)

    def __init__(self) -> None:
        self._there: dict[Any, list[Any]] = {}

    def add(self, value: Any, /) -> None:
        self._there.setdefault(hashable(value), []).append(value)

    def remove(self, value: Any, /) -> None:
        name = hashable(value)
        equal = self._there[name]
        equal.pop()
        if not equal:
            del self._there[name]

    def value(self) -> Any:
        names = sorted(self._there, key=lambda name: (slots(self._there[name][0]), key_slots(name)))
        return tuple([value for name in names for value in self._there[name]])


class _Distinct:
    """Hands each different value on once."""

    __slots__ = ("_inner", "_times")

    def __init__(self, inner: Accumulator) -> None:
        self._inner = inner
        self._times: dict[Any, int] = {}

    def add(self, value: Any, /) -> None:
        key = hashable(value)
        times = self._times.get(key, 0)
        if not times:
            self._inner.add(value)
        self._times[key] = times + 1

    def remove(self, value: Any, /) -> None:
        key = hashable(value)
        times = self._times.get(key, 0)
        if times == 1:
            del self._times[key]
            self._inner.remove(value)
        elif times:
            self._times[key] = times - 1

    def value(self) -> Any:
        return self._inner.value()


def _min() -> _Extreme:
    return _Extreme(slots)


def _max() -> _Extreme:
    return _Extreme(slots_desc)


_MAKERS: Final[dict[str, Callable[[], Accumulator]]] = {
    "collect": _Collect,
    "count": _Count,
    "sum": _Sum,
    "avg": _Average,
    "min": _min,
    "max": _max,
}
