"""The part of `centrifuge-python` that the preset uses, with types: the package itself has none that checkers see.

Its handlers are coroutines that run in its read loop. Ours never wait for anything, so what the SDK does between two
of them is done in one step of the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, Protocol, cast

import centrifuge  # type: ignore[import-untyped]

__all__ = [
    "ClientInfo",
    "ErrorEvent",
    "MembersResult",
    "Publication",
    "Refusal",
    "ReplyError",
    "SdkClient",
    "SdkSubscription",
    "StateEvent",
    "StreamPosition",
    "SubscribedEvent",
    "UnauthorizedError",
    "errors_of_the_connection",
    "new_client",
    "refusal_of",
    "wait_for_leftovers",
]

_NEVER: Final = 3600.0
"""Delay before the SDK would connect again by itself. The link is closed long before: the core drives reconnects."""

_TIMEOUT: Final = 10.0
"""Seconds that the server has to answer a command: more than its proxies may take."""

_LEFTOVERS_WITHIN: Final = 3.0

StreamPosition: Final[Any] = centrifuge.StreamPosition
UnauthorizedError: Final[Any] = centrifuge.UnauthorizedError
ReplyError: Final[type[Exception]] = centrifuge.ReplyError
errors_of_the_connection: Final[tuple[type[Exception], ...]] = (
    centrifuge.ClientDisconnectedError,
    centrifuge.OperationTimeoutError,
    centrifuge.SubscriptionUnsubscribedError,
)
"""What the SDK raises when no answer came."""


class ClientInfo(Protocol):
    """Who published, or is there; stamped by the server."""

    client: str
    user: str
    chan_info: Any


class Publication(Protocol):
    """A message."""

    offset: int
    data: Any
    info: ClientInfo | None
    tags: Mapping[str, str]


class SdkPosition(Protocol):
    """A place in a stream."""

    offset: int
    epoch: str


class SubscribedEvent(Protocol):
    """A channel was subscribed."""

    stream_position: SdkPosition | None
    was_recovering: bool
    recovered: bool


class StateEvent(Protocol):
    """A connection or a subscription ended, or the SDK is about to try again."""

    code: int
    reason: str


class ErrorEvent(Protocol):
    """Something failed that the SDK would try again."""

    code: int
    error: Exception


class Refusal(Protocol):
    """What a `ReplyError` carries."""

    code: int
    message: str
    temporary: bool


def refusal_of(error: Exception) -> Refusal | None:
    """Return what the server answered, or None where it did not."""
    return cast("Refusal", error) if isinstance(error, ReplyError) else None


class MembersResult(Protocol):
    """Who is in a channel."""

    clients: Mapping[str, ClientInfo]


class SdkSubscription(Protocol):
    """A channel of the SDK."""

    async def subscribe(self) -> None: ...

    async def unsubscribe(self) -> None: ...


class SdkClient(Protocol):
    """A connection of the SDK."""

    def new_subscription(
        self,
        channel: str,
        events: object,
        *,
        data: Any = None,
        get_state: Callable[[str], Awaitable[Any]] | None = None,
    ) -> SdkSubscription: ...

    def remove_subscription(self, sub: SdkSubscription) -> None: ...

    async def connect(self) -> None: ...

    async def disconnect(self) -> None: ...

    def publish(self, channel: str, data: Any) -> Coroutine[Any, Any, Any]: ...

    def presence(self, channel: str) -> Coroutine[Any, Any, MembersResult]: ...

    def rpc(self, method: str, data: Any) -> Coroutine[Any, Any, Any]: ...


def new_client(
    url: str,
    events: object,
    *,
    token: str,
    get_token: Callable[[], Awaitable[str]],
    name: str,
    headers: Mapping[str, str],
    use_proxy: bool,
) -> SdkClient:
    """Return a client that connects once, when it is told to."""
    client: Any = centrifuge.Client(
        url,
        events=cast("Any", events),
        token=token,
        get_token=get_token,
        timeout=_TIMEOUT,
        name=name,
        min_reconnect_delay=_NEVER,
        max_reconnect_delay=_NEVER,
        headers=dict(headers),
        proxy=True if use_proxy else None,
    )
    return cast("SdkClient", client)


async def wait_for_leftovers(client: SdkClient) -> None:
    """Wait until the tasks that a disconnected client has left have ended.

    The SDK closes its socket in a task of its own and has no public way to wait for that.
    """
    tasks: Sequence[asyncio.Task[Any]] = tuple(getattr(client, "_background_tasks", ()))
    mine = [task for task in tasks if task is not asyncio.current_task()]
    if mine:
        await asyncio.wait(mine, timeout=_LEFTOVERS_WITHIN)
