"""Aggregate functions: what their trace records, and what their replay makes of values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import attrs
import msgspec
import pydantic
import pytest

from tanstack_db import (
    QueryBuilder,
    QueryError,
    UnknownColumnError,
    avg,
    col,
    count,
    count_if,
    create_collection,
    local_only_collection_options,
    max_,
    min_,
    sum_,
)
from tanstack_db._base.ir import AggregateCall, Call, Const, Grouping, Ref


@dataclass
class Todo:
    id: str
    project_id: str
    text: str
    priority: int = 0
    done: bool = False
    completed_at: datetime | None = None


def make(name: str, schema: type[Any] | None) -> Any:
    return create_collection(local_only_collection_options(id=name, schema=schema, get_key=lambda row: row.id))


todos = make("todos", Todo)
comments = make("comments", None)
q = QueryBuilder()
Function = Callable[[Any], Any]


def total(function: Function) -> Grouping:
    projection = q.from_(todos).aggregate(function).ir.projection
    assert isinstance(projection, Grouping)
    return projection


def grouped(key: Function, function: Function) -> Grouping:
    projection = q.from_(todos).group_by(key).aggregate(function).ir.projection
    assert isinstance(projection, Grouping)
    return projection


def by_project(function: Function, *values: Any, key: Any = "p") -> Any:
    """Group by project, and build the row of one group from the values of its aggregates."""
    return grouped(lambda t: t.project_id, function).build.function((key,), values)


def ref(*path: str) -> Ref:
    return Ref(0, path)


# -- the trace ---------------------------------------------------------------------------------------------------------

CALLS: list[tuple[Function, AggregateCall]] = [
    (lambda t: count(), AggregateCall("count")),
    (lambda t: count(t.completed_at), AggregateCall("count", ref("completed_at"))),
    (lambda t: count(t.priority, distinct=True), AggregateCall("count", ref("priority"), distinct=True)),
    (count, AggregateCall("count", ref())),
    (lambda t: sum_(t.priority), AggregateCall("sum", ref("priority"))),
    (lambda t: sum_(t.priority, distinct=True), AggregateCall("sum", ref("priority"), distinct=True)),
    (lambda t: sum_(t.priority * 2), AggregateCall("sum", Call("mul", (ref("priority"), Const(2))))),
    (lambda t: avg(t.priority), AggregateCall("avg", ref("priority"))),
    (lambda t: avg(t.priority, distinct=True, default=0), AggregateCall("avg", ref("priority"), distinct=True)),
    (lambda t: min_(t.completed_at), AggregateCall("min", ref("completed_at"))),
    (lambda t: max_(col(t.completed_at)), AggregateCall("max", ref("completed_at"))),
    (
        lambda t: count_if(t.priority > 3),
        AggregateCall("count", Call("or", (Call("gt", (ref("priority"), Const(3))), Const(None)))),
    ),
    (lambda t: count_if(t.done), AggregateCall("count", Call("or", (ref("done"), Const(None))))),
]


@pytest.mark.parametrize(("function", "call"), CALLS)
def test_calls(function: Function, call: AggregateCall) -> None:
    assert total(function).calls == (call,)
    assert total(function).build.function((), (7,)) == 7


def test_a_joined_row_is_counted_where_there_is_one() -> None:
    query = (
        q.from_(todos)
        .join(comments, on=lambda t, c: t.id == c["todo_id"])
        .group_by(lambda t, c: t.id)
        .aggregate(lambda t, c: (t.id, count(c)))
    )
    projection = query.ir.projection
    assert isinstance(projection, Grouping)
    assert projection.calls == (AggregateCall("count", Ref(1)),)
    assert projection.build.function(("t1",), (2,)) == ("t1", 2)


def test_group_keys() -> None:
    assert grouped(lambda t: t.project_id, lambda t: count()).keys == (ref("project_id"),)
    keys = (ref("project_id"), Call("lower", (ref("text"),)))
    assert grouped(lambda t: (t.project_id, t.text.lower()), lambda t: count()).keys == keys


class Model(pydantic.BaseModel, strict=True):
    project: str
    total: int
    done: int


@attrs.frozen
class Attrs:
    project: str = attrs.field(validator=attrs.validators.instance_of(str))
    total: int = attrs.field(validator=attrs.validators.instance_of(int))
    done: int = attrs.field(validator=attrs.validators.gt(-1))


class Struct(msgspec.Struct, frozen=True):
    project: str
    total: int
    done: int


@dataclass(frozen=True)
class Data:
    project: str
    total: int
    done: int


@pytest.mark.parametrize("cls", [Model, Attrs, Struct, Data, dict])
def test_any_class_makes_the_row(cls: Any) -> None:
    row = by_project(lambda t: cls(project=t.project_id, total=count(), done=count(t.completed_at)), 3, 2)
    assert row == cls(project="p", total=3, done=2)


class Outer(pydantic.BaseModel, strict=True):
    inner: Model
    most: int


def test_a_part_that_refuses_does_not_hide_later_aggregates() -> None:
    def outer(t: Any) -> Any:
        return Outer(inner=Model(project="all", total=count(), done=count(t.completed_at)), most=sum_(t.priority))

    projection = total(outer)
    assert [call.function for call in projection.calls] == ["count", "count", "sum"]
    assert projection.build.function((), (3, 2, 9)) == Outer(inner=Model(project="all", total=3, done=2), most=9)


def test_a_group_key_may_become_a_number_in_the_replay() -> None:
    def priorities(t: Any) -> Any:
        return {"todos": count(), "share": float(t.priority) / 10}

    assert grouped(lambda t: t.priority, priorities).build.function((5,), (2,)) == {"todos": 2, "share": 0.5}


def test_python_between_aggregates() -> None:
    def stats(t: Any) -> Any:
        rows, done, mean = count(), count_if(t.done), avg(t.priority, default=0.0)
        return {
            "share": f"{100 * done / rows:.0f} %" if rows else "-",
            "mean": round(mean, 1),
            "days": int(max_(t.priority, default=0)) // 7,
            "title": f"{t.project_id}: {min(rows, 99)}",
            "name": t.project_id.upper() + "!",
            "flags": [done > 1, rows == done, -rows, abs(done)],
            "parts": sum(part for part in (rows, done)),
        }

    assert by_project(stats, 4, 1, 2.25, 15) == {
        "share": "25 %",
        "mean": 2.2,
        "days": 2,
        "title": "p: 4",
        "name": "P!",
        "flags": [False, False, -4, 1],
        "parts": 5,
    }
    assert by_project(stats, 0, 0, None, None)["share"] == "-"


def test_nothing_to_aggregate() -> None:
    def stats(t: Any) -> Any:
        p = t.priority
        return [sum_(p), avg(p), min_(p), max_(p), avg(p, default=0), min_(p, default="a"), max_(p, default=-1)]

    nothing = (None,) * 7
    assert total(stats).build.function((), nothing) == [0, None, None, None, 0, "a", -1]


# -- group keys are values in the replay -------------------------------------------------------------------------------


def test_keys_by_expression() -> None:
    projection = grouped(lambda t: t.text.lower(), lambda t: {"text": t.text.lower(), "n": count()})
    assert projection.build.function(("abc",), (2,)) == {"text": "abc", "n": 2}
    projection = grouped(lambda t: (t.priority % 2, t.done), lambda t: (t.done, t.priority % 2, count()))
    assert projection.build.function((1, True), (5,)) == (True, 1, 5)


def test_a_key_twice() -> None:
    projection = grouped(lambda t: (t.project_id, t.project_id), lambda t: (t.project_id, count()))
    assert projection.build.function(("p", "p"), (2,)) == ("p", 2)


def test_a_replay_forgets_the_last_one() -> None:
    build = grouped(lambda t: t.project_id, lambda t: (t.project_id, count(), 1 / count(t.done))).build.function
    assert build(("p",), (2, 1)) == ("p", 2, 1.0)
    with pytest.raises(ZeroDivisionError):
        build(("q",), (3, 0))
    assert build(("q",), (3, 2)) == ("q", 3, 0.5)


def test_keys_of_nested_rows() -> None:
    def function(row: Any) -> Any:
        return row.place.city, row["place"]["city"].upper(), count()

    projection = q.from_(comments).group_by(lambda row: row.place.city).aggregate(function).ir.projection
    assert isinstance(projection, Grouping)
    assert projection.build.function(("Rome",), (2,)) == ("Rome", "ROME", 2)
    projection = q.from_(comments).group_by(lambda row: row.place).aggregate(function).ir.projection
    assert isinstance(projection, Grouping)
    place = type("Place", (dict,), {"city": "Rome"})(city="Rome")
    assert projection.build.function((place,), (2,)) == ("Rome", "ROME", 2)


def test_rows_of_a_group_are_distinct_keys_without_aggregates() -> None:
    assert by_project(lambda t: t.project_id) == "p"


def test_keys_inside_aggregates() -> None:
    def function(t: Any) -> Any:
        return (
            t.project_id,
            count_if((t.project_id == "p") & (t.priority > 1)),
            count_if(t.done | (t.project_id != t.text)),
            count_if(col(t.project_id).one_of(["p"]) & col(t.done)),
            count_if(t.text.startswith(t.project_id)),
            sum_(col(t.project_id).length() + t.priority),
            count_if(t.text == t.project_id),
            count_if((t.text == "a") & (t.project_id == "p")),
            count_if(col(t.project_id).coalesce("x") == "p"),
            count_if(col(t.project_id).nested == "p"),
        )

    key: str | None
    for key in ("p", None):
        assert by_project(function, 1, 2, 3, 4, 5, 6, 7, 8, 9, key=key) == (key, 1, 2, 3, 4, 5, 6, 7, 8, 9)


# -- what is refused ---------------------------------------------------------------------------------------------------

REFUSED: list[tuple[Function, str]] = [
    (lambda t: (t.project_id, t.text, count()), r"row\.text has many values here: give it to an aggregate"),
    (lambda t: Model(project=t.text, total=count(), done=0), r"row\.text has many values here"),
    (lambda t: (t.priority + 1, count()), r"row\.priority \+ 1 has many values here"),
    (lambda t: (t.project_id + t.text, count()), r"row\.project_id \+ row\.text has many values here"),
    (lambda t: (col(t.project_id), count()), r"row\.project_id has many values here"),
    (lambda t: (col(t.project_id).length(), count()), r"length\(row\.project_id\) has many values here"),
    (lambda t: t, r"<row of todos> is many rows here"),
    (lambda t: count(3), r"count takes a column or an expression, not 3; count\(\) counts rows"),
    (sum_, r"sum takes a column or an expression, not <row of todos>"),
    (lambda t: count_if(cast("Any", True)), r"count takes a column or an expression, not True"),
    (lambda t: count(t.priority > 3), r"write count_if\(row\.priority > 3\)"),
    (lambda t: count(~t.done), r"write count_if\(not\(row\.done\)\)"),
    (lambda t: count(distinct=True), r"count\(distinct=True\) needs a column"),
    (lambda t: sum_(count()), r"an aggregate of an aggregate"),
    (lambda t: count_if(t.project_id.is_none()), r"is a group key, so it will be a plain value here: wrap it"),
    (lambda t: count_if(~(t.project_id == "p")), r"is a group key, so it will be a plain value here: wrap it"),
    (lambda t: count_if(t.project_id == "p" and t.done), r"compute on keys in a select\(\) after the aggregate"),
    (lambda t: (count(), "yes" if t.project_id else "no"), r"compute on keys in a select\(\) after the aggregate"),
    (lambda t: count_if(t.text == "p" and t.done), r"write `&` for `and`"),
    (lambda t: count_if(t.completed_at is None), r"write col\(t\.completed_at\)\.is_none\(\)"),
    (lambda t: (f"{t.text}", count()), r"text made of row\.text"),
    (lambda t: (len(t.text), count()), r"write col\(x\)\.length\(\)"),
]


@pytest.mark.parametrize(("function", "message"), REFUSED)
def test_refused(function: Function, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        grouped(lambda t: t.project_id, function)


def test_a_computed_key_of_a_wrapped_key() -> None:
    # In the replay t.text is a plain value, so that col(t.text).lower() would not be found among the keys.
    with pytest.raises(QueryError, match=r"lower\(row\.text\) has many values here"):
        grouped(lambda t: (t.text, t.text.lower()), lambda t: (col(t.text).lower(), count()))
    both = grouped(lambda t: (t.text, t.text.lower()), lambda t: (t.text, t.text.lower(), count()))
    assert both.build.function(("A", "a"), (1,)) == ("A", "a", 1)


def test_refused_without_keys() -> None:
    with pytest.raises(QueryError, match="it calls none"):
        total(lambda t: 3)
    with pytest.raises(QueryError, match="has many values here"):
        total(lambda t: (t.project_id, count()))
    with pytest.raises(UnknownColumnError, match="did you mean 'priority'"):
        total(lambda t: Model(project="x", total=sum_(t.priorty), done=0))


def test_errors_of_the_function() -> None:
    def broken(t: Any) -> Any:
        raise KeyError("absent")

    with pytest.raises(QueryError, match="raised before it called an aggregate: KeyError"):
        total(broken)

    def misnamed(t: Any) -> Any:
        raise NameError("name 'Stats' is not defined")

    with pytest.raises(NameError):
        total(misnamed)


def test_an_aggregate_outside() -> None:
    for call in (count, lambda: sum_(3), lambda: avg(3), lambda: min_(3), lambda: max_(3), lambda: count_if(True)):
        with pytest.raises(QueryError, match=r"is an aggregate: call it inside aggregate\("):
            call()
    with pytest.raises(QueryError, match="is an aggregate"):
        q.from_(todos).group_by(lambda t: count())


def test_calls_that_depend_on_values() -> None:
    def skips(t: Any) -> Any:
        return count(t.done) if count() else 0

    def adds(t: Any) -> Any:
        return count(t.done) if count() == 0 else 0

    def changes(t: Any) -> Any:
        return (sum_ if count() else max_)(t.priority)

    def stops(t: Any) -> Any:
        return count() or count(t.done)

    assert total(skips).build.function((), (2, 1)) == 1
    for function, values in ((skips, (0, 0)), (changes, (0, 0)), (stops, (0,))):
        with pytest.raises(QueryError, match="called other aggregates than when it was traced"):
            total(function).build.function((), values)
    assert [call.function for call in total(adds).calls] == ["count", "count"]


def test_what_the_replay_raises_is_the_application_s() -> None:
    with pytest.raises(ZeroDivisionError):
        total(lambda t: 1 / count()).build.function((), (0,))
    with pytest.raises(pydantic.ValidationError):
        total(lambda t: Model(project=cast("Any", 3), total=count(), done=0)).build.function((), (0,))
