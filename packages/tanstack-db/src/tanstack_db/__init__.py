"""Reactive client store: collections, optimistic transactions, incrementally maintained live queries.

Layers, each using only those below it. Those without a blank line between them do not know each other. import-linter
holds both, and each folder's ``__init__`` maps its modules.

==================  ====================================================================================================
``react``           the hooks of component frameworks, here and in ``solara`` and ``flet``
``nicegui``         pages that follow live queries
``textual``         widgets that follow live queries

``hooks``           the hooks, written once over four primitives

``testing``         a virtual clock, and sources that a test drives

``_live``           what applications hold of running queries: `live_query`, pages, effects
``shapes``          `shape_collection_options`: collections that follow a log
``_actions``        functions that write: `create_optimistic_action`, `create_paced_mutations`

``_execution``      what runs for a query, once per client for equal ones
``_sources``        recipes for collections: `collection_options` and its kin

``query``           `QueryBuilder`: what a query says, and how that becomes functions of rows
``_collections``    `Collection`: reads, optimistic writes; `DbClient`: one user's collections and tasks

``ivm``             the operators: keyed deltas in, keyed deltas out
``_sync``           the contract with a collection's source: what it writes, when it runs, which subsets it loads
``_transactions``   `Transaction`: pending, persisting, completed or failed; the optimistic rows on top of the others

``rows``            rows of any class: columns, copies, JSON forms

``_base``           deltas, batches in two phases, relations, and the trees of what a query says

``_errors``         `DbError` and its kin
==================  ====================================================================================================
"""

from ._actions.optimistic import create_optimistic_action
from ._actions.paced import PacedMutations, Strategy, create_paced_mutations, debounce, queue, throttle
from ._base.relation import Cursor, Lease, LiveSource, LoadSubset, OrderTerm
from ._base.snapshot import JoinRow, Rows
from ._collections.client import (
    CollectionOptions,
    DbClient,
    create_collection,
    current_client,
    default_client,
    require_sessions,
    transact,
    transaction,
)
from ._collections.collection import Collection
from ._collections.config import CollectionConfig, DeleteHandler, Handler
from ._collections.core import CollectionEvent
from ._collections.subscription import Change
from ._errors import (
    CollectionStateError,
    DbError,
    DuplicateKeyError,
    KeyChangedError,
    MissingHandlerError,
    NoRunningLoopError,
    NoSessionError,
    OpenParameterError,
    QueryError,
    RowError,
    SchemaError,
    SourceError,
    SyncContractError,
    TransactionError,
    UnknownColumnError,
    UnknownKeyError,
    UsageError,
)
from ._execution.explain import Explanation, Operator
from ._execution.paging import WindowMove
from ._live.effect import Effect, create_effect
from ._live.live_query import LiveQuery, live, live_query, query_once
from ._live.pages import InfiniteQuery, Page, PagedQuery, Pages, infinite_query, paged_query
from ._sources.options import LocalOnlyCollection, collection_options, local_only_collection_options
from ._sources.query_collection import QueryCollection, QueryFn, query_collection_options
from ._sync.contract import Cleanup, Source, SubsetStatus, SyncContext, SyncRun
from ._sync.lifecycle import Status
from ._sync.subsets import Comparison, comparisons
from ._transactions.mutation import Mutation, MutationType
from ._transactions.transaction import Persist, Transaction, TransactionState, Tx, current_transaction
from ._version import __version__
from .query import (
    Expr,
    Grouped,
    One,
    Query,
    QueryBuilder,
    avg,
    case,
    col,
    collect,
    concat,
    count,
    count_if,
    max_,
    min_,
    sum_,
)

__all__ = [
    "Change",
    "Cleanup",
    "Collection",
    "CollectionConfig",
    "CollectionEvent",
    "CollectionOptions",
    "CollectionStateError",
    "Comparison",
    "Cursor",
    "DbClient",
    "DbError",
    "DeleteHandler",
    "DuplicateKeyError",
    "Effect",
    "Explanation",
    "Expr",
    "Grouped",
    "Handler",
    "InfiniteQuery",
    "JoinRow",
    "KeyChangedError",
    "Lease",
    "LiveQuery",
    "LiveSource",
    "LoadSubset",
    "LocalOnlyCollection",
    "MissingHandlerError",
    "Mutation",
    "MutationType",
    "NoRunningLoopError",
    "NoSessionError",
    "One",
    "OpenParameterError",
    "Operator",
    "OrderTerm",
    "PacedMutations",
    "Page",
    "PagedQuery",
    "Pages",
    "Persist",
    "Query",
    "QueryBuilder",
    "QueryCollection",
    "QueryError",
    "QueryFn",
    "RowError",
    "Rows",
    "SchemaError",
    "Source",
    "SourceError",
    "Status",
    "Strategy",
    "SubsetStatus",
    "SyncContext",
    "SyncContractError",
    "SyncRun",
    "Transaction",
    "TransactionError",
    "TransactionState",
    "Tx",
    "UnknownColumnError",
    "UnknownKeyError",
    "UsageError",
    "WindowMove",
    "__version__",
    "avg",
    "case",
    "col",
    "collect",
    "collection_options",
    "comparisons",
    "concat",
    "count",
    "count_if",
    "create_collection",
    "create_effect",
    "create_optimistic_action",
    "create_paced_mutations",
    "current_client",
    "current_transaction",
    "debounce",
    "default_client",
    "infinite_query",
    "live",
    "live_query",
    "local_only_collection_options",
    "max_",
    "min_",
    "paged_query",
    "query_collection_options",
    "query_once",
    "queue",
    "require_sessions",
    "sum_",
    "throttle",
    "transact",
    "transaction",
]
