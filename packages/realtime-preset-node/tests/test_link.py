"""A client's side of a connection: in process against the real server, and against a wire that misbehaves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from realtime_preset_node import CloseCode, NodePreset
from realtime_preset_node._link import NodeLink
from tanstack_db.testing import settle
from tanstack_realtime import (
    Channel,
    ChannelDeniedError,
    CloseReason,
    ConfigurationError,
    ConnectionLostError,
    Inbound,
    Link,
    OpenRequest,
    Position,
    PublishError,
    RealtimeError,
    SubscribeAck,
)
from tanstack_realtime.server import Permissions, Realtime, Reject, bearer_token


class Sink:
    """Remembers what the transport tells the client."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, Inbound]] = []
        self.ends: list[CloseReason] = []
        self.gaps: list[tuple[str, str]] = []
        self.revocations: list[tuple[str, str]] = []

    def message(self, channel: str, message: Inbound, /) -> None:
        self.messages.append((channel, message))

    def gap(self, channel: str, reason: str, /) -> None:
        self.gaps.append((channel, reason))

    def revoked(self, channel: str, code: str, reason: str, /) -> None:
        self.revocations.append((channel, code))

    def suspended(self, reason: CloseReason, /) -> None:
        raise AssertionError("the client owns the retries")

    def resumed(self, connection_id: str, acks: Any, /) -> None:
        raise AssertionError("the client owns the retries")

    def closed(self, reason: CloseReason, /) -> None:
        self.ends.append(reason)


@pytest.fixture(autouse=True)
async def nothing_is_left() -> AsyncIterator[None]:  # X9
    yield
    await settle()
    assert asyncio.all_tasks() == {asyncio.current_task()}


# -- in process ------------------------------------------------------------------------------------------------------


def authorize(user_id: str, channel: Channel) -> Permissions:
    match channel:
        case Channel("todos", {"project_id": _}):
            return Permissions(subscribe=True, publish=True)
        case Channel("news"):
            return Permissions(subscribe=True)
        case _:
            return Permissions()


def make(**options: Any) -> Realtime:
    arguments: dict[str, Any] = {
        "authorize": authorize,
        "get_user": bearer_token,
        "preset": NodePreset(),
        **options,
    }
    return Realtime(**arguments)


async def connect(realtime: Realtime, user_id: str) -> tuple[Link, Sink]:
    sink = Sink()
    return await realtime.local_transport(user_id=user_id).open(OpenRequest(url=None), sink), sink


async def test_in_process_clients_pass_the_same_gate() -> None:  # A1, P3, S15
    realtime = make()
    link, sink = await connect(realtime, "u1")
    assert (link.user_id, bool(link.connection_id)) == ("u1", True)
    with pytest.raises(ChannelDeniedError) as caught:
        await link.subscribe("secret", since=None)
    assert (caught.value.code, caught.value.channel, caught.value.retryable) == ("denied", "secret", False)
    with pytest.raises(ChannelDeniedError):
        await link.publish("news", {})
    await link.subscribe("news", since=None)
    assert sink.messages == []
    await link.close()


async def test_in_process_clients_share_no_object() -> None:
    realtime = make()
    (alice, to_alice), (bob, to_bob) = await connect(realtime, "alice"), await connect(realtime, "bob")
    for link in (alice, bob):
        await link.subscribe("todos:project_id=1", since=None)
    row: dict[str, Any] = {"tags": ["a"]}
    await alice.publish("todos:project_id=1", row)
    await settle()
    row["tags"].append("changed later")
    (_, own), (_, other) = to_alice.messages[0], to_bob.messages[0]
    assert own.data == other.data == {"tags": ["a"]}
    assert own.data["tags"] is not other.data["tags"]
    assert (own.own, other.own, own.user_id, other.user_id) == (True, False, "alice", "alice")  # P5
    assert own.position == Position(other.position.epoch if other.position else "", 1)
    await alice.close()
    await bob.close()


async def test_a_reconnect_in_process_recovers() -> None:  # X5
    realtime = make()
    link, _ = await connect(realtime, "u1")
    ack = await link.subscribe("news", since=None)
    assert ack == SubscribeAck(Position(ack.position.epoch if ack.position else "", 0), None, [])
    await link.close()
    await realtime.publish(("news", {}), {"n": 1})
    link, _ = await connect(realtime, "u1")
    again = await link.subscribe("news", since=ack.position)
    assert again.recovered
    assert [message.data for message in again.missed] == [{"n": 1}]
    stranger = await link.subscribe("news", since=Position("another life", 7))
    assert (stranger.recovered, stranger.missed) == (False, [])
    await link.close()


