"""One channel: who reads it, what was sent on it, who is present on it.

Publishing and presence come from the socket and from REST alike; both call the methods here with checked messages.
Delivery is synchronous, so that all readers see one order.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from ._limits import Limits
from ._log import Budget, Entry, Log
from ._messages import size_of
from ._presence import Members
from ._recent import Recent
from ._wire import Action, Flag, Frame, Message

__all__ = ["Channel", "Published", "Reader"]

_OVERHEAD: Final = 1024
"""What a message takes in the log beside its payload, in bytes: its fields, and its encoded frames."""


@dataclass(frozen=True, slots=True)
class Published:
    """What a publish gave.

    Attributes:
        id: The id of its first message.
        serial: The place of its frame in the channel's log.
        count: How many messages there were.
    """

    id: str
    serial: str
    count: int

    @property
    def serials(self) -> list[str]:
        """The serials of the messages."""
        return [f"{self.serial}:{index:03d}" for index in range(self.count)]


class Reader(Protocol):
    """An attachment to the channel."""

    @property
    def modes(self) -> Flag:
        """What it may do and hear."""
        ...

    def deliver(self, entry: Entry) -> None:
        """Take what was sent on the channel, by itself or by others."""
        ...


class Channel:
    """A channel of one app.

    Attributes:
        name: Its name, without qualifier.
        log: What was sent on it lately.
        members: Who is present on it.
        readers: Who is attached to it, connections without a socket included.
    """

    def __init__(
        self, name: str, limits: Limits, budget: Budget, members_budget: Budget, *, persists: bool = False
    ) -> None:
        """Open a channel.

        Args:
            name: Its name.
            limits: Bounds.
            budget: What the logs of the app share.
            members_budget: What its presence members share.
            persists: Whether history reaches further back than the two minutes of a resume.
        """
        self.name = name
        self.members = Members(limit=limits.members, budget=members_budget)
        self.readers: set[Reader] = set()
        self._limits = limits
        self._budget = budget
        self._window = limits.history_window if persists else limits.log_window
        self.log, self._published = self._memory()

    def _memory(self) -> tuple[Log, Recent[str, Published]]:
        limits = self._limits
        log = Log(secrets.token_hex(4), window=self._window, max_bytes=limits.log_bytes, budget=self._budget)
        return log, Recent(count=limits.acknowledged, window=limits.log_window)

    @property
    def is_idle(self) -> bool:
        """Whether nothing would be lost with the channel."""
        return not self.readers and not self.members and self.log.is_empty

    def publish(self, messages: Sequence[Message], now: int, connection_id: str | None, base: str) -> Published:
        """Publish messages.

        Args:
            messages: Checked messages.
            now: Their time, in milliseconds.
            connection_id: The connection that published them. ``None`` for REST.
            base: The id to give to messages without one: ``connectionId:msgSerial``, or one that no other publish has.

        Returns:
            What the first publish with the same id gave, if this is a repetition of it; then nothing is delivered.
        """
        given: str | None = messages[0]["id"]
        if given is not None and (before := self._published.get(given, now)) is not None:
            return before
        serial = self.log.next_serial(now)
        published = Published(given or f"{base}:0", serial, len(messages))
        stored: list[Message] = [
            {key: value for key, value in message.items() if value is not None}
            | {
                "id": message["id"] or f"{base}:{index}",
                "timestamp": now,
                "serial": own,
                "action": 0,
                "version": {"serial": own, "timestamp": now},
            }
            | ({"connectionId": connection_id} if connection_id else {})
            for index, (message, own) in enumerate(zip(messages, published.serials, strict=True))
        ]
        if given is not None:
            self._published.put(given, published, now)
        self._send(Action.MESSAGE, serial, now, connection_id, base, messages=stored)
        return published

    def change_presence(self, sent: Sequence[Message], now: int, connection_id: str, base: str) -> None:
        """Take the presence messages of a connection.

        Raises:
            AblyError: 91003 if there are too many members.
        """
        self._tell(self.members.apply(sent, connection_id, base, now), now, connection_id, base)

    def leave(self, connection_id: str, now: int) -> None:
        """Remove the members of a connection, on its behalf."""
        base = f"{secrets.token_hex(6)}:0"
        self._tell(self.members.leave(connection_id, base, now), now, connection_id, base)

    def forget_messages(self) -> None:
        """Begin another log: serials of the present one prove nothing any more."""
        self.log.clear()
        self.log, self._published = self._memory()

    def history(self, action: Action, now: int, until: str | None = None) -> Iterator[Message]:
        """Return what was published, or the presence events, oldest first.

        Args:
            action: MESSAGE or PRESENCE.
            now: The time.
            until: The last serial of the channel to look at: where a reader attached.
        """
        self.log.trim(now)
        for entry in self.log:
            if until is not None and entry.serial > until:
                return
            if entry.frame.action is action:
                yield from entry.frame.fields["messages" if action is Action.MESSAGE else "presence"]

    def occupancy(self) -> dict[str, int]:
        """Return how many readers of which kind there are, by the names of Ably's metrics."""
        modes = [reader.modes for reader in self.readers]
        return {
            "connections": len(modes),
            "publishers": sum(Flag.PUBLISH in mode for mode in modes),
            "subscribers": sum(Flag.SUBSCRIBE in mode for mode in modes),
            "presenceConnections": sum(Flag.PRESENCE in mode for mode in modes),
            "presenceMembers": len(self.members),
            "presenceSubscribers": sum(Flag.PRESENCE_SUBSCRIBE in mode for mode in modes),
        }

    def sync(self) -> list[Sequence[Message]]:
        """Return the members in pages; one empty page if there are none."""
        members, page = list(self.members), self._limits.sync_page
        return [members[start : start + page] for start in range(0, len(members), page)] or [[]]

    def _tell(self, events: list[Message], now: int, connection_id: str, base: str) -> None:
        if events:
            presence = [{key: value for key, value in event.items() if value is not None} for event in events]
            self._send(Action.PRESENCE, self.log.next_serial(now), now, connection_id, base, presence=presence)

    def _send(
        self,
        action: Action,
        serial: str,
        now: int,
        connection_id: str | None,
        base: str,
        *,
        messages: list[Message] | None = None,
        presence: list[Message] | None = None,
    ) -> None:
        frame = Frame(
            action,
            id=base,
            channel=self.name,
            channelSerial=serial,
            connectionId=connection_id,
            timestamp=now,
            messages=messages,
            presence=presence,
        )
        size = sum(_OVERHEAD + size_of(message) for message in messages or presence or ())
        entry = Entry(serial, now, size, frame)
        self.log.append(entry)
        for reader in tuple(self.readers):
            reader.deliver(entry)
