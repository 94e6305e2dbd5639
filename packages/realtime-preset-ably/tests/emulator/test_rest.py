"""REST, through the ASGI application, on a clock that a test turns. Nothing here opens a socket."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from realtime_preset_ably.emulator._access import App, Key, Namespace
from realtime_preset_ably.emulator._asgi import Application
from realtime_preset_ably.emulator._authority import Authority
from realtime_preset_ably.emulator._capability import Capability
from realtime_preset_ably.emulator._outbox import Outbox
from realtime_preset_ably.emulator._plain import from_msgpack, to_msgpack
from realtime_preset_ably.emulator._realtime import Realtime

NOW = 1_700_000_000_000
ALL = Capability.parse({"*": ["*"]})
KEY = "app1.key1:secret"


class HandClock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> int:
        return self.time

    def advance(self, milliseconds: int) -> None:
        self.time += milliseconds


class World:
    """An application with one app, a client of it, and its clock."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.authority = Authority(self.clock.now)
        keys = [
            Key("app1", "key1", "secret", ALL),
            Key("app1", "soft", "secret", ALL, revocable=True),
            Key("app1", "read", "secret", Capability.parse({"todos:*": ["subscribe"], "log": ["history"]})),
        ]
        self.authority.add(App("app1", {key.key_id: key for key in keys}, {"kept": Namespace("kept", persisted=True)}))
        self.realtime = Realtime(self.authority, self.clock)
        transport = httpx.ASGITransport(Application(self.realtime))
        self.http = httpx.AsyncClient(transport=transport, base_url="http://emulator:8790")

    async def call(
        self, method: str, path: str, body: object = None, *, key: str | None = KEY, **headers: str
    ) -> httpx.Response:
        """Send a request with a key."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            sent["authorization"] = f"Basic {base64.b64encode(key.encode()).decode()}"
        return await self.http.request(method, path, json=body, headers=sent)

    async def publish(self, channel: str, body: object, *, key: str | None = KEY, **headers: str) -> httpx.Response:
        """Publish on a channel."""
        return await self.call("POST", f"/channels/{quote(channel, safe='')}/messages", body, key=key, **headers)

    async def data(self, channel: str, query: str = "") -> list[Any]:
        """Return the payloads in a channel's history, newest first."""
        response = await self.call("GET", f"/channels/{quote(channel, safe='')}/messages{query}")
        assert response.status_code == 200, response.text
        return [message["data"] for message in response.json()]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    async with world.http:
        yield world


def bearer(token: str) -> str:
    return f"Bearer {base64.b64encode(token.encode()).decode()}"


async def test_time_needs_no_credentials(world: World) -> None:
    response = await world.call("GET", "/time", key=None)

    assert (response.status_code, response.json()) == (200, [NOW])
    assert (await world.call("HEAD", "/time", key=None)).status_code == 200


async def test_the_port_that_an_sdk_puts_into_the_path_is_ignored(world: World) -> None:
    assert (await world.call("GET", "/:80/time")).json() == [NOW]


async def test_a_published_message_is_in_the_history(world: World) -> None:
    response = await world.publish("todos:1", {"name": "insert", "data": {"id": 1}})

    assert response.status_code == 201
    answer = response.json()
    (serial,) = answer["serials"]
    assert answer["channel"] == "todos:1"
    assert answer["messageId"].endswith(":0")
    (message,) = (await world.call("GET", "/channels/todos%3A1/messages")).json()
    assert message == {
        "id": answer["messageId"],
        "name": "insert",
        "data": '{"id":1}',
        "encoding": "json",
        "timestamp": NOW,
        "serial": serial,
        "action": 0,
        "version": {"serial": serial, "timestamp": NOW},
    }


@pytest.mark.parametrize("channel", ["a/b", "a b", "100%", "ü:=&,", "a?b", "a+b", "%2F", "todos:project_id=1%202"])
async def test_names_come_through_the_path_unchanged(world: World, channel: str) -> None:
    assert (await world.publish(channel, {"data": "x"})).json()["channel"] == channel
    assert await world.data(channel) == ["x"]


async def test_several_messages_are_published_together(world: World) -> None:
    response = await world.publish("a", [{"data": "1"}, {"data": "2"}])

    assert len(response.json()["serials"]) == 2
    assert await world.data("a") == ["2", "1"]


