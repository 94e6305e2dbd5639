"""HTTP for the few requests that a client makes, over whatever the platform has.

`Http` is one callable, so that tests, and hosts with an HTTP stack of their own, can replace it. The default is httpx
(extra ``http``), imported at the first request; in a browser it is the browser's ``fetch``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from ._errors import ConfigurationError, ConnectionLostError

__all__ = ["DefaultHttp", "Http", "HttpResponse"]

_TIMEOUT: Final = 10.0


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
    """httpx, or the browser's ``fetch`` under Pyodide."""

    def __init__(self) -> None:
        self._client: Any = None

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
        if self._client is None:
            self._client = httpx.AsyncClient(timeout=_TIMEOUT, follow_redirects=False)
        try:
            response = await self._client.request(method, url, headers=dict(headers), content=body)
        except httpx.RequestError as error:
            raise ConnectionLostError(f"{method} {url} failed: {error!r}", reason=str(error) or repr(error)) from error
        return HttpResponse(response.status_code, response.content)

    async def aclose(self) -> None:
        """Close kept connections. Idempotent."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


async def _fetch(method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpResponse:
    fetch: Any = __import__("pyodide.http", fromlist=["pyfetch"]).pyfetch
    options = {} if body is None else {"body": body.decode()}
    try:
        response = await fetch(url, method=method, headers=dict(headers), redirect="error", **options)
        return HttpResponse(response.status, await response.bytes())
    except OSError as error:
        raise ConnectionLostError(f"{method} {url} failed: {error!r}", reason=str(error) or repr(error)) from error
