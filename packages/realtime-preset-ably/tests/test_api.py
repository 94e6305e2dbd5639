"""Ably's REST API: what is sent there, and what becomes of its answers."""

from __future__ import annotations

import asyncio
import base64
import logging
import traceback
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from realtime_preset_ably._names import mark_of
from tanstack_db.testing import settle
from tanstack_realtime import Channel, PublishError
from tanstack_realtime.server import Permissions, Reject

CHANNEL = ("todos", {"project_id": "a/b *"})
SECRET = "the-secret-of-the-key"
MUTATION = {"action": "delete", "key": 1, "id": "m1", "origin": "client-1"}


def granting(*, publish: bool) -> Callable[[str, Channel], Permissions]:
    def decide(_user_id: str, _channel: Channel) -> Permissions:
        return Permissions(publish=publish)

    return decide


def error(status: int, code: int, message: str = "no", **headers: str) -> httpx.Response:
    return httpx.Response(status, json={"error": {"code": code, "message": message}}, headers=headers)


async def publish(application: Any, bearer: str | None, data: Any, **extra: Any) -> httpx.Response:
    headers = {} if bearer is None else {"authorization": f"Bearer {bearer}"}
    body = {"channel": "todos:project_id=1", "data": data, **extra}
    answer: httpx.Response = await application.http.post("/_realtime/publish", json=body, headers=headers)
    return answer


async def test_a_message_of_the_server_is_one_request(application: Any) -> None:  # ABLY-8.15
    await application.realtime.publish(CHANNEL, {"text": "ü"})
    [request], [body] = application.ably.requests, application.ably.bodies

    assert request.method == "POST"
    assert request.url.host == "main.realtime.ably.net"
    assert request.url.raw_path == b"/channels/todos%3Aproject_id%3Da%252Fb%2520%252A/messages"
    assert request.headers["authorization"] == f"Basic {base64.b64encode(f'app.key:{SECRET}'.encode()).decode()}"
    assert body.pop("id").endswith(":0")
    assert body == {"data": '{"text":"ü"}', "encoding": "json"}


@pytest.mark.parametrize("data", [None, 0, True, "", "text", [], {}])
async def test_every_json_value_is_a_payload(application: Any, data: Any) -> None:  # P8
    """Ably itself takes no number, no boolean and no null."""
    await application.realtime.publish(CHANNEL, data)

    [body] = application.ably.bodies
    assert (type(body["data"]), body["encoding"]) == (str, "json")


async def test_nobody_publishes_who_may_not(application: Any) -> None:  # ABLY-8.14
    refused = await publish(application, "ann", 1)
    nobody = await publish(application, None, 1)

    assert (refused.status_code, nobody.status_code) == (403, 401)
    assert application.ably.requests == []


async def test_what_is_rejected_is_not_sent(application: Any) -> None:  # ABLY-8.14
    def rejects(_user: str, _channel: Channel, _data: Any) -> Any:
        raise Reject("rude")

    application.decide = granting(publish=True)
    application.validate = rejects

    assert (await publish(application, "ann", 1)).status_code == 422
    assert application.ably.requests == []