async def test_a_message_with_an_id_is_published_once(world: World) -> None:
    first = await world.publish("a", {"id": "m:0", "data": "1"})
    again = await world.publish("a", {"id": "m:0", "data": "1"})

    assert again.json() == first.json()
    assert await world.data("a") == ["1"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"data": 1}, 40013),
        ({"data": True}, 40013),
        ({"data": "x" * 70_000}, 40009),
        ({"name": 1}, 40000),
        ([], 40000),
        ("text", 40000),
        ({"data": "x", "connectionKey": "unknown"}, 40006),
        ([{"data": "x", "connectionKey": "k"}, {"data": "x"}], 40000),
    ],
)
async def test_what_is_not_published(world: World, body: object, code: int) -> None:
    response = await world.publish("a", body)

    assert (response.status_code, response.json()["error"]["code"]) == (400, code)
    assert await world.data("a") == []


async def test_the_author_is_who_the_credentials_say(world: World) -> None:
    token = (await world.call("POST", "/keys/app1.key1/requestToken", {"clientId": "ann"})).json()["token"]

    await world.publish("a", {"data": "1"}, key=None, authorization=bearer(token))
    refused = await world.publish("a", {"data": "2", "clientId": "bob"}, key=None, authorization=bearer(token))
    await world.publish("a", {"data": "3", "clientId": "bob"})
    await world.publish("a", {"data": "4"}, x_ably_clientid=base64.b64encode(b"cid").decode())

    assert (refused.status_code, refused.json()["error"]["code"]) == (400, 40012)
    messages = (await world.call("GET", "/channels/a/messages?direction=forwards")).json()
    assert [(message["data"], message.get("clientId")) for message in messages] == [
        ("1", "ann"),
        ("3", "bob"),
        ("4", "cid"),
    ]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/channels/todos%3A1/messages", {"data": "x"}),
        ("GET", "/channels/todos%3A1/messages", None),
        ("GET", "/channels/todos%3A1/presence/history", None),
        ("GET", "/channels/chat/presence", None),
        ("GET", "/channels/log/presence", None),
        ("GET", "/channels/todos%3A1", None),
        ("GET", "/stats", None),
    ],
)
async def test_what_is_not_granted_is_refused(world: World, method: str, path: str, body: object) -> None:
    response = await world.call(method, path, body, key="app1.read:secret")

    assert (response.status_code, response.json()["error"]["code"]) == (401, 40160)
    assert response.headers["x-ably-errorcode"] == "40160"
    assert response.headers["x-ably-errormessage"]


async def test_without_credentials_nothing_is_served(world: World) -> None:
    for method, path in [("POST", "/messages"), ("GET", "/presence"), ("GET", "/stats"), ("DELETE", "/apps/app1")]:
        assert (await world.call(method, path, {}, key=None)).status_code == 401
    for headers in ({"authorization": "Digest x"}, {"authorization": "Basic ###"}, {"authorization": bearer("x")}):
        assert (await world.call("GET", "/stats", key=None, **headers)).status_code in (400, 401)


async def test_credentials_in_the_query(world: World) -> None:
    token = (await world.call("POST", "/keys/app1.key1/requestToken", {})).json()["token"]
    for query in (f"key={KEY}", f"access_token={token}", f"accessToken={token}"):
        assert (await world.call("GET", f"/stats?{query}", key=None)).json() == []


async def test_a_token_may_be_shown_as_it_is(world: World) -> None:
    token = (await world.call("POST", "/keys/app1.key1/requestToken", {})).json()["token"]

    assert (await world.call("GET", "/stats", key=None, authorization=f"Bearer {token}")).json() == []


async def test_links_hold_no_credentials(world: World) -> None:
    response = await world.http.get(f"/channels/a/messages?limit=1&key={KEY}")

    assert response.headers.get_list("link")[0] == '<./messages?limit=1>; rel="first"'


async def test_a_page_after_an_item_that_is_gone(world: World) -> None:
    await world.publish("a", {"data": "1"})
    (gone,) = (await world.call("GET", "/channels/a/messages")).json()
    world.clock.advance(60_000)
    await world.publish("a", {"data": "2"})
    after = f"?after={quote(gone['serial'])}"
    assert await world.data("a", f"{after}&direction=forwards") == ["2"]
    world.clock.advance(60_000)

    # Older ones are gone as well; newer ones are not.
    assert await world.data("a", after) == []
    assert await world.data("a", f"{after}&direction=forwards") == ["2"]


