"""`publish_change`: a server function tells the clients about the row that it wrote."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeAlias
from uuid import UUID

from tanstack_db import rows as _rows
from tanstack_realtime._envelope import RowChange, is_traceparent
from tanstack_realtime._errors import MessageError
from tanstack_realtime._keys import ChannelLike
from tanstack_realtime._mutation_ref import split_ref
from tanstack_realtime._replica import wire_key

from ._app import publish as _publish_here

__all__ = ["publish_change"]

Publish: TypeAlias = Callable[[ChannelLike, Any], Awaitable[None]]


async def publish_change(
    channel: ChannelLike,
    action: Literal["insert", "update", "delete", "refetch"],
    row: object = None,
    /,
    *,
    key: str | int | UUID | None = None,
    version: int | None = None,
    mutation: str | None = None,
    traceparent: str | None = None,
    publish: Publish = _publish_here,
) -> None:
    """Publish what happened to a row, for collections with ``publish="server"``.

    Args:
        channel: the row's channel. A row that moved is a delete on the old one and an insert on the new one.
        action: ``"insert"``, ``"update"``, ``"delete"``, or ``"refetch"`` for "rows changed, load them again".
        row: the row as it is now, of any kind that collections take; not for a delete or a refetch.
        key: the row's key; a delete needs it.
        version: the row's version, where the collection has one; for a delete the one that was deleted.
        mutation: what the client's `mutation_ref` gave, or None. Pass it only for rows that the client's call changed
            and gets back: the client does not apply what carries it a second time.
        traceparent: the W3C trace context of the call, as its header of that name; clients' traces go on from it.
            One that is none is left out.
        publish: ``realtime.publish``; default: the process's only `Realtime`.

    Raises:
        MessageError: `mutation` is no reference, or the arguments do not fit the action. Nothing was published.
        PublishError, ConfigurationError: as for `Realtime.publish`.
    """
    message: dict[str, Any] = {"action": action}
    wire = None if key is None else wire_key(key)
    if action in ("insert", "update"):
        if row is None:
            raise MessageError(f"publish_change({action!r}) needs the row", code="bad_change")
        message = RowChange(action, _rows.to_plain(row), wire, version).to_wire()
    elif row is not None:
        raise MessageError(f"publish_change({action!r}) takes no row; a delete takes key=", code="bad_change")
    elif action == "delete":
        if wire is None:
            raise MessageError("publish_change('delete') needs key=, the deleted row's key", code="bad_change")
        message = RowChange(action, None, wire, version).to_wire()
    if mutation is not None:
        message["origin"], message["id"] = split_ref(mutation)
    if traceparent is not None and is_traceparent(traceparent):
        message["traceparent"] = traceparent
    await publish(channel, message)
