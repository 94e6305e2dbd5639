"""Errors of tanstack-db.

* DbError
  * UsageError                      the program is wrong; the message says what to write instead
    * QueryError                    a live query that cannot be built
      * OpenParameterError          a query leaves a parameter of an on-demand source open
      * UnknownColumnError          a column that the schema does not have
    * MissingHandlerError           a mutation without its handler
    * NoRunningLoopError            a write outside a running event loop
    * SyncContractError             a source broke the collection-source contract
    * CollectionStateError          the collection is not in a state that allows the call
  * RowError                        a row or key that cannot be accepted; nothing was changed
    * SchemaError                   the row does not fit the schema
    * DuplicateKeyError
    * UnknownKeyError
    * KeyChangedError
  * TransactionError                a call that the transaction's state does not allow
  * SourceError                     the source failed to load; carries the cause

Each carries the facts as attributes and says what to do.
"""

from __future__ import annotations

__all__ = ["DbError"]


class DbError(Exception):
    """Root of every error that tanstack-db raises."""
