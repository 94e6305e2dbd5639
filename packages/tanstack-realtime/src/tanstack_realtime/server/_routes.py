"""The routes that exist on every preset: ``POST /publish`` and ``GET /config``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, cast

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tanstack_realtime._errors import MessageError, RealtimeError
from tanstack_realtime._json import decode_json

from ._requests import error_response, read_body, require_json

if TYPE_CHECKING:
    from ._gate import Gate
    from ._limiter import PublishLimiter
    from ._preset import Publication, ServerPreset

__all__ = ["PROTOCOL", "common_routes"]

PROTOCOL: Final = 1
"""Version of these routes."""

_ENVELOPE_BYTES: Final = 1024
"""What a publish body may hold besides the payload: the channel, the link and the member names."""

_LONGEST_LINK: Final = 64


def common_routes(
    *,
    gate: Gate,
    preset_name: str,
    preset: ServerPreset,
    publish: Callable[[Publication], Awaitable[None]],
    max_message_bytes: int,
    limiter: PublishLimiter,
) -> list[Route]:
    """Build the routes of every preset."""

    async def handle_publish(request: Request) -> Response:
        try:
            gate.check_origin(request)
            require_json(request)
            user_id, _ = await gate.authenticate(request)
            limiter.admit(request, user_id)
            body = _publish_body(await read_body(request, max_message_bytes + _ENVELOPE_BYTES))
            publication = await gate.admit_publish(user_id, body["channel"], body["data"])
            await publish(replace(publication, link=body.get("link")))
        except RealtimeError as error:
            return error_response(error)
        return JSONResponse({})

    async def handle_config(request: Request) -> Response:
        return JSONResponse({"preset": preset_name, "url": preset.public_url(request), "protocol": PROTOCOL})

    return [
        Route("/publish", handle_publish, methods=["POST"]),
        Route("/config", handle_config, methods=["GET"]),
    ]


def _publish_body(body: bytes) -> dict[str, Any]:
    try:
        parsed: object = decode_json(body)
    except ValueError as error:
        raise MessageError(f"the body is not JSON: {error}", code="bad_request", reason="not JSON") from error
    if not isinstance(parsed, dict) or "channel" not in parsed or "data" not in parsed:
        raise MessageError('the body must be {"channel": "…", "data": …}', code="bad_request")
    members = cast("dict[str, Any]", parsed)
    link: object = members.get("link")
    if link is not None and not (isinstance(link, str) and 0 < len(link) <= _LONGEST_LINK and link.isascii()):
        raise MessageError(f'"link" is at most {_LONGEST_LINK} characters of ASCII, or left out', code="bad_request")
    return members
