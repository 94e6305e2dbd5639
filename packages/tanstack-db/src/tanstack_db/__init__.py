"""Reactive client store: collections, optimistic transactions, incrementally maintained live queries.

Layers, each using only those below it:

=====================  =================================================================================================
``react`` ``solara``   the hooks of component frameworks, and ``flet``; ``hooks`` has them once, over four primitives
``nicegui``            pages that follow live queries, and ``textual`` widgets; ``_keyed``: row by row
``_effect``            `create_effect`: functions that are called as rows enter and leave a result
``_live``              `live_query`: handles of live results; ``_result`` is what runs, once per client and query
``_pages``             `infinite_query`, `paged_query`: long results in pieces
``_paging``            what a windowed query loads from an on-demand source
``_pipeline``          a query's stages; ``_plan`` decides what its sources are asked for, ``_changes`` what is told
``_pushdown``          what a query knows about its sources' rows; tells it to subqueries that load by parameters
``_explain``           `LiveQuery.explain`; ``_meter`` counts the work of the stages, once somebody asks
``query``              `QueryBuilder`: what a query says, and how that becomes functions of rows
``ivm``                the operators: keyed deltas in, keyed deltas out
``_actions``           `create_optimistic_action`: what to show and whom to tell, as one function
``_paced``             `create_paced_mutations`: shown at once, sent at a pace; ``_pacing`` says when
``_query_collection``  `query_collection_options`: rows that a function fetches; ``_fetching`` says when
``shapes``             `shape_collection_options`: rows that follow a log; ``_shape_log`` is its protocol without I/O
``_direct``            writes below the optimistic rows
``_options``           recipes: `collection_options`, `local_only_collection_options`
``_collection``        `Collection`: reads, optimistic writes; ``_core`` has the hooks for other collection types
``_client``            `DbClient`: one user's collections and tasks; `transact`, `transaction`, sessions
``_transaction``       `Transaction`, `Tx`: pending, persisting, completed or failed; ``_work`` is their state machine
``_sync``              the contract with a collection's source; ``_demand`` adds subsets, ``_lifecycle`` statuses
``_overlay``           visible rows: synced ones with optimistic ones on top; ``_subscription`` tells who hears of them
``rows``               rows of any class: columns, copies, JSON forms
``_subsets``           what demands have in common; `comparisons`: their predicates for backends
``_relation``          what the engine reads, and asks for
``_batch``, ``_delta`` batches in two phases, and the keyed deltas that they carry
=====================  =================================================================================================
"""

from ._actions import create_optimistic_action
from ._client import (
    CollectionOptions,
    DbClient,
    create_collection,
    current_client,
    default_client,
    require_sessions,
    transact,
    transaction,
)
from ._collection import Collection
from ._config import CollectionConfig, DeleteHandler, Handler
from ._core import CollectionEvent
from ._effect import Effect, create_effect
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
from ._explain import Explanation, Operator
from ._lifecycle import Status
from ._live import LiveQuery, live, live_query, query_once
from ._mutation import Mutation, MutationType
from ._options import LocalOnlyCollection, collection_options, local_only_collection_options
from ._paced import PacedMutations, Strategy, create_paced_mutations, debounce, queue, throttle
from ._pages import InfiniteQuery, Page, PagedQuery, Pages, infinite_query, paged_query
from ._paging import WindowMove
from ._query_collection import QueryCollection, QueryFn, query_collection_options
from ._relation import Cursor, Lease, LiveSource, LoadSubset, OrderTerm
from ._snapshot import JoinRow, Rows
from ._subscription import Change
from ._subsets import Comparison, comparisons
from ._sync import Cleanup, Source, SubsetStatus, SyncContext, SyncRun
from ._transaction import Persist, Transaction, TransactionState, Tx, current_transaction
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
