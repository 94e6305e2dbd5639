"""Rows of any kind: pydantic models, dataclasses, attrs classes, msgspec structs, TypedDicts and plain dicts.

Everything else in the package treats a row as an opaque, immutable value and asks here for its columns, for a copy with
other values, and for its JSON form. A library is touched only where its own class proves that the application has
imported it already; cattrs is imported at the first `from_plain` of a class that has no parser of its own.

================ ===================================================================================
``_rows``        what the rest of the package calls
``_kinds``       the families of row classes: columns, copies, JSON forms
``_annotations`` what annotations say of columns
``_structure``   rows from JSON for classes without a parser of their own
================ ===================================================================================
"""

from ._annotations import required_keys
from ._kinds import has_items
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
    "has_items",
    "is_row",
    "replace",
    "required_keys",
    "to_plain",
]
