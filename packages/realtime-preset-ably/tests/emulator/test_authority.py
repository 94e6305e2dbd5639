"""Keys, tokens, token requests, JWTs, revocation and expiry, on a clock that a test turns."""

from __future__ import annotations

import base64
import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jwt
import pytest

from realtime_preset_ably.emulator._access import ANY, Access, App, Key
from realtime_preset_ably.emulator._authority import Authority, Revocation, TokenDetails
from realtime_preset_ably.emulator._capability import Capability
from realtime_preset_ably.emulator._errors import AblyError

NOW = 1_700_000_000_000
SECRET = "s3cret"
ALL = Capability.parse({"*": ["*"]})


class World:
    """An authority with two apps, and its clock."""

    def __init__(self) -> None:
        self.now = NOW
        self.authority = Authority(lambda: self.now)
        keys = [
            Key("app1", "key1", SECRET, ALL),
            Key("app1", "soft", "s0ft", ALL, revocable=True),
            Key("app1", "small", "sm4ll", Capability.parse({"todos:*": ["publish", "subscribe"]})),
        ]
        self.authority.add(App("app1", {key.key_id: key for key in keys}))
        self.authority.add(App("app2", {"key1": Key("app2", "key1", SECRET, ALL)}))

    def request(self, name: str = "app1.key1", secret: str = SECRET, **fields: object) -> TokenDetails:
        """Send a request with the key itself."""
        return self.authority.request_token(name, fields, self.authority.by_key(f"{name}:{secret}"))


@pytest.fixture
def world() -> World:
    return World()


def refusal(caught: pytest.ExceptionInfo[AblyError]) -> tuple[int, int]:
    return caught.value.code, caught.value.status


def test_a_key_permits_what_it_has_and_may_act_as_anybody(world: World) -> None:
    access = world.authority.by_key("app1.small:sm4ll")

    assert access.capability.operations("todos:1") == {"publish", "subscribe"}
    assert (access.client_id, access.token_id, access.expires) == (ANY, None, None)


@pytest.mark.parametrize(
    ("key", "code"),
    [
        ("app1.key1:other", 40101),
        ("app1.key2:s3cret", 40101),
        ("app3.key1:s3cret", 40101),
        ("app1.key1", 40101),
        ("app1:s3cret", 40101),
        ("", 40101),
    ],
)
def test_other_keys_are_refused(world: World, key: str, code: int) -> None:
    with pytest.raises(AblyError) as caught:
        world.authority.by_key(key)

    assert caught.value.code == code
    assert "s3cret" not in str(caught.value)


# The macs come from: printf '<fields>' | openssl dgst -sha256 -hmac s3cret -binary | base64
SIGNED = {
    "keyName": "app1.key1",
    "ttl": 3_600_000,
    "capability": '{"todos:*": ["subscribe"]}',
    "clientId": "user é",
    "timestamp": NOW,
    "nonce": "abcdefghijklmnop",
    "mac": "R2MepBh9MipviBe/H0dGfdSYmWgOEdZDKmseN1SEKVE=",
}
BARE = {
    "keyName": "app1.key1",
    "ttl": None,
    "capability": None,
    "timestamp": NOW,
    "nonce": "abcdefghijklmnop",
    "mac": "AfjY2rZqiuNDwq8rrNcYZR4HHfORG03xZ+Xs+VZpq8k=",
}


def test_a_signed_request_gives_a_token(world: World) -> None:
    details = world.authority.request_token("app1.key1", SIGNED)

    assert {name: value for name, value in details.items() if name != "token"} == {
        "keyName": "app1.key1",
        "issued": NOW,
        "expires": NOW + 3_600_000,
        "capability": '{"todos:*":["subscribe"]}',
        "clientId": "user é",
    }
    access = world.authority.by_token(details["token"])
    assert (access.app_id, access.key_name, access.client_id) == ("app1", "app1.key1", "user é")
    assert access.capability.operations("todos:1") == {"subscribe"}


def test_absent_and_null_fields_are_signed_as_nothing(world: World) -> None:
    details = world.authority.request_token("app1.key1", BARE)

    assert "clientId" not in details
    assert details["capability"] == '{"*":["*"]}'
    assert details["expires"] - details["issued"] == 3_600_000
    assert world.authority.by_token(details["token"]).client_id is None


@pytest.mark.parametrize(
    "change",
    [
        {"capability": '{"todos:*":["subscribe"]}'},  # the same, but not the same text
        {"capability": '{"*":["*"]}'},
        {"capability": None},
        {"ttl": 3_600_001},
        {"ttl": None},
        {"clientId": "admin"},
        {"clientId": None},
        {"timestamp": NOW + 1},
        {"nonce": "abcdefghijklmnoq"},
        {"mac": ""},
        {"mac": "é"},
    ],
)
def test_a_request_that_was_tampered_with_is_refused(world: World, change: dict[str, object]) -> None:
    with pytest.raises(AblyError) as caught:
        world.authority.request_token("app1.key1", SIGNED | change)

    assert refusal(caught) == (40101, 401)


