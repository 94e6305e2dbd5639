"""What the preset reads from the environment, and its times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from tanstack_realtime import ConfigurationError, EnvVar

__all__ = [
    "MAX_STATE_BYTES",
    "RECONCILE_INTERVAL",
    "RECONCILE_SPREAD",
    "SERVER_ENV",
    "SOCKET_PATH",
    "ServerSettings",
    "socket_url",
]

MAX_STATE_BYTES: Final = 2048
"""Largest state of a member, as UTF-8 JSON. Centrifugo carries it in every join and every list of members."""

RECONCILE_INTERVAL: Final = 30.0
"""Seconds after which a link asks for the members of a room again."""

RECONCILE_SPREAD: Final = 6.0
"""And up to so many more, at random, so that those in a room do not all ask at once."""

SOCKET_PATH: Final = "/connection/websocket"
"""Where Centrifugo takes WebSockets unless it is told otherwise."""

SERVER_ENV: Final = (
    EnvVar(name="REALTIME_API_URL", purpose="Centrifugo's HTTP API, for example http://127.0.0.1:8000/api"),
    EnvVar(name="REALTIME_API_KEY", purpose="the key of that API: http_api.key", secret=True),
    EnvVar(
        name="REALTIME_URL",
        purpose="Centrifugo as clients reach it, for example wss://example.com/connection/websocket",
        aliases=("VITE_REALTIME_URL",),
    ),
    EnvVar(
        name="REALTIME_TOKEN_SECRET",
        purpose="signs the tokens of connections: client.token.hmac_secret_key, 32 characters or more",
        secret=True,
    ),
    EnvVar(
        name="REALTIME_PROXY_SECRET",
        purpose="proves that a question comes from Centrifugo: the header X-Realtime-Proxy-Secret",
        secret=True,
    ),
)

_SHORTEST_SECRET: Final = 32
_SCHEMES: Final[Mapping[str, str]] = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}


def socket_url(url: str, name: str) -> str:
    """Return a WebSocket address, with Centrifugo's path where `url` has none.

    Raises:
        ConfigurationError: not an absolute address; the message names the variable.
    """
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise ConfigurationError(
            f"{name}={url!r} is not Centrifugo's address; write for example ws://localhost:8000{SOCKET_PATH}",
            reason=f"{name} is not an address",
        )
    return f"{_SCHEMES[parts.scheme]}://{parts.netloc}{parts.path.rstrip('/') or SOCKET_PATH}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """The server half's settings. Its `repr` shows no secret.

    Attributes:
        api_url: Centrifugo's HTTP API, without a slash at the end.
        socket_url: where clients connect.
        api_key: of the API.
        token_secret: signs tokens.
        proxy_secret: what Centrifugo shows to the proxies.
    """

    api_url: str
    socket_url: str
    api_key: str = field(repr=False)
    token_secret: str = field(repr=False)
    proxy_secret: str = field(repr=False)

    @classmethod
    def read(cls, values: Mapping[str, str]) -> ServerSettings:
        """Check the values of `SERVER_ENV`.

        Raises:
            ConfigurationError: one cannot be used.
        """
        api = urlsplit(values["REALTIME_API_URL"])
        if api.scheme not in ("http", "https") or not api.hostname:
            raise ConfigurationError(
                f"REALTIME_API_URL={values['REALTIME_API_URL']!r} is not an address; write for example "
                "http://127.0.0.1:8000/api",
                reason="REALTIME_API_URL is not an address",
            )
        for name in ("REALTIME_TOKEN_SECRET", "REALTIME_PROXY_SECRET"):
            if len(values[name]) < _SHORTEST_SECRET:
                raise ConfigurationError(
                    f"{name} has {len(values[name])} characters, which can be guessed; take at least "
                    f"{_SHORTEST_SECRET}: python -c 'import secrets; print(secrets.token_urlsafe(32))'",
                    reason=f"{name} is too short",
                )
        if values["REALTIME_TOKEN_SECRET"] == values["REALTIME_PROXY_SECRET"]:
            raise ConfigurationError(
                "REALTIME_TOKEN_SECRET and REALTIME_PROXY_SECRET are the same; take two, so that who sees a request of "
                "a proxy cannot sign tokens",
                reason="one secret for two purposes",
            )
        return cls(
            api_url=f"{api.scheme}://{api.netloc}{api.path.rstrip('/') or '/api'}",
            socket_url=socket_url(values["REALTIME_URL"], "REALTIME_URL"),
            api_key=values["REALTIME_API_KEY"],
            token_secret=values["REALTIME_TOKEN_SECRET"],
            proxy_secret=values["REALTIME_PROXY_SECRET"],
        )
