"""Sort keys: a total order over anything, and the one of `lt` where that has one. Law 6 of ``ivm/ARCHITECTURE.md``."""

from __future__ import annotations

import datetime as dt
import math
import random
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, StrEnum
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tanstack_db._base.ir import Call, Const, ExprIR, Nulls, OrderIR, Ref, RowFunction
from tanstack_db.ivm._sorted import SortedRows
from tanstack_db.ivm._sortkey import slots, slots_desc
from tanstack_db.ivm._values import lt
from tanstack_db.query._compile import sort_key


class Color(Enum):
    GREEN = 1
    RED = 2


class Level(StrEnum):
    HIGH = "high"
    LOW = "low"


@dataclass(order=True)
class Version:
    major: int | None


@dataclass(frozen=True)
class Plain:
    number: int


ordered_types: dict[str, st.SearchStrategy[Any]] = {
    "numbers": st.booleans() | st.integers() | st.floats(allow_nan=False) | st.decimals(allow_nan=False),
    "texts": st.text() | st.sampled_from(list(Level)) | st.text(st.characters(), max_size=3),
    "bytes": st.binary(max_size=3),
    "datetimes": st.datetimes(),
    "aware datetimes": st.datetimes(timezones=st.sampled_from([dt.UTC, dt.timezone(dt.timedelta(hours=5))])),
    "dates": st.dates(),
    "durations": st.timedeltas(),
    "times": st.times(),
    "uuids": st.uuids(),
    "colors": st.sampled_from(list(Color)),
    "versions": st.integers(0, 3).map(Version),
}


def comparable(value: Any) -> Any:
    return value.value if isinstance(value, Color) else value


@pytest.mark.parametrize("kind", ordered_types)
@given(data=st.data())
def test_values_of_one_type_are_in_their_own_order(kind: str, data: st.DataObject) -> None:
    """Kills: an inverted text without its end; -Decimal, which rounds; a date inverted as a datetime."""
    a, b = data.draw(ordered_types[kind]), data.draw(ordered_types[kind])
    is_less, is_greater = lt(comparable(a), comparable(b)), lt(comparable(b), comparable(a))

    assert (slots(a) < slots(b), slots(b) < slots(a)) == (is_less, is_greater)
    assert (slots_desc(a) < slots_desc(b), slots_desc(b) < slots_desc(a)) == (is_greater, is_less)


def test_the_longest_duration_has_a_place_in_both_directions() -> None:
    durations = [dt.timedelta.min, -dt.timedelta.resolution, dt.timedelta(), dt.timedelta.max]

    assert sorted(durations, key=slots) == durations
    assert sorted(durations, key=slots_desc) == durations[::-1]


@given(st.text(st.sampled_from("\0\x01a\x7f\x80é\ud800\uffff\U0010ffff")), st.text(st.sampled_from("\0aé\ud800😀")))
@example("ab", "ab\0")
@example("ab", "abc")
def test_any_text_can_be_inverted(a: str, b: str) -> None:
    """Kills: an end of a text that is not above all bytes; texts with lone surrogates refused."""
    assert (slots_desc(a) < slots_desc(b)) is (b < a)


everything = st.one_of(
    st.none(),
    *ordered_types.values(),
    st.sampled_from([math.nan, Decimal("NaN"), Decimal("sNaN"), math.inf, 1j]),
    st.dictionaries(st.text(max_size=1), st.integers(), max_size=1),
    st.frozensets(st.integers(), max_size=2),
    st.lists(st.none() | st.integers() | st.text(max_size=1), max_size=2),
    st.tuples(st.none() | st.integers(), st.integers()),
    st.builds(object),
    st.none().map(Version),
)


@given(st.lists(everything, max_size=8))
def test_any_values_can_be_sorted_with_nulls_first(values: list[Any]) -> None:
    """Kills: naive and aware times in one group; null in a named group."""
    for order in (slots, slots_desc):
        ranked = sorted(map(order, values))
        for low, high in pairwise(ranked):
            assert not high < low
        nulls = values.count(None)
        assert ranked[:nulls] == [order(None)] * nulls
        assert order(None) not in ranked[nulls:]


