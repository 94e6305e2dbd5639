"""`Built`: a query that can be opened, whatever its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic

from typing_extensions import TypeVar

from .._base.ir import QueryIR
from .._base.relation import LiveSource

if TYPE_CHECKING:
    from .._base.relation import Relation
    from .._collections.client import DbClient

__all__ = ["Built", "One"]

Out = TypeVar("Out", covariant=True)


class Built(LiveSource[Out], Generic[Out]):
    """What the builder builds. Equal when they say the same."""

    __slots__ = ("_ir",)

    def __init__(self, ir: QueryIR) -> None:
        self._ir = ir

    @property
    def ir(self) -> QueryIR:
        """What the query says."""
        return self._ir

    def _open(self, db: DbClient) -> Relation:
        from .._live.live_query import open_query

        return open_query(self._ir, db)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Built) and self._ir == other._ir

    def __hash__(self) -> int:
        return hash(self._ir)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {', '.join(source.name for source in self._ir.sources)}>"


class One(Built[Out], Generic[Out]):
    """A query whose result is one row: of `Query.find_one`, `Query.aggregate`, or `Query.select` of totals."""
