"""What the token endpoint signs, and what a server of Ably's makes of it: ABLY-8.1 to ABLY-8.8."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest
from ably_app import AblyApp
from ably_js import AblyJs
from ably_sdk import SdkError
from ably_server import KEY, Rest

from tanstack_realtime import Channel, parse_channel, serialize_key
from tanstack_realtime.server import Permissions

KEY_NAME, SECRET = KEY.split(":", 1)
pytestmark = pytest.mark.usefixtures("ably_js_installed")

REQUEST_TOKEN = f"/keys/{KEY_NAME}/requestToken"


@pytest.fixture
async def app(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AblyApp]:
    async with AblyApp(monkeypatch) as app:
        yield app


@pytest.fixture
async def rest(app: AblyApp) -> AsyncIterator[Rest]:
    async with Rest(app.ably_port) as rest:
        yield rest


async def ask(app: AblyApp, user: str | None, body: Any) -> tuple[int, dict[str, Any]]:
    """Ask the token endpoint."""
    headers = {"content-type": "application/json"}
    if user is not None:
        headers["authorization"] = f"Bearer {user}"
    response = await app.http("POST", f"{app.url}/ably/token", headers=headers, body=json.dumps(body).encode())
    answer: dict[str, Any] = json.loads(response.body)
    return response.status, answer


async def capability(app: AblyApp, *channels: str, user: str = "ann") -> dict[str, list[str]]:
    """Return the signed capability."""
    status, answer = await ask(app, user, {"channels": list(channels)})
    assert status == 200
    signed: dict[str, list[str]] = json.loads(answer["token_request"]["capability"])
    return signed


# -- names -------------------------------------------------------------------------------------------------------------


async def test_a_channel_has_the_same_name_everywhere(app: AblyApp, js: AblyJs, rest: Rest) -> None:  # ABLY-8.1
    name = serialize_key(("todos", {"projectId": "123"}))
    client = await app.front(js, "ann", name)
    await client.do("subscribe", channel=name)
    await app.publish(parse_channel(name), {"title": "milk"})
    await client.hears("message", channel=name)
    status, page = await rest("GET", f"/channels/{quote(name, safe='')}/messages")

    assert name == "todos:projectId=123"
    assert client.data(name) == [{"title": "milk"}]
    assert (status, [json.loads(message["data"]) for message in page]) == (200, [{"title": "milk"}])


ODD = ["a:b", "*", "1:*", "[x]", "[meta]x", "a/b", "a b", "a\nb", "\u00fc\N{SNOWMAN}", "a=b,c&d%e", "?rewind=1"]


async def test_odd_values_make_channels_of_their_own(app: AblyApp, js: AblyJs) -> None:  # ABLY-8.2
    """Each is accepted, comes back equal, and opens no other one's channel."""
    names = {value: serialize_key(("v", {"p": value})) for value in ODD}
    bob = await app.front(js, "bob", *names.values())
    for value, name in names.items():
        await bob.do("subscribe", channel=name)
        await app.publish(parse_channel(name), {"is": value})
        await bob.hears("message", channel=name)

    assert {value: bob.data(name) for value, name in names.items()} == {value: [{"is": value}] for value in ODD}
    assert [dict(parse_channel(name).params) for name in names.values()] == [{"p": value} for value in ODD]
    for value, name in names.items():
        ann = await app.front(js, f"ann-{ODD.index(value)}", name)
        for other in {*names.values(), "v:p=1:b", "v:p=1", "v", "v:x"} - {name}:
            with pytest.raises(SdkError, match="40160"):
                await ann.do("attach", channel=other)


# -- what is signed ----------------------------------------------------------------------------------------------------


async def test_without_a_session_nothing_is_signed(app: AblyApp) -> None:  # ABLY-8.3
    status, answer = await ask(app, None, {"channels": ["news"]})

    assert status == 401
    assert not {"token_request", "mac", "keyName"} & set(json.dumps(answer).replace('"', " ").split())


