"""Clients in the server's own process: they ask it by a call, and go through Ably as all do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tanstack_realtime import JSON, Capabilities, Link, LinkSink, OpenRequest

if TYPE_CHECKING:
    from tanstack_realtime import Http
    from tanstack_realtime.server import Publication, ServerContext

    from ._grant import Grant

__all__ = ["LocalApplication", "LocalTransport"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalApplication:
    """The application as a client of this process reaches it, for a user whom the caller has authenticated.

    Attributes:
        context: the gate.
        user_id: who.
        sign: gives a user's grant.
        deliver: takes an admitted message.
    """

    context: ServerContext
    user_id: str
    sign: Callable[[str, Sequence[str]], Awaitable[Grant]]
    deliver: Callable[[Publication], Awaitable[None]]

    async def grant(self, channels: Sequence[str], /) -> Grant:
        """Decide about every channel, and sign."""
        return await self.sign(self.user_id, channels)

    async def publish(self, channel: str, data: JSON, link: str, /) -> None:
        """Publish through the gate."""
        publication = replace(await self.context.gate.admit_publish(self.user_id, channel, data), link=link)
        await self.deliver(publication)
        self.context.observer.published(publication)


class LocalTransport:
    """Connects a client of this process.

    Args:
        application: whom it asks.
        http: exchanges token requests for tokens, at Ably.
        capabilities: of the preset.
    """

    def __init__(self, application: LocalApplication, http: Http, capabilities: Capabilities) -> None:
        self._application = application
        self._http = http
        # There is no address for HTTP, so collections publish as live channels do.
        self._capabilities = replace(capabilities, publish_over_link=True)

    @property
    def capabilities(self) -> Capabilities:
        """What the preset guarantees."""
        return self._capabilities

    async def open(self, _request: OpenRequest, sink: LinkSink, /) -> Link:
        """Connect. The request's address and token are not used."""
        from ._client import open_link  # a server without clients in process does not need the SDK

        return await open_link(self._application, sink, self._http)
