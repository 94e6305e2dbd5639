"""What a query says: immutable, hashable trees. The builder makes them, the compiler and the planner read them.

One `QueryIR` is one level: sources joined or united, filtered, made distinct, ordered, cut to a window, then projected,
in this order, whatever the order of the calls. A clause that comes after a projection (a ``where`` on totals, SQL's
HAVING) starts a new level whose first source is the level before.

Identity: equal trees are one query. Functions compare by what they do: `function_key` gives equal keys for a lambda
that is made again with the same code and the same captured values.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from types import CodeType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from .relation import LiveSource

__all__ = [
    "AggregateCall",
    "Call",
    "Collation",
    "Const",
    "ExprIR",
    "Grouping",
    "IncludeIR",
    "JoinIR",
    "JoinKind",
    "Nulls",
    "OrderIR",
    "Outer",
    "Projection",
    "QueryIR",
    "Ref",
    "RowFunction",
    "SourceIR",
    "Totals",
    "function_key",
    "refs",
]


@dataclass(frozen=True, slots=True)
class Ref:
    """A column: `source` is the index into `QueryIR.sources`; an empty path is the row itself.

    Each step of the path is an attribute of an object or an item of a mapping; a step from an absent or null value
    gives null.
    """

    source: int
    path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outer:
    """A column of the parent row, in the query of an include. Gone once the include is made.

    `scope` is the include's own, since includes nest.
    """

    scope: int
    ref: Ref


@dataclass(frozen=True, slots=True)
class Const:
    """A value from outside the query. Equal only to a value of the same type, since ``1 == True``."""

    value: Any = field(compare=False)
    key: Hashable = field(init=False, repr=False)

    def __post_init__(self) -> None:
        value = self.value
        try:
            hash(value)
        except TypeError:
            value = id(self.value)
        object.__setattr__(self, "key", (type(self.value), value))


@dataclass(frozen=True, slots=True)
class Call:
    """An operator with its operands.

    ====================================  =======================================================================
    ``eq ne lt le gt ge``                 comparisons; unknown (None) when a side is null
    ``and or not``                        three-valued; any number of operands for and, or
    ``is_none``                           true or false, never unknown
    ``in``                                operand, then a `Const` holding a frozenset or tuple
    ``between``                           operand, low, high; both ends included
    ``like ilike``                        operand, pattern with ``%`` and ``_``; the pattern is a `Const`
    ``startswith endswith contains``      text functions
    ``lower upper strip replace length``  text functions
    ``concat``                            texts as one; nulls are left out
    ``abs round round_to floor ceil``     numbers; round_to with the number of digits
    ``date time weekday isoweekday``      parts of a time, and ``strftime`` with a format
    ``case``                              condition, value, …, default
    ``add sub mul div floordiv mod neg``  arithmetic; null when an operand is null, and for a division by zero
    ``coalesce``                          the first operand that is not null
    ====================================  =======================================================================
    """

    op: str
    args: tuple[ExprIR, ...]


ExprIR: TypeAlias = Ref | Const | Call | Outer


@dataclass(frozen=True, slots=True)
class AggregateCall:
    """One aggregate over the rows of a group. `arg` None stands for the row; nulls are skipped."""

    function: Literal["count", "sum", "avg", "min", "max", "collect"]
    arg: ExprIR | None = None
    distinct: bool = False


@dataclass(frozen=True, slots=True)
class RowFunction:
    """A plain function of the application, compared by `function_key`."""

    function: Callable[..., Any] = field(compare=False)
    key: Hashable = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", function_key(self.function))


@dataclass(frozen=True, slots=True)
class Grouping:
    """``group_by(...).aggregate(...)``: one output row per group; without keys one row for all, also for no rows.

    Attributes:
        keys: what is equal within a group.
        calls: the aggregates, in the order in which `build` asks for them.
        build: makes the output row: ``build(key_values, aggregate_values)``, both tuples in the order of above.
    """

    keys: tuple[ExprIR, ...]
    calls: tuple[AggregateCall, ...]
    build: RowFunction


@dataclass(frozen=True, slots=True)
class Totals:
    """The seed's ``select(total=len, done=lambda rows: …)``: functions of all rows, O(rows) per change, one result."""

    functions: tuple[tuple[str, RowFunction], ...]


Projection: TypeAlias = RowFunction | Grouping | Totals
"""`RowFunction`: ``select(fn)``, called with the real rows, one argument per source."""

JoinKind: TypeAlias = Literal["left", "inner", "right", "full"]


@dataclass(frozen=True, slots=True)
class SourceIR:
    """A source of a level. Compared by identity of the collection or scope, by tree for a subquery."""

    source: LiveSource[Any] = field(compare=False)
    name: str
    key: Hashable


