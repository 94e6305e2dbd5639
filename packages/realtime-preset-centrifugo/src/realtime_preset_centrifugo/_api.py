"""Centrifugo's HTTP API, through `cent`: publishing, and ending what a user has.

Centrifugo answers an error with status 200; `cent` raises it, and here it becomes a `PublishError`.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from typing import TYPE_CHECKING, Any, Final, cast

from cent import (
    AsyncClient,
    CentApiResponseError,
    CentError,
    CentTransportError,
    CentUnauthorizedError,
    DisconnectRequest,
    PublishRequest,
    UnsubscribeRequest,
)
from cent.dto import CentRequest, Disconnect

from tanstack_realtime import PublishError

from ._codes import REVOKED
from ._names import DATA_PREFIX, subject_of
from ._subscription import USER_TAG

if TYPE_CHECKING:
    from tanstack_realtime.server import Publication

    from ._settings import ServerSettings

__all__ = ["CentrifugoApi", "idempotency_key"]

_TIMEOUT: Final = 5.0
_TEMPORARY: Final = frozenset({100, 111})


def idempotency_key(publication: Publication) -> str | None:
    """Return what makes a retry of a mutation's message the same message, or None for one that is none.

    Centrifugo delivers one of several with the same key on a channel. The user is part of it, so nobody can be first
    with somebody else's; so is the payload, so an id that was used twice loses nothing.
    """
    payload: object = publication.data
    data = cast("dict[str, object]", payload) if isinstance(payload, dict) else {}
    if not isinstance(data.get("id"), str) or not isinstance(data.get("origin"), str):
        return None
    return hashlib.sha256(f"{publication.user_id or ''}\n{publication.text}".encode()).hexdigest()


class CentrifugoApi:
    """The API, from whatever loop and process."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._client: AsyncClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def publish(self, publication: Publication) -> None:
        """Publish an admitted message.

        Raises:
            PublishError: it did not happen, or nobody knows; `retryable` tells whether trying again can help.
        """
        channel = publication.channel.raw
        request = PublishRequest(
            channel=DATA_PREFIX + channel,
            data=None,
            b64data=base64.b64encode(publication.text.encode()).decode(),
            idempotency_key=idempotency_key(publication),
            tags=None if publication.user_id is None else {USER_TAG: subject_of(publication.user_id)},
        )
        await self._send(f"publish to {channel!r}", request, channel)

    async def unsubscribe(self, user_id: str, prefix: str, channel: str) -> None:
        """End a user's subscriptions to a channel in one of the namespaces.

        Raises:
            PublishError: Centrifugo could not be told.
        """
        request = UnsubscribeRequest(user=subject_of(user_id), channel=prefix + channel)
        await self._send(f"revoke {channel!r}", request, channel)

    async def disconnect(self, user_id: str) -> None:
        """End a user's connections, for good.

        Raises:
            PublishError: Centrifugo could not be told.
        """
        ending = Disconnect(code=REVOKED, reason="access revoked")
        await self._send("revoke", DisconnectRequest(user=subject_of(user_id), disconnect=ending), None)

    async def aclose(self) -> None:
        """Close kept connections. Idempotent."""
        client, self._client = self._client, None
        if client is not None and self._loop is asyncio.get_running_loop():
            await client.close()

    async def _send(self, what: str, request: CentRequest[Any], channel: str | None) -> None:
        try:
            await self._bound()._send(request)
        except CentUnauthorizedError as error:
            raise PublishError(
                f"{what}: Centrifugo refused the API key; REALTIME_API_KEY and its http_api.key differ",
                channel=channel,
                code="api_key",
                reason="Centrifugo refused the API key",
            ) from error
        except CentApiResponseError as error:
            advice = "; its configuration lacks the namespaces rt and rtp" if error.code == 102 else ""
            raise PublishError(
                f"{what}: Centrifugo answered {error.message} ({error.code}){advice}",
                channel=channel,
                code=str(error.code),
                reason=error.message,
                retryable=error.code in _TEMPORARY,
            ) from error
        except CentTransportError as error:
            raise PublishError(
                f"{what}: {self._settings.api_url} answered {error.status_code}; is it Centrifugo's API?",
                channel=channel,
                code=str(error.status_code),
                reason=f"HTTP {error.status_code}",
                retryable=error.status_code >= 500 or error.status_code == 429,
            ) from error
        except CentError as error:
            raise PublishError(
                f"{what}: Centrifugo at {self._settings.api_url} did not answer: {error}",
                channel=channel,
                code="unavailable",
                reason="Centrifugo did not answer",
                retryable=True,
            ) from error

    def _bound(self) -> AsyncClient:
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            self._client = AsyncClient(self._settings.api_url, self._settings.api_key, timeout=_TIMEOUT)
            self._loop = loop
        return self._client
