"""The answer of the token endpoint, as the client reads it."""

from __future__ import annotations

from typing import Any

import pytest

from realtime_preset_ably._grant import Denial, Grant


def body(**changes: Any) -> dict[str, Any]:
    return {
        "token_request": {"keyName": "app.key", "mac": "of-the-request"},
        "user": "ann",
        "client_id": "ann",
        "endpoint": None,
        "tls": True,
        "expires_in": 900,
        "granted": {"chat:room=1": ["presence", "subscribe"]},
        "denied": {"todos": {"code": "denied", "reason": "no member", "retryable": False}},
        **changes,
    }


def test_an_answer_is_read_as_it_was_written() -> None:
    grant = Grant.from_json(body())

    assert grant.granted == {"chat:room=1": {"presence", "subscribe"}}
    assert grant.denied == {"todos": Denial("denied", "no member", retryable=False)}
    assert grant.to_json() == body()
    assert "of-the-request" not in repr(grant)


def test_operations_that_are_not_known_are_not_granted() -> None:
    assert Grant.from_json(body(granted={"chat": ["subscribe", "fly", 7]})).granted == {"chat": {"subscribe"}}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("token_request", None),
        ("user", 7),
        ("client_id", None),
        ("endpoint", 7),
        ("tls", 1),
        ("expires_in", True),
        ("expires_in", "900"),
        ("granted", ["chat"]),
        ("granted", {"chat": "subscribe"}),
        ("denied", {"chat": None}),
    ],
)
def test_what_is_no_answer_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=name):
        Grant.from_json(body(**{name: value}))
