"""The client on a scripted network, in virtual time."""

from __future__ import annotations

import asyncio
import random
import re
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tanstack_db import DbClient, DbError
from tanstack_db.testing import settle
from tanstack_realtime import (
    JSON,
    AuthenticationError,
    Capabilities,
    ChannelDeniedError,
    ClosedError,
    CloseReason,
    ConfigurationError,
    ConnectionLostError,
    Inbound,
    Link,
    LinkSink,
    NotConnectedError,
    OpenRequest,
    Position,
    PublishError,
    RealtimeClient,
    RealtimeError,
    SubscribeAck,
    client_slot,
    create_presence_channel,
    create_realtime_client,
)

ROOM = ("chat", {"room": "1"})
WIRE = "chat:room=1"
OTHER = ("chat", {"room": "2"})
NEVER: Any = object()


class FakeLink:
    """One connection of a `Network`."""

    def __init__(self, network: Network, sink: LinkSink, number: int, user_id: str | None) -> None:
        self.network = network
        self.sink = sink
        self.connection_id = f"c{number}"
        self.user_id = user_id
        self.subscribed: list[str] = []
        self.requests: list[tuple[str, str]] = []
        self.since: list[Position | None] = []
        self.published: list[tuple[str, JSON]] = []
        self.pings = 0
        self.closed = False

    async def subscribe(self, channel: str, /, *, since: Position | None) -> SubscribeAck:
        self.requests.append(("subscribe", channel))
        self.since.append(since)
        script = self.network.answers[channel]
        answer = script.popleft() if script else SubscribeAck()
        if answer is NEVER:
            await asyncio.Event().wait()
        if isinstance(answer, asyncio.Event):
            await answer.wait()
            answer = SubscribeAck()
        if isinstance(answer, Exception):
            raise answer
        self.subscribed.append(channel)
        return answer

    async def unsubscribe(self, channel: str, /) -> None:
        self.requests.append(("unsubscribe", channel))
        if channel in self.subscribed:
            self.subscribed.remove(channel)

    async def publish(self, channel: str, data: JSON, /) -> None:
        answer = self.network.publish_answer
        if answer is NEVER:
            await asyncio.Event().wait()
        if isinstance(answer, Exception):
            raise answer
        self.published.append((channel, data))

    async def ping(self) -> None:
        self.pings += 1
        if self.network.half_open:
            await asyncio.Event().wait()

    async def close(self) -> None:
        if not self.closed:
            await asyncio.sleep(self.network.close_takes)
            self.closed = True
            self.network.alive -= 1

    def say(self, data: Any, *, channel: str = WIRE, position: Position | None = None) -> None:
        self.sink.message(channel, Inbound(data, position))

    def drop(self, code: int = 1006, reason: str = "gone", **more: Any) -> None:
        self.sink.closed(CloseReason(code, reason, **more))


class Network:
    """A transport whose attempts and answers follow a script; without one everything succeeds at once."""

    def __init__(self) -> None:
        self.attempts: deque[Any] = deque()
        self.answers: defaultdict[str, deque[Any]] = defaultdict(deque)
        self.publish_answer: Any = None
        self.half_open = False
        self.user_id: str | None = "ann"
        self.close_takes = 0.0
        self.requests: list[OpenRequest] = []
        self.links: list[FakeLink] = []
        self.alive = 0
        self.most_alive = 0
        self.echo = True

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            recovery=True,
            history=10,
            ordering=True,
            echo=self.echo,
            publish_over_link=True,
            native_presence=False,
            max_message_bytes=1000,
            revocation_delay=0.0,
        )

    async def open(self, request: OpenRequest, sink: LinkSink, /) -> Link:
        self.requests.append(request)
        self.alive += 1
        self.most_alive = max(self.alive, self.most_alive)
        try:
            answer = self.attempts.popleft() if self.attempts else None
            if answer is NEVER:
                await asyncio.Event().wait()
            if isinstance(answer, float):
                await asyncio.sleep(answer)
            if isinstance(answer, Exception):
                raise answer
        except BaseException:
            self.alive -= 1
            raise
        link = FakeLink(self, sink, len(self.links) + 1, self.user_id)
        self.links.append(link)
        return link

    @property
    def link(self) -> FakeLink:
        return self.links[-1]


