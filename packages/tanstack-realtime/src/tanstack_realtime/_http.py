"""HTTP for the few requests that a client makes, over whatever the platform has.

`Http` is one callable, so that tests, and hosts with an HTTP stack of their own, can replace it. The default is httpx
(extra ``http``), imported at the first request; in a browser it is the browser's ``fetch``.
"""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from ._errors import ConfigurationError, ConnectionLostError

__all__ = ["DefaultHttp", "Http", "HttpResponse", "is_loopback"]

_TIMEOUT: Final = 10.0

_NO_PROXIES: Final = {"http://": None, "https://": None}
"""Overrides the environment's proxies, and nothing else that it says, such as certificates."""


def is_loopback(url: str) -> bool:
    """Whether the address is this machine's own, which no proxy can reach for us."""
    host = urlsplit(url).hostname
    if host is None or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """Status and body; a redirect is not followed, since it could carry the token elsewhere."""

    status: int
    body: bytes


class Http(Protocol):
    """Sends one request."""

    async def __call__(
        self, method: str, url: str, /, *, headers: Mapping[str, str], body: bytes | None
    ) -> HttpResponse:
        """Send it and read the whole answer, whatever its status.

        Raises:
            ConnectionLostError: there was no answer.
        """
        ...


class DefaultHttp:
    """httpx, or the browser's ``fetch`` under Pyodide.

    Proxies named by the environment are used, except for loopback addresses.
    """

    def __init__(self) -> None:
        self._clients: dict[bool, Any] = {}

    async def __call__(
        self, method: str, url: str, /, *, headers: Mapping[str, str], body: bytes | None
    ) -> HttpResponse:
        if sys.platform == "emscripten":
            return await _fetch(method, url, headers, body)
        try:
            import httpx
        except ImportError as error:
            raise ConfigurationError(
                f"{method} {url} needs httpx; `pip install tanstack-realtime[http]`", reason="httpx is missing"
            ) from error
        here = is_loopback(url)
        if here not in self._clients:
            mounts = _NO_PROXIES if here else None
            self._clients[here] = httpx.AsyncClient(timeout=_TIMEOUT, follow_redirects=False, mounts=mounts)
        try:
            response = await self._clients[here].request(method, url, headers=dict(headers), content=body)
        except httpx.RequestError as error:
            raise ConnectionLostError(f"{method} {url} failed: {error!r}", reason=str(error) or repr(error)) from error
        return HttpResponse(response.status_code, response.content)

    async def aclose(self) -> None:
        """Close kept connections. Idempotent."""
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.aclose()


async def _fetch(method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpResponse:
    fetch: Any = __import__("pyodide.http", fromlist=["pyfetch"]).pyfetch
    options = {} if body is None else {"body": body.decode()}
    try:
        response = await fetch(url, method=method, headers=dict(headers), redirect="error", **options)
        return HttpResponse(response.status, await response.bytes())
    except OSError as error:
        raise ConnectionLostError(f"{method} {url} failed: {error!r}", reason=str(error) or repr(error)) from error
