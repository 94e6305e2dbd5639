"""What every route does with what came over HTTP, and how every refusal looks there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import JSONResponse, Response

from tanstack_realtime._errors import MessageError, RealtimeError

if TYPE_CHECKING:
    from starlette.requests import Request

__all__ = ["error_response", "read_body", "require_json"]

_STATUS: Final[Mapping[str, int]] = {
    "unauthenticated": 401,
    "bad_origin": 403,
    "denied": 403,
    "too_large": 413,
    "bad_media_type": 415,
    "rejected": 422,
    "rate_limited": 429,
    "unavailable": 503,
}


def require_json(request: Request, /) -> None:
    """Refuse a body that is not declared as JSON.

    A browser asks first before it sends this type to another site, so no page of that one acts with the user's cookies.

    Raises:
        MessageError: code ``bad_media_type``.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise MessageError(f"{request.url.path} takes application/json", code="bad_media_type")


async def read_body(request: Request, limit: int, /) -> bytes:
    """Return the body without ever holding more than `limit` bytes and one chunk of it.

    Raises:
        MessageError: code ``too_large``.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise MessageError(f"the body is larger than {limit} bytes", code="too_large")
    return bytes(body)


def error_response(error: RealtimeError, /) -> Response:
    """Return the answer that a refusal is: ``{"error": {"code": …, "reason": …, "retryable": …}}``."""
    status = _STATUS.get(error.code, 503 if error.retryable else 400)
    body: dict[str, Any] = {"code": error.code, "reason": error.reason, "retryable": error.retryable}
    headers = {"www-authenticate": "Bearer"} if status == 401 else {}
    if error.retry_after is not None:
        body["retry_after"] = round(error.retry_after, 3)
        headers["retry-after"] = str(math.ceil(error.retry_after))
    return JSONResponse({"error": body}, status_code=status, headers=headers)