async def test_a_publish_on_behalf_of_a_connection(world: World) -> None:
    outbox = Outbox("json", world.realtime.limits, lambda: None)
    connection = world.realtime.connect({"key": KEY, "clientId": "ann"}, outbox)
    assert connection is not None
    body = {"data": "x", "connectionKey": connection.key}
    bob = (await world.call("POST", "/keys/app1.key1/requestToken", {"clientId": "bob"})).json()["token"]

    refused = await world.publish("a", body, key=None, authorization=bearer(bob))
    await world.publish("a", body)

    assert (refused.status_code, refused.json()["error"]["code"]) == (401, 40102)
    (message,) = (await world.call("GET", "/channels/a/messages")).json()
    assert (message["clientId"], message["connectionId"]) == ("ann", connection.peer.id)


async def test_history_has_pages_and_links(world: World) -> None:
    for number in range(5):
        world.clock.advance(1000)
        await world.publish("a b", {"data": str(number)})

    async def read(query: str) -> list[list[str]]:
        pages: list[list[str]] = []
        url = f"http://emulator:8790/channels/a%20b/messages?{query}"
        while url:
            response = await world.call("GET", url)
            pages.append([message["data"] for message in response.json()])
            links: dict[str, str] = {}
            for link in response.headers.get_list("link"):
                target, _, rel = link.partition("; rel=")
                links[rel] = target.strip("<>")
            assert '"first"' in links
            url = str(httpx.URL(url).join(links['"next"'])) if '"next"' in links else ""
        return pages

    assert await read("limit=2") == [["4", "3"], ["2", "1"], ["0"]]
    assert await read("limit=2&direction=forwards") == [["0", "1"], ["2", "3"], ["4"]]
    assert await read("limit=5") == [["4", "3", "2", "1", "0"]]
    assert await read(f"start={NOW + 2000}&end={NOW + 4000}&limit=2") == [["3", "2"], ["1"]]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "limit=-1", "direction=up", "start=2&end=1", "start=²"]
)
async def test_bad_parameters_of_a_list(world: World, query: str) -> None:
    response = await world.call("GET", f"/channels/a/messages?{query}")

    assert (response.status_code, response.json()["error"]["code"]) == (400, 40000)


async def test_what_came_before_an_attach(world: World) -> None:
    await world.publish("a", {"data": "1"})
    serial = world.realtime.app("app1").channel("a").log.head
    await world.publish("a", {"data": "2"})

    assert await world.data("a", f"?from_serial={quote(serial)}") == ["1"]
    assert await world.data("a", f"?fromSerial={quote(serial)}") == ["1"]


async def test_history_reaches_back_two_minutes_and_further_where_it_persists(world: World) -> None:
    await world.publish("a", {"data": "1"})
    await world.publish("kept:a", {"data": "1"})
    world.clock.advance(121_000)

    assert await world.data("a") == []
    assert await world.data("kept:a") == ["1"]


async def test_bytes_reach_readers_of_both_formats(world: World) -> None:
    packed = to_msgpack({"data": b"\x00\xff", "encoding": "x"})
    headers = {"content-type": "application/x-msgpack", "accept": "application/x-msgpack"}
    response = await world.http.post(f"/channels/a/messages?key={KEY}", content=packed, headers=headers)
    binary = await world.http.get(f"/channels/a/messages?key={KEY}", headers=headers)
    (text,) = (await world.call("GET", "/channels/a/messages")).json()

    assert response.headers["content-type"] == "application/x-msgpack"
    assert from_msgpack(response.content)["channel"] == "a"
    (message,) = from_msgpack(binary.content)
    assert (message["data"], message["encoding"]) == (b"\x00\xff", "x")
    assert (text["data"], text["encoding"]) == ("AP8=", "x/base64")


async def test_errors_are_in_the_readers_format_too(world: World) -> None:
    response = await world.call("GET", "/nowhere", accept="application/x-msgpack")

    assert (response.status_code, response.headers["content-type"]) == (404, "application/x-msgpack")
    assert from_msgpack(response.content)["error"]["code"] == 40400


