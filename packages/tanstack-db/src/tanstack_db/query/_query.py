"""`Query`: immutable, each clause giving a new one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Generic, Literal, Self, TypeAlias, TypeVarTuple, cast, overload

from typing_extensions import TypeVar

from .._base.ir import Collation, ExprIR, JoinIR, JoinKind, Nulls, QueryIR, RowFunction
from .._base.relation import LiveSource
from .._base.snapshot import Rows
from .._errors import QueryError
from ._built import Built, One
from ._clauses import group_keys, join_pairs, order_terms, totals, where_terms, window
from ._expr import Expr
from ._grouping import group_totals, grouping
from ._includes import include_of
from ._levels import level_of, window_level
from ._sources import one_source, row_sources, shapes_of, source_ir
from ._trace import check_function

__all__ = ["Cond", "Grouped", "Op", "Query", "Source"]

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
T = TypeVar("T")
R = TypeVar("R")
U = TypeVar("U")
Ts = TypeVarTuple("Ts")

Cond: TypeAlias = bool | Expr[bool] | None
"""What a condition returns: a comparison of columns, a bool for the type checker; or an optional bool column."""

Op: TypeAlias = Literal["=", "!=", "<", "<=", ">", ">=", "in", "not in", "like", "ilike"]

Source: TypeAlias = LiveSource[Rows[T]]
"""What `QueryBuilder.from_` and `Query.join` take: a collection, a scope of one, another query."""


class Query(Built[Rows[R]], Generic[R, *Ts]):
    """A query of many rows. Every method returns a new one.

    `R` is the result row: the row of the source, with joins a tuple of rows that has them as attributes as well, after
    a projection what that returns. `Ts` are the rows that lambdas are called with.
    """

    # -- filter, order, window -----------------------------------------------------------------------------------------

    @overload
    def where(self, cond: Callable[[*Ts], Cond], /) -> Self: ...
    @overload
    def where(self, path: str, op: Op, value: object, /) -> Self: ...
    @overload
    def where(self, /, **equals: object) -> Self: ...
    def where(self, /, *args: Any, **equals: Any) -> Self:
        """Keep the rows for which a condition is true. Several conditions must all be true.

        Example:
            >>> query.where(lambda t: (t.project_id == pid) & ~col(t.done))
            >>> query.where("project_id", "=", pid)
            >>> query.where(project_id=pid)

        Comparisons with null are unknown, and rows for which a condition is unknown are left out. The window of `limit`
        is cut after all conditions, also those added later.

        Raises:
            QueryError: the condition cannot be traced; the message says what to write.
            UnknownColumnError: a column that there is not.
        """
        level = level_of(self, "where")
        return self._with(replace(level, where=(*level.where, *where_terms(args, equals, row_sources(level)))))

    @overload
    def order_by(
        self,
        key: Callable[[*Ts], object],
        /,
        *,
        desc: bool = False,
        nulls: Nulls = "first",
        collation: Collation | Callable[[Any], object] | None = None,
    ) -> Self: ...
    @overload
    def order_by(
        self,
        path: str,
        direction: Literal["asc", "desc"] = "asc",
        /,
        *,
        nulls: Nulls = "first",
        collation: Collation | Callable[[Any], object] | None = None,
    ) -> Self: ...
    def order_by(self, /, *args: Any, desc: bool = False, nulls: Any = "first", collation: Any = None) -> Self:
        """Order by a column, or by a tuple of columns; further calls order what is equal so far.

        Example:
            >>> query.order_by(lambda t: (t.project_id, t.created_at), desc=True)
            >>> query.order_by("project_id").order_by("due", "desc", nulls="last")
            >>> query.order_by(lambda t: t.name, collation="ignore_case")

        What is equal is ordered by the rows' keys. Texts compare by code point.

        Args:
            args: a lambda that gives columns; or a path, and ``"desc"`` for descending.
            desc: whether larger values come first. It does not move nulls.
            nulls: where nulls are, in either direction.
            collation: what is compared instead of a value. ``"ignore_case"`` makes texts equal that differ in case
                only. Else a function of a value that is not null, which must depend on nothing else: `locale.strxfrm`
                for the order of a language.

        Raises:
            QueryError: it is no column, or an option is none of the above.
            UnknownColumnError: a column that there is not.
        """
        level = level_of(self, "order_by")
        terms = order_terms(args, desc=desc, nulls=nulls, collation=collation, sources=row_sources(level))
        return self._with(replace(level, order_by=(*level.order_by, *terms)))

    def limit(self, n: int, /) -> Self:
        """Keep the first `n` rows of the order.

        Raises:
            QueryError: `n` is no number of rows.
        """
        return self._with(replace(window_level(self), limit=window("limit", n)))

    def offset(self, n: int, /) -> Self:
        """Leave out the first `n` rows of the order, before `limit` counts.

        Raises:
            QueryError: `n` is no number of rows.
        """
        return self._with(replace(window_level(self), offset=window("offset", n)))

    def distinct(self) -> Self:
        """Keep one of equal rows. To be called after what makes rows equal, such as `select`, or on a union.

        Example:
            >>> query.select(lambda todo: todo.project_id).distinct()

        Rows with equal columns are equal, and nulls are. The order of `order_by` is that of the rows that are left.

        Raises:
            QueryError: no two rows can be equal, since these are rows of collections.
        """
        level = level_of(self, "distinct")
        if not level.union and not any(isinstance(getattr(item.source, "ir", None), QueryIR) for item in level.sources):
            raise QueryError(
                "every row of a collection is a different one: call distinct() after what makes rows equal, as in "
                "select(lambda row: row.project_id).distinct()"
            )
        if level.limit is not None or level.offset:
            level = QueryIR((source_ir(self),))
        return self._with(replace(level, distinct=True))

    # -- join ----------------------------------------------------------------------------------------------------------

    @overload
    def join(
        self, other: Source[U] = ..., /, *, on: Callable[[*Ts, U], Cond], **named: Source[U]
    ) -> Query[tuple[*Ts, U | None], *Ts, U | None]: ...
    @overload
    def join(
        self, left: str, op: Literal["="], right: str, /, **other: Source[U]
    ) -> Query[tuple[*Ts, U | None], *Ts, U | None]: ...
    def join(self, /, *args: Any, on: Any = None, **named: Any) -> Any:
        """Join another source; rows without a match stay, with None for it (a left join).

        Example:
            >>> query.join(comments, on=lambda todo, comment: todo.id == comment.todo_id)
            >>> query.join("todos.id", "=", "comments.todo_id", comments=comments)

        Args:
            args: the source; in the string form the two columns around ``"="``.
            on: compares columns of both sides by ``==``, several joined by ``&``. Sees whole rows.
            named: the source by a name for it, where its id is taken or the string form is used.

        Raises:
            QueryError: no source, a name that is taken, or `on` says something else than equalities.
            UnknownColumnError: a column that there is not.
        """
        return self._join("left", args, on, named)

    @overload
    def inner_join(
        self, other: Source[U] = ..., /, *, on: Callable[[*Ts, U], Cond], **named: Source[U]
    ) -> Query[tuple[*Ts, U], *Ts, U]: ...
    @overload
    def inner_join(
        self, left: str, op: Literal["="], right: str, /, **other: Source[U]
    ) -> Query[tuple[*Ts, U], *Ts, U]: ...
    def inner_join(self, /, *args: Any, on: Any = None, **named: Any) -> Any:
        """Join another source; only rows with a match stay. Arguments as for `join`."""
        return self._join("inner", args, on, named)

    @overload
    def right_join(
        self: Query[Any, A], other: Source[U] = ..., /, *, on: Callable[[A, U], Cond], **named: Source[U]
    ) -> Query[tuple[A | None, U], A | None, U]: ...
    @overload
    def right_join(
        self: Query[Any, A], left: str, op: Literal["="], right: str, /, **other: Source[U]
    ) -> Query[tuple[A | None, U], A | None, U]: ...
    @overload
    def right_join(
        self: Query[Any, A, B], other: Source[U] = ..., /, *, on: Callable[[A, B, U], Cond], **named: Source[U]
    ) -> Query[tuple[A | None, B | None, U], A | None, B | None, U]: ...
    @overload
    def right_join(
        self: Query[Any, A, B], left: str, op: Literal["="], right: str, /, **other: Source[U]
    ) -> Query[tuple[A | None, B | None, U], A | None, B | None, U]: ...
    @overload
    def right_join(
        self: Query[Any, A, B, C], other: Source[U] = ..., /, *, on: Callable[[A, B, C, U], Cond], **named: Source[U]
    ) -> Query[tuple[A | None, B | None, C | None, U], A | None, B | None, C | None, U]: ...
    @overload
    def right_join(
        self: Query[Any, A, B, C], left: str, op: Literal["="], right: str, /, **other: Source[U]
    ) -> Query[tuple[A | None, B | None, C | None, U], A | None, B | None, C | None, U]: ...
    @overload
    def right_join(
        self: Query[Any, A, B, C, D],
        other: Source[U] = ...,
        /,
        *,
        on: Callable[[A, B, C, D, U], Cond],
        **named: Source[U],
    ) -> Query[tuple[A | None, B | None, C | None, D | None, U], A | None, B | None, C | None, D | None, U]: ...
    @overload
    def right_join(
        self: Query[Any, A, B, C, D], left: str, op: Literal["="], right: str, /, **other: Source[U]
    ) -> Query[tuple[A | None, B | None, C | None, D | None, U], A | None, B | None, C | None, D | None, U]: ...
    def right_join(self, /, *args: Any, on: Any = None, **named: Any) -> Any:
        """Join another source; its rows without a match stay, with None for all others. Arguments as for `join`."""
        return self._join("right", args, on, named)

    @overload
    def full_join(
        self: Query[Any, A], other: Source[U] = ..., /, *, on: Callable[[A, U], Cond], **named: Source[U]
    ) -> Query[tuple[A | None, U | None], A | None, U | None]: ...
    @overload
    def full_join(
        self: Query[Any, A], left: str, op: Literal["="], right: str, /, **other: Source[U]
    ) -> Query[tuple[A | None, U | None], A | None, U | None]: ...
    @overload
    def full_join(
        self: Query[Any, A, B], other: Source[U] = ..., /, *, on: Callable[[A, B, U], Cond], **named: Source[U]
    ) -> Query[tuple[A | None, B | None, U | None], A | None, B | None, U | None]: ...
    @overload
    def full_join(
        self: Query[Any, A, B], left: str, op: Literal["="], right: str, /, **other: Source[U]
    ) -> Query[tuple[A | None, B | None, U | None], A | None, B | None, U | None]: ...
    @overload
    def full_join(
        self: Query[Any, A, B, C], other: Source[U] = ..., /, *, on: Callable[[A, B, C, U], Cond], **named: Source[U]
    ) -> Query[tuple[A | None, B | None, C | None, U | None], A | None, B | None, C | None, U | None]: ...
    @overload
    def full_join(
        self: Query[Any, A, B, C], left: str, op: Literal["="], right: str, /, **other: Source[U]
    ) -> Query[tuple[A | None, B | None, C | None, U | None], A | None, B | None, C | None, U | None]: ...
    @overload
    def full_join(
        self: Query[Any, A, B, C, D],
        other: Source[U] = ...,
        /,
        *,
        on: Callable[[A, B, C, D, U], Cond],
        **named: Source[U],
    ) -> Query[
        tuple[A | None, B | None, C | None, D | None, U | None], A | None, B | None, C | None, D | None, U | None
    ]: ...
    @overload
    def full_join(
        self: Query[Any, A, B, C, D], left: str, op: Literal["="], right: str, /, **other: Source[U]
    ) -> Query[
        tuple[A | None, B | None, C | None, D | None, U | None], A | None, B | None, C | None, D | None, U | None
    ]: ...
    def full_join(self, /, *args: Any, on: Any = None, **named: Any) -> Any:
        """Join another source; rows of both sides stay without a match. Arguments as for `join`."""
        return self._join("full", args, on, named)

    @overload
    def include(self, children: Callable[[*Ts], Source[U]], /) -> Query[tuple[*Ts, Rows[U]], *Ts, Rows[U]]: ...
    @overload
    def include(self, /, **named: Callable[[*Ts], Source[U]]) -> Query[tuple[*Ts, Rows[U]], *Ts, Rows[U]]: ...
    @overload
    def include(self, child: Callable[[*Ts], One[U]], /) -> Query[tuple[*Ts, U], *Ts, U]: ...
    @overload
    def include(self, /, **named: Callable[[*Ts], One[U]]) -> Query[tuple[*Ts, U], *Ts, U]: ...
    def include(self, /, *args: Any, **named: Any) -> Any:
        """Give every row the list of its children, ordered and cut for each row on its own.

        Example:
            >>> q.from_(todos).include(
            ...     lambda todo: q.from_(comments).where(lambda c: c.todo_id == todo.id).order_by("created_at").limit(3)
            ... ).select(lambda todo, comments: TodoView(todo, comments))

        A row that has no children has an empty list. Children may have includes of their own. With `find_one` a row
        gets its first child or None, and with `aggregate` the totals of its children. What changes in a list is a
        change of the rows that have it, and of nothing else.

        Args:
            args: the function that gives the query of a row's children: a query with a `where` that compares columns of
                the children and of the row by ``==``, several joined by ``&``.
            named: the same, by a name for the list; by default it is that of the children's source.

        Raises:
            QueryError: the function gives something else, or the name is taken.
        """
        given = [*((None, function) for function in args), *named.items()]
        if len(given) != 1:
            raise QueryError("include takes one function that gives a query of children; call it again for others")
        level = level_of(self, "include")
        ((name, function),) = given
        source, include = include_of(function, level, name)
        return Query[Any, Any](replace(level, sources=(*level.sources, source), joins=(*level.joins, include)))

    # -- projection ----------------------------------------------------------------------------------------------------

    @overload
    def select(self, row: Callable[[*Ts], U], /) -> Query[U, U]: ...
    @overload
    def select(self, /, **totals: Callable[[Sequence[R]], object]) -> One[Any]: ...
    def select(self, /, *args: Any, **functions: Any) -> Any:
        """Make another row of each row, by a plain function of real rows; or totals of all rows.

        Example:
            >>> query.select(lambda todo: todo.text.title())
            >>> query.select(total=len, done=lambda todos: sum(todo.done for todo in todos))

        The function must depend on nothing but the row. Totals are computed from all rows after each change; what
        `aggregate` gives is kept up to date at a cost that does not depend on their number.

        Raises:
            QueryError: neither of the two forms.
        """
        level = level_of(self, "select")
        if functions and not args:
            return One[Any](replace(level, projection=totals(functions), single=True))
        if len(args) != 1 or functions or not callable(args[0]):
            raise QueryError(
                "select takes a function of the row, as in select(lambda row: row.text), or totals, as in "
                "select(total=len)"
            )
        check_function(args[0], shapes_of(row_sources(level)))
        return Query[Any, Any](replace(level, projection=RowFunction(args[0])))

    def aggregate(self, totals: Callable[[*Ts], U], /) -> One[U]:
        """Aggregate all rows to one; also no rows.

        Example:
            >>> query.aggregate(lambda t: Stats(total=count(), done=count(t.completed_at)))

        Args:
            totals: makes the result from `count`, `count_if`, `sum_`, `avg`, `min_` and `max_`. It is called again for
                every result, and must call the same aggregates each time.

        Raises:
            QueryError: it uses a column outside an aggregate, or no aggregate.
            UnknownColumnError: a column that there is not.
        """
        level = level_of(self, "aggregate")
        return One[U](replace(level, projection=grouping(totals, shapes_of(row_sources(level)), ()), single=True))

    @overload
    def group_by(self, key: Callable[[*Ts], object], /) -> Grouped[*Ts]: ...
    @overload
    def group_by(self, path: str, /, *paths: str) -> Grouped[*Ts]: ...
    def group_by(self, /, *args: Any) -> Grouped[*Ts]:
        """Group by columns; `Grouped.aggregate` or `Grouped.select` says what becomes of each group.

        Args:
            args: a lambda that gives a column or a tuple of columns; or paths.

        Raises:
            QueryError: it is no column.
            UnknownColumnError: a column that there is not.
        """
        level = level_of(self, "group_by")
        return Grouped[*Ts](level, group_keys(args, row_sources(level)))

    def find_one(self) -> One[R | None]:
        """Take the first row, or None."""
        level = window_level(self)
        return One[Any](replace(level, limit=1 if level.limit is None else min(level.limit, 1), single=True))

    # -- making --------------------------------------------------------------------------------------------------------

    def _with(self, ir: QueryIR) -> Self:
        return cast("Self", Query[Any, Any](ir))

    def _join(self, kind: JoinKind, args: tuple[Any, ...], on: Any, named: dict[str, Any]) -> Any:
        level = level_of(self, "join")
        if len(args) > 1 if on is not None else len(args) != 3:
            raise QueryError(
                "a join takes a source and what to compare: join(comments, on=lambda todo, comment: todo.id == "
                'comment.todo_id) or join("todos.id", "=", "comments.todo_id", comments=comments)'
            )
        joined = one_source("join", args if on is not None else (), named, level.sources)
        sources = (*level.sources, joined)
        pairs = join_pairs(args, on, sources)
        join = JoinIR(len(level.sources), kind, pairs)
        return Query[Any, Any](replace(level, sources=sources, joins=(*level.joins, join)))


class Grouped(Generic[*Ts]):
    """What `Query.group_by` gives: groups that are waiting for their `aggregate`."""

    __slots__ = ("_keys", "_level")

    def __init__(self, level: QueryIR, keys: tuple[ExprIR, ...]) -> None:
        self._level = level
        self._keys = keys

    def aggregate(self, totals: Callable[[*Ts], U], /) -> Query[U, U]:
        """Make one row of each group. Later lambdas see that row, so ``where`` after it is SQL's HAVING.

        Example:
            >>> query.group_by(lambda t: t.project_id).aggregate(lambda t: Stats(project=t.project_id, total=count()))

        Args:
            totals: as for `Query.aggregate`; group keys are plain values in it.

        Raises:
            QueryError: it uses a column that is neither a group key nor inside an aggregate.
            UnknownColumnError: a column that there is not.
        """
        projection = grouping(totals, shapes_of(row_sources(self._level)), self._keys)
        return Query[U, U](replace(self._level, projection=projection))

    def __repr__(self) -> str:
        return f"<Grouped of {', '.join(source.name for source in self._level.sources)}, waiting for aggregate(...)>"

    def select(self, /, **totals: Callable[[Sequence[Any]], object]) -> Query[Any, Any]:
        """Make one row of each group by plain functions of its rows; its keys are attributes as well.

        Example:
            >>> query.group_by("project_id").select(total=len, oldest=lambda todos: min(t.created_at for t in todos))

        The rows are a tuple in no certain order, with joins of tuples. Every change of a group costs O(its rows);
        prefer `aggregate`.

        Raises:
            QueryError: a total is no function, or a key has no name.
        """
        return Query[Any, Any](replace(self._level, projection=group_totals(totals, self._keys)))