@dataclass(frozen=True, slots=True)
class JoinIR:
    """Joins `QueryIR.sources[index]` to everything before it, on equalities.

    Attributes:
        kind: which rows without a match stay.
        on: pairs (expression over earlier sources, expression over the joined source), all equal.
    """

    index: int
    kind: JoinKind
    on: tuple[tuple[ExprIR, ExprIR], ...]


Nulls: TypeAlias = Literal["first", "last"]

Collation: TypeAlias = Literal["ignore_case"]
"""``ignore_case``: texts that differ in case only are equal (`str.casefold`); other values are left as they are."""


@dataclass(frozen=True, slots=True)
class OrderIR:
    """One order term; ties of all terms are broken by key.

    Attributes:
        expr: what is compared.
        desc: whether larger values come first.
        nulls: where nulls are, in either direction.
        collation: what is compared instead of a value: by name, or a function of values that are not null.
    """

    expr: ExprIR
    desc: bool = False
    nulls: Nulls = "first"
    collation: Collation | RowFunction | None = None


@dataclass(frozen=True, slots=True)
class IncludeIR:
    """Adds to every row of everything before it the list of its children, rows of `QueryIR.sources[index]`.

    Attributes:
        on: pairs (expression over earlier sources, expression over the children's level), all equal.
        width: of the children's level.
        order_by: of the children of one parent.
        limit: children per parent, or None for all.
        offset: children of each parent that are left out.
        projection: what is shown of a child.
        where: conditions on the source, as expressions over it alone.
        single: the row gets the first child or None, and no list.
        totals: the row gets these totals of its children, and no list.
    """

    index: int
    on: tuple[tuple[ExprIR, ExprIR], ...]
    width: int = 1
    order_by: tuple[OrderIR, ...] = ()
    limit: int | None = None
    offset: int = 0
    projection: RowFunction | None = None
    where: tuple[ExprIR, ...] = ()
    single: bool = False
    totals: Grouping | None = None
    kind: Literal["include"] = "include"


@dataclass(frozen=True, slots=True)
class QueryIR:
    """One level of a query; see the module docstring.

    Attributes:
        sources: the first is ``from_``, each other one has its `JoinIR`, or after those its `IncludeIR`; in a union all
            of them are alternatives.
        where: conditions, all of which must be true.
        limit: None for no window.
        projection: None keeps the row, or with joins the tuple of rows.
        single: the result is one row or None (``find_one``), or the one row of totals.
        union: the rows are those of all sources, one after the other, and `Ref.source` is always 0.
        distinct: of equal rows one is kept, before they are ordered.
    """

    sources: tuple[SourceIR, ...]
    joins: tuple[JoinIR | IncludeIR, ...] = ()
    where: tuple[ExprIR, ...] = ()
    order_by: tuple[OrderIR, ...] = ()
    limit: int | None = None
    offset: int = 0
    projection: Projection | None = None
    single: bool = False
    union: bool = False
    distinct: bool = False

    @property
    def width(self) -> int:
        """How many rows of sources make up one row of this level."""
        return 1 if self.union else len(self.sources)

    @property
    def has_includes(self) -> bool:
        """Whether rows have lists of children."""
        return any(join.kind == "include" for join in self.joins)


def refs(expr: ExprIR) -> Iterator[Ref]:
    """Iterate over the columns that an expression reads."""
    if isinstance(expr, Ref):
        yield expr
    elif isinstance(expr, Call):
        for arg in expr.args:
            yield from refs(arg)


def function_key(function: Callable[..., Any]) -> Hashable:
    """Return a key that is equal for functions with the same code, captured values and defaults.

    A lambda in a component is a new object at every render; this tells whether it is still the same query. Captured
    values that cannot be hashed compare by identity.
    """
    code = getattr(function, "__code__", None)
    if not isinstance(code, CodeType):
        return _hashable(function)
    cells = getattr(function, "__closure__", None) or ()
    captured = tuple(_cell_key(cell) for cell in cells)
    defaults = getattr(function, "__defaults__", None) or ()
    owner = getattr(function, "__self__", None)
    return (code, captured, tuple(_hashable(value) for value in defaults), _hashable(owner))


def _cell_key(cell: Any) -> Hashable:
    try:
        value = cell.cell_contents
    except ValueError:
        return None
    return function_key(value) if isinstance(getattr(value, "__code__", None), CodeType) else _hashable(value)


def _hashable(value: object) -> Hashable:
    try:
        hash(value)
    except TypeError:
        return (type(value), id(value))
    return (type(value), value)
