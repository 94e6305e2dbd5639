"""Who is present on a channel.

A member is a client id on a connection; the same client on two connections is two members.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ._errors import AblyError
from ._log import Budget
from ._messages import PresenceAction, size_of
from ._wire import Message

__all__ = ["Members"]


class Members:
    """The presence set of one channel."""

    def __init__(self, *, limit: int, budget: Budget) -> None:
        """Begin with nobody.

        Args:
            limit: The most members at once.
            budget: The bytes that the members of all channels share.
        """
        self._limit = limit
        self._budget = budget
        self._members: dict[tuple[str, str], Message] = {}

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Message]:
        """Iterate over the members in the order of their arrival, each as PRESENT under its original id."""
        return iter(list(self._members.values()))

    def apply(self, sent: Sequence[Message], connection_id: str, base: str, now: int) -> list[Message]:
        """Take one PRESENCE of a connection.

        Args:
            sent: Checked presence messages. One that carries the id of a member that is there is the client's
                repetition after a resume, and changes nothing.
            connection_id: The connection.
            base: ``connectionId:msgSerial``. Clients compare these numbers to find which of two events is newer.
            now: Their time.

        Returns:
            What to tell the readers. A member that comes is entering, whatever the client called it; one that leaves
            takes its last data along.

        Raises:
            AblyError: 91003 if there would be too many members, 42910 if they would be too large. Nothing has changed
                then.
        """
        changed = dict(self._members)
        grown = 0
        told: list[Message] = []
        for index, message in enumerate(sent):
            key = (connection_id, message["clientId"])
            there = changed.get(key)
            event = message | {"id": f"{base}:{index}", "connectionId": connection_id, "timestamp": now}
            if message["action"] is PresenceAction.LEAVE:
                if there is not None:
                    told.append(event if event["data"] is not None else event | _payload(there))
                    grown -= size_of(changed.pop(key))
            elif there is None or message["id"] != there["id"]:
                update = there is not None and message["action"] is not PresenceAction.ENTER
                told.append(event | {"action": PresenceAction.UPDATE if update else PresenceAction.ENTER})
                changed[key] = event | {"action": PresenceAction.PRESENT}
                grown += size_of(event) - (size_of(there) if there is not None else 0)
        if len(changed) > max(self._limit, len(self._members)):
            raise AblyError(f"the channel has its {self._limit} presence members already", 91003)
        if grown > 0 and self._budget.used + grown > self._budget.limit:
            raise AblyError(f"the presence members of all channels hold {self._budget.limit} bytes already", 42910)
        self._budget.used += grown
        self._members = changed
        return told

    def leave(self, connection_id: str, base: str, now: int) -> list[Message]:
        """Remove the members of a connection that did not say so itself.

        Args:
            connection_id: The connection.
            base: The events' id. It does not begin with the connection's, so that clients compare them by time.
            now: Their time.

        Returns:
            What to tell the readers.
        """
        gone = [self._members.pop(key) for key in list(self._members) if key[0] == connection_id]
        self._budget.used -= sum(size_of(member) for member in gone)
        return [
            member | {"action": PresenceAction.LEAVE, "id": f"{base}:{index}", "timestamp": now}
            for index, member in enumerate(gone)
        ]


def _payload(message: Message) -> Message:
    return {"data": message["data"], "encoding": message["encoding"]}
