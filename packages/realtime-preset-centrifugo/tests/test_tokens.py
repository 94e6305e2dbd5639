"""Tokens for clients: who gets one, what it says, how long it holds."""

from __future__ import annotations

from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_preset_centrifugo._names import subject_of, user_of
from realtime_preset_centrifugo._tokens import connection_token
from tanstack_realtime.server import Identity

SECRET = "the-secret-that-signs-tokens-0123456789"


async def token_of(application: Any, bearer: str | None, **headers: str) -> Any:
    given = {"content-type": "application/json", **headers}
    if bearer is not None:
        given["authorization"] = f"Bearer {bearer}"
    return await application.http.post("/_realtime/token", content=b"{}", headers=given)


async def test_a_token_says_who_it_is_and_nothing_else(application: Any) -> None:
    answer = (await token_of(application, "ann")).json()
    claims = jwt.decode(answer["token"], SECRET, algorithms=["HS256"])

    assert answer["url"] == "ws://centrifugo.example/connection/websocket"
    assert answer["user"] == "ann"
    assert sorted(claims) == ["exp", "iat", "sub"]
    assert claims["sub"] == "ann"
    assert claims["exp"] - claims["iat"] in (900, 901)


async def test_a_token_is_not_kept_by_anybody(application: Any) -> None:
    assert (await token_of(application, "ann")).headers["cache-control"] == "no-store"


async def test_nobody_gets_no_token(application: Any) -> None:
    answer = await token_of(application, None)

    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthenticated")


async def test_a_page_of_another_site_gets_no_token(application: Any) -> None:
    foreign = await token_of(application, "ann", origin="https://evil.example")
    form = await application.http.post("/_realtime/token", data={"a": "b"}, headers={"authorization": "Bearer ann"})

    assert (foreign.status_code, form.status_code) == (403, 415)


async def test_a_failing_get_user_is_temporary(application: Any) -> None:
    def fails(_token: str) -> str:
        raise ValueError("the database is away")

    application.identity = fails
    answer = await token_of(application, "ann")

    assert (answer.status_code, answer.json()["error"]["retryable"]) == (503, True)


async def test_a_token_holds_no_longer_than_the_identity(application: Any) -> None:
    def expiring(token: str) -> Identity:
        return Identity(token, expires_in=30)

    application.identity = expiring
    answer = (await token_of(application, "ann")).json()
    claims = jwt.decode(answer["token"], SECRET, algorithms=["HS256"])

    assert claims["exp"] - claims["iat"] in (30, 31)
    assert answer["expires_in"] == 30


@given(st.text(max_size=20))
def test_a_subject_is_never_empty_and_names_one_user(user_id: str) -> None:
    """Kills the mutant that leaves a user's own ``~`` as it is, so that the user ``~`` is nobody."""
    assert subject_of(user_id) != ""
    assert user_of(subject_of(user_id)) == user_id


@given(st.text(max_size=8))
def test_a_subject_that_nobody_was_given_is_refused(subject: str) -> None:
    """Kills the mutant that takes ``~ann`` for the user ``ann``."""
    user_id = user_of(subject)
    assert user_id is None or subject_of(user_id) == subject


@pytest.mark.parametrize("expires_in", [None, 5000.0])
def test_no_token_holds_longer_than_its_bound(expires_in: float | None) -> None:
    token, lifetime = connection_token("ann", SECRET, now=1000.5, expires_in=expires_in)
    claims = jwt.decode(token, SECRET, algorithms=["HS256"], options={"verify_exp": False})

    assert (lifetime, claims["iat"], claims["exp"]) == (900.0, 1000, 1901)
