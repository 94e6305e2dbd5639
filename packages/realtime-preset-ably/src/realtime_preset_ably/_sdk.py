"""The part of `ably` that the preset uses, with types: the package itself has none that checkers see.

One `SdkConnection` connects once. The SDK would go on by itself after it has lost a connection, on a schedule of its
own; here the client above owns that, so a connection that is lost is closed, and the next one is another object.

What the SDK gets wrong, as of 3.1.4, and where that is dealt with:

=============================================================  ======================================================
it stays "connected" after a DISCONNECTED without an error,    the end of its socket is watched (`_on_socket_end`)
or with one of 500 to 504
after the second token error it never asks for a token again   a connection ends with the first
queued messages are sent twice, unacknowledged ones again      nothing is queued, and no connection is resumed;
after a failed resume                                          channels are, by their serials (`begin_at`)
a connection that fails leaves requests without an answer      the link stops waiting when it ends (`Life.run`)
the callback for tokens is tried for ever, whatever it raises  the link ends itself when the application refuses
any REST call renews the token first                           none is made; tokens are got by `exchange`
every renewal attaches all channels again                      `Attachment.SAME`
an attach that meets a detach breaks the channel               the link has a lock for each channel
an attach that fails leaves the listener                       `forget`
a channel that is released goes on at Ably                     it is detached first
coroutines that listen lose the order of messages              listeners are plain functions
the port is left out of the address                            the address has a path
=============================================================  ======================================================
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import ably  # type: ignore[import-untyped]
from ably.types import tokendetails  # type: ignore[import-untyped]
from ably.util import exceptions  # type: ignore[import-untyped]

from tanstack_realtime import RealtimeError

from ._timing import AblyTiming

__all__ = ["ChannelChange", "Member", "Received", "SdkChannel", "SdkConnection", "SdkError"]

_logger = logging.getLogger("ably")
if _logger.level == logging.NOTSET:
    _logger.setLevel(logging.WARNING)  # at INFO it logs its addresses, with the token in them

_AblyRealtime: Final[Any] = ably.AblyRealtime
_AblyException: Final[type[Exception]] = exceptions.AblyException
_TokenDetails: Final[Any] = tokendetails.TokenDetails

_NEVER: Final = 3_600_000
"""Milliseconds before the SDK would connect again by itself. The connection is closed long before."""

_FAREWELL_WITHIN: Final = 1.0
"""Seconds for a closing handshake. A socket that is dead would take the SDK's ten."""

_EXPLAINED_WITHIN: Final = 1.0
"""Seconds from the end of the socket until the SDK has said that it is disconnected, if it ever does."""

