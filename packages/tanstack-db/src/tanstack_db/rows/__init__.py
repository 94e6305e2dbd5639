"""Rows of any kind: pydantic models, dataclasses, attrs classes, msgspec structs, TypedDicts and plain dicts.

Everything else in the package treats a row as an opaque, immutable value and asks here for its columns, for a copy with
other values, and for its JSON form. A library is touched only where its own class proves that the application has
imported it already; cattrs is imported at the first `from_plain` of a class that has no parser of its own.
"""

from ._rows import (
    changes,
    check,
    check_fields,
    columns,
    completed,
    copied,
    fields,
    from_plain,
    get,
    is_row,
    replace,
    required_keys,
    to_plain,
)

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
