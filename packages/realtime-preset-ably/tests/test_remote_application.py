"""The application as a client reaches it: its answers read, its refusals as the errors that the core knows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from realtime_preset_ably._client import AblyTransport, RemoteApplication
from realtime_preset_ably._preset import AblyPreset
from tanstack_realtime import (
    AuthenticationError,
    ConfigurationError,
    ConnectionLostError,
    HttpResponse,
    OpenRequest,
    PublishError,
    RealtimeError,
)
from tanstack_realtime.testing import RecordingSink

URL = "http://app.example/_realtime"
ANSWER: dict[str, Any] = {
    "token_request": {"keyName": "app.key"},
    "user": "ann",
    "client_id": "ann",
    "endpoint": "127.0.0.1:1",
    "tls": False,
    "expires_in": 900,
    "granted": {"a": ["subscribe"]},
    "denied": {},
}


class Server:
    """Answers all requests in the same way, and notes them."""

    def __init__(self, status: int, body: object) -> None:
        self.status = status
        self.body = body
        self.requests: list[tuple[str, Mapping[str, str], Any]] = []

    async def __call__(
        self, method: str, url: str, /, *, headers: Mapping[str, str], body: bytes | None
    ) -> HttpResponse:
        self.requests.append((f"{method} {url}", headers, json.loads(body or b"null")))
        return HttpResponse(self.status, json.dumps(self.body).encode())


def application(server: Server, request: OpenRequest | None = None) -> RemoteApplication:
    return RemoteApplication(URL, request or OpenRequest(URL, "secret"), server)


async def test_channels_are_asked_for_with_the_users_token() -> None:
    server = Server(200, ANSWER)
    grant = await application(server).grant(["a", "b"])
    assert grant.granted == {"a": frozenset({"subscribe"})}
    [(where, headers, body)] = server.requests
    assert (where, body) == (f"POST {URL}/ably/token", {"channels": ["a", "b"]})
    assert headers["authorization"] == "Bearer secret"
    assert headers["content-type"] == "application/json"


async def test_every_later_request_has_a_fresh_token() -> None:
    async def get_token() -> str:
        return "fresh"

    server = Server(200, ANSWER)
    reached = application(server, OpenRequest(URL, "first", {"x-app": "1"}, get_token=get_token))
    await reached.grant([])
    await reached.grant([])
    assert [headers["authorization"] for _, headers, _ in server.requests] == ["Bearer first", "Bearer fresh"]
    assert {headers["x-app"] for _, headers, _ in server.requests} == {"1"}


@pytest.mark.parametrize(
    ("status", "body", "kind", "retryable"),
    [
        (401, {"error": {"code": "unauthenticated", "reason": "who?", "retryable": False}}, AuthenticationError, False),
        (403, {"error": {"code": "bad_origin", "reason": "from there?"}}, AuthenticationError, False),
        (503, {"error": {"code": "unavailable", "reason": "later", "retryable": True}}, ConnectionLostError, True),
        (502, "a proxy's page", ConnectionLostError, True),
        (404, {}, ConnectionLostError, True),
        (200, {"token_request": 7}, ConnectionLostError, True),
        (200, {**ANSWER, "expires_in": -1}, ConnectionLostError, True),
        (200, {**ANSWER, "expires_in": 10**400}, ConnectionLostError, True),
        (200, [], ConnectionLostError, True),
    ],
)
async def test_refusals(status: int, body: object, kind: type[RealtimeError], retryable: bool) -> None:
    with pytest.raises(kind) as caught:
        await application(Server(status, body)).grant([])
    assert caught.value.retryable is retryable


async def test_a_publish_names_its_connection() -> None:
    server = Server(204, None)
    await application(server).publish("a", {"n": 1}, "connection")
    [(where, _, body)] = server.requests
    assert (where, body) == (f"POST {URL}/publish", {"channel": "a", "data": {"n": 1}, "link": "connection"})


async def test_a_refused_publish_is_an_error() -> None:
    server = Server(413, {"error": {"code": "too_large", "reason": "too large", "retryable": False}})
    with pytest.raises(PublishError):
        await application(server).publish("a", 1, "connection")


async def test_a_transport_needs_an_address() -> None:
    transport = AblyTransport(AblyPreset().capabilities, Server(200, ANSWER))
    with pytest.raises(ConfigurationError, match="create_realtime_client"):
        await transport.open(OpenRequest(None), RecordingSink())