async def test_after_unsubscribe_nothing_arrives_and_again_starts_anew() -> None:  # S9, X3
    realtime = make()
    link, sink = await connect(realtime, "u1")
    await link.subscribe("news", since=None)
    await asyncio.gather(link.unsubscribe("news"), link.subscribe("news", since=None))
    await realtime.publish(("news", {}), 1)
    await settle()
    assert [message.data for _, message in sink.messages] == [1]
    await link.unsubscribe("news")
    await link.unsubscribe("news")
    await realtime.publish(("news", {}), 2)
    await settle()
    assert len(sink.messages) == 1
    await link.close()


async def test_a_rejected_publish_carries_the_reason() -> None:  # P3, P8
    def validate(user_id: str, channel: Channel, data: Any) -> Any:
        if data == "rude":
            raise Reject("be nice")
        return 0

    realtime = make(validate=validate)
    link, sink = await connect(realtime, "u1")
    await link.subscribe("todos:project_id=1", since=None)
    with pytest.raises(PublishError) as caught:
        await link.publish("todos:project_id=1", "rude")
    assert (caught.value.code, caught.value.reason, caught.value.retryable) == ("rejected", "be nice", False)
    await link.publish("todos:project_id=1", "fine")
    await settle()
    assert [message.data for _, message in sink.messages] == [0]
    await link.close()


@pytest.mark.parametrize("data", [object(), float("nan"), "\ud800", {1, 2}])
async def test_what_is_not_json_is_refused_at_the_call(data: Any) -> None:
    link, _ = await connect(make(), "u1")
    with pytest.raises(PublishError, match="not JSON"):
        await link.publish("todos:project_id=1", data)
    await link.ping()
    await link.close()


async def test_what_is_too_large_is_refused_without_sending_it() -> None:
    realtime = make(max_message_bytes=1000)
    link, _ = await connect(realtime, "u1")
    for size in (1500, 100_000):
        with pytest.raises(PublishError) as caught:
            await link.publish("todos:project_id=1", "x" * size)
        assert caught.value.code == "too_large"
    await link.close()


async def test_closing_the_server_ends_the_links_once() -> None:  # V7, P2
    async def slow(user_id: str, channel: Channel) -> Permissions:
        await asyncio.sleep(5)
        return Permissions(subscribe=True)

    realtime = make(authorize=slow)
    link, sink = await connect(realtime, "u1")
    waiting = asyncio.ensure_future(link.subscribe("news", since=None))
    await settle()
    await realtime.aclose()
    with pytest.raises(ConnectionLostError):
        await waiting
    assert [(end.code, end.retry) for end in sink.ends] == [(CloseCode.RESTART, True)]
    with pytest.raises(ConnectionLostError):
        await link.publish("news", 1)
    with pytest.raises(ConnectionLostError):
        await link.ping()
    await link.unsubscribe("news")
    await link.close()
    await link.close()
    assert len(sink.ends) == 1


async def test_closing_a_link_tells_the_sink_nothing() -> None:
    realtime = make()
    link, sink = await connect(realtime, "u1")
    await link.subscribe("news", since=None)
    waiting = asyncio.ensure_future(link.ping())
    await link.close()
    await realtime.publish(("news", {}), 1)
    await settle()
    assert (sink.ends, sink.messages) == ([], [])
    await asyncio.wait([waiting])
    assert waiting.exception() is None or isinstance(waiting.exception(), ConnectionLostError)


async def test_revoking_ends_a_channel_or_every_connection_of_the_user() -> None:  # A5, S20
    realtime = make()
    (alice, to_alice), (bob, to_bob) = await connect(realtime, "alice"), await connect(realtime, "bob")
    for link in (alice, bob):
        await link.subscribe("news", since=None)
    await realtime.revoke("alice", ("news", {}))
    await realtime.publish(("news", {}), 1)
    await settle()
    assert (to_alice.messages, to_alice.revocations) == ([], [("news", "revoked")])
    assert [message.data for _, message in to_bob.messages] == [1]
    await realtime.revoke("alice")
    await settle()
    assert [(end.code, end.reason, end.retry) for end in to_alice.ends] == [
        (CloseCode.UNAUTHENTICATED, "access was revoked", False)
    ]
    assert to_bob.ends == []
    await alice.close()
    await bob.close()


