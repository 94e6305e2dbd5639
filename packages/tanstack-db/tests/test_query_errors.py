"""Lambdas that cannot be traced: each is refused when the query is built, and the message names what to write."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict, cast

import attrs
import msgspec
import pydantic
import pytest

from tanstack_db import (
    DbError,
    Query,
    QueryBuilder,
    QueryError,
    UnknownColumnError,
    col,
    count,
    create_collection,
    live_query,
    local_only_collection_options,
)


@dataclass
class Todo:
    id: str
    project_id: str
    text: str
    priority: int = 0
    done: bool = False
    completed_at: datetime | None = None

    def is_urgent(self) -> bool:
        return self.priority > 3


def make(name: str, schema: type[Any] | None) -> Any:
    return create_collection(local_only_collection_options(id=name, schema=schema, get_key=lambda row: row.id))


todos = make("todos", Todo)
comments = make("comments", None)
q = QueryBuilder()


class Never:
    def __eq__(self, other: object) -> bool:
        return False

    __hash__ = None  # type: ignore[assignment]


MISUSES: list[tuple[Callable[[Any], Any], str]] = [
    # `and`, `or`, `not`, `in`, `if`, chains
    (lambda t: t.project_id == "p" and t.done, r"write `&` for `and`"),
    (lambda t: t.project_id == "p" or t.done, r"`\|` for `or`"),
    (lambda t: not t.done, r"`~` for `not`"),
    (lambda t: t.project_id in ["p", "q"], r"`\.one_of\(\)` for `in`"),
    (lambda t: t.project_id in {"p", "q"}, r"`\.one_of\(\)` for `in`"),
    (lambda t: {t.project_id: 1}, r"`\.one_of\(\)` for `in`"),
    (lambda t: 1 < t.priority < 4, r"`\.between\(\)` for `a < x < b`"),
    (lambda t: t.done if t.priority > 1 else t.text == "", r"write `&` for `and`"),
    (lambda t: "a" in t.text, r"contains\(item\)"),
    (lambda t: "text" in t, r"is_none\(\)"),
    (lambda t: t and t.done, r"~col\(row\)\.is_none\(\)"),
    (lambda t: t.priority == 1 & t.done, r"put parentheses around each comparison"),
    (lambda t: (t.priority == 1) | None, r"put parentheses around each comparison"),
    # None and identity
    (lambda t: t.completed_at == None, r"col\(\.\.\.\)\.is_none\(\)"),  # noqa: E711
    (lambda t: t.completed_at != None, r"~col\(\.\.\.\)\.is_none\(\)"),  # noqa: E711
    (lambda t: t.priority < cast("Any", None), r"`<` with None is unknown"),
    (lambda t: t.completed_at is None, r"write col\(t\.completed_at\)\.is_none\(\)"),
    (lambda t: t.completed_at is not None, r"~col\(t\.completed_at\)\.is_none\(\) for `is not None`"),
    (lambda t: t["completed_at"] is None, r"col\(t\[\.\.\.\]\)\.is_none\(\)"),
    (lambda t: t is None, r"col\(t\)\.is_none\(\)"),
    (lambda t: (t.completed_at is None) & (t.priority > 1), r"col\(t\.completed_at\)\.is_none\(\)"),
    (lambda t: t.completed_at is None or t.done, r"col\(t\.completed_at\)\.is_none\(\)"),
    (lambda t: t.done is True, r"== for anything else"),
    (lambda t: col(t.priority).one_of([1, None]), r"is_none\(\), joined by `\|`"),
    (lambda t: col(t.priority).coalesce(None), r"coalesce\(None\) changes nothing"),
    # what is decided at once
    (lambda t: isinstance(t.done, bool), r"became a plain False"),
    (lambda t: Never() == t.text, r"became a plain False"),
    # what a query cannot do with values
    (lambda t: t.text.title() == "", r"row\.text\.title cannot be called"),
    (lambda t: math.sqrt(t.priority) > 3, r"row\.priority cannot become a number"),
    (lambda t: int(t.text) > 3, r"row\.text cannot become a number"),
    (lambda t: len(t.text) > 3, r"write col\(x\)\.length\(\)"),
    (lambda t: len(t) > 3, r"<row of todos> has no length"),
    (lambda t: f"{t.text}!" == "a!", r"text made of row\.text.*concat\("),
    (lambda t: str(t.text) == "a!", r"text made of row\.text.*concat\("),
    (lambda t: str(t) == "a!", r"<row of todos> has no text"),
    (lambda t: list(t.text) == [], r"cannot be iterated"),
    (lambda t: list(t) == [], r"cannot be iterated"),
    (lambda t: t.text[0] == "a", r"nested columns by name only"),
    (lambda t: t[0] == "a", r"reads columns by name"),
    (lambda t: (t.priority + 1).real == 1, r"only columns have nested columns"),
    (lambda t: t == t, r"cannot be compared: compare a column"),
    (lambda t: t.id == t, r"is a whole row: name one of its columns"),
    (lambda t: {t: 1}, r"<row of todos> has no value"),
    (lambda t: t(), r"is a row, and cannot be called"),
    (lambda t: t.text.startswith(("a", "b")), r"startswith\(\) takes a text, not \('a', 'b'\)"),
    (lambda t: t.text.endswith(1), r"endswith\(\) takes a text, not 1"),
    (lambda t: col(t.text).like(cast("Any", 1)), r"like\(\) takes a text, not 1"),
    (lambda t: col(t.text).one_of("abc"), r"takes a list or set of values, not 'abc'"),
    (lambda t: col(t.text).one_of(cast("Any", 3)), r"takes a list or set of values, not 3"),
    (lambda t: col(t.text).one_of([t.id]), r"takes values, not columns"),
    (lambda t: col("p") == t.project_id, r"col\(\) takes a column or a row of the query, not 'p'"),
    (lambda t: count(t.text) > 3, r"count is an aggregate: call it inside aggregate\("),
    # what is no condition
    (lambda t: t, r"must be a comparison of columns, not <row of todos>"),
    (lambda t: None, r"did it forget to return\?"),
    (lambda t: 1, r"must be a comparison of columns, not 1"),
    (lambda t: [t.done], r"must be a comparison of columns"),
]


@pytest.mark.parametrize(("function", "message"), MISUSES)
def test_misuses(function: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(QueryError, match=message):
        q.from_(todos).where(function)


def test_expressions_of_another_lambda() -> None:
    kept: list[Any] = []

    def keep(row: Any) -> Any:
        kept.append(row.text)
        return row.done

    q.from_(todos).where(keep)
    with pytest.raises(QueryError, match="belongs to another lambda"):
        q.from_(todos).where(lambda t: t.text == kept[0])


def one_row(row: Any) -> Any:
    return row.done


def two_rows(row: Any, other: Any) -> Any:
    return row.done


def test_the_number_of_rows() -> None:
    query = cast("Any", q.from_(todos))
    for clause in (query.where, query.order_by, query.select, query.group_by, query.aggregate):
        with pytest.raises(QueryError, match=r"one row per source, 1 in all \(todos\); it is \(row: .*other"):
            clause(two_rows)


def test_functions_are_not_async() -> None:
    async def clean(row: Any) -> Any:
        return row

    query = cast("Any", q.from_(todos))
    for clause in (query.where, query.order_by, query.select, query.group_by, query.aggregate):
        with pytest.raises(QueryError, match=r"clean.* is async: nobody would await it"):
            clause(clean)


def test_what_is_no_query() -> None:
    options: Any = local_only_collection_options(id="rows", schema=Todo, get_key=lambda todo: todo.id)
    with pytest.raises(QueryError, match=r"make a collection of it, create_collection\(options\)"):
        q.from_(options)
    with pytest.raises(QueryError, match=r"a function that returns one, not \[1\]"):
        live_query(cast("Any", [1]))
    groups: Any = q.from_(todos).group_by("project_id")
    with pytest.raises(QueryError, match=r"not <Grouped of todos, waiting for aggregate\(\.\.\.\)>"):
        live_query(groups)


def test_errors_inside_a_lambda_are_its_own() -> None:
    def broken(row: Any) -> Any:
        return row.priority > 1 / 0

    with pytest.raises(ZeroDivisionError):
        q.from_(todos).where(broken)


def test_the_forms_of_where() -> None:
    query = cast("Any", q.from_(todos))
    for arguments in ((), ("project_id",), ("project_id", "="), ("project_id", "=", 1, 2), (3,)):
        with pytest.raises(QueryError, match="where takes a condition"):
            query.where(*arguments)
    with pytest.raises(QueryError, match="not both"):
        query.where(one_row, project_id="p")
    with pytest.raises(QueryError, match="'==' is no operator; did you mean '='"):
        query.where("project_id", "==", "p")
    with pytest.raises(QueryError, match="'<>' is no operator; did you mean '!='"):
        query.where("project_id", "<>", "p")
    with pytest.raises(QueryError, match="None is no operator"):
        query.where("project_id", None, "p")
    with pytest.raises(QueryError, match=r"col\(row.completed_at\)\.is_none\(\)"):
        query.where("completed_at", "=", None)
    with pytest.raises(QueryError, match=r"col\(row.completed_at\)\.is_none\(\)"):
        query.where(completed_at=None)
    with pytest.raises(QueryError, match="a list or set of values"):
        query.where("project_id", "in", "p")
    for path in ("", ".", "a..b", 3):
        with pytest.raises(QueryError, match="a column is named by a path"):
            query.where(path, "=", 1)


NO_COLUMNS: list[Callable[[Any], Any]] = [
    lambda row: 1,
    lambda row: row,
    lambda row: (),
    lambda row: (row.text, "x"),
]


def test_the_forms_of_other_clauses() -> None:
    query = cast("Any", q.from_(todos))
    for arguments in ((), (3,), ("text", "asc", "x"), (one_row, "asc")):
        with pytest.raises(QueryError, match="order_by takes columns"):
            query.order_by(*arguments)
    with pytest.raises(QueryError, match="'asc' or 'desc', not 'up'"):
        query.order_by("text", "up")
    with pytest.raises(QueryError, match="nulls come 'first' or 'last', not 'end'"):
        query.order_by("text", nulls="end")
    with pytest.raises(QueryError, match=r"'ignore_case' or a function of a value.*not 'nocase'"):
        query.order_by("text", collation="nocase")
    for clause in (query.order_by, query.group_by):
        for wrong in NO_COLUMNS:
            with pytest.raises(QueryError, match=r"_by takes a column or a tuple of columns"):
                clause(wrong)
    for selected in ((), (3,), (one_row, one_row)):
        with pytest.raises(QueryError, match=r"select takes a function of the row, as in .*, or totals"):
            query.select(*selected)
    with pytest.raises(QueryError, match=r"select takes a function of the row, as in .*, or totals"):
        query.select(one_row, total=len)
    with pytest.raises(QueryError, match=r"total must be a function of all rows.*aggregate\("):
        query.select(total=3)


class Filter:
    def __init__(self, project_id: str | None) -> None:
        self.project_id = project_id

    def matches(self, row: Any) -> Any:
        return True if self.project_id is None else row.project_id == self.project_id

    def is_open(self, row: Any) -> Any:
        return row.completed_at is None


def test_bound_methods() -> None:
    assert q.from_(todos).where(Filter(None).matches) == q.from_(todos)
    assert q.from_(todos).where(Filter("p").matches) == q.from_(todos).where(project_id="p")
    with pytest.raises(QueryError, match=r"write col\(row\.completed_at\)\.is_none\(\)"):
        q.from_(todos).where(Filter(None).is_open)


def test_a_callable_object_is_a_function() -> None:
    class Wanted:
        def __call__(self, row: Any) -> Any:
            return row.done

    assert q.from_(todos).where(Wanted()) == q.from_(todos).where(one_row)
    assert q.from_(todos).select(len).ir.projection is not None


# -- columns -----------------------------------------------------------------------------------------------------------


class Model(pydantic.BaseModel):
    id: str
    project_id: str


class Typed(TypedDict):
    id: str
    project_id: str


@attrs.define
class Attrs:
    id: str
    project_id: str


class Struct(msgspec.Struct):
    id: str
    project_id: str


@dataclass
class Data:
    id: str
    project_id: str


@pytest.mark.parametrize("schema", [Model, Typed, Attrs, Struct, Data])
def test_a_misspelt_column(schema: type[Any]) -> None:
    query: Query[Any, Any] = q.from_(make("rows", schema))
    wrong: list[Callable[[], Any]] = [
        lambda: query.where(lambda row: row.projectid == "p"),
        lambda: query.where(lambda row: row["projectid"] == "p"),
        lambda: query.where("projectid", "=", "p"),
        lambda: query.where("rows.projectid", "=", "p"),
        lambda: query.where(projectid="p"),
        lambda: query.order_by(lambda row: row.projectid),
        lambda: query.order_by("projectid"),
        lambda: query.group_by(lambda row: row.projectid),
        lambda: query.aggregate(lambda row: count(row.projectid)),
        lambda: query.where(id="x").where(projectid="p"),
    ]
    for build in wrong:
        with pytest.raises(
            UnknownColumnError, match=r"'rows' has no column 'projectid'; did you mean 'project_id'\?"
        ) as e:
            build()
        assert e.value.column == "projectid"
        assert e.value.known == ("id", "project_id")
        assert isinstance(e.value, DbError)
    assert query.where(lambda row: row["project_id"] == "p") == query.where(lambda row: row.project_id == "p")


class Computed(pydantic.BaseModel):
    id: str

    @pydantic.computed_field
    def size(self) -> int:
        return len(self.id)


def test_a_computed_field_is_a_column() -> None:
    query: Query[Any, Any] = q.from_(make("rows", Computed))
    assert query.where(lambda row: row.size == 1) == query.where(size=1)


class Open(pydantic.BaseModel, extra="allow"):
    id: str


@pytest.mark.parametrize("schema", [None, Open])
def test_columns_that_are_not_known(schema: Any) -> None:
    query = q.from_(make("rows", schema))
    assert query.where(lambda row: row.anything == 1) == query.where(anything=1)


def test_a_method_is_no_column() -> None:
    with pytest.raises(UnknownColumnError, match="no column 'is_urgent'"):
        q.from_(todos).where(lambda t: t.is_urgent())


def test_what_traces_see_of_python() -> None:
    def protocols(row: Any) -> Any:
        assert not hasattr(row, "__array__")
        assert not hasattr(row.text, "__array__")
        assert repr(row) == "<row of todos>"
        assert repr((row.priority + 1 > 2) & ~row.done) == "((row.priority + 1) > 2) & not(row.done)"
        return row.done

    q.from_(todos).where(protocols)
