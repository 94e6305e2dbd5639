"""What a client shows of who it is: its headers, and a token that is fetched anew for every attempt."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias, cast

from ._errors import ConfigurationError, ConnectionLostError, RealtimeError

__all__ = ["Credentials", "GetToken"]

GetToken: TypeAlias = Callable[[], str | Awaitable[str | None] | None]
"""Returns a fresh token, sync or async; asked before every attempt and every HTTP request, and when one expires."""


class Credentials:
    """One client's credentials.

    Args:
        get_token: the application's; None where the handshake says who we are.
        headers: extra headers of every request.
        report: takes what `get_token` raises.
    """

    def __init__(
        self, get_token: GetToken | None, headers: Mapping[str, str] | None, report: Callable[[Exception], None]
    ) -> None:
        self.headers: Mapping[str, str] = MappingProxyType(dict(headers or {}))
        self._get_token = get_token
        self._report = report

    async def token(self) -> str | None:
        """Return a fresh token, None without one.

        Raises:
            RealtimeError: `get_token` failed: as it says itself, or as a connection that could not be made.
            ConfigurationError: it returned something else.
        """
        if self._get_token is None:
            return None
        try:
            result = self._get_token()
            token = cast("object", await result if inspect.isawaitable(result) else result)
        except RealtimeError:
            raise
        except Exception as error:
            failure = ConnectionLostError(f"get_token raised {error!r}", reason=f"get_token raised {error!r}")
            failure.__cause__ = error
            self._report(failure)
            raise failure from error
        if token is not None and not isinstance(token, str):
            raise ConfigurationError(f"get_token returned {type(token).__name__}; return a str, or None for no token")
        return token

    async def request_headers(self) -> Mapping[str, str]:
        """Return the headers of an HTTP request, with a fresh token."""
        token = await self.token()
        return self.headers if token is None else {**self.headers, "authorization": f"Bearer {token}"}

    @property
    def refresh(self) -> Callable[[], Awaitable[str | None]] | None:
        """What gives a living connection another token; None where there is none to give."""
        return None if self._get_token is None else self._refreshed

    async def _refreshed(self) -> str | None:
        try:
            return await self.token()
        except RealtimeError as error:
            if not error.retryable:  # the others have been reported, or are tried again
                self._report(error)
            raise