class Ear:
    """A listener that writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def on_message(self, message: Inbound) -> None:
        self.heard.append(message.data)

    def on_live(self, recovered: bool | None) -> None:
        self.heard.append(("live", recovered))

    def on_gap(self, reason: str) -> None:
        self.heard.append("gap")

    def on_offline(self) -> None:
        self.heard.append("offline")

    def on_denied(self, error: ChannelDeniedError) -> None:
        self.heard.append(("denied", error.channel, error.code, error.reason))

    def on_focus(self) -> None:
        self.heard.append("focus")


@pytest.fixture
def network() -> Network:
    return Network()


@pytest.fixture
def errors() -> list[Exception]:
    return []


@pytest.fixture
async def client(network: Network, errors: list[Exception]) -> AsyncIterator[RealtimeClient]:
    client = create_realtime_client(transport=network, db=DbClient(on_error=errors.append))
    yield client
    await client.close()
    await nothing_is_left(network)


async def nothing_is_left(network: Network) -> None:  # X9
    loop: Any = asyncio.get_running_loop()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert [timer for timer in loop._scheduled if not timer.cancelled()] == []
    assert network.alive == 0
    assert network.most_alive <= 1


async def connect(client: RealtimeClient) -> None:
    client.connect()
    await client.connected()


def watch(client: RealtimeClient) -> list[str]:
    seen: list[str] = []

    def look(state: Any) -> None:
        if not seen or seen[-1] != state.status:
            seen.append(state.status)

    client.store.subscribe(look)
    return seen


# -- connection ------------------------------------------------------------------------------------------------------


async def test_creating_a_client_connects_nothing(client: RealtimeClient, network: Network) -> None:
    await asyncio.sleep(100)
    assert network.requests == []
    assert client.store.state.status == "disconnected"
    with pytest.raises(NotConnectedError, match="connect"):
        await client.connected()


async def test_concurrent_connects_open_one_socket_and_all_resolve(
    client: RealtimeClient, network: Network
) -> None:  # C1
    network.attempts.append(1.0)

    async def one() -> None:
        client.connect()
        await client.connected()

    await asyncio.gather(*(one() for _ in range(5)))
    assert len(network.requests) == 1
    statuses = watch(client)
    await connect(client)  # C3
    await settle()
    assert statuses == []


async def test_connect_during_a_reconnect_joins_it(client: RealtimeClient, network: Network) -> None:  # C2
    await connect(client)
    network.attempts.append(ConnectionLostError("down"))
    network.link.drop()
    assert client.store.state.status == "reconnecting"
    await connect(client)
    assert len(network.links) == 2


async def test_disconnect_cancels_a_waiting_retry(client: RealtimeClient, network: Network) -> None:  # C4, C5
    await connect(client)
    network.link.drop()
    network.link.drop()
    state = client.store.state
    assert state.retry_at is not None
    assert 0.75 <= state.retry_at - asyncio.get_running_loop().time() <= 1.25
    assert (state.reason, state.attempt) == ("gone", 2)
    client.disconnect()
    await asyncio.sleep(100)
    assert len(network.requests) == 1
    assert client.store.state.status == "disconnected"


async def test_a_wait_that_is_given_up_says_what_it_waited_for(client: RealtimeClient, network: Network) -> None:
    network.attempts.extend([ConnectionLostError("down", reason="refused"), 100.0])
    client.connect()
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(5):
            await client.connected()
    assert caught.value.__cause__ is not None
    assert caught.value.__cause__.__notes__ == [
        "<RealtimeClient connecting in process> was not connected at attempt 2: refused"
    ]

    subscription = client.subscribe(ROOM, lambda message: None)
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(5):
            await subscription.live()
    assert caught.value.__cause__ is not None
    assert caught.value.__cause__.__notes__ == ["<Subscription chat:room=1 pending> was not live: no answer yet"]


async def test_a_failing_token_provider_is_asked_again(network: Network, errors: list[Exception]) -> None:  # C6
    tokens: deque[Any] = deque([OSError("no keychain"), "t2", "t3"])

    async def get_token() -> str:
        token = tokens.popleft()
        if isinstance(token, Exception):
            raise token
        return str(token)

    client = create_realtime_client(transport=network, db=DbClient(on_error=errors.append), get_token=get_token)
    await connect(client)
    network.link.drop()
    await connect(client)
    assert [request.token for request in network.requests] == ["t2", "t3"]
    assert [str(error) for error in errors] == ["get_token raised OSError('no keychain')"]
    await client.close()
    await nothing_is_left(network)


async def test_a_live_connection_gets_fresh_tokens_too() -> None:  # A16
    tokens: deque[Any] = deque(["t1", "t2", OSError("no keychain"), 7])
    errors: list[Exception] = []

    def get_token() -> str:
        token = tokens.popleft()
        if isinstance(token, Exception):
            raise token
        return str(token) if isinstance(token, str) else token

    network = Network()
    async with create_realtime_client(
        transport=network, db=DbClient(on_error=errors.append), get_token=get_token
    ) as client:
        refresh = network.requests[0].get_token
        assert network.requests[0].token == "t1"
        assert refresh is not None
        assert await refresh() == "t2"
        for _ in range(2):  # one fails, one is no token: both are reported once
            with pytest.raises(RealtimeError):
                await refresh()
        assert client.is_connected
    assert [str(error).split(";")[0] for error in errors] == [
        "get_token raised OSError('no keychain')",
        "get_token returned int",
    ]


async def test_a_token_that_is_no_text_is_a_final_error(network: Network) -> None:
    number: Any = 5
    client = create_realtime_client(transport=network, db=DbClient(), get_token=lambda: number)
    client.connect()
    with pytest.raises(ConfigurationError, match="get_token returned int"):
        await client.connected()
    assert network.requests == []
    await client.close()


@pytest.mark.parametrize("token", ["secret\n", " secret", "käse", "a\r\nx-admin: 1"])
async def test_a_token_that_no_header_can_hold_is_a_final_error(network: Network, token: str) -> None:
    client = create_realtime_client(transport=network, db=DbClient(), get_token=lambda: token)
    client.connect()
    with pytest.raises(ConfigurationError, match=r"get_token returned a token with .*strip\(\)") as caught:
        await client.connected()
    assert "secret" not in str(caught.value)
    assert network.requests == []
    await client.close()


@pytest.mark.parametrize(
    ("arguments", "fix"),
    [
        ({"get_token": "secret"}, "get_token=lambda: token"),
        ({"headers": "x-app: 1"}, "headers= is a mapping"),
        ({"headers": {"x-app": 1}}, "'x-app'"),
        ({"headers": {"x-app": "secret\n"}}, "'x-app'"),
        ({"headers": {"x app": "secret"}}, "'x app'"),
    ],
)
def test_credentials_that_cannot_be_sent_are_refused_at_once(arguments: dict[str, Any], fix: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(fix)) as caught:
        create_realtime_client("http://host", transport=Network(), db=DbClient(), **arguments)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("state", [5, int, {"name": "Ann"}])
def test_the_state_of_a_presence_channel_is_a_class(state: Any) -> None:
    with pytest.raises(DbError, match=r"is no class of rows|are not supported"):
        create_presence_channel(id="lobby", channel=lambda: ("lobby", {}), state=state)


def test_presence_takes_a_room_only(client: RealtimeClient) -> None:
    wrongs: list[Any] = [create_presence_channel(id="lobby", channel=lambda: ("lobby", {})), ROOM]
    for wrong in wrongs:
        with pytest.raises(ConfigurationError, match=r"pass a room, which a presence channel's scope makes"):
            client.presence(wrong)


async def test_what_an_attempt_is_given(network: Network) -> None:
    client = create_realtime_client(
        "http://host", transport=network, db=DbClient(), get_token=lambda: "secret", headers={"x-app": "1"}
    )
    await connect(client)
    (request,) = network.requests
    assert (request.url, request.token, request.client_id) == ("http://host/_realtime", "secret", client.origin)
    assert request.headers == {"x-app": "1"}
    await client.close()


@pytest.mark.parametrize("when", ["token", "handshake", "closing"])
async def test_disconnect_at_any_moment_leaves_nothing_and_connect_gives_one_socket(
    network: Network, when: str
) -> None:  # C10
    async def get_token() -> str:
        await asyncio.sleep(1.0)
        return "t"

    client = create_realtime_client(transport=network, db=DbClient(), get_token=get_token)
    network.close_takes = 0.5
    network.attempts.extend([1.0, 1.0, 1.0])
    client.connect()
    await asyncio.sleep({"token": 0.5, "handshake": 1.5, "closing": 3.0}[when])
    for _ in range(3):
        client.disconnect()
        assert client.store.state.status == "disconnected"
        await asyncio.sleep(0.1)
        client.connect()
    client.disconnect()
    await asyncio.sleep(60)
    assert network.alive == 0
    assert client.store.state.status == "disconnected"
    client.disconnect()
    await connect(client)
    assert network.alive == 1
    assert network.most_alive == 1
    await client.close()
    await nothing_is_left(network)


async def test_a_refused_identity_is_final(
    client: RealtimeClient, network: Network, errors: list[Exception]
) -> None:  # C12
    network.attempts.append(AuthenticationError("bad token", reason="expired"))
    client.connect()
    with pytest.raises(AuthenticationError):
        await client.connected()
    await asyncio.sleep(1000)
    assert len(network.requests) == 1
    assert (client.store.state.status, client.store.state.reason) == ("disconnected", "expired")
    with pytest.raises(AuthenticationError):
        await client.connected()
    assert errors == []  # somebody was told
    await connect(client)


async def test_a_refusal_that_nobody_awaits_is_reported(
    client: RealtimeClient, network: Network, errors: list[Exception]
) -> None:  # C16
    network.attempts.append(AuthenticationError("bad token"))
    client.connect()
    await settle()
    assert [type(error) for error in errors] == [AuthenticationError]


async def test_connected_waits_for_the_server(client: RealtimeClient, network: Network) -> None:  # C13
    network.attempts.append(3.0)
    statuses = watch(client)
    client.connect()
    await asyncio.sleep(2.9)
    assert statuses == ["connecting"]
    assert not client.store.state.connection_id
    await client.connected()
    assert network.link.connection_id == "c1"
    assert [client.store.state.connection_id, client.user_id] == ["c1", "ann"]


async def test_a_half_open_connection_is_noticed_in_bounded_time(
    client: RealtimeClient, network: Network
) -> None:  # C14
    await connect(client)
    network.half_open = True
    await asyncio.sleep(29.9)
    assert client.is_connected
    await asyncio.sleep(0.2)
    assert client.store.state.status == "reconnecting"
    network.half_open = False
    await client.connected()
    await asyncio.sleep(60)
    assert network.link.pings == 2  # after 20 s of silence each


async def test_frames_keep_a_connection_from_being_pinged(client: RealtimeClient, network: Network) -> None:  # C14
    await connect(client)
    client.subscribe(ROOM, lambda message: None)
    for _ in range(10):
        await asyncio.sleep(15)
        network.link.say("x")
    assert network.link.pings == 0


async def test_a_failing_ping_is_a_lost_connection(client: RealtimeClient, network: Network) -> None:  # C14
    await connect(client)

    async def ping() -> None:
        raise ConnectionLostError("broken pipe")

    network.link.ping = ping  # type: ignore[method-assign]
    await asyncio.sleep(20.5)
    assert client.store.state.status == "reconnecting"


async def test_close_ends_everything_and_may_be_called_twice(client: RealtimeClient, network: Network) -> None:  # C15
    subscription = client.subscribe(ROOM, lambda message: None)
    await connect(client)
    await asyncio.gather(client.close(), client.close())
    await client.close()
    assert subscription.state == "closed"
    assert client.store.state.status == "disconnected"
    assert client.store.state.subscriptions == {}
    for use in (
        client.connect,
        lambda: client.subscribe(ROOM, print),
    ):
        with pytest.raises(ClosedError):
            use()
    with pytest.raises(ClosedError):
        await client.publish(ROOM, 1)
    client.disconnect()
    client.lifecycle.focus()
    subscription.unsubscribe()


async def test_close_while_waiting_fails_the_waiters(client: RealtimeClient, network: Network) -> None:  # C15
    network.attempts.append(NEVER)
    client.connect()
    waiting = asyncio.ensure_future(client.connected())
    live = asyncio.ensure_future(client.subscribe(ROOM, print).live())
    await settle()
    await client.close()
    for task in (waiting, live):
        with pytest.raises(ClosedError):
            await task


async def test_a_flapping_connection_backs_off(client: RealtimeClient, network: Network) -> None:  # C17
    await connect(client)
    for _ in range(8):
        network.link.drop()
        await client.connected()
    now = asyncio.get_running_loop().time()
    assert now > 1 + 2 + 4 + 8 + 16  # jittered, all of them more than once
    await asyncio.sleep(11)
    network.link.drop()
    assert client.store.state.attempt == 1


async def test_another_user_drops_what_the_former_one_had(client: RealtimeClient, network: Network) -> None:  # C18
    ear = Ear()
    client.subscribe(ROOM, ear)
    network.answers[WIRE].append(SubscribeAck(Position("e", 7)))
    await connect(client)
    dropped: list[int] = []
    stop = client.on_user_change(lambda: dropped.append(len(network.link.requests)))
    client.on_user_change(lambda: 1 / 0)
    client.disconnect()
    network.user_id = "bob"
    await connect(client)
    assert dropped == [0]  # before anything was subscribed
    assert network.link.since == [None]
    assert client.user_id == "bob"
    await settle()
    assert ear.heard == [("live", None), "offline", ("live", None)]
    stop()
    network.user_id = "eve"
    client.disconnect()
    await connect(client)
    assert dropped == [0]


async def test_the_same_user_keeps_its_place(client: RealtimeClient, network: Network) -> None:  # C8, C18
    ear = Ear()
    client.subscribe(ROOM, ear)
    network.answers[WIRE].append(SubscribeAck(Position("e", 7)))
    await connect(client)
    client.disconnect()
    network.answers[WIRE].append(
        SubscribeAck(Position("e", 8), recovered=True, missed=[Inbound("missed", Position("e", 8))])
    )
    await connect(client)
    await settle()
    assert network.link.since == [Position("e", 7)]
    assert ear.heard == [("live", None), "offline", ("live", True), "missed"]


async def test_statuses_take_legal_ways_only(client: RealtimeClient, network: Network) -> None:  # X1
    statuses = watch(client)
    network.attempts.extend([ConnectionLostError("down"), None, ConnectionLostError("down")])
    await connect(client)
    network.link.drop()
    await client.connected()
    client.disconnect()
    assert statuses == ["connecting", "connected", "reconnecting", "connected", "disconnected"]


def test_connect_needs_a_running_loop() -> None:
    client = create_realtime_client(transport=Network(), db=DbClient())
    client.lifecycle.focus()
    subscription = client.subscribe(ROOM, print)
    assert subscription.state == "pending"
    assert client.store.state.subscriptions[WIRE].listeners == 1
    with pytest.raises(ConfigurationError, match="running event loop"):
        client.connect()


async def test_a_broken_transport_is_reported_and_retried(
    client: RealtimeClient, network: Network, errors: list[Exception]
) -> None:
    network.attempts.append(ValueError("bug"))
    await connect(client)
    assert [repr(error) for error in errors] == ["ValueError('bug')"]
    assert len(network.requests) == 2


async def test_a_link_that_dies_while_it_is_handed_over_is_noticed(network: Network, client: RealtimeClient) -> None:
    opened = network.open

    async def stillborn(request: OpenRequest, sink: LinkSink, /) -> Link:
        link = await opened(request, sink)
        if len(network.links) == 1:
            sink.closed(CloseReason(1006, "stillborn"))
        return link

    network.open = stillborn  # type: ignore[method-assign]
    await connect(client)
    await asyncio.sleep(5)
    assert client.is_connected
    assert len(network.links) == 2


async def test_a_link_that_does_not_close_is_given_up(network: Network, errors: list[Exception]) -> None:
    client = create_realtime_client(transport=network, db=DbClient(on_error=errors.append))
    await connect(client)
    network.close_takes = 1e6
    network.link.drop()
    await connect(client)
    assert len(network.links) == 2
    await client.close()
    assert asyncio.get_running_loop().time() < 60
    assert len(errors) >= 2
    assert all("5 s" in str(error) for error in errors)


async def test_an_attempt_that_hangs_is_abandoned(client: RealtimeClient, network: Network) -> None:
    network.attempts.append(NEVER)
    await connect(client)
    assert len(network.requests) == 2


async def test_a_store_subscriber_that_raises_disturbs_nobody(
    client: RealtimeClient, network: Network, errors: list[Exception]
) -> None:
    client.store.subscribe(lambda state: 1 / 0)
    await connect(client)
    await settle()
    assert {type(error) for error in errors} == {ZeroDivisionError}


async def test_a_store_subscriber_may_disconnect(client: RealtimeClient, network: Network) -> None:
    client.store.subscribe(lambda state: client.disconnect() if state.status == "connected" else None)
    await connect(client)  # it was connected, if only for a moment
    await settle()
    assert client.store.state.status == "disconnected"
    assert network.alive == 0


async def test_async_with_connects_and_closes(network: Network) -> None:
    async with create_realtime_client(transport=network, db=DbClient()) as client:
        assert client.is_connected
    await nothing_is_left(network)
    network.attempts.append(AuthenticationError("no"))
    with pytest.raises(AuthenticationError):
        async with create_realtime_client(transport=network, db=DbClient()):
            pytest.fail("entered")
    await nothing_is_left(network)


async def test_closing_the_db_client_closes_its_realtime_client(network: Network) -> None:
    db = DbClient()
    client = create_realtime_client(transport=network, db=db)
    seen: list[object] = []
    client_slot(db).subscribe(seen.append)
    await connect(client)
    await db.close()
    assert seen == [None]
    await nothing_is_left(network)


async def test_one_realtime_client_per_db_client(network: Network) -> None:
    db = DbClient()
    seen: list[object] = []
    client_slot(db).subscribe(seen.append)
    first = create_realtime_client(transport=network, db=db)
    with pytest.raises(ConfigurationError, match="already"):
        create_realtime_client(transport=network, db=db)
    await first.close()
    second = create_realtime_client(transport=network, db=db)
    assert client_slot(db).client is second
    assert seen == [first, None, second]
    await second.close()
    with db.activate():
        third = create_realtime_client(transport=network)  # the session's
        fourth = create_realtime_client(transport=network)  # taken: its own
    assert third.db is db
    assert fourth.db is not db
    await third.close()
    await fourth.close()


# -- subscriptions ---------------------------------------------------------------------------------------------------


async def test_a_subscription_from_before_connect_gets_messages(
    client: RealtimeClient, network: Network
) -> None:  # S1, S21
    heard: list[Any] = []
    subscription = client.subscribe(ROOM, lambda message: heard.append(message.data))
    assert subscription.state == "pending"
    client.connect()
    await subscription.live()
    network.link.say("hello")
    await settle()
    assert heard == ["hello"]
    assert client.store.state.subscriptions[WIRE].state == "live"


async def test_every_channel_is_subscribed_again_before_connected(
    client: RealtimeClient, network: Network
) -> None:  # S2, S3, G7
    ears = {name: Ear() for name in ("1", "2", "3")}
    for name, ear in ears.items():
        client.subscribe(("chat", {"room": name}), ear)
    await connect(client)
    slow = asyncio.Event()
    network.answers["chat:room=3"].append(slow)
    network.link.drop()
    await asyncio.sleep(2)
    assert sorted(network.link.subscribed) == ["chat:room=1", "chat:room=2"]
    assert client.store.state.status == "reconnecting"
    slow.set()
    await client.connected()
    network.link.say("x", channel="chat:room=3")
    await settle()
    for ear in ears.values():
        assert ear.heard[:3] == [("live", None), "offline", ("live", False)]
    assert ears["3"].heard[3:] == ["x"]
    assert ears["1"].heard[3:] == []  # S19


async def test_one_slow_authorize_does_not_hold_up_the_others(client: RealtimeClient, network: Network) -> None:
    client.subscribe(ROOM, print)
    network.answers[WIRE].append(NEVER)
    started = asyncio.get_running_loop().time()
    await connect(client)
    assert asyncio.get_running_loop().time() - started == 10.0


async def test_listeners_share_one_subscription(client: RealtimeClient, network: Network) -> None:  # S4, S7, X3
    await connect(client)
    first, second = Ear(), Ear()
    one = client.subscribe(ROOM, first)
    await one.live()
    two = client.subscribe(ROOM, second)
    assert two.state == "live"
    network.link.say(1)
    await settle()
    one.unsubscribe()
    one.unsubscribe()
    network.link.say(2)
    await settle()
    assert network.link.requests == [("subscribe", WIRE)]
    assert first.heard == [("live", None), 1]
    assert second.heard == [("live", None), 1, 2]
    two.unsubscribe()
    await settle()
    assert network.link.requests == [("subscribe", WIRE), ("unsubscribe", WIRE)]
    assert client.store.state.subscriptions == {}


async def test_what_has_arrived_is_not_delivered_after_unsubscribe(
    client: RealtimeClient, network: Network
) -> None:  # X3
    await connect(client)
    ear = Ear()
    subscription = client.subscribe(ROOM, ear)
    await settle()
    network.link.say(1)
    subscription.unsubscribe()
    await settle()
    assert ear.heard == [("live", None)]
    with pytest.raises(ClosedError):
        await subscription.live()


async def test_reconnecting_delivers_once(client: RealtimeClient, network: Network) -> None:  # S5, S6, G8
    ear = Ear()
    client.subscribe(ROOM, ear)
    await connect(client)
    for number in range(4):
        old = network.link
        old.drop()
        await client.connected()
        network.link.say(number)
        old.say("from the grave")
    await settle()
    assert [item for item in ear.heard if isinstance(item, (int, str)) and item != "offline"] == [0, 1, 2, 3]
    assert ear.heard.count(("live", False)) == 4


async def test_subscribing_and_unsubscribing_in_one_tick(client: RealtimeClient, network: Network) -> None:  # S9
    await connect(client)
    client.subscribe(ROOM, print).unsubscribe()
    kept = client.subscribe(ROOM, print)
    client.subscribe(ROOM, print).unsubscribe()
    await kept.live()
    await settle()
    assert network.link.requests == [("subscribe", WIRE)]
    assert network.link.subscribed == [WIRE]


async def test_listeners_may_subscribe_and_unsubscribe_during_delivery(
    client: RealtimeClient, network: Network
) -> None:  # S12
    await connect(client)
    heard: list[str] = []
    subscriptions: dict[str, Any] = {}

    def first(message: Inbound) -> None:
        heard.append("first")
        subscriptions["first"].unsubscribe()
        subscriptions["third"].unsubscribe()
        subscriptions["new"] = client.subscribe(ROOM, lambda message: heard.append("new"))

    subscriptions["first"] = client.subscribe(ROOM, first)
    subscriptions["second"] = client.subscribe(ROOM, lambda message: heard.append("second"))
    subscriptions["third"] = client.subscribe(ROOM, lambda message: heard.append("third"))
    await settle()
    network.link.say(1)
    await settle()
    assert heard == ["first", "second"]
    network.link.say(2)
    await settle()
    assert heard == ["first", "second", "second", "new"]


async def test_a_raising_listener_disturbs_nobody(
    client: RealtimeClient, network: Network, errors: list[Exception]
) -> None:  # S13, G8
    await connect(client)

    class Bad(Ear):
        def on_live(self, recovered: bool | None) -> None:
            raise ValueError("live")

        def on_message(self, message: Inbound) -> None:
            raise ValueError("message")

    client.subscribe(ROOM, Bad())
    ear = Ear()
    client.subscribe(ROOM, ear)
    await settle()
    network.link.say(1)
    network.link.say(2)
    await settle()
    assert ear.heard == [("live", None), 1, 2]
    assert [str(error) for error in errors] == ["live", "message", "message"]
    assert client.is_connected


async def test_a_denial_reaches_its_own_channel_only(
    client: RealtimeClient, network: Network, errors: list[Exception]
) -> None:  # S15, S18
    denied, fine = Ear(), Ear()
    subscription = client.subscribe(ROOM, denied)
    client.subscribe(OTHER, fine)
    network.answers[WIRE].append(ChannelDeniedError("no", channel=WIRE, reason="not a member"))
    await connect(client)
    await settle()
    assert denied.heard == [("denied", WIRE, "denied", "not a member")]
    assert fine.heard == [("live", None)]
    info = client.store.state.subscriptions[WIRE]
    assert (info.state, info.reason) == ("denied", "not a member")
    assert subscription.error is not None
    with pytest.raises(ChannelDeniedError):
        await subscription.live()
    network.link.drop()
    await client.connected()
    assert network.link.requests == [("subscribe", "chat:room=2")]
    subscription.retry()
    await subscription.live()
    await settle()
    assert denied.heard[1:] == [("live", None)]


async def test_waiting_for_a_channel_that_is_then_denied(client: RealtimeClient, network: Network) -> None:  # S15
    subscription = client.subscribe(ROOM, print)
    waiting = asyncio.ensure_future(subscription.live())
    network.answers[WIRE].append(ChannelDeniedError("no", channel=WIRE))
    client.connect()
    with pytest.raises(ChannelDeniedError):
        await waiting


async def test_a_temporary_failure_is_retried_by_itself(client: RealtimeClient, network: Network) -> None:  # S17
    ear = Ear()
    subscription = client.subscribe(ROOM, ear)
    busy = ChannelDeniedError("later", channel=WIRE, code="unavailable", reason="database", retryable=True)
    network.answers[WIRE].extend([busy, busy])
    await connect(client)
    assert client.store.state.subscriptions[WIRE].reason == "database"
    await subscription.live()
    await settle()
    assert len(network.link.requests) == 3
    assert ear.heard == [("live", None)]


async def test_a_transports_fault_is_reported_and_retried(
    client: RealtimeClient, network: Network, errors: list[Exception]
) -> None:
    network.answers[WIRE].append(KeyError("bug"))
    subscription = client.subscribe(ROOM, print)
    client.connect()
    await subscription.live()
    assert [repr(error) for error in errors] == ["KeyError('bug')"]


async def test_a_revocation_is_told_and_can_be_taken_back(client: RealtimeClient, network: Network) -> None:  # S20, S23
    ear = Ear()
    subscription = client.subscribe(ROOM, ear)
    await connect(client)
    network.link.sink.revoked(WIRE, "denied", "left the project")
    network.link.say("secret")
    await settle()
    assert subscription.state == "denied"
    assert ear.heard == [("live", None), ("denied", WIRE, "denied", "left the project")]
    subscription.retry()
    await subscription.live()
    await settle()
    assert ear.heard[2:] == [("live", None)]


async def test_a_gap_in_the_middle_is_told(client: RealtimeClient, network: Network) -> None:  # G12
    ear = Ear()
    client.subscribe(ROOM, ear)
    await connect(client)
    network.link.sink.gap(WIRE, "slow reader")
    await settle()
    assert ear.heard == [("live", None), "gap"]


async def test_a_listener_that_came_while_offline_is_live_for_the_first_time(
    client: RealtimeClient, network: Network
) -> None:
    old, new = Ear(), Ear()
    client.subscribe(ROOM, old)
    await connect(client)
    network.link.drop()
    client.subscribe(ROOM, new)
    await client.connected()
    await settle()
    assert old.heard == [("live", None), "offline", ("live", False)]
    assert new.heard == [("live", None)]


async def test_requests_end_with_their_link(client: RealtimeClient, network: Network) -> None:  # X9
    client.subscribe(ROOM, print)
    network.answers[WIRE].append(NEVER)
    client.connect()
    await asyncio.sleep(1)
    count = len(asyncio.all_tasks())
    network.link.drop()
    await settle()
    assert len(asyncio.all_tasks()) == count - 2  # the connection and the request


async def test_listeners_that_keep_each_other_busy_do_not_stop_the_loop(
    client: RealtimeClient, network: Network
) -> None:
    await connect(client)
    heard: list[int] = []

    def again(message: Inbound) -> None:
        heard.append(message.data)
        if message.data < 1000:
            network.link.say(message.data + 1)

    client.subscribe(ROOM, again)
    await settle()
    network.link.say(0)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert 0 < len(heard) < 10
    await settle()
    assert heard == list(range(1001))


async def test_a_late_listener_does_not_get_what_came_before(client: RealtimeClient, network: Network) -> None:
    await connect(client)
    client.subscribe(ROOM, print)
    await settle()
    network.link.say("early")
    ear = Ear()
    client.subscribe(ROOM, ear)
    await settle()
    assert ear.heard == [("live", None)]


@pytest.mark.parametrize("listener", [None, 5, "callback"])
def test_what_cannot_listen_is_refused(listener: Any) -> None:
    client = create_realtime_client(transport=Network(), db=DbClient())
    with pytest.raises(ConfigurationError, match="plain function"):
        client.subscribe(ROOM, listener)

    async def coroutine_function(message: Inbound) -> None: ...

    with pytest.raises(ConfigurationError, match="coroutine"):
        client.subscribe(ROOM, coroutine_function)
    assert client.store.state.subscriptions == {}


# -- providers that retry by themselves ------------------------------------------------------------------------------


async def test_a_provider_that_resumes_by_itself(client: RealtimeClient, network: Network) -> None:
    ear, other = Ear(), Ear()
    client.subscribe(ROOM, ear)
    client.subscribe(OTHER, other)
    await connect(client)
    network.link.sink.suspended(CloseReason(reason="radio silence"))
    state = client.store.state
    assert (state.status, state.reason) == ("reconnecting", "radio silence")
    network.link.sink.resumed("c9", {WIRE: SubscribeAck(recovered=True)})
    await client.connected()
    assert client.store.state.connection_id == "c9"
    await settle()
    assert ear.heard == [("live", None), "offline", ("live", True)]
    assert other.heard == [("live", None), "offline", ("live", False)]
    assert len(network.links) == 1


# -- publish ---------------------------------------------------------------------------------------------------------


async def test_publish_without_a_connection_says_so(client: RealtimeClient, network: Network) -> None:  # P1, P6
    with pytest.raises(NotConnectedError, match=r"connect\(\) was not called"):
        await client.publish(ROOM, {"text": "hi"})
    client.connect()
    await client.publish(ROOM, {"text": "hi"})  # waits for it
    assert network.link.published == [(WIRE, {"text": "hi"})]


async def test_publish_waits_only_so_long(client: RealtimeClient, network: Network) -> None:  # P2
    network.attempts.extend([ConnectionLostError("down", reason="no route")] * 20)
    client.connect()
    with pytest.raises(NotConnectedError, match="within 10 s"):
        await client.publish(ROOM, 1)
    assert asyncio.get_running_loop().time() == pytest.approx(10.0)


async def test_publish_after_a_refusal_says_why(client: RealtimeClient, network: Network) -> None:  # P1
    network.attempts.append(AuthenticationError("no", reason="expired"))
    client.connect()
    await settle()
    with pytest.raises(NotConnectedError, match="expired"):
        await client.publish(ROOM, 1)


async def test_a_publish_in_flight_fails_with_the_connection(client: RealtimeClient, network: Network) -> None:  # P2
    await connect(client)
    network.publish_answer = NEVER  # even a transport that forgets about it
    publishing = asyncio.ensure_future(client.publish(ROOM, 1))
    await settle()
    network.link.drop()
    with pytest.raises(ConnectionLostError, match="the connection was lost"):
        await publishing
    assert asyncio.get_running_loop().time() < 0.1


async def test_a_publish_without_an_answer_does_not_hang(client: RealtimeClient, network: Network) -> None:  # P2
    await connect(client)
    network.publish_answer = NEVER
    with pytest.raises(ConnectionLostError, match="no answer within 30 s"):
        await client.publish(ROOM, 1)
    assert client.is_connected


@pytest.mark.parametrize("error", [ChannelDeniedError("no", channel=WIRE), PublishError("too large", code="too_large")])
async def test_a_refused_publish_raises(client: RealtimeClient, network: Network, error: RealtimeError) -> None:  # P3
    await connect(client)
    network.publish_answer = error
    with pytest.raises(type(error)) as caught:
        await client.publish(ROOM, 1)
    assert caught.value is error


async def test_the_publisher_hears_its_message_where_the_provider_does_not_echo(
    client: RealtimeClient, network: Network
) -> None:  # P5
    network.echo = False
    heard: list[Inbound] = []
    client.subscribe(ROOM, heard.append)
    await connect(client)
    await client.publish(ROOM, "mine")
    await settle()
    assert heard == [Inbound("mine", None, own=True, user_id="ann")]


# -- focus -----------------------------------------------------------------------------------------------------------


async def test_focus_checks_the_connection_then_refetches(client: RealtimeClient, network: Network) -> None:  # G11
    ear = Ear()
    client.subscribe(ROOM, ear)
    await connect(client)
    client.lifecycle.focus()
    client.lifecycle.visible()
    await settle()
    assert ear.heard == [("live", None), "focus"]  # once
    assert network.link.pings == 1
    await asyncio.sleep(1)
    client.lifecycle.focus()
    await settle()
    assert ear.heard.count("focus") == 1
    await asyncio.sleep(5)
    client.lifecycle.focus()
    await settle()
    assert ear.heard.count("focus") == 2


async def test_focus_on_a_dead_connection_reconnects_soon(client: RealtimeClient, network: Network) -> None:  # C14
    await connect(client)
    network.half_open = True
    client.lifecycle.focus()
    await asyncio.sleep(4.1)
    assert client.store.state.status == "reconnecting"


async def test_focus_and_online_hurry_a_retry(client: RealtimeClient, network: Network) -> None:
    network.attempts.extend([ConnectionLostError("down")] * 6)
    client.connect()
    await asyncio.sleep(20)
    count = len(network.requests)
    client.lifecycle.online()
    await settle()
    assert len(network.requests) == count + 1


async def test_a_followed_source_is_left_on_close(client: RealtimeClient, network: Network) -> None:
    callbacks: list[Any] = []

    class Window:
        def subscribe(self, callback: Any, /) -> Any:
            callbacks.append(callback)
            return lambda: callbacks.remove(callback)

    stop = client.lifecycle.follow(Window())
    client.lifecycle.follow(Window())
    ear = Ear()
    client.subscribe(ROOM, ear)
    callbacks[0]("focus")
    await settle()
    assert ear.heard == ["focus"]
    stop()
    stop()
    assert len(callbacks) == 1
    await client.close()
    assert callbacks == []


# -- many histories --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(30))
async def test_any_order_of_calls_ends_in_one_connection_or_none(
    client: RealtimeClient, network: Network, seed: int
) -> None:  # C10, X4, X9
    source = random.Random(seed)
    network.close_takes = 0.3
    ear = Ear()
    client.subscribe(ROOM, ear)
    for _ in range(60):
        step = source.randrange(7)
        if step == 0:
            client.connect()
        elif step == 1:
            client.disconnect()
        elif step == 2 and network.links:
            network.link.drop()
        elif step == 3:
            network.attempts.append(source.choice([None, 0.5, ConnectionLostError("down"), AuthenticationError("no")]))
        elif step == 4:
            client.subscribe(OTHER, print).unsubscribe()
        else:
            await asyncio.sleep(source.choice([0.0, 0.1, 1.0, 10.0]))
        assert network.most_alive <= 1
    network.attempts.clear()
    await connect(client)
    assert network.alive == 1
    network.link.say("last")
    await settle()
    assert ear.heard[-1] == "last"
    assert ear.heard.count("last") == 1
