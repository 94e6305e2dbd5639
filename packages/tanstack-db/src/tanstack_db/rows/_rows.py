"""The functions that the rest of the package calls, and what they know of each family of row classes."""

from __future__ import annotations

import base64
import copy
import dataclasses
import datetime as dt
import decimal
import enum
import json
import sys
import types
import typing
import uuid
from collections.abc import Mapping
from functools import cache
from typing import Any, Protocol, TypeVar, cast

import typing_extensions

from .._base.delta import same
from .._errors import SchemaError, did_you_mean

__all__ = [
    "changes",
    "check",
    "check_fields",
    "columns",
    "completed",
    "copied",
    "fields",
    "from_plain",
    "get",
    "is_row",
    "replace",
    "required_keys",
    "to_plain",
]

T = TypeVar("T")


class _Kind(Protocol):
    """How one family of row classes works."""

    def columns(self, cls: type, /) -> frozenset[str] | None: ...
    def fields(self, row: Any, /) -> Mapping[str, Any]: ...
    def replace(self, row: Any, values: Mapping[str, Any], /) -> Any: ...
    def check(self, row: Any, cls: type, /) -> None: ...
    def to_plain(self, row: Any, /) -> dict[str, Any]: ...
    def from_plain(self, data: Mapping[str, Any], cls: type, /) -> Any: ...


# -- what the rest of the package calls --------------------------------------------------------------------------------


def columns(schema: type | None) -> frozenset[str] | None:
    """Return the column names that the schema has, or None where it does not tell: a plain dict, an open model."""
    return None if schema is None else _columns(schema)


def fields(row: object) -> Mapping[str, Any]:
    """Return the row's columns and values."""
    return _kind_of(row).fields(row)


def get(row: object, column: str) -> Any:
    """Return one column's value.

    Raises:
        SchemaError: the row has no such column.
    """
    try:
        return _items(row)[column] if isinstance(row, Mapping) else getattr(row, column)
    except (KeyError, AttributeError):
        names = _kind_of(cast("Any", row)).fields(row)
        raise SchemaError(f"a row has no column {column!r}{did_you_mean(column, names)}") from None


def replace(row: T, values: Mapping[str, Any]) -> T:
    """Return a copy of `row` with other values in some columns, checked as far as the row's class checks.

    Raises:
        SchemaError: a column that there is not, or a value that the class refuses.
    """
    if not values:
        return row
    item: Any = row
    if type(item) is dict:
        return cast("T", {**item, **values})
    try:
        return cast("T", _kind_of(row).replace(row, values))
    except SchemaError:
        raise
    except Exception as error:
        raise SchemaError(f"{type(row).__name__} refuses {dict(values)!r}: {error}") from error


def changes(old: object, new: object) -> dict[str, Any]:
    """Return the columns of `new` that differ from `old`, and None for those that `new` no longer has."""
    before, after = fields(old), fields(new)
    changed = {name: value for name, value in after.items() if name not in before or not same(before[name], value)}
    changed.update({name: None for name in before if name not in after})
    return changed


def is_row(value: object, schema: type | None) -> bool:
    """Whether `value` is by its class a row of `schema`; without a class to compare with, any mapping is."""
    if schema is None or typing_extensions.is_typeddict(schema):
        return isinstance(value, Mapping)
    return isinstance(value, schema)


def check(row: object, schema: type | None) -> None:
    """Check a row that the application writes.

    Raises:
        SchemaError: it is not a row of the schema.
    """
    if row is None:
        raise SchemaError("None is not a row")
    if schema is None:
        return
    if not is_row(row, schema):
        raise SchemaError(
            f"a row must be a {schema.__name__}, not {type(row).__name__}: {row!r}. "
            + ("Pass a dict." if _is_dict_like(schema) else f"Build it with {schema.__name__}(...).")
        )
    _kind(schema).check(row, schema)


def check_fields(values: Mapping[str, Any], row: object, schema: type | None) -> None:
    """Check the names and the plain types of column values that the application writes.

    Args:
        values: column name to new value.
        row: the row that they go into; tells the names where the schema does not.
        schema: the schema, or None.

    Raises:
        SchemaError: a name that there is not, or a value of another type.
    """
    cls = schema if schema is not None else type(row)
    known = columns(cls)
    if known is not None:
        for name in values:
            if name not in known:
                raise SchemaError(f"{cls.__name__} has no column {name!r}{did_you_mean(name, known)}")
    _check_types(values, cls)


def to_plain(row: object) -> dict[str, Any]:
    """Return the row as a JSON object: str, int, float, bool, None, lists and dicts only.

    Raises:
        SchemaError: a value that has no JSON form.
    """
    return _kind_of(row).to_plain(row)


def from_plain(data: Mapping[str, Any], schema: type | None) -> Any:
    """Make a row from a JSON object, strictly.

    Nothing is coerced: ``5`` is no string and ``"no"`` no bool. The JSON forms of datetime, date, time, timedelta,
    UUID, Decimal, bytes and enums are parsed. Keys that the schema does not know are dropped, so that a server may add
    columns before its clients know them, unless the class itself forbids them.

    Raises:
        SchemaError: the object is not a whole, valid row.
    """
    if schema is None:
        return dict(data)
    try:
        return _kind(schema).from_plain(data, schema)
    except SchemaError:
        raise
    except Exception as error:
        raise SchemaError(f"not a valid {schema.__name__}: {_explained(error)}") from error


