"""Expressions as Python source text, in a fast form and in a total one.

`Emitter` writes code for values that fit their operators: where one does not, Python raises, and `TotalEmitter`'s code
decides. Conditions come in two forms, *is true* and *is false*; a value that is unknown makes both false.

Names in the text: ``r`` the row, ``r0 r1 …`` the rows of a join, ``v0 v1 …`` values used twice, ``k0 k1 …`` constants,
and the names of the operators of ``ivm._values``. Text of the application enters only as ``repr`` of a string.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from keyword import iskeyword
from math import ceil, floor
from typing import Any, Final, Literal, TypeAlias, cast

from .._base.ir import Call, Const, ExprIR, Outer, Ref
from .._errors import QueryError
from ..ivm import _values

__all__ = ["Accessor", "Emitter", "TotalEmitter"]

Accessor: TypeAlias = Literal["item", "attribute", "any"]
"""How the rows of a source are read: mappings, objects, or either."""

_MIRRORED: Final = {"eq": "eq", "ne": "ne", "lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}
_OPPOSITE: Final = {"eq": "ne", "ne": "eq", "lt": "ge", "le": "gt", "gt": "le", "ge": "lt"}


def _method(name: str) -> Callable[..., Any]:
    def call(value: Any, *args: Any) -> Any:
        return getattr(value, name)(*args)

    return call


_operator: Final = cast("Any", operator)

_FUNCTIONS: Final[Mapping[str, tuple[str, Callable[..., Any]]]] = {
    "add": ("{} + {}", _operator.add),
    "sub": ("{} - {}", _operator.sub),
    "mul": ("{} * {}", _operator.mul),
    "div": ("{} / {}", _operator.truediv),
    "floordiv": ("{} // {}", _operator.floordiv),
    "mod": ("{} % {}", _operator.mod),
    "neg": ("-{}", _operator.neg),
    "abs": ("abs({})", abs),
    "round": ("round({})", round),
    "round_to": ("round({}, {})", round),
    "floor": ("floor({})", floor),
    "ceil": ("ceil({})", ceil),
    "lower": ("{}.lower()", _method("lower")),
    "upper": ("{}.upper()", _method("upper")),
    "strip": ("{}.strip()", _method("strip")),
    "replace": ("{}.replace({}, {})", _method("replace")),
    "length": ("len({})", len),
    "date": ("{}.date()", _method("date")),
    "time": ("{}.time()", _method("time")),
    "weekday": ("{}.weekday()", _method("weekday")),
    "isoweekday": ("{}.isoweekday()", _method("isoweekday")),
    "strftime": ("{}.strftime({})", _method("strftime")),
    "startswith": ("{}.startswith({})", _method("startswith")),
    "endswith": ("{}.endswith({})", _method("endswith")),
    "contains": ("{1} in {0}", _operator.contains),
}
"""Functions that give null for a null operand: the text for operands that fit, and the function for all."""


class Emitter:
    """Writes expressions of one function; collects what they use in `names`.

    Attributes:
        names: the globals that the text needs.
        sources_used: indexes of the joined rows that the text reads.
    """

    def __init__(self, sources: int, accessors: Sequence[Accessor]) -> None:
        self.names: dict[str, Any] = {"floor": floor, "ceil": ceil}
        self.sources_used: set[int] = set()
        self._sources = sources
        self._accessors = accessors
        self._constants = 0
        self._locals = 0

    # --- the three forms

    def true(self, expr: ExprIR) -> str:
        """Return text whose truth says whether `expr` is true."""
        if isinstance(expr, Const):
            return repr(_values.truth(expr.value) is True)
        if not isinstance(expr, Call):
            return self.value(expr)
        op, args = expr.op, expr.args
        if op in ("and", "or"):
            return self._joined(op, [self.true(part) for part in _flat(op, args)])
        if op == "not":
            return self.false(args[0])
        if op == "is_none":
            return f"({self.value(args[0])} is None)"
        if op in _MIRRORED:
            return self._compared(op, *args)
        if op == "in":
            return self._member(args[0], args[1], inside=True)
        if op == "between":
            return self.true(_between(args))
        return self.value(expr)

    def false(self, expr: ExprIR) -> str:
        """Return text whose truth says whether `expr` is false."""
        if isinstance(expr, Const):
            return repr(_values.truth(expr.value) is False)
        if isinstance(expr, Call):
            op, args = expr.op, expr.args
            if op in ("and", "or"):
                return self._joined("or" if op == "and" else "and", [self.false(part) for part in _flat(op, args)])
            if op == "not":
                return self.true(args[0])
            if op == "is_none":
                return f"({self.value(args[0])} is not None)"
            if op in _MIRRORED:
                return self._compared(_OPPOSITE[op], *args)
            if op == "in":
                return self._member(args[0], args[1], inside=False)
            if op == "between":
                return self.false(_between(args))
        text, name = self._kept(expr)
        return f"({text} is not None and not {name})"

    def value(self, expr: ExprIR) -> str:
        """Return text for the value of `expr`; a condition is True, False or None."""
        if isinstance(expr, Const):
            return self.constant(expr.value)
        if isinstance(expr, Ref):
            return self._column(expr)
        if isinstance(expr, Outer):
            raise QueryError("the parent of an include is known only to the where() of the query that include is given")
        op, args = expr.op, expr.args
        if op in _MIRRORED:
            return f"{self.use(op)}({self._listed(args)})"
        if op in ("and", "or", "not"):
            return f"{self.use(op + '_')}({self._listed(_flat(op, args) if op != 'not' else args)})"
        if op == "is_none":
            return f"({self.value(args[0])} is None)"
        if op == "in":
            return f"{self.use('in_')}({self.value(args[0])}, {self.constant(_members(args[1]))})"
        if op == "between":
            return self.value(_between(args))
        if op in ("like", "ilike"):
            return self._like(args[0], args[1], ignore_case=op == "ilike")
        if op == "concat":
            return f"{self.use('concat')}({self._listed(args)})"
        if op == "case":
            *branches, default = args
            pairs = zip(branches[::2], branches[1::2], strict=True)
            texts = [f"{self.value(made)} if {self.true(condition)} else " for condition, made in pairs]
            return f"({''.join(texts)}{self.value(default)})"
        if op == "coalesce":
            *first, last = args
            kept = [self._kept(part) for part in first]
            return f"({''.join(f'{name} if {text} is not None else ' for text, name in kept)}{self.value(last)})"
        if op in _FUNCTIONS:
            return self._lifted(*_FUNCTIONS[op], args)
        raise QueryError(f"unknown operator {op!r} in a query expression")

    # --- parts

    def use(self, name: str) -> str:
        """Return the name of an operator of ``ivm._values``, made available to the text."""
        self.names[name] = getattr(_values, name)
        return name

    def constant(self, value: Any) -> str:
        """Return text for a constant. Its value is not in the text, so that equal shapes share their code."""
        if value is None or value is True or value is False:
            return repr(value)
        name = f"k{self._constants}"
        self._constants += 1
        self.names[name] = value
        return name

    def _column(self, ref: Ref) -> str:
        if not ref.path:
            return self._row(ref.source)
        first, *rest = ref.path
        row = self._row(ref.source)
        text = self._step(row, first, self._accessors[ref.source])
        if self._sources > 1:
            text = f"(None if {row} is None else {text})"
        for name in rest:
            text = f"{self.use('read')}({text}, {str(name)!r})"
        return text

    def _step(self, row: str, name: str, accessor: Accessor) -> str:
        if accessor == "item":
            return f"{row}[{str(name)!r}]"
        if accessor == "attribute" and name.isascii() and name.isidentifier() and not iskeyword(name):
            return f"{row}.{name}"
        return f"{self.use('read')}({row}, {str(name)!r})"

    def _row(self, source: int) -> str:
        if self._sources == 1:
            return "r"
        self.sources_used.add(source)
        return f"r{source}"

    def _local(self) -> str:
        self._locals += 1
        return f"v{self._locals - 1}"

    def _kept(self, expr: ExprIR) -> tuple[str, str]:
        """Return text that evaluates `expr` once, and the text for its value afterwards."""
        if isinstance(expr, Const):
            name = self.constant(expr.value)
            return name, name
        name = self._local()
        return f"({name} := {self.value(expr)})", name

    def _listed(self, args: Sequence[ExprIR]) -> str:
        return ", ".join(self.value(arg) for arg in args)

    def _joined(self, word: str, parts: list[str]) -> str:
        return f"({f' {word} '.join(parts)})" if parts else repr(word == "and")

    def _compared(self, op: str, a: ExprIR, b: ExprIR) -> str:
        if isinstance(a, Const):
            op, a, b = _MIRRORED[op], b, a
        if isinstance(b, Const):
            return self._compared_to_constant(op, a, b.value)
        if op in ("gt", "ge"):
            op, a, b = _MIRRORED[op], b, a
        (first, v), (second, w) = self._kept(a), self._kept(b)
        # Both are read before anything is compared, so that what follows may use both names. In each, the part after
        # the comparison gives NaN its place.
        test = {
            "eq": f"({v} == {w} or {v} != {v} and {w} != {w})",
            "ne": f"{v} != {w} and ({v} == {v} or {w} == {w})",
            "lt": f"({v} < {w} or {w} != {w} and {v} == {v})",
            "le": f"({v} <= {w} or {w} != {w})",
        }[op]
        return f"({first} is not None and {second} is not None and {test})"

    def _compared_to_constant(self, op: str, a: ExprIR, value: Any) -> str:
        if value is None:
            return "False"
        if _is_nan(value):
            return f"({self.use(op)}({self.value(a)}, {self.constant(value)}) is True)"
        name = self.constant(value)
        if op == "eq":
            return f"({self.value(a)} == {name})"
        text, kept = self._kept(a)
        if isinstance(value, int | float | Decimal):
            # A NaN is above every number, though all comparisons with it are false.
            test = {"lt": f"{kept} < {name}", "le": f"{kept} <= {name}", "ne": f"{kept} != {name}"}.get(op)
            test = test or {"gt": f"not {kept} <= {name}", "ge": f"not {kept} < {name}"}[op]
        else:
            test = f"{kept} { {'lt': '<', 'le': '<=', 'gt': '>', 'ge': '>=', 'ne': '!='}[op] } {name}"
        return f"({text} is not None and {test})"

    def _member(self, a: ExprIR, b: ExprIR, *, inside: bool) -> str:
        members = _members(b)
        known = [member for member in members if member is not None]
        if not inside and len(known) < len(members):
            return "False"  # in a list with a null nothing is certainly absent
        try:
            name = self.constant(frozenset(known))
        except TypeError:
            return f"({self.use('in_')}({self.value(a)}, {self.constant(members)}) is {inside})"
        text, kept = self._kept(a)
        nan = any(map(_is_nan, known))
        if inside:
            return f"({text} in {name} or {kept} is not None and {kept} != {kept})" if nan else f"({text} in {name})"
        return f"({text} is not None and {kept} not in {name}{f' and {kept} == {kept}' if nan else ''})"

    def _like(self, a: ExprIR, b: ExprIR, *, ignore_case: bool) -> str:
        if not isinstance(b, Const):
            raise QueryError("the pattern of like() must be a constant text, for example t.name.like('A%')")
        if not isinstance(b.value, str):
            return "None"
        matcher = like(b.value.casefold()) if ignore_case else like(b.value)
        match = self.constant(matcher)
        text = f"{match}({{}}{'.casefold()' if ignore_case else ''}) is not None"
        return self._lifted(text, _matcher(matcher, ignore_case=ignore_case), (a,))

    def _lifted(self, text: str, function: Callable[..., Any], args: Sequence[ExprIR]) -> str:
        """Return text for a function that is null where an operand is null."""
        kept = [self._kept(arg) for arg in args]
        guards = [f"{first} is None" for first, name in kept if first != name or name == "None"]
        call = text.format(*(name for _, name in kept))
        return f"(None if {' or '.join(guards)} else {call})" if guards else f"({call})"


class TotalEmitter(Emitter):
    """Writes with operators that accept everything; see ``ivm._values``."""

    def true(self, expr: ExprIR) -> str:
        return f"({self.use('truth')}({self.value(expr)}) is True)"

    def false(self, expr: ExprIR) -> str:
        return f"({self.use('truth')}({self.value(expr)}) is False)"

    def _step(self, row: str, name: str, accessor: Accessor) -> str:
        return f"{self.use('read')}({row}, {str(name)!r})"

    def _lifted(self, text: str, function: Callable[..., Any], args: Sequence[ExprIR]) -> str:
        return f"{self.use('apply')}({self.constant(function)}, {self._listed(args)})"


def like(pattern: str) -> Callable[[str], object]:
    """Return the matcher of a LIKE pattern: ``%`` any run, ``_`` one character, no escape.

    Each part between two ``%`` takes its first place for good (an atomic group), so matching is never exponential.
    """
    parts = [re.escape(part).replace("_", ".") for part in pattern.split("%")]
    if len(parts) == 1:
        return re.compile(parts[0], re.DOTALL).fullmatch
    first, *middle, last = parts
    return re.compile(first + "".join(f"(?>.*?{part})" for part in middle) + f".*{last}", re.DOTALL).fullmatch


def _matcher(match: Callable[[str], object], *, ignore_case: bool) -> Callable[[Any], bool]:
    def matches(value: Any) -> bool:
        return match(value.casefold() if ignore_case else value) is not None

    return matches


def _between(args: Sequence[ExprIR]) -> Call:
    operand, low, high = args
    return Call("and", (Call("ge", (operand, low)), Call("le", (operand, high))))


def _members(expr: ExprIR) -> tuple[Any, ...]:
    if not isinstance(expr, Const):
        raise QueryError("one_of() takes a list of values, not a column")
    return tuple(expr.value)


def _is_nan(value: Any) -> bool:
    return value.is_nan() if isinstance(value, Decimal) else isinstance(value, float) and value != value


def _flat(op: str, args: Sequence[ExprIR]) -> list[ExprIR]:
    """``a & b & c`` is a tree that grows to the left; its text must not nest as deep."""
    flat: list[ExprIR] = []
    stack = list(reversed(args))
    while stack:
        expr = stack.pop()
        if isinstance(expr, Call) and expr.op == op:
            stack.extend(reversed(expr.args))
        else:
            flat.append(expr)
    return flat
