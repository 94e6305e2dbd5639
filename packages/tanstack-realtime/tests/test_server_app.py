"""`Realtime` as an ASGI application: the routes that exist on every preset, and publishing from the server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any
from weakref import WeakSet

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import Message, Receive, Scope, Send

from tanstack_realtime import server
from tanstack_realtime._errors import ChannelError, ConfigurationError, PublishError, RealtimeError, UnknownPresetError
from tanstack_realtime._keys import Channel
from tanstack_realtime._presets import ClientContext
from tanstack_realtime._settings import EnvVar
from tanstack_realtime._transport import Capabilities, RealtimeTransport
from tanstack_realtime.server import Permissions, Publication, Realtime, ServerContext, ServerObserver, bearer_token


class FakeServer:
    """The server half of a preset that only remembers."""

    def __init__(self, context: ServerContext) -> None:
        self.context = context
        self.published: list[Publication] = []
        self.events: list[str] = []
        self.failure: Exception | None = None

    def routes(self) -> Sequence[BaseRoute]:
        async def extra(_: Request) -> PlainTextResponse:
            return PlainTextResponse("extra")

        return [Route("/extra", extra)]

    def public_url(self, connection: HTTPConnection, /) -> str:
        return f"wss://{connection.headers['host']}/socket"

    async def publish(self, publication: Publication, /) -> None:
        if self.failure is not None:
            raise self.failure
        self.published.append(publication)

    async def revoke(self, user_id: str, channel: Channel | None, /) -> None:
        self.events.append(f"revoke {user_id} {channel and channel.raw}")

    async def startup(self) -> None:
        self.events.append("startup")

    async def aclose(self) -> None:
        self.events.append("aclose")


class FakePreset:
    """A preset for these tests."""

    name = "fake"
    api_version = 1
    client_env: Sequence[EnvVar] = ()
    server_env: Sequence[EnvVar] = ()
    capabilities = Capabilities(
        recovery=False,
        history=0,
        ordering=True,
        echo=True,
        publish_over_link=False,
        native_presence=False,
        max_message_bytes=1000,
        revocation_delay=0.0,
    )

    def __init__(self) -> None:
        self.servers: list[FakeServer] = []

    def create_transport(self, context: ClientContext, /) -> RealtimeTransport:
        raise NotImplementedError

    def create_server(self, context: ServerContext, /) -> FakeServer:
        self.servers.append(FakeServer(context))
        return self.servers[-1]


def authorize(user_id: str, channel: Channel) -> Permissions:
    return Permissions(publish=channel.params.get("owner") == user_id)


def make(**options: Any) -> tuple[Realtime, FakeServer]:
    preset = FakePreset()
    arguments: dict[str, Any] = {"authorize": authorize, "get_user": bearer_token, "preset": preset, **options}
    realtime = Realtime(**arguments)
    return realtime, preset.servers[0]


def client(app: Any, **headers: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app.example", headers=headers)


@pytest.fixture(autouse=True)
def no_other_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instances of other tests may still be alive, kept by a cycle or a traceback."""
    monkeypatch.setattr("tanstack_realtime.server._app._instances", WeakSet[Realtime]())


MESSAGE = {"channel": "chat:owner=u1", "data": {"text": "hi"}}
AS_U1 = {"authorization": "Bearer u1"}


# -- POST /publish ---------------------------------------------------------------------------------------------------


async def test_publish_authenticates_authorizes_and_delivers() -> None:  # A1
    realtime, fake = make()
    async with client(realtime, **AS_U1) as http:
        response = await http.post("/publish", json=MESSAGE)

    assert (response.status_code, response.json()) == (200, {})
    assert [(p.channel.raw, p.data, p.user_id) for p in fake.published] == [("chat:owner=u1", {"text": "hi"}, "u1")]


