"""The server half against the emulator's REST, in process: what is signed is taken, what is published is there."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from realtime_preset_ably import _api
from realtime_preset_ably._names import BASE_CHANNEL, mark_of
from realtime_preset_ably.emulator._access import App, Key
from realtime_preset_ably.emulator._asgi import Application as EmulatorApplication
from realtime_preset_ably.emulator._authority import Authority
from realtime_preset_ably.emulator._capability import Capability
from realtime_preset_ably.emulator._clock import SystemClock
from realtime_preset_ably.emulator._realtime import Realtime as EmulatorRealtime
from tanstack_realtime import Channel, PublishError, serialize_key
from tanstack_realtime.server import Permissions

MUTATION = {"action": "delete", "key": 1, "id": "m1", "origin": "client-1"}
KEY, SECRET = "app.key", "the-secret-of-the-key"


def granting(**flags: bool) -> Callable[[str, Channel], Permissions]:
    granted = Permissions(
        subscribe=flags.get("subscribe", False),
        publish=flags.get("publish", False),
        presence=flags.get("presence", False),
    )

    def decide(_user: str, _channel: Channel) -> Permissions:
        return granted

    return decide


def payload_of(message: dict[str, Any]) -> Any:
    return json.loads(message["data"]) if message.get("encoding") == "json" else message["data"]


class Emulator:
    """Ably's place, taken by the emulator without a socket."""

    def __init__(self) -> None:
        self.clock = SystemClock()
        self.authority = Authority(self.clock.now)
        self.allow()
        self.realtime = EmulatorRealtime(self.authority, self.clock)
        self.transport = httpx.ASGITransport(EmulatorApplication(self.realtime))
        self.http = self.new_http()

    def new_http(self) -> httpx.AsyncClient:
        """Return what sends requests here, whatever their host."""
        return httpx.AsyncClient(transport=self.transport, base_url="https://emulator")

    def allow(self, *, secret: str = SECRET, revocable: bool = False, capability: dict[str, Any] | None = None) -> None:
        """Say what the application's key may."""
        key = Key("app", "key", secret, Capability.parse(capability or {"*": ["*"]}), revocable=revocable)
        self.authority.apps.clear()
        self.authority.add(App("app", {"key": key}))

    async def exchange(self, request: dict[str, Any]) -> httpx.Response:
        """Exchange a token request for a token, as a client does."""
        return await self.http.post(f"/keys/{KEY}/requestToken", json=request)

    async def messages(self, channel: str) -> list[dict[str, Any]]:
        """Return what a channel has, oldest first."""
        key = base64.b64encode(f"{KEY}:{SECRET}".encode()).decode()
        path = f"/channels/{quote(channel, safe='')}/messages?direction=forwards"
        answer = await self.http.get(path, headers={"authorization": f"Basic {key}"})
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()
        return found


@pytest.fixture
async def emulator(application: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Emulator]:
    emulator = Emulator()
    monkeypatch.setattr(_api, "new_http", emulator.new_http)
    async with emulator.http:
        yield emulator


async def request_of(application: Any, *channels: str) -> dict[str, Any]:
    answer = await application.token(list(channels))
    found: dict[str, Any] = answer.json()["token_request"]
    return found


async def test_a_request_becomes_a_token(application: Any, emulator: Emulator) -> None:  # ABLY-8.4, ABLY-8.7
    application.decide = granting(subscribe=True, presence=True)
    answer = await emulator.exchange(await request_of(application, "chat:room=1"))
    token = answer.json()
    access = emulator.authority.by_token(token["token"])

    assert answer.status_code == 201
    assert (token["clientId"], token["keyName"], token["expires"] - token["issued"]) == ("ann", KEY, 900_000)
    assert json.loads(token["capability"]) == {
        "chat:room=1": ["subscribe"],
        "chat:room=1:presence": ["presence", "subscribe"],
        BASE_CHANNEL: ["subscribe"],
    }
    assert access.capability.operations("chat:room=2") == access.capability.operations("chat:room=1:x") == frozenset()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("capability", '{"*":["*"]}'),
        ("capability", ""),
        ("ttl", 86_400_000),
        ("clientId", "bob"),
        ("clientId", "*"),
        ("clientId", ""),
        ("nonce", "another-nonce-0123456789"),
    ],
)
async def test_what_was_changed_is_refused(
    application: Any, emulator: Emulator, field: str, value: object
) -> None:  # ABLY-8.7, A14
    request = await request_of(application, "chat:room=1")
    answer = await emulator.exchange({**request, field: value})

    assert (answer.status_code, answer.json()["error"]["code"]) == (401, 40101)


