"""`QueryBuilder`: where a query begins."""

from __future__ import annotations

from typing import Any, overload

from typing_extensions import TypeVar

from .._base.ir import QueryIR
from .._errors import QueryError
from ._query import Query, Source
from ._sources import one_source, source_ir

__all__ = ["QueryBuilder"]

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
T = TypeVar("T")


class QueryBuilder:
    """Where a query begins: ``q.from_(todos)``."""

    __slots__ = ()

    @overload
    def from_(self, source: Source[T], /) -> Query[T, T]: ...
    @overload
    def from_(self, /, **source: Source[T]) -> Query[T, T]: ...
    def from_(self, /, *args: Any, **named: Any) -> Any:
        """Read a source: a collection, a scope of one, another query.

        Example:
            >>> q.from_(todos)
            >>> q.from_(todos=todos)  # with a name for string paths and joined rows; else it is the collection's id

        Raises:
            QueryError: no source, or several.
        """
        return Query[Any, Any](QueryIR((one_source("from_", args, named),)))

    @overload
    def union_all(self, first: Source[A], second: Source[B], /) -> Query[A | B, A | B]: ...
    @overload
    def union_all(self, first: Source[A], second: Source[B], third: Source[C], /) -> Query[A | B | C, A | B | C]: ...
    @overload
    def union_all(self, /, *sources: Source[T]) -> Query[T, T]: ...
    def union_all(self, /, *sources: Any) -> Any:
        """Read several sources as one: all rows of each, also equal ones.

        Example:
            >>> q.union_all(q.from_(todos).where(lambda t: t.done), archived).order_by(lambda t: t.created_at)

        A row's key is the number of its source and its key there, so equal keys do not clash. Conditions are tested
        before, so that they bind the parameters of every source.

        Raises:
            QueryError: no source.
        """
        if not sources:
            raise QueryError("union_all takes the sources whose rows are wanted, as in union_all(todos, archived)")
        return Query[Any, Any](QueryIR(tuple(map(source_ir, sources)), union=True))

    @overload
    def union(self, first: Source[A], second: Source[B], /) -> Query[A | B, A | B]: ...
    @overload
    def union(self, first: Source[A], second: Source[B], third: Source[C], /) -> Query[A | B | C, A | B | C]: ...
    @overload
    def union(self, /, *sources: Source[T]) -> Query[T, T]: ...
    def union(self, /, *sources: Any) -> Any:
        """Read several sources as one, and keep one of equal rows; see `union_all` and `Query.distinct`."""
        return self.union_all(*sources).distinct()
