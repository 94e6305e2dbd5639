"""The server's HTTP routes as the client uses them: ``POST /publish``, ``GET /config``, a preset's tokens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from ._errors import (
    AuthenticationError,
    ChannelDeniedError,
    ConfigurationError,
    ConnectionLostError,
    PresetMismatchError,
    PublishError,
    RealtimeError,
)
from ._http import Http, HttpResponse
from ._json import as_object, decode_object, encode_json

__all__ = ["Endpoint", "ask_for_token"]

_TEMPORARY: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


class Endpoint:
    """The routes below one base address.

    Args:
        url: the base address, without a slash at the end; None where there is none, as in process.
        http: sends requests.
        headers: gathers the headers of a request that is authenticated.
    """

    def __init__(self, url: str | None, http: Http, headers: Callable[[], Awaitable[Mapping[str, str]]]) -> None:
        self._url = url
        self._http = http
        self._headers = headers
        self._checked = False

    async def publish(self, channel: str, data: Any, *, link: str | None = None) -> None:
        """Publish through the server.

        Args:
            channel: wire name.
            data: the payload.
            link: the connection that publishes, where the preset sends it along with the message.

        Raises:
            ConfigurationError: there is no address.
            AuthenticationError: the server does not know us.
            ChannelDeniedError: not allowed.
            PublishError: refused, too large, rate-limited; `retryable` tells.
            ConnectionLostError: there was no answer; it may have happened or not.
        """
        if self._url is None:
            raise ConfigurationError(
                "publishing over HTTP needs the server's address: create_realtime_client('https://host'), or "
                "REALTIME_URL",
                channel=channel,
                reason="no url",
            )
        try:
            named = {} if link is None else {"link": link}
            body = encode_json({"channel": channel, "data": data, **named}).encode()
        except ValueError as error:
            raise PublishError(
                f"the data for {channel!r} is not JSON: {error}", channel=channel, code="bad_data", reason="not JSON"
            ) from error
        headers = {**await self._headers(), "content-type": "application/json"}
        response = await self._http("POST", f"{self._url}/publish", headers=headers, body=body)
        if response.status >= 300:
            raise _refusal(channel, response)

    async def check_preset(self, preset: str) -> None:
        """Ask once whether the server runs `preset` too.

        Raises:
            PresetMismatchError: it runs another.
            ConnectionLostError: it did not say.
        """
        if self._url is None or self._checked:
            return
        where = f"{self._url}/config"
        response = await self._http("GET", where, headers={}, body=None)
        config = decode_object(response.body)
        found = config.get("preset")
        if response.status != 200 or not isinstance(found, str):
            raise ConnectionLostError(
                f"{where} answered {response.status} without naming a preset; is Realtime mounted there?",
                code=str(response.status),
                reason=f"{where} answered {response.status}",
            )
        if found != preset:
            raise PresetMismatchError(
                f"the server at {self._url} runs preset {found!r}, this client {preset!r}; name the same one on both "
                f"sides, for example REALTIME_PRESET={found}",
                reason=f"the server runs preset {found!r}",
            )
        self._checked = True


async def ask_for_token(
    http: Http, where: str, headers: Mapping[str, str], question: object, /, *, preset: str
) -> Mapping[str, Any]:
    """Ask the route at which a preset's server half gives tokens.

    Args:
        http: sends requests.
        where: the route's address.
        headers: tell the application who we are.
        question: the body.
        preset: its name, for people.

    Raises:
        AuthenticationError: the application does not know us.
        ConnectionLostError: there was no answer, or no token; `retryable` tells.
    """
    sent = {**headers, "content-type": "application/json"}
    response = await http("POST", where, headers=sent, body=encode_json(question).encode())
    answer, status = decode_object(response.body), response.status
    if status == 200:
        return answer
    error = as_object(answer.get("error"))
    reason = str(error.get("reason") or f"HTTP {status}")
    if status in (401, 403):
        code = str(error.get("code") or "unauthenticated")
        raise AuthenticationError(f"{where} gave no token: {reason}", code=code, reason=reason)
    advice = f"; is Realtime mounted there, with the {preset} preset?" if status in (404, 405) else ""
    raise ConnectionLostError(
        f"{where} answered {status}: {reason}{advice}",
        code=str(status),
        reason=reason,
        retryable=not error or bool(error.get("retryable", status in _TEMPORARY)),
    )


def _refusal(channel: str, response: HttpResponse) -> RealtimeError:
    named = as_object(decode_object(response.body).get("error"))
    code, reason = str(named.get("code") or response.status), str(named.get("reason") or f"HTTP {response.status}")
    kind: type[RealtimeError] = PublishError
    if response.status == 401:
        kind = AuthenticationError
    elif response.status == 403:
        kind = ChannelDeniedError
    wait: object = named.get("retry_after")
    advice = "; is Realtime mounted there?" if response.status == 404 else ""
    return kind(
        f"the server refused a message on {channel!r}: {reason} ({code}){advice}",
        channel=channel,
        code=code,
        reason=reason,
        retryable=bool(named.get("retryable", response.status in _TEMPORARY)),
        retry_after=float(wait) if isinstance(wait, int | float) else None,
    )
