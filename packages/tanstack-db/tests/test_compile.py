"""Compiled expressions: against tables of values, and against an interpreter over random expressions and rows.

Law 6 of ``ivm/ARCHITECTURE.md``: no value of a row makes them raise.
"""

from __future__ import annotations

import datetime as dt
import math
import operator
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tanstack_db._base.ir import Call, Const, ExprIR, Ref
from tanstack_db._errors import QueryError
from tanstack_db.ivm import _values
from tanstack_db.query import _compile
from tanstack_db.query._compile import Accessor, predicate, value

NAN = math.nan
A, B = Ref(0, ("a",)), Ref(0, ("b",))


def call(op: str, *args: object) -> Call:
    return Call(op, tuple(arg if isinstance(arg, Ref | Const | Call) else Const(arg) for arg in args))


def truth_of(expr: ExprIR, row: Any, accessor: Accessor = "item") -> bool | None:
    """What a compiled condition says, from its two forms."""
    is_true = predicate([expr], sources=1, accessors=[accessor])(row)
    is_false = predicate([call("not", expr)], sources=1, accessors=[accessor])(row)
    assert not (is_true and is_false)
    assert value(expr, sources=1, accessors=[accessor])(row) is (True if is_true else False if is_false else None)
    return True if is_true else False if is_false else None


COMPARISONS: list[tuple[Any, Any, bool | None, bool | None, bool | None]] = [
    # a, b, eq, lt, gt
    (1, 2, False, True, False),
    (2, 2, True, False, False),
    ("a", "b", False, True, False),
    (None, 2, None, None, None),
    (None, None, None, None, None),
    (NAN, NAN, True, False, False),
    (NAN, 1, False, False, True),
    (NAN, math.inf, False, False, True),
    (Decimal("NaN"), 1, False, False, True),
    (Decimal("NaN"), Decimal(1), False, False, True),
    (Decimal("0.5"), 1, False, True, False),
    (-0.0, 0.0, True, False, False),
    (True, 1, True, False, False),
    ("1", 1, False, None, None),
    ("1", NAN, False, None, None),
    ([1], 1, False, None, None),
    ({1}, {2}, False, None, None),
    ({}, {}, True, None, None),
    (dt.datetime(2026, 1, 1), dt.datetime(2026, 1, 1, tzinfo=dt.UTC), False, None, None),
    (dt.date(2026, 1, 1), dt.date(2026, 1, 2), False, True, False),
]


@pytest.mark.parametrize(("a", "b", "eq", "lt", "gt"), COMPARISONS)
def test_comparisons_are_null_safe_and_total(a: Any, b: Any, eq: bool | None, lt: bool | None, gt: bool | None) -> None:
    negated = {True: False, False: True, None: None}
    expected = {"eq": eq, "ne": negated[eq], "lt": lt, "ge": negated[lt], "gt": gt, "le": negated[gt]}
    row = {"a": a, "b": b}

    for op, expected_truth in expected.items():
        assert truth_of(call(op, A, B), row) is expected_truth, f"{op} of two columns"
        assert truth_of(call(op, A, Const(b)), row) is expected_truth, f"{op} of a column and a constant"
        assert truth_of(call(op, Const(a), B), row) is expected_truth, f"{op} of a constant and a column"
        assert truth_of(call(op, Const(a), Const(b)), row) is expected_truth, f"{op} of two constants"


@pytest.mark.parametrize(
    ("a", "members", "expected"),
    [
        (1, (1, 2), True),
        (3, (1, 2), False),
        (None, (1, 2), None),
        (None, (None,), None),
        (3, (1, None), None),
        (1, (1, None), True),
        (NAN, (NAN,), True),
        (NAN, (1,), False),
        (3, (float("nan"),), False),
        ([1], (1, 2), False),
        ([1], ([1], 2), True),
        (1, ([1], 2), False),
        (1, (), False),
    ],
)
def test_membership(a: Any, members: tuple[Any, ...], expected: bool | None) -> None:
    assert truth_of(call("in", A, Const(members)), {"a": a}) is expected


@pytest.mark.parametrize(
    ("text", "pattern", "expected"),
    [
        ("Alice", "A%", True),
        ("Alice", "%ce", True),
        ("Alice", "%lic%", True),
        ("Alice", "_lice", True),
        ("Alice", "alice", False),
        ("Alice", "A_e", False),
        ("Al\nice", "A%e", True),
        ("a.c", "a.c", True),
        ("abc", "a.c", False),
        ("abcbc", "%bc", True),
        ("ab", "a%b%", True),
        ("b", "%b%b", False),
        ("", "%", True),
        ("", "", True),
        (None, "%", None),
        (5, "%", None),
        ("x", None, None),
        ("x", 5, None),
    ],
)
def test_like(text: Any, pattern: Any, expected: bool | None) -> None:
    assert truth_of(call("like", A, Const(pattern)), {"a": text}) is expected