@pytest.mark.parametrize(
    ("request_options", "status", "code"),
    [
        ({"headers": {"authorization": ""}, "json": MESSAGE}, 401, "unauthenticated"),
        ({"json": {"channel": "chat:owner=u2", "data": 1}}, 403, "denied"),
        ({"json": {"channel": "chat:owner=u1&owner=u1", "data": 1}}, 400, "bad_channel"),
        ({"json": {"channel": 7, "data": 1}}, 400, "bad_channel"),
        ({"json": {"channel": "%24presence:owner=u1", "data": 1}}, 400, "bad_channel"),
        ({"json": {"channel": "chat:owner=u1"}}, 400, "bad_request"),
        ({"json": {"data": 1}}, 400, "bad_request"),
        ({"json": [MESSAGE]}, 400, "bad_request"),
        ({"content": b"{", "headers": {"content-type": "application/json"}}, 400, "bad_request"),
        ({"content": b"[" * 900, "headers": {"content-type": "application/json"}}, 400, "bad_request"),
        ({"content": json.dumps(MESSAGE), "headers": {"content-type": "text/plain"}}, 415, "bad_media_type"),
        ({"data": {"channel": "chat:owner=u1", "data": "1"}}, 415, "bad_media_type"),
        ({"json": {"channel": "chat:owner=u1", "data": "x" * 999}}, 413, "too_large"),
        ({"json": {"channel": "chat:owner=u1", "data": "x" * 99999}}, 413, "too_large"),
        ({"json": MESSAGE, "headers": {"origin": "https://evil.example"}}, 403, "bad_origin"),
        ({"json": MESSAGE, "headers": {"origin": "null"}}, 403, "bad_origin"),
    ],
)
async def test_publish_refuses_with_a_typed_error(
    request_options: Any, status: int, code: str
) -> None:  # A1, A2, A11, P3
    realtime, fake = make(max_message_bytes=1000)
    async with client(realtime, **AS_U1) as http:
        response = await http.post("/publish", **request_options)

    error = response.json()["error"]
    assert (response.status_code, error["code"], error["retryable"]) == (status, code, False)
    assert error["reason"]
    assert fake.published == []


@pytest.mark.parametrize("origin", ["http://app.example", "https://app.example", "https://other.example"])
async def test_publish_takes_pages_of_the_own_host_and_listed_ones(origin: str) -> None:
    realtime, fake = make(allowed_origins=["https://other.example"])
    async with client(realtime, origin=origin, **AS_U1) as http:
        assert (await http.post("/publish", json=MESSAGE)).status_code == 200
    assert len(fake.published) == 1


async def test_a_publisher_may_name_its_connection() -> None:
    realtime, fake = make()
    async with client(realtime, **AS_U1) as http:
        answers = [
            (await http.post("/publish", json={**MESSAGE, "link": link})).status_code
            for link in ("abc", None, "", 7, "x" * 65, "ü")
        ]
        await realtime.publish("chat:owner=u1", 1)

    assert answers == [200, 200, 400, 400, 400, 400]
    assert [publication.link for publication in fake.published] == ["abc", None, None]


async def test_null_is_a_payload() -> None:  # P8
    realtime, fake = make()
    async with client(realtime, **AS_U1) as http:
        assert (await http.post("/publish", json={"channel": "chat:owner=u1", "data": None})).status_code == 200
    assert [p.text for p in fake.published] == ["null"]


async def test_a_failing_hook_answers_503_and_the_next_request_works() -> None:  # V5, S17
    errors: list[RealtimeError] = []
    broken = True

    def moody(user_id: str, channel: Channel) -> Permissions:
        if broken:
            raise OSError("database away")
        return Permissions(publish=True)

    realtime, _ = make(authorize=moody, on_error=errors.append)
    async with client(realtime, **AS_U1) as http:
        response = await http.post("/publish", json=MESSAGE)
        assert response.status_code == 503
        assert response.json()["error"]["retryable"] is True
        assert "database" not in response.text
        broken = False
        assert (await http.post("/publish", json=MESSAGE)).status_code == 200
    assert isinstance(errors[0].__cause__, OSError)


async def test_a_failing_provider_is_told_to_the_publisher() -> None:  # P3
    realtime, fake = make()
    fake.failure = PublishError("the provider is down", retryable=True)
    async with client(realtime, **AS_U1) as http:
        response = await http.post("/publish", json=MESSAGE)
    assert (response.status_code, response.json()["error"]["code"]) == (503, "publish_failed")


