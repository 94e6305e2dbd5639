"""Runs a query's lambda once, with a stand-in for each row, and keeps what it said."""

from __future__ import annotations

import dis
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from types import CodeType, FunctionType
from typing import Any, NoReturn, cast

from .._base.ir import Call, Const, ExprIR, Ref
from .._errors import QueryError, UnknownColumnError
from ._expr import ACTIVE, Expr, Trace, is_expr

__all__ = ["Made", "Row", "Shape", "check_function", "conditions", "run", "values"]


@dataclass(frozen=True, slots=True)
class Shape:
    """What is known about the rows of one source.

    Attributes:
        name: what the source is called.
        columns: names of the columns, or None where nothing tells.
        schema: the row class, or None; its properties are columns as well.
        parts: for rows that are joined rows: what each part is called.
        is_made: a function made the rows, so they may be plain values.
    """

    name: str
    columns: frozenset[str] | None = None
    schema: type | None = None
    parts: tuple[str, ...] = ()
    is_made: bool = False

    def check(self, column: str) -> None:
        """Check a column's name, as far as the names are known.

        Raises:
            UnknownColumnError: there is no such column; suggests one.
        """
        if self.columns is None or column in self.columns:
            return
        if not isinstance(inspect.getattr_static(self.schema, column, None), property | cached_property):
            raise UnknownColumnError(self.name, column, self.columns)


class Row:
    """Stands for a row while a lambda is traced: its attributes and items are columns."""

    __slots__ = ("__index", "__shape", "__trace")

    def __init__(self, trace: Trace, index: int, shape: Shape) -> None:
        self.__trace = trace
        self.__index = index
        self.__shape = shape

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        self.__trace.touched = True
        self.__shape.check(name)
        return self.__trace.make(Ref(self.__index, (name,)))

    def __getitem__(self, name: object) -> Any:
        if isinstance(name, int) and -len(self.__shape.parts) <= name < len(self.__shape.parts):
            name = self.__shape.parts[name]
        if not isinstance(name, str):
            raise QueryError(
                f"{self!r}[{name!r}]: a query reads columns by name; a select or aggregate before it can return a "
                "dataclass or a dict"
            )
        self.__trace.touched = True
        self.__shape.check(name)
        return self.__trace.make(Ref(self.__index, (name,)))

    def __iter__(self) -> Iterator[Any]:
        if not self.__shape.parts:
            raise QueryError(f"{self!r} cannot be iterated while the query is built: name its columns")
        return iter([self[part] for part in self.__shape.parts])

    def __query_row__(self) -> Expr[Any]:
        self.__trace.touched = True
        return cast("Expr[Any]", self.__trace.make(Ref(self.__index)))

    def __eq__(self, other: object) -> NoReturn:
        raise self.__refusal("cannot be compared: compare a column")

    def __bool__(self) -> NoReturn:
        raise self.__refusal("has no value yet: for a row that a join may lack write ~col(row).is_none()")

    def __hash__(self) -> NoReturn:
        raise self.__refusal("has no value while the query is built: name one of its columns")

    def __contains__(self, item: object) -> NoReturn:
        raise self.__refusal(
            "cannot be searched with `in`: for a column that may be absent write col(row[...]).is_none()"
        )

    def __len__(self) -> NoReturn:
        raise self.__refusal("has no length while the query is built")

    def __call__(self, *args: object, **kwargs: object) -> NoReturn:
        raise self.__refusal("is a row, and cannot be called")

    def __str__(self) -> str:
        raise self.__refusal("has no text while the query is built: name one of its columns")

    def __repr__(self) -> str:
        return f"<row of {self.__shape.name}>"

    def __refusal(self, what: str) -> QueryError:
        return QueryError(f"{self!r} {what}")


class Made(Row):
    """Stands for what a `select` or `aggregate` made, which may be a plain value: that is compared as it is."""

    __slots__ = ()
    __hash__ = Row.__hash__
    __query_made__ = True

    def __eq__(self, other: object) -> Any:
        return self.__query_row__() == other

    def __ne__(self, other: object) -> Any:
        return self.__query_row__() != other

    def __lt__(self, other: Any) -> Any:
        return self.__query_row__() < other

    def __le__(self, other: Any) -> Any:
        return self.__query_row__() <= other

    def __gt__(self, other: Any) -> Any:
        return self.__query_row__() > other

    def __ge__(self, other: Any) -> Any:
        return self.__query_row__() >= other

    def __add__(self, other: Any) -> Any:
        return self.__query_row__() + other

    def __sub__(self, other: Any) -> Any:
        return self.__query_row__() - other

    def __mul__(self, other: Any) -> Any:
        return self.__query_row__() * other

    def __truediv__(self, other: Any) -> Any:
        return self.__query_row__() / other

    def __floordiv__(self, other: Any) -> Any:
        return self.__query_row__() // other

    def __mod__(self, other: Any) -> Any:
        return self.__query_row__() % other

    def __neg__(self) -> Any:
        return -self.__query_row__()

    def __abs__(self) -> Any:
        return abs(self.__query_row__())


