"""What the engine reads: relations, the subsets it asks them for, and the lease that keeps a subset loaded.

A *relation* is a keyed set of visible rows that hands out net deltas: a collection, or the result of a live query. The
engine (``ivm/`` and ``query/``) knows nothing else about collections, and collections know nothing about queries.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol

from typing_extensions import TypeVar

from .batch import Node

if TYPE_CHECKING:
    from .._collections.client import DbClient
    from .delta import DeltaSink

__all__ = ["Cursor", "Lease", "LiveSource", "LoadSubset", "OrderTerm", "Relation"]

Out = TypeVar("Out", covariant=True)


@dataclass(frozen=True, slots=True)
class OrderTerm:
    """One column of an ordered demand.

    Attributes:
        path: dotted column path.
        desc: whether larger values come first.
        nulls: where nulls are, in either direction.
        collation: ``"ignore_case"`` where texts that differ in case only are equal.
    """

    path: str
    desc: bool = False
    nulls: Literal["first", "last"] = "first"
    collation: Literal["ignore_case"] | None = None


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where an ordered demand goes on: behind a row that is there. Predicates and no token, so any source can use it.

    Attributes:
        where_from: rows behind the last one by the first term of the order, as expression IR.
        where_current: rows that tie with it there. Some of them may be loaded.
        last_key: the key of that row.
    """

    where_from: Any
    where_current: Any
    last_key: Any


@dataclass(frozen=True, slots=True)
class LoadSubset:
    """What one live query needs of an on-demand source. Equal demands are one demand.

    Attributes:
        bindings: for each column that the query binds by equality (or `one_of`) in every row it can show: the values.
            Exact and complete: rows outside them are never needed. Columns of the source's `partition` must be here.
        where: the whole predicate on this source as expression IR, or None; a hint that a source may use or ignore.
        order_by: order terms, outermost first; with `limit` and `offset` a window. Hints as well.
        limit: at most so many rows, or None. Rows that are equal in all terms of the order are ordered by key.
        offset: rows of the order to skip before `limit`. Other demands of the same query have asked for those.
        cursor: the same place as predicates, which `where` does not include, or None at the start. A source uses
            either; `where_from` alone misses rows, unless the order's first column is unique.
    """

    bindings: Mapping[str, tuple[Hashable, ...]] = field(default_factory=dict[str, tuple[Hashable, ...]])
    where: Any = None
    order_by: tuple[OrderTerm, ...] = ()
    limit: int | None = None
    offset: int = 0
    cursor: Cursor | None = None


class Lease(Protocol):
    """Keeps a relation alive, and a subset of it loaded, until released."""

    @property
    def is_ready(self) -> bool:
        """Whether what was asked for has been loaded once."""
        ...

    @property
    def error(self) -> Exception | None:
        """Why loading failed; rows that were shown stay. Cleared by a later success."""
        ...

    def release(self) -> None:
        """Stop needing it. Idempotent."""
        ...


class LiveSource(Generic[Out]):
    """Anything that a live query can read or a hook can show: a collection, a scope of one, a query.

    `Out` is what a hook returns for it.
    """

    def _open(self, db: DbClient) -> Relation:
        """Resolve to the running relation of `db`: this client's own instance of the collection, a started query."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it is opened")

    def _demand(self) -> Mapping[str, tuple[Hashable, ...]]:
        """Bindings that this source fixes by itself; a scope fixes its parameters."""
        return {}


class Relation(Node):
    """A keyed set of visible rows.

    Attributes:
        id: for errors and explain.
        rows: the visible rows by key, a live view. Readers outside a batch always see a settled state.
        columns: column names where the schema tells them, so that a misspelt one is an error; None when unknown.
        schema: the class of the rows, or None when unknown.
        partition: for an on-demand source that can only load by parameter: parameter name -> column. None for a
            source that is loaded as a whole.
        loads_subsets: whether the rows there are depend on the subsets that were asked for, in any other way than by
            `partition`.
        shared: owned by the engine: indexes and dispatchers shared by the queries that read this relation.
    """

    id: str
    columns: frozenset[str] | None = None
    schema: type[Any] | None = None
    partition: Mapping[str, str] | None = None
    loads_subsets: bool = False
    shared: dict[Hashable, Any]

    @property
    @abstractmethod
    def rows(self) -> Mapping[Any, Any]: ...

    @abstractmethod
    def attach(self, sink: DeltaSink) -> Callable[[], None]:
        """Hand every batch's net deltas to `sink` from now on, in phase 1.

        Called outside or inside a batch. `rows` at this moment is the state that the deltas start from: a relation with
        deltas not handed out yet must not hand those to the new sink.

        Returns:
            The function that detaches. Idempotent.
        """

    @abstractmethod
    def acquire(self, subset: LoadSubset, on_status: Callable[[], None]) -> Lease:
        """Keep this relation synced and `subset` loaded.

        Starts the source where it does not run. `on_status` is called, outside any batch, whenever the lease's
        `is_ready` or `error` changed.
        """