async def test_a_process_without_clients_cannot_revoke() -> None:
    with pytest.raises(ConfigurationError, match="in the web server"):
        await make().revoke("alice")


async def test_a_lease_that_ends_is_told_to_the_client() -> None:  # A5, S20
    member = True

    def leased(user_id: str, channel: Channel) -> Permissions:
        return Permissions(subscribe=member, expires_in=20)

    realtime = make(authorize=leased)
    link, sink = await connect(realtime, "u1")
    await link.subscribe("news", since=None)
    await asyncio.sleep(30)
    assert sink.revocations == []
    member = False
    await asyncio.sleep(20)
    assert sink.revocations == [("news", "denied")]
    await realtime.publish(("news", {}), 1)
    await settle()
    assert sink.messages == []
    await link.close()


async def test_hundreds_of_requests_at_once_are_fine() -> None:  # A17
    link, _ = await connect(make(), "u1")
    await asyncio.gather(*(link.publish("todos:project_id=1", number) for number in range(1000)))
    await link.close()


async def test_a_client_in_process_stays_connected_while_nothing_happens() -> None:  # C14
    link, sink = await connect(make(), "u1")
    await asyncio.sleep(3600)
    await link.ping()
    assert sink.ends == []
    await link.close()


@pytest.mark.parametrize("user_id", ["", None, 7])
def test_an_in_process_client_needs_a_user(user_id: Any) -> None:
    with pytest.raises(ConfigurationError, match="user_id="):
        make().local_transport(user_id=user_id)


async def test_opening_to_a_closed_server_fails_and_may_be_tried_again() -> None:
    realtime = make()
    await realtime.aclose()
    with pytest.raises(ConnectionLostError):
        await connect(realtime, "u1")


# -- on a wire that misbehaves ---------------------------------------------------------------------------------------