def test_a_like_with_many_wildcards_is_not_exponential() -> None:
    assert truth_of(call("like", A, "%a" * 20 + "%b"), {"a": "a" * 5_000}) is False


@pytest.mark.parametrize(
    ("expr", "row", "expected"),
    [
        (call("add", A, B), {"a": 1, "b": 2}, 3),
        (call("add", A, B), {"a": 1, "b": None}, None),
        (call("add", A, 1), {"a": "x"}, None),
        (call("div", A, 0), {"a": 1}, None),
        (call("mod", A, B), {"a": 1, "b": 0}, None),
        (call("floordiv", A, 2), {"a": 7}, 3),
        (call("mul", A, None), {"a": 7}, None),
        (call("mul", A, 1e308), {"a": 10**400}, None),
        (call("neg", A), {"a": 7}, -7),
        (call("neg", A), {"a": "x"}, None),
        (call("lower", A), {"a": "AB"}, "ab"),
        (call("upper", A), {"a": 5}, None),
        (call("length", A), {"a": "abc"}, 3),
        (call("length", A), {"a": 5}, None),
        (call("startswith", A, "b"), {"a": "abc"}, False),
        (call("endswith", A, "c"), {"a": "abc"}, True),
        (call("contains", A, "b"), {"a": "abc"}, True),
        (call("contains", A, B), {"a": ["x"], "b": "x"}, True),
        (call("contains", A, "b"), {"a": 5}, None),
        (call("coalesce", A, B, 7), {"a": None, "b": None}, 7),
        (call("coalesce", A, B), {"a": None, "b": 2}, 2),
        (call("coalesce", None, A), {"a": 2}, 2),
        (call("is_none", A), {"a": None}, True),
        (call("is_none", A), {}, True),
        (call("between", A, 1, 3), {"a": 3}, True),
        (call("between", A, 1, None), {"a": 0}, False),
        (call("between", A, 1, None), {"a": 2}, None),
        (call("eq", call("lt", A, 3), True), {"a": 1}, True),
        (Ref(0, ("a", "b")), {"a": {"b": 1}}, 1),
        (Ref(0, ("a", "b")), {"a": None}, None),
        (Ref(0, ("a", "real")), {"a": 5}, 5),
        (Ref(0, ("a", "__class__")), {"a": None}, None),
        (Ref(0), {"a": 1}, {"a": 1}),
        (call("and"), {}, True),
        (call("or"), {}, False),
    ],
)
def test_values(expr: ExprIR, row: dict[str, Any], expected: Any) -> None:
    assert value(expr, sources=1, accessors=["item"])(row) == expected
    assert value(expr, sources=1, accessors=["any"])(OrderedDict(row)) == expected


def test_a_condition_may_be_a_column() -> None:
    for content, expected in ((True, True), (False, False), (None, None), ("x", True), ("", False), (0, False)):
        is_true = predicate([A], sources=1, accessors=["item"])({"a": content})
        is_false = predicate([call("not", A)], sources=1, accessors=["item"])({"a": content})
        assert (is_true, is_false) == (expected is True, expected is False)


@dataclass
class Row:
    a: Any
    b: Any = None


def test_rows_are_read_as_the_accessor_says() -> None:
    expr = call("gt", A, 3)

    assert truth_of(expr, Row(4), "attribute") is True
    assert truth_of(expr, Row("4"), "attribute") is None
    assert truth_of(expr, object(), "attribute") is None
    assert truth_of(expr, Row(4), "any") is True
    assert truth_of(expr, {"a": 4}, "any") is True


def test_paths_are_data_not_code() -> None:
    for name in ("x'] or True or r['x", "x\n", "class", "a b", "é"):
        expr = call("eq", Ref(0, (name,)), 1)
        assert truth_of(expr, {name: 1}, "item") is True
        assert truth_of(expr, {}, "any") is None
        assert truth_of(expr, Row(1), "attribute") is None


def test_the_absent_side_of_a_join_is_null() -> None:
    expr = call("eq", Ref(1, ("a",)), 1)
    test = predicate([expr], sources=2, accessors=["item", "item"])
    absent = predicate([call("is_none", Ref(1))], sources=2, accessors=["item", "item"])

    assert test(({"a": 0}, {"a": 1}))
    assert not test(({"a": 1}, None))
    assert absent(({"a": 1}, None))
    assert not absent(({"a": 1}, {"a": None}))


def test_a_long_chain_of_conditions_compiles() -> None:
    expr: ExprIR = call("eq", A, 0)
    for n in range(1, 300):
        expr = call("or", expr, call("eq", A, n))

    assert truth_of(expr, {"a": 299}) is True
    assert truth_of(expr, {"a": 300}) is False


def test_too_deep_an_expression_is_a_query_error() -> None:
    expr: ExprIR = A
    for _ in range(150):
        expr = call("add", expr, 1)

    with pytest.raises(QueryError, match="nested too deeply"):
        value(expr, sources=1, accessors=["item"])