async def test_a_body_that_never_ends_is_cut_off() -> None:  # A2
    realtime, _ = make(max_message_bytes=1000)
    chunks = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal chunks
        while True:
            chunks += 1
            yield b"x" * 500

    async def receive() -> Message:
        return {"type": "http.request", "body": await anext(body), "more_body": True}

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    body = endless()
    scope: Scope = {
        "type": "http",
        "method": "POST",
        "path": "/publish",
        "scheme": "http",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json"), (b"authorization", b"Bearer u1")],
    }
    await realtime(scope, receive, send)
    assert sent[0]["status"] == 413
    assert chunks < 10


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_publish_is_post_only(method: str) -> None:
    realtime, _ = make()
    async with client(realtime) as http:
        assert (await http.request(method, "/publish")).status_code == 405


# -- mounting --------------------------------------------------------------------------------------------------------


async def test_config_tells_preset_and_address() -> None:
    realtime, _ = make()
    async with client(Starlette(routes=[Mount("/_realtime", realtime)])) as http:
        config = (await http.get("/_realtime/config")).json()
        assert config == {"preset": "fake", "url": "wss://app.example/socket", "protocol": 1}
        assert (await http.get("/_realtime/extra")).text == "extra"
        assert (await http.get("/_realtime/nothing")).status_code == 404


async def test_a_host_that_strips_the_mount_path_works_too() -> None:
    realtime, _ = make()

    async def host(scope: Scope, receive: Receive, send: Send) -> None:
        await realtime({**scope, "path": scope["path"].removeprefix("/_realtime")}, receive, send)

    async with client(host, **AS_U1) as http:
        assert (await http.post("/_realtime/publish", json=MESSAGE)).status_code == 200


