"""Publishing on the ably preset, from the gate to who hears it: ABLY-8.13 to ABLY-8.19, beside ably-js."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest
from ably_app import AblyApp
from ably_js import AblyJs
from ably_sdk import SdkError
from ably_server import KEY
from screens import TODOS, Screens, enter, row

from tanstack_realtime import ChannelDeniedError, Inbound, PublishError
from tanstack_realtime.testing import Kit

pytestmark = pytest.mark.usefixtures("ably_js_installed")


@pytest.fixture
async def app(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AblyApp]:
    async with AblyApp(monkeypatch, relayed=True) as app:
        yield app


def messages_sent(app: AblyApp) -> list[Any]:
    """Return the requests that publish."""
    return [asked for asked in app.relay.asked if asked.path.endswith("/messages")]


async def post(app: AblyApp, user: str | None, body: Any) -> tuple[int, Any]:
    """Ask the application to publish."""
    headers = {"content-type": "application/json"}
    if user is not None:
        headers["authorization"] = f"Bearer {user}"
    response = await app.http("POST", f"{app.url}/publish", headers=headers, body=json.dumps(body).encode())
    return response.status, json.loads(response.body) if response.body else None


# -- who may -----------------------------------------------------------------------------------------------------------


async def test_who_may_not_publish_or_join_does_neither(app: AblyApp, kit: Kit, js: AblyJs) -> None:  # ABLY-8.13, P3
    channel = kit.channel()
    for operation in ("publish", "presence"):
        kit.refuse("ann", channel, operation)
    bob = await app.front(js, kit.user("bob"), channel.raw)
    await bob.do("subscribe", channel=channel.raw)
    await bob.do("watch", channel=f"{channel.raw}:presence")
    ann = await kit.client("ann")
    await kit.listen(ann, channel)
    await kit.refused(ann.publish(channel, "forged"), "a publish", ChannelDeniedError)
    await kit.refused(enter(ann, channel, {"name": "Ann"}).live(), "a join", ChannelDeniedError)
    direct = await app.front(js, kit.user("ann"), channel.raw)
    refused: list[int | None] = []
    for command, name in (("publish", channel.raw), ("enter", channel.raw), ("enter", f"{channel.raw}:presence")):
        with pytest.raises(SdkError) as caught:
            await direct.do(command, channel=name, data={"text": "forged"})
        refused.append(caught.value.code)
    await app.publish(channel, "the last")
    await bob.hears("message", data="the last")

    assert refused == [40160, 40160, 40160]
    assert bob.data(channel.raw) == ["the last"]
    assert bob.events("presence") == []


async def test_ably_is_asked_only_for_who_may(app: AblyApp, kit: Kit) -> None:  # ABLY-8.14, A1
    channel = kit.channel()
    kit.refuse("ann", channel, "publish")
    body = {"channel": channel.raw, "data": {"action": "insert", "data": {"id": "t1"}}}
    statuses = [(await post(app, user, body))[0] for user in (None, kit.user("ann"))]
    strange = [(await post(app, kit.user("bob"), {**body, "channel": name}))[0] for name in ("*", "todos:*", "a b")]

    assert statuses == [401, 403]
    assert strange == [400, 400, 400]
    assert app.relay.asked == []


# -- once --------------------------------------------------------------------------------------------------------------


async def test_an_accepted_publish_is_one_request(app: AblyApp, kit: Kit, js: AblyJs) -> None:  # ABLY-8.15
    channel, data = kit.channel(), {"text": "gr\u00fc\u00df \N{SNOWMAN}", "list": [1, None, {"a": 0.5}]}
    bob = await app.front(js, kit.user("bob"), channel.raw)
    await bob.do("subscribe", channel=channel.raw)
    ann = await kit.client("ann")
    _, listener = await kit.listen(ann, channel)
    await ann.publish(channel, data)
    await kit.heard(listener, 1, "the echo")
    await bob.hears("message")
    [asked] = messages_sent(app)

    assert (asked.method, asked.path) == ("POST", f"/channels/{quote(channel.raw, safe='')}/messages")
    assert asked.headers["authorization"] == f"Basic {base64.b64encode(KEY.encode()).decode()}"
    assert bob.data(channel.raw) == listener.data == [data]
    assert [said["clientId"] for said in bob.events("message")] == [kit.user("ann")]
    assert [message.own for message in listener.inbound] == [True]


@pytest.mark.parametrize("failure", [503, -503, -500])
async def test_a_repeated_publish_is_delivered_once(
    app: AblyApp, kit: Kit, js: AblyJs, failure: int
) -> None:  # ABLY-8.16
    """Ably fails before it has taken the message, or after; who published does it again, with the same id."""
    channel = kit.channel()
    bob = await app.front(js, kit.user("bob"), channel.raw)
    await bob.do("subscribe", channel=channel.raw)
    message = {"action": "insert", "data": {"id": "t1"}, "key": "t1", "id": "m1", "origin": "o1"}
    app.relay.plan.extend([failure] * 5)
    with pytest.raises(PublishError) as caught:
        await app.publish(channel, message)
    app.relay.plan.clear()
    await app.publish(channel, message)
    await app.publish(channel, {"text": "the last"})
    await bob.hears("message", data={"text": "the last"})

    assert caught.value.retryable
    assert bob.data(channel.raw) == [message, {"text": "the last"}]


@pytest.mark.parametrize(("failure", "retryable"), [(401, False), (429, True), (500, True), (503, True)])
async def test_a_failure_of_ablys_is_no_success(
    app: AblyApp, kit: Kit, failure: int, retryable: bool, caplog: pytest.LogCaptureFixture
) -> None:  # ABLY-8.17
    channel = kit.channel()
    ann = await kit.client("ann")
    secret = KEY.partition(":")[2]
    caplog.set_level(logging.DEBUG)
    app.relay.plan.extend([failure] * 10)
    status, body = await post(app, kit.user("bob"), {"channel": channel.raw, "data": 1})
    error = await kit.refused(ann.publish(channel, 1), "a publish", PublishError)
    told = [str(body), str(error), repr(error), caplog.text]

    assert status >= 400
    assert error.retryable == retryable
    assert not [text for text in told if secret in text or base64.b64encode(KEY.encode()).decode() in text]


async def test_silence_of_ablys_is_no_success(
    app: AblyApp, kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:  # ABLY-8.17
    monkeypatch.setattr("realtime_preset_ably._api._ATTEMPT_TIME", 0.2)
    ann = await kit.client("ann")
    app.relay.plan.extend([0] * 10)
    error = await kit.refused(ann.publish(kit.channel(), 1), "a publish", PublishError)

    assert error.retryable
    assert len(messages_sent(app)) > 1


async def test_its_own_mutation_is_applied_once(kit: Kit, screens: Screens, app: AblyApp, js: AblyJs) -> None:
    """ABLY-8.18: the echo is known, another tab applies it, and ably-js hears it once."""
    bob = await app.front(js, kit.user("bob"), TODOS.raw)
    await bob.do("subscribe", channel=TODOS.raw)
    ann, tab = await screens.open(), await screens.open()
    await ann.todos.insert(row("t1")).persisted()
    await kit.until(lambda: tab.ids == ["t1"], "the other tab has the row")
    await kit.until(lambda: ann.todos.statistics().messages, "the echo")
    await bob.hears("message")
    await kit.quiet()

    own, other = ann.todos.statistics(), tab.todos.statistics()
    assert (own.messages, own.echoes, own.applied) == (1, 1, 0)
    assert (other.messages, other.echoes, other.applied) == (1, 0, 1)
    assert ann.ids == ["t1"]
    assert [message["key"] for message in bob.data(TODOS.raw)] == ["t1"]


# -- in order ----------------------------------------------------------------------------------------------------------


async def test_a_thousand_messages_keep_their_order(app: AblyApp, kit: Kit, js: AblyJs) -> None:  # ABLY-8.19
    channel = kit.channel()
    ann = await kit.client("ann")
    heard: list[int] = []
    queue: asyncio.Queue[Inbound] = asyncio.Queue()

    def hear(message: Inbound) -> None:
        heard.append(message.data["n"])

    for listener in (hear, queue.put_nowait):
        await kit.soon(ann.subscribe(channel, listener).live(), "it is live")

    async def read() -> list[int]:
        return [(await queue.get()).data["n"] for _ in range(1000)]

    publisher = await js.open("publisher", port=app.ably_port, key=KEY, echoMessages=False)
    reader = await app.front(js, kit.user("bob"), channel.raw)
    await reader.do("subscribe", channel=channel.raw)
    await publisher.do("burst", channel=channel.raw, count=1000, within=20.0)
    heard_later = await kit.soon(read(), "all of them")
    await reader.hears("message", times=1000)

    expected = list(range(1000))
    assert heard == expected
    assert heard_later == expected
    assert [data["n"] for data in reader.data(channel.raw)] == expected
