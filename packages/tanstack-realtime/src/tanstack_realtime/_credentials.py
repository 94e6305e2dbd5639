"""What a client shows of who it is: its headers, and a token that is fetched anew for every attempt."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias, cast

from ._errors import ConfigurationError, ConnectionLostError, RealtimeError

__all__ = ["Credentials", "GetToken"]

GetToken: TypeAlias = Callable[[], str | Awaitable[str | None] | None]
"""Returns a fresh token, sync or async; asked before every attempt and every HTTP request, and when one expires."""

_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(r"[!-~]([ !-~]*[!-~])?")
"""What every HTTP library sends as it is (RFC 9110, section 5.5, without the obsolete bytes above ASCII)."""


class Credentials:
    """One client's credentials.

    Args:
        get_token: the application's; None where the handshake says who we are.
        headers: extra headers of every request.
        report: takes what `get_token` raises.

    Raises:
        ConfigurationError: `get_token` is no function, or a header cannot be sent.
    """

    def __init__(
        self, get_token: GetToken | None, headers: Mapping[str, str] | None, report: Callable[[Exception], None]
    ) -> None:
        if get_token is not None and not callable(cast("object", get_token)):
            raise ConfigurationError("get_token= is a function that returns a token: write get_token=lambda: token")
        self.headers: Mapping[str, str] = MappingProxyType(_checked_headers(headers or {}))
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
        if token and not _HEADER_VALUE.fullmatch(token):
            raise ConfigurationError(
                "get_token returned a token with spaces around it or characters that no header can hold; strip() what "
                "was read from a file, and encode what is not ASCII, for example as base64"
            )
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


def _checked_headers(headers: object) -> dict[str, str]:
    if not isinstance(headers, Mapping):
        raise ConfigurationError("headers= is a mapping of names to values, such as {'x-team': 'blue'}")
    checked: dict[str, str] = {}
    for name, value in cast("Mapping[object, object]", headers).items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise ConfigurationError(f"headers= has the name {name!r}, which HTTP does not allow")
        if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value or "-"):
            raise ConfigurationError(
                f"headers= has a value for {name!r} that no header can hold; pass a str of printable ASCII characters, "
                f"without spaces around it"
            )
        checked[name] = value
    return checked
