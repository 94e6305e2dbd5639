"""What a connected client does on channels: attach, detach, publish, be present, ask for the members.

A publish is answered by ACK or NACK under its ``msgSerial``. A client that lost its socket sends again what was not
answered, under the same number on the same connection; it gets the first answer again and nothing is published twice.

A number alone proves no repetition. After a resume that failed, ably-python sends what was not answered under its old
numbers and then counts from 0, on one and the same connection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from ._attachment import Attachment, Peer, granted_modes
from ._channel import Channel, Published
from ._errors import AblyError, bad_request, denied
from ._limits import Limits
from ._messages import check_messages, check_presence
from ._names import parse_name
from ._recent import Recent
from ._wire import Action, Flag, Frame

__all__ = ["Acknowledger", "ChannelSource", "Operations"]


class ChannelSource(Protocol):
    """Where channels come from."""

    def channel(self, name: str) -> Channel:
        """Return the channel of a name, opening it if need be.

        Raises:
            AblyError: If there are too many.
        """
        ...


class Acknowledger(Protocol):
    """Through whom publishes are answered, so that tests can hold or refuse them."""

    def check_publish(self) -> None:
        """Do nothing, or raise the :class:`AblyError` to refuse the publish with."""
        ...

    def answer(self, peer: Peer, frame: Frame) -> None:
        """Send an ACK or NACK, now or later."""
        ...


class Operations:
    """The channels of one connection.

    Attributes:
        attachments: By the name that the client gave.
    """

    def __init__(
        self, peer: Peer, channels: ChannelSource, acknowledger: Acknowledger, limits: Limits, clock: Callable[[], int]
    ) -> None:
        """Begin without channels."""
        self.attachments: dict[str, Attachment] = {}
        self._peer = peer
        self._channels = channels
        self._acknowledger = acknowledger
        self._limits = limits
        self._now = clock
        self._answers: Recent[int, tuple[int, Frame]] = Recent(count=limits.acknowledged)
        self._highest = -1

    def handle(self, request: Mapping[str, Any]) -> bool:
        """Do what a protocol message asks for.

        Returns:
            Whether the message concerns channels.

        Raises:
            AblyError: 40000 if it lacks its channel or number.
        """
        handler = _HANDLERS.get(request["action"])
        if handler is None:
            return False
        if "channel" not in request:
            raise bad_request(f"{request['action'].name} names its channel")
        handler(self, request)
        return True

    def suspend(self) -> None:
        """Fall silent: the socket is gone. Each channel goes on when the client attaches it again."""
        for attachment in self.attachments.values():
            attachment.is_live = False

    def renew(self) -> None:
        """Follow a changed capability: what it no longer allows ends, with its presence."""
        for wire, attachment in list(self.attachments.items()):
            try:
                attachment.renew()
            except AblyError as error:
                self._fail(wire, error)
            else:
                self._leave_if_denied(attachment)

    def leave_presence(self) -> None:
        """Take the connection's members out of all presence sets."""
        for attachment in self.attachments.values():
            attachment.channel.leave(self._peer.id, self._now())

    def release(self) -> None:
        """Leave all channels: the connection is over."""
        for wire in list(self.attachments):
            self._detach(wire)

    def detach_all(self, channel: str, frame: Callable[[str], Frame]) -> int:
        """End the attachments to a channel and return how many there were.

        Args:
            channel: The channel.
            frame: Makes what is said to the client, of its own name of the channel.
        """
        wires = [wire for wire, attachment in self.attachments.items() if attachment.channel.name == channel]
        for wire in wires:
            self._detach(wire)
            self._peer.outbox.send(frame(wire))
        return len(wires)

    def _attach(self, request: Mapping[str, Any]) -> None:
        wire: str = request["channel"]
        try:
            name = parse_name(wire, request.get("params"))
            attachment = self.attachments.get(wire)
            if attachment is None:
                if not granted_modes(self._peer.access, name.name):
                    raise denied("attach", name.name)
                if len(self.attachments) >= self._limits.channels_per_connection:
                    limit = self._limits.channels_per_connection
                    raise AblyError(f"a connection attaches to at most {limit} channels; detach some", 90010)
                channel = self._channels.channel(name.name)
                attachment = Attachment(self._peer, name, channel, self._limits)
            attachment.attach(request, name, self._now())
        except AblyError as error:
            self._fail(wire, error)
        else:
            self.attachments[wire] = attachment
            attachment.channel.readers.add(attachment)
            self._leave_if_denied(attachment)

    def _on_detach(self, request: Mapping[str, Any]) -> None:
        self._detach(request["channel"])
        self._peer.outbox.send(Frame(Action.DETACHED, channel=request["channel"]))

    def _publish(self, request: Mapping[str, Any]) -> Published:
        name = parse_name(request["channel"]).name
        self._require("publish", Flag.PUBLISH, request["channel"], name)
        messages = check_messages(request.get("messages", ()), self._author, self._limits.message_size)
        channel = self._channels.channel(name)
        return channel.publish(messages, self._now(), self._peer.id, self._base(request))

    def _change_presence(self, request: Mapping[str, Any]) -> None:
        wire: str = request["channel"]
        attachment = self.attachments.get(wire)
        self._require("presence", Flag.PRESENCE, wire, parse_name(wire).name)
        # One that waits to be attached again will do: a client repeats what was not answered first.
        if attachment is None:
            raise AblyError(f"attach to the channel {wire!r} before entering it", 91001)
        messages = check_presence(request.get("presence", ()), self._author, self._limits.message_size)
        attachment.channel.change_presence(messages, self._now(), self._peer.id, self._base(request))

    def _unsupported(self, request: Mapping[str, Any]) -> None:
        raise AblyError(f"this server has no {request['action'].name.lower()}s", 40000)

    def _on_numbered(self, request: Mapping[str, Any]) -> None:
        """Answer a message with a number, once and for all."""
        number: int | None = request.get("msgSerial")
        if number is None:
            raise bad_request(f"{request['action'].name} has a msgSerial")
        now = self._now()
        content = hash(repr((request["channel"], request.get("messages"), request.get("presence"))))
        known = self._answers.get(number, now)
        if known is not None and known[0] == content:
            self._acknowledger.answer(self._peer, known[1])
            return
        if number < self._highest and known is None:
            # The client counts anew: the numbers from here on are no repetitions.
            self._answers.clear()
        self._highest = number
        answer = self._answer(number, request)
        self._answers.put(number, (content, answer), now)
        self._acknowledger.answer(self._peer, answer)

    def _answer(self, number: int, request: Mapping[str, Any]) -> Frame:
        """Do what a message with a number asks for, and return the answer to it."""
        try:
            self._acknowledger.check_publish()
            published = _NUMBERED[request["action"]](self, request)
        except AblyError as error:
            return Frame(Action.NACK, msgSerial=number, count=1, error=error.info())
        serials = published.serials if published is not None else []
        return Frame(Action.ACK, msgSerial=number, count=1, res=[{"serials": serials}])

    def _on_sync(self, request: Mapping[str, Any]) -> None:
        attachment = self.attachments.get(request["channel"])
        if attachment is not None and attachment.is_live and Flag.PRESENCE_SUBSCRIBE in attachment.modes:
            self._peer.outbox.send(*attachment.sync())

    def _require(self, operation: str, mode: Flag, wire: str, name: str) -> None:
        self._peer.access.require(operation, name)
        attachment = self.attachments.get(wire)
        if attachment is not None and mode not in attachment.modes:
            raise AblyError(f"the channel {wire!r} was attached without the mode {mode.name}", 40165)

    def _author(self, claimed: str | None) -> str | None:
        return self._peer.access.author(claimed, self._peer.identity)

    def _base(self, request: Mapping[str, Any]) -> str:
        return f"{self._peer.id}:{request['msgSerial']}"

    def _leave_if_denied(self, attachment: Attachment) -> None:
        if Flag.PRESENCE not in attachment.modes:
            attachment.channel.leave(self._peer.id, self._now())

    def _detach(self, wire: str) -> None:
        attachment = self.attachments.pop(wire, None)
        if attachment is not None:
            attachment.channel.readers.discard(attachment)
            attachment.channel.leave(self._peer.id, self._now())

    def _fail(self, wire: str, error: AblyError) -> None:
        self._detach(wire)
        self._peer.outbox.send(Frame(Action.ERROR, channel=wire, error=error.info()))


_HANDLERS: Final[Mapping[Action, Callable[[Operations, Mapping[str, Any]], None]]] = {
    Action.ATTACH: Operations._attach,
    Action.DETACH: Operations._on_detach,
    Action.SYNC: Operations._on_sync,
    Action.MESSAGE: Operations._on_numbered,
    Action.PRESENCE: Operations._on_numbered,
    Action.OBJECT: Operations._on_numbered,
    Action.ANNOTATION: Operations._on_numbered,
}

_NUMBERED: Final[Mapping[Action, Callable[[Operations, Mapping[str, Any]], Published | None]]] = {
    Action.MESSAGE: Operations._publish,
    Action.PRESENCE: Operations._change_presence,
    Action.OBJECT: Operations._unsupported,
    Action.ANNOTATION: Operations._unsupported,
}