class DeadWire:
    """Sends into nothing; the test plays the server."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.aborted = False
        self.closed = False
        self.busy = False

    async def send(self, text: str, /) -> None:
        self.sent.append(json.loads(text))

    def send_now(self, text: str, /) -> bool:
        if self.busy:
            return False
        self.sent.append(json.loads(text))
        return True

    def abort(self) -> None:
        self.aborted = True

    async def close(self) -> None:
        self.closed = True


_WELCOME = {
    "type": "welcome",
    "version": 1,
    "connection": "c1",
    "user": "u1",
    "preset": "node",
    "heartbeat": 25,
    "timeout": 10,
    "max_message_bytes": 1000,
}


async def handshake(
    get_token: Callable[[], Awaitable[str | None]] | None = None,
) -> tuple[NodeLink, Sink, DeadWire]:
    sink, wire = Sink(), DeadWire()
    link = NodeLink(sink, wire, asyncio.get_running_loop(), get_token)
    opening = asyncio.ensure_future(link.handshake("secret", "me"))
    await settle()
    link.feed(json.dumps(_WELCOME))
    await opening
    assert wire.sent == [{"type": "hello", "versions": [1], "token": "secret", "client": "me"}]
    wire.sent.clear()
    return link, sink, wire


async def test_a_half_open_connection_is_found_within_the_declared_time() -> None:  # C14
    link, sink, wire = await handshake()
    request = asyncio.ensure_future(link.ping())
    await asyncio.sleep(34.9)
    assert sink.ends == []
    await asyncio.sleep(0.2)
    assert [(end.code, end.retry) for end in sink.ends] == [(CloseCode.SILENT, True)]
    assert wire.aborted
    with pytest.raises(ConnectionLostError):
        await request
    await link.close()


async def test_any_frame_from_the_server_is_a_sign_of_life() -> None:  # C14
    link, sink, wire = await handshake()
    for _ in range(10):
        await asyncio.sleep(30)
        link.feed('{"type":"ping"}')
    await settle()
    assert sink.ends == []
    assert wire.sent == [{"type": "pong"}] * 10
    await link.close()


async def test_frames_that_make_no_sense_are_dropped() -> None:  # S14
    link, sink, _ = await handshake()
    waiting = asyncio.ensure_future(link.subscribe("a", since=None))
    await settle()
    for text in (
        "nonsense",
        '{"type":"from.the.future"}',
        '{"type":"messages","channel":"not subscribed","offset":1,"data":[1]}',
        '{"type":"messages","channel":"a","offset":1,"data":["before the ack"]}',
        '{"type":"ok","id":999}',
        '{"type":"error","code":"bad_frame","reason":"x","retryable":false}',
        '{"type":"revoked","channel":"b","code":"denied","reason":"x"}',
        json.dumps(_WELCOME),
        '{"type":"subscribed","id":1,"channel":"a","epoch":"e","offset":1}',
        '{"type":"subscribed","id":1,"channel":"a","epoch":"e","offset":1}',
        '{"type":"messages","channel":"a","offset":2,"data":["live"]}\n{"type":"messages","channel":"a","offset":"3"}',
    ):
        link.feed(text)
    assert (await waiting).position == Position("e", 1)
    assert sink.messages == [("a", Inbound("live", Position("e", 2), own=False))]
    assert (sink.ends, sink.revocations) == ([], [])
    await link.close()


async def test_a_message_is_written_at_once_and_answered_later() -> None:
    link, _, wire = await handshake()
    good, bad = link.begin_publish("a", 1), link.begin_publish("b", 2)
    assert [(frame["channel"], frame["data"]) for frame in wire.sent] == [("a", 1), ("b", 2)]
    assert good is not None
    assert bad is not None
    link.feed(
        json.dumps({"type": "error", "id": wire.sent[1]["id"], "code": "denied", "reason": "no", "retryable": False})
    )
    link.feed(json.dumps({"type": "ok", "id": wire.sent[0]["id"]}))
    await good()
    with pytest.raises(ChannelDeniedError):
        await bad()
    await link.close()


async def test_what_cannot_be_written_at_once_is_not_begun() -> None:
    link, _, wire = await handshake()
    assert link.begin_publish("a", {1, 2}) is None  # type: ignore[arg-type]
    assert link.begin_publish("a", "x" * 5000) is None
    wire.busy = True
    assert link.begin_publish("a", 1) is None
    wire.busy = False
    answered = link.begin_publish("a", 1)
    assert answered is not None
    assert len(wire.sent) == 1
    link.lost(CloseReason(1006, "gone"))
    with pytest.raises(ConnectionLostError):
        await answered()
    assert link.begin_publish("a", 1) is None
    await link.close()


async def test_the_end_fails_everything_that_waits_and_is_told_once() -> None:  # P2, C4
    link, sink, _ = await handshake()
    requests = [
        asyncio.ensure_future(request)
        for request in (link.subscribe("a", since=None), link.publish("a", 1), link.ping())
    ]
    stopping = asyncio.ensure_future(link.unsubscribe("a"))
    await settle()
    for _ in range(3):
        link.lost(CloseReason(1006, "gone"))
    results = await asyncio.gather(*requests, return_exceptions=True)
    assert [type(result) for result in results] == [ConnectionLostError] * 3
    await stopping
    assert sink.ends == [CloseReason(1006, "gone")]
    link.feed('{"type":"subscribed","id":1,"channel":"a","epoch":"e","offset":1}')
    link.feed('{"type":"messages","channel":"a","offset":2,"data":[1]}')
    assert sink.messages == []
    await link.close()


async def test_a_lost_connection_before_the_welcome_fails_the_attempt_only() -> None:
    sink = Sink()
    link = NodeLink(sink, DeadWire(), asyncio.get_running_loop())
    opening = asyncio.ensure_future(link.handshake(None, ""))
    await settle()
    link.lost(CloseReason(4401, "not signed in", retry=False))
    with pytest.raises(ConnectionLostError, match="not signed in"):
        await opening
    assert sink.ends == []


async def test_a_cancelled_request_leaves_nothing_behind() -> None:
    link, _, _ = await handshake()
    for _ in range(10):
        request = asyncio.ensure_future(link.publish("a", 1))
        await settle()
        request.cancel()
        await asyncio.wait([request])
    assert len(link._pending) == 0
    await link.close()


# -- a new token -----------------------------------------------------------------------------------------------------


async def test_a_server_that_wants_a_new_token_gets_one_at_a_time() -> None:  # A16
    answers: list[asyncio.Future[str]] = []

    async def get_token() -> str:
        answers.append(asyncio.get_running_loop().create_future())
        return await answers[-1]

    link, _, wire = await handshake(get_token)
    for _ in range(2):
        link.feed('{"type":"auth","within":30}')
        await settle()
    assert len(answers) == 1
    answers[0].set_result("t2")
    await settle()
    assert wire.sent == [{"type": "auth", "id": 1, "token": "t2"}]
    link.feed('{"type":"error","id":1,"code":"unavailable","reason":"later","retryable":true}')
    await settle()
    link.feed('{"type":"auth","within":25}')
    await settle()
    answers[1].set_exception(ConnectionLostError("get_token raised"))
    await settle()
    link.feed('{"type":"auth","within":20}')
    await settle()
    assert (len(wire.sent), len(answers)) == (1, 3)
    await link.close()


async def test_without_get_token_the_handshake_answers_again() -> None:  # A16
    link, _, wire = await handshake()
    link.feed('{"type":"auth","within":30}')
    await settle()
    assert wire.sent[-1] == {"type": "auth", "id": 1}
    link.feed('{"type":"ok","id":1}')
    await link.close()


async def test_the_time_to_wait_reaches_the_caller() -> None:  # A17
    link, _, _ = await handshake()
    publishing = asyncio.ensure_future(link.publish("a", 1))
    subscribing = asyncio.ensure_future(link.subscribe("a", since=None))
    await settle()
    for number in (1, 2):
        refusal = {"code": "rate_limited", "reason": "requests come too fast", "retryable": True, "retry_after": 1.5}
        link.feed(json.dumps({"type": "error", "id": number, **refusal}))
    for waiting in (publishing, subscribing):
        with pytest.raises(RealtimeError) as caught:
            await waiting
        assert (caught.value.code, caught.value.retryable, caught.value.retry_after) == ("rate_limited", True, 1.5)
    await link.close()


async def test_a_gap_and_superseded_messages_reach_the_client() -> None:  # A17, L4
    link, sink, _ = await handshake()
    link.feed('{"type":"gap","channel":"a","reason":"lagged","missed":1}')  # not subscribed
    subscribing = asyncio.ensure_future(link.subscribe("a", since=None))
    await settle()
    link.feed('{"type":"subscribed","id":1,"channel":"a","epoch":"e","offset":0}')
    await subscribing
    link.feed('{"type":"gap","channel":"a","reason":"lagged","missed":7}')
    link.feed('{"type":"messages","channel":"a","offset":10,"data":[1,2],"superseded":2}')
    assert sink.gaps == [("a", "the server dropped 7 message(s): lagged")]
    # Before the first message of the frame, and not before each.
    told = [(message.position, message.superseded) for _, message in sink.messages]
    assert told == [(Position("e", 10), 2), (Position("e", 11), 0)]
    await link.close()


async def test_nothing_of_a_frame_follows_the_end() -> None:  # C2
    class Leaver(Sink):
        def message(self, channel: str, message: Inbound, /) -> None:
            super().message(channel, message)
            link.lost(CloseReason(1006, "gone"))

    sink, wire = Leaver(), DeadWire()
    link = NodeLink(sink, wire, asyncio.get_running_loop())
    opening = asyncio.ensure_future(link.handshake(None, "me"))
    await settle()
    link.feed(json.dumps(_WELCOME))
    await opening
    subscribing = asyncio.ensure_future(link.subscribe("a", since=None))
    await settle()
    link.feed('{"type":"subscribed","id":1,"channel":"a","epoch":"e","offset":0}')
    await subscribing
    link.feed('{"type":"messages","channel":"a","offset":1,"data":[1,2,3]}')
    assert [message.data for _, message in sink.messages] == [1]
    await link.close()


@pytest.mark.parametrize("code", [1001, 1012])
async def test_after_a_restart_clients_come_back_one_by_one(code: int) -> None:  # G10
    delays: list[float | None] = []
    for chance in (0.0, 0.5, 0.9):
        sink, wire = Sink(), DeadWire()
        link = NodeLink(sink, wire, asyncio.get_running_loop(), random=iter([chance]).__next__)
        opening = asyncio.ensure_future(link.handshake(None, "me"))
        await settle()
        link.feed(json.dumps({**_WELCOME, "restart_spread": 20}))
        await opening
        link.lost(CloseReason(code, "restarting"))
        delays.append(sink.ends[0].retry_after)
        await link.close()
    assert delays == [0.0, 10.0, 18.0]


async def test_another_end_needs_no_spread() -> None:
    link, sink, _ = await handshake()
    link.lost(CloseReason(CloseCode.SLOW_READER, "slow"))
    assert sink.ends[0].retry_after is None
    await link.close()