def completed(shown: Any, answer: object, schema: type | None) -> Any:
    """Return the row that a server's answer means.

    Args:
        shown: the row as it was sent.
        answer: the whole row, or a mapping with some of its columns, in Python or in JSON form.
        schema: the schema, or None.

    Raises:
        SchemaError: the answer is no row.
    """
    if isinstance(answer, Mapping):
        columns_of = _items(answer)
        if not isinstance(shown, Mapping):
            return from_plain({**to_plain(shown), **columns_of}, schema or type(shown))
        answer = {**_items(shown), **columns_of}
    check(answer, schema)
    return answer


def copied(row: T) -> T:
    """Return a deep copy that the application may change without touching the row that is shown."""
    return copy.deepcopy(row)


# -- kinds -------------------------------------------------------------------------------------------------------------


def _kind_of(row: object) -> _Kind:
    return _kind(cast("Any", type(row)))


@cache
def _columns(cls: Any) -> frozenset[str] | None:
    return _kind(cls).columns(cls)


@cache
def _kind(cls: Any) -> _Kind:
    if typing_extensions.is_typeddict(cls):
        return _TypedDicts()
    if issubclass(cls, Mapping):
        return _Dicts()
    pydantic = sys.modules.get("pydantic")
    if pydantic is not None and issubclass(cls, pydantic.BaseModel):
        return _Pydantic()
    msgspec = sys.modules.get("msgspec")
    if msgspec is not None and issubclass(cls, msgspec.Struct):
        return _Msgspec()
    if hasattr(cls, "__attrs_attrs__"):
        return _Attrs()
    if dataclasses.is_dataclass(cls):
        return _Dataclasses()
    raise SchemaError(
        f"rows of type {cls.__name__} are not supported: use a pydantic model, a dataclass, an attrs class, a msgspec "
        "Struct, a TypedDict or a dict"
    )


def _is_dict_like(schema: type) -> bool:
    return typing_extensions.is_typeddict(schema) or issubclass(schema, Mapping)


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
        check_fields(row, row, cls)

    def from_plain(self, data: Mapping[str, Any], cls: type, /) -> Any:
        return _structured(data, cls)


class _Dataclasses:
    def columns(self, cls: type, /) -> frozenset[str] | None:
        return frozenset(field.name for field in dataclasses.fields(cls))

    def fields(self, row: Any, /) -> Mapping[str, Any]:
        return {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}

    def replace(self, row: Any, values: Mapping[str, Any], /) -> Any:
        return dataclasses.replace(row, **values)

    def check(self, row: Any, cls: type, /) -> None:
        _check_types(self.fields(row), cls)

    def to_plain(self, row: Any, /) -> dict[str, Any]:
        return {name: _plain(value) for name, value in self.fields(row).items()}

    def from_plain(self, data: Mapping[str, Any], cls: type, /) -> Any:
        return _structured(data, cls)


class _Attrs(_Dataclasses):
    def columns(self, cls: type, /) -> frozenset[str] | None:
        return frozenset(attribute.name for attribute in cast("Any", cls).__attrs_attrs__)

    def fields(self, row: Any, /) -> Mapping[str, Any]:
        return {attribute.name: getattr(row, attribute.name) for attribute in row.__attrs_attrs__}

    def replace(self, row: Any, values: Mapping[str, Any], /) -> Any:
        return sys.modules["attr"].evolve(row, **values)


class _Msgspec(_Dataclasses):
    def columns(self, cls: type, /) -> frozenset[str] | None:
        return frozenset(cast("Any", cls).__struct_fields__)

    def fields(self, row: Any, /) -> Mapping[str, Any]:
        return {name: getattr(row, name) for name in row.__struct_fields__}

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
        known = self.columns(model)
        for name in values:
            if known is not None and name not in known:
                raise SchemaError(f"{model.__name__} has no column {name!r}{did_you_mean(name, known)}")
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


# -- values ------------------------------------------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return _plain(value.value)
    if value is None or isinstance(value, str | int | float):
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
    return to_plain(value)


def _items(value: Any) -> Mapping[Any, Any]:
    return cast("Mapping[Any, Any]", value)


@cache
def _hints(cls: Any) -> Mapping[str, Any]:
    # What checks itself, or declares nothing, is not checked here: an `EmailStr` column holds a str.
    if hasattr(cls, "__pydantic_validator__") or type(_kind(cls)) is _Dicts:
        return {}
    try:
        return typing_extensions.get_type_hints(cls)
    except Exception:  # noqa: BLE001 -- names that exist only for the type checker: nothing can be checked here
        return {}


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


def _structured(data: Mapping[str, Any], cls: type) -> Any:
    from ._structure import structure

    return structure(data, cls)


def _explained(error: Exception) -> str:
    if type(error).__module__.startswith("cattrs"):
        from ._structure import explain

        return explain(error)
    return str(error)


def _check_types(values: Mapping[str, Any], cls: type) -> None:
    hints = _hints(cls)
    for name, value in values.items():
        if name in hints and type(value) is not hints[name] and not _fits(value, hints[name]):
            hint: Any = hints[name]
            wanted = hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)
            raise SchemaError(f"{cls.__name__}.{name} is a {wanted}, not {value!r}")


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
