"""Errors of tanstack-db.

* DbError
  * UsageError                      the program is wrong; the message says what to write instead
    * QueryError                    a live query that cannot be built
      * OpenParameterError          a query leaves a parameter of an on-demand source open
      * UnknownColumnError          a column that the schema does not have
    * MissingHandlerError           a mutation without its handler
    * NoRunningLoopError            a write outside a running event loop
    * NoSessionError                a shared collection used where every session has its own
    * SyncContractError             a source broke the collection-source contract
    * CollectionStateError          the collection is not in a state that allows the call
  * RowError                        a row or key that cannot be accepted; nothing was changed
    * SchemaError                   the row does not fit the schema
    * DuplicateKeyError             an insert of a key that is there
    * UnknownKeyError               a key that is not there
    * KeyChangedError               an update that changes the row's key
  * TransactionError                a call that the transaction's state does not allow, or a transaction rolled back
  * SourceError                     the source failed to load; carries the cause

Each carries the facts as attributes and says what to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "CollectionStateError",
    "DbError",
    "DuplicateKeyError",
    "KeyChangedError",
    "MissingHandlerError",
    "NoRunningLoopError",
    "NoSessionError",
    "OpenParameterError",
    "QueryError",
    "RowError",
    "SchemaError",
    "SourceError",
    "SyncContractError",
    "TransactionError",
    "UnknownColumnError",
    "UnknownKeyError",
    "UsageError",
    "did_you_mean",
]


class DbError(Exception):
    """Root of every error that tanstack-db raises."""


class UsageError(DbError):
    """The program is wrong; the message says what to write instead."""


class QueryError(UsageError):
    """A live query that cannot be built."""


class OpenParameterError(QueryError):
    """A query leaves parameters of an on-demand source open.

    Attributes:
        source: id of the collection.
        parameters: names of the parameters that have no value.
    """

    def __init__(self, message: str, *, source: str, parameters: Iterable[str]) -> None:
        super().__init__(message)
        self.source = source
        self.parameters = tuple(parameters)


class UnknownColumnError(QueryError):
    """A column that the schema does not have.

    Attributes:
        column: the name that was used.
        known: the names that there are.
    """

    def __init__(self, source: str, column: str, known: Iterable[str]) -> None:
        self.source = source
        self.column = column
        self.known = tuple(sorted(known))
        super().__init__(f"{source!r} has no column {column!r}{did_you_mean(column, self.known)}")


class MissingHandlerError(UsageError):
    """A mutation of a collection that was declared without the handler for it.

    Attributes:
        collection: id of the collection.
        handler: the option that is missing, for example ``"on_insert"``.
    """

    def __init__(self, collection: str, handler: str) -> None:
        self.collection = collection
        self.handler = handler
        super().__init__(
            f"collection {collection!r} has no {handler}: declare one, or write inside transact(change, server_fn), "
            "whose server_fn replaces the handlers"
        )


class NoRunningLoopError(UsageError):
    """A write that needs a running event loop, because its handler is a coroutine. Nothing was changed."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} needs a running event loop, since the server is told by a coroutine; call it from a coroutine or "
            "a callback of the loop. Nothing was changed."
        )


class NoSessionError(UsageError):
    """A module-level collection was used outside a session, in a process that serves many users."""

    def __init__(self) -> None:
        super().__init__(
            "no session is active, and this process serves several users (require_sessions). Use the session's own "
            "instance, which use_collection(...) gives in a component and client.collection(...) elsewhere, or run "
            "this inside `with client.activate():`"
        )


class SyncContractError(UsageError):
    """A source broke the collection-source contract.

    Attributes:
        collection: id of the collection.
    """

    def __init__(self, collection: str, problem: str) -> None:
        self.collection = collection
        super().__init__(f"the source of collection {collection!r}: {problem}")


class CollectionStateError(UsageError):
    """The collection is not in a state that allows the call.

    Attributes:
        collection: id of the collection.
        status: its status at the time.
    """

    def __init__(self, collection: str, status: str, problem: str) -> None:
        self.collection = collection
        self.status = status
        super().__init__(f"collection {collection!r} is {status}: {problem}")


class RowError(DbError, ValueError):
    """A row or key that cannot be accepted. Nothing was changed.

    Attributes:
        collection: id of the collection, or an empty string where none is concerned.
        key: the row's key, or None.
    """

    def __init__(self, message: str, *, collection: str = "", key: object = None) -> None:
        super().__init__(message)
        self.collection = collection
        self.key = key


class SchemaError(RowError):
    """The row does not fit the schema."""


class DuplicateKeyError(RowError):
    """An insert of a key that is there already."""


class UnknownKeyError(RowError, KeyError):
    """A key that is not there."""

    def __init__(self, collection: str, key: object, hint: str = "") -> None:
        super().__init__(f"collection {collection!r} has no row with key {key!r}{hint}", collection=collection, key=key)

    __str__ = Exception.__str__  # that of KeyError would put the message in quotes


class KeyChangedError(RowError):
    """An update that would change the row's key. Delete the row and insert another instead."""


class TransactionError(DbError):
    """A call that the transaction's state does not allow; or why a transaction was rolled back.

    Attributes:
        transaction_id: which transaction.
        state: its state at the time.
    """

    def __init__(self, message: str, *, transaction_id: str, state: str) -> None:
        super().__init__(message)
        self.transaction_id = transaction_id
        self.state = state


class SourceError(DbError):
    """The source of a collection failed to load.

    Attributes:
        collection: id of the collection.
        cause: what the source raised or reported; also ``__cause__``.
    """

    def __init__(self, collection: str, cause: Exception) -> None:
        super().__init__(f"the source of collection {collection!r} failed: {cause!r}")
        self.collection = collection
        self.cause = cause
        self.__cause__ = cause


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: a suggestion, or what there is."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known are {', '.join(names)}" if names else ""
