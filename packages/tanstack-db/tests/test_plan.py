"""What each source of a query is asked for, and where its conditions are tested."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import pytest

from tanstack_db import LiveSource, LoadSubset, OpenParameterError, OrderTerm
from tanstack_db._base.delta import DeltaSink
from tanstack_db._base.ir import Call, Const, ExprIR, JoinIR, JoinKind, OrderIR, QueryIR, Ref, RowFunction, SourceIR
from tanstack_db._base.relation import Lease, Relation
from tanstack_db._execution.plan import Plan, plan


class Table(Relation):
    """A relation that is only looked at."""

    def __init__(self, name: str, *parameters: str, **renamed: str) -> None:
        self.id = name
        self.partition = ({name: name for name in parameters} | renamed) or None

    @property
    def rows(self) -> Mapping[Any, Any]:
        return {}

    def attach(self, sink: DeltaSink) -> Callable[[], None]:
        raise NotImplementedError

    def acquire(self, subset: LoadSubset, on_status: Callable[[], None]) -> Lease:
        raise NotImplementedError

    def run(self) -> None: ...

    def publish(self) -> None: ...


class Scope(LiveSource[Any]):
    def __init__(self, **fixed: Hashable) -> None:
        self.fixed = {column: (value,) for column, value in fixed.items()}

    def _demand(self) -> Mapping[str, tuple[Hashable, ...]]:
        return self.fixed


def eq(column: str, value: object, source: int = 0) -> Call:
    return Call("eq", (Ref(source, (column,)), Const(value)))


def planned(
    *tables: Table,
    where: tuple[ExprIR, ...] = (),
    kind: JoinKind = "left",
    scopes: Mapping[int, Scope] | None = None,
    order_by: tuple[OrderIR, ...] = (),
    limit: int | None = None,
    offset: int = 0,
) -> Plan:
    sources = tuple(
        SourceIR((scopes or {}).get(index, LiveSource[Any]()), table.id, index) for index, table in enumerate(tables)
    )
    joins = tuple(JoinIR(index, kind, ((Ref(0, ("id",)), Ref(index, ("parent",))),)) for index in range(1, len(tables)))
    return plan(QueryIR(sources, joins, where, order_by, limit, offset), tables)


def test_equality_and_one_of_with_constants_bind_columns_exactly() -> None:
    either_way = Call("eq", (Const(2), Ref(0, ("b",))))
    members = Call("in", (Ref(0, ("c",)), Const(frozenset({3, 1, None}))))
    nested = Call("and", (eq("a", "x"), Call("and", (either_way, members))))
    made = planned(Table("t"), where=(nested, Call("gt", (Ref(0, ("d",)), Const(0)))))
    assert made.sources[0].subset.bindings == {"a": ("x",), "b": (2,), "c": (1, 3)}
    assert made.where == ()


def test_a_binding_under_or_and_not_binds_nothing() -> None:
    made = planned(Table("t"), where=(Call("or", (eq("a", 1), eq("b", 1))), Call("not", (eq("c", 1),))))
    assert made.sources[0].subset.bindings == {}
    assert made.sources[0].dispatch is None


def test_two_bindings_of_one_column_narrow_each_other_and_null_matches_nothing() -> None:
    members = Call("in", (Ref(0, ("a",)), Const((1, 2))))
    assert planned(Table("t"), where=(members, eq("a", 2))).sources[0].subset.bindings == {"a": (2,)}
    assert planned(Table("t"), where=(eq("a", 1), eq("a", 2))).sources[0].subset.bindings == {"a": ()}
    assert planned(Table("t"), where=(eq("a", None),)).sources[0].subset.bindings == {"a": ()}


def test_a_value_without_hash_is_a_condition_but_no_binding() -> None:
    made = planned(Table("t"), where=(eq("a", [1]),))
    assert made.sources[0].subset.bindings == {}
    assert len(made.sources[0].where) == 1


def test_equal_demands_are_equal_whatever_the_order_of_values() -> None:
    one, two = (
        planned(Table("t", "p"), where=(Call("in", (Ref(0, ("p",)), Const(values))),)) for values in ((1, 2), (2, 1))
    )
    assert one.sources[0].subset == two.sources[0].subset


@pytest.mark.parametrize(
    ("kind", "pushed"),
    [("inner", (True, True)), ("left", (True, False)), ("right", (False, True)), ("full", (False, False))],
)
def test_conditions_stay_above_an_outer_join_on_the_side_that_may_be_null(
    kind: JoinKind, pushed: tuple[bool, bool]
) -> None:
    conditions = tuple(Call("is_none", (Ref(source, ("x",)),)) for source in (0, 1))
    made = planned(Table("t"), Table("c"), where=conditions, kind=kind)
    assert tuple(bool(source.where) for source in made.sources) == pushed
    assert made.where == tuple(condition for condition, below in zip(conditions, pushed, strict=True) if not below)


def test_a_condition_on_the_nullable_side_binds_what_is_loaded_and_is_still_tested() -> None:
    condition = eq("x", 1, source=1)
    made = planned(Table("t"), Table("c", "x"), where=(condition,))
    assert made.sources[1].subset.bindings == {"x": (1,)}
    assert made.sources[1].where == ()
    assert made.where == (condition,)


def test_dispatch_takes_the_column_with_the_fewest_values() -> None:
    made = planned(Table("t"), where=(Call("in", (Ref(0, ("a",)), Const((1, 2)))), eq("b", 5)))
    assert (made.sources[0].dispatch, made.sources[0].values) == ("b", (5,))


def test_an_open_parameter_names_both_fixes() -> None:
    with pytest.raises(OpenParameterError) as caught:
        planned(Table("todos", project="project_id"))
    assert caught.value.parameters == ("project",)
    assert caught.value.source == "todos"
    assert ".where(lambda row: (row.project_id == ...))" in str(caught.value)
    assert "todos.scope(project=...)" in str(caught.value)


def test_an_open_parameter_takes_the_value_of_the_same_parameter_of_another_source() -> None:
    made = planned(Table("t", "project"), Table("c", project="project_id"), where=(eq("project", "p1"),))
    assert made.sources[1].subset.bindings == {"project_id": ("p1",)}
    # Rows of other projects, loaded for other queries, are not joined.
    assert made.sources[1].where == (Call("in", (Ref(0, ("project_id",)), Const(("p1",)))),)


def test_only_parameters_are_inherited_not_columns() -> None:
    with pytest.raises(OpenParameterError):
        planned(Table("t"), Table("c", "project"), where=(eq("project", "p1"),))


def test_a_scope_binds_its_parameters_and_shows_only_their_rows() -> None:
    made = planned(Table("t", "project"), Table("c", "project"), scopes={0: Scope(project="p1")})
    only = Call("in", (Ref(0, ("project",)), Const(("p1",))))
    assert [source.subset.bindings for source in made.sources] == [{"project": ("p1",)}] * 2
    assert [source.where for source in made.sources] == [(only,), (only,)]


def test_a_scope_and_a_condition_narrow_each_other() -> None:
    made = planned(Table("t", "project"), where=(eq("project", "p2"),), scopes={0: Scope(project="p1")})
    assert made.sources[0].subset.bindings == {"project": ()}


def test_a_window_is_a_hint_where_it_can_be_cut_by_the_source() -> None:
    order = (OrderIR(Ref(0, ("a", "b")), desc=True),)
    whole = planned(Table("t"), order_by=order, limit=5, offset=10)
    assert whole.sources[0].subset == LoadSubset({}, None, (OrderTerm("a.b", desc=True),), 15)
    options = planned(Table("t"), order_by=(OrderIR(Ref(0, ("a",)), nulls="last", collation="ignore_case"),), limit=5)
    assert options.sources[0].subset.order_by == (OrderTerm("a", nulls="last", collation="ignore_case"),)
    computed = (OrderIR(Call("lower", (Ref(0, ("a",)),))),)
    assert planned(Table("t"), order_by=computed, limit=5).sources[0].subset == LoadSubset()
    by_function = (OrderIR(Ref(0, ("a",)), collation=RowFunction(len)),)
    assert planned(Table("t"), order_by=by_function, limit=5).sources[0].subset == LoadSubset()
    assert planned(Table("t"), Table("c"), order_by=order, limit=5).sources[0].subset == LoadSubset()
    # Loading by parameters, all rows of a scope come anyway, and equal demands are one load.
    by_parameter = planned(Table("t", "p"), where=(eq("p", 1), eq("q", 2)), order_by=order, limit=5)
    assert by_parameter.sources[0].subset == LoadSubset({"p": (1,)})
