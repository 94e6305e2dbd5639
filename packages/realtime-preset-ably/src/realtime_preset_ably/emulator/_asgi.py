"""The emulator as an ASGI application: WebSockets to the realtime half, requests to REST and to the sandbox.

A WebSocket is taken on any path, since SDKs differ in what they make of an endpoint with a port.
"""

from __future__ import annotations

import secrets
from typing import Final

from ._errors import AblyError
from ._http import Receive, Request, Response, Scope, Send, accepted, error_response, read_request
from ._messages import check_presence
from ._names import parse_name
from ._realtime import Realtime
from ._resources import Resources
from ._rest import Rest
from ._sandbox import describe, parse_blueprint
from ._websocket import websocket

__all__ = ["Application"]

_CORS: Final = (
    ("access-control-allow-origin", "*"),
    ("access-control-expose-headers", "Link, X-Ably-Errorcode, X-Ably-Errormessage"),
)
_PREFLIGHT: Final = (
    ("access-control-allow-methods", "GET, POST, DELETE"),
    ("access-control-allow-headers", "Authorization, Content-Type, X-Ably-Version, X-Ably-ClientId, Ably-Agent"),
    ("access-control-max-age", "600"),
)


class Application:
    """Serves apps to Ably's SDKs.

    Attributes:
        authority: The apps, and who may enter them.
        realtime: Their channels and connections.
    """

    def __init__(self, realtime: Realtime) -> None:
        """Serve the apps of a realtime half's authority."""
        self.authority = realtime.authority
        self.realtime = realtime
        self._rest = Rest(realtime.authority, Resources(realtime), realtime.now)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or serve one WebSocket until it ends."""
        if scope["type"] == "websocket":
            await websocket(self.realtime, scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            raise RuntimeError(f"the emulator serves http and websocket, not {scope['type']}")

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            request = await read_request(scope, receive)
            response = self._respond(request, tls=scope["scheme"] == "https")
        except AblyError as error:
            response = error_response(error)
        await response.send(send, accepted(scope))

    def _respond(self, request: Request, *, tls: bool) -> Response:
        # Pages of other origins may use apps whose keys they have, as at Ably, but not make or delete apps.
        match request.method, *request.path:
            case "POST", "apps":
                return self._create_app(request, tls=tls)
            case "DELETE", "apps", str(app_id):
                return self._delete_app(request, app_id)
            case "OPTIONS", *_:
                return Response(204, headers=[*_CORS, *_PREFLIGHT])
            case _:
                try:
                    response = self._rest.respond(request)
                except AblyError as error:
                    response = error_response(error)
                return Response(response.status, response.value, [*response.headers, *_CORS])

    def _create_app(self, request: Request, *, tls: bool) -> Response:
        if "origin" in request.headers:
            raise AblyError("apps are not made by web pages", 40300)
        blueprint = parse_blueprint(request.value())
        named = [(parse_name(channel).name, members) for channel, members in blueprint.members.items()]
        checked = [
            (
                name,
                check_presence(
                    [{**member, "action": 2} for member in members], _same, self.realtime.limits.message_size
                ),
            )
            for name, members in named
            if members
        ]
        self.authority.add(blueprint.app)
        channels = self.realtime.app(blueprint.app.app_id)
        for name, members in checked:
            fixture = f"fixture-{secrets.token_hex(6)}"
            channels.channel(name).change_presence(members, self.realtime.now(), fixture, f"{fixture}:0")
        return Response(201, describe(blueprint.app, host=request.headers.get("host", ""), tls=tls))

    def _delete_app(self, request: Request, app_id: str) -> Response:
        access = self._rest.access(request)
        if access.token_id is not None or access.app_id != app_id:
            raise AblyError("an app is deleted with one of its keys", 40100)
        del self.authority.apps[app_id]
        self.realtime.forget_app(app_id)
        return Response(204)


def _same(client_id: str | None) -> str | None:
    return client_id