async def test_lifespan_and_context_manager_start_and_close_the_preset() -> None:
    realtime, fake = make()
    messages: list[Message] = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[str] = []

    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        sent.append(message["type"])

    await realtime({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert fake.events == ["startup", "aclose"]

    other, fake = make()
    async with other:
        assert fake.events == ["startup"]
    assert fake.events == ["startup", "aclose"]


# -- publishing from the server --------------------------------------------------------------------------------------


async def test_the_server_publishes_without_being_authorized() -> None:
    def validate(user_id: str, channel: Channel, data: Any) -> Any:
        pytest.fail("asked")

    realtime, fake = make(validate=validate)
    await realtime.publish(("ai", {"session": 7}), {"token": "a"})
    await realtime.publish(Channel("ai", {"session": "7"}), [1])
    await realtime.publish("ai:session=7", None)
    assert [(p.channel.raw, p.text, p.user_id) for p in fake.published] == [
        ("ai:session=7", '{"token":"a"}', None),
        ("ai:session=7", "[1]", None),
        ("ai:session=7", "null", None),
    ]


async def test_the_servers_own_mistakes_raise_at_the_call() -> None:
    realtime, fake = make(max_message_bytes=10)
    with pytest.raises(PublishError, match="not JSON"):
        await realtime.publish(("ai", {}), object())
    with pytest.raises(PublishError, match="max_message_bytes=10"):
        await realtime.publish(("ai", {}), "x" * 20)
    with pytest.raises(ChannelError):
        await realtime.publish("ai:b=1&a=1", 1)
    assert fake.published == []


async def test_the_module_function_needs_exactly_one_instance() -> None:
    with pytest.raises(ConfigurationError, match="no Realtime exists"):
        await server.publish(("a", {}), 1)
    first, fake = make()
    await server.publish(("a", {}), 1)
    second, _ = make()
    with pytest.raises(ConfigurationError, match="2 Realtime instances"):
        await server.publish(("a", {}), 2)
    await second.aclose()
    await server.publish(("a", {}), 3)
    assert [p.data for p in fake.published] == [1, 3]
    await first.aclose()
    with pytest.raises(ConfigurationError, match="/_realtime/publish"):
        await server.publish(("a", {}), 4)


# -- construction ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hook", ["authorize", "get_user"])
def test_the_server_refuses_to_start_without_its_hooks(hook: str) -> None:  # A4
    with pytest.raises(ConfigurationError, match=rf"Realtime\({hook}=None\).*allow_anonymous=True"):
        make(**{hook: None})
    with pytest.raises(TypeError, match=hook):
        Realtime(**{name: authorize for name in ("authorize", "get_user") if name != hook})  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [0, -1, True])
def test_a_wrong_size_is_refused(size: int) -> None:
    with pytest.raises(ConfigurationError, match="max_message_bytes"):
        make(max_message_bytes=size)


def test_an_unknown_preset_is_named() -> None:
    with pytest.raises(UnknownPresetError, match="nodee"):
        make(preset="nodee")


def test_only_some_presets_have_clients_in_process() -> None:
    realtime, _ = make()
    with pytest.raises(ConfigurationError, match="'fake' has no in-process transport"):
        realtime.local_transport(user_id="u1")


# -- observing -------------------------------------------------------------------------------------------------------


async def test_an_observer_hears_and_cannot_hurt() -> None:  # V8
    class Loud(ServerObserver):
        def __init__(self) -> None:
            self.heard: list[object] = []

        def denied(self, user_id: str | None, channel: str | None, error: RealtimeError) -> None:
            self.heard.append((user_id, channel, error.code))
            raise RuntimeError("observer broke")

        def published(self, publication: Publication) -> None:
            self.heard.append(publication.data)
            raise RuntimeError("observer broke")

    observer, errors = Loud(), list[RealtimeError]()
    realtime, _ = make(observer=observer, on_error=errors.append)
    async with client(realtime, **AS_U1) as http:
        assert (await http.post("/publish", json=MESSAGE)).status_code == 200
        assert (await http.post("/publish", json={**MESSAGE, "channel": "chat:owner=u2"})).status_code == 403
    assert observer.heard == [{"text": "hi"}, ("u1", "chat:owner=u2", "denied")]
    assert [str(error) for error in errors] == [
        "observer.published raised RuntimeError('observer broke')",
        "observer.denied raised RuntimeError('observer broke')",
    ]


async def test_an_on_error_that_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def on_error(error: RealtimeError) -> None:
        raise RuntimeError("no disk")

    def failing(connection: HTTPConnection) -> str:
        raise LookupError("user table")

    realtime, _ = make(get_user=failing, on_error=on_error)
    async with client(realtime) as http:
        assert (await http.post("/publish", json=MESSAGE)).status_code == 503
    assert "user table" in caplog.text
    assert "no disk" in caplog.text


async def test_revoking_reaches_the_preset_with_a_canonical_channel() -> None:  # A5
    realtime, server = make()
    await realtime.revoke("u1", ("todos", {"project_id": 1}))
    await realtime.revoke("u1", "todos:project_id=1")
    await realtime.revoke("u1")
    assert server.events == ["revoke u1 todos:project_id=1"] * 2 + ["revoke u1 None"]
    with pytest.raises(ChannelError):
        await realtime.revoke("u1", "todos:project_id=1&")
    with pytest.raises(ConfigurationError, match="as a non-empty str"):
        await realtime.revoke("")


async def test_publishing_over_http_is_limited_per_user() -> None:  # A17
    realtime, server = make(publish_rate=2, publish_burst=3)
    async with client(realtime, **AS_U1) as http:
        answers = [await http.post("/publish", json=MESSAGE) for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
        assert answers[4].json() == {
            "error": {
                "code": "rate_limited",
                "reason": "requests come too fast",
                "retryable": True,
                "retry_after": 1.0,
            }
        }
        assert answers[4].headers["retry-after"] == "1"
        other = await http.post("/publish", json=MESSAGE, headers={"authorization": "Bearer u2"})
        assert other.status_code == 403  # asked, and refused for another reason
        for _ in range(20):  # asking on and on does not make it longer than a burst
            answer = await http.post("/publish", json=MESSAGE)
            assert answer.json()["error"]["retry_after"] <= 2.0
        await asyncio.sleep(2.5)
        assert (await http.post("/publish", json=MESSAGE)).status_code == 200
    assert len(server.published) == 4


@pytest.mark.parametrize("limits", [{"publish_rate": 0}, {"publish_burst": -1}, {"publish_rate": float("nan")}])
def test_a_publish_limit_is_positive(limits: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="positive"):
        make(**limits)
