"""What the server half reads from the environment: the key, and where Ably is. A client needs none of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from tanstack_realtime import ConfigurationError, EnvVar

from ._hosts import hosts_of

__all__ = ["LONGEST_TTL", "SERVER_ENV", "SHORTEST_TTL", "ServerSettings"]

SHORTEST_TTL: Final = 60.0
"""Seconds. Ably asks for a new token half a minute before the old one ends, for a shorter one at once."""

LONGEST_TTL: Final = 900.0
"""Seconds, and the default. Who loses access without a revocation keeps it so long at most, as the capabilities say."""

SERVER_ENV: Final = (
    EnvVar(name="ABLY_API_KEY", purpose="an API key of the Ably app, appId.keyId:secret", secret=True),
    EnvVar(
        name="ABLY_ENDPOINT",
        purpose="another endpoint than Ably's default: http://127.0.0.1:8790 for a local server, or a routing policy",
        required=False,
    ),
    EnvVar(
        name="ABLY_TOKEN_TTL",
        purpose="seconds that a client's token holds, 60 to 900 (default)",
        required=False,
    ),
)

_KEY: Final = re.compile(r"([\w-]+\.[\w-]+):([^\s:]+)", re.ASCII)
_POLICY: Final = re.compile(r"(?:nonprod:)?[a-z0-9-]+", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """The server half's settings. Its `repr` does not show the secret.

    Attributes:
        key_name: the public half of the key.
        key_secret: the other one; signs and authenticates.
        endpoint: what a client's SDK takes as its endpoint, or None for its default.
        tls: whether Ably is reached with TLS.
        rest_urls: where REST requests go, without a slash at the end: the primary, then what to fall back to.
        token_ttl: seconds that a token holds.
    """

    key_name: str
    key_secret: str = field(repr=False)
    endpoint: str | None
    tls: bool
    rest_urls: tuple[str, ...]
    token_ttl: float

    @property
    def socket_url(self) -> str:
        """Return the WebSocket address of the primary host."""
        return "ws" + self.rest_urls[0].removeprefix("http")

    @classmethod
    def read(cls, values: Mapping[str, str]) -> ServerSettings:
        """Check the values of `SERVER_ENV`.

        Raises:
            ConfigurationError: one cannot be used. The message never shows the key.
        """
        key = _KEY.fullmatch(values["ABLY_API_KEY"])
        if key is None:
            raise ConfigurationError(
                "ABLY_API_KEY is not an API key; copy the whole of it from the app's dashboard, it looks like "
                "appId.keyId:secret",
                reason="ABLY_API_KEY is not an API key",
            )
        endpoint, tls, rest_urls = _addresses(values.get("ABLY_ENDPOINT", ""))
        return cls(
            key_name=key[1],
            key_secret=key[2],
            endpoint=endpoint,
            tls=tls,
            rest_urls=rest_urls,
            token_ttl=_seconds(values.get("ABLY_TOKEN_TTL", "")),
        )


def _addresses(endpoint: str) -> tuple[str | None, bool, tuple[str, ...]]:
    scheme, _, rest = endpoint.rpartition("://")
    if not scheme and (not rest or _POLICY.fullmatch(rest)):
        return endpoint or None, True, tuple(f"https://{host}" for host in hosts_of(endpoint or None))
    parts = urlsplit(f"//{rest}")
    try:
        sound = bool(parts.hostname) and parts.port != 0 and scheme in ("", "http", "https")
    except ValueError:
        sound = False
    if not sound or parts.path.strip("/") or parts.query or "@" in rest:
        raise ConfigurationError(
            f"ABLY_ENDPOINT={endpoint!r} is no endpoint; write http://127.0.0.1:8790 for a local server, "
            "https://ably.example.com for another one, or the name of a routing policy",
            reason="ABLY_ENDPOINT is not an endpoint",
        )
    tls = scheme != "http"
    host = parts.netloc
    if hosts_of(host) != (host,):  # the word alone would be a routing policy
        host = f"{host}:{443 if tls else 80}"
    return host, tls, (f"http{'s' if tls else ''}://{host}",)


def _seconds(text: str) -> float:
    try:
        seconds = float(text or LONGEST_TTL)
    except ValueError:
        seconds = 0.0
    if not SHORTEST_TTL <= seconds <= LONGEST_TTL:
        raise ConfigurationError(
            f"ABLY_TOKEN_TTL={text!r}: write seconds from {SHORTEST_TTL:g} to {LONGEST_TTL:g}. Shorter tokens would be "
            "renewed all the time, longer ones would outlive a revocation by more than the preset declares",
            reason="ABLY_TOKEN_TTL is out of its range",
        )
    return seconds