async def test_requests_that_cannot_be_read(world: World) -> None:
    url = f"/channels/a/messages?key={KEY}"
    cases: list[tuple[Mapping[str, Any], int, int]] = [
        ({"content": b"{", "headers": {"content-type": "application/json"}}, 400, 40000),
        ({"content": b"[" * 100_000, "headers": {"content-type": "application/json"}}, 400, 40000),
        ({"content": b'{"data":{"x":NaN}}'}, 400, 40000),
        ({"content": b'{"data":{"x":1e999}}'}, 400, 40000),
        ({"content": b'{"data":"\\ud800"}'}, 400, 40000),
        ({"content": b'{"data":"\xff"}'}, 400, 40000),
        ({"content": b"\xc1", "headers": {"content-type": "application/x-msgpack"}}, 400, 40000),
        ({"content": b"a=b", "headers": {"content-type": "application/x-www-form-urlencoded"}}, 415, 41500),
        ({"content": b"x" * (1024 * 1024 + 1)}, 413, 41300),
    ]
    for sent, status, code in cases:
        response = await world.http.post(url, **sent)
        assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert (await world.call("PUT", "/channels/a/messages", {})).status_code == 404


async def test_a_batch_publishes_on_several_channels(world: World) -> None:
    spec = {"channels": ["a", ":bad", "b"], "messages": [{"data": "1"}, {"data": "2"}]}
    response = await world.call("POST", "/messages", spec)

    answer = response.json()
    assert (response.status_code, answer["successCount"], answer["failureCount"]) == (201, 2, 1)
    assert [result["channel"] for result in answer["results"]] == ["a", ":bad", "b"]
    assert answer["results"][1]["error"]["code"] == 40010
    assert await world.data("a") == await world.data("b") == ["2", "1"]
    both = (await world.call("POST", "/messages", [spec, {"channels": "c", "messages": {"data": "3"}}])).json()
    assert [result["successCount"] for result in both] == [2, 1]


@pytest.mark.parametrize(
    "body", [[], {"channels": []}, {"channels": [1]}, {"messages": []}, "x", {"channels": ["a"] * 101}]
)
async def test_bad_batches(world: World, body: object) -> None:
    assert (await world.call("POST", "/messages", body)).status_code == 400


async def test_presence_of_one_channel_and_of_several(world: World) -> None:
    fixtures: list[Any] = [{"clientId": "ann", "data": "1"}, {"clientId": "bob", "data": {"x": 1}}]
    spec: dict[str, Any] = {"keys": [{}], "channels": [{"name": "a", "presence": fixtures}]}
    made = await world.call("POST", "/apps", spec, key=None)
    key = made.json()["keys"][0]["keyStr"]

    members = (await world.call("GET", "/channels/a/presence", key=key)).json()
    assert sorted((member["clientId"], member["data"], member["action"]) for member in members) == [
        ("ann", "1", 1),
        ("bob", '{"x":1}', 1),
    ]
    (ann,) = (await world.call("GET", "/channels/a/presence?clientId=ann", key=key)).json()
    assert ann["clientId"] == "ann"
    paged = await world.call("GET", "/channels/a/presence?limit=1", key=key)
    assert len(paged.json()) == 1
    events = (await world.call("GET", "/channels/a/presence/history?direction=forwards", key=key)).json()
    assert [(event["clientId"], event["action"]) for event in events] == [("ann", 2), ("bob", 2)]
    batch = (await world.call("GET", "/presence?channels=a,b", key=key)).json()
    assert [(result["channel"], len(result["presence"])) for result in batch["results"]] == [("a", 2), ("b", 0)]


async def test_the_status_of_a_channel(world: World) -> None:
    idle = (await world.call("GET", "/channels/a")).json()
    await world.publish("a", {"data": "1"})
    used = (await world.call("GET", "/channels/a")).json()

    # To ask for a channel is to use it.
    assert idle == used == {"channelId": "a", "status": {"isActive": True, "occupancy": idle["status"]["occupancy"]}}
    assert set(idle["status"]["occupancy"]["metrics"].values()) == {0}


async def test_a_token_is_requested_and_revoked(world: World) -> None:
    made = await world.call("POST", "/keys/app1.soft/requestToken", {"clientId": "ann"}, key="app1.soft:secret")
    token = made.json()["token"]
    assert made.status_code == 201
    world.clock.advance(1)
    body = {"targets": ["clientId:ann", "x"]}

    by_token = await world.call("POST", "/keys/app1.soft/revokeTokens", body, key=None, authorization=bearer(token))
    by_other = await world.call("POST", "/keys/app1.soft/revokeTokens", body)
    other = await world.call("POST", "/keys/app1.key1/revokeTokens", body)
    revoked = await world.call("POST", "/keys/app1.soft/revokeTokens", body, key="app1.soft:secret")
    after = await world.call("GET", "/stats", key=None, authorization=bearer(token))

    codes = [response.json()["error"]["code"] for response in (by_token, by_other, other, after)]
    assert codes == [40162, 40133, 40164, 40141]
    answer = revoked.json()
    assert (revoked.status_code, answer["successCount"], answer["failureCount"]) == (200, 1, 1)
    assert answer["results"][0] == {"target": "clientId:ann", "issuedBefore": NOW + 1, "appliesAt": NOW + 1}


