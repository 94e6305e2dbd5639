"""The families of row classes: what each of them knows of its columns, copies and JSON forms.

A library is touched only where its own class proves that the application has imported it already.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import decimal
import enum
import json
import sys
import uuid
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, Final, Protocol, cast

import typing_extensions

from .._errors import SchemaError, did_you_mean
from ._annotations import check_types, is_plain_dict, required_keys

__all__ = ["Kind", "check_names", "columns_of", "has_items", "kind", "kind_of"]


_SCALARS: Final = frozenset({str, int, float, bool})


class Kind(Protocol):
    """How one family of row classes works."""

    def columns(self, cls: type, /) -> frozenset[str] | None: ...
    def fields(self, row: Any, /) -> Mapping[str, Any]: ...
    def replace(self, row: Any, values: Mapping[str, Any], /) -> Any: ...
    def check(self, row: Any, cls: type, /) -> None: ...
    def to_plain(self, row: Any, /) -> dict[str, Any]: ...
    def from_plain(self, data: Mapping[str, Any], cls: type, /) -> Any: ...


def kind_of(row: object) -> Kind:
    """Return the family of a row.

    Raises:
        SchemaError: it is a row of no class that is known.
    """
    return kind(cast("Any", type(row)))


@cache
def has_items(cls: Any) -> bool:
    """Whether the columns of rows of this class are items of a mapping, and not attributes.

    Remembered for each class: to ask an abstract class takes longer than to read a column.
    """
    return issubclass(cls, Mapping)


@cache
def columns_of(cls: Any) -> frozenset[str] | None:
    """Return the names of a class's columns, or None where it does not tell.

    Raises:
        SchemaError: rows of this class are not supported.
    """
    return kind(cls).columns(cls)


@cache
def kind(cls: Any) -> Kind:
    """Return the family of a row class.

    Raises:
        SchemaError: rows of this class are not supported.
    """
    if is_plain_dict(cls):
        return _Dicts()
    if typing_extensions.is_typeddict(cls):
        return _TypedDicts()
    pydantic = sys.modules.get("pydantic")
    if pydantic is not None and issubclass(cls, pydantic.BaseModel):
        return _Pydantic()
    msgspec = sys.modules.get("msgspec")
    if msgspec is not None and issubclass(cls, msgspec.Struct):
        return _Msgspec(cls.__struct_fields__)
    if hasattr(cls, "__attrs_attrs__"):
        return _Attrs(attribute.name for attribute in cls.__attrs_attrs__)
    if dataclasses.is_dataclass(cls):
        return _Dataclasses(field.name for field in dataclasses.fields(cls))
    raise SchemaError(
        f"rows of type {cls.__name__} are not supported: use a pydantic model, a dataclass, an attrs class, a msgspec "
        "Struct, a TypedDict or a dict"
    )


def check_names(names: Iterable[str], known: frozenset[str] | None, cls: type) -> None:
    """Check that there are columns with these names.

    Raises:
        SchemaError: there is one that there is not.
    """
    if known is not None:
        for name in names:
            if name not in known:
                raise SchemaError(f"{cls.__name__} has no column {name!r}{did_you_mean(name, known)}")


class _Dicts:
    """Plain dicts: the row tells, nothing is declared."""

    def columns(self, cls: type, /) -> frozenset[str] | None:
        return None

    def fields(self, row: Any, /) -> Mapping[str, Any]:
        return cast("Mapping[str, Any]", row)

    def replace(self, row: Any, values: Mapping[str, Any], /) -> Any:
        return {**row, **values}

    def check(self, row: Any, cls: type, /) -> None:
        pass

    def to_plain(self, row: Any, /) -> dict[str, Any]:
        return cast("dict[str, Any]", _plain(row))

    def from_plain(self, data: Mapping[str, Any], cls: type, /) -> Any:
        return dict(data)


class _TypedDicts(_Dicts):
    """Dicts whose keys are declared. The class is the schema; the rows are dicts."""

    def columns(self, cls: type, /) -> frozenset[str] | None:
        declared = cast("Any", cls)
        return frozenset(declared.__required_keys__ | declared.__optional_keys__)

    def check(self, row: Any, cls: type, /) -> None:
        missing = required_keys(cls) - row.keys()
        if missing:
            raise SchemaError(f"a {cls.__name__} needs {', '.join(map(repr, sorted(missing)))}: {row!r}")
        check_names(row, columns_of(cls), cls)
        check_types(row, cls)

    def from_plain(self, data: Mapping[str, Any], cls: type, /) -> Any:
        return _structured(data, cls)


class _Attributes:
    """Classes whose columns are the attributes that they declare.

    Args:
        names: the columns, in order.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = tuple(names)

    def columns(self, cls: type, /) -> frozenset[str] | None:
        return frozenset(self._names)

    def fields(self, row: Any, /) -> Mapping[str, Any]:
        return {name: getattr(row, name) for name in self._names}

    def check(self, row: Any, cls: type, /) -> None:
        check_types(self.fields(row), cls)

    def to_plain(self, row: Any, /) -> dict[str, Any]:
        return {name: _plain(getattr(row, name)) for name in self._names}

    def from_plain(self, data: Mapping[str, Any], cls: type, /) -> Any:
        return _structured(data, cls)


