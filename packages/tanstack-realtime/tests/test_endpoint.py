"""Publishing over HTTP, and the HTTP seam itself."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import httpx
import pytest

from tanstack_realtime import (
    AuthenticationError,
    ChannelDeniedError,
    ConfigurationError,
    ConnectionLostError,
    HttpResponse,
    PublishError,
    RealtimeError,
)
from tanstack_realtime._endpoint import Endpoint
from tanstack_realtime._http import DefaultHttp


class Server:
    def __init__(self, status: int = 200, body: object = None) -> None:
        self.response = HttpResponse(status, json.dumps(body).encode() if body is not None else b"")
        self.requests: list[tuple[str, str, Mapping[str, str], Any]] = []

    async def __call__(
        self, method: str, url: str, /, *, headers: Mapping[str, str], body: bytes | None
    ) -> HttpResponse:
        self.requests.append((method, url, headers, None if body is None else json.loads(body)))
        return self.response


async def headers() -> Mapping[str, str]:
    return {"authorization": "Bearer t"}


async def test_publish_posts_channel_and_data() -> None:
    server = Server()
    await Endpoint("http://host/_realtime", server, headers).publish("a", {"x": "é"})
    assert server.requests == [
        (
            "POST",
            "http://host/_realtime/publish",
            {"authorization": "Bearer t", "content-type": "application/json"},
            {"channel": "a", "data": {"x": "é"}},
        )
    ]


def error(code: str, *, retryable: bool = False) -> dict[str, Any]:
    return {"error": {"code": code, "reason": "because", "retryable": retryable}}


@pytest.mark.parametrize(
    ("status", "body", "kind", "code", "retryable"),
    [
        (401, error("unauthenticated"), AuthenticationError, "unauthenticated", False),
        (403, error("denied"), ChannelDeniedError, "denied", False),
        (403, None, ChannelDeniedError, "403", False),
        (413, error("too_large"), PublishError, "too_large", False),
        (422, error("rejected"), PublishError, "rejected", False),
        (503, error("unavailable", retryable=True), PublishError, "unavailable", True),
        (502, None, PublishError, "502", True),
        (302, None, PublishError, "302", False),
        (404, "not json of ours", PublishError, "404", False),
        (429, {"error": "busy"}, PublishError, "429", True),
    ],
)
async def test_a_refusal_is_told(  # P3
    status: int, body: object, kind: type[RealtimeError], code: str, retryable: bool
) -> None:
    with pytest.raises(kind) as caught:
        await Endpoint("http://host", Server(status, body), headers).publish("a", 1)
    assert type(caught.value) is kind
    assert (caught.value.code, caught.value.retryable, caught.value.channel) == (code, retryable, "a")


async def test_what_is_not_json_is_not_sent() -> None:
    server = Server()
    with pytest.raises(PublishError, match="not JSON"):
        await Endpoint("http://host", server, headers).publish("a", {"x": object()})
    assert server.requests == []


async def test_without_an_address_it_cannot_be_done() -> None:
    with pytest.raises(ConfigurationError, match="REALTIME_URL"):
        await Endpoint(None, Server(), headers).publish("a", 1)


async def test_the_default_is_httpx(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if request.url.path == "/down":
            raise httpx.ConnectError("no route")
        if request.url.path == "/garbled":
            raise httpx.DecodingError("no gzip")
        return httpx.Response(307, headers={"location": "http://evil"}, content=b"body")

    real = httpx.AsyncClient

    def make(**options: Any) -> httpx.AsyncClient:
        return real(transport=httpx.MockTransport(answer), **options)

    monkeypatch.setattr(httpx, "AsyncClient", make)
    http = DefaultHttp()
    assert await http("POST", "http://host/a", headers={"x": "1"}, body=b"in") == HttpResponse(307, b"body")
    assert (seen[0].headers["x"], seen[0].content) == ("1", b"in")
    assert len(seen) == 1  # no redirect was followed
    with pytest.raises(ConnectionLostError, match="no route"):
        await http("GET", "http://host/down", headers={}, body=None)
    with pytest.raises(ConnectionLostError, match="no gzip"):
        await http("GET", "http://host/garbled", headers={}, body=None)
    await http.aclose()
    await http.aclose()


async def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[tuple[str, str]] = []

    async def send(self: Any, request: httpx.Request) -> httpx.Response:
        used.append((request.url.host, type(self._pool).__name__))
        return httpx.Response(200)

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", send)
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    monkeypatch.delenv("NO_PROXY", raising=False)
    http = DefaultHttp()
    for host in ("localhost:8000", "127.0.0.1", "[::1]:1", "app.example"):
        await http("GET", f"http://{host}/config", headers={}, body=None)
    await http.aclose()
    direct = [(host, "AsyncConnectionPool") for host in ("localhost", "127.0.0.1", "::1")]
    assert used == [*direct, ("app.example", "AsyncHTTPProxy")]


async def test_without_httpx_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(ConfigurationError, match=r"tanstack-realtime\[http\]"):
        await DefaultHttp()("GET", "http://host", headers={}, body=None)


async def test_a_browser_uses_its_own_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, dict[str, Any]]] = []

    class Response:
        status = 200

        async def bytes(self) -> bytes:
            return b"ok"

    async def pyfetch(url: str, **options: Any) -> Response:
        calls.append((url, options))
        if url.endswith("/down"):
            raise OSError("Failed to fetch")
        return Response()

    module: Any = ModuleType("pyodide.http")
    module.pyfetch = pyfetch
    monkeypatch.setitem(sys.modules, "pyodide", ModuleType("pyodide"))
    monkeypatch.setitem(sys.modules, "pyodide.http", module)
    monkeypatch.setattr(sys, "platform", "emscripten")
    http = DefaultHttp()
    assert await http("POST", "/publish", headers={"x": "1"}, body=b"in") == HttpResponse(200, b"ok")
    assert await http("GET", "/config", headers={}, body=None) == HttpResponse(200, b"ok")
    assert calls[0] == ("/publish", {"method": "POST", "headers": {"x": "1"}, "redirect": "error", "body": "in"})
    assert "body" not in calls[1][1]
    with pytest.raises(ConnectionLostError, match="Failed to fetch"):
        await http("GET", "/down", headers={}, body=None)


async def test_the_time_to_wait_reaches_the_caller() -> None:  # A17
    body = {"error": {"code": "rate_limited", "reason": "too fast", "retryable": True, "retry_after": 1.5}}
    with pytest.raises(PublishError) as caught:
        await Endpoint("http://host", Server(429, body), headers).publish("a", 1)
    assert (caught.value.code, caught.value.retryable, caught.value.retry_after) == ("rate_limited", True, 1.5)
