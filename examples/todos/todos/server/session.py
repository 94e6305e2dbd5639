"""Who a window belongs to: the page's address says it. A real application looks its session up here."""

from __future__ import annotations

from urllib.parse import parse_qs

from starlette.datastructures import QueryParams
from starlette.types import ASGIApp, Receive, Scope, Send

from tanstack_start import as_user

from .users import TOKENS

__all__ = ["SignedIn"]


class SignedIn:
    """Lets everything that an application does for a window run on behalf of its user, or of nobody.

    The page's components, the collections' handlers and the server functions that they call all find the user with
    ``current_user()``.

    Args:
        app: the application that renders the page.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # ReactPy's WebSocket carries the query of the page's address as a parameter.
        page = QueryParams(scope.get("query_string", b"")).get("qs", "")
        user_id = parse_qs(page.removeprefix("?")).get("user", [""])[0]
        with as_user(user_id if user_id in TOKENS else None):
            await self._app(scope, receive, send)
