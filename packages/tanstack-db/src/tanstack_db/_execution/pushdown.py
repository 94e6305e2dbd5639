"""Tells subqueries what the query that reads them says about their rows.

Subqueries are shared by all queries that read them, so as a rule conditions stay where they are. But a source that
loads by parameters must know these, also below a subquery: what the outer query binds is then added to the
subquery's own conditions.

A column is *known* when it has one of some values, or is null, in every shown row: it is compared with constants by
``==`` or `one_of`, it is a parameter of a scope, or a join or an include compares it with a column that is known. It is
*certain* when it is not even null. Through an outer join knowledge goes only where no row is shown that lacks a match
because of it: adding a condition on a known column leaves out rows that would not be shown.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from .._base.ir import Call, Const, ExprIR, IncludeIR, JoinIR, QueryIR, Ref
from .._base.relation import LiveSource
from ..query._built import Built

if TYPE_CHECKING:
    from .._collections.client import DbClient

__all__ = ["known_columns", "open_sources"]

Path: TypeAlias = tuple[str, ...]
Column: TypeAlias = tuple[int, Path]
"""Source and path."""

Known: TypeAlias = dict[Column, tuple[Hashable, ...]]


def known_columns(ir: QueryIR) -> Known:
    """Return the columns of a query's sources whose values are known."""
    known: Known = {}
    for condition in ir.where:
        for column, values in _compared(condition):
            for source in range(len(ir.sources)) if ir.union else (column.source,):
                known.setdefault((source, column.path), values)
    certain = set(known)
    for source, item in enumerate(ir.sources):
        for name, values in item.source._demand().items():
            known.setdefault((source, (name,)), values)
    pairs = [(left, right, join.kind) for join in ir.joins for left, right in _columns(join, ir)]
    size = -1
    while size < len(known):
        size = len(known)
        for left, right, kind in pairs:
            _pass_on(
                left, right, known, certain, is_certain=kind in ("inner", "right"), lacks=kind in ("right", "full")
            )
            if kind != "include":  # children do not decide which parents are shown
                _pass_on(
                    right, left, known, certain, is_certain=kind in ("inner", "left"), lacks=kind in ("left", "full")
                )
    return known


def _pass_on(
    source: Column, target: Column, known: Known, certain: set[Column], *, is_certain: bool, lacks: bool
) -> None:
    """Make a column known that a join compares with another.

    Args:
        source: the column that may be known.
        target: the other one.
        known: what is known so far; added to.
        certain: which of these are not null; added to.
        is_certain: whether a row with a `source` that is not null has a `target`.
        lacks: whether rows of the target are shown without a match.
    """
    if source not in known or target in known or (lacks and source not in certain):
        return
    known[target] = known[source]
    if is_certain and source in certain:
        certain.add(target)


def open_sources(ir: QueryIR, client: DbClient) -> tuple[LiveSource[Any], ...]:
    """Return the sources of a query to be opened: subqueries that load by parameters are told what is known."""
    queries = [index for index, item in enumerate(ir.sources) if isinstance(item.source, Built)]
    needing = {index for index in queries if _loads_by_parameters(ir.sources[index].source, client)}
    if not needing:
        return tuple(item.source for item in ir.sources)
    known = known_columns(ir)
    if not ir.union:
        _share_by_name(ir, client, known)
    opened: list[LiveSource[Any]] = []
    for index, item in enumerate(ir.sources):
        source = item.source
        if index in needing:
            inner: QueryIR = cast("Any", source).ir
            told = [
                Call("in", (column, Const(values)))
                for (owner, path), values in known.items()
                if owner == index and (column := _inside(inner, path)) is not None
            ]
            source = Built[Any](replace(inner, where=(*inner.where, *told))) if told else source
        opened.append(source)
    return tuple(opened)


def _compared(condition: ExprIR) -> Iterator[tuple[Ref, tuple[Hashable, ...]]]:
    if not isinstance(condition, Call):
        return
    if condition.op == "and":
        for part in condition.args:
            yield from _compared(part)
    if condition.op not in ("eq", "in"):
        return
    left, right = condition.args
    if isinstance(left, Const):
        left, right = right, left
    if isinstance(left, Ref) and left.path and isinstance(right, Const):
        values = cast("Iterable[Any]", right.value) if condition.op == "in" else (right.value,)
        hashable = tuple(value for value in values if value is not None)
        try:
            hash(hashable)
        except TypeError:
            return
        yield left, tuple(sorted(hashable, key=lambda value: (type(value).__name__, repr(value))))


def _columns(join: JoinIR | IncludeIR, ir: QueryIR) -> Iterator[tuple[Column, Column]]:
    """Iterate over the pairs of columns that a join or an include compares."""
    for left, right in join.on:
        if isinstance(left, Ref) and isinstance(right, Ref):
            path = right.path
            if isinstance(join, IncludeIR) and join.width > 1:
                # The children's level is a subquery here, whose rows have its sources as columns.
                children: QueryIR = cast("Any", ir.sources[join.index].source).ir
                path = (children.sources[right.source].name, *path)
            yield (left.source, left.path), (join.index, path)


def _inside(ir: QueryIR, path: Path) -> Ref | None:
    """Return the column of a subquery's level that a column of its rows is; None where that cannot be said."""
    if not _is_transparent(ir):
        return None
    if ir.width == 1:
        return Ref(0, path)
    names = [source.name for source in ir.sources]
    lists = {join.index for join in ir.joins if join.kind == "include"}
    if len(path) < 2 or path[0] not in names or names.index(path[0]) in lists:
        return None
    return Ref(names.index(path[0]), path[1:])


def _is_transparent(ir: QueryIR) -> bool:
    """Whether leaving out rows of the result is leaving out rows of the sources: not where a window counts them."""
    return ir.projection is None and ir.limit is None and not ir.offset


def _loads_by_parameters(source: LiveSource[Any], client: DbClient) -> bool:
    ir = getattr(source, "ir", None)
    if isinstance(ir, QueryIR):
        return any(_loads_by_parameters(item.source, client) for item in ir.sources)
    return source._open(client).partition is not None


def _parameters(source: LiveSource[Any], client: DbClient) -> Mapping[str, Path]:
    """Return the columns of a source's rows that are parameters below it, by the parameter's name."""
    ir = getattr(source, "ir", None)
    if not isinstance(ir, QueryIR):
        return {name: (column,) for name, column in (source._open(client).partition or {}).items()}
    if not _is_transparent(ir) or ir.union:
        return {}
    found: dict[str, Path] = {}
    for item in ir.sources:
        for name, path in _parameters(item.source, client).items():
            found.setdefault(name, path if ir.width == 1 else (item.name, *path))
    return found


def _share_by_name(ir: QueryIR, client: DbClient, known: Known) -> None:
    """A parameter that stays open takes the values of the parameter of the same name of another source."""
    columns = [_parameters(item.source, client) for item in ir.sources]
    given: dict[str, tuple[Hashable, ...]] = {}
    for index, parameters in enumerate(columns):
        for name, path in parameters.items():
            if (index, path) in known:
                given.setdefault(name, known[index, path])
    for index, parameters in enumerate(columns):
        for name, path in parameters.items():
            if name in given:
                known.setdefault((index, path), given[name])
