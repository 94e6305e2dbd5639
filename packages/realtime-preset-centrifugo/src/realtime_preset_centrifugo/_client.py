"""The client's transport: a token from the application's server, then a connection to Centrifugo."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import urlsplit

from tanstack_realtime import (
    Capabilities,
    ConfigurationError,
    ConnectionLostError,
    Link,
    LinkSink,
    OpenRequest,
)
from tanstack_realtime._endpoint import ask_for_token
from tanstack_realtime._http import is_loopback

from ._link import CentrifugoLink
from ._settings import SOCKET_PATH

if TYPE_CHECKING:
    from tanstack_realtime import Http

__all__ = ["CentrifugoTransport", "Pass", "open_link", "require_application"]

TOKEN_PATH: Final = "/token"  # noqa: S105 -- a path


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """What lets a client into Centrifugo.

    Attributes:
        url: the WebSocket address.
        user_id: who the token belongs to; empty for nobody.
        token: the connection token.
    """

    url: str
    user_id: str
    token: str = field(repr=False)


def require_application(url: str) -> None:
    """Refuse Centrifugo's own address, which knows nothing of the application's users.

    Raises:
        ConfigurationError: it is that.
    """
    if urlsplit(url).path.rstrip("/").endswith(SOCKET_PATH):
        raise ConfigurationError(
            f"{url!r} is Centrifugo's address; a client needs the application's, which gives it a token and "
            "Centrifugo's address: create_realtime_client('https://app.example.com'). On the server REALTIME_URL is "
            "Centrifugo's",
            reason="the address is Centrifugo's, not the application's",
        )


class CentrifugoTransport:
    """Connects a remote client.

    Args:
        capabilities: what the preset guarantees.
        http: sends requests.
    """

    def __init__(self, capabilities: Capabilities, http: Http) -> None:
        self._capabilities = capabilities
        self._http = http

    @property
    def capabilities(self) -> Capabilities:
        """What the preset guarantees."""
        return self._capabilities

    async def open(self, request: OpenRequest, sink: LinkSink, /) -> Link:
        """Get a token and connect with it."""
        url = request.url
        if url is None:
            raise ConfigurationError(
                "the centrifugo preset needs the application's address: create_realtime_client('http://host/_realtime')."
                " In the server's own process take realtime.local_transport(user_id=...)"
            )
        require_application(url)

        async def renew() -> str:
            token = None if request.get_token is None else await request.get_token()
            return (await self._admission(url, token, request.headers)).token

        admission = await self._admission(url, request.token, request.headers)
        return await open_link(admission, renew, request, sink, self._capabilities)

    async def _admission(self, url: str, token: str | None, headers: Mapping[str, str]) -> Pass:
        where = f"{url.rstrip('/')}{TOKEN_PATH}"
        sent = dict(headers) if token is None else {**headers, "authorization": f"Bearer {token}"}
        body = await ask_for_token(self._http, where, sent, {}, preset="centrifugo")
        values = [body.get(name) for name in ("url", "user", "token")]
        if not all(isinstance(value, str) for value in values):
            raise ConnectionLostError(
                f"{where} answered without a token; is Realtime mounted there?", reason="no token"
            )
        address, user_id, connection_token = cast("list[str]", values)
        return Pass(url=address, user_id=user_id, token=connection_token)


async def open_link(
    admission: Pass,
    renew: Callable[[], Awaitable[str]],
    request: OpenRequest,
    sink: LinkSink,
    capabilities: Capabilities,
) -> Link:
    """Connect to Centrifugo. Cancelling it closes what is half open."""
    link = CentrifugoLink(
        sink,
        url=admission.url,
        user_id=admission.user_id,
        token=admission.token,
        renew=renew,
        name=request.client_id or "python",
        headers={},  # the application's are not Centrifugo's business
        use_proxy=not is_loopback(admission.url),
        max_message_bytes=capabilities.max_message_bytes,
    )
    try:
        await link.connect()
    except BaseException:
        await link.close()
        raise
    return link
