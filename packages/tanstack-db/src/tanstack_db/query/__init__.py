"""Queries: what they say, and how that becomes functions of rows.

================  ==================================================================================================
``_builder``      `QueryBuilder`: where a query begins
``_query``        `Query`, `Grouped`: immutable, typed; ``_clauses`` reads each clause's forms
``_levels``       whether a clause belongs to a query's level or begins another, as after a projection
``_built``        `One`, and what all queries have in common
``_includes``     the children of `Query.include`, parted from what names their parent
``_aggregates``   `count` and its kin; ``_grouping`` traces the function that calls them, and replays it per result
``_sources``      names, columns and string paths
``_functions``    `concat` and `case`
``_trace``        runs a lambda with stand-ins for rows; ``_expr`` has `Expr`, what their columns are, and `col`
``_compile``      expressions to generated Python functions
``_text``         expressions as text, for `explain`
================  ==================================================================================================

The trees that all of these pass on are in ``_base.ir``.
"""

from ._aggregates import avg, collect, count, count_if, max_, min_, sum_
from ._builder import QueryBuilder
from ._built import One
from ._expr import Expr, col
from ._functions import case, concat
from ._query import Cond, Grouped, Op, Query, Source

__all__ = [
    "Cond",
    "Expr",
    "Grouped",
    "One",
    "Op",
    "Query",
    "QueryBuilder",
    "Source",
    "avg",
    "case",
    "col",
    "collect",
    "concat",
    "count",
    "count_if",
    "max_",
    "min_",
    "sum_",
]