def run(function: Callable[..., Any], trace: Trace, shapes: Sequence[Shape]) -> Any:
    """Call a query's lambda with stand-ins for the rows.

    Raises:
        QueryError: it does not take one argument per source, or it does what cannot be traced.
    """
    check_function(function, shapes)
    _check_identity(function, len(shapes))
    rows = [(Made if shape.is_made else Row)(trace, index, shape) for index, shape in enumerate(shapes)]
    token = ACTIVE.set(trace)
    try:
        return function(*rows)
    finally:
        ACTIVE.reset(token)


def conditions(function: Callable[..., Any], shapes: Sequence[Shape]) -> tuple[ExprIR, ...]:
    """Trace a condition.

    Returns:
        What must all be true; empty where the lambda returns True.

    Raises:
        QueryError: it returns no condition.
    """
    trace = Trace()
    result = run(function, trace, shapes)
    if isinstance(result, Made):
        result = result.__query_row__()
    if isinstance(result, bool):
        if trace.touched:
            raise QueryError(
                f"the condition became a plain {result} while the query was built. Compare columns with == and the "
                "other operators; `is`, isinstance() and == of some classes cannot be seen. For null write "
                "col(...).is_none()"
            )
        return () if result else (Const(result),)
    if not is_expr(result):
        hint = ": did it forget to return?" if result is None else ""
        raise QueryError(f"a condition must be a comparison of columns, not {result!r}{hint}")
    return tuple(_terms(result._ir))


def _terms(ir: ExprIR) -> Iterator[ExprIR]:
    if isinstance(ir, Call) and ir.op == "and":
        for arg in ir.args:
            yield from _terms(arg)
    elif ir != Const(True):
        yield ir


def values(function: Callable[..., Any], shapes: Sequence[Shape], what: str) -> tuple[ExprIR, ...]:
    """Trace a lambda that gives one column or a tuple of them: `what` is the clause, for messages.

    Raises:
        QueryError: it gives something else.
    """
    result = run(function, Trace(), shapes)
    items = cast("Sequence[object]", result if isinstance(result, tuple | list) else (result,))
    found: list[ExprIR] = []
    for item in items:
        if isinstance(item, Made) and what == "order_by":
            item = item.__query_row__()
        if not is_expr(item):
            raise QueryError(f"{what} takes a column or a tuple of columns, not {item!r}")
        found.append(item._ir)
    if not found:
        raise QueryError(f"{what} takes a column or a tuple of columns, not {result!r}")
    return tuple(found)


def check_function(function: Callable[..., Any], shapes: Sequence[Shape]) -> None:
    """Check that a function takes one row per source.

    Raises:
        QueryError: it does not.
    """
    if not callable(function):
        raise QueryError(f"a query takes a function of its rows here, not {function!r}")
    if inspect.iscoroutinefunction(function):
        raise QueryError(
            f"a query takes plain functions, and {function!r} is async: nobody would await it. Let create_effect "
            "call it for the rows of the query"
        )
    if isinstance(function, FunctionType):
        code = function.__code__
        if code.co_argcount == len(shapes) and not code.co_kwonlyargcount and not hasattr(function, "__wrapped__"):
            return  # what nearly all are, told without the cost of a signature
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a builtin without a signature: the call itself will tell
        return
    try:
        signature.bind(*shapes)
    except TypeError:
        names = ", ".join(shape.name for shape in shapes)
        raise QueryError(
            f"the function must take one row per source, {len(shapes)} in all ({names}); it is {signature}"
        ) from None


def _check_identity(function: Callable[..., Any], rows: int) -> None:
    """Refuse ``row.column is None``: Python decides it at once, and nothing is left to see."""
    code = getattr(function, "__code__", None)
    if isinstance(code, CodeType):
        found = _identity_test(code, 0 if getattr(function, "__self__", None) is None else 1, rows)
        if found is not None:
            raise QueryError(
                f"`{found} is ...` is decided before the query runs: write col({found}).is_none() for `is None`, "
                f"~col({found}).is_none() for `is not None`, and == for anything else"
            )


@lru_cache(maxsize=1024)
def _identity_test(code: CodeType, first: int, rows: int) -> str | None:
    """Return the row or column that a function tests by ``is``, as source text."""
    parameters = code.co_varnames[first : min(first + rows, code.co_argcount)]
    operands: list[str | None] = []
    for instruction in dis.get_instructions(code):
        name = instruction.opname
        if name.startswith(("LOAD_FAST", "LOAD_DEREF")):
            argument: Any = instruction.argval  # a pair, where one instruction loads two
            loaded = cast("tuple[str, ...]", argument if isinstance(argument, tuple) else (argument,))
            operands += [item if item in parameters else None for item in loaded]
        elif name.startswith("LOAD_ATTR"):
            operands = [f"{operands[-1]}.{instruction.argval}"] if operands and operands[-1] else []
        elif name == "BINARY_SUBSCR" or instruction.argrepr == "[]":
            operands = [f"{operands[-2]}[...]"] if len(operands) > 1 and operands[-2] else []
        elif name.startswith("LOAD_"):
            operands.append(None)
        elif name == "IS_OP" or "_NONE" in name:
            tested = next((operand for operand in operands[-2:] if operand), None)
            if tested is not None:
                return tested
            operands = []
        elif name not in ("CACHE", "NOT_TAKEN"):
            operands = []
    return None
