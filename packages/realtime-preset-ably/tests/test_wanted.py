from __future__ import annotations

from collections.abc import Mapping

from realtime_preset_ably._grant import Denial, Grant
from realtime_preset_ably._wanted import Wanted


def grant(granted: Mapping[str, set[str]], denied: Mapping[str, Denial] | None = None) -> Grant:
    return Grant(
        token_request={},
        user_id="ann",
        client_id="ann",
        endpoint=None,
        tls=True,
        expires_in=900.0,
        granted={channel: frozenset(operations) for channel, operations in granted.items()},
        denied=denied or {},
    )


def test_channels_are_named_once_and_sorted() -> None:
    wanted = Wanted()
    wanted.need("b", "subscribe")
    wanted.need("a", "presence")
    wanted.need("a", "subscribe")
    assert wanted.channels == ("a", "b")


def test_a_channel_is_named_until_nothing_needs_it() -> None:
    wanted = Wanted()
    wanted.need("a", "presence")
    wanted.need("a", "subscribe")
    wanted.drop("a", "subscribe")
    assert wanted.channels == ("a",)
    wanted.drop("a", "presence")
    wanted.drop("a", "presence")
    assert list(wanted.channels) == []


def test_a_token_covers_what_it_grants_and_no_more() -> None:
    wanted = Wanted()
    assert not wanted.covers("a", "subscribe")
    wanted.renewed(grant({"a": {"subscribe"}}), ["a"])
    assert wanted.covers("a", "subscribe")
    assert not wanted.covers("a", "presence")
    wanted.renewed(grant({}), ["a"])
    assert not wanted.covers("a", "subscribe")


def test_a_denial_is_the_applications() -> None:
    wanted = Wanted()
    denial = Denial("unavailable", "the database is away", retryable=True)
    wanted.renewed(grant({}, {"a": denial}), ["a"])
    assert wanted.denial("a", "subscribe") == denial


def test_an_operation_that_a_granted_channel_lacks_is_denied() -> None:
    wanted = Wanted()
    wanted.renewed(grant({"a": {"subscribe"}}), ["a"])
    assert wanted.denial("a", "presence") == Denial("denied", "authorize does not grant presence", retryable=False)


def test_a_narrower_token_tells_what_is_lost() -> None:
    wanted = Wanted()
    for channel in ("a", "b"):
        wanted.need(channel, "subscribe")
        wanted.need(channel, "presence")
    both = {"subscribe", "presence"}
    assert wanted.renewed(grant({"a": both, "b": both}), ["a", "b"]) == []
    assert wanted.renewed(grant({"a": {"presence"}, "b": both}), ["a", "b"]) == [("a", "subscribe")]


def test_nothing_is_lost_that_was_not_asked_for_or_never_granted() -> None:
    wanted = Wanted()
    wanted.need("a", "subscribe")
    wanted.renewed(grant({"a": {"subscribe"}}), ["a"])
    wanted.need("new", "subscribe")
    assert wanted.renewed(grant({}), ["new"]) == []
    assert not wanted.covers("a", "subscribe"), "that token does not name it, so Ably ends it"
