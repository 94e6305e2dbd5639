"""What Centrifugo asks the application: may this user subscribe, may it publish.

Centrifugo takes every answer with status 200 for a grant unless it has an ``error`` at the top level, and every other
status for a temporary failure, which its clients try again. So a refusal is always spelled out here, and whatever fails
unexpectedly ends in a status.
"""

from __future__ import annotations

import base64
import hmac
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tanstack_realtime import AuthenticationError, ChannelError, MessageError, PublishError, RealtimeError
from tanstack_realtime._json import decode_json, encode_json
from tanstack_realtime.server._requests import read_body

from ._api import idempotency_key
from ._codes import proxy_error
from ._config import PROXY_HEADER, PUBLISH_ROUTE, SUBSCRIBE_ROUTE
from ._names import DATA_PREFIX, PRESENCE_PREFIX, user_of
from ._settings import MAX_STATE_BYTES

if TYPE_CHECKING:
    from tanstack_realtime.server import Operation, Permissions, ServerContext

__all__ = ["Proxies"]

_ENVELOPE_BYTES: Final = 4096
"""What Centrifugo's question may have around the payload."""

_WATCHER: Final[Mapping[str, Any]] = {
    "presence": {"value": False},
    "join_leave": {"value": False},
    "force_push_join_leave": {"value": True},
}
"""Overrides for one who wants to know the members without being one."""

_T = TypeVar("_T")

_Answer = Callable[[str, Mapping[str, Any]], Awaitable[dict[str, Any]]]


class Proxies:
    """The routes that only Centrifugo may call.

    Args:
        context: the gate, and where failures go.
        secret: what Centrifugo has to show.
        now: seconds since 1970.
        revocations: how many there were so far; a decision during which it grows is made again.
    """

    def __init__(
        self,
        context: ServerContext,
        *,
        secret: str,
        now: Callable[[], float],
        revocations: Callable[[], int],
    ) -> None:
        self._context = context
        self._secret = secret.encode()
        self._now = now
        self._revocations = revocations

    def routes(self) -> list[Route]:
        """Return the routes, below the mount."""
        asked: dict[str, _Answer] = {SUBSCRIBE_ROUTE: self._subscribe, PUBLISH_ROUTE: self._publish}
        return [Route(path, self._endpoint(answer), methods=["POST"]) for path, answer in asked.items()]

    def _endpoint(self, answer: _Answer) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            shown = request.headers.get(PROXY_HEADER, "").encode()
            if not hmac.compare_digest(shown, self._secret):
                error = AuthenticationError(
                    f"{request.url.path} was called without the proxy secret; if it was Centrifugo, its "
                    "CENTRIFUGO_VAR_PROXY_SECRET and REALTIME_PROXY_SECRET differ",
                    reason="no proxy secret",
                )
                self._context.observer.denied(None, None, error)
                return JSONResponse({"error": error.reason}, status_code=401)
            body = await self._read(request)
            if body is None:
                return JSONResponse({"error": "not a question of Centrifugo's"}, status_code=400)
            try:
                user_id = user_of(body.get("user"))
                if user_id is None:
                    raise AuthenticationError("a connection without a token asked for a channel", reason="no token")
                return JSONResponse({"result": await answer(user_id, body)})
            except RealtimeError as error:
                return JSONResponse(proxy_error(error))

        return endpoint

    async def _subscribe(self, user_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
        prefix, channel = _split(body.get("channel"))
        operation: Operation = "subscribe" if prefix == DATA_PREFIX else "presence"
        parsed = self._context.gate.parse(channel)
        state = _state(body.get("data"), channel) if prefix == PRESENCE_PREFIX else None
        grant = await self._unless_revoked(lambda: self._context.gate.admit(user_id, parsed, operation))
        result = self._until(grant)
        if prefix == PRESENCE_PREFIX:
            result |= {"override": _WATCHER} if state is None else {"info": {"s": state}}
        return result

    async def _publish(self, user_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
        prefix, channel = _split(body.get("channel"))
        if prefix != DATA_PREFIX:
            raise ChannelError(f"{channel!r} is not for messages", channel=channel, reason="not for messages")
        data: Any = body.get("data")
        publication = await self._unless_revoked(lambda: self._context.gate.admit_publish(user_id, channel, data))
        self._context.observer.published(publication)
        result: dict[str, Any] = {"b64data": base64.b64encode(publication.text.encode()).decode()}
        key = idempotency_key(publication)
        return result if key is None else {**result, "idempotency_key": key}

    async def _unless_revoked(self, decide: Callable[[], Awaitable[_T]]) -> _T:
        """Decide, and decide again for as long as somebody's access was ended meanwhile."""
        while True:
            revocations = self._revocations()
            decision = await decide()
            if revocations == self._revocations():
                return decision

    def _until(self, grant: Permissions) -> dict[str, Any]:
        return {} if grant.expires_in is None else {"expire_at": math.ceil(self._now() + grant.expires_in)}

    async def _read(self, request: Request) -> Mapping[str, Any] | None:
        """Return the question, or None for what is none. Never holds much more than a question may have."""
        limit = 6 * self._context.max_message_bytes + _ENVELOPE_BYTES
        try:
            parsed: object = decode_json(await read_body(request, limit))
        except (MessageError, ValueError):
            return None
        return cast("Mapping[str, Any]", parsed) if isinstance(parsed, dict) else None


def _split(channel: object) -> tuple[str, str]:
    for prefix in (DATA_PREFIX, PRESENCE_PREFIX):
        if isinstance(channel, str) and channel.startswith(prefix):
            return prefix, channel[len(prefix) :]
    raise ChannelError(f"{channel!r} is in neither of the preset's namespaces", reason="unknown namespace")


def _state(data: object, channel: str) -> Mapping[str, Any] | None:
    """Return the state with which somebody wants to be a member, or None for one who only wants to know."""
    if data is None:
        return None
    state: object = cast("dict[str, object]", data).get("s") if isinstance(data, dict) else None
    if not isinstance(state, dict):
        raise PublishError(f"a state on {channel!r} is not a JSON object", code="bad_data", reason="not an object")
    size = len(encode_json(cast("Any", state)).encode())
    if size > MAX_STATE_BYTES:
        raise PublishError(
            f"a state on {channel!r} has {size} bytes, more than {MAX_STATE_BYTES}",
            channel=channel,
            code="too_large",
            reason=f"{size} bytes are more than {MAX_STATE_BYTES}",
        )
    return cast("Mapping[str, Any]", state)