async def test_a_message_of_a_user_is_told_as_theirs(application: Any) -> None:  # ABLY-8.18
    application.decide = granting(publish=True)
    answers = [await publish(application, "~ann", 1, link="c1"), await publish(application, "~ann", 1)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert [body["clientId"] for body in application.ably.bodies] == ["%7Eann"] * 2
    assert [body.get("extras") for body in application.ably.bodies] == [{"headers": {"link": mark_of("c1")}}, None]


@pytest.mark.parametrize(
    "failure",
    [httpx.Response(503), httpx.Response(500), httpx.ReadTimeout("late"), httpx.DecodingError("gzip?")],
)
async def test_what_may_have_arrived_is_sent_again_as_the_same(
    application: Any, failure: httpx.Response | Exception
) -> None:  # ABLY-8.16
    application.ably.answers = [failure, failure]
    await application.realtime.publish(CHANNEL, 1)

    first, *others = application.ably.bodies
    assert others == [first, first]
    hosts = [request.url.host for request in application.ably.requests]
    assert hosts[0] == "main.realtime.ably.net"
    assert len(set(hosts)) == 3
    assert all(host.endswith(".fallback.ably-realtime.com") for host in hosts[1:])


async def test_a_server_that_hangs_is_given_up(application: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(_request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(3600)
        raise AssertionError("somebody waited")

    monkeypatch.setattr(application.ably, "handle", hang)
    loop = asyncio.get_running_loop()
    start = loop.time()
    with pytest.raises(PublishError) as caught:
        await application.realtime.publish(CHANNEL, 1)

    assert (caught.value.code, caught.value.retryable) == ("unavailable", True)
    assert loop.time() - start < 10  # what a client waits for its answer


async def test_a_mutation_is_the_same_message_every_time(application: Any) -> None:  # ABLY-8.16, P4
    application.decide = granting(publish=True)
    for bearer, data in [
        ("ann", MUTATION),
        ("ann", MUTATION),
        ("bob", MUTATION),
        ("ann", {**MUTATION, "key": 2}),
        ("ann", {"text": "hi"}),
        ("ann", {"text": "hi"}),
    ]:
        await publish(application, bearer, data)
    for number in ("1", "2"):
        await application.realtime.publish(("todos", {"project_id": number}), MUTATION)
    first, again, *others = [body["id"] for body in application.ably.bodies]

    assert first == again
    assert len({first, *others}) == 7


@pytest.mark.parametrize(
    ("answer", "code", "retryable"),
    [
        (error(401, 40101, f"invalid credentials app.key:{SECRET}"), "api_key", False),
        (error(401, 40160), "api_key", False),
        (error(429, 42911, **{"retry-after": "7"}), "rate_limited", True),
        (error(400, 40009), "too_large", False),
        (error(404, 40400), "40400", False),
        (httpx.Response(404, text="<html>"), "404", False),
    ],
)
async def test_a_refusal_is_an_error(
    application: Any, answer: httpx.Response, code: str, retryable: bool, caplog: pytest.LogCaptureFixture
) -> None:  # ABLY-8.17
    caplog.set_level(logging.DEBUG)
    application.ably.answers = [answer]
    with pytest.raises(PublishError) as caught:
        await application.realtime.publish(CHANNEL, 1)

    assert (caught.value.code, caught.value.retryable) == (code, retryable)
    assert caught.value.retry_after == (7 if code == "rate_limited" else None)
    assert len(application.ably.requests) == 1
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + caught.value.reason + caplog.text
    assert SECRET not in shown


@pytest.mark.parametrize(
    ("answers", "status", "code"),
    [
        ([error(401, 40101, f"app.key:{SECRET}")], 400, "api_key"),
        ([error(429, 42911)], 429, "rate_limited"),
        ([httpx.Response(502)] * 3, 503, "unavailable"),
        ([httpx.ConnectTimeout("late")] * 3, 503, "unavailable"),
    ],
)
async def test_a_publisher_is_told_what_failed(
    application: Any, answers: list[Any], status: int, code: str, caplog: pytest.LogCaptureFixture
) -> None:  # ABLY-8.17, P3
    caplog.set_level(logging.DEBUG)
    application.decide = granting(publish=True)
    application.ably.answers = answers
    answer = await publish(application, "ann", 1)

    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    [reported] = application.errors  # who runs the server is told too, with what to do about it
    assert reported.code == code
    assert SECRET not in answer.text + caplog.text + str(reported)


# -- revocation ------------------------------------------------------------------------------------------------------


async def test_a_revoked_channel_lets_the_connection_live(application: Any) -> None:  # S20
    await application.realtime.revoke("ann@example.com", CHANNEL)
    [request], [body] = application.ably.requests, application.ably.bodies

    assert request.url.raw_path == b"/keys/app.key/revokeTokens"
    assert body == {"targets": ["clientId:ann@example.com"], "allowReauthMargin": True}


async def test_a_revoked_user_is_cut_off_at_once(application: Any) -> None:
    await application.realtime.revoke("ann")

    assert application.ably.bodies == [{"targets": ["clientId:ann"], "allowReauthMargin": False}]


async def test_what_came_of_an_older_request_is_revoked_too(application: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token request can be exchanged for two minutes, and its token is younger than the revocation."""
    monkeypatch.setattr(application.realtime._server, "_now", lambda: 1000.0)
    await application.realtime.revoke("ann")
    await asyncio.sleep(120)
    assert len(application.ably.requests) == 1
    await asyncio.sleep(6)
    await settle()

    last = application.ably.bodies[-1]
    assert len(application.ably.requests) == 2
    assert last["allowReauthMargin"] is True
    assert last["issuedBefore"] == 1_120_000


@pytest.mark.parametrize(
    "answer",
    [
        error(401, 40164),
        httpx.Response(201, json={"results": [{"target": "clientId:ann", "error": {"code": 40164}}]}),
    ],
)
async def test_a_key_without_revocable_tokens_leaves_it_to_their_end(application: Any, answer: httpx.Response) -> None:
    application.ably.answers = [answer]
    await application.realtime.revoke("ann")
    await asyncio.sleep(200)

    assert len(application.ably.requests) == 1
    assert application.errors == []


@pytest.mark.parametrize(
    ("answers", "code"),
    [
        ([error(401, 40101)], "api_key"),
        ([httpx.Response(503)] * 3, "unavailable"),
        (
            [httpx.Response(201, json={"results": [{"target": "x", "error": {"code": 42910, "message": "many"}}]})],
            "42910",
        ),
    ],
)
async def test_a_revocation_that_failed_is_an_error(application: Any, answers: list[Any], code: str) -> None:
    application.ably.answers = answers
    with pytest.raises(PublishError) as caught:
        await application.realtime.revoke("ann")

    assert caught.value.code == code


async def test_a_later_revocation_that_fails_is_reported(application: Any) -> None:
    await application.realtime.revoke("ann")
    application.ably.answers = [error(401, 40101)]
    await asyncio.sleep(130)

    assert [found.code for found in application.errors] == ["api_key"]


async def test_workers_share_nothing(application: Any) -> None:
    """Two servers of one application, neither of which saw a lifespan."""
    other = application.build()
    await application.realtime.publish(CHANNEL, MUTATION)
    await other.publish(CHANNEL, MUTATION)
    await other.aclose()

    first, second = application.ably.bodies
    assert first == second


async def test_what_is_larger_than_ably_takes_is_not_sent(application: Any) -> None:  # A2
    await application.realtime.publish(CHANNEL, "x" * (64_000 - 2))
    with pytest.raises(PublishError) as caught:
        await application.realtime.publish(CHANNEL, "x" * (64_000 - 1))

    assert (caught.value.code, caught.value.retryable) == ("too_large", False)
    assert len(application.ably.requests) == 1
