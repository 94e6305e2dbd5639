"""Which web pages may talk to the server with the visitor's cookies.

A browser sends `Origin` with every WebSocket handshake and every POST; no page can leave it out or forge it. Programs
that are not browsers send none, and carry no cookies of somebody else, so a missing header is not refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from tanstack_realtime._errors import ConfigurationError

__all__ = ["OriginPolicy"]

_DEFAULT_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def _authority(url: str) -> tuple[str, int | None] | None:
    """Return host and explicit port without a scheme's default, or None for what is not an origin."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if not parts.hostname:
        return None
    return parts.hostname.lower(), None if port == _DEFAULT_PORTS.get(parts.scheme) else port


class OriginPolicy:
    """Same host, or listed.

    Args:
        allowed: origins of other sites, for example ``"https://app.example.com"``; ``"*"`` for every site.
    """

    def __init__(self, allowed: Iterable[str] | None = None) -> None:
        if isinstance(allowed, str):
            raise ConfigurationError(f"allowed_origins={allowed!r} is one string; pass a list: [{allowed!r}]")
        listed = tuple(allowed or ())
        for origin in listed:
            parts = urlsplit(origin)
            if origin != "*" and (not parts.scheme or not parts.netloc or parts.path or parts.query):
                raise ConfigurationError(
                    f"allowed_origins holds {origin!r}; an origin is scheme and host, for example "
                    "'https://app.example.com', without a path or a slash at the end"
                )
        self._any = "*" in listed
        self._allowed = frozenset((urlsplit(item).scheme.lower(), _authority(item)) for item in listed if item != "*")

    def allows(self, origin: str | None, host: str | None, scheme: str) -> bool:
        """Decide about one request.

        Args:
            origin: the `Origin` header, or None without one.
            host: the `Host` header.
            scheme: the request's scheme as the server sees it. Behind a proxy that ends TLS it is the inner one, which
                is why the scheme of `origin` is not compared for the same host.
        """
        if origin is None or self._any:
            return True
        asking = _authority(origin)
        if asking is None:
            return False
        origin_scheme = urlsplit(origin).scheme.lower()
        if (origin_scheme, asking) in self._allowed:
            return True
        if not host:
            return False
        # A default port is left out of Host by the page's scheme, which only the page knows for sure.
        return asking in (_authority(f"{origin_scheme}://{host}"), _authority(f"{scheme}://{host}"))
