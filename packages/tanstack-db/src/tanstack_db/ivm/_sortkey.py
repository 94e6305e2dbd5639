"""Sort keys: a total order over any values, compared by C code for all common types.

A value becomes two slots of a flat tuple: the name of its group, then something that compares within the group. Values
of different groups never meet, so nothing raises however mixed a column is. Null has the empty name: first in both
directions, or where a term wants it last a name above all others. NaN has a name next to that of the numbers: above
them, so last among them ascending, first descending.

Descending slots are inverted values: numbers are negated and texts become inverted bytes. A wrapper with an inverted
``<`` would work as well, at the price of a Python call per comparison.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import Enum
from types import MappingProxyType
from typing import Any, Final, TypeAlias, cast
from uuid import UUID

from ._values import lt

__all__ = ["NULL_LAST", "NUMBER", "TEXT", "Slots", "key_slots", "slots", "slots_desc"]

Slots: TypeAlias = tuple[str, Any]
"""Group, then what compares within it."""

TEXT: Final = "str"
NUMBER: Final = "number"
NULL_LAST: Final = "\U0010ffff"
"""The group of null where it is to come last; no type can have this name."""

_NULL: Final[Slots] = ("", 0)
_NAN: Final[Slots] = ("number.nan", 0)
_NAN_DESC: Final[Slots] = ("nan", 0)
_EPOCH: Final = dt.datetime(1970, 1, 1)
_MICROSECOND: Final = dt.timedelta(microseconds=1)
_EPOCH_UTC: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

# UTF-8 orders as code points do and never holds a byte above 0xF4, which leaves 0xFF to end an inverted text: "ab"
# comes after "abc".
_INVERT: Final = bytes(max(254 - byte, 0) for byte in range(256))


def slots(value: Any) -> Slots:
    """Return the slots of a value, ascending."""
    make = _ASC.get(value.__class__)
    return _other(value, desc=False) if make is None else make(value)


def slots_desc(value: Any) -> Slots:
    """Return the slots of a value, descending."""
    make = _DESC.get(value.__class__)
    return _other(value, desc=True) if make is None else make(value)


def key_slots(key: Any) -> Slots:
    """Return the slots of a row's key, ascending. Keys that differ never have equal slots, whatever they are."""
    make = _OF_KEYS.get(key.__class__)
    return _other_key(key) if make is None else make(key)


class _Total:
    """A value of a class whose comparison may raise: what cannot be compared is not less."""

    __slots__ = ("value",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Total) and not self < other and not other < self

    def __lt__(self, other: _Total) -> bool:
        return lt(self.value, other.value) is True

    def __gt__(self, other: _Total) -> bool:
        return other < self

    def __le__(self, other: _Total) -> bool:
        return not other < self

    def __ge__(self, other: _Total) -> bool:
        return not self < other


class _Inverted(_Total):
    """The same, downwards."""

    __slots__ = ()

    def __lt__(self, other: _Total) -> bool:
        return lt(other.value, self.value) is True


def _number(value: Any) -> Slots:
    return (NUMBER, value) if value == value else _NAN


def _number_desc(value: Any) -> Slots:
    return (NUMBER, -value) if value == value else _NAN_DESC


def _decimal(value: Decimal) -> Slots:
    return _NAN if value.is_nan() else (NUMBER, value)


def _decimal_desc(value: Decimal) -> Slots:
    # Negating with `-` would round to the context's precision.
    return _NAN_DESC if value.is_nan() else (NUMBER, value.copy_negate())


def _text_desc(value: str) -> Slots:
    return (TEXT, value.encode("utf-8", "surrogatepass").translate(_INVERT) + b"\xff")


def _datetime(value: dt.datetime) -> Slots:
    offset = value.utcoffset()
    return ("datetime", value - _EPOCH) if offset is None else ("datetime.aware", value - _EPOCH_UTC)


def _negated(make: Callable[[Any], Slots]) -> Callable[[Any], Slots]:
    def descending(value: Any) -> Slots:
        group, slot = make(value)
        return group, -slot

    return descending