_SERIAL: Final = "_RealtimeChannel__channel_serial"
_ERROR: Final = "_ConnectionManager__error_reason"
_LEAVE: Final = 3
_DISCONNECTED: Final = 80003
_NO_ANSWER: Final = 90007
_NO_TOKEN: Final = 80019
"""The SDK's word for what `renew` has raised."""


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
        link: the connection that the publisher named to the application's server.
        serial: the channel's, after this message.
    """

    data: Any
    client_id: str | None
    link: str | None
    serial: str


@dataclass(frozen=True, slots=True)
class Member:
    """A member that is there, has changed, or has left."""

    connection_id: str
    client_id: str
    data: object
    left: bool


async def _call(work: Awaitable[object]) -> None:
    try:
        await work
    except Exception as error:  # the SDK lets through what its parts raise, and a TypeError of its own
        if isinstance(error.__cause__, RealtimeError):
            raise error.__cause__ from None
        raise SdkError.of(error) from error


class SdkConnection:
    """A connection to Ably that is tried once.

    Args:
        host: with a port where it is not the default.
        tls: whether to use it.
        token: the details of a token, as Ably gave them.
        renew: gives another one.
        changed: told the connection's states, in Ably's words, and why. ``"update"`` is none: Ably has taken a token.
        timing: delays.
    """

    def __init__(
        self,
        host: str,
        *,
        tls: bool,
        token: Mapping[str, Any],
        renew: Callable[[], Awaitable[Mapping[str, Any]]],
        changed: Callable[[str, SdkError], None],
        timing: AblyTiming,
    ) -> None:
        self._renew = renew
        self._changed = changed
        self._transport: Any = None
        self._unexplained: asyncio.TimerHandle | None = None
        self._token_error: SdkError | None = None
        self._ended = False
        self._client: Any = _AblyRealtime(
            # The path keeps the SDK from taking a name without a dot for a routing policy, and a port for part of it.
            endpoint=f"{host}/" if "." in host or "localhost" in host else f"{host}/.",
            tls=tls,
            auto_connect=False,
            queue_messages=False,
            token_details=_TokenDetails.from_dict(dict(token)),
            auth_callback=self._authenticate,
            realtime_request_timeout=round(timing.request * 1000),
            disconnected_retry_timeout=_NEVER,
            suspended_retry_timeout=_NEVER,
            channel_retry_timeout=round(timing.channel_retry * 1000),
            transport_params={"remainPresentFor": str(round(timing.remain_present * 1000))},
        )
        self._manager: Any = self._client.connection.connection_manager
        self._manager.on("transport.pending", self._on_transport)
        self._manager.on("connectionstate", self._on_state)
        self._manager.on("update", self._on_update)

    @property
    def connection_id(self) -> str:
        """Given by Ably; empty before it is connected."""
        return self._manager.connection_id or ""

    def connect(self) -> None:
        """Begin. `changed` hears how it goes."""
        self._client.connect()
        self._manager.start_connect = _do_not_connect_again

    async def authorize(self) -> None:
        """Renew the token and wait until Ably has taken it. All channels are attached again on the way.

        What `renew` raises is raised.
        """
        await _call(self._client.auth.authorize())

    async def ping(self) -> None:
        """Wait for a round trip: what Ably had sent before has arrived."""
        await _call(self._client.connection.ping())

    def channel(self, name: str) -> SdkChannel:
        """Return a channel; there is one of a name."""
        return SdkChannel(self._client, self._client.channels.get(name))

    async def close(self, *, farewell: bool) -> None:
        """Close, and wait until no task is left.

        Args:
            farewell: whether Ably is told, so that members leave at once. Of no use where it does not hear us.
        """
        transport: Any = self._transport
        self._ended = True
        if self._unexplained is not None:
            self._unexplained.cancel()
        if transport is not None:
            self._manager.transport = None
            if farewell and transport.websocket is not None and not transport.is_disposed:
                with contextlib.suppress(Exception):  # it may break right now
                    await transport.close()
            else:
                _abort(transport)
            try:
                async with asyncio.timeout(_FAREWELL_WITHIN):
                    await transport.dispose()
            except TimeoutError:
                _abort(transport)
        await self._client.close()
        await self._leftovers()

    async def _leftovers(self) -> None:
        """Wait for the tasks that the SDK has left. It has no public way to do so."""
        manager, transport = self._manager, self._transport
        tasks: Sequence[asyncio.Task[Any] | None] = (
            manager.connect_base_task,
            manager.disconnect_transport_task,
            getattr(transport, "ws_connect_task", None),
            getattr(transport, "read_loop", None),
        )
        mine = [task for task in tasks if task is not None and task is not asyncio.current_task()]
        if mine:
            await asyncio.wait(mine, timeout=_FAREWELL_WITHIN)
        for _ in range(3):  # those that wait for these
            await asyncio.sleep(0)

    async def _authenticate(self, _: object) -> Any:
        if self._transport is None or self._transport.is_disposed:
            # Ably has ended the connection over the token, and the next one begins with another.
            self._token_error = SdkError.of(getattr(self._manager, _ERROR))
            raise self._token_error
        return _TokenDetails.from_dict(dict(await self._renew()))

    def _on_transport(self, transport: Any) -> None:
        self._transport = transport

    def _on_state(self, change: Any) -> None:
        state: str = change.current.value
        reason = SdkError.of(change.reason)
        if reason.code == _NO_TOKEN and self._token_error is not None:
            reason = self._token_error
        if state == "connected":
            self._transport.ws_connect_task.add_done_callback(self._on_socket_end)
        self._changed(state, reason)

    def _on_socket_end(self, _: object) -> None:
        # After some of Ably's goodbyes the SDK goes on being "connected" for ever.
        if not self._ended:
            loop = asyncio.get_running_loop()
            lost = SdkError(_DISCONNECTED, 400, "the connection was lost")
            self._unexplained = loop.call_later(_EXPLAINED_WITHIN, self._changed, "disconnected", lost)

    def _on_update(self, change: Any) -> None:
        self._changed("update", SdkError.of(change.reason))


def _abort(transport: Any) -> None:
    if transport.websocket is not None:
        transport.websocket.transport.abort()


def _do_not_connect_again() -> None:
    """In place of the SDK's own attempts after the first."""


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
    def state(self) -> str:
        """Ably's word."""
        return str(self._channel.state.value)

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
            link: object = cast("dict[str, object]", headers).get("link") if isinstance(headers, dict) else None
            heard(Received(message.data, message.client_id, link if isinstance(link, str) else None, self.serial))

        self._listeners.append((self._channel.unsubscribe, on_message))
        await _call(self._channel.subscribe(on_message))

    async def observe(self, heard: Callable[[Member], None]) -> None:
        """Hear who comes, changes and leaves, and attach."""

        def on_member(message: Any) -> None:
            heard(_member(message))

        self._listeners.append((self._channel.presence.unsubscribe, on_member))
        await _call(self._channel.presence.subscribe(on_member))

    async def members(self) -> list[Member]:
        """Return all members, once Ably has told them. There is no suspension between that and the return."""
        found: list[Member] = []

        async def ask() -> None:
            found.extend(_member(message) for message in await self._channel.presence.get())

        await _call(ask())
        return found

    async def enter(self, data: Mapping[str, Any]) -> None:
        """Be a member."""
        await _call(self._channel.presence.enter(data))

    async def update(self, data: Mapping[str, Any]) -> None:
        """Be a member with other data."""
        await _call(self._channel.presence.update(data))

    async def leave(self) -> None:
        """Be a member no longer."""
        await _call(self._channel.presence.leave())

    def silence(self) -> None:
        """Hear no message and no member any more; states are still told."""
        listeners, self._listeners = self._listeners, []
        for off, listener in listeners:
            off(listener)

    async def detach(self) -> None:
        """Tell Ably that nobody listens, and forget the channel."""
        if self._channel.state != "failed":
            await _call(self._channel.detach())
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
