"""A listener and a sink that write down what they hear."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tanstack_realtime._errors import ChannelDeniedError
from tanstack_realtime._transport import CloseReason, Inbound, SubscribeAck

__all__ = ["RecordingListener", "RecordingSink"]


class RecordingListener:
    """Give it to `RealtimeClient.subscribe`.

    Attributes:
        events: everything, in order: ``("message", data)``, ``("live", recovered)``, ``("gap", reason)``,
            ``("offline", None)``, ``("denied", code)``, ``("focus", None)``.
        inbound: the messages, whole.
    """

    def __init__(self) -> None:
        self.events: Final[list[tuple[str, Any]]] = []
        self.inbound: Final[list[Inbound]] = []

    @property
    def data(self) -> list[Any]:
        """The payloads, in order."""
        return [message.data for message in self.inbound]

    def heard(self, kind: str) -> list[Any]:
        """Return what came with the events of one kind."""
        return [what for event, what in self.events if event == kind]

    def on_message(self, message: Inbound, /) -> None:
        self.inbound.append(message)
        self.events.append(("message", message.data))

    def on_live(self, recovered: bool | None, /) -> None:
        self.events.append(("live", recovered))

    def on_gap(self, reason: str, /) -> None:
        self.events.append(("gap", reason))

    def on_offline(self) -> None:
        self.events.append(("offline", None))

    def on_denied(self, error: ChannelDeniedError, /) -> None:
        self.events.append(("denied", error.code))

    def on_focus(self) -> None:
        self.events.append(("focus", None))


class RecordingSink:
    """Give it to `RealtimeTransport.open`, to look at a link without a client.

    Attributes:
        messages: ``(channel, message)``, in order.
        ends: every `closed`; a link that keeps the rules says it once.
        events: everything else: ``("gap", channel)``, ``("revoked", channel)``, ``("suspended", reason)``,
            ``("resumed", connection_id)``.
    """

    def __init__(self) -> None:
        self.messages: Final[list[tuple[str, Inbound]]] = []
        self.ends: Final[list[CloseReason]] = []
        self.events: Final[list[tuple[str, Any]]] = []

    @property
    def data(self) -> list[Any]:
        """The payloads of all channels, in order."""
        return [message.data for _, message in self.messages]

    def message(self, channel: str, message: Inbound, /) -> None:
        self.messages.append((channel, message))

    def gap(self, channel: str, _reason: str, /) -> None:
        self.events.append(("gap", channel))

    def revoked(self, channel: str, _code: str, _reason: str, /) -> None:
        self.events.append(("revoked", channel))

    def suspended(self, reason: CloseReason, /) -> None:
        self.events.append(("suspended", reason))

    def resumed(self, connection_id: str, _acks: Mapping[str, SubscribeAck], /) -> None:
        self.events.append(("resumed", connection_id))

    def closed(self, reason: CloseReason, /) -> None:
        self.ends.append(reason)