class _Dataclasses(_Attributes):
    def replace(self, row: Any, values: Mapping[str, Any], /) -> Any:
        return dataclasses.replace(row, **values)


class _Attrs(_Attributes):
    def replace(self, row: Any, values: Mapping[str, Any], /) -> Any:
        return sys.modules["attr"].evolve(row, **values)


class _Msgspec(_Attributes):
    def replace(self, row: Any, values: Mapping[str, Any], /) -> Any:
        return sys.modules["msgspec"].structs.replace(row, **values)

    def to_plain(self, row: Any, /) -> dict[str, Any]:
        return cast("dict[str, Any]", sys.modules["msgspec"].to_builtins(row, str_keys=True))

    def from_plain(self, data: Mapping[str, Any], cls: type, /) -> Any:
        return sys.modules["msgspec"].convert(dict(data), cls, strict=True)


class _Pydantic:
    def columns(self, cls: type, /) -> frozenset[str] | None:
        model = cast("Any", cls)
        return None if model.model_config.get("extra") == "allow" else frozenset(model.model_fields)

    def fields(self, row: Any, /) -> Mapping[str, Any]:
        return dict(row)

    def replace(self, row: Any, values: Mapping[str, Any], /) -> Any:
        model = cast("Any", type(row))
        check_names(values, columns_of(model), model)
        aliased = any(field.alias or field.validation_alias for field in model.model_fields.values())
        options: dict[str, bool] = {"by_alias": False, "by_name": True} if aliased else {}
        return model.model_validate({**dict(row), **values}, strict=True, **options)

    def check(self, row: Any, cls: type, /) -> None:
        """The model has checked itself when it was built."""

    def to_plain(self, row: Any, /) -> dict[str, Any]:
        return cast("dict[str, Any]", row.model_dump(mode="json", by_alias=True))

    def from_plain(self, data: Mapping[str, Any], cls: type, /) -> Any:
        # Only the JSON mode is strict and still reads a datetime from a string.
        return cast("Any", cls).model_validate_json(json.dumps(dict(data), default=_plain), strict=True)


def _plain(value: Any) -> Any:
    if value is None or type(value) in _SCALARS:
        return value
    if isinstance(value, enum.Enum):
        return _plain(value.value)
    if isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        items = _items(value).items()
        return {name if isinstance(name, str) else str(_plain(name)): _plain(item) for name, item in items}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in cast("Any", value)]
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    if isinstance(value, uuid.UUID | decimal.Decimal):
        return str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return kind_of(value).to_plain(value)


def _items(value: Any) -> Mapping[Any, Any]:
    return cast("Mapping[Any, Any]", value)


@cache
def _structure(cls: type) -> Callable[[Any, Any], Any]:
    from ._structure import structure_of  # only applications with such rows pay for the import

    return structure_of(cls)


def _structured(data: Mapping[str, Any], cls: type) -> Any:
    return _structure(cls)(data, cls)
