"""From a grant to a token, with Ably's answers by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest

from realtime_preset_ably._exchange import exchange
from realtime_preset_ably._grant import Grant
from tanstack_realtime import ConnectionLostError, HttpResponse

GRANT = Grant(
    token_request={"keyName": "app.key", "nonce": "n", "mac": "m", "capability": '{"a":["subscribe"]}'},
    user_id="ann",
    client_id="ann",
    endpoint=None,
    tls=True,
    expires_in=900.0,
    granted={},
    denied={},
)
TOKEN = {"token": "app.t", "expires": 2, "issued": 1}


class Ably:
    """Answers in turn, and notes what it was asked."""

    def __init__(self, *answers: tuple[int, Any] | ConnectionLostError) -> None:
        self.answers = list(answers)
        self.requests: list[tuple[str, str, Any]] = []

    async def __call__(
        self, method: str, url: str, /, *, headers: Mapping[str, str], body: bytes | None
    ) -> HttpResponse:
        self.requests.append((method, url, json.loads(body or b"null")))
        assert headers["content-type"] == "application/json"
        answer = self.answers.pop(0)
        if isinstance(answer, ConnectionLostError):
            raise answer
        return HttpResponse(answer[0], json.dumps(answer[1]).encode())


async def test_the_request_goes_as_it_is() -> None:
    ably = Ably((201, TOKEN))
    assert await exchange(ably, GRANT, ["one"]) == ("one", TOKEN)
    assert ably.requests == [("POST", "https://one/keys/app.key/requestToken", dict(GRANT.token_request))]


async def test_a_host_that_is_away_is_passed_over() -> None:
    ably = Ably(ConnectionLostError("away"), (503, {}), (201, TOKEN))
    assert await exchange(ably, GRANT, ["one", "two", "three"]) == ("three", TOKEN)


async def test_what_ably_refuses_is_not_asked_of_another_host() -> None:
    ably = Ably((401, {"error": {"code": 40104, "statusCode": 401, "message": "Timestamp not current"}}))
    with pytest.raises(ConnectionLostError, match="Timestamp not current") as caught:
        await exchange(ably, GRANT, ["one", "two"])
    assert (caught.value.code, caught.value.retryable) == ("40104", True)
    assert len(ably.requests) == 1


REFUSALS: list[tuple[tuple[int, Any] | ConnectionLostError, str]] = [
    (ConnectionLostError("GET failed", reason="refused"), r"Ably cannot be reached at https://one: refused"),
    ((503, {}), r"Ably gave no token: HTTP 503 \(503\)"),
    ((401, {"error": {"code": 40101, "message": "mac"}}), r"Ably gave no token: mac \(40101\).*ABLY_API_KEY"),
    ((401, {"error": {"code": 40104, "message": "old"}}), r"Ably gave no token: old \(40104\).*clock"),
    ((401, {"error": {"code": 40160, "message": "empty"}}), r"Ably gave no token: empty \(40160\).*capabilities"),
]


@pytest.mark.parametrize(("answer", "reason"), REFUSALS)
async def test_the_reason_says_who_is_meant_and_what_to_look_at(answer: Any, reason: str) -> None:
    """All that a page shows while it cannot connect."""
    with pytest.raises(ConnectionLostError) as caught:
        await exchange(Ably(answer), GRANT, ["one"])
    assert re.fullmatch(reason + ".*", caught.value.reason)


async def test_not_all_hosts_are_tried() -> None:
    ably = Ably(*(ConnectionLostError(f"away {number}") for number in range(6)))
    with pytest.raises(ConnectionLostError, match="away 3"):
        await exchange(ably, GRANT, [str(number) for number in range(6)])


@pytest.mark.parametrize("odd", [{"expires": "soon"}, {"expires": [1]}, {"issued": {}}, {"clientId": 7}])
async def test_details_that_are_none_are_a_refusal(odd: dict[str, object]) -> None:
    with pytest.raises(ConnectionLostError, match="gave no token"):
        await exchange(Ably((201, {**TOKEN, **odd})), GRANT, ["one"])


async def test_what_the_sdk_does_not_need_is_not_passed_on() -> None:
    """It would fail over a capability that it cannot read."""
    _, details = await exchange(Ably((201, {**TOKEN, "capability": "?", "clientId": "ann"})), GRANT, ["one"])
    assert details == {**TOKEN, "clientId": "ann"}


@pytest.mark.parametrize("answer", [{}, [], {"token": 7}])
async def test_an_answer_without_a_token_is_a_refusal(answer: object) -> None:
    with pytest.raises(ConnectionLostError, match="gave no token"):
        await exchange(Ably((201, answer)), GRANT, ["one"])
