"""How a plain function of aggregates becomes something that is kept up to date.

``aggregate(lambda t: Stats(total=count(), done=count(t.completed_at)))`` runs the function in two ways:

- Once as a *trace*, when the query is built: each aggregate writes down what it is asked for and returns a stand-in. A
  class that refuses stand-ins may raise; the calls have been seen by then.
- For each result as a *replay*: the aggregates return their values in the order of the trace, and the columns that are
  group keys are plain values. So any class and any Python makes a result row. Only which aggregates are called must not
  depend on values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NoReturn, TypeAlias

from .._base.ir import AggregateCall, Call, Const, ExprIR, Grouping, Ref, RowFunction, Totals, function_key
from .._errors import QueryError
from ..ivm._totals import TotalsRow
from ._clauses import totals
from ._expr import ACTIVE, Expr, Trace, describe, is_expr
from ._stand_in import StandIn
from ._trace import Made, Row, Shape, run

__all__ = ["ROWS", "aggregate", "group_totals", "grouping"]

Name: TypeAlias = Literal["count", "sum", "avg", "min", "max", "collect"]

ROWS: Any = object()
"""Stands for no column: ``count()``."""

_DIFFERS = (
    "the function given to aggregate() called other aggregates than when it was traced: call each of them every time, "
    "in the same order, and decide afterwards"
)


def grouping(function: Callable[..., Any], shapes: Sequence[Shape], keys: tuple[ExprIR, ...]) -> Grouping:
    """Trace the function given to ``aggregate``.

    Args:
        function: makes the result row from aggregates and group keys.
        shapes: of the sources.
        keys: what the rows are grouped by; empty for one group of all rows.

    Raises:
        QueryError: it uses a column that is neither aggregated nor a key, or no aggregate at all.
    """
    calls = _record(function, shapes, keys)
    if not calls and not keys:
        raise QueryError("aggregate() takes a function of count(), sum_(), avg(), min_() and max_(); it calls none")
    names: tuple[Name, ...] = tuple(item.function for item in calls)
    return Grouping(keys, calls, RowFunction(_Build(function, tuple(shapes), keys, names)))


def group_totals(functions: Mapping[str, Any], keys: tuple[ExprIR, ...]) -> Grouping:
    """Return the projection of ``group_by(...).select(total=len, …)``: functions of all rows of a group.

    Raises:
        QueryError: a total is no function, or has the name of a key; or a key has no name.
    """
    names: list[str] = []
    for key in keys:
        if not isinstance(key, Ref) or not key.path:
            raise QueryError(f"{describe(key)} has no name that its group could have: use aggregate(lambda row: ...)")
        names.append(key.path[-1])
    everything = [*names, *functions]
    for name in everything:
        if everything.count(name) > 1:
            raise QueryError(f"two parts of the result would be called {name!r}: use aggregate(lambda row: ...)")
    return Grouping(keys, (AggregateCall("collect"),), RowFunction(_GroupTotals(tuple(names), totals(functions))))


@dataclass(frozen=True)
class _GroupTotals:
    """Makes the row of a group of the values of its keys and of its rows."""

    keys: tuple[str, ...]
    totals: Totals

    def __call__(self, keys: tuple[Any, ...], values: tuple[Any, ...]) -> TotalsRow:
        (rows,) = values
        made = {name: total.function(rows) for name, total in self.totals.functions}
        return TotalsRow(**dict(zip(self.keys, keys, strict=True)), **made)


def _record(
    function: Callable[..., Any], shapes: Sequence[Shape], keys: tuple[ExprIR, ...]
) -> tuple[AggregateCall, ...]:
    calls, refused = _attempt(function, shapes, _Recording(keys, numbers=False))
    if refused is None:
        return tuple(calls)
    # A part of the row may have refused before the other aggregates were reached: numbers may get further.
    further, _ = _attempt(function, shapes, _Recording(keys, numbers=True))
    if not calls and not further:
        raise QueryError(f"the function raised before it called an aggregate: {refused!r}") from refused
    return tuple(further if len(further) > len(calls) else calls)


def _attempt(
    function: Callable[..., Any], shapes: Sequence[Shape], recording: _Recording
) -> tuple[list[AggregateCall], Exception | None]:
    refused: Exception | None = None
    try:
        result = run(function, recording, shapes)
    except (QueryError, NameError):
        raise
    except Exception as error:  # noqa: BLE001 -- a class that checks its arguments refuses stand-ins, and may do so
        refused = error
    else:
        if isinstance(result, Row):
            raise QueryError(f"{result!r} is many rows here: name group keys and aggregates of columns")
    recording.check()
    return recording.calls, refused


class _Key(Expr[Any]):
    """A group key in the trace. In the replay it is a plain value, so it may do here only what plain values can do."""

    __slots__ = ()

    def _plain(self, *args: object) -> NoReturn:
        raise QueryError(
            f"{self!r} is a group key, so it will be a plain value here: wrap it, as in col(...).is_none(), to use it "
            "inside an aggregate; compute on keys in a select() after the aggregate"
        )

    def _no_number(self) -> NoReturn:
        raise TypeError(f"{self!r} is no number yet")  # what classes that refuse stand-ins raise; a replay has a number

    __float__ = __int__ = __index__ = __complex__ = _no_number
    is_none = one_of = between = like = ilike = contains = length = coalesce = __invert__ = __bool__ = _plain  # type: ignore[assignment]

    def __str__(self) -> str:
        return repr(self)


class _Explicit(Expr[Any]):
    """``col(key)`` in the trace: an expression in the replay as well, so of use only inside an aggregate."""

    __slots__ = ()


class _Recording(Trace):
    """The trace of an aggregate function."""

    def __init__(self, keys: tuple[ExprIR, ...], *, numbers: bool) -> None:
        super().__init__()
        self.calls: list[AggregateCall] = []
        self._keys = frozenset(keys)
        self._numbers = numbers
        # Made, and neither part of another expression nor given to an aggregate: those went into the result row.
        self._loose: dict[int, Expr[Any]] = {}

    def make(self, ir: ExprIR, *operands: Expr[Any]) -> Any:
        columns = [operand for operand in operands if not isinstance(operand._ir, Const)]
        kind: type[Expr[Any]] = Expr
        if any(isinstance(operand, _Explicit) for operand in columns):
            kind = _Explicit
        elif ir in self._keys or (columns and all(isinstance(operand, _Key) for operand in columns)):
            kind = _Key
        for operand in operands:
            self._loose.pop(id(operand), None)
        made = kind(self, ir)
        self._loose[id(made)] = made
        return made

    def explicit(self, value: Expr[Any]) -> Expr[Any]:
        if not isinstance(value, _Key):
            return value
        self._loose.pop(id(value), None)
        made = _Explicit(self, value._ir)
        self._loose[id(made)] = made
        return made

    def aggregate(self, name: Name, value: object, *, distinct: bool) -> Any:
        self.calls.append(AggregateCall(name, self._argument(name, value, distinct=distinct), distinct))
        if not self._numbers or name in ("min", "max"):
            return StandIn()
        return 1.0 if name == "avg" else 1

    def check(self) -> None:
        """Refuse columns of which there is not one value."""
        for expr in self._loose.values():
            if not isinstance(expr, _Key):
                raise QueryError(
                    f"{expr!r} has many values here: give it to an aggregate, such as max_(...), or make it a group key"
                )

    def _argument(self, name: Name, value: object, *, distinct: bool) -> ExprIR | None:
        if value is ROWS:
            if distinct:
                raise QueryError("count(distinct=True) needs a column")
            return None
        if isinstance(value, Made) or (isinstance(value, Row) and name in ("count", "collect")):
            value = value.__query_row__()
        if is_expr(value):
            self._loose.pop(id(value), None)
            return value._ir
        if isinstance(value, StandIn):
            raise QueryError("an aggregate of an aggregate: aggregate() the result of aggregate() instead")
        raise QueryError(f"{name} takes a column or an expression, not {value!r}; count() counts rows")


class _Replay(Trace):
    """Runs the function with real values, once for each result; made once, since a result may change often."""

    replaying = True

    def __init__(self, keys: tuple[ExprIR, ...], names: tuple[Name, ...]) -> None:
        super().__init__()
        # Without computed keys nothing that is made of an expression matters, so it need not be made.
        self.inert = not any(isinstance(key, Call) for key in keys)
        self.keys: Sequence[Any] = ()
        self.places = {key: place for place, key in enumerate(keys)}
        self._names = names
        self._values: Sequence[Any] = ()
        self._next = 0

    def begin(self, keys: Sequence[Any], values: Sequence[Any]) -> None:
        """Take the values of the keys and the aggregates."""
        self.keys = keys
        self._values = values
        self._next = 0

    def make(self, ir: ExprIR, *operands: Expr[Any]) -> Any:
        place = self.places.get(ir)
        return super().make(ir) if place is None else self.keys[place]

    def aggregate(self, name: Name, value: object, *, distinct: bool) -> Any:
        index = self._next
        if index >= len(self._names) or self._names[index] != name:
            raise QueryError(_DIFFERS)
        self._next = index + 1
        return self._values[index]

    def finish(self) -> None:
        """Check that every aggregate was asked for."""
        if self._next != len(self._names):
            raise QueryError(_DIFFERS)


class _ReplayRow(Row):
    """Remembers which of its columns are keys; the others are the same in every replay."""

    __slots__ = ("__columns", "__index", "__places", "__replay")

    def __init__(self, replay: _Replay, index: int, shape: Shape) -> None:
        super().__init__(replay, index, shape)
        self.__replay = replay
        self.__index = index
        self.__columns: dict[str, Expr[Any]] = {}
        self.__places: dict[str, int] = {}

    def __getattr__(self, name: str) -> Any:
        if (place := self.__places.get(name)) is not None:
            return self.__replay.keys[place]
        if (column := self.__columns.get(name)) is not None:
            return column
        return self.__remembered(name, super().__getattr__(name))

    def __getitem__(self, name: object) -> Any:
        if isinstance(name, str) and (name in self.__places or name in self.__columns):
            return self.__getattr__(name)
        column = super().__getitem__(name)
        return self.__remembered(name, column) if isinstance(name, str) else column

    def __remembered(self, name: str, column: Any) -> Any:
        place = self.__replay.places.get(Ref(self.__index, (name,)))
        if place is not None:
            self.__places[name] = place
        elif is_expr(column):
            self.__columns[name] = column
        return column


class _Build:
    """Makes a result row from the values of the keys and the aggregates."""

    __slots__ = ("_function", "_identity", "_replay", "_rows")

    def __init__(
        self, function: Callable[..., Any], shapes: tuple[Shape, ...], keys: tuple[ExprIR, ...], names: tuple[Name, ...]
    ) -> None:
        self._function = function
        self._identity = (function_key(function), shapes, keys, names)
        self._replay = _Replay(keys, names)
        self._rows = [
            (Made if shape.is_made else _ReplayRow)(self._replay, index, shape) for index, shape in enumerate(shapes)
        ]

    def __call__(self, keys: tuple[Any, ...], values: tuple[Any, ...]) -> Any:
        self._replay.begin(keys, values)
        token = ACTIVE.set(self._replay)
        try:
            result = self._function(*self._rows)
        finally:
            ACTIVE.reset(token)
        self._replay.finish()
        return result

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Build) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)


def aggregate(name: Name, value: object, *, distinct: bool = False) -> Any:
    """Ask the function's current run for an aggregate.

    Raises:
        QueryError: none runs, or the value is no column.
    """
    trace = ACTIVE.get()
    if isinstance(trace, _Recording | _Replay):
        return trace.aggregate(name, value, distinct=distinct)
    raise QueryError(f"{name} is an aggregate: call it inside aggregate(lambda row: ...)")