def test_nan_is_above_every_number() -> None:
    numbers = [math.inf, -math.inf, 5, Decimal("1e400"), True]
    for nan in (math.nan, Decimal("NaN"), Decimal("-sNaN")):
        assert max([nan, *numbers], key=slots) is nan
        assert min([nan, *numbers], key=slots_desc) is nan
        assert slots(nan) == slots(math.nan)


A, B = Ref(0, ("a",)), Ref(0, ("b",))
NULLS: list[Nulls] = ["first", "last"]


def in_order(order: list[OrderIR], rows: dict[Any, Any]) -> list[Any]:
    """The keys of `rows` by sort key; shuffled first, so that ties are not broken by arrival."""
    by = sort_key(order, sources=1, accessors=["item"])
    keys = list(rows)
    random.Random(7).shuffle(keys)
    return sorted(keys, key=lambda key: by(key, rows[key]))


def test_decimals_are_inverted_with_all_their_digits() -> None:
    one, other = Decimal("1." + "0" * 40 + "1"), Decimal("1." + "0" * 40 + "2")

    assert slots_desc(other) < slots_desc(one)


def test_nan_among_the_numbers_of_a_column() -> None:
    rows = {1: {"a": math.nan}, 2: {"a": 1.5}, 3: {"a": math.inf}, 4: {"a": None}}

    assert in_order([OrderIR(A)], rows) == [4, 2, 3, 1]
    assert in_order([OrderIR(A, desc=True)], rows) == [4, 1, 3, 2]


def test_rows_are_found_though_their_values_contradict_themselves() -> None:
    """`Version(None)` compares with nothing, so its key orders it, against the others' order by value."""
    by = sort_key([OrderIR(A)], sources=1, accessors=["item"])
    versions = [3, None, 1, 2, None, 0, 1, None, 2]
    rows: dict[int, Any] = {key: {"a": Version(major)} for key, major in enumerate(versions)}
    ordered = SortedRows()
    for key, row in rows.items():
        ordered.insert(by(key, row), key, row)
    for key, row in rows.items():
        ordered.replace(by(key, row), "seen")
        ordered.remove(by(key, row))
        assert set(ordered.names()) == set(range(key + 1, len(rows)))
        assert "seen" not in list(ordered)


@given(st.lists(everything, max_size=8), st.booleans(), st.sampled_from(NULLS), st.randoms(use_true_random=False))
@example([{1, 2}, {3}, {1}], False, "first", random.Random(1))
def test_any_arrival_order_gives_the_same_order(
    values: list[Any], desc: bool, nulls: Nulls, chance: random.Random
) -> None:
    """f.2 30. Kills: sets compared, whose `<` is no order of all."""
    by = sort_key([OrderIR(A, desc=desc, nulls=nulls)], sources=1, accessors=["item"])
    # A class whose `<` raises for some of its values has no such promise.
    rows = {key: {"a": value} for key, value in enumerate(values) if value != Version(None)}
    keys = list(rows)
    expected = sorted(keys, key=lambda key: by(key, rows[key]))
    for _ in range(3):
        chance.shuffle(keys)
        assert sorted(keys, key=lambda key: by(key, rows[key])) == expected


def test_several_terms_each_with_its_direction() -> None:
    rows = {
        1: {"a": "x", "b": 1},
        2: {"a": "x", "b": 2},
        3: {"a": "y", "b": 1},
        4: {"a": None, "b": 9},
        5: {"b": 10},
    }

    assert in_order([OrderIR(A), OrderIR(B, desc=True)], rows) == [5, 4, 2, 1, 3]
    assert in_order([OrderIR(A, desc=True), OrderIR(B)], rows) == [4, 5, 3, 1, 2]