def test_a_short_nonce_is_refused(world: World) -> None:
    short = BARE | {"nonce": "short", "mac": "M65gBuk3o8fKqbejLOONENZHLcols58DjsxPNhWYnkI="}
    with pytest.raises(AblyError) as caught:
        world.authority.request_token("app1.key1", short)

    assert refusal(caught) == (40000, 400)


def test_a_request_is_good_once(world: World) -> None:
    world.authority.request_token("app1.key1", SIGNED)
    with pytest.raises(AblyError) as caught:
        world.authority.request_token("app1.key1", SIGNED)

    assert refusal(caught) == (40105, 401)


@pytest.mark.parametrize("later", [-120_001, 120_001])
def test_a_request_is_good_for_two_minutes(world: World, later: int) -> None:
    world.now += later
    with pytest.raises(AblyError) as caught:
        world.authority.request_token("app1.key1", SIGNED)

    assert refusal(caught) == (40104, 401)


@pytest.mark.parametrize("later", [-120_000, 120_000])
def test_within_two_minutes_it_is_still_good(world: World, later: int) -> None:
    world.now += later
    assert world.authority.request_token("app1.key1", SIGNED)["issued"] == NOW + later


def test_an_unsigned_request_needs_the_key_itself(world: World) -> None:
    token = world.request()["token"]
    callers = [
        None,
        world.authority.by_token(token),
        world.authority.by_key("app1.small:sm4ll"),
        world.authority.by_key("app2.key1:s3cret"),
    ]
    for caller in callers:
        with pytest.raises(AblyError) as caught:
            world.authority.request_token("app1.key1", {}, caller)
        assert refusal(caught) == (40101, 401)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"keyName": "app2.key1"}, (40000, 400)),
        ({"ttl": 0}, (40003, 400)),
        ({"ttl": -1}, (40003, 400)),
        ({"ttl": 24 * 3_600_000 + 1}, (40003, 400)),
        ({"ttl": "100"}, (40000, 400)),
        ({"ttl": True}, (40000, 400)),
        ({"ttl": 1.5}, (40000, 400)),
        ({"clientId": 1}, (40000, 400)),
        ({"capability": {"a": ["publish"]}}, (40000, 400)),
        ({"capability": "{}"}, (40160, 401)),
        ({"capability": '{"a":["fly"]}'}, (40000, 400)),
    ],
)
def test_malformed_requests_are_refused(world: World, fields: dict[str, object], expected: tuple[int, int]) -> None:
    with pytest.raises(AblyError) as caught:
        world.authority.request_token("app1.key1", fields, world.authority.by_key("app1.key1:s3cret"))

    assert refusal(caught) == expected


def test_a_token_has_what_is_asked_for_and_the_key_has(world: World) -> None:
    details = world.request("app1.small", "sm4ll", capability='{"todos:1":["subscribe","presence"],"chat":["publish"]}')
    assert details["capability"] == '{"todos:1":["subscribe"]}'

    with pytest.raises(AblyError) as caught:
        world.request("app1.small", "sm4ll", capability='{"chat":["publish"]}')
    assert refusal(caught) == (40160, 401)


def test_tokens_of_revocable_keys_live_an_hour(world: World) -> None:
    assert world.request("app1.soft", "s0ft", ttl=3_600_000)
    with pytest.raises(AblyError) as caught:
        world.request("app1.soft", "s0ft", ttl=3_600_001)

    assert refusal(caught) == (40003, 400)


def test_a_token_expires(world: World) -> None:
    token = world.request(ttl=1000)["token"]
    world.now += 999
    access = world.authority.by_token(token)
    world.now += 1

    acts: list[Callable[[], object]] = [lambda: world.authority.by_token(token), lambda: world.authority.check(access)]
    for act in acts:
        with pytest.raises(AblyError) as caught:
            act()
        assert refusal(caught) == (40142, 401)


def test_another_server_with_the_key_knows_the_token(world: World) -> None:
    token = world.request(clientId="ann")["token"]

    assert World().authority.by_token(token).client_id == "ann"


