"""The reference of a mutation: it goes to the server function, and comes back with what the server publishes.

A collection with ``publish="server"`` leaves publishing to the server function. The client sends `mutation_ref` along,
as a header or an argument; the server puts it into the message, and so the client knows its own echo.
"""

from __future__ import annotations

from tanstack_db import current_transaction

from ._errors import MessageError
from ._slot import client_slot

__all__ = ["mutation_ref", "split_ref"]

_SEPARATOR = "."


def mutation_ref() -> str | None:
    """Return the reference of the transaction whose handler or ``server_fn`` is running, or None.

    None outside of one, and where there is no realtime client, whose echo would have to be known. Send it to the server
    function; there it is ``publish_change(..., mutation=ref)``.
    """
    transaction = current_transaction()
    if transaction is None or not transaction.mutations:
        return None
    client = client_slot(transaction.mutations[0].collection.client).client
    return None if client is None else f"{client.origin}{_SEPARATOR}{transaction.id}"


def split_ref(ref: str) -> tuple[str, str]:
    """Return origin and id of a reference that came from a client.

    Raises:
        MessageError: it is none.
    """
    origin, separator, identifier = ref.partition(_SEPARATOR)
    if not (origin and separator and identifier) or len(ref) > 256:
        raise MessageError(
            f"{ref[:64]!r} is no mutation reference; pass what the client's mutation_ref() gave", code="bad_mutation"
        )
    return origin, identifier
