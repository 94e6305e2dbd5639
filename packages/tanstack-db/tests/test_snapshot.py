"""`Rows` and `JoinRow`."""

from __future__ import annotations

import copy
import pickle

import pytest

from tanstack_db._base.snapshot import Rows, join_row_type


def test_rows_equal_any_list_of_equal_items() -> None:
    rows = Rows([1, 2])
    assert rows == [1, 2]
    assert rows == (1, 2)
    assert rows == Rows([1, 2], is_ready=False)
    assert rows != [2, 1]
    assert rows != [1]
    assert rows != {1, 2}
    with pytest.raises(TypeError, match="unhashable"):
        hash(rows)


def test_rows_read_like_a_sequence() -> None:
    rows = Rows(["a", "b", "c"])
    assert (rows[0], rows[-1], list(rows[1:]), len(rows)) == ("a", "c", ["b", "c"], 3)
    assert list(reversed(rows)) == ["c", "b", "a"]
    assert "b" in rows
    assert rows.index("c") == 2
    assert not Rows(())


def test_rows_are_built_once_and_only_when_read() -> None:
    built: list[int] = []

    def build() -> list[int]:
        built.append(1)
        return [7]

    rows = Rows(build)
    assert built == []
    assert rows == [7]
    assert list(rows) == [7]
    assert built == [1]


def test_repr_shows_what_is_unusual() -> None:
    assert repr(Rows([1])) == "Rows([1])"
    failed = Rows[int]([], is_ready=False, error=ValueError("x"))
    assert repr(failed) == "Rows([], is_ready=False, error=ValueError('x'))"


def test_join_row_is_a_tuple_with_names() -> None:
    row = join_row_type(("todos", "comments"))(({"id": 1}, None))
    todo, comment = row
    assert (todo, comment) == ({"id": 1}, None)
    assert row.todos is todo
    assert row.comments is None
    assert row == ({"id": 1}, None)
    assert repr(row) == "JoinRow(todos={'id': 1}, comments=None)"
    assert join_row_type(("todos", "comments")) is type(row)
    with pytest.raises(AttributeError, match="did you mean 'comments'"):
        _ = row.comment


def test_join_row_copies_and_pickles() -> None:
    row = join_row_type(("a", "b"))((1, 2))
    for twin in (copy.copy(row), pickle.loads(pickle.dumps(row))):
        assert twin == row
        assert twin.b == 2
