"""The sources of a query: what they are called, what is known about their rows, and how string paths find columns."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from typing_extensions import TypeIs

from .._base.ir import IncludeIR, QueryIR, Ref, SourceIR
from .._base.relation import LiveSource
from .._errors import QueryError, UnknownColumnError
from ._trace import Shape

__all__ = ["is_source", "one_source", "resolve", "row_sources", "shape_of", "shapes_of", "source_ir"]


def is_source(value: object) -> TypeIs[LiveSource[Any]]:
    """Whether a query can be asked to read `value`."""
    return isinstance(value, LiveSource)


def source_ir(source: object, name: str | None = None) -> SourceIR:
    """Return a source of a level.

    Args:
        source: a collection, a scope of one, or a query.
        name: what the query calls it; else it goes by its id, a query by the name of its first source.

    Raises:
        QueryError: it is no source.
    """
    if not is_source(source):
        hint = ": make a collection of it, create_collection(options)" if hasattr(source, "build") else ""
        raise QueryError(f"a query reads collections, scopes and queries, not {source!r}{hint}")
    ir = getattr(source, "ir", None)
    if isinstance(ir, QueryIR) and ir.single:
        raise QueryError("a query of one row (find_one, aggregate, select of totals) has no rows to be read from")
    if name is None:
        name = ir.sources[0].name if isinstance(ir, QueryIR) else str(getattr(source, "id", "rows"))
    return SourceIR(source, name, _key(source))


def one_source(
    what: str, positional: tuple[object, ...], named: Mapping[str, object], taken: Sequence[SourceIR] = ()
) -> SourceIR:
    """Return the one source that a call names.

    Raises:
        QueryError: none or several, no source, or a name that is taken.
    """
    if len(positional) + len(named) != 1:
        raise QueryError(f"{what} takes one source, as in {what}(todos) or {what}(todos=todos)")
    if positional:
        source = source_ir(positional[0])
    else:
        name, value = next(iter(named.items()))
        source = source_ir(value, name)
    if any(other.name == source.name for other in taken):
        raise QueryError(
            f"two sources of the query are called {source.name!r}: name one, as in {what}({source.name}_2=...)"
        )
    return source


class _United(LiveSource[Any]):
    """The sources of a union as one: something to name columns of, never opened."""

    def __init__(self, sources: Sequence[SourceIR]) -> None:
        self.shapes = frozenset(replace(shape, name="") for shape in shapes_of(sources))


class _Included(LiveSource[Any]):
    """What an include adds to a row: something to name columns of, never opened."""

    def __init__(self, include: IncludeIR, source: SourceIR) -> None:
        if include.totals is not None or (include.single and include.projection is not None):
            self.shape = Shape(source.name, is_made=True)
        elif include.single:
            self.shape = shape_of(source)
        else:
            self.shape = Shape(source.name, frozenset())  # a list has no columns


def row_sources(level: QueryIR) -> tuple[SourceIR, ...]:
    """Return what the rows of a level consist of: its sources, of which a union counts as one."""
    if level.union:
        return (SourceIR(_United(level.sources), level.sources[0].name, None),)
    if not level.has_includes:
        return level.sources
    included = {join.index: join for join in level.joins if join.kind == "include"}
    return tuple(
        SourceIR(_Included(included[index], source), source.name, None) if index in included else source
        for index, source in enumerate(level.sources)
    )


def shape_of(source: SourceIR) -> Shape:
    """Return what is known about a source's rows."""
    if isinstance(source.source, _United):
        # What not all of them have is absent from the others, so nothing is known to be misspelt.
        shapes = source.source.shapes
        return replace(next(iter(shapes)), name=source.name) if len(shapes) == 1 else Shape(source.name)
    if isinstance(source.source, _Included):
        return source.source.shape
    ir = getattr(source.source, "ir", None)
    if not isinstance(ir, QueryIR):
        columns = getattr(source.source, "columns", None)
        return Shape(source.name, columns, getattr(source.source, "schema", None))
    if ir.projection is not None:
        return Shape(source.name, is_made=True)
    if ir.width == 1:
        inner = shape_of(row_sources(ir)[0])
        return replace(inner, name=source.name)
    names = tuple(inner.name for inner in ir.sources)
    return Shape(source.name, frozenset(names), None, names)


def shapes_of(sources: Sequence[SourceIR]) -> tuple[Shape, ...]:
    """Return `shape_of` each."""
    return tuple(map(shape_of, sources))


def resolve(path: object, sources: Sequence[SourceIR]) -> Ref:
    """Return the column that a path means.

    A path may begin with the name of a source; with several it must, unless only one of them has such a column.

    Raises:
        QueryError: no path, or it is not clear whose column it is.
        UnknownColumnError: there is no such column.
    """
    if not isinstance(path, str) or not all(path.split(".")):
        raise QueryError(f"a column is named by a path such as 'project_id' or 'todos.project_id', not {path!r}")
    first, *rest = path.split(".")
    names = [source.name for source in sources]
    if rest and first in names:
        index, steps = names.index(first), rest
    else:
        index, steps = _owner(path, first, sources), [first, *rest]
    shape_of(sources[index]).check(steps[0])
    return Ref(index, tuple(steps))


def _owner(path: str, column: str, sources: Sequence[SourceIR]) -> int:
    if len(sources) == 1:
        return 0
    shapes = shapes_of(sources)
    known = [shape.columns for shape in shapes]
    owners = [index for index, columns in enumerate(known) if columns is None or column in columns]
    if len(owners) == 1:
        return owners[0]
    names = " and ".join(shape.name for shape in shapes)
    if not owners:
        everything = frozenset[str]().union(*(columns for columns in known if columns is not None))
        raise UnknownColumnError(names, column, everything.union(shape.name for shape in shapes if "." in path))
    raise QueryError(f"whose column is {path!r}? Write it with its source, as in {shapes[0].name + '.' + path!r}")


def _key(source: LiveSource[Any]) -> Hashable:
    try:
        hash(source)
    except TypeError:
        return id(source)
    return source
