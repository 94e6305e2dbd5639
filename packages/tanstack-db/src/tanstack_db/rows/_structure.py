"""Rows from JSON for classes without a parser of their own: a cattrs converter that refuses what its default coerces.

Imported at the first use, as cattrs is: only applications with such rows pay for it.
"""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import enum
import typing
import uuid
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final, cast

import cattrs
import typing_extensions
from cattrs.strategies import configure_union_passthrough

from ._annotations import required_keys

__all__ = ["explain", "structure_of"]

_PARSED: Final[Mapping[type, tuple[Callable[[Any], Any], tuple[type, ...]]]] = {
    dt.datetime: (dt.datetime.fromisoformat, (str,)),
    dt.date: (dt.date.fromisoformat, (str,)),
    dt.time: (dt.time.fromisoformat, (str,)),
    dt.timedelta: (lambda seconds: dt.timedelta(seconds=seconds), (int, float)),
    uuid.UUID: (uuid.UUID, (str,)),
    decimal.Decimal: (decimal.Decimal, (str, int)),
    bytes: (lambda text: base64.b64decode(text, validate=True), (str,)),
}

_SEQUENCES: Final[Mapping[Any, Any]] = {
    list: list,
    set: set,
    frozenset: frozenset,
    tuple: tuple,
    typing.get_origin(typing.Sequence[int]): list,
    typing.get_origin(typing.AbstractSet[int]): frozenset,
}


def structure_of(cls: type) -> Callable[[Any, Any], Any]:
    """Return the function that makes an instance of `cls` of data and the class; see `rows.from_plain`."""
    made: Callable[[Any, Any], Any] = _converter().get_structure_hook(cls)
    return made


def explain(error: Exception) -> str:
    """Say in one line what structuring objected to."""
    return "; ".join(cattrs.transform_error(error))


@cache
def _converter() -> Any:
    converter: Any = cattrs.Converter()
    for exact in (str, int, float, bool):
        converter.register_structure_hook(exact, _exactly(exact))
    for kind, (parse, forms) in _PARSED.items():
        converter.register_structure_hook(kind, _parsed(kind, parse, forms))

    def sequence(value: Any, cls: Any) -> Any:
        return _sequence(converter, value, cls)

    def typed_dict(value: Any, cls: Any) -> Any:
        return _typed_dict(converter, value, cls)

    converter.register_structure_hook_func(_is_enum, _member)
    converter.register_structure_hook_func(typing_extensions.is_typeddict, typed_dict)
    configure_union_passthrough(str | int | float | bool | None, converter)
    # cattrs iterates whatever it is given, so a string would become a list of letters.
    converter.register_structure_hook_func(_is_sequence, sequence)
    return converter


def _exactly(kind: type) -> Callable[[Any, Any], Any]:
    def accept(value: Any, _: Any) -> Any:
        if type(value) is kind:
            return value
        if kind is float and type(value) is int:
            return float(value)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise TypeError(f"expected {kind.__name__}, not {value!r}")
        return value

    return accept


def _parsed(kind: type, parse: Callable[[Any], Any], forms: tuple[type, ...]) -> Callable[[Any, Any], Any]:
    def accept(value: Any, _: Any) -> Any:
        # By exact type: a datetime is a date, but not a value for a date column.
        if type(value) is kind:
            return value
        if not isinstance(value, forms) or isinstance(value, bool):
            raise TypeError(f"expected {kind.__name__}, not {value!r}")
        return parse(value)

    return accept


def _is_enum(cls: Any) -> bool:
    return isinstance(cls, type) and issubclass(cls, enum.Enum)


def _member(value: Any, cls: Any) -> Any:
    member = cls(value)
    if value is not member and type(member.value) is not type(value):
        raise TypeError(f"expected a value of {cls.__name__}, not {value!r}")
    return member


def _typed_dict(converter: Any, value: Any, cls: Any) -> Any:
    if not isinstance(value, Mapping):
        raise TypeError(f"expected an object, not {value!r}")
    data = cast("Mapping[str, Any]", value)
    missing = required_keys(cls) - data.keys()
    if missing:
        raise TypeError(f"{', '.join(map(repr, sorted(missing)))} missing")
    hints = typing_extensions.get_type_hints(cls)
    return {name: converter.structure(data[name], hint) for name, hint in hints.items() if name in data}


def _is_sequence(cls: Any) -> bool:
    return _container(cls) in _SEQUENCES


def _container(cls: Any) -> Any:
    origin = typing.get_origin(cls)
    return cls if origin is None else origin


def _sequence(converter: Any, value: Any, cls: Any) -> Any:
    if not isinstance(value, list | tuple | set | frozenset):
        raise TypeError(f"expected a list, not {value!r}")
    items: list[Any] = list(cast("Any", value))
    args = typing.get_args(cls)
    make = _SEQUENCES[_container(cls)]
    if make is tuple and args and args[-1] is not Ellipsis:
        if len(items) != len(args):
            raise TypeError(f"expected {len(args)} items, not {len(items)}")
        types = args
    else:
        types = (args[0] if args else Any,) * len(items)
    structured: Any = cast("Any", make)(
        [converter.structure(item, kind) for item, kind in zip(items, types, strict=True)]
    )
    return structured
