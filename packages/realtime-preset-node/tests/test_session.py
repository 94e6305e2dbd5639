"""The server's side of one connection, without a loop: frames in, operations and frames out."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from realtime_preset_node import CloseCode, ConnectionLimits, HistoryLimits
from realtime_preset_node._frames import Publish
from realtime_preset_node._hub import Hub
from realtime_preset_node._message import Numbered
from realtime_preset_node._operations import (
    AdmitPresence,
    AdmitSubscribe,
    Authenticate,
    Operation,
    Outcome,
)
from realtime_preset_node._packet import Packet
from realtime_preset_node._presence import Attendee, Rooms
from realtime_preset_node._session import Session
from realtime_preset_node._settings import SessionSettings
from realtime_preset_node._slow import SlowReaders
from realtime_preset_node._stream import Lane
from tanstack_realtime import AuthenticationError, ChannelDeniedError, PublishError, parse_channel
from tanstack_realtime.server import Permissions, Publication, ServerObserver

GRANTED = Permissions(subscribe=True, publish=True)


class Outbox:
    def __init__(self) -> None:
        self.frames: list[dict[str, Any]] = []
        self.forgotten: list[str] = []

    def deliver(self, packet: Packet, /) -> None:
        assert packet.size == len(packet.text.encode())
        self.frames += map(json.loads, packet.text.split("\n"))

    def answer(self, frame: str, /) -> None:
        self.deliver(Packet(frame))

    def offer(self, lane: Lane, messages: Sequence[Numbered], joined: Sequence[Packet], /) -> None:
        raise AssertionError("no channel has a policy")

    def forget(self, channel: str, /) -> None:
        self.forgotten.append(channel)

    def take(self) -> list[dict[str, Any]]:
        frames, self.frames = self.frames, []
        return frames


class Watcher(ServerObserver):
    def __init__(self) -> None:
        self.events: list[tuple[str, ...]] = []

    def connected(self, connection_id: str, user_id: str) -> None:
        self.events.append(("connected", connection_id, user_id))

    def disconnected(self, connection_id: str, user_id: str, code: int) -> None:
        self.events.append(("disconnected", connection_id, user_id, str(code)))


class Harness:
    """A session, its hub, and a clock."""

    def __init__(self, hub: Hub | None = None, **options: Any) -> None:
        self.now = 0.0
        self.identified: list[str] = []
        self.room = True
        self.out = Outbox()
        self.watcher = Watcher()
        self.hub = hub or Hub(
            limits=HistoryLimits(),
            new_epoch=lambda: "e1",
            defer=lambda flush: flush(),
            slow_readers=SlowReaders({}, lambda error: None),
            observer=ServerObserver(),
        )
        self.deferred: list[Callable[[], None]] = []
        self.rooms = Rooms(defer=self.deferred.append, observer=self.watcher)
        self.session = Session(
            connection_id="c1",
            hub=self.hub,
            rooms=self.rooms,
            outbox=self.out,
            settings=SessionSettings(**options),
            observer=self.watcher,
            identify=self.identify,
            now=0.0,
        )

    def identify(self, user_id: str) -> bool:
        self.identified.append(user_id)
        return self.room

    def send(self, **frame: Any) -> None:
        self.session.receive(json.dumps(frame), self.now)

    def operation(self) -> Operation | None:
        return self.session.next_operation()

    def asked_to_publish(self) -> tuple[str, Any]:
        operation = self.operation()
        assert isinstance(operation, Publish)
        return operation.channel, operation.data

    def complete(self, outcome: Outcome) -> list[dict[str, Any]]:
        self.session.complete(outcome, self.now)
        return self.out.take()

    def after(self, seconds: float) -> list[dict[str, Any]]:
        self.now += seconds
        self.session.tick(self.now)
        return self.out.take()

    def open(self) -> Harness:
        self.send(type="hello", versions=[1])
        assert self.operation() == Authenticate(None)
        assert [frame["type"] for frame in self.complete(("u1", None))] == ["welcome"]
        return self

    def subscribe(self, channel: str, permissions: Permissions = GRANTED) -> list[dict[str, Any]]:
        self.send(type="subscribe", id=1, channel=channel)
        assert self.operation() == AdmitSubscribe("u1", channel)
        return self.complete((parse_channel(channel), permissions))


def publication(channel: str, data: Any, user_id: str | None = "u1") -> Publication:
    return Publication(parse_channel(channel), data, json.dumps(data), user_id)


UNAVAILABLE = ChannelDeniedError("x", code="unavailable", reason="try again", retryable=True)
DENIED = ChannelDeniedError("x", code="denied", reason="not a member")


# -- hello -----------------------------------------------------------------------------------------------------------


def test_hello_is_answered_once_the_user_is_known() -> None:  # C13
    h = Harness(heartbeat=25.0, timeout=10.0, max_message_bytes=1000)
    h.send(type="hello", versions=[7, 1], token="secret", client="laptop")
    assert h.operation() == Authenticate("secret")
    assert h.out.take() == []
    assert h.watcher.events == []
    assert h.complete(("u1", None)) == [
        {
            "type": "welcome",
            "version": 1,
            "connection": "c1",
            "user": "u1",
            "preset": "node",
            "heartbeat": 25.0,
            "timeout": 10.0,
            "max_message_bytes": 1000,
            "restart_spread": 5.0,
        }
    ]
    assert h.watcher.events == [("connected", "c1", "u1")]
    assert h.session.closing is None


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (AuthenticationError("x", reason="not signed in"), CloseCode.UNAUTHENTICATED),
        (AuthenticationError("x", code="unavailable", reason="later", retryable=True), CloseCode.UNAVAILABLE),
    ],
)
def test_a_refused_identity_closes_with_a_code_that_says_whether_to_retry(  # C12, V5
    error: AuthenticationError, code: int
) -> None:
    h = Harness()
    h.send(type="hello", versions=[1])
    h.operation()
    assert h.complete(error) == []
    assert h.session.closing is not None
    assert (h.session.closing.code, h.session.closing.reason) == (code, error.reason)
    h.session.end(code, 0)
    assert h.watcher.events == []


def test_an_unknown_version_is_refused_with_the_known_ones() -> None:
    h = Harness()
    h.send(type="hello", versions=[2, 3])
    assert h.operation() is None
    assert h.session.closing is not None
    assert h.session.closing.code == CloseCode.UNSUPPORTED_VERSION
    assert "[1]" in h.session.closing.reason


@pytest.mark.parametrize(
    "text", ['{"type":"subscribe","id":1,"channel":"a"}', "nonsense", '{"type":"new"}', '{"type":"hello"}']
)
def test_the_first_frame_must_be_hello(text: str) -> None:
    h = Harness()
    h.session.receive(text, 0)
    assert h.session.closing is not None
    assert h.session.closing.code == CloseCode.PROTOCOL_ERROR


def test_a_connection_without_hello_ends_in_time() -> None:  # V7
    h = Harness(hello_timeout=10.0)
    assert h.session.deadline == 10.0
    h.send(type="ping", id=1)  # does not buy time
    h.after(9.9)
    assert h.session.closing is None
    h.after(0.1)
    assert h.session.closing is not None
    assert h.session.closing.code == CloseCode.SILENT


def test_frames_behind_the_hello_wait_for_it() -> None:  # V1
    h = Harness()
    h.send(type="hello", versions=[1])
    h.send(type="subscribe", id=1, channel="a")
    assert h.operation() == Authenticate(None)
    h.send(type="publish", id=2, channel="a", data=1)
    assert h.operation() is None
    h.complete(("u1", None))
    assert h.operation() == AdmitSubscribe("u1", "a")


def test_a_second_hello_is_an_error_and_changes_nobody() -> None:
    h = Harness().open()
    h.send(type="hello", versions=[1], token="other")
    assert h.operation() is None
    assert [(frame["type"], frame["code"]) for frame in h.out.take()] == [("error", "bad_frame")]
    assert (h.session.user_id, h.session.closing) == ("u1", None)


# -- order -----------------------------------------------------------------------------------------------------------


def test_frames_keep_their_order_while_authorize_is_awaited() -> None:  # V1
    h = Harness().open()
    h.send(type="subscribe", id=1, channel="a")
    h.send(type="unsubscribe", id=2, channel="a")
    h.send(type="subscribe", id=3, channel="a")
    h.send(type="publish", id=4, channel="a", data="x")
    assert h.operation() == AdmitSubscribe("u1", "a")
    assert h.operation() is None
    assert h.out.take() == []
    assert [f["id"] for f in h.complete((parse_channel("a"), GRANTED))] == [1]
    assert h.operation() == AdmitSubscribe("u1", "a")
    assert [(f["type"], f["id"]) for f in h.out.take()] == [("ok", 2)]
    assert [f["id"] for f in h.complete((parse_channel("a"), GRANTED))] == [3]
    assert h.asked_to_publish() == ("a", "x")
    frames = h.complete(publication("a", "x"))
    assert [(f["type"], f.get("own")) for f in frames] == [("messages", True), ("ok", None)]


def test_a_ping_overtakes_what_waits() -> None:  # C14
    h = Harness().open()
    h.send(type="subscribe", id=1, channel="a")
    h.operation()
    h.send(type="ping", id=2)
    assert h.out.take() == [{"type": "pong", "id": 2}]


def test_waiting_frames_are_bounded() -> None:  # A17
    h = Harness(inbox=3).open()
    h.send(type="subscribe", id=1, channel="a")
    h.operation()
    for number in range(3):
        assert not h.session.inbox_full
        h.send(type="publish", id=number, channel="a", data=1)
    assert h.session.inbox_full
    h.send(type="publish", id=9, channel="a", data=1)
    assert h.session.closing is not None
    assert h.session.closing.code == CloseCode.TOO_MANY_FRAMES


def test_a_connection_too_many_is_sent_away_before_it_is_welcomed() -> None:  # A17
    h = Harness()
    h.room = False
    h.send(type="hello", versions=[1])
    h.operation()
    assert h.complete(("u1", None)) == []
    assert h.session.closing is not None
    assert h.session.closing.code == CloseCode.TOO_MANY_CONNECTIONS
    assert (h.identified, h.watcher.events) == (["u1"], [])


def test_subscriptions_of_a_connection_are_bounded() -> None:  # A17
    h = Harness(limits=ConnectionLimits(subscriptions=2)).open()
    h.subscribe("a")
    h.subscribe("b")
    h.send(type="subscribe", id=3, channel="c")
    assert h.operation() is None
    (answer,) = h.out.take()
    assert (answer["id"], answer["code"], answer["retryable"]) == (3, "too_many_subscriptions", False)
    h.send(type="subscribe", id=4, channel="a")  # this one it has
    assert h.operation() == AdmitSubscribe("u1", "a")
    h.complete((parse_channel("a"), GRANTED))
    h.send(type="unsubscribe", id=5, channel="a")
    h.send(type="subscribe", id=6, channel="c")
    assert h.operation() == AdmitSubscribe("u1", "c")


def test_requests_that_come_too_fast_are_refused_in_their_order_with_the_time_to_wait() -> None:  # A17
    h = Harness(limits=ConnectionLimits(rate=2, burst=5)).open()
    for number in range(6):
        h.send(type="publish", id=number, channel="a", data=1)
    h.send(type="ping", id=8)
    h.send(type="unsubscribe", id=9, channel="a")
    assert h.out.take() == [{"type": "pong", "id": 8}]
    for number in range(4):
        assert h.asked_to_publish() == ("a", 1)
        h.complete(publication("a", number))
    assert h.operation() is None
    late = {"type": "error", "code": "rate_limited", "reason": "requests come too fast", "retryable": True}
    assert h.out.take() == [
        {**late, "id": 4, "retry_after": 0.5},
        {**late, "id": 5, "retry_after": 1.0},
        {"type": "ok", "id": 9},
    ]
    h.now += 2.5
    h.send(type="publish", id=10, channel="a", data=1)
    assert h.asked_to_publish() == ("a", 1)


def test_a_client_that_does_not_slow_down_is_sent_away() -> None:  # A17
    h = Harness(limits=ConnectionLimits(rate=1, burst=5)).open()
    for _ in range(9):
        h.send(type="ping")
        assert h.session.closing is None
    h.send(type="ping")
    assert h.session.closing is not None
    assert h.session.closing.code == CloseCode.TOO_MANY_FRAMES


# -- requests --------------------------------------------------------------------------------------------------------


def test_subscribe_is_acknowledged_with_the_position() -> None:  # S21
    h = Harness().open()
    assert h.subscribe("a") == [{"type": "subscribed", "id": 1, "channel": "a", "epoch": "e1", "offset": 0}]
    h.hub.publish("a", "1", "u2", 0)
    assert h.out.take() == [{"type": "messages", "channel": "a", "offset": 1, "data": [1], "user": "u2"}]
    h.send(type="subscribe", id=2, channel="a", since={"epoch": "e1", "offset": 0})
    h.operation()
    assert h.complete((parse_channel("a"), GRANTED)) == [
        {
            "type": "subscribed",
            "id": 2,
            "channel": "a",
            "epoch": "e1",
            "offset": 1,
            "recovered": True,
            "missed": [{"offset": 1, "data": [1], "user": "u2"}],
        }
    ]


def test_a_refused_subscribe_is_told_and_delivers_nothing() -> None:  # S15, S17
    for error in (DENIED, UNAVAILABLE):
        h = Harness().open()
        h.send(type="subscribe", id=1, channel="a")
        h.operation()
        reply = {"type": "error", "id": 1, "code": error.code, "reason": error.reason, "retryable": error.retryable}
        assert h.complete(error) == [reply]
        h.hub.publish("a", "1", None, 0)
        assert h.out.take() == []
        assert h.session.closing is None


def test_a_refused_second_subscribe_ends_the_first() -> None:
    h = Harness().open()
    h.subscribe("a")
    h.send(type="subscribe", id=2, channel="a")
    h.operation()
    h.complete(DENIED)
    h.hub.publish("a", "1", None, 0)
    assert h.out.take() == []


def test_unsubscribe_stops_the_channel_and_is_idempotent() -> None:  # V8
    h = Harness().open()
    h.subscribe("a")
    for number in (2, 3):
        h.send(type="unsubscribe", id=number, channel="a")
    h.send(type="unsubscribe", id=4, channel="never subscribed, not even a channel")
    assert h.operation() is None
    assert h.out.take() == [{"type": "ok", "id": number} for number in (2, 3, 4)]
    h.hub.publish("a", "1", None, 0)
    assert h.out.take() == []


def test_a_publish_needs_no_subscription() -> None:  # P6
    h = Harness().open()
    h.send(type="publish", id=1, channel="a", data=None)
    assert h.asked_to_publish() == ("a", None)
    assert h.complete(publication("a", None)) == [{"type": "ok", "id": 1}]


@pytest.mark.parametrize(
    "error",
    [DENIED, PublishError("x", code="rejected", reason="rude"), PublishError("x", code="too_large", reason="big")],
)
def test_a_refused_publish_is_told_to_the_publisher(error: PublishError) -> None:  # P3, P8
    h = Harness().open()
    h.subscribe("a")
    h.send(type="publish", id=2, channel="a", data=1)
    h.operation()
    reply = {"type": "error", "id": 2, "code": error.code, "reason": error.reason, "retryable": False}
    assert h.complete(error) == [reply]


# -- bad frames ------------------------------------------------------------------------------------------------------


def test_bad_frames_are_answered_in_order_without_closing() -> None:  # S14
    h = Harness().open()
    h.send(type="subscribe", id=1, channel="a")
    h.session.receive("{", 0)
    h.send(type="publish", id=2, channel=7, data=1)
    h.send(type="from.the.future")
    h.send(type="from.the.future", id=3)
    h.operation()
    assert h.out.take() == []
    h.complete((parse_channel("a"), GRANTED))
    assert h.operation() is None
    assert [(f["type"], f.get("id"), f["code"]) for f in h.out.take()] == [
        ("error", None, "bad_frame"),
        ("error", 2, "bad_frame"),
        ("error", 3, "unsupported"),
    ]
    assert h.session.closing is None


@pytest.mark.parametrize("character", ["x", "é", "\ud800"])
def test_an_oversized_frame_is_answered_without_being_parsed(character: str) -> None:  # S14, A17
    h = Harness(max_message_bytes=1000).open()
    h.session.receive('"' + character * 3000, 0)
    assert h.operation() is None
    (error,) = h.out.take()
    assert (error["code"], "2024 bytes" in error["reason"], h.session.closing) == ("bad_frame", True, None)


# -- liveness --------------------------------------------------------------------------------------------------------


def test_a_silent_client_is_pinged_and_then_given_up() -> None:  # C14
    h = Harness(heartbeat=25.0, timeout=10.0).open()
    assert h.session.deadline == 25.0
    assert h.after(25.0) == [{"type": "ping"}]
    assert h.session.deadline == 30.0, "its memberships stall"
    assert h.after(5.0) == []
    assert h.session.deadline == 35.0
    h.send(type="pong")
    assert h.session.deadline == 55.0
    assert h.after(25.0) == [{"type": "ping"}]
    h.after(10.0)
    assert h.session.closing is not None
    assert h.session.closing.code == CloseCode.SILENT


def test_a_client_that_talks_is_not_pinged() -> None:
    h = Harness(heartbeat=25.0).open()
    for _ in range(10):
        assert h.after(20.0) == []
        h.session.receive("broken", h.now)
        h.operation()
        h.out.take()


# -- leases ----------------------------------------------------------------------------------------------------------


def expiring(seconds: float = 60) -> Harness:
    h = Harness(heartbeat=1e6)
    h.send(type="hello", versions=[1], token="t1")
    h.operation()
    h.complete(("u1", seconds))
    return h


def test_a_new_token_keeps_the_connection_and_its_subscriptions() -> None:  # A16
    h = expiring(60)
    h.subscribe("a")
    assert h.session.deadline == 30
    assert h.after(29) == []
    assert h.after(1) == [{"type": "auth", "within": 30.0}]
    h.send(type="auth", id=7, token="t2")
    assert h.operation() == Authenticate("t2")
    assert h.complete(("u1", 60)) == [{"type": "ok", "id": 7}]
    assert h.after(29) == []
    assert h.after(1) == [{"type": "auth", "within": 30.0}]
    h.hub.publish("a", "1", None, h.now)
    assert [frame["type"] for frame in h.out.take()] == ["messages"]
    assert h.watcher.events == [("connected", "c1", "u1")]


def test_a_short_lived_token_is_renewed_at_half_time() -> None:  # A16
    assert expiring(10).session.deadline == 5


def test_without_a_new_token_the_connection_ends_in_time() -> None:  # A16
    h = expiring(60)
    asked = [frame["within"] for _ in range(59) for frame in h.after(1)]
    assert asked == [30.0, 25.0, 20.0, 15.0, 10.0, 5.0]
    assert h.session.closing is None
    h.after(1)
    assert h.session.closing is not None
    assert h.session.closing.code == CloseCode.EXPIRED
    assert not CloseCode.is_final(CloseCode.EXPIRED)  # the next attempt asks for a fresh token


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (AuthenticationError("x", reason="signed out"), CloseCode.UNAUTHENTICATED),
        (("u2", 60.0), CloseCode.EXPIRED),
    ],
)
def test_a_refused_or_foreign_token_ends_the_connection(outcome: Outcome, code: int) -> None:  # A16, C18
    h = expiring()
    h.send(type="auth", id=1, token="t2")
    h.operation()
    h.complete(outcome)
    assert h.session.closing is not None
    assert h.session.closing.code == code


def test_a_server_that_cannot_tell_asks_again() -> None:  # A16, V5
    h = expiring()
    h.after(30)
    h.send(type="auth", id=1, token="t2")
    h.operation()
    later = AuthenticationError("x", code="unavailable", reason="later", retryable=True)
    assert [frame["code"] for frame in h.complete(later)] == ["unavailable"]
    assert h.session.closing is None
    assert h.after(5) == [{"type": "auth", "within": 25.0}]


def test_what_waits_for_authentication_is_bounded_in_bytes() -> None:  # V1, A17
    h = Harness(inbox_size=500)
    h.send(type="hello", versions=[1])
    h.operation()
    for number in range(3):
        assert not h.session.inbox_full
        h.send(type="publish", id=number, channel="a", data="x" * 150)
    assert h.session.inbox_full
    assert h.complete(("u1", None))[0]["type"] == "welcome"
    for number in range(3):
        assert h.asked_to_publish() == ("a", "x" * 150)
        assert h.complete(publication("a", number)) == [{"type": "ok", "id": number}]
    assert not h.session.inbox_full


def test_an_expired_grant_is_asked_again_and_ends_when_denied() -> None:  # A5
    h = Harness().open()
    h.subscribe("a", Permissions(subscribe=True, expires_in=20))
    assert h.session.deadline == 20.0
    h.after(19.0)
    assert h.operation() is None
    h.after(1.0)
    assert h.operation() == AdmitSubscribe("u1", "a")
    assert h.complete((parse_channel("a"), Permissions(subscribe=True, expires_in=20))) == []
    h.send(type="ping")
    h.after(20.0)
    assert h.operation() == AdmitSubscribe("u1", "a")
    assert h.complete(DENIED)[-1] == {"type": "revoked", "channel": "a", "code": "denied", "reason": "not a member"}
    h.hub.publish("a", "1", None, h.now)
    assert h.out.take() == []


def test_revoked_access_ends_at_once() -> None:  # A5, S20
    h = Harness().open()
    h.subscribe("a")
    h.session.revoke("u2", "a", h.now)
    h.session.revoke("u1", "b", h.now)
    assert h.out.take() == []
    h.session.revoke("u1", "a", h.now)
    assert h.out.take() == [{"type": "revoked", "channel": "a", "code": "revoked", "reason": "access was revoked"}]
    h.hub.publish("a", "1", None, h.now)
    assert h.out.take() == []
    h.session.revoke("u2", None, h.now)
    assert h.session.closing is None
    h.session.revoke("u1", None, h.now)
    assert h.session.closing is not None
    assert h.session.closing.code == CloseCode.UNAUTHENTICATED


def test_a_decision_from_before_the_revocation_does_not_count() -> None:  # A5
    h = Harness().open()
    h.send(type="subscribe", id=1, channel="a")
    h.send(type="publish", id=2, channel="a", data=1)
    assert h.operation() == AdmitSubscribe("u1", "a")
    h.session.revoke("u1", "a", h.now)
    assert h.complete((parse_channel("a"), GRANTED)) == []
    assert h.operation() == AdmitSubscribe("u1", "a")  # asked again, and still before what came after it
    assert [frame["code"] for frame in h.complete(DENIED)] == ["denied"]
    assert h.asked_to_publish() == ("a", 1)
    h.session.revoke("u1", "a", h.now)
    assert h.complete(publication("a", 1)) == []
    assert h.asked_to_publish() == ("a", 1)


def test_an_identity_from_before_the_revocation_does_not_count() -> None:  # A5
    h = Harness()
    h.send(type="hello", versions=[1], token="t")
    assert h.operation() == Authenticate("t")
    h.session.revoke("u1", None, h.now)
    assert h.complete(("u1", None)) == []
    assert h.watcher.events == []
    assert h.operation() == Authenticate("t")
    h.complete(AuthenticationError("x", reason="not signed in"))
    assert h.session.closing is not None
    assert h.session.closing.code == CloseCode.UNAUTHENTICATED


def test_a_database_that_is_away_does_not_revoke_at_once_but_in_the_end() -> None:  # A5, S17
    h = Harness(recheck=5.0).open()
    h.subscribe("a", Permissions(subscribe=True, expires_in=20))
    h.after(20.0)
    for _ in range(10):
        assert h.operation() == AdmitSubscribe("u1", "a")
        assert h.complete(UNAVAILABLE) == []
        h.send(type="pong")
        h.after(5.0)
    h.operation()
    assert [f["type"] for f in h.complete(UNAVAILABLE)] == ["revoked"]


def test_a_subscription_that_ended_is_not_asked_about() -> None:
    h = Harness().open()
    h.subscribe("a", Permissions(subscribe=True, expires_in=20))
    h.after(20.0)
    h.send(type="unsubscribe", id=5, channel="a")
    assert h.operation() == AdmitSubscribe("u1", "a")  # was in the line first
    h.complete((parse_channel("a"), Permissions(subscribe=True, expires_in=20)))
    assert h.operation() is None
    h.after(100.0)
    assert h.operation() is None


# -- end -------------------------------------------------------------------------------------------------------------


def test_the_end_cleans_up_once() -> None:  # V4, V7
    h = Harness().open()
    for channel in ("a", "b", "c"):
        h.subscribe(channel)
    h.send(type="publish", id=9, channel="a", data=1)
    assert isinstance(h.operation(), Publish)
    h.session.end(1001, 0)
    h.session.end(1006, 0)
    assert h.watcher.events == [("connected", "c1", "u1"), ("disconnected", "c1", "u1", "1001")]
    assert h.hub.statistics().subscriptions == 0
    h.session.complete(publication("a", 1), 0)
    h.send(type="ping", id=1)
    h.session.tick(1e9)
    assert (h.out.take(), h.operation(), h.session.deadline) == ([], None, None)


@given(
    st.lists(st.text(max_size=20) | st.sampled_from(['{"type":"ping"}', '{"type":"subscribe","id":1,"channel":"a"}']))
)
def test_a_stranger_neither_crashes_the_session_nor_makes_it_grow(texts: list[str]) -> None:  # S14, A17
    """Kills: an unbounded inbox, and a parser exception that reaches the shell."""
    h = Harness(inbox=4).open()
    for text in texts:
        h.session.receive(text, 0)
        assert len(h.session._inbox.waiting) <= 4
        while (operation := h.operation()) is not None:
            assert isinstance(operation, AdmitSubscribe)
            h.complete(DENIED)
    assert h.session.closing is None
    assert h.hub.statistics().subscriptions == 0


class SessionMachine(RuleBasedStateMachine):
    """Every request gets exactly one answer, in the order of the requests, whatever the gate says and when.

    Kills: a reply that overtakes another, a request lost behind a refused one, an operation started while one runs.
    """

    @initialize()
    def start(self) -> None:
        self.h = Harness(inbox=1000).open()
        self.asked: list[int] = []
        self.answered: list[int] = []
        self.running: Operation | None = None

    @rule(kind=st.sampled_from(["subscribe", "unsubscribe", "publish", "unknown"]), channel=st.sampled_from("ab"))
    def request(self, kind: str, channel: str) -> None:
        number = len(self.asked)
        self.asked.append(number)
        self.h.send(type=kind, id=number, channel=channel, data=number)

    @rule()
    def step(self) -> None:
        operation = self.h.operation()
        assert operation is None or self.running is None
        self.running = operation or self.running

    @rule(granted=st.booleans())
    def answer(self, granted: bool) -> None:
        operation, self.running = self.running, None
        if isinstance(operation, AdmitSubscribe):
            self.h.session.complete((parse_channel(operation.channel), GRANTED) if granted else DENIED, self.h.now)
        elif isinstance(operation, Publish):
            self.h.session.complete(publication(operation.channel, operation.data) if granted else DENIED, self.h.now)

    @rule(seconds=st.floats(0, 5))
    def wait(self, seconds: float) -> None:
        self.h.now += seconds
        self.h.session.tick(self.h.now)
        self.h.session.receive('{"type":"pong"}', self.h.now)

    @invariant()
    def answers_keep_the_order_of_the_requests(self) -> None:
        if hasattr(self, "h"):
            self.answered += [frame["id"] for frame in self.h.out.take() if "id" in frame]
            assert self.answered == self.asked[: len(self.answered)]

    def teardown(self) -> None:
        if hasattr(self, "h"):
            while self.running is not None or self.h.session._inbox.waiting:
                self.step()
                self.answer(granted=True)
            self.answers_keep_the_order_of_the_requests()
            assert self.answered == self.asked


TestSessionMachine = SessionMachine.TestCase
TestSessionMachine.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)


# -- presence --------------------------------------------------------------------------------------------------------

MEMBER = Permissions(presence=True)
ME = {"connection": "c1", "user": "u1", "state": {"x": 1}}


def joined(h: Harness, permissions: Permissions = MEMBER) -> list[dict[str, Any]]:
    h.send(type="presence.join", id=1, channel="room", state={"x": 1})
    assert h.operation() == AdmitPresence("u1", "room")
    return h.complete((parse_channel("room"), permissions))


def flushed(h: Harness) -> list[dict[str, Any]]:
    deferred, h.deferred[:] = list(h.deferred), []
    for flush in deferred:
        flush()
    return h.out.take()


def test_a_join_is_answered_with_the_members_and_everybody_is_told() -> None:  # R5
    h = Harness().open()
    other = Outbox()
    h.rooms.observe(other, "room")
    assert joined(h) == [{"type": "presence", "id": 1, "channel": "room", "members": [ME]}]
    flushed(h)
    assert other.take() == [{"type": "presence.change", "channel": "room", "members": [ME]}]


def test_updates_between_two_flushes_are_told_once_with_the_last_state() -> None:  # R7
    h = Harness().open()
    joined(h)
    flushed(h)
    for x in range(5):
        h.send(type="presence.update", id=2, channel="room", state={"x": x})
        h.operation()
    assert [frame["type"] for frame in h.out.take()] == ["ok"] * 5
    assert flushed(h) == [{"type": "presence.change", "channel": "room", "members": [{**ME, "state": {"x": 4}}]}]
    h.send(type="presence.leave", id=3, channel="room")
    h.operation()
    h.out.take()
    assert flushed(h) == [{"type": "presence.change", "channel": "room", "left": ["c1"]}]
    assert h.rooms.is_guest(h.out, "room"), "still observing"
    h.send(type="presence.unobserve", id=4, channel="room")
    h.operation()
    assert h.rooms.rooms == 0


def test_leaving_without_having_joined_is_no_error_and_updating_is() -> None:  # R9
    h = Harness().open()
    for kind in ("presence.leave", "presence.unobserve"):
        h.send(type=kind, id=1, channel="room")
        assert h.operation() is None
        assert h.out.take() == [{"type": "ok", "id": 1}]
    h.send(type="presence.update", id=2, channel="room", state={})
    assert h.operation() is None
    assert h.out.take()[0]["code"] == "not_joined"


@pytest.mark.parametrize("value", ["[" * 65 + "]" * 65, '"\\ud800"'])
def test_a_state_that_is_no_json_costs_only_its_request(value: str) -> None:  # S14
    h = Harness().open()
    for number, kind in enumerate(("presence.join", "presence.update")):
        h.session.receive(f'{{"type":"{kind}","id":{number},"channel":"room","state":{{"x":{value}}}}}', h.now)
    assert h.operation() is None
    assert [(f["id"], f["code"]) for f in h.out.take()] == [(0, "bad_data"), (1, "bad_data")]
    assert h.session.closing is None
    assert h.rooms.rooms == 0


def test_a_state_is_bounded() -> None:  # A17
    h = Harness(max_presence_bytes=20).open()
    h.send(type="presence.join", id=1, channel="room", state={"x": "y" * 20})
    assert h.operation() is None
    assert h.out.take()[0]["code"] == "too_large"
    joined(h)
    h.send(type="presence.update", id=2, channel="room", state={"x": "ü" * 10})
    assert h.operation() is None
    assert h.out.take()[0]["code"] == "too_large"
    h.send(type="presence.join", id=3, channel="room", state=[1])
    h.operation()
    assert h.out.take()[0]["code"] == "bad_frame"


def test_rooms_count_as_subscriptions() -> None:  # A17
    h = Harness(limits=ConnectionLimits(subscriptions=2)).open()
    h.subscribe("a")
    joined(h)
    h.send(type="presence.observe", id=9, channel="another")
    assert h.operation() is None
    assert h.out.take()[0]["code"] == "too_many_subscriptions"
    assert joined(h)[0]["type"] == "presence", "once more is not another one"


def test_a_refused_join_ends_what_there_was() -> None:  # R9, X7
    h = Harness().open()
    joined(h)
    h.send(type="presence.join", id=5, channel="room", state={})
    h.operation()
    assert h.complete(DENIED)[0]["code"] == "denied"
    assert h.rooms.members("room") == []


def test_a_presence_grant_that_ends_is_asked_for_again() -> None:  # A5, R9
    h = Harness().open()
    joined(h, Permissions(presence=True, expires_in=10))
    h.after(10.0)
    assert h.operation() == AdmitPresence("u1", "room")
    assert h.complete((parse_channel("room"), Permissions(presence=True, expires_in=10))) == []
    h.after(10.0)
    h.operation()
    assert h.complete(DENIED) == [
        {"type": "presence.revoked", "channel": "room", "code": "denied", "reason": "not a member"}
    ]
    assert h.rooms.rooms == 0


def test_revoking_a_channel_ends_presence_on_it() -> None:  # R9, S20
    h = Harness().open()
    h.subscribe("room")
    joined(h)
    h.session.revoke("u1", "room", h.now)
    assert [frame["type"] for frame in h.out.take()] == ["revoked", "presence.revoked"]
    assert h.rooms.rooms == 0


def test_a_member_that_is_silent_stalls_before_it_is_gone() -> None:  # R4
    h = Harness(heartbeat=25.0, timeout=10.0).open()
    other = Outbox()
    h.rooms.observe(other, "room")
    joined(h)
    flushed(h)
    other.take()
    h.after(25.0)
    h.after(5.0)
    flushed(h)
    assert other.take()[0]["members"] == [{**ME, "stalled": True}]
    h.send(type="pong")
    flushed(h)
    assert other.take()[0]["members"] == [ME]
    h.session.end(1006, h.now)
    flushed(h)
    assert other.take() == [{"type": "presence.change", "channel": "room", "left": ["c1"]}]


def test_a_client_that_comes_back_replaces_its_former_connection() -> None:  # R4
    h = Harness()
    h.send(type="hello", versions=[1], client="laptop")
    h.operation()
    h.complete(("u1", None))
    ghost, stranger, phone = Outbox(), Outbox(), Outbox()
    h.rooms.join(ghost, "room", Attendee("old", "u1", "laptop"), "{}")
    h.rooms.join(stranger, "room", Attendee("s", "u2", "laptop"), "{}")
    h.rooms.join(phone, "room", Attendee("p", "u1", "phone"), "{}")
    joined(h)
    assert [who.connection_id for who in h.rooms.members("room")] == ["s", "p", "c1"]


def test_a_delivery_that_ends_a_connection_does_not_disturb_the_others() -> None:  # V4
    h = Harness()
    rooms = h.rooms
    guests = [Outbox() for _ in range(4)]

    class Fragile(Outbox):
        def deliver(self, packet: Packet, /) -> None:
            for guest in guests[:2]:
                rooms.remove(guest)
            rooms.remove(self)

    fragile = Fragile()
    for number, guest in enumerate([fragile, *guests]):
        for room in ("a", "b"):
            rooms.join(guest, room, Attendee(str(number), "u", ""), "{}")
    flushed(h)
    flushed(h)
    assert [who.connection_id for who in rooms.members("a")] == ["3", "4"]
    told = [frame for frame in guests[3].take() if frame["channel"] == "a"]
    assert sorted(told[-1]["left"]) == ["0", "1", "2"]
    for guest in guests:
        rooms.remove(guest)
    assert rooms.rooms == 0


def test_nobody_can_speak_for_another_connection() -> None:  # A12
    h = Harness().open()
    other = Outbox()
    h.rooms.join(other, "room", Attendee("victim", "u2", ""), '{"x":0}')
    forged = {"connection": "victim", "user": "u2", "stalled": True}
    h.send(type="presence.join", id=1, channel="room", state={"x": 1}, **forged)
    h.operation()
    [answer] = h.complete((parse_channel("room"), MEMBER))
    assert answer["members"] == [{"connection": "victim", "user": "u2", "state": {"x": 0}}, ME]
    h.send(type="presence.update", id=2, channel="room", state={"x": 2}, **forged)
    h.send(type="presence.leave", id=3, channel="room", **forged)
    h.operation()
    assert [who.connection_id for who in h.rooms.members("room")] == ["victim"]
    flushed(h)
    assert other.take() == [
        {
            "type": "presence.change",
            "channel": "room",
            "members": [{"connection": "victim", "user": "u2", "state": {"x": 0}}],
            "left": ["c1"],
        }
    ]


def test_who_is_ready_need_not_let_a_frame_wait() -> None:
    h = Harness()

    def receive(**frame: Any) -> Operation | None:
        return h.session.receive(json.dumps(frame), h.now, ready=True)

    assert receive(type="hello", versions=[1]) == Authenticate(None)
    assert receive(type="publish", id=1, channel="a", data=1) is None  # behind the hello
    h.complete(("u1", None))
    assert receive(type="unsubscribe", id=2, channel="a") is None  # behind the publish
    assert h.asked_to_publish() == ("a", 1)
    h.complete(publication("a", 1))
    assert h.operation() is None
    assert [frame["id"] for frame in h.out.take()] == [2]
    assert receive(type="subscribe", id=3, channel="a") == AdmitSubscribe("u1", "a")
    assert receive(type="ping", id=4) is None
    assert h.out.take() == [{"type": "pong", "id": 4}]