def test_nulls_come_last_in_both_directions_where_a_term_says_so() -> None:
    rows = {1: {"a": None, "b": 1}, 2: {"a": 3}, 3: {"a": math.nan}, 4: {"a": "z"}, 5: {"a": [1]}, 6: {"b": 0}}

    assert in_order([OrderIR(A, nulls="last"), OrderIR(B)], rows) == [2, 3, 5, 4, 6, 1]
    assert in_order([OrderIR(A, desc=True, nulls="last"), OrderIR(B, nulls="last")], rows)[-2:] == [6, 1]
    assert in_order([OrderIR(A, desc=True, nulls="last")], {1: {"a": None}, 2: {"a": 3}, 3: {"a": 4}}) == [3, 2, 1]


def test_texts_that_differ_in_case_are_ties_where_case_is_ignored() -> None:
    rows = {
        1: {"a": "b"},
        2: {"a": "A"},
        3: {"a": "B"},
        4: {"a": "a"},
        5: {"a": 3},
        6: {"a": "STRASSE"},
        7: {"a": "straße"},
    }

    assert in_order([OrderIR(A)], rows) == [5, 2, 3, 6, 4, 1, 7]
    assert in_order([OrderIR(A, collation="ignore_case")], rows) == [5, 2, 4, 1, 3, 6, 7]
    assert in_order([OrderIR(A, collation="ignore_case"), OrderIR(A, desc=True)], rows) == [5, 4, 2, 1, 3, 7, 6]
    assert in_order([OrderIR(A, desc=True, collation="ignore_case")], rows) == [5, 6, 7, 1, 3, 2, 4]


def test_a_collation_of_the_application_is_asked_for_values_that_are_not_null() -> None:
    rows = {1: {"a": "bbb"}, 2: {"a": None}, 3: {"a": "z"}, 4: {"a": "cc"}}

    assert in_order([OrderIR(A, collation=RowFunction(len))], rows) == [2, 3, 4, 1]
    assert in_order([OrderIR(A, desc=True, nulls="last", collation=RowFunction(len))], rows) == [1, 4, 3, 2]
    with pytest.raises(TypeError, match="len"):
        in_order([OrderIR(A, collation=RowFunction(len))], {1: {"a": 1}})


def test_ties_are_broken_by_key_of_any_type() -> None:
    keys: list[Any] = [2, 10, "a", "b", ("a", None), ("a", 1), UUID(int=1), UUID(int=2), frozenset({1}), frozenset({2})]
    keys += [(dict, frozenset({("a", 1)})), (dict, frozenset({("a", 2)})), (list, 1), Plain(1), Plain(2), 1j, 2j]
    ranked = in_order([OrderIR(A, desc=True)], {key: {"a": 0} for key in keys})

    assert [key for key in ranked if isinstance(key, int)] == [2, 10]
    assert [key for key in ranked if isinstance(key, str)] == ["a", "b"]
    assert [key for key in ranked if isinstance(key, tuple) and key[0] == "a"] == [("a", None), ("a", 1)]
    # Also where values have no order, no two keys have equal places.
    by = sort_key([], sources=1, accessors=["any"])
    assert all(by(low, {}) < by(high, {}) for low, high in pairwise(sorted(keys, key=lambda key: by(key, {}))))


def test_a_row_that_does_not_fit_the_expression_is_sorted_as_null() -> None:
    expr: ExprIR = Call("add", (A, Const(1)))
    rows = {1: {"a": 5}, 2: {"a": "text"}, 3: {"a": 4}, 4: {}}

    assert in_order([OrderIR(expr)], rows) == [2, 4, 3, 1]
    assert in_order([OrderIR(expr, desc=True)], rows) == [2, 4, 1, 3]


def test_rows_of_a_join_are_sorted_by_either_side() -> None:
    by = sort_key([OrderIR(Ref(1, ("a",)))], sources=2, accessors=["item", "item"])
    rows: dict[Any, Any] = {("l", None): ({}, None), ("l", 2): ({}, {"a": 2}), ("l", 1): ({}, {"a": 3})}

    assert sorted(rows, key=lambda key: by(key, rows[key])) == [("l", None), ("l", 2), ("l", 1)]
