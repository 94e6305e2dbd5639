"""What the builder makes of each clause: the trees, their identity, levels."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import pytest

from tanstack_db import (
    Collection,
    LiveSource,
    One,
    Query,
    QueryBuilder,
    QueryError,
    UnknownColumnError,
    count,
    create_collection,
    local_only_collection_options,
    sum_,
)
from tanstack_db._base.ir import AggregateCall, Call, Const, Grouping, JoinIR, OrderIR, Ref, RowFunction, Totals


@dataclass
class Todo:
    id: str
    project_id: str
    text: str
    created_at: datetime
    priority: int = 0
    size: int = 0
    done: bool = False
    completed_at: datetime | None = None


@dataclass
class Comment:
    id: str
    todo_id: str
    author_id: str
    project_id: str


@dataclass
class Stats:
    project_id: str
    n: int


def make(name: str, schema: type[Any] | None) -> Any:
    return create_collection(local_only_collection_options(id=name, schema=schema, get_key=lambda row: row.id))


todos: Collection[Todo, str] = make("todos", Todo)
comments: Collection[Comment, str] = make("comments", Comment)
q = QueryBuilder()


def eq(column: str, value: Any) -> Call:
    return Call("eq", (Ref(0, tuple(column.split("."))), Const(value)))


# -- the seed's blocks -------------------------------------------------------------------------------------------------


def test_the_ordered_list_in_three_forms() -> None:
    by_lambda = q.from_(todos).where(lambda t: t.project_id == "p").order_by(lambda t: t.created_at, desc=True)
    by_path = q.from_(todos=todos).where("project_id", "=", "p").order_by("created_at", "desc")
    by_keyword = q.from_(todos).where(project_id="p").order_by("todos.created_at", "desc")

    assert by_lambda.ir.where == (eq("project_id", "p"),)
    assert by_lambda.ir.order_by == (OrderIR(Ref(0, ("created_at",)), desc=True),)
    assert [(source.name, source.source) for source in by_lambda.ir.sources] == [("todos", todos)]
    assert by_lambda.ir.projection is None
    assert not by_lambda.ir.single
    assert by_lambda == by_path == by_keyword
    assert hash(by_lambda) == hash(by_path) == hash(by_keyword)


def test_the_join_in_three_forms() -> None:
    by_lambda = (
        q.from_(todos).where(lambda t: t.project_id == "p").join(comments, on=lambda todo, c: todo.id == c.todo_id)
    )
    by_path = (
        q.from_(todos=todos)
        .join("todos.id", "=", "comments.todo_id", comments=comments)
        .where("todos.project_id", "=", "p")
    )
    turned = q.from_(todos).join("todo_id", "=", "todos.id", comments=comments).where("todos.project_id", "=", "p")
    named = (
        q.from_(todos).join(comments=comments, on=lambda t, c: c.todo_id == t.id).where("todos.project_id", "=", "p")
    )

    assert by_lambda.ir.joins == (JoinIR(1, "left", ((Ref(0, ("id",)), Ref(1, ("todo_id",))),)),)
    assert [source.name for source in by_lambda.ir.sources] == ["todos", "comments"]
    assert by_lambda.ir.where == (eq("project_id", "p"),)
    assert by_lambda == by_path == turned == named


def test_the_totals_over_rows() -> None:
    query = q.from_(todos).where(project_id="p").select(total=len, done=lambda rows: sum(row.done for row in rows))

    assert isinstance(query, One)
    assert query.ir.single
    projection = query.ir.projection
    assert isinstance(projection, Totals)
    assert [name for name, _ in projection.functions] == ["total", "done"]
    assert projection.functions[0][1].function is len


def test_the_totals_as_aggregates() -> None:
    query = q.from_(todos).aggregate(lambda t: {"total": count(), "done": count(t.completed_at)})

    assert isinstance(query, One)
    assert query.ir.single
    projection = query.ir.projection
    assert isinstance(projection, Grouping)
    assert projection.keys == ()
    assert projection.calls == (AggregateCall("count"), AggregateCall("count", Ref(0, ("completed_at",))))
    assert projection.build.function((), (5, 3)) == {"total": 5, "done": 3}


# -- sources -----------------------------------------------------------------------------------------------------------


def test_a_query_as_a_source_goes_by_the_name_of_its_first_source() -> None:
    inner = q.from_(todos).where(done=False)
    outer = q.from_(inner).where(lambda t: t.project_id == "p").where("todos.text", "like", "a%")

    assert outer.ir.sources[0].name == "todos"
    assert outer.ir.sources[0].source is inner
    assert outer == q.from_(q.from_(todos).where(done=False)).where(project_id="p").where("text", "like", "a%")
    with pytest.raises(UnknownColumnError):
        q.from_(inner).where(lambda t: cast("Any", t).projcet_id == "p")


def test_a_collection_of_the_same_id_is_another_source() -> None:
    assert q.from_(todos) != q.from_(make("todos", Todo))


def test_joined_rows_as_a_source() -> None:
    pairs = q.from_(todos).inner_join(comments, on=lambda t, c: t.id == c.todo_id)
    by_index = q.from_(pairs).where(lambda pair: pair[1].author_id == "u")

    def by_unpacking(pair: Any) -> Any:
        _, comment = pair
        return comment.author_id == "u"

    assert by_index.ir.where == (eq("comments.author_id", "u"),)
    assert by_index == q.from_(pairs).where(by_unpacking)
    assert by_index == q.from_(pairs).where("comments.author_id", "=", "u")
    with pytest.raises(UnknownColumnError) as error:
        q.from_(pairs).where(lambda pair: cast("Any", pair).coments.author_id == "u")
    assert error.value.known == ("comments", "todos")
    with pytest.raises(QueryError, match="by name"):
        q.from_(pairs).where(lambda pair: cast("Any", pair)[2].id == "u")


@pytest.mark.parametrize("source", [[], {}, Todo, None, "todos", Todo.__init__])
def test_what_is_no_source(source: Any) -> None:
    with pytest.raises(QueryError, match="collections, scopes and queries"):
        q.from_(source)
    with pytest.raises(QueryError, match="collections, scopes and queries"):
        q.from_(todos).join(source, on=lambda t, other: t.id == other.id)


def test_one_row_is_no_source() -> None:
    for one in (q.from_(todos).find_one(), q.from_(todos).aggregate(lambda t: count())):
        with pytest.raises(QueryError, match="one row"):
            q.from_(cast("Any", one))


def test_the_number_of_sources() -> None:
    with pytest.raises(QueryError, match="takes one source"):
        q.from_(todos=todos, comments=cast("Any", comments))
    with pytest.raises(QueryError, match="takes one source"):
        cast("Any", q.from_)()
    with pytest.raises(QueryError, match="takes one source"):
        q.from_(todos).join("todos.id", "=", "comments.todo_id")


def test_duplicate_names_of_sources() -> None:
    with pytest.raises(QueryError, match="two sources of the query are called 'todos'"):
        q.from_(todos).join(todos, on=lambda a, b: a.id == b.id)
    with pytest.raises(QueryError, match="called 'comments'"):
        q.from_(comments=todos).join(comments, on=lambda t, c: t.id == c.todo_id)
    self_join = q.from_(todos).join(parents=todos, on=lambda a, b: a.id == b.id)
    assert [source.name for source in self_join.ir.sources] == ["todos", "parents"]


class Scope(LiveSource[Any]):
    id = "scoped"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Scope)

    __hash__ = None  # type: ignore[assignment]


def test_a_source_that_cannot_be_hashed_is_compared_by_identity() -> None:
    scope = Scope()
    assert q.from_(scope) == q.from_(scope)
    assert q.from_(scope) != q.from_(Scope())
    assert hash(q.from_(scope)) == hash(q.from_(scope))


# -- where -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operator", "op"), [("=", "eq"), ("!=", "ne"), ("<", "lt"), ("<=", "le"), (">", "gt"), (">=", "ge")]
)
def test_comparisons_by_path(operator: Any, op: str) -> None:
    assert q.from_(todos).where("priority", operator, 3).ir.where == (Call(op, (Ref(0, ("priority",)), Const(3))),)


def test_other_operators_by_path() -> None:
    text, priority = Ref(0, ("text",)), Ref(0, ("priority",))
    in_set = Call("in", (priority, Const(frozenset({1, 2}))))
    assert q.from_(todos).where("priority", "in", [1, 2]).ir.where == (in_set,)
    assert q.from_(todos).where("priority", "not in", {2, 1}).ir.where == (Call("not", (in_set,)),)
    assert q.from_(todos).where("text", "like", "a%").ir.where == (Call("like", (text, Const("a%"))),)


def test_conditions_are_joined_and_taken_apart() -> None:
    one_call = q.from_(todos).where(lambda t: (t.project_id == "p") & ((t.priority > 1) & (t.priority < 5)))
    three_calls = (
        q.from_(todos)
        .where("project_id", "=", "p")
        .where(lambda t: t.priority > 1)
        .where(lambda t: True)
        .where(lambda t: t.priority < 5)
    )
    assert one_call == three_calls
    assert len(one_call.ir.where) == 3


def test_constant_conditions() -> None:
    everything: str | None = None
    assert q.from_(todos).where(lambda t: everything is None or t.project_id == everything).ir.where == ()
    assert q.from_(todos).where(lambda t: False).ir.where == (Const(False),)
    wanted = cast("str | None", "p")
    query = q.from_(todos).where(lambda t: wanted is None or t.project_id == wanted)
    assert query.ir.where == (eq("project_id", "p"),)


def test_a_constant_in_a_condition() -> None:
    flag = True
    (term,) = q.from_(todos).where(lambda t: (t.priority > 1) | flag).ir.where
    assert term == Call("or", (Call("gt", (Ref(0, ("priority",)), Const(1))), Const(True)))
    (term,) = q.from_(todos).where(lambda t: flag | (t.priority > 1)).ir.where
    assert term == Call("or", (Const(True), Call("gt", (Ref(0, ("priority",)), Const(1)))))


def test_a_constant_that_is_true_is_no_condition() -> None:
    flag = True
    assert q.from_(todos).where(lambda t: (t.priority == 1) & flag) == q.from_(todos).where(priority=1)


def test_a_source_called_like_a_column() -> None:
    query = q.from_(text=todos)
    assert query.where("text", "=", "a").ir.where == (eq("text", "a"),)
    assert query.where("text.text", "=", "a") == query.where("text", "=", "a")


def test_constants_of_other_types_are_other_queries() -> None:
    assert q.from_(todos).where(priority=1) != q.from_(todos).where(priority=True)
    assert q.from_(todos).where(priority=1) != q.from_(todos).where(priority=1.0)


def test_queries_are_immutable() -> None:
    base = q.from_(todos)
    base.where(project_id="p").order_by("text").limit(3)
    assert base == q.from_(todos)


# -- order, window, projection -----------------------------------------------------------------------------------------


def test_order_terms_add_up() -> None:
    query = q.from_(todos).order_by(lambda t: (t.priority, -t.size), desc=True).order_by("text").order_by("id", "desc")
    assert query.ir.order_by == (
        OrderIR(Ref(0, ("priority",)), desc=True),
        OrderIR(Call("neg", (Ref(0, ("size",)),)), desc=True),
        OrderIR(Ref(0, ("text",))),
        OrderIR(Ref(0, ("id",)), desc=True),
    )


def test_order_terms_with_options_of_their_own() -> None:
    query = (
        q.from_(todos)
        .order_by("text", "desc", nulls="last", collation="ignore_case")
        .order_by(lambda t: (t.priority, t.size), nulls="last", collation=abs)
    )
    assert query.ir.order_by == (
        OrderIR(Ref(0, ("text",)), desc=True, nulls="last", collation="ignore_case"),
        OrderIR(Ref(0, ("priority",)), nulls="last", collation=RowFunction(abs)),
        OrderIR(Ref(0, ("size",)), nulls="last", collation=RowFunction(abs)),
    )


def test_a_window() -> None:
    query = q.from_(todos).limit(9).offset(2).limit(5)
    assert (query.ir.limit, query.ir.offset) == (5, 2)
    assert q.from_(todos).limit(0).ir.limit == 0


@pytest.mark.parametrize("number", [-1, True, 1.5, "3", None])
def test_what_is_no_window(number: Any) -> None:
    with pytest.raises(QueryError, match=r"limit takes a number of rows, 0 or more"):
        q.from_(todos).limit(number)
    with pytest.raises(QueryError, match=r"offset takes a number of rows, 0 or more"):
        q.from_(todos).offset(number)


def test_select_keeps_the_function() -> None:
    def text(todo: Todo) -> str:
        return todo.text

    query = q.from_(todos).select(text)
    assert query.ir.projection == RowFunction(text)
    assert not query.ir.single


def shown(project_id: str) -> Query[str, str]:
    return q.from_(todos).where(project_id=project_id).select(lambda t: t.text + project_id)


def test_functions_made_again_are_the_same_query() -> None:
    assert shown("p") == shown("p")
    assert hash(shown("p")) == hash(shown("p"))
    assert shown("p") != shown("q")
    assert stats(3) == stats(3)
    assert hash(stats(3)) == hash(stats(3))
    assert stats(3) != stats(4)


def stats(limit: int) -> Query[Any, Any]:
    return q.from_(todos).group_by(lambda t: t.project_id).aggregate(lambda t: (t.project_id, min(count(), limit)))


def test_find_one() -> None:
    assert q.from_(todos).find_one().ir.limit == 1
    assert q.from_(todos).limit(0).find_one().ir.limit == 0
    one = q.from_(todos).order_by("text").select(lambda t: t.text).find_one()
    assert one.ir.single
    assert one.ir.order_by
    assert isinstance(one.ir.projection, RowFunction)
    assert one.ir.limit == 1


def test_a_clause_after_aggregate_is_a_new_level() -> None:
    totals = q.from_(todos).group_by(lambda t: t.project_id).aggregate(lambda t: Stats(t.project_id, count()))
    big = totals.where(lambda row: row.n > 2).order_by("n", "desc").limit(3)

    assert [source.source for source in big.ir.sources] == [totals]
    assert big.ir.where == (Call("gt", (Ref(0, ("n",)), Const(2))),)
    assert big.ir.order_by == (OrderIR(Ref(0, ("n",)), desc=True),)
    assert big.ir.projection is None
    assert totals.limit(3).ir.sources[0].source is totals
    assert totals.find_one().ir.sources[0].source is totals
    again = totals.aggregate(lambda row: sum_(row.n))
    assert again.ir.sources[0].source is totals


def test_levels_after_select() -> None:
    texts = q.from_(todos).order_by("created_at").select(lambda t: {"text": t.text})
    assert texts.limit(3).ir.sources[0].source is todos
    assert texts.offset(3).ir.order_by == texts.ir.order_by
    assert texts.order_by("text").ir.sources[0].source is texts
    assert texts.select(lambda row: row["text"]).ir.sources[0].source is texts
    cut = texts.limit(3)
    assert cut.where("text", "=", "a").ir.sources[0].source is cut
    with pytest.raises(QueryError, match="call order_by after where"):
        texts.where("text", "=", "a")
    with pytest.raises(QueryError, match="call order_by after join"):
        texts.join(comments, on=lambda row, c: row["text"] == c.todo_id)
