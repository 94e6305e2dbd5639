"""The client's transport: a grant from the application's server, a token for it, then a connection to Ably."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tanstack_realtime import (
    JSON,
    Capabilities,
    ConfigurationError,
    ConnectionLostError,
    Link,
    LinkSink,
    OpenRequest,
)
from tanstack_realtime._endpoint import Endpoint, ask_for_token

from ._exchange import exchange
from ._grant import TOKEN_PATH, Application, Grant
from ._hosts import hosts_of
from ._link import AblyLink
from ._timing import AblyTiming

if TYPE_CHECKING:
    from tanstack_realtime import Http

__all__ = ["AblyTransport", "RemoteApplication", "open_link"]


class AblyTransport:
    """Connects a remote client.

    Args:
        capabilities: what the preset guarantees.
        http: sends requests, to the application and to Ably.
        timing: delays.
    """

    def __init__(self, capabilities: Capabilities, http: Http, *, timing: AblyTiming | None = None) -> None:
        self._capabilities = capabilities
        self._http = http
        self._timing = timing or AblyTiming()
        self._former: AblyLink | None = None

    @property
    def capabilities(self) -> Capabilities:
        """What the preset guarantees."""
        return self._capabilities

    async def open(self, request: OpenRequest, sink: LinkSink, /) -> Link:
        """Get a token and connect with it."""
        if request.url is None:
            raise ConfigurationError(
                "the ably preset needs the application's address: create_realtime_client('http://host/_realtime')."
                " In the server's own process take realtime.local_transport(user_id=...)"
            )
        application = RemoteApplication(request.url, request, self._http)
        # They are about to be subscribed again: one token for all of it, when everybody comes back at once.
        channels = () if self._former is None else self._former.left_open
        self._former = await open_link(application, sink, self._http, timing=self._timing, channels=channels)
        return self._former


async def open_link(
    application: Application,
    sink: LinkSink,
    http: Http,
    *,
    timing: AblyTiming | None = None,
    channels: Sequence[str] = (),
) -> AblyLink:
    """Connect to Ably. Cancelling it closes what is half open.

    Args:
        application: gives grants, and publishes.
        sink: is told.
        http: sends the requests for tokens to Ably.
        timing: delays.
        channels: that the first token is to name.
    """
    grant = await application.grant(channels)
    host, token = await exchange(http, grant, hosts_of(grant.endpoint))

    async def another(grant: Grant) -> Mapping[str, Any]:
        return (await exchange(http, grant, (host,)))[1]

    link = AblyLink(
        sink,
        application=application,
        grant=grant,
        asked=channels,
        host=host,
        token=token,
        exchange=another,
        timing=timing or AblyTiming(),
    )
    try:
        await link.connect()
    except BaseException:
        await link.close()
        raise
    return link


class RemoteApplication:
    """The application's side over HTTP.

    Args:
        url: of the realtime routes.
        request: who we are.
        http: sends requests.
    """

    def __init__(self, url: str, request: OpenRequest, http: Http) -> None:
        self._where = f"{url.rstrip('/')}{TOKEN_PATH}"
        self._request = request
        self._http = http
        self._first = True
        self._endpoint = Endpoint(url.rstrip("/"), http, self._headers)

    async def grant(self, channels: Sequence[str], /) -> Grant:
        """Ask the token endpoint."""
        question = {"channels": list(channels)}
        answer = await ask_for_token(self._http, self._where, await self._headers(), question, preset="ably")
        try:
            return Grant.from_json(answer)
        except ValueError as error:
            raise ConnectionLostError(
                f"{self._where} answered without a token request ({error}); is Realtime mounted there?",
                reason="no token request",
            ) from error

    async def publish(self, channel: str, data: JSON, link: str, /) -> None:
        """Ask the publish route."""
        await self._endpoint.publish(channel, data, link=link)

    async def _headers(self) -> Mapping[str, str]:
        first, self._first = self._first, False
        if first or self._request.get_token is None:
            token = self._request.token
        else:
            token = await self._request.get_token()
        headers = dict(self._request.headers)
        return headers if token is None else {**headers, "authorization": f"Bearer {token}"}
