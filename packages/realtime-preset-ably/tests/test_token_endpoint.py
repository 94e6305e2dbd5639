"""The token endpoint: who gets a token, what it holds, and how long."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from realtime_preset_ably._grant import MAX_CHANNELS, Grant
from realtime_preset_ably._names import BASE_CHANNEL
from realtime_preset_ably._settings import ServerSettings
from realtime_preset_ably._tokens import token_request
from tanstack_realtime import Channel
from tanstack_realtime.server import Identity, Permissions

BASE = {BASE_CHANNEL: ["subscribe"]}


def granting(
    *, subscribe: bool = False, publish: bool = False, presence: bool = False, expires_in: float | None = None
) -> Callable[[str, Channel], Permissions]:
    granted = Permissions(subscribe=subscribe, publish=publish, presence=presence, expires_in=expires_in)

    def decide(_user_id: str, _channel: Channel) -> Permissions:
        return granted

    return decide


def ending(token: str) -> Identity:
    return Identity(token, expires_in=5)


def members_of_one(user_id: str, channel: Channel) -> Permissions:
    return Permissions(subscribe=True, presence=True) if channel.params.get("room") == "1" else Permissions()


async def granted(application: Any, channels: list[Any], **identity: Any) -> Grant:
    answer = await application.token(channels, **identity)
    assert answer.status_code == 200
    return Grant.from_json(answer.json())


def capability(grant: Grant) -> dict[str, list[str]]:
    found: dict[str, list[str]] = json.loads(grant.token_request["capability"])
    return found


async def test_a_token_holds_exactly_what_is_granted(application: Any) -> None:  # ABLY-8.4
    application.decide = members_of_one
    grant = await granted(application, ["chat:room=1", "chat:room=2", "chat:room=1"])

    assert application.asked == [("ann", "chat:room=1"), ("ann", "chat:room=2")]
    assert capability(grant) == {
        **BASE,
        "chat:room=1": ["subscribe"],
        "chat:room=1:presence": ["presence", "subscribe"],
    }
    assert grant.granted == {"chat:room=1": {"subscribe", "presence"}}
    assert (grant.denied["chat:room=2"].code, grant.denied["chat:room=2"].retryable) == ("denied", False)


async def test_who_may_publish_does_so_through_the_gate(application: Any) -> None:  # ABLY-8.13
    application.decide = granting(publish=True)
    grant = await granted(application, ["chat:room=1"])

    assert grant.granted == {"chat:room=1": {"publish"}}
    assert capability(grant) == BASE


async def test_nobody_gets_no_token(application: Any) -> None:  # ABLY-8.3
    answer = await application.token(["chat:room=1"], bearer=None)

    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthenticated")
    assert application.asked == []
    assert "mac" not in answer.text


async def test_nothing_granted_is_not_everything(application: Any) -> None:  # ABLY-8.6
    assert capability(await granted(application, [])) == BASE
    assert capability(await granted(application, ["chat:room=2"])) == BASE


@pytest.mark.parametrize(
    "name",
    [
        "*",
        "todos:*",
        "[*]*",
        "[?rewind=1]chat",
        "[meta]chat",
        "chat:room=1:presence",
        BASE_CHANNEL,
        "chat:room=%31",
        "",
        ":chat",
        "__proto__:",
        "\ud800",
        "todos:room=1",  # declared with another parameter
    ],
)
async def test_what_is_no_channel_never_becomes_a_capability(application: Any, name: str) -> None:  # ABLY-8.5, A9
    application.decide = granting(subscribe=True, presence=True)
    grant = await granted(application, [name, "chat:room=1"])

    assert [asked for _, asked in application.asked] == ["chat:room=1"]
    assert grant.denied[name].code == "bad_channel"
    assert capability(grant).keys() == {BASE_CHANNEL, "chat:room=1", "chat:room=1:presence"}


async def test_it_is_signed_for_the_session_user(application: Any) -> None:  # ABLY-8.7, A14
    grant = await granted(application, [], bearer="*")
    request = grant.token_request
    expected = token_request(
        ServerSettings.read({"ABLY_API_KEY": "app.key:the-secret-of-the-key"}),
        "%2A",
        BASE,
        ttl=900,
        now=(request["timestamp"] + 0.5) / 1000,
        nonce=request["nonce"],
    )

    assert request == expected
    assert (grant.user_id, grant.client_id) == ("*", "%2A")
    assert len(request["nonce"]) >= 16


async def test_every_request_is_another_one(application: Any) -> None:
    nonces = {(await granted(application, [])).token_request["nonce"] for _ in range(3)}

    assert len(nonces) == 3


async def test_a_failing_authorize_is_temporary_and_one_channels_only(application: Any) -> None:  # S17
    def fails(_user: str, channel: Channel) -> Permissions:
        if channel.params.get("room") == "2":
            raise OSError("the database is away")
        return Permissions(subscribe=True)

    application.decide = fails
    grant = await granted(application, ["chat:room=1", "chat:room=2"])

    assert grant.granted.keys() == {"chat:room=1"}
    assert (grant.denied["chat:room=2"].code, grant.denied["chat:room=2"].retryable) == ("unavailable", True)
    assert len(application.errors) == 1


async def test_a_failing_get_user_is_temporary(application: Any) -> None:
    def fails(_token: str) -> str:
        raise ValueError("the database is away")

    application.identity = fails
    answer = await application.token([])

    assert (answer.status_code, answer.json()["error"]["retryable"]) == (503, True)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "bad_request"),
        (b"[]", 400, "bad_request"),
        (b"{}", 400, "bad_request"),
        (b'{"channels": "chat"}', 400, "bad_request"),
        (b'{"channels": [7]}', 400, "bad_request"),
        (json.dumps({"channels": [f"a:n={n}" for n in range(MAX_CHANNELS + 1)]}).encode(), 400, "too_many_channels"),
        (b" " * 65537, 413, "too_large"),
    ],
)
async def test_a_body_that_is_none_is_refused(application: Any, body: bytes, status: int, code: str) -> None:
    headers = {"authorization": "Bearer ann", "content-type": "application/json"}
    answer = await application.http.post("/_realtime/ably/token", content=body, headers=headers)

    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert application.asked == []


async def test_a_page_of_another_site_gets_no_token(application: Any) -> None:
    foreign = await application.token([], origin="https://evil.example")
    form = await application.http.post(
        "/_realtime/ably/token", data={"channels": "[]"}, headers={"authorization": "Bearer ann"}
    )

    assert (foreign.status_code, form.status_code) == (403, 415)


async def test_a_token_is_not_kept_by_anybody(application: Any) -> None:
    assert (await application.token([])).headers["cache-control"] == "no-store"


async def test_a_grant_that_ends_is_asked_for_again(application: Any) -> None:
    """The token itself holds a minute at least: Ably would ask for another at once, and again."""
    application.decide = granting(subscribe=True, expires_in=300)
    grant = await granted(application, ["chat:room=1"])
    assert (grant.expires_in, grant.token_request["ttl"]) == (300, 300_000)

    application.identity = ending
    grant = await granted(application, ["chat:room=1"])
    assert (grant.expires_in, grant.token_request["ttl"]) == (5, 60_000)


async def test_another_endpoint_is_told_to_the_client(application: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABLY_ENDPOINT", "http://127.0.0.1:8790")
    monkeypatch.setenv("ABLY_TOKEN_TTL", "120")
    application.__post_init__()
    grant = await granted(application, [])

    assert (grant.endpoint, grant.tls, grant.expires_in) == ("127.0.0.1:8790", False, 120)
    config = (await application.http.get("/_realtime/config")).json()
    assert (config["preset"], config["url"]) == ("ably", "ws://127.0.0.1:8790")


@pytest.mark.parametrize(("revoked", "asked"), [("ann", 2), ("bob", 1)])
async def test_what_a_revocation_overtakes_is_decided_again(application: Any, revoked: str, asked: int) -> None:  # S20
    member, deciding = True, asyncio.Event()

    async def slow(user_id: str, _channel: Channel) -> Permissions:
        found = Permissions(subscribe=member or user_id != revoked)
        deciding.set()
        await asyncio.sleep(1)
        return found

    application.decide = slow
    asking = asyncio.ensure_future(granted(application, ["chat:room=1"]))
    await deciding.wait()
    member = False
    await application.realtime.revoke(revoked, "chat:room=1")

    assert ("chat:room=1" in capability(await asking)) is (revoked == "bob")
    assert len(application.asked) == asked
