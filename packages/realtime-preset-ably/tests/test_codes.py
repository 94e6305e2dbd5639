from __future__ import annotations

import pytest

from realtime_preset_ably._codes import close_reason, is_token_error, refusal
from realtime_preset_ably._hosts import hosts_of
from tanstack_realtime import ChannelDeniedError, CloseReason, ConnectionLostError, PublishError, RealtimeError


@pytest.mark.parametrize(
    ("code", "status", "kind", "word", "retryable"),
    [
        (40160, 401, ChannelDeniedError, "denied", False),
        (40010, 400, ChannelDeniedError, "bad_channel", False),
        (90010, 400, ChannelDeniedError, "too_many_channels", True),
        (90007, 408, ChannelDeniedError, "unavailable", True),
        (50000, 500, ChannelDeniedError, "50000", True),
        (42911, 429, ChannelDeniedError, "rate_limited", True),
        (40142, 401, ConnectionLostError, "40142", True),
        (80003, 400, ConnectionLostError, "80003", True),
    ],
)
def test_a_refused_subscribe(code: int, status: int, kind: type[RealtimeError], word: str, retryable: bool) -> None:
    error = refusal("subscribe", "chat:room=1", code, status, "no")
    assert type(error) is kind
    assert (error.code, error.reason, error.retryable) == (word, "no", retryable)


@pytest.mark.parametrize(("code", "status"), [(40009, 400), (42911, 429)])
def test_a_state_that_is_too_large_or_too_much(code: int, status: int) -> None:
    assert type(refusal("presence", "chat:room=1", code, status, "no")) is PublishError


def test_token_errors_are_a_range_of_their_own() -> None:
    assert [code for code in range(40100, 40200) if is_token_error(code)] == list(range(40140, 40150))


def test_only_a_revocation_is_final() -> None:
    assert close_reason(40141, "Token revoked") == CloseReason(4403, "access was revoked", retry=False)
    for code in (0, 40101, 40142, 50000, 80003):
        assert close_reason(code, "why") == CloseReason(code, "why", retry=True)


@pytest.mark.parametrize(
    ("endpoint", "first", "others"),
    [
        (None, "main.realtime.ably.net", 5),
        ("main", "main.realtime.ably.net", 5),
        ("acme", "acme.realtime.ably.net", 5),
        ("nonprod:sandbox", "sandbox.realtime.ably-nonprod.net", 5),
        ("ably.example.com", "ably.example.com", 0),
        ("127.0.0.1:8790", "127.0.0.1:8790", 0),
        ("localhost", "localhost", 0),
        ("localhost:8790", "localhost:8790", 0),
    ],
)
def test_hosts(endpoint: str | None, first: str, others: int) -> None:
    found = hosts_of(endpoint)
    assert found[0] == first
    assert len(found) == 1 + others


def test_fallbacks_are_in_other_domains() -> None:
    assert hosts_of("main")[1:] == tuple(f"main.{letter}.fallback.ably-realtime.com" for letter in "abcde")
    assert hosts_of("nonprod:sandbox")[1] == "sandbox.a.fallback.ably-realtime-nonprod.com"