def _time(value: dt.time) -> Slots:
    return ("time" if value.utcoffset() is None else "time.aware", value)


def _inverted(make: Callable[[Any], Slots]) -> Callable[[Any], Slots]:
    def descending(value: Any) -> Slots:
        group, slot = make(value)
        return group, _Inverted(slot)

    return descending


def _sequence(value: Any) -> Slots:
    return ("sequence", tuple([slot for item in value for slot in slots(item)]))


def _other(value: Any, *, desc: bool) -> Slots:
    """Subclasses and classes of the application; slower, so they have no entry in the tables."""
    if isinstance(value, Enum) and not isinstance(value, int | str):
        group, slot = slots_desc(value.value) if desc else slots(value.value)
        return f"{type(value).__qualname__}.{group}", slot
    for base in _SUBCLASSED:
        if isinstance(value, base):
            return (_DESC if desc else _ASC)[base](value)
    cls = cast("Any", type(value))
    name = f"{cls.__module__}.{cls.__qualname__}"
    if isinstance(value, _UNORDERED):
        return name, 0  # no order among all of them: the next term, or the row's key, decides
    return name, _Inverted(value) if desc else _Total(value)


def _key_sequence(key: Any) -> Slots:
    return ("sequence", tuple([slot for item in key for slot in key_slots(item)]))


def _other_key(key: Any) -> Slots:
    """Keys of classes without an order are told apart by their text."""
    if isinstance(key, tuple):
        return _key_sequence(cast("Any", key))
    if isinstance(key, frozenset):
        members: frozenset[Any] = cast("Any", key)
        return ("set", tuple(sorted(map(key_slots, members))))
    group, slot = slots(key)
    has_order = not isinstance(slot, _Total) and not isinstance(key, _UNORDERED)
    return (group, slot) if has_order else (group, (slot, repr(cast("object", key))))


_UNORDERED: Final = (Mapping, set, frozenset, complex)
_SUBCLASSED: Final = (str, int, float, Decimal, dt.datetime, dt.date, dt.timedelta, dt.time, UUID, tuple, list, bytes)


def _date(value: dt.date) -> Slots:
    return "date", value.toordinal()


def _uuid(value: UUID) -> Slots:
    return "uuid", value.int


def _duration(value: dt.timedelta) -> Slots:
    return "timedelta", value


def _duration_desc(value: dt.timedelta) -> Slots:
    # The longest duration has no negative one.
    return "timedelta", -(value // _MICROSECOND)


def _bytes(value: bytes) -> Slots:
    return "bytes", value


def _text(value: str) -> Slots:
    return TEXT, value


def _null(value: None) -> Slots:
    return _NULL


_ASC: Final[Mapping[type, Callable[[Any], Slots]]] = MappingProxyType(
    {
        type(None): _null,
        str: _text,
        int: _number,
        float: _number,
        bool: _number,
        Decimal: _decimal,
        dt.datetime: _datetime,
        dt.date: _date,
        dt.timedelta: _duration,
        dt.time: _time,
        UUID: _uuid,
        bytes: _bytes,
        tuple: _sequence,
        list: _sequence,
    }
)

_DESC: Final[Mapping[type, Callable[[Any], Slots]]] = MappingProxyType(
    {
        type(None): _null,
        str: _text_desc,
        int: _number_desc,
        float: _number_desc,
        bool: _number_desc,
        Decimal: _decimal_desc,
        dt.datetime: _negated(_datetime),
        dt.date: _negated(_date),
        dt.timedelta: _duration_desc,
        dt.time: _inverted(_time),
        UUID: _negated(_uuid),
        bytes: _inverted(_bytes),
        tuple: _inverted(_sequence),
        list: _inverted(_sequence),
    }
)

_OF_KEYS: Final[Mapping[type, Callable[[Any], Slots]]] = MappingProxyType(
    {**{cls: make for cls, make in _ASC.items() if cls is not list}, tuple: _key_sequence}
)