def test_forged_tokens_are_refused(world: World) -> None:
    token = world.request(capability='{"a":["subscribe"]}')["token"]
    app_id, _, text = token.partition(".")
    blob = bytearray(base64.urlsafe_b64decode(text + "=="))
    forged = [f"app2.{text}"]
    for index in (0, 31, 40, len(blob) - 1):
        changed = blob[:index] + bytes([blob[index] ^ 1]) + blob[index + 1 :]
        forged.append(f"{app_id}.{base64.urlsafe_b64encode(changed).decode().rstrip('=')}")
    for bad in forged:
        with pytest.raises(AblyError) as caught:
            world.authority.by_token(bad)
        assert caught.value.code in (40101, 40400), bad


@pytest.mark.parametrize(
    ("token", "code"),
    [
        ("not_a_token", 40101),
        ("", 40101),
        ("app1.%%%", 40101),
        ("app1.", 40400),
        ("app9.aaaa", 40400),
        ("x" * 200_000, 40101),
    ],
)
def test_what_is_no_token_is_refused(world: World, token: str, code: int) -> None:
    with pytest.raises(AblyError) as caught:
        world.authority.by_token(token)

    assert caught.value.code == code


def make_jwt(claims: dict[str, object], secret: str = SECRET, kid: object = "app1.key1", alg: str = "HS256") -> str:
    full = {"iat": NOW // 1000, "exp": NOW // 1000 + 600} | claims
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyJWT, about short keys
        return jwt.encode({k: v for k, v in full.items() if v is not None}, secret, alg, {"kid": kid} if kid else None)


def test_a_jwt_is_a_token(world: World) -> None:
    claims: dict[str, object] = {"x-ably-capability": '{"a":["subscribe"]}', "x-ably-clientId": "ann"}
    access = world.authority.by_token(make_jwt(claims))

    assert (access.client_id, access.issued, access.expires) == ("ann", NOW, NOW + 600_000)
    assert access.capability.to_json() == '{"a":["subscribe"]}'
    assert world.authority.by_token(make_jwt({}, alg="HS512")).capability == ALL

    world.now += 600_000
    with pytest.raises(AblyError) as caught:
        world.authority.by_token(make_jwt(claims))
    assert refusal(caught) == (40142, 401)


def test_a_jwt_has_no_more_than_its_key(world: World) -> None:
    token = make_jwt({"x-ably-capability": '{"*":["*"]}'}, "sm4ll", "app1.small")

    assert world.authority.by_token(token).capability.to_json() == '{"todos:*":["publish","subscribe"]}'


def unsigned() -> str:
    head, body, _ = make_jwt({}).split(".")
    none = base64.urlsafe_b64encode(json.dumps({"alg": "none", "kid": "app1.key1"}).encode()).decode().rstrip("=")
    assert head
    return f"{none}.{body}."


@pytest.mark.parametrize(
    ("token", "code"),
    [
        (make_jwt({}, "wrong"), 40144),
        (make_jwt({}, kid=None), 40144),
        (make_jwt({}, kid="app1.none"), 40400),
        (make_jwt({"exp": None}), 40144),
        (make_jwt({"iat": None}), 40144),
        (make_jwt({"exp": NOW // 1000 + 25 * 3600}), 40144),
        (make_jwt({"iat": NOW // 1000 + 300, "exp": NOW // 1000 + 900}), 40144),
        (make_jwt({"x-ably-clientId": 1}), 40144),
        (make_jwt({"x-ably-capability": "{"}), 40000),
        (unsigned(), 40144),
        ("a.b.c", 40144),
    ],
)
def test_bad_jwts_are_refused(world: World, token: str, code: int) -> None:
    with pytest.raises(AblyError) as caught:
        world.authority.by_token(token)

    assert caught.value.code == code


def test_revocation_ends_the_tokens_of_a_client(world: World) -> None:
    told: list[Revocation] = []
    world.authority.on_revoked(told.append)
    tokens = {name: world.request("app1.soft", "s0ft", clientId=name)["token"] for name in ("ann", "bob")}
    world.now += 1000
    results = world.authority.revoke("app1.soft", ["clientId:ann", "group:x"])

    assert results[0] == {"target": "clientId:ann", "issuedBefore": world.now, "appliesAt": world.now}
    assert results[1]["error"]["code"] == 40000
    assert [revocation.value for revocation in told] == ["ann"]
    with pytest.raises(AblyError) as caught:
        world.authority.by_token(tokens["ann"])
    assert refusal(caught) == (40141, 401)
    assert world.authority.by_token(tokens["bob"]).client_id == "bob"
    # A token that is made afterwards is good.
    assert world.authority.by_token(world.request("app1.soft", "s0ft", clientId="ann")["token"]).client_id == "ann"


def test_revocation_with_a_margin_ends_tokens_half_a_minute_later(world: World) -> None:
    token = world.request("app1.soft", "s0ft", clientId="ann")["token"]
    world.now += 1
    (result,) = world.authority.revoke("app1.soft", ["clientId:ann"], allow_reauth_margin=True)

    assert result["appliesAt"] == world.now + 30_000
    world.now += 29_999
    access = world.authority.by_token(token)
    world.now += 1
    with pytest.raises(AblyError) as caught:
        world.authority.check(access)
    assert refusal(caught) == (40141, 401)


def test_revocation_by_group(world: World) -> None:
    token = make_jwt({"x-ably-revocation-key": "team"}, "s0ft", "app1.soft")
    assert world.authority.by_token(token).revocation_key == "team"
    world.now += 1
    world.authority.revoke("app1.soft", ["revocationKey:team"])

    with pytest.raises(AblyError) as caught:
        world.authority.by_token(token)
    assert caught.value.code == 40141


@pytest.mark.parametrize(
    ("changed", "covered"),
    [
        ({}, True),
        ({"key_name": "app1.other"}, False),
        ({"client_id": "bob"}, False),
        ({"issued": NOW}, False),
        ({"revocable": False}, False),
    ],
)
def test_which_tokens_a_revocation_covers(changed: dict[str, Any], covered: bool) -> None:
    token = Access("app1", "app1.soft", ALL, "ann", token_id="t", issued=NOW - 1, expires=NOW + 1, revocable=True)
    revocation = Revocation("app1.soft", "clientId", "ann", issued_before=NOW, applies_at=NOW)

    assert revocation.covers(replace(token, **changed)) is covered


def test_revocations_that_make_no_sense_are_refused(world: World) -> None:
    attempts: list[tuple[Callable[[], object], int]] = [
        (lambda: world.authority.revoke("app1.key1", ["clientId:ann"]), 40164),
        (lambda: world.authority.revoke("app1.soft", []), 40000),
        (lambda: world.authority.revoke("app1.soft", ["clientId:x"] * 101), 40000),
        (lambda: world.authority.revoke("app1.soft", ["clientId:x"], issued_before=world.now + 1), 40000),
        (lambda: world.authority.revoke("app1.soft", ["clientId:x"], issued_before=world.now - 3_600_001), 40000),
    ]
    for attempt, code in attempts:
        with pytest.raises(AblyError) as caught:
            attempt()
        assert caught.value.code == code


def test_revocations_of_one_target_are_bounded(world: World) -> None:
    for _ in range(100):
        world.authority.revoke("app1.soft", ["clientId:ann"])
    (result,) = world.authority.revoke("app1.soft", ["clientId:ann"])
    assert result["error"]["statusCode"] == 429

    world.now += 3_600_001
    (result,) = world.authority.revoke("app1.soft", ["clientId:ann"])
    assert "error" not in result


def test_a_test_can_end_one_token(world: World) -> None:
    token, other = world.request()["token"], world.request()["token"]
    world.authority.end(world.authority.by_token(token), AblyError("gone", 40143))

    with pytest.raises(AblyError) as caught:
        world.authority.by_token(token)
    assert caught.value.code == 40143
    assert world.authority.by_token(other).token_id is not None


def test_what_remains_of_a_deleted_app_is_refused(world: World) -> None:
    access = world.authority.by_token(world.request()["token"])
    del world.authority.apps["app1"]

    with pytest.raises(AblyError) as caught:
        world.authority.check(access)
    assert refusal(caught) == (40101, 401)


def access(client_id: str | None) -> Access:
    return Access(app_id="a", key_name="a.b", capability=ALL, client_id=client_id)


@pytest.mark.parametrize(
    ("owner", "claimed", "expected"),
    [
        (None, None, None),
        (None, "ann", 40102),
        (ANY, None, None),
        (ANY, "ann", "ann"),
        (ANY, ANY, 40012),
        ("ann", None, "ann"),
        ("ann", "ann", "ann"),
        ("ann", "bob", 40102),
    ],
)
def test_who_a_connection_is(owner: str | None, claimed: str | None, expected: object) -> None:
    try:
        found: object = access(owner).identify(claimed)
    except AblyError as error:
        found = error.code
    assert found == expected


@pytest.mark.parametrize(
    ("owner", "identity", "claimed", "expected"),
    [
        (None, None, None, None),
        (None, None, "ann", 40012),
        (ANY, None, None, None),
        (ANY, None, "ann", "ann"),
        (ANY, None, ANY, 40012),
        (ANY, "ann", None, "ann"),
        (ANY, "ann", "bob", 40012),
        ("ann", "ann", None, "ann"),
        ("ann", "ann", "bob", 40012),
    ],
)
def test_who_wrote_a_message(owner: str | None, identity: str | None, claimed: str | None, expected: object) -> None:
    try:
        found: object = access(owner).author(claimed, identity)
    except AblyError as error:
        found = error.code
    assert found == expected
