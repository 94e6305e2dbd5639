"""A channel of the SDK, with types, and what the SDK raises."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from ably.util import exceptions  # type: ignore[import-untyped]

from tanstack_realtime import RealtimeError

from ._names import MARK_HEADER

__all__ = ["ChannelChange", "Member", "Received", "SdkChannel", "SdkError", "call"]

_AblyException: Final[type[Exception]] = exceptions.AblyException

_SERIAL: Final = "_RealtimeChannel__channel_serial"
_LEAVE: Final = 3
_DISCONNECTED: Final = 80003
_NO_ANSWER: Final = 90007


class SdkError(Exception):
    """What the SDK raised, or named as a reason.

    Attributes:
        code: Ably's.
        status: as HTTP has it.
        message: for people.
    """

    def __init__(self, code: int, status: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.message = message

    @staticmethod
    def of(error: object) -> SdkError:
        """Return it with its facts, whatever the SDK gives."""
        if isinstance(error, SdkError):
            return error
        if isinstance(error, _AblyException):
            known: Any = error
            return SdkError(int(known.code or 0), int(known.status_code or 0), str(known.message))
        if isinstance(error, TypeError):  # the SDK raises a reason that is not there
            return SdkError(_NO_ANSWER, 408, "Ably ended it without a reason")
        return SdkError(_DISCONNECTED, 400, str(error or "") or "the connection was lost")


@dataclass(frozen=True, slots=True)
class ChannelChange:
    """A channel's state.

    Attributes:
        state: Ably's word.
        resumed: of an attached channel: whether nothing was missed.
        error: why.
    """

    state: str
    resumed: bool
    error: SdkError


@dataclass(frozen=True, slots=True)
class Received:
    """A message.

    Attributes:
        data: the payload.
        client_id: whom Ably has authenticated as the publisher, or None for the server.
        mark: of the link that published, or None where the publisher named none.
        serial: the channel's, after this message.
    """

    data: Any
    client_id: str | None
    mark: str | None
    serial: str


@dataclass(frozen=True, slots=True)
class Member:
    """A member that is there, has changed, or has left."""

    connection_id: str
    client_id: str
    data: object
    left: bool


async def call(work: Awaitable[object]) -> None:
    """Await what the SDK does, and raise `SdkError` for what it raises; what `renew` has raised comes as it is."""
    try:
        await work
    except Exception as error:  # the SDK lets through what its parts raise, and a TypeError of its own
        if isinstance(error.__cause__, RealtimeError):
            raise error.__cause__ from None
        raise SdkError.of(error) from error


class SdkChannel:
    """A channel of a connection.

    Args:
        client: the SDK's.
        channel: the SDK's.
    """

    def __init__(self, client: Any, channel: Any) -> None:
        self._client = client
        self._channel = channel
        self._listeners: list[tuple[Any, Any]] = []
        self._watcher: Any = None

    @property
    def serial(self) -> str:
        """Where the channel is; empty before it is attached."""
        return getattr(self._channel, _SERIAL) or ""

    def begin_at(self, serial: str) -> None:
        """Have Ably replay what came after this serial. The SDK keeps the serial, and has no way to set it."""
        setattr(self._channel, _SERIAL, serial)

    def watch(self, changed: Callable[[ChannelChange], None]) -> None:
        """Hear the channel's states."""

        def on_change(change: Any) -> None:
            changed(ChannelChange(str(change.current.value), bool(change.resumed), SdkError.of(change.reason)))

        self._watcher = on_change
        self._channel.on(on_change)

    async def subscribe(self, heard: Callable[[Received], None]) -> None:
        """Hear messages, and attach."""

        def on_message(message: Any) -> None:
            extras: object = message.extras
            headers: object = cast("dict[str, object]", extras).get("headers") if isinstance(extras, dict) else None
            mark: object = cast("dict[str, object]", headers).get(MARK_HEADER) if isinstance(headers, dict) else None
            heard(Received(message.data, message.client_id, mark if isinstance(mark, str) else None, self.serial))

        self._listeners.append((self._channel.unsubscribe, on_message))
        await call(self._channel.subscribe(on_message))

    async def observe(self, heard: Callable[[Member], None]) -> None:
        """Hear who comes, changes and leaves, and attach."""

        def on_member(message: Any) -> None:
            heard(_member(message))

        self._listeners.append((self._channel.presence.unsubscribe, on_member))
        await call(self._channel.presence.subscribe(on_member))

    async def members(self) -> list[Member]:
        """Return all members, once Ably has told them. There is no suspension between that and the return."""
        found: list[Member] = []

        async def ask() -> None:
            found.extend(_member(message) for message in await self._channel.presence.get())

        await call(ask())
        return found

    async def enter(self, data: Mapping[str, Any]) -> None:
        """Be a member."""
        await call(self._channel.presence.enter(data))

    async def update(self, data: Mapping[str, Any]) -> None:
        """Be a member with other data."""
        await call(self._channel.presence.update(data))

    async def leave(self) -> None:
        """Be a member no longer."""
        await call(self._channel.presence.leave())

    def silence(self) -> None:
        """Hear no message and no member any more; states are still told."""
        listeners, self._listeners = self._listeners, []
        for off, listener in listeners:
            off(listener)

    async def detach(self) -> None:
        """Tell Ably that nobody listens, and forget the channel."""
        if self._channel.state != "failed":
            await call(self._channel.detach())
        self.forget()

    def forget(self) -> None:
        """Hear nothing at all any more. A channel that Ably serves no longer, and that nobody begins anew, is gone."""
        self.silence()
        if self._watcher is not None:
            self._channel.off(self._watcher)
            self._watcher = None
        if self._channel.state in ("initialized", "detached", "failed"):  # what comes for a channel that is gone raises
            self._client.channels.release(self._channel.name)


def _member(message: Any) -> Member:
    return Member(message.connection_id or "", message.client_id or "", message.data, message.action == _LEAVE)
