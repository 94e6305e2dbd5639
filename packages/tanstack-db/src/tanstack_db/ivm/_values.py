"""How values of rows compare: SQL nulls, a NaN that has a place, and types that do not mix.

Everything here is total. Rows come from servers and from users, so a column may hold anything, and one odd value must
not take a whole query down: what cannot be said is *unknown* (``None``), as in SQL.

- A comparison with null is unknown.
- NaN equals itself and is above every number.
- Values that have no order (a text and a number) are not equal, and neither is less: ``lt`` is unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Final, TypeAlias, cast

from .._base.delta import DATA_ERRORS
from .._errors import SchemaError
from ..rows import fields, has_items

__all__ = [
    "NAN",
    "Truth",
    "and_",
    "apply",
    "attempt",
    "concat",
    "eq",
    "ge",
    "gt",
    "hashable",
    "in_",
    "le",
    "lt",
    "ne",
    "not_",
    "or_",
    "read",
    "truth",
]

Truth: TypeAlias = bool | None

NAN: Final = float("nan")
"""The one NaN that `hashable` gives, so that a dict finds it by identity."""


def eq(a: Any, b: Any) -> Truth:
    """Return whether two values are equal; unknown where one is null."""
    if a is None or b is None:
        return None
    try:
        return bool(a == b) or bool(a != a and b != b)
    except DATA_ERRORS:
        return None


def ne(a: Any, b: Any) -> Truth:
    """Return the opposite of `eq`."""
    return not_(eq(a, b))


def lt(a: Any, b: Any) -> Truth:
    """Return whether `a` is below `b`; unknown where one is null or the two have no order."""
    if a is None or b is None:
        return None
    try:
        if a < b:
            return True
        if a >= b:
            return False
        return _lt_nan(a, b)
    except ArithmeticError:  # a Decimal NaN raises where a float NaN is silent
        return _lt_nan(a, b)
    except DATA_ERRORS:
        return None


def _lt_nan(a: Any, b: Any) -> Truth:
    try:
        a_nan, b_nan = bool(a != a), bool(b != b)
    except DATA_ERRORS:
        return None
    # Sets are ordered only in part: no NaN, and still neither is above.
    return not a_nan if a_nan or b_nan else None


def gt(a: Any, b: Any) -> Truth:
    """Return whether `a` is above `b`."""
    return lt(b, a)


def ge(a: Any, b: Any) -> Truth:
    """Return whether `a` is `b` or above."""
    return not_(lt(a, b))


def le(a: Any, b: Any) -> Truth:
    """Return whether `a` is `b` or below."""
    return not_(lt(b, a))


def truth(value: Any) -> Truth:
    """Return a value as a condition: null is unknown, everything else as Python has it."""
    try:
        return None if value is None else bool(value)
    except DATA_ERRORS:
        return None


def not_(value: Any) -> Truth:
    """Return SQL's NOT."""
    known = truth(value)
    return None if known is None else not known


def and_(*values: Any) -> Truth:
    """Return SQL's AND: false wins over unknown."""
    known = [truth(value) for value in values]
    return False if False in known else None if None in known else True


def or_(*values: Any) -> Truth:
    """Return SQL's OR: true wins over unknown."""
    known = [truth(value) for value in values]
    return True if True in known else None if None in known else False


def in_(value: Any, members: Any) -> Truth:
    """Return whether `value` equals a member; unknown where it is null, or where no member is equal and one is null."""
    return or_(*(eq(value, member) for member in members)) if value is not None else None


def read(value: Any, name: str) -> Any:
    """Return one step of a path: an item of a mapping or an attribute of an object; None where it is absent."""
    if value is None:
        return None
    if has_items(value.__class__):
        return value.get(name)
    return getattr(value, name, None)


def concat(*parts: Any) -> str:
    """Return the parts as one text, without those that are null."""
    return "".join([part if isinstance(part, str) else str(part) for part in parts if part is not None])


def apply(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function of values: null where an operand is null or does not fit."""
    return None if None in map(_null, args) else attempt(function, *args)


def attempt(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function of values: null where an operand does not fit."""
    try:
        return function(*args)
    except DATA_ERRORS:
        return None


def _null(value: Any) -> Truth:
    return None if value is None else True


def hashable(value: Any) -> Hashable:
    """Return a stand-in for a dict: equal for values that are `eq`, also for NaN, lists, dicts, sets and rows."""
    if value.__class__ is str or value.__class__ is int:
        return cast("Hashable", value)
    if value.__class__ is tuple:
        return tuple([hashable(item) for item in value])
    try:
        hash(value)
    except TypeError:
        return _frozen(value)
    return NAN if value != value else cast("Hashable", value)


def _frozen(value: Any) -> Hashable:
    if isinstance(value, Mapping):
        mapping: Mapping[Any, Any] = cast("Any", value)
        return (dict, frozenset((key, hashable(item)) for key, item in mapping.items()))
    if isinstance(value, tuple):
        parts: tuple[Any, ...] = cast("Any", value)
        return tuple([hashable(part) for part in parts])
    if isinstance(value, Sequence):
        items: Sequence[Any] = cast("Any", value)
        return (list, tuple([hashable(item) for item in items]))
    if isinstance(value, set):
        members: set[Any] = cast("Any", value)
        return frozenset(hashable(item) for item in members)
    try:
        columns = fields(value)
    except SchemaError:
        # Equal only to itself: its class says neither how it is hashed nor what is in it.
        return ("unhashable", id(value))
    kind: type[Any] = value.__class__
    return (kind, tuple([(name, hashable(item)) for name, item in columns.items()]))
