"""Which web pages may call functions with the visitor's cookies.

A browser tells with every POST which site the page came from, in `Sec-Fetch-Site` and `Origin`; no page can leave them
out or forge them. Programs that are not browsers send neither, and carry nobody else's cookies, so a request without
both is not refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import urlsplit

from ._errors import UsageError

__all__ = ["OriginPolicy"]

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def _parse(url: str) -> tuple[str, str, int] | None:
    """Return scheme, host and port; None for what is not an origin of a web page."""
    try:
        parts = urlsplit(url)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return None
    if not parts.hostname or port is None:
        return None
    return parts.scheme, parts.hostname, port


class OriginPolicy:
    """The server's own pages, and those of listed origins.

    Args:
        allowed: origins of other sites, for example ``"https://app.example.com"``.

    Raises:
        UsageError: something listed is not an origin.
    """

    def __init__(self, allowed: Iterable[str] | None) -> None:
        if isinstance(allowed, str):
            raise UsageError(f"allowed_origins={allowed!r} is one string; pass a list: [{allowed!r}]")
        self._allowed: set[tuple[str, str, int]] = set()
        for item in allowed or ():
            parsed = _parse(item)
            if parsed is None or item.partition("://")[2].strip("/?#") != urlsplit(item).netloc or item[-1] == "/":
                raise UsageError(
                    f"allowed_origins holds {item!r}; an origin is scheme and host, for example "
                    "'https://app.example.com', without a path or a slash at the end"
                )
            self._allowed.add(parsed)

    def allows(self, headers: Mapping[str, str]) -> bool:
        """Decide about a request by its headers, whose names are in lower case."""
        origin = headers.get("origin")
        asking = _parse(origin) if origin is not None else None
        if asking in self._allowed:
            return True
        site = headers.get("sec-fetch-site")
        if site is not None:
            # "none" is the visitor, by the address bar or a bookmark.
            return site.lower() in ("same-origin", "none")
        if origin is None:
            return True
        # The page's scheme decides which port is left out of Host; behind a proxy the server sees another scheme.
        return asking is not None and asking == _parse(f"{asking[0]}://{headers.get('host', '')}")
