"""What a collection is made from: its options, checked when they are declared."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeAlias

from typing_extensions import TypeVar

from .. import rows as _rows
from .._errors import UsageError
from .._sync.contract import Source
from .._transactions.mutation import MutationType
from .._transactions.transaction import Transaction

__all__ = ["AnyHandler", "CollectionConfig", "DeleteHandler", "Handler"]

T = TypeVar("T", default=dict[str, Any])
K = TypeVar("K", default=Any)

Handler: TypeAlias = Callable[[Transaction[T]], Awaitable[T | Mapping[str, Any] | Sequence[T] | None]]
"""Tells the server about inserts or updates, and returns the server's row, rows, or some of the row's columns."""

DeleteHandler: TypeAlias = Callable[[Transaction[T]], Awaitable[object]]

AnyHandler: TypeAlias = Callable[[Transaction[Any]], Awaitable[object]]


@dataclass(frozen=True, kw_only=True, eq=False)
class CollectionConfig(Generic[T, K]):
    """The options that every collection type has; see `collection_options` for their meaning."""

    id: str
    get_key: Callable[[T], K]
    schema: type[T] | None = None
    sync: Source[T, K] | None = None
    on_insert: Handler[T] | None = None
    on_update: Handler[T] | None = None
    on_delete: DeleteHandler[T] | None = None
    gc_time: float = 300.0
    start_sync: bool = False
    sync_mode: Literal["eager", "on-demand"] = "eager"
    partition: Mapping[str, str] | None = None
    row_update_mode: Literal["partial", "full"] = "partial"
    batch_handlers: bool = False
    compare: Callable[[T, T], int] | None = None

    def __post_init__(self) -> None:
        if not self.id or not isinstance(self.id, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UsageError(f"a collection's id must be a non-empty string, not {self.id!r}")
        for name in ("get_key", "sync", "on_insert", "on_update", "on_delete", "compare"):
            value = getattr(self, name)
            if not callable(value) and (value is not None or name == "get_key"):
                raise UsageError(f"collection {self.id!r}: {name} must be a function, not {value!r}")
        if self.sync_mode not in ("eager", "on-demand"):
            raise UsageError(f'collection {self.id!r}: sync_mode is "eager" or "on-demand", not {self.sync_mode!r}')
        if self.row_update_mode not in ("partial", "full"):
            raise UsageError(
                f'collection {self.id!r}: row_update_mode is "partial" or "full", not {self.row_update_mode!r}'
            )
        known = _rows.columns(self.schema)
        for parameter, column in (self.partition or {}).items():
            if known is not None and column not in known:
                raise UsageError(
                    f"collection {self.id!r}: parameter {parameter!r} names column {column!r}, which the schema does "
                    "not have"
                )

    def handler(self, kind: MutationType) -> AnyHandler | None:
        """Return the handler for one kind of mutation."""
        return {"insert": self.on_insert, "update": self.on_update, "delete": self.on_delete}[kind]