async def test_a_sandbox_app_is_made_and_deleted(world: World) -> None:
    spec = {
        "keys": [{}, {"capability": '{"a":["publish"]}', "revocableTokens": True}],
        "namespaces": [{"id": "p", "persisted": True}],
    }
    made = (await world.call("POST", "/apps", spec, key=None)).json()

    first, second = made["keys"]
    assert (made["endpoint"], made["port"], made["tls"]) == ("emulator", 8790, False)
    assert first["keyStr"] == f"{made['appId']}.{first['id']}:{first['value']}"
    assert (first["capability"], second["capability"]) == ('{"*":["*"]}', '{"a":["publish"]}')
    assert made["namespaces"] == [{"id": "p", "persisted": True}]
    # Apps do not see each other's channels.
    await world.call("POST", "/channels/a/messages", {"data": "x"}, key=first["keyStr"])
    assert await world.data("a") == []

    path = f"/apps/{made['appId']}"
    assert (await world.call("DELETE", path)).status_code == 401
    asked = await world.call("POST", f"/keys/{first['keyName']}/requestToken", {}, key=first["keyStr"])
    by_token = await world.call("DELETE", path, key=None, authorization=bearer(asked.json()["token"]))
    assert by_token.status_code == 401
    connection = world.realtime.connect({"key": first["keyStr"]}, Outbox("json", world.realtime.limits, lambda: None))
    assert connection in world.realtime.connections()
    assert (await world.call("DELETE", path, key=first["keyStr"])).status_code == 204
    assert world.realtime.connections() == []
    assert (await world.call("GET", "/stats", key=first["keyStr"])).status_code == 401


async def test_web_pages_make_no_apps_but_may_use_them(world: World) -> None:
    refused = await world.call("POST", "/apps", {}, key=None, origin="https://example.com")
    allowed = await world.call("GET", "/time", origin="https://example.com")
    preflight = await world.call("OPTIONS", "/channels/a/messages", key=None, origin="https://example.com")

    assert (refused.status_code, refused.headers.get("access-control-allow-origin")) == (403, None)
    assert allowed.headers["access-control-allow-origin"] == "*"
    assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (204, "*")


BAD_SPECS: list[Any] = [
    [],
    {"keys": {}},
    {"keys": [1]},
    {"keys": [{"capability": "{"}]},
    {"keys": [{}] * 101},
    {"namespaces": [{}]},
    {"channels": [{"name": ":bad", "presence": [{"clientId": "a"}]}]},
    {"channels": [{"name": "a", "presence": [{"data": "nobody"}]}]},
]


@pytest.mark.parametrize("spec", BAD_SPECS)
async def test_bad_descriptions_of_apps(world: World, spec: object) -> None:
    before = dict(world.authority.apps)
    assert (await world.call("POST", "/apps", spec, key=None)).status_code == 400
    assert world.authority.apps == before


@pytest.mark.parametrize("key", [[], {}, 5, "x", True])
async def test_a_connection_key_that_is_none_is_refused(world: World, key: object) -> None:
    response = await world.publish("c", {"data": "x", "connectionKey": key})

    assert (response.status_code, response.json()["error"]["code"]) == (400, 40006)


async def test_messages_of_one_publish_have_one_connection_key(world: World) -> None:
    mixed: list[tuple[object, object]] = [("x", None), ([], "x"), (None, {})]
    for keys in mixed:
        response = await world.publish("c", [{"data": "x", "connectionKey": key} for key in keys])
        assert response.json()["error"]["message"].startswith("messages that are published together")


async def test_an_error_fits_into_a_header_whatever_it_repeats(world: World) -> None:
    response = await world.call("POST", "/keys/app1.key1/requestToken", {"keyName": "k" * 500_000}, key=None)

    assert response.status_code == 400
    assert len(response.headers["x-ably-errormessage"]) == 1000
