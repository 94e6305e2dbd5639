"""The part of `ably` that the preset uses, with types: the package itself has none that checkers see.

One `SdkConnection` connects once. The SDK would go on by itself after it has lost a connection, on a schedule of its
own; here the client above owns that, so a connection that is lost is closed, and the next one is another object.

What the SDK gets wrong, as of 3.1.4, and where that is dealt with:

=============================================================  ======================================================
it stays "connected" after a DISCONNECTED without an error,    the end of its socket is watched (`_on_socket_end`)
or with one of 500 to 504
after the second token error it never asks for a token again   a connection ends with the first
queued messages are sent twice, unacknowledged ones again      nothing is queued, and no connection is resumed;
after a failed resume                                          channels are, by their serials (`SdkChannel.begin_at`)
a connection that fails leaves requests without an answer      the link stops waiting when it ends (`Life.run`)
the callback for tokens is tried for ever, whatever it raises  the link ends itself when the application refuses
any REST call renews the token first                           none is made; tokens are got by `exchange`
every renewal attaches all channels again                      `Attachment.SAME`
an attach that meets a detach breaks the channel               the link has a lock for each channel
an attach that fails leaves the listener                       `forget`
a channel that is released goes on at Ably                     it is detached first
nobody looks whether an attach or a detach could be sent       `_send_frame`
coroutines that listen lose the order of messages              listeners are plain functions
the port is left out of the address                            the address has a path
=============================================================  ======================================================
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import ably  # type: ignore[import-untyped]
from ably.types import tokendetails  # type: ignore[import-untyped]

from ._sdk_channel import SdkChannel, SdkError, call
from ._timing import AblyTiming

__all__ = ["SdkConnection"]

_logger = logging.getLogger("ably")
if _logger.level == logging.NOTSET:
    _logger.setLevel(logging.WARNING)  # at INFO it logs its addresses, with the token in them

_AblyRealtime: Final[Any] = ably.AblyRealtime
_TokenDetails: Final[Any] = tokendetails.TokenDetails

_NEVER: Final = 3_600_000
"""Milliseconds before the SDK would connect again by itself. The connection is closed long before."""

_FAREWELL_WITHIN: Final = 1.0
"""Seconds for a closing handshake. A socket that is dead would take the SDK's ten."""

_EXPLAINED_WITHIN: Final = 1.0
"""Seconds from the end of the socket until the SDK has said that it is disconnected, if it ever does."""

_ERROR: Final = "_ConnectionManager__error_reason"
_UNAWAITED: Final = frozenset({10, 12})
"""ATTACH and DETACH. The SDK waits for their answers, which the end of the socket ends, but never for the sending."""
_NO_TOKEN: Final = 80019
"""The SDK's word for what `renew` has raised."""


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
        self._send = self._manager.send_protocol_message
        self._manager.send_protocol_message = self._send_frame
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
        await call(self._client.auth.authorize())

    async def ping(self) -> None:
        """Wait for a round trip: what Ably had sent before has arrived."""
        await call(self._client.connection.ping())

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

    async def _send_frame(self, frame: Mapping[str, Any]) -> Any:
        try:
            return await self._send(frame)
        except Exception:  # whatever a socket raises that is closing
            if frame["action"] not in _UNAWAITED:
                raise
            return None

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
            lost = SdkError.of(None)
            self._unexplained = loop.call_later(_EXPLAINED_WITHIN, self._changed, "disconnected", lost)

    def _on_update(self, change: Any) -> None:
        self._changed("update", SdkError.of(change.reason))


def _abort(transport: Any) -> None:
    if transport.websocket is not None:
        transport.websocket.transport.abort()


def _do_not_connect_again() -> None:
    """In place of the SDK's own attempts after the first."""
