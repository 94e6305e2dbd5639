"""The functions that the rest of the package calls."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, TypeVar, cast

import typing_extensions

from .._base.delta import same
from .._errors import SchemaError, UsageError, did_you_mean
from ._annotations import check_types
from ._kinds import check_names, columns_of, has_items, kind, kind_of

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
    "to_plain",
]

T = TypeVar("T")


def columns(schema: type | None) -> frozenset[str] | None:
    """Return the column names that the schema has, or None where it does not tell: a plain dict, an open model.

    Raises:
        UsageError: it is no class.
        SchemaError: rows of this class are not supported.
    """
    if schema is None:
        return None
    if not isinstance(schema, type):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(f"{schema!r} is no class of rows; pass the class itself, not one of its instances")
    return columns_of(schema)


def fields(row: object) -> Mapping[str, Any]:
    """Return the row's columns and values."""
    return kind_of(row).fields(row)


def get(row: Any, column: str) -> Any:
    """Return one column's value.

    Raises:
        SchemaError: the row has no such column.
    """
    try:
        return row[column] if has_items(row.__class__) else getattr(row, column)
    except (KeyError, AttributeError):
        names = kind_of(row).fields(row)
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
        return cast("T", kind_of(row).replace(row, values))
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


def is_row(value: Any, schema: type | None) -> bool:
    """Whether `value` is by its class a row of `schema`; without a class to compare with, any mapping is."""
    if type(value) is schema:
        return True
    if schema is None or typing_extensions.is_typeddict(schema):
        return has_items(value.__class__)
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
    kind(schema).check(row, schema)


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
    check_names(values, columns_of(cls), cls)
    check_types(values, cls)


def to_plain(row: object) -> dict[str, Any]:
    """Return the row as a JSON object: str, int, float, bool, None, lists and dicts only.

    Raises:
        SchemaError: a value that has no JSON form.
    """
    return kind_of(row).to_plain(row)


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
        return kind(schema).from_plain(data, schema)
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
        given = cast("Mapping[str, Any]", answer)
        if not isinstance(shown, Mapping):
            return from_plain({**to_plain(shown), **given}, schema or type(shown))
        answer = {**cast("Mapping[str, Any]", shown), **given}
    check(answer, schema)
    return answer


def copied(row: T) -> T:
    """Return a deep copy that the application may change without touching the row that is shown."""
    return copy.deepcopy(row)


def _is_dict_like(schema: type) -> bool:
    return typing_extensions.is_typeddict(schema) or issubclass(schema, Mapping)


def _explained(error: Exception) -> str:
    if type(error).__module__.startswith("cattrs"):
        from ._structure import explain

        return explain(error)
    return str(error)
