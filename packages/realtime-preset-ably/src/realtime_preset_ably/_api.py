"""Ably's REST API, over httpx: publishing, and revoking tokens.

A request that may or may not have arrived is sent again with the same message id, by which Ably delivers it once:
https://ably.com/docs/api/rest-api#idempotent
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import random
import secrets
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import quote

import httpx

from tanstack_realtime import PublishError
from tanstack_realtime._json import as_object, decode_object

from ._failures import Failure
from ._names import MARK_HEADER, client_id_of, mark_of

if TYPE_CHECKING:
    from tanstack_realtime.server import Publication

    from ._settings import ServerSettings

__all__ = ["AblyApi", "new_http"]

_ATTEMPTS: Final = 3
_ATTEMPT_TIME: Final = 2.5
"""Seconds for one attempt. All together stay below the ten that a client waits for ``/publish``."""

_PAUSE: Final = 0.2
"""Seconds before the second attempt; twice as many before the third."""


def new_http() -> httpx.AsyncClient:
    """Return what sends requests."""
    return httpx.AsyncClient(timeout=_ATTEMPT_TIME, follow_redirects=False)


class AblyApi:
    """The API with the application's key, from whatever loop and process."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        key = f"{settings.key_name}:{settings.key_secret}"
        self._headers = {
            "authorization": f"Basic {base64.b64encode(key.encode()).decode()}",
            "content-type": "application/json",
            "accept": "application/json",
            "x-ably-version": "5",
        }
        self._http: httpx.AsyncClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def publish(self, publication: Publication) -> None:
        """Publish an admitted message.

        Raises:
            PublishError: it did not happen, or nobody knows; `retryable` tells whether trying again can help.
        """
        channel = publication.channel.raw
        # As a string, since Ably takes no number, no true and no null by itself.
        message: dict[str, Any] = {"id": self._message_id(publication), "data": publication.text, "encoding": "json"}
        if publication.user_id is not None:
            message["clientId"] = client_id_of(publication.user_id)
        if publication.link is not None:
            message["extras"] = {"headers": {MARK_HEADER: mark_of(publication.link)}}
        what = f"publish to {channel!r}"
        answer = await self._send(f"/channels/{quote(channel, safe='')}/messages", message, what, channel)
        if isinstance(answer, Failure):
            raise answer.error(what, channel, self._settings)

    async def revoke(self, client_id: str, *, issued_before: float | None, margin: bool) -> bool:
        """Revoke a client's tokens. Tells whether the key's tokens can be revoked.

        Args:
            client_id: whose.
            issued_before: seconds since 1970; older tokens are revoked. None for all of now.
            margin: whether a client has half a minute to get another token, and so keeps its connection.

        Raises:
            PublishError: Ably could not be told.
        """
        body: dict[str, Any] = {"targets": [f"clientId:{client_id}"], "allowReauthMargin": margin}
        if issued_before is not None:
            body["issuedBefore"] = int(issued_before * 1000)
        path = f"/keys/{quote(self._settings.key_name, safe='')}/revokeTokens"
        answer = await self._send(path, body, "revoke", None)
        failures = [answer] if isinstance(answer, Failure) else list(_failed_targets(answer))
        if any(failure.is_not_revocable for failure in failures):
            return False
        for failure in failures:
            raise failure.error("revoke", None, self._settings)
        return True

    async def aclose(self) -> None:
        """Close kept connections. Idempotent."""
        http, self._http = self._http, None
        if http is not None and self._loop is asyncio.get_running_loop():
            await http.aclose()

    # -- inside --------------------------------------------------------------------------------------------------------

    def _message_id(self, publication: Publication) -> str:
        """Return what makes a retry the same message.

        A mutation's message gets the same id whenever its client sends it again. User, channel and payload are part of
        it, so nobody is first with somebody else's and an id that was used twice loses nothing; nor can it be guessed.
        """
        data = as_object(publication.data)
        if not isinstance(data.get("id"), str) or not isinstance(data.get("origin"), str):
            return f"{secrets.token_urlsafe(12)}:0"
        text = f"{publication.channel.raw}\n{client_id_of(publication.user_id or '')}\n{publication.text}"
        digest = hmac.digest(self._settings.key_secret.encode(), text.encode(), hashlib.sha256)
        return f"{base64.urlsafe_b64encode(digest[:18]).decode()}:0"

    async def _send(
        self, path: str, body: Mapping[str, Any], what: str, channel: str | None
    ) -> Mapping[str, Any] | Failure:
        primary, *fallbacks = self._settings.rest_urls
        others = random.sample(fallbacks, min(len(fallbacks), _ATTEMPTS - 1))
        content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        last: Exception | None = None
        said = ""
        for number, url in enumerate([primary, *(others or [primary] * (_ATTEMPTS - 1))]):
            if number:
                await asyncio.sleep(_PAUSE * number * random.uniform(0.75, 1.25))  # noqa: S311 -- spreads retries
            try:
                async with asyncio.timeout(_ATTEMPT_TIME):
                    response = await self._bound().post(url + path, content=content, headers=self._headers)
            except (httpx.RequestError, TimeoutError) as error:
                last, said = error, f"{url} did not answer: {error!r}"
                continue
            if response.status_code >= 500:
                last, said = None, f"{url} answered {response.status_code}"
                continue
            answer = decode_object(response.content)
            if response.is_success:
                return answer
            wait = response.headers.get("retry-after")
            return Failure.read(response.status_code, answer.get("error"), retry_after=wait)
        raise PublishError(
            f"{what}: Ably cannot be reached now: {said}",
            channel=channel,
            code="unavailable",
            reason="Ably cannot be reached now",
            retryable=True,
        ) from last

    def _bound(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        if self._http is None or self._loop is not loop:
            self._http, self._loop = new_http(), loop
        return self._http


def _failed_targets(answer: Mapping[str, Any]) -> Iterator[Failure]:
    results: object = answer.get("results")
    for result in cast("list[object]", results) if isinstance(results, list) else []:
        if error := as_object(result).get("error"):
            yield Failure.read(400, error)
