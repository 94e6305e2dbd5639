"""One mutation of one row, and how two of the same row within a transaction become one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias

from typing_extensions import TypeVar

from .. import rows as _rows
from .ids import new_id

if TYPE_CHECKING:
    from .._collections.collection import Collection
    from .overlay import Layer

__all__ = ["Mutation", "MutationType", "changed_columns"]

T = TypeVar("T", default=dict[str, Any])

MutationType: TypeAlias = Literal["insert", "update", "delete"]


@dataclass(eq=False, kw_only=True, slots=True)
class Mutation(Generic[T]):
    """What a transaction does to one row. To be read only.

    Attributes:
        type: insert, update or delete.
        key: the row's key. When the server gave an inserted row another key, later mutations of that row follow it.
        original: the row before the transaction; for an insert the same as `modified`.
        modified: the row after it; for a delete the same as `original`.
        collection: the collection instance.
        metadata: what the application attached to the transaction.
        created_at: wall-clock time in UTC.
        is_confirmed: whether the server's answer for it has been taken over, so that nothing of it is shown any longer.
    """

    type: MutationType
    key: Any
    original: T
    modified: T
    collection: Collection[T, Any]
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    created_at: datetime = field(default_factory=partial(datetime.now, UTC))
    is_confirmed: bool = False
    _layer: Layer[T] | None = None
    _withheld: tuple[tuple[Any, Layer[T]], ...] = ()
    _owner: Any = None
    _id: str | None = None
    _changes: Mapping[str, Any] | None = None

    @property
    def changes(self) -> Mapping[str, Any]:
        """An insert's columns, an update's changed top-level columns with their new values, nothing for a delete."""
        if self._changes is None:
            self._changes = changed_columns(self.type, self.original, self.modified)
        return self._changes

    @property
    def id(self) -> str:
        """Unique; a realtime collection publishes it, so that a client knows its own changes."""
        if self._id is None:
            self._id = new_id()
        return self._id

    def _merge(self, then: MutationType, modified: T) -> bool:
        """Add what the same transaction does to the row next. Returns whether anything is left to do."""
        if self.type == "insert":
            if then == "delete":
                return False
            self.modified = self.original = modified
        elif then == "delete":
            self.type = "delete"
            self.modified = self.original
        else:
            # A delete followed by an insert of the same key is an update.
            self.type = "update"
            self.modified = modified
        self._changes = None
        return self.type != "update" or bool(self.changes)


def changed_columns(kind: MutationType, original: object, modified: object) -> Mapping[str, Any]:
    """Return what `Mutation.changes` is for these rows."""
    if kind == "update":
        return _rows.changes(original, modified)
    return dict(_rows.fields(modified)) if kind == "insert" else {}
