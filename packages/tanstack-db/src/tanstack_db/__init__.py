"""Reactive client store: collections, optimistic transactions, incrementally maintained live queries.

Layers, each using only those below it:

=====================  =================================================================================================
``_options``           recipes: `collection_options`, `local_only_collection_options`
``_collection``        `Collection`: reads, optimistic writes; ``_core`` has the hooks for other collection types
``_client``            `DbClient`: one user's collections and tasks; `transact`, `transaction`, sessions
``_transaction``       `Transaction`, `Tx`: pending, persisting, completed or failed; ``_work`` is their state machine
``_sync``              the contract with a collection's source; ``_demand`` adds subsets, ``_lifecycle`` statuses
``_overlay``           visible rows: synced ones with optimistic ones on top; ``_subscription`` tells who hears of them
``_rows``              rows of any class: columns, copies, JSON forms
``_relation``          what the engine reads, and asks for
``_batch``, ``_delta`` batches in two phases, and the keyed deltas that they carry
=====================  =================================================================================================
"""

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
from ._lifecycle import Status
from ._mutation import Mutation, MutationType
from ._options import LocalOnlyCollection, collection_options, local_only_collection_options
from ._relation import Lease, LiveSource, LoadSubset, OrderTerm
from ._subscription import Change
from ._sync import Cleanup, Source, SubsetStatus, SyncContext, SyncRun
from ._transaction import Persist, Transaction, TransactionState, Tx, current_transaction
from ._version import __version__

__all__ = [
    "Change",
    "Cleanup",
    "Collection",
    "CollectionConfig",
    "CollectionEvent",
    "CollectionOptions",
    "CollectionStateError",
    "DbClient",
    "DbError",
    "DeleteHandler",
    "DuplicateKeyError",
    "Handler",
    "KeyChangedError",
    "Lease",
    "LiveSource",
    "LoadSubset",
    "LocalOnlyCollection",
    "MissingHandlerError",
    "Mutation",
    "MutationType",
    "NoRunningLoopError",
    "NoSessionError",
    "OpenParameterError",
    "OrderTerm",
    "Persist",
    "QueryError",
    "RowError",
    "SchemaError",
    "Source",
    "SourceError",
    "Status",
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
    "__version__",
    "collection_options",
    "create_collection",
    "current_client",
    "current_transaction",
    "default_client",
    "local_only_collection_options",
    "require_sessions",
    "transact",
    "transaction",
]