def test_what_is_no_operator_is_a_query_error() -> None:
    for expr in (call("xor", A, B), call("like", A, B), call("in", A, B)):
        with pytest.raises(QueryError):
            predicate([expr], sources=1, accessors=["item"])


def test_queries_of_one_shape_share_their_code() -> None:
    one = predicate([call("eq", A, 1)], sources=1, accessors=["item"])
    other = predicate([call("eq", A, "x")], sources=1, accessors=["item"])

    assert one.__code__ is other.__code__
    assert one({"a": 1})
    assert not other({"a": 1})


def test_a_fault_of_the_program_propagates() -> None:
    class Broken:
        @property
        def a(self) -> int:
            raise RuntimeError("a property that fails")

    with pytest.raises(RuntimeError, match="a property that fails"):
        predicate([call("eq", A, 1)], sources=1, accessors=["attribute"])(Broken())


# --- against an interpreter

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from([NAN, 1.5, -0.0, math.inf]), st.sampled_from("abA%")
)
leaves = st.one_of(st.sampled_from([A, B, Ref(1, ("a",)), Ref(1)]), st.builds(Const, scalars))


def nested(children: st.SearchStrategy[ExprIR]) -> st.SearchStrategy[ExprIR]:
    binary = st.sampled_from(["eq", "ne", "lt", "le", "gt", "ge", "add", "sub", "mul", "div", "startswith", "contains"])
    return st.one_of(
        st.builds(call, binary, children, children),
        st.builds(call, st.sampled_from(["and", "or", "coalesce", "case"]), children, children, children),
        st.builds(call, st.sampled_from(["not", "is_none", "neg", "abs", "lower", "strip", "length"]), children),
        st.builds(call, st.just("between"), children, children, children),
        st.builds(call, st.just("in"), children, st.lists(scalars, max_size=3).map(tuple).map(Const)),
        st.builds(call, st.just("like"), children, st.sampled_from(["a%", "%", "_"]).map(Const)),
    )


expressions: st.SearchStrategy[ExprIR] = st.recursive(leaves, nested, max_leaves=8)
row_values = st.fixed_dictionaries({}, optional={"a": scalars, "b": scalars})


def is_like(text: Any, pattern: str) -> bool | None:
    if not isinstance(text, str):
        return None
    return {"a%": text[:1] == "a", "%": True, "_": len(text) == 1}[pattern]


def _divided(a: Any, b: Any) -> Any:
    return a / b


PLAIN: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": _divided,
    "neg": operator.neg,
    "length": len,
    "contains": operator.contains,
    "startswith": str.startswith,
    "lower": str.lower,
    "strip": str.strip,
    "abs": abs,
    "like": is_like,
}


def interpret(expr: ExprIR, rows: tuple[Any, ...]) -> Any:
    """Walk the tree, one operator of `_values` at a time."""
    if isinstance(expr, Const):
        return expr.value
    if isinstance(expr, Ref):
        row = rows[expr.source]
        return None if row is None else row.get(expr.path[0]) if expr.path else row
    assert isinstance(expr, Call)
    if expr.op == "in":
        operand, members = expr.args
        assert isinstance(members, Const)
        return _values.in_(interpret(operand, rows), members.value)
    args = [interpret(arg, rows) for arg in expr.args]
    if expr.op in ("eq", "ne", "lt", "le", "gt", "ge", "and", "or", "not"):
        name = expr.op + "_" if expr.op in ("and", "or", "not") else expr.op
        function: Callable[..., Any] = getattr(_values, name)
        return function(*args)
    if expr.op == "is_none":
        return args[0] is None
    if expr.op == "coalesce":
        return next((arg for arg in args if arg is not None), None)
    if expr.op == "case":
        return args[1] if _values.truth(args[0]) is True else args[2]
    if expr.op == "between":
        return _values.and_(_values.ge(args[0], args[1]), _values.le(args[0], args[2]))
    if None in args:
        return None
    try:
        return PLAIN[expr.op](*args)
    except (TypeError, ArithmeticError):
        return None


@given(expressions, row_values, st.none() | row_values)
@example(call("lt", A, Ref(1, ("a",))), {"a": 1}, {"a": NAN})
def test_compiled_agrees_with_an_interpreter(expr: ExprIR, left: dict[str, Any], right: dict[str, Any] | None) -> None:
    """Kills: `ne` without its NaN clause; `false` of `and` joined by `and`; `gt` written as a plain ``>``;
    `not in` that forgets a null member."""
    rows = (left, right)
    expected = interpret(expr, rows)

    got = value(expr, sources=2, accessors=["item", "item"])(rows)
    assert got is expected or got == expected or (got != got and expected != expected)
    assert predicate([expr], sources=2, accessors=["any", "item"])(rows) is (_values.truth(expected) is True)
    negated = predicate([call("not", expr)], sources=2, accessors=["item", "any"])
    assert negated(rows) is (_values.truth(expected) is False)


def test_no_predicate_holds_without_conditions() -> None:
    assert _compile.predicate([], sources=1, accessors=["item"])({})
