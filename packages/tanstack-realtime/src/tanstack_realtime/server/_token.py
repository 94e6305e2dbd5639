"""Where `get_user` finds the token that a client sent.

Programs send it in the `Authorization` header. A browser cannot set headers on a WebSocket, so there it comes in the
first message. Never in the URL, which servers and proxies write to their logs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.requests import HTTPConnection

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["bearer_token", "connection_with_token"]

_SCOPE_KEY: Final = "tanstack_realtime.token"


def bearer_token(connection: HTTPConnection, /) -> str | None:
    """Return the token that came with a connection, or None.

    A token in the first message wins over the `Authorization: Bearer` header of the handshake.

    Example:
        >>> async def get_user(connection):
        ...     token = bearer_token(connection)
        ...     return await user_of_token(token) if token else None
    """
    token = connection.scope.get(_SCOPE_KEY)
    if isinstance(token, str):
        return token
    scheme, _, value = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return None
    return value.strip() or None


def connection_with_token(scope: Mapping[str, Any], token: str | None, /) -> HTTPConnection:
    """Return the connection that `get_user` gets for a handshake whose first message brought `token`."""
    return HTTPConnection(dict(scope) if token is None else {**scope, _SCOPE_KEY: token})
