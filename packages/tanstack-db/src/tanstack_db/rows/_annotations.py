"""What the annotations of a row class say of its columns, as far as they tell."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any

import typing_extensions

from .._errors import SchemaError

__all__ = ["check_types", "is_plain_dict", "required_keys"]


def is_plain_dict(cls: Any) -> bool:
    """Whether rows of this class are dicts of which nothing is declared."""
    return not typing_extensions.is_typeddict(cls) and issubclass(cls, Mapping)


@cache
def required_keys(cls: Any) -> frozenset[str]:
    """Return the keys that a TypedDict must have.

    Its own ``__required_keys__`` is wrong where annotations are strings, as ``from __future__ import annotations``
    makes them.
    """
    required = set(cls.__required_keys__)
    for name, hint in typing_extensions.get_type_hints(cls, include_extras=True).items():
        origin: Any = typing.get_origin(hint)
        if origin is typing.NotRequired:
            required.discard(name)
        elif origin is typing.Required:
            required.add(name)
    return frozenset(required)


def check_types(values: Mapping[str, Any], cls: type) -> None:
    """Check values against the annotations of their columns.

    Raises:
        SchemaError: a value of another type.
    """
    hints = _hints(cls)
    for name, value in values.items():
        if name in hints and type(value) is not hints[name] and not _fits(value, hints[name]):
            hint: Any = hints[name]
            wanted = hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)
            raise SchemaError(f"{cls.__name__}.{name} is a {wanted}, not {value!r}")


@cache
def _hints(cls: Any) -> Mapping[str, Any]:
    # What checks itself, or declares nothing, is not checked here: an `EmailStr` column holds a str.
    if hasattr(cls, "__pydantic_validator__") or is_plain_dict(cls):
        return {}
    try:
        return typing_extensions.get_type_hints(cls)
    except Exception:  # noqa: BLE001 -- names that exist only for the type checker: nothing can be checked here
        return {}


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value can be of the annotated type. Looks at the outermost type, and lets pass what it cannot tell."""
    hint = getattr(hint, "__supertype__", hint)
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, arm) for arm in typing.get_args(hint))
    if origin in (typing.Literal, typing_extensions.Literal):
        return value in typing.get_args(hint)
    plain = origin if isinstance(origin, type) else hint
    if plain is None or plain is type(None):
        return value is None
    if not isinstance(plain, type) or typing_extensions.is_typeddict(plain):
        return True
    if plain in (int, float) and isinstance(value, bool):
        return False
    if plain is float:
        return isinstance(value, int | float)
    try:
        return isinstance(value, plain)
    except TypeError:
        return True
