"""`Expr`: a column, or what is computed from columns, while a query is being built.

A query's lambdas are called once, with a stand-in for each row. Its columns are `Expr` objects, and what operators do
with those is written down as expression trees. For the type checker the lambda works on a real row; `col` is for what
a real row's types do not allow, like comparing an optional column.

Python gives no way to overload ``and``, ``or``, ``not``, ``in``, ``is`` and ``if``. Where one of them would silently
make something else of the query, the trace raises and names the operator to use.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any, Generic, NoReturn, cast

from typing_extensions import TypeIs, TypeVar

from .._base.ir import Call, Const, ExprIR, Outer, Ref
from .._errors import QueryError

__all__ = ["ACTIVE", "Expr", "Trace", "col", "describe", "is_expr", "lift"]

V = TypeVar("V")

_TRUTH = (
    "has no value while the query is built: write `&` for `and`, `|` for `or` and `~` for `not`, with parentheses "
    "around each comparison; `.one_of()` for `in`, `.between()` for `a < x < b`"
)
_SYMBOLS = {
    "eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "and": "&", "or": "|",
    "add": "+", "sub": "-", "mul": "*", "div": "/", "floordiv": "//", "mod": "%",
}  # fmt: skip
_NULL = "with None is unknown for every row: write col(...).is_none(), or ~col(...).is_none()"


class Trace:
    """One run of a query's lambda. What is made in it belongs to it.

    Attributes:
        touched: whether a column was read. A lambda that read columns and returns a plain bool has lost its condition.
        replaying: whether group keys are real values already, and expressions are made only to be thrown away.
        inert: whether operators need not even make them.
    """

    replaying = False
    inert = False
    outer: int | None = None
    """For the parent rows of an include: its scope. Their columns may be used in the lambdas of its query."""

    def __init__(self) -> None:
        self.touched = False

    def make(self, ir: ExprIR, *operands: Expr[Any]) -> Any:
        """Return what the lambda gets for `ir`, which was made from `operands`."""
        made: Expr[Any] = Expr(self, ir)
        return made

    def explicit(self, value: Expr[Any]) -> Expr[Any]:
        """Return what ``col(value)`` is."""
        return value


ACTIVE: ContextVar[Trace | None] = ContextVar("ACTIVE", default=None)
"""The trace that runs now: aggregates without a column have no other way to find theirs."""


class Expr(Generic[V]):
    """A column or an expression. Comparisons with null are unknown, as in SQL, and unknown rows are not in the result.

    Attributes of a nested row are its columns: ``t.address.city``, or ``t["address"]["city"]`` where a name is that of
    a method here.
    """

    __slots__ = ("_ir", "_trace")

    def __init__(self, trace: Trace, ir: ExprIR) -> None:
        self._trace = trace
        self._ir = ir

    # -- comparisons ---------------------------------------------------------------------------------------------------

    def __eq__(  # type: ignore[override]
        self, other: V | Expr[V]
    ) -> Expr[bool]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self._call("eq", other)

    def __ne__(  # type: ignore[override]
        self, other: V | Expr[V]
    ) -> Expr[bool]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self._call("ne", other)

    def __lt__(self, other: V | Expr[V]) -> Expr[bool]:
        return self._call("lt", other)

    def __le__(self, other: V | Expr[V]) -> Expr[bool]:
        return self._call("le", other)

    def __gt__(self, other: V | Expr[V]) -> Expr[bool]:
        return self._call("gt", other)

    def __ge__(self, other: V | Expr[V]) -> Expr[bool]:
        return self._call("ge", other)

    def is_none(self) -> Expr[bool]:
        """True where the value is null or absent; never unknown. ``~col(x).is_none()`` for the opposite."""
        return self._call("is_none")

    def one_of(self, values: Iterable[V]) -> Expr[bool]:
        """True where the value equals one of `values`."""
        if isinstance(values, str | bytes | Expr) or not isinstance(cast("object", values), Iterable):
            raise QueryError(f"one_of() takes a list or set of values, not {values!r}")
        members: list[Any] = list(values)
        for member in members:
            if member is None:
                raise QueryError(f"one_of() {_NULL}, joined by `|`")
            if is_expr(member):
                raise QueryError("one_of() takes values, not columns: compare with == and join by `|`")
        try:
            return self._call("in", frozenset(members))
        except TypeError:
            return self._call("in", tuple(members))

    def between(self, low: V | Expr[V], high: V | Expr[V], /) -> Expr[bool]:
        """True from `low` to `high`, both included."""
        return self._call("between", low, high)

    # -- logic ---------------------------------------------------------------------------------------------------------

    def __and__(self, other: bool | Expr[bool]) -> Expr[bool]:
        return self._logic("and", other)

    def __rand__(self, other: bool) -> Expr[bool]:
        return self._logic("and", other, swapped=True)

    def __or__(self, other: bool | Expr[bool]) -> Expr[bool]:
        return self._logic("or", other)

    def __ror__(self, other: bool) -> Expr[bool]:
        return self._logic("or", other, swapped=True)

    def __invert__(self) -> Expr[bool]:
        return self._call("not")

    # -- arithmetic: null where an operand is null or a division is by zero --------------------------------------------

    def __add__(self, other: V | Expr[V]) -> Expr[V]:
        return self._call("add", other)

    def __radd__(self, other: V) -> Expr[V]:
        return self._call("add", other, swapped=True)

    def __sub__(self, other: V | Expr[V]) -> Expr[V]:
        return self._call("sub", other)

    def __rsub__(self, other: V) -> Expr[V]:
        return self._call("sub", other, swapped=True)

    def __mul__(self, other: V | Expr[V]) -> Expr[V]:
        return self._call("mul", other)

    def __rmul__(self, other: V) -> Expr[V]:
        return self._call("mul", other, swapped=True)

    def __truediv__(self, other: V | Expr[V]) -> Expr[float]:
        return self._call("div", other)

    def __rtruediv__(self, other: V) -> Expr[float]:
        return self._call("div", other, swapped=True)

    def __floordiv__(self, other: V | Expr[V]) -> Expr[V]:
        return self._call("floordiv", other)

    def __rfloordiv__(self, other: V) -> Expr[V]:
        return self._call("floordiv", other, swapped=True)

    def __mod__(self, other: V | Expr[V]) -> Expr[V]:
        return self._call("mod", other)

    def __rmod__(self, other: V) -> Expr[V]:
        return self._call("mod", other, swapped=True)

    def __neg__(self) -> Expr[V]:
        return self._call("neg")

    def __abs__(self) -> Expr[V]:
        return self._call("abs")

    def __round__(self, digits: int | None = None) -> Expr[V]:
        return self._call("round") if digits is None else self._call("round_to", digits)

    def __floor__(self) -> Expr[int]:
        return self._call("floor")

    def __ceil__(self) -> Expr[int]:
        return self._call("ceil")

    # -- dates and times: parts such as `year` and `hour` are columns of their own -------------------------------------

    def date(self) -> Expr[dt.date]:
        """The day of a `datetime.datetime`."""
        return self._call("date")

    def time(self) -> Expr[dt.time]:
        """The time of day of a `datetime.datetime`."""
        return self._call("time")

    def weekday(self) -> Expr[int]:
        """The day of the week: Monday is 0."""
        return self._call("weekday")

    def isoweekday(self) -> Expr[int]:
        """The day of the week: Monday is 1."""
        return self._call("isoweekday")

    def strftime(self, format: str, /) -> Expr[str]:  # noqa: A002 -- the name that datetime gives it
        """The date or time as text."""
        return self._text("strftime", format)

    # -- text ----------------------------------------------------------------------------------------------------------

    def like(self, pattern: str, /) -> Expr[bool]:
        """True where the text has the pattern: ``%`` stands for any text, ``_`` for one character."""
        return self._text("like", pattern)

    def ilike(self, pattern: str, /) -> Expr[bool]:
        """Like `like`, whatever the case."""
        return self._text("ilike", pattern)

    def startswith(self, prefix: str | Expr[str], /) -> Expr[bool]:
        """True where the text begins with `prefix`."""
        return self._text("startswith", prefix)

    def endswith(self, suffix: str | Expr[str], /) -> Expr[bool]:
        """True where the text ends with `suffix`."""
        return self._text("endswith", suffix)

    def contains(self, part: object, /) -> Expr[bool]:
        """True where the text has `part` somewhere, or the list has it as an item."""
        return self._call("contains", part)

    def lower(self) -> Expr[str]:
        """The text in lower case."""
        return self._call("lower")

    def upper(self) -> Expr[str]:
        """The text in upper case."""
        return self._call("upper")

    def strip(self) -> Expr[str]:
        """The text without white space at its ends."""
        return self._call("strip")

    def replace(self, old: str | Expr[str], new: str | Expr[str], /) -> Expr[str]:
        """The text with every `old` in it replaced."""
        return self._call("replace", old, new)

    def length(self) -> Expr[int]:
        """The length of the text or list."""
        return self._call("length")

    def coalesce(self, default: V | Expr[V], /) -> Expr[V]:
        """`default` where the value is null."""
        return self._call("coalesce", default)

    # -- nested rows ---------------------------------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._step(name)

    def __getitem__(self, name: object) -> Any:
        if not isinstance(name, str):
            raise QueryError(f"{self!r}[{name!r}]: a query reads nested columns by name only")
        return self._step(name)

    # -- what a query cannot do ----------------------------------------------------------------------------------------

    def __bool__(self) -> NoReturn:
        raise QueryError(f"{self!r} {_TRUTH}")

    def __hash__(self) -> NoReturn:
        raise QueryError(f"{self!r} {_TRUTH}")

    def __contains__(self, item: object) -> NoReturn:
        raise QueryError(f"{self!r} cannot be searched with `in`: write col(x).contains(item), or .one_of(values)")

    def __iter__(self) -> NoReturn:
        raise QueryError(f"{self!r} cannot be iterated: it {_TRUTH}")

    def __len__(self) -> NoReturn:
        raise QueryError(f"len() of {self!r}: write col(x).length()")

    def __float__(self) -> NoReturn:
        raise QueryError(
            f"{self!r} cannot become a number: it has no value while the query is built. A query has + - * / // %, "
            "abs, round, math.floor and math.ceil; compute the rest in select(fn)"
        )

    __int__ = __index__ = __complex__ = __float__

    def __call__(self, *args: object, **kwargs: object) -> NoReturn:
        raise QueryError(
            f"{self!r} cannot be called: a query has only the methods of Expr, such as lower, upper, length, contains, "
            "startswith; filter by others in select(fn), or read nested columns as items"
        )

    def __str__(self) -> str:
        raise QueryError(
            f"text made of {self!r}: it has no value while the query is built; join texts with concat(a, b), or make "
            "them in select(fn)"
        )

    def __format__(self, spec: str) -> str:
        return str(self)

    def __repr__(self) -> str:
        return describe(self._ir)

    # -- making --------------------------------------------------------------------------------------------------------

    def _call(self, op: str, *others: object, swapped: bool = False) -> Expr[Any]:
        if self._trace.inert:
            return self
        trace = self._trace
        if trace.outer is not None:
            # `parent.id == child.parent_id`: the condition is one of the child's lambda.
            trace = next((other._trace for other in others if is_expr(other) and other._trace.outer is None), trace)
        operands = [lift(trace, operand, op) for operand in (self, *others)]
        if swapped:
            operands.reverse()
        args: list[ExprIR] = []
        for operand in operands:
            ir = operand._ir
            # a | b | c | … is one level deep, however long
            args += ir.args if op in ("and", "or") and isinstance(ir, Call) and ir.op == op else (ir,)
        return cast("Expr[Any]", trace.make(Call(op, tuple(args)), *operands))

    def _logic(self, op: str, other: object, *, swapped: bool = False) -> Expr[Any]:
        if not (isinstance(other, bool) or is_expr(other)) and not self._trace.replaying:
            raise QueryError(
                f"`{'&' if op == 'and' else '|'}` joins conditions, and {other!r} is none: put parentheses around each "
                "comparison, as in (a == 1) & (b == 2)"
            )
        return self._call(op, other, swapped=swapped)

    def _text(self, op: str, value: object) -> Expr[Any]:
        if not (isinstance(value, str) or is_expr(value)) and not self._trace.replaying:
            raise QueryError(f"{op}() takes a text, not {value!r}")
        return self._call(op, value)

    def _step(self, name: str) -> Any:
        if self._trace.replaying and not isinstance(self._ir, Ref):
            return self
        column = self._ir.ref if isinstance(self._ir, Outer) else self._ir
        if not isinstance(column, Ref):
            raise QueryError(f"{self!r} has no column {name!r}: only columns have nested columns")
        return self._trace.make(Ref(column.source, (*column.path, name)), self)


def col(value: V | None, /) -> Expr[V]:
    """Return a column as an expression for the type checker: for operators and methods that its type does not have.

    ``col(t.completed_at).is_none()``, ``col(t.due) < now``, ``~col(t.done)``. With joins also a whole row:
    ``col(comment).is_none()``.

    Raises:
        QueryError: `value` is no column.
    """
    if is_expr(value):
        return value._trace.explicit(value)
    trace = ACTIVE.get()
    if trace is not None and trace.replaying:
        return Expr(trace, Const(value))
    whole = getattr(value, "__query_row__", None)
    if whole is None:
        raise QueryError(f"col() takes a column or a row of the query, not {value!r}")
    return cast("Expr[V]", whole())


def is_expr(value: object, /) -> TypeIs[Expr[Any]]:
    """Whether `value` is an expression."""
    return isinstance(value, Expr)


def lift(trace: Trace, value: object, op: str = "eq") -> Expr[Any]:
    """Return an operand as an expression.

    Raises:
        QueryError: None, a row, or an expression of another lambda.
    """
    if is_expr(value):
        if value._trace is not trace and value._trace.outer is None:
            raise QueryError(f"{value!r} belongs to another lambda: use the rows that this one is called with")
        return value
    if trace.replaying:
        return Expr(trace, Const(value))
    if value is None:
        raise QueryError(f"`{_SYMBOLS.get(op, op)}` {_NULL}" if op != "coalesce" else "coalesce(None) changes nothing")
    whole = getattr(value, "__query_row__", None)
    if whole is not None:
        if not getattr(value, "__query_made__", False):
            raise QueryError(f"{value!r} is a whole row: name one of its columns")
        return cast("Expr[Any]", whole())
    return Expr(trace, Const(value))


def describe(ir: ExprIR) -> str:
    """Return an expression as short text, for messages."""
    if isinstance(ir, Ref):
        return ".".join(("row", *ir.path))
    if isinstance(ir, Outer):
        return ".".join(("parent", *ir.ref.path))
    if isinstance(ir, Const):
        return repr(ir.value)
    if ir.op in _SYMBOLS:
        operands = (
            f"({describe(arg)})" if isinstance(arg, Call) and arg.op in _SYMBOLS else describe(arg) for arg in ir.args
        )
        return f" {_SYMBOLS[ir.op]} ".join(operands)
    return f"{ir.op}({', '.join(describe(arg) for arg in ir.args)})"
