"""What a running server function can ask: who calls, and with which request."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from typing_extensions import TypeIs

from ._errors import UsageError

if TYPE_CHECKING:
    from starlette.requests import Request

__all__ = ["as_user", "current_request", "current_user", "is_user_id", "serving"]

_user: Final[ContextVar[str | None]] = ContextVar("tanstack_start.user", default=None)
_request: Final[ContextVar[Request | None]] = ContextVar("tanstack_start.request", default=None)


def current_user() -> str | None:
    """Return the id of the user on whose behalf the function runs.

    None for a caller that `get_user` does not know, and outside a request unless `as_user` says otherwise.
    """
    return _user.get()


def current_request() -> Request:
    """Return the HTTP request that called the function, a starlette `Request`. Its body has been read already.

    Raises:
        UsageError: the function was called in the server, not over HTTP.
    """
    request = _request.get()
    if request is None:
        raise UsageError("current_request(): this call did not come over HTTP, so it has no request")
    return request


@contextmanager
def as_user(user_id: str | None) -> Generator[None]:
    """Let calls in this block run on behalf of a user, where they do not come over HTTP.

    For tests, jobs, and user interfaces that run in the server.

    Raises:
        UsageError: the id is neither a non-empty str nor None.
    """
    if not is_user_id(user_id):
        raise UsageError(f"as_user({user_id!r}): pass the user's id as a non-empty str, or None for nobody")
    token = _user.set(user_id)
    try:
        yield
    finally:
        _user.reset(token)


def is_user_id(value: object) -> TypeIs[str | None]:
    """Tell whether a value can stand for a user, or for nobody."""
    return value is None or (isinstance(value, str) and bool(value))


@contextmanager
def serving(request: Request, user_id: str | None) -> Generator[None]:
    """Set both for one HTTP request."""
    token = _request.set(request)
    try:
        with as_user(user_id):
            yield
    finally:
        _request.reset(token)
