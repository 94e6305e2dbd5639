"""`Query.include`: each row with the list of its children."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import pytest

from tanstack_db import (
    Change,
    Collection,
    Query,
    QueryBuilder,
    QueryError,
    Rows,
    col,
    count,
    create_collection,
    live_query,
    local_only_collection_options,
    max_,
)


@dataclass(frozen=True)
class Project:
    id: str
    owner_id: str = ""


@dataclass(frozen=True)
class Issue:
    id: str
    project_id: str | None
    rank: int = 0
    is_open: bool = True


@dataclass(frozen=True)
class Comment:
    id: str
    issue_id: str
    project_id: str = ""


@dataclass(frozen=True)
class IssueView:
    id: str
    comments: Sequence[str]


@dataclass(frozen=True)
class ProjectView:
    id: str
    issues: Sequence[IssueView]


q = QueryBuilder()


class Tables:
    """Three collections."""

    def __init__(self) -> None:
        self.projects: Collection[Project, str] = make("projects", Project)
        self.issues: Collection[Issue, str] = make("issues", Issue)
        self.comments: Collection[Comment, str] = make("comments", Comment)

    def fill(self) -> None:
        self.projects.insert(Project("p1"), Project("p2"), Project("p3"))
        self.issues.insert(Issue("i1", "p1", 2), Issue("i2", "p1", 1), Issue("i3", "p2"), Issue("i4", None))
        self.comments.insert(Comment("c1", "i1"), Comment("c2", "i1"), Comment("c3", "i3"))


def make(name: str, schema: type[Any]) -> Any:
    return create_collection(local_only_collection_options(id=name, schema=schema, get_key=lambda row: row.id))


def followed(query: Any) -> tuple[Any, list[Change[Any, Any]]]:
    told: list[Change[Any, Any]] = []
    live = live_query(query)
    live.subscribe_changes(told.extend)
    return live, told


async def test_children_are_ordered_and_cut_for_each_parent() -> None:  # f.2 38
    t = Tables()
    t.fill()
    live, told = followed(
        q.from_(t.projects)
        .order_by("id")
        .include(
            lambda p: (
                q.from_(t.issues)
                .where(lambda i: col(i.is_open) & (i.project_id == p.id))
                .order_by(lambda i: i.rank)
                .limit(2)
            )
        )
        .select(lambda p, issues: (p.id, [issue.id for issue in issues]))
    )
    assert live.get() == [("p1", ["i2", "i1"]), ("p2", ["i3"]), ("p3", [])]

    t.issues.insert(Issue("i5", "p1", 9))
    assert not told, "behind the window"
    t.issues.update("i2", is_open=False)
    assert [(change.key, change.value) for change in told] == [("p1", ("p1", ["i1", "i5"]))]
    told.clear()
    t.issues.update("i5", project_id="p3")
    assert live.get() == [("p1", ["i1"]), ("p2", ["i3"]), ("p3", ["i5"])]
    assert len(told) == 2
    t.projects.delete("p2")
    t.issues.delete("i3")
    assert [change.type for change in told[2:]] == ["delete"]


async def test_a_change_two_levels_down_touches_its_parents_only() -> None:  # f.2 38, g 13
    t = Tables()
    t.fill()
    live, told = followed(
        q.from_(t.projects)
        .include(
            lambda p: (
                q.from_(t.issues)
                .where(project_id=p.id)
                .order_by("id")
                .include(lambda i: q.from_(t.comments).where("issue_id", "=", i.id).select(lambda c: c.id))
                .select(lambda i, comments: IssueView(i.id, comments))
            )
        )
        .select(lambda p, issues: ProjectView(p.id, issues))
    )
    assert live.get()[0] == ProjectView("p1", [IssueView("i1", ["c1", "c2"]), IssueView("i2", [])])
    t.comments.insert(Comment("c4", "i2"))
    assert [change.key for change in told] == ["p1"]
    assert told[0].value == ProjectView("p1", [IssueView("i1", ["c1", "c2"]), IssueView("i2", ["c4"])])
    assert told[0].previous == ProjectView("p1", [IssueView("i1", ["c1", "c2"]), IssueView("i2", [])])
    t.comments.insert(Comment("c5", "nowhere"))
    assert len(told) == 1


async def test_several_lists_under_names_and_conditions_on_them() -> None:
    t = Tables()
    t.fill()
    query = (
        q.from_(t.issues)
        .join(t.projects, on=lambda i, p: i.project_id == p.id)
        .include(talk=lambda i, p: q.from_(t.comments).where(lambda c: c.issue_id == i.id))
        .include(siblings=lambda i, p, talk: q.from_(t.issues).where(lambda s: s.project_id == i.project_id))
        .where(lambda i, p, talk, siblings: (col(talk).length() > 0) & ~col(p).is_none())
        .order_by(lambda i, p, talk, siblings: col(siblings).length())
    )
    live, told = followed(query)
    assert [(row.issues.id, len(row.talk), len(row.siblings)) for row in live.get()] == [("i3", 1, 1), ("i1", 2, 2)]
    t.comments.delete("c3")
    assert [change.type for change in told] == ["delete"]
    total = live_query(query.select(lambda i, p, talk, siblings: len(talk)))
    assert total.get() == [2]


async def test_children_of_several_equalities_and_of_queries() -> None:
    t = Tables()
    t.fill()
    t.comments.insert(Comment("c9", "i1", "p1"), Comment("c8", "i1", "p2"))
    both = q.from_(t.issues).include(
        lambda i: q.from_(t.comments).where(lambda c: (i.id == c.issue_id) & (c.project_id == i.project_id))
    )
    assert {issue.id: [c.id for c in found] for issue, found in live_query(both).get()}["i1"] == ["c9"]

    joined = q.from_(t.projects).include(
        lambda p: (
            q.from_(t.issues)
            .inner_join(t.comments, on=lambda i, c: i.id == c.issue_id)
            .where(lambda i, c: i.project_id == p.id)
            .order_by(lambda i, c: c.id, desc=True)
            .limit(1)
        )
    )
    pairs = {project.id: [c.id for _, c in found] for project, found in live_query(joined).get()}
    assert pairs == {"p1": ["c9"], "p2": ["c3"], "p3": []}

    different = q.from_(t.projects).include(
        lambda p: q.union(t.issues, t.issues).where(lambda i: i.project_id == p.id).order_by("rank")
    )
    assert [[issue.id for issue in found] for _, found in live_query(different).get()] == [["i2", "i1"], ["i3"], []]


async def test_rows_with_lists_are_a_source_again() -> None:
    t = Tables()
    t.fill()
    with_issues = q.from_(t.projects).include(lambda p: q.from_(t.issues).where(lambda i: i.project_id == p.id))
    with pytest.raises(QueryError, match=r"call join before include, or select\(\) in between"):
        with_issues.join(owners=t.projects, on=lambda p, issues, o: p.owner_id == o.id)
    sizes = with_issues.select(lambda p, issues: {"id": p.id, "n": len(issues)})
    joined = sizes.inner_join(owners=t.projects, on=lambda size, p: size["id"] == p.id)
    assert [size["n"] for size, _ in live_query(joined).get()] == [2, 1, 0]
    views = with_issues.select(lambda p, issues: {"n": len(issues)})
    assert live_query(views.order_by("n").limit(1)).get() == [{"n": 0}]
    assert with_issues == q.from_(t.projects).include(lambda p: q.from_(t.issues).where(lambda x: p.id == x.project_id))


async def test_a_query_per_row_is_a_live_list_of_its_own() -> None:
    t = Tables()
    t.fill()
    live, told = followed(
        q.from_(t.projects).select(lambda p: (p, q.from_(t.issues).where(lambda i: i.project_id == p.id)))
    )
    (_, issues), *_ = live.get()
    assert_query: Query[Issue, Issue] = issues
    inner, heard = followed(assert_query)
    assert [issue.id for issue in inner.get()] == ["i1", "i2"]
    t.issues.insert(Issue("i6", "p1"))
    t.projects.update("p1", owner_id="u")
    assert len(heard) == 1
    assert len(told) == 1, "only the project itself"
    assert live.get()[0][1] == issues


Wrong = Callable[[Any, Tables], Any]
REFUSED: list[tuple[str, Wrong]] = [
    ("a function that returns a query", lambda p, t: None),
    ("a function that returns a query", lambda p, t: t.issues),
    ("must be compared with their parent", lambda p, t: q.from_(t.issues)),
    ("by == and nothing else; this is row.rank > parent.id", lambda p, t: q.from_(t.issues).where("rank", ">", p.id)),
    ("by == and nothing else", lambda p, t: q.from_(t.issues).where(lambda i: (i.id == p.id) | (i.rank == 1))),
    ("by == and nothing else", lambda p, t: q.from_(t.issues).where(lambda i: p.id == "p1")),
    ("a group already: write aggregate", lambda p, t: q.from_(t.issues).where(project_id=p.id).select(n=len)),
    (
        "a group already: write aggregate",
        lambda p, t: q.from_(t.issues).where(project_id=p.id).group_by("rank").aggregate(lambda i: count()),
    ),
    (
        "named where it cannot be",
        lambda p, t: q.from_(t.issues).where(project_id=p.id).select(lambda i: i).order_by("rank"),
    ),
    (
        "named where it cannot be",
        lambda p, t: q.from_(t.issues).where(project_id=p.id).order_by(lambda i: i.id + p.id),
    ),
    (
        "no parent of the parent",
        lambda p, t: q.from_(t.issues).where(project_id=p.id).include(
            lambda i: q.from_(t.comments).where(lambda c: (c.issue_id == i.id) & (c.project_id == p.id))
        ),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("message", "children"), REFUSED)
def test_what_is_refused(message: str, children: Wrong) -> None:
    t = Tables()
    with pytest.raises(QueryError, match=message):
        q.from_(t.projects).include(lambda p: children(cast("Any", p), t))


def test_what_else_is_refused() -> None:
    t = Tables()
    parents: list[Any] = []

    def issues_of(p: Project) -> Query[Issue, Issue]:
        parents.append(p)
        return q.from_(t.issues).where(lambda i: i.project_id == p.id)

    query = q.from_(t.projects).include(issues_of)
    with pytest.raises(QueryError, match="known to the conditions of its children only"):
        parents[0].id  # noqa: B018
    with pytest.raises(QueryError, match=r"two sources of the query are called 'issues'.*include\(issues_2=lambda"):
        query.include(lambda p, issues: q.from_(t.issues).where(lambda i: i.project_id == p.id))
    with pytest.raises(QueryError, match="include takes one function"):
        cast("Any", query).include()
    with pytest.raises(QueryError, match="include after select\\(\\) would lose the order"):
        q.from_(t.projects).order_by("id").select(lambda p: p).include(issues_of)
    rows: Rows[Any] = live_query(q.from_(t.projects)).get()
    assert rows == []


# -- one child, and totals ---------------------------------------------------------------------------------------------


def test_the_first_child() -> None:
    tables = Tables()
    tables.fill()
    query, told = followed(
        q.from_(tables.projects)
        .include(
            first=lambda p: q.from_(tables.issues).where(lambda i: i.project_id == p.id).order_by("rank").find_one()
        )
        .select(lambda project, issue: (project.id, issue and issue.id))
    )
    assert query.get() == [("p1", "i2"), ("p2", "i3"), ("p3", None)]

    tables.issues.insert(Issue("i5", "p1", 3))  # behind the first
    assert told == []
    tables.issues.delete("i2")
    tables.issues.insert(Issue("i6", "p3"))
    tables.issues.delete("i3")
    assert query.get() == [("p1", "i1"), ("p2", None), ("p3", "i6")]
    assert [change.key for change in told] == ["p1", "p3", "p2"]


def test_conditions_and_order_see_the_first_child() -> None:
    tables = Tables()
    tables.fill()
    with_first = q.from_(tables.projects).include(
        first=lambda p: q.from_(tables.issues).where(lambda i: i.project_id == p.id).order_by("rank").find_one()
    )
    query, _ = followed(with_first.where(lambda p, first: col(first).rank < 2).order_by(lambda p, first: col(first).id))
    assert [project.id for project, _ in query.get()] == ["p1", "p2"]

    tables.issues.update("i2", rank=9)  # now i1 is the first of p1, with rank 2: it was not picked for the condition
    assert [project.id for project, _ in query.get()] == ["p2"]
    with pytest.raises(QueryError, match="no column 'rnk'; did you mean 'rank'"):
        with_first.where(lambda p, first: cast("Any", first).rnk < 2)


def test_totals_of_children() -> None:
    tables = Tables()
    tables.fill()
    query, told = followed(
        q.from_(tables.projects)
        .include(
            totals=lambda p: (
                q.from_(tables.issues)
                .where(lambda i: i.project_id == p.id)
                .aggregate(lambda i: {"issues": count(), "rank": max_(i.rank)})
            )
        )
        .where(lambda p, totals: col(totals)["issues"] >= 0)
    )
    assert [totals for _, totals in query.get()] == [
        {"issues": 2, "rank": 2},
        {"issues": 1, "rank": 0},
        {"issues": 0, "rank": None},
    ]

    tables.issues.update("i2", is_open=False)  # counts as before
    assert told == []
    tables.issues.update("i2", project_id="p3")
    tables.issues.delete("i3")
    assert [totals for _, totals in query.get()] == [
        {"issues": 1, "rank": 2},
        {"issues": 0, "rank": None},
        {"issues": 1, "rank": 1},
    ]
    assert [change.key for change in told] == ["p1", "p3", "p2"]


def test_a_plain_total_is_compared_as_it_is() -> None:
    tables = Tables()
    tables.fill()
    query, _ = followed(
        q.from_(tables.projects)
        .include(
            number=lambda p: q.from_(tables.issues).where(lambda i: i.project_id == p.id).aggregate(lambda i: count())
        )
        .where(lambda p, number: number > 0)
        .order_by(lambda p, number: number, desc=True)
        .select(lambda project, number: (project.id, number))
    )
    assert query.get() == [("p1", 2), ("p2", 1)]

    tables.issues.insert(Issue("i5", "p2"), Issue("i6", "p2"))
    assert query.get() == [("p2", 3), ("p1", 2)]