async def test_exactly_what_is_granted_is_signed(app: AblyApp, js: AblyJs) -> None:  # ABLY-8.4
    rights = {
        "all": Permissions(subscribe=True, publish=True, presence=True),
        "read": Permissions(subscribe=True),
        "meet": Permissions(presence=True),
        "write": Permissions(publish=True),
        "none": Permissions(),
    }
    asked: list[tuple[str, Channel]] = []

    def authorize(user_id: str, channel: Channel) -> Permissions:
        asked.append((user_id, channel))
        return rights[channel.namespace]

    app.set_authorize(authorize)
    names = [f"{namespace}:n=1" for namespace in rights]
    signed = await capability(app, *names, *names)
    base = await capability(app)

    assert sorted(asked, key=str) == sorted((("ann", parse_channel(name)) for name in names), key=str)
    meet = ["presence", "subscribe"]
    assert signed == {
        **base,
        "all:n=1": ["subscribe"],
        "all:n=1:presence": meet,
        "read:n=1": ["subscribe"],
        "meet:n=1:presence": meet,
    }
    ann = await app.front(js, "ann", *names)
    assert (await ann.do("attach", channel="all:n=1"))["modes"] == ["SUBSCRIBE", "PRESENCE_SUBSCRIBE"]
    for name in ("meet:n=1", "write:n=1", "none:n=1"):
        with pytest.raises(SdkError, match="40160"):
            await ann.do("attach", channel=name)


STRANGE = ["*", "todos:*", "[?rewind=1]x", "[meta]x", "[*]*", "v:p=a b", "V:", "", ":", "a:b=1&b=2", "__proto__:"]


async def test_a_name_that_is_not_canonical_is_never_signed(app: AblyApp) -> None:  # ABLY-8.5
    status, answer = await ask(app, "ann", {"channels": [*STRANGE, "news"]})
    signed = json.loads(answer["token_request"]["capability"])

    assert status == 200
    assert {name: denial["code"] for name, denial in answer["denied"].items()} == dict.fromkeys(STRANGE, "bad_channel")
    assert set(signed) == {*await capability(app), "news", "news:presence"}


async def test_no_grant_is_no_key_to_everything(app: AblyApp, js: AblyJs) -> None:  # ABLY-8.6
    app.set_authorize(lambda _user, _channel: Permissions())
    signed = await capability(app, "news")
    ann = await app.front(js, "ann", "news")
    for name in ("news", "other", "news:presence"):
        with pytest.raises(SdkError, match="40160"):
            await ann.do("attach", channel=name)

    assert signed
    assert all(operations == ["subscribe"] for operations in signed.values())
    assert not {name for name in signed if "*" in name}


async def test_the_signature_covers_everything(app: AblyApp, rest: Rest) -> None:  # ABLY-8.7
    _, answer = await ask(app, "ann", {"channels": ["news"]})
    request = answer["token_request"]
    fields = ("keyName", "ttl", "capability", "clientId", "timestamp", "nonce")
    text = "".join(f"{request[name]}\n" for name in fields)
    mac = base64.b64encode(hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).digest()).decode()
    refused = [
        await rest("POST", REQUEST_TOKEN, {**request, name: value}, with_key=False)
        for name, value in (("capability", '{"*":["*"]}'), ("ttl", request["ttl"] + 1), ("clientId", "bob"))
    ]
    status, token = await rest("POST", REQUEST_TOKEN, request, with_key=False)

    assert request["mac"] == mac
    assert (request["keyName"], request["clientId"]) == (KEY_NAME, "ann")
    assert [(status, body["error"]["code"]) for status, body in refused] == [(401, 40101)] * 3
    assert (status, token["clientId"], json.loads(token["capability"])) == (
        201,
        "ann",
        json.loads(request["capability"]),
    )


async def test_a_token_request_is_good_once_and_soon(app: AblyApp, rest: Rest) -> None:  # ABLY-8.8
    requests = [(await ask(app, "ann", {"channels": ["news"]}))[1]["token_request"] for _ in range(2)]
    first, again = [await rest("POST", REQUEST_TOKEN, requests[0], with_key=False) for _ in range(2)]
    app.emulator.faults.advance(121)
    late = await rest("POST", REQUEST_TOKEN, requests[1], with_key=False)

    assert first[0] == 201
    assert (again[0], again[1]["error"]["code"]) == (401, 40105)
    assert (late[0], late[1]["error"]["code"]) == (401, 40104)


async def test_tokens_are_asked_for_with_json(app: AblyApp) -> None:
    """A page of another site could send a form, and lists without end would be questions without end."""
    bodies: list[Any] = [{}, [], {"channels": "news"}, {"channels": [1]}, {"channels": ["a"] * 101}]
    statuses = await asyncio.gather(*(ask(app, "ann", body) for body in bodies))
    form = await app.http(
        "POST",
        f"{app.url}/ably/token",
        headers={"authorization": "Bearer ann", "content-type": "text/plain"},
        body=b'{"channels":[]}',
    )

    assert [status for status, _ in statuses] == [400] * len(bodies)
    assert form.status == 415
