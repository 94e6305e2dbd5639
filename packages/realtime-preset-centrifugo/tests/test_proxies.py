"""What the application answers when Centrifugo asks. Every answer with status 200 and no top-level error is a grant."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from tanstack_realtime import Channel
from tanstack_realtime.server import Permissions, Reject

TODOS = "rt:todos:project_id=1"
ROOM = "rtp:todos:project_id=1"


def question(channel: Any = TODOS, user: Any = "ann", **more: Any) -> dict[str, Any]:
    """Return what Centrifugo sends."""
    return {
        "client": "c1",
        "transport": "websocket",
        "protocol": "json",
        "encoding": "json",
        "user": user,
        "channel": channel,
        **more,
    }


def granted(**flags: Any) -> Callable[[str, Channel], Permissions]:
    def decide(_user: str, _channel: Channel) -> Permissions:
        return Permissions(**flags)

    return decide


async def test_a_denial_has_the_error_at_the_top(application: Any) -> None:  # CF-8.6, A3
    answer = await application.ask("subscribe", question())

    assert answer.status_code == 200
    assert answer.json() == {"error": {"code": 403, "message": "subscribe is not granted"}}


@pytest.mark.parametrize("secret", [None, "", "wrong", "the-secret-of-the-proxies-0123456789aB", "ü"])
async def test_without_the_secret_nobody_is_asked(application: Any, secret: str | None) -> None:  # CF-8.8
    application.decide = granted(subscribe=True, publish=True)
    headers = {} if secret is None else {"X-Realtime-Proxy-Secret": secret.encode()}
    for what in ("subscribe", "publish"):
        answer = await application.http.post(f"/_realtime/centrifugo/{what}", json=question(data=1), headers=headers)
        assert answer.status_code == 401

    assert application.asked == []


@pytest.mark.parametrize(
    "channel",
    [
        "rt:todos:project_id=%31",  # another spelling of what is granted
        "rt:todos:project_id=1&project_id=1",
        "rt:todos",  # other parameters than declared
        "rt:todos:project_id=1&x=2",
        "rt:$presence:n=1",
        "rt:",
        "todos:project_id=1",  # in no namespace of the preset
        "rtx:todos:project_id=1",
        "RT:todos:project_id=1",
        None,
        7,
        ["rt:todos:project_id=1"],
    ],
)
async def test_names_that_are_not_channels_are_denied(application: Any, channel: Any) -> None:  # CF-8.9
    application.decide = granted(subscribe=True, publish=True, presence=True)
    for what in ("subscribe", "publish"):
        answer = await application.ask(what, question(channel, data=1))
        assert (answer.status_code, answer.json()["error"]["code"]) == (200, 400)

    assert application.asked == []


@pytest.mark.parametrize("user", ["", None, 5, "~ann", ["ann"]])
async def test_users_that_no_token_names_are_denied(application: Any, user: Any) -> None:
    application.decide = granted(subscribe=True, publish=True)
    for what in ("subscribe", "publish"):
        answer = await application.ask(what, question(user=user, data=1))
        assert answer.json()["error"]["code"] == 401

    assert application.asked == []


async def test_nobody_has_a_name_that_no_user_has(application: Any) -> None:
    application.decide = granted(subscribe=True)
    for user in ("~", "~~", "~~ann"):
        await application.ask("subscribe", question(user=user))

    assert [user for user, _ in application.asked] == ["", "~", "~ann"]


async def test_a_failing_authorize_is_temporary(application: Any) -> None:  # CF-8.7
    def fails(_user: str, _channel: Any) -> Permissions:
        raise ValueError("the database is away")

    application.decide = fails
    answer = await application.ask("subscribe", question())

    assert answer.json()["error"] == {
        "code": 503,
        "message": "the server cannot decide this now; try again",
        "temporary": True,
    }
    assert "the database is away" in str(application.errors[0])


@pytest.mark.parametrize("body", [b"", b"{", b"null", b"[]", b'"rt:todos:project_id=1"', b"\xff"])
async def test_what_is_no_question_gets_a_status(application: Any, body: bytes) -> None:
    application.decide = granted(subscribe=True)
    headers = {"X-Realtime-Proxy-Secret": "the-secret-of-the-proxies-0123456789ab"}
    answer = await application.http.post("/_realtime/centrifugo/subscribe", content=body, headers=headers)

    assert answer.status_code == 400


async def test_a_grant_ends_when_it_expires(application: Any) -> None:
    application.decide = granted(subscribe=True)
    forever = (await application.ask("subscribe", question())).json()
    application.decide = granted(subscribe=True, expires_in=60)
    ending = (await application.ask("subscribe", question())).json()

    assert forever == {"result": {}}
    assert list(ending["result"]) == ["expire_at"]
    assert ending["result"]["expire_at"] > 1_700_000_000 + 60


async def test_publishing_and_presence_are_rights_of_their_own(application: Any) -> None:  # CF-8.12, CF-8.21
    application.decide = granted(subscribe=True)
    assert (await application.ask("publish", question(data=1))).json()["error"]["code"] == 403
    assert (await application.ask("subscribe", question(ROOM))).json()["error"]["code"] == 403
    application.decide = granted(publish=True)
    assert "result" in (await application.ask("publish", question(data=1))).json()
    application.decide = granted(presence=True)
    assert "result" in (await application.ask("subscribe", question(ROOM))).json()


@pytest.mark.parametrize("data", [{"text": "ü"}, None, 0, [], ""])
async def test_a_payload_goes_on_as_it_was_validated(application: Any, data: Any) -> None:
    application.decide = granted(publish=True)
    answer = (await application.ask("publish", question(data=data))).json()
    assert json.loads(base64.b64decode(answer["result"]["b64data"])) == data

    def sign(user: str, _channel: Channel, payload: Any) -> dict[str, Any]:
        return {"by": user, "was": payload}

    application.validate = sign
    answer = (await application.ask("publish", question(data=data))).json()
    assert json.loads(base64.b64decode(answer["result"]["b64data"])) == {"by": "ann", "was": data}


async def test_a_rejected_payload_names_the_reason(application: Any) -> None:
    def reject(_user: str, _channel: Any, _data: Any) -> Any:
        raise Reject("no links")

    application.decide = granted(publish=True)
    application.validate = reject
    answer = await application.ask("publish", question(data={"text": "https://…"}))

    assert answer.json() == {"error": {"code": 422, "message": "no links"}}


async def test_nobody_publishes_into_a_room_through_the_application(application: Any) -> None:
    application.decide = granted(publish=True, presence=True)
    answer = await application.ask("publish", question(ROOM, data={"k": "s"}))

    assert answer.json()["error"]["code"] == 400


async def test_a_member_brings_its_state_and_a_watcher_is_not_seen(application: Any) -> None:
    application.decide = granted(presence=True)
    member = (await application.ask("subscribe", question(ROOM, data={"s": {"name": "Ann"}}))).json()["result"]
    watcher = (await application.ask("subscribe", question(ROOM))).json()["result"]

    assert member == {"info": {"s": {"name": "Ann"}}}
    assert watcher["override"]["presence"] == watcher["override"]["join_leave"] == {"value": False}
    assert watcher["override"]["force_push_join_leave"] == {"value": True}


@pytest.mark.parametrize("data", [{"s": 1}, {"s": None}, {}, 5, "x", [], {"s": {"x": "y" * 2048}}])
async def test_a_state_that_cannot_be_one_is_refused(application: Any, data: Any) -> None:
    application.decide = granted(presence=True)
    answer = await application.ask("subscribe", question(ROOM, data=data))

    assert answer.json()["error"]["code"] in (413, 415)
    assert application.asked == []


async def test_a_decision_during_a_revocation_is_made_again(application: Any) -> None:
    decisions = [Permissions(subscribe=True), Permissions()]

    def decide(_user: str, _channel: Any) -> Permissions:
        application.realtime._server._revocations += len(decisions) - 1
        return decisions.pop(0)

    application.decide = decide
    answer = await application.ask("subscribe", question())

    assert answer.json()["error"]["code"] == 403
    assert decisions == []


async def test_a_retry_over_the_connection_has_the_same_key(application: Any) -> None:  # CF-8.16
    application.decide = granted(publish=True)
    message = {"action": "insert", "data": {"id": "t1"}, "id": "m1", "origin": "o1"}
    keys = [
        (await application.ask("publish", question(user=user, data=data))).json()["result"].get("idempotency_key")
        for user, data in (
            ("ann", message),
            ("ann", message),
            ("bob", message),
            ("ann", {**message, "data": {"id": "t2"}}),
            ("ann", {"text": "no mutation", "id": "m1"}),
        )
    ]

    assert keys[0] == keys[1]
    assert len({*keys[1:4]}) == 3
    assert keys[4] is None
