"""What demands say to a source, and which of them have the rows of others."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tanstack_db import (
    Collection,
    Comparison,
    Cursor,
    DbClient,
    LoadSubset,
    OrderTerm,
    Query,
    QueryBuilder,
    SubsetStatus,
    SyncContext,
    SyncRun,
    col,
    collection_options,
    comparisons,
    live_query,
    local_only_collection_options,
)
from tanstack_db._base.ir import Call
from tanstack_db._sync.subsets import covers, cursor_after
from tanstack_db.query._compile import predicate

Row = dict[str, Any]


class Backend:
    """Has every row, and notes what it is asked to load and unload."""

    def __init__(self, client: DbClient, *rows: Row) -> None:
        self.rows = rows
        self.log: list[tuple[str, LoadSubset]] = []
        self.statuses: list[SubsetStatus] = []
        self.collection: Collection[Row, Any] = client.build(
            collection_options(id="rows", get_key=lambda row: row["id"], sync=self.sync, sync_mode="on-demand")
        )

    def sync(self, ctx: SyncContext[Row, Any], /) -> SyncRun:
        ctx.begin()
        for row in self.rows:
            ctx.insert(row)
        ctx.commit()
        ctx.mark_ready()
        return SyncRun(load_subset=self.load, unload_subset=self.unload)

    def load(self, subset: LoadSubset, status: SubsetStatus) -> None:
        self.log.append(("load", subset))
        self.statuses.append(status)

    def unload(self, subset: LoadSubset) -> None:
        self.log.append(("unload", subset))


@pytest.fixture
def client() -> DbClient:
    return DbClient()


@pytest.fixture
def source(client: DbClient) -> Collection[Row, Any]:
    return client.build(local_only_collection_options(id="rows", get_key=lambda row: row["id"]))


def condition(query: Query[Row, Row]) -> Any:
    """Return the predicate of a query."""
    return query.ir.where[0] if len(query.ir.where) == 1 else Call("and", query.ir.where)


def test_a_predicate_comes_as_comparisons_where_it_is_that_simple(source: Collection[Row, Any]) -> None:
    rows = QueryBuilder().from_(source)
    query = rows.where(
        lambda t: (
            (t["a"] == 1)
            & (2 < t["b"])  # noqa: SIM300 -- the other way round
            & col(t["c"]).one_of(["x", "y"])
            & ~col(t["d"]).is_none()
            & col(t["done"])
        )
    )

    assert comparisons(condition(query)) == (
        Comparison("a", "eq", 1),
        Comparison("b", "gt", 2),
        Comparison("c", "in", ("x", "y")),
        Comparison("d", "is_none", None, negated=True),
        Comparison("done", "eq", value=True),
    )
    assert comparisons(None) == ()
    assert comparisons(condition(rows.where(lambda t: (t["a"] == 1) | (t["b"] == 2)))) is None
    assert comparisons(condition(rows.where(lambda t: t["a"] == t["b"]))) is None
    assert comparisons(condition(rows.where(lambda t: col(t["a"]).lower() == "x"))) is None


values = st.none() | st.integers(0, 3)


@given(st.lists(values, min_size=1, max_size=8), st.data(), st.booleans(), st.sampled_from(["first", "last"]))
def test_a_cursor_parts_the_rows_at_one_of_them(
    column: list[int | None], data: st.DataObject, desc: bool, nulls: Any
) -> None:
    """Kills: a null boundary that lets nothing follow; nulls at the other end; the direction turned."""
    term = OrderTerm("n", desc=desc, nulls=nulls)
    at = data.draw(st.sampled_from(column))
    cursor = cursor_after(term, at, last_key=7)

    def place(value: int | None) -> tuple[bool, int]:
        if value is None:
            return nulls == "last", 0
        return nulls == "first", -value if desc else value

    def test(where: Any) -> list[int | None]:
        matches = predicate([where], sources=1, accessors=["item"])
        return [value for value in column if matches({"n": value})]

    assert test(cursor.where_from) == [value for value in column if place(value) > place(at)]
    assert test(cursor.where_current) == [value for value in column if value == at]


def test_the_cursor_of_an_order_without_case_has_no_case(source: Collection[Row, Any]) -> None:
    cursor = cursor_after(OrderTerm("n", collation="ignore_case"), "B", last_key=7)
    matches = predicate([cursor.where_from], sources=1, accessors=["item"])
    assert [text for text in "aBbC" if matches({"n": text})] == ["C"]


def of_project(*projects: str, **more: Any) -> LoadSubset:
    return LoadSubset({"project": projects}, **more)


by_n = (OrderTerm("n"),)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (LoadSubset(), of_project("p"), True),
        (of_project("p", "q"), of_project("q"), True),
        (of_project("p"), of_project("p", "q"), False),
        (of_project("p"), LoadSubset(), False),
        (of_project("p"), of_project("p", order_by=by_n, limit=5), True),
        (of_project("p", order_by=by_n, limit=5), of_project("p", order_by=by_n, limit=3), True),
        (of_project("p", order_by=by_n, limit=5), of_project("p", order_by=by_n, limit=6), False),
        (of_project("p", order_by=by_n, limit=5), of_project("p", limit=5), False),
        (of_project("p", "q", order_by=by_n, limit=5), of_project("p", order_by=by_n, limit=5), False),
        (of_project("p", order_by=by_n, limit=5), of_project("p"), False),
        (LoadSubset(order_by=by_n, limit=5, offset=5), LoadSubset(order_by=by_n, limit=5), False),
        (
            LoadSubset(order_by=by_n, limit=5, offset=5, cursor=Cursor(None, None, 1)),
            LoadSubset(order_by=by_n, limit=5, offset=5, cursor=Cursor(None, None, 2)),
            False,
        ),
    ],
)
def test_which_demand_has_the_rows_of_another(one: LoadSubset, other: LoadSubset, expected: bool) -> None:
    assert covers(one, other) is expected


def test_a_demand_with_fewer_conditions_has_the_rows_of_one_with_more(source: Collection[Row, Any]) -> None:
    rows = QueryBuilder().from_(source)
    small = condition(rows.where(lambda t: t["n"] < 5))
    both = condition(rows.where(lambda t: (t["n"] < 5) & (t["a"] == 1)))
    assert covers(LoadSubset(where=small), LoadSubset(where=both))
    assert not covers(LoadSubset(where=both), LoadSubset(where=small))
    assert covers(LoadSubset({"a": (1,)}, where=both), LoadSubset({"a": (1,)}, where=both, limit=3, order_by=by_n))


def test_a_query_whose_rows_are_there_asks_for_nothing_until_the_other_leaves(client: DbClient) -> None:
    """g 15."""
    backend = Backend(client, {"id": 1, "project": "p"})
    whole = live_query(backend.collection, client=client)
    part = live_query(lambda q: q.from_(backend.collection).where(project="p"), client=client)
    stops = [query.subscribe(lambda: None) for query in (whole, part)]
    assert backend.log == [("load", LoadSubset())]
    assert not part.is_ready
    backend.statuses[0].mark_ready()
    assert part.is_ready

    stops[0]()
    (loaded,) = [subset for what, subset in backend.log[1:] if what == "load"]
    assert [what for what, _ in backend.log] == ["load", "load", "unload"]
    assert loaded.bindings == {"project": ("p",)}
    assert part.is_ready
    backend.statuses[1].mark_error(ValueError("gone"))
    assert isinstance(part.error, ValueError)

    stops[1]()
    assert backend.log[3:] == [("unload", loaded)]