async def test_a_request_is_good_once_and_for_two_minutes(application: Any, emulator: Emulator) -> None:  # ABLY-8.8
    request, older = await request_of(application), await request_of(application)
    codes = [(await emulator.exchange(request)).status_code, (await emulator.exchange(request)).json()["error"]["code"]]
    emulator.clock.advance(121_000)
    codes.append((await emulator.exchange(older)).json()["error"]["code"])

    assert codes == [201, 40105, 40104]


async def test_a_key_that_may_less_narrows_the_token(application: Any, emulator: Emulator) -> None:
    emulator.allow(capability={"chat:*": ["subscribe"]})
    application.decide = granting(subscribe=True, presence=True)
    answer = await emulator.exchange(await request_of(application, "chat:room=1", "todos:project_id=1"))

    assert json.loads(answer.json()["capability"]) == {
        "chat:room=1": ["subscribe"],
        "chat:room=1:presence": ["subscribe"],
    }


@pytest.mark.parametrize(
    "value", ["1", "a:b", "*", "1:*", "[?rewind=9]x", "a/b", "a b", "two\nlines", "grüße", "a,b=c&d", "%2F", "."]
)
async def test_every_channel_is_one_at_ably(application: Any, emulator: Emulator, value: str) -> None:  # ABLY-8.1, 8.2
    channel = serialize_key(("chat", {"room": value}))
    application.decide = granting(subscribe=True)
    await application.realtime.publish(channel, {"text": value})
    [message] = await emulator.messages(channel)
    token = (await emulator.exchange(await request_of(application, channel))).json()
    access = emulator.authority.by_token(token["token"])

    assert payload_of(message) == {"text": value}
    assert access.capability.operations(channel) == {"subscribe"}
    assert access.capability.operations("chat:room=2") == frozenset()


@pytest.mark.parametrize("data", [None, 0, True, "text", [1], {"a": {}}])
async def test_a_payload_comes_as_it_was(application: Any, emulator: Emulator, data: Any) -> None:  # ABLY-8.15, P8
    await application.realtime.publish("chat:room=1", data)
    [message] = await emulator.messages("chat:room=1")

    assert payload_of(message) == data


async def test_a_mutation_that_is_sent_twice_is_there_once(application: Any, emulator: Emulator) -> None:  # ABLY-8.16
    application.decide = granting(publish=True)
    for data in (MUTATION, MUTATION, {"text": "hi"}, {"text": "hi"}):
        body = {"channel": "chat:room=1", "data": data, "link": "c1"}
        answer = await application.http.post(
            "/_realtime/publish", json=body, headers={"authorization": "Bearer ann@example.com"}
        )
        assert answer.status_code == 200
    messages = await emulator.messages("chat:room=1")

    assert len(messages) == 3
    assert {message["clientId"] for message in messages} == {"ann@example.com"}
    assert {message["extras"]["headers"]["link"] for message in messages} == {mark_of("c1")}


async def test_the_largest_message_fits(application: Any, emulator: Emulator) -> None:
    application.decide = granting(publish=True)
    limit = 64_000
    headers = {"authorization": f"Bearer {'a' * 200}"}
    answers = [
        await application.http.post(
            "/_realtime/publish", json={"channel": "chat:room=1", "data": "x" * size, "link": "c" * 64}, headers=headers
        )
        for size in (limit - 2, 65_534)
    ]

    assert [answer.status_code for answer in answers] == [200, 413]
    assert len(await emulator.messages("chat:room=1")) == 1


async def test_another_secret_is_the_servers_fault(application: Any, emulator: Emulator) -> None:  # ABLY-8.17
    emulator.allow(secret="another")
    with pytest.raises(PublishError) as caught:
        await application.realtime.publish("chat:room=1", 1)

    assert (caught.value.code, caught.value.retryable) == ("api_key", False)
    assert SECRET not in str(caught.value)


async def test_a_key_that_may_not_publish_is_named(application: Any, emulator: Emulator) -> None:
    emulator.allow(capability={"*": ["subscribe"]})
    with pytest.raises(PublishError, match="capabilities publish, subscribe and presence"):
        await application.realtime.publish("chat:room=1", 1)


@pytest.mark.parametrize("channel", [None, "chat:room=1"])
async def test_a_revoked_token_ends(application: Any, emulator: Emulator, channel: str | None) -> None:
    emulator.allow(revocable=True)
    token = (await emulator.exchange(await request_of(application, "chat:room=1"))).json()["token"]
    access = emulator.authority.by_token(token)
    emulator.clock.advance(1000)
    await application.realtime.revoke("ann", channel)
    emulator.clock.advance(31_000 if channel else 1)

    with pytest.raises(Exception, match="revoked"):
        emulator.authority.check(access)


async def test_a_key_without_revocable_tokens_is_no_error(application: Any, emulator: Emulator) -> None:
    await application.realtime.revoke("ann", "chat:room=1")

    assert application.errors == []
