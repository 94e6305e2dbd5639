"""A link with an SDK that is driven by hand: what the real one cannot be made to show, or only in minutes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from realtime_preset_ably import _link
from realtime_preset_ably._grant import MAX_CHANNELS, Denial, Grant
from realtime_preset_ably._link import AblyLink
from realtime_preset_ably._names import mark_of
from realtime_preset_ably._sdk_channel import ChannelChange, Member, Received, SdkError
from realtime_preset_ably._timing import AblyTiming
from tanstack_realtime import (
    JSON,
    AuthenticationError,
    ChannelDeniedError,
    CloseReason,
    ConnectionLostError,
    PresenceEntry,
    PublishError,
    RealtimeError,
)
from tanstack_realtime.testing import RecordingSink

NOTHING = SdkError(0, 0, "")
ALL = frozenset({"subscribe", "presence"})


@dataclass
class Application:
    """Grants everything but `denied`, and notes what it was asked."""

    denied: dict[str, Denial] = field(default_factory=dict[str, Denial])
    operations: frozenset[str] = ALL
    expires_in: float = 900.0
    failure: RealtimeError | None = None
    thinks: float = 0.02
    asked: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])
    published: list[tuple[str, JSON, str]] = field(default_factory=list[tuple[str, JSON, str]])

    async def grant(self, channels: Sequence[str], /) -> Grant:
        self.asked.append(tuple(channels))
        await asyncio.sleep(self.thinks)
        if self.failure is not None:
            raise self.failure
        return Grant(
            token_request={},
            user_id="ann",
            client_id="ann",
            endpoint=None,
            tls=True,
            expires_in=self.expires_in,
            granted={channel: self.operations for channel in channels if channel not in self.denied},
            denied={channel: self.denied[channel] for channel in channels if channel in self.denied},
        )

    async def publish(self, channel: str, data: JSON, link: str, /) -> None:
        self.published.append((channel, data, link))
        await asyncio.sleep(0.02)


class FakeChannel:
    """A channel at Ably."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self.log = log
        self.serial = ""
        self.began_at = ""
        self.resumes = True
        self.refuses: SdkError | None = None
        self.holds: asyncio.Event | None = None
        self.replay: list[Received] = []
        self.crowd: list[Member] = []
        self.changed: Callable[[ChannelChange], None] | None = None
        self.heard: Callable[[Received], None] | None = None
        self.met: Callable[[Member], None] | None = None

    def begin_at(self, serial: str) -> None:
        self.began_at = serial

    def watch(self, changed: Callable[[ChannelChange], None]) -> None:
        self.changed = changed

    def change(self, state: str, *, resumed: bool = False, error: SdkError = NOTHING) -> None:
        if self.changed is not None:
            self.changed(ChannelChange(state, resumed, error))

    def message(self, data: Any, serial: str, *, client_id: str | None = None, mark: str | None = None) -> None:
        self.serial = serial
        if self.heard is not None:
            self.heard(Received(data, client_id, mark, serial))

    async def subscribe(self, heard: Callable[[Received], None]) -> None:
        self.heard = heard
        await self._attach()

    async def observe(self, heard: Callable[[Member], None]) -> None:
        self.met = heard
        await self._attach()

    async def _attach(self) -> None:
        self.log.append(f"attach {self.name}")
        await asyncio.sleep(0.01)
        if self.refuses is not None:
            self.change("failed", error=self.refuses)
            raise self.refuses
        self.serial = self.began_at or "s0"
        self.change("attached", resumed=bool(self.began_at) and self.resumes)
        for received in self.replay:  # before a ping that follows is answered
            asyncio.get_running_loop().call_later(0.005, self.message, received.data, received.serial)

    async def members(self) -> list[Member]:
        return list(self.crowd)

    async def enter(self, data: Mapping[str, Any]) -> None:
        await self._say("enter", data)

    async def update(self, data: Mapping[str, Any]) -> None:
        await self._say("update", data)

    async def leave(self) -> None:
        await self._say("leave", {})

    async def _say(self, what: str, data: Mapping[str, Any]) -> None:
        self.log.append(f"{what} {self.name} {dict(data)}")
        if self.holds is not None:
            await self.holds.wait()

    def silence(self) -> None:
        self.heard = self.met = None

    async def detach(self) -> None:
        self.log.append(f"detach {self.name}")
        await asyncio.sleep(0.01)
        self.forget()

    def forget(self) -> None:
        self.silence()
        self.changed = None
        self.log.append(f"forget {self.name}")


class FakeConnection:
    """A connection to Ably, in place of the SDK's."""

    def __init__(
        self,
        host: str,
        *,
        tls: bool,
        token: Mapping[str, Any],
        renew: Callable[[], Awaitable[Mapping[str, Any]]],
        changed: Callable[[str, SdkError], None],
        timing: AblyTiming,
    ) -> None:
        self.connection_id = ""
        self.renew = renew
        self.changed = changed
        self.tokens = [token]
        self.log: list[str] = []
        self.channels: dict[str, FakeChannel] = {}
        self.frozen: SdkError | None = None
        self.mute = False
        self.takes = 0.01

    def connect(self) -> None:
        self.connection_id = "c1"
        self.changed("connecting", NOTHING)
        asyncio.get_running_loop().call_soon(self.changed, "connected", NOTHING)

    async def authorize(self) -> None:
        takes = self.takes
        token = await self.renew()
        if self.mute:
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(takes)
        self.tokens.append(token)
        self.changed("update", NOTHING)

    async def ping(self) -> None:
        if self.frozen is not None:
            raise self.frozen
        await asyncio.sleep(0.01)

    def channel(self, name: str) -> FakeChannel:
        return self.channels.setdefault(name, FakeChannel(name, self.log))

    async def close(self, *, farewell: bool) -> None:
        self.log.append(f"close farewell={farewell}")


class Room:
    """Hears of members."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []

    def snapshot(self, entries: Sequence[PresenceEntry], /) -> None:
        self.told.append(("snapshot", [(entry.connection_id, entry.user_id, entry.state) for entry in entries]))

    def changed(self, entries: Sequence[PresenceEntry], left: Sequence[str], /) -> None:
        self.told.append(("changed", ([(entry.connection_id, entry.state) for entry in entries], list(left))))

    def revoked(self, code: str, reason: str, /) -> None:
        self.told.append(("revoked", (code, reason)))


class Sink(RecordingSink):
    """Notes why a channel was revoked, too."""

    def __init__(self) -> None:
        super().__init__()
        self.revocations: list[tuple[str, str, str]] = []

    def revoked(self, channel: str, code: str, reason: str, /) -> None:
        self.revocations.append((channel, code, reason))

    def of(self, channel: str) -> list[Any]:
        """Return what came on a channel."""
        return [message.data for name, message in self.messages if name == channel]


@dataclass
class Setting:
    """A link that is connected, and both of its sides."""

    link: AblyLink
    sink: Sink
    sdk: FakeConnection
    application: Application


@pytest.fixture
async def at(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Setting]:
    """A connected link."""
    made: list[FakeConnection] = []

    def new_connection(host: str, **arguments: Any) -> FakeConnection:
        made.append(FakeConnection(host, **arguments))
        return made[-1]

    monkeypatch.setattr(_link, "SdkConnection", new_connection)
    application, sink = Application(), Sink()

    async def exchange(grant: Grant) -> Mapping[str, Any]:
        return {"token": f"for {sorted(grant.granted)}"}

    link = AblyLink(
        sink,
        application=application,
        grant=await application.grant(()),
        asked=(),
        host="ably",
        token={"token": "for []"},
        exchange=exchange,
        timing=AblyTiming(),
    )
    await link.connect()
    yield Setting(link, sink, made[0], application)
    await link.close()


# -- tokens -----------------------------------------------------------------------------------------------------------


async def test_ten_subscribes_share_a_token(at: Setting) -> None:  # ABLY-8.9
    channels = [f"c{number}" for number in range(10)]
    await asyncio.gather(*(at.link.subscribe(channel, since=None) for channel in channels))
    assert at.application.asked == [(), tuple(channels)]


async def test_a_channel_that_the_token_holds_needs_no_other(at: Setting) -> None:
    await at.link.subscribe("a", since=None)
    await at.link.observe_presence("a", Room())
    assert at.application.asked == [(), ("a",)]


async def test_the_next_token_is_without_what_was_unsubscribed(at: Setting) -> None:  # ABLY-8.25
    await at.link.subscribe("a", since=None)
    await at.link.unsubscribe("a")
    await at.link.subscribe("b", since=None)
    assert at.application.asked[-1] == ("b",)


async def test_a_denied_channel_is_not_even_attached(at: Setting) -> None:  # ABLY-8.11
    at.application.denied["no"] = Denial("denied", "not a member", retryable=False)
    with pytest.raises(ChannelDeniedError, match="not a member") as caught:
        await at.link.subscribe("no", since=None)
    assert (caught.value.channel, caught.value.code, caught.value.retryable) == ("no", "denied", False)
    assert at.sdk.channels == {}
    await at.link.subscribe("a", since=None)
    assert at.application.asked[-1] == ("a",)


async def test_an_undecided_channel_can_be_asked_for_again(at: Setting) -> None:
    at.application.denied["a"] = Denial("unavailable", "the database is away", retryable=True)
    with pytest.raises(ChannelDeniedError) as caught:
        await at.link.subscribe("a", since=None)
    assert caught.value.retryable
    at.application.denied.clear()
    await at.link.subscribe("a", since=None)


async def test_a_channel_refused_by_ably_leaves_no_listener(at: Setting) -> None:  # ABLY-8.11
    channel = at.sdk.channel("a")
    channel.refuses = SdkError(40160, 401, "no")
    with pytest.raises(ChannelDeniedError):
        await at.link.subscribe("a", since=None)
    assert (channel.heard, channel.changed) == (None, None)


async def test_a_narrower_token_ends_that_channel_and_no_other(at: Setting) -> None:  # ABLY-8.12
    room = Room()
    await at.link.subscribe("a", since=None)
    await at.link.subscribe("b", since=None)
    await at.link.join_presence("b", {}, room)
    at.application.denied["b"] = Denial("denied", "removed", retryable=False)
    await at.sdk.authorize()
    assert at.sink.revocations == [("b", "denied", "removed")]
    assert room.told[-1] == ("revoked", ("denied", "removed"))
    at.sdk.channel("b").change("failed", error=SdkError(40160, 401, "no"))
    at.sdk.channel("b").message("secret", "s1")
    at.sdk.channel("a").message(1, "s1")
    assert at.sink.of("a") == [1]
    assert at.sink.of("b") == []
    assert len(at.sink.revocations) == 1
    await at.sdk.authorize()
    assert at.application.asked[-1] == ("a",)


async def test_a_renewal_that_decides_nothing_takes_nothing_away(at: Setting) -> None:  # S17
    await at.link.subscribe("a", since=None)
    await at.link.subscribe("b", since=None)
    at.application.denied["a"] = Denial("unavailable", "the database is away", retryable=True)
    with pytest.raises(ConnectionLostError, match=r"'a'.*the database is away"):
        await at.sdk.authorize()
    for number in range(12):  # however often somebody opens another channel meanwhile
        with pytest.raises(ConnectionLostError):
            await at.link.subscribe(f"c{number}", since=None)
    assert (at.sink.revocations, at.sdk.tokens[-1]) == ([], {"token": "for ['a', 'b']"})

    at.application.denied.clear()
    await asyncio.sleep(35)
    asked = len(at.application.asked)
    await asyncio.sleep(600)
    assert (at.sink.revocations, len(at.application.asked)) == ([], asked)


async def test_what_is_never_decided_is_lost_at_last_and_no_other(at: Setting) -> None:  # S17
    await at.link.subscribe("a", since=None)
    await at.link.subscribe("b", since=None)
    at.application.denied["a"] = Denial("unavailable", "the database is away", retryable=True)
    with pytest.raises(ConnectionLostError):
        await at.sdk.authorize()
    await asyncio.sleep(400)
    assert at.sink.revocations == [("a", "unavailable", "the database is away")]
    assert at.sdk.tokens[-1] == {"token": "for ['b']"}


async def test_a_grant_that_ends_is_asked_for_again(at: Setting) -> None:
    at.application.expires_in = 100.0
    await at.link.subscribe("a", since=None)
    await asyncio.sleep(91)
    assert at.application.asked == [(), ("a",), ("a",)]


async def test_an_application_that_is_away_is_asked_again_ever_more_rarely(at: Setting) -> None:  # ABLY-8.22
    await at.link.subscribe("a", since=None)
    at.application.failure = ConnectionLostError("503", retryable=True)
    with pytest.raises(ConnectionLostError):
        await at.sdk.authorize()
    asked = len(at.application.asked)
    await asyncio.sleep(20)
    assert 3 <= len(at.application.asked) - asked <= 5
    at.application.failure = None
    await asyncio.sleep(35)
    asked = len(at.application.asked)
    await asyncio.sleep(600)
    assert len(at.application.asked) == asked, "it has a token for a quarter of an hour"
    assert at.sink.ends == []


async def test_an_application_that_does_not_know_us_ends_it(at: Setting) -> None:  # ABLY-8.22
    at.application.failure = AuthenticationError("401", reason="signed out")
    with pytest.raises(AuthenticationError):
        await at.sdk.authorize()
    assert at.sink.ends == [CloseReason(4401, "signed out", retry=False)]


@pytest.mark.parametrize("slow", ["Ably", "the application"])
async def test_tokens_are_taken_in_the_order_in_which_they_were_asked_for(at: Setting, slow: str) -> None:
    """Ably prompts for a token while a channel is added: the one without the channel does not come last."""
    at.sdk.takes, at.application.thinks = (1.0, 0.0) if slow == "Ably" else (0.0, 1.0)
    prompted = asyncio.ensure_future(at.sdk.authorize())
    await asyncio.sleep(0.01)
    at.sdk.takes = at.application.thinks = 0.0
    await at.link.subscribe("a", since=None)
    await prompted
    assert at.application.asked == [(), (), ("a",)]
    assert [token["token"] for token in at.sdk.tokens] == ["for []", "for []", "for ['a']"]


async def test_ably_has_to_take_a_token(at: Setting) -> None:
    at.sdk.mute = True
    with pytest.raises(ConnectionLostError, match="did not take"):
        await at.link.subscribe("a", since=None)
    at.sdk.mute = False
    await at.link.subscribe("a", since=None)


async def test_there_is_a_most_of_channels(at: Setting) -> None:
    channels = [f"c{number:03}" for number in range(MAX_CHANNELS)]
    await asyncio.gather(*(at.link.subscribe(channel, since=None) for channel in channels))
    with pytest.raises(ChannelDeniedError, match="at most") as caught:
        await at.link.subscribe("more", since=None)
    assert caught.value.code == "too_many_channels"
    await at.link.unsubscribe(channels[0])
    await at.link.subscribe("more", since=None)


# -- messages ---------------------------------------------------------------------------------------------------------


async def test_what_was_missed_is_in_the_acknowledgement(at: Setting) -> None:  # ABLY-8.20
    await at.link.subscribe("a", since=None)
    at.sdk.channel("a").message("seen", "s1")
    position = at.sink.messages[-1][1].position
    await at.link.unsubscribe("a")
    at.sdk.channel("a").replay = [Received(n, None, None, f"s{n}") for n in (2, 3)]
    ack = await at.link.subscribe("a", since=position)
    assert at.sdk.channel("a").began_at == "s1"
    assert (ack.recovered, [message.data for message in ack.missed]) == (True, [2, 3])
    assert ack.position is not None
    assert ack.position.offset == 3
    at.sdk.channel("a").message(4, "s4")
    assert at.sink.of("a") == ["seen", 4]


async def test_what_cannot_be_replayed_is_lost(at: Setting) -> None:  # ABLY-8.20
    await at.link.subscribe("a", since=None)
    at.sdk.channel("a").message("seen", "s1")
    position = at.sink.messages[-1][1].position
    await at.link.unsubscribe("a")
    at.sdk.channel("a").resumes = False
    ack = await at.link.subscribe("a", since=position)
    assert (ack.recovered, ack.missed) == (False, ())
    assert ack.position is not None
    assert position is not None
    assert ack.position.epoch != position.epoch


async def test_a_channel_that_is_attached_again_is_no_news(at: Setting) -> None:  # ABLY-8.10
    await at.link.subscribe("a", since=None)
    channel = at.sdk.channel("a")
    channel.message(1, "s1")
    channel.change("attaching")
    channel.change("attached", resumed=True)
    channel.message(2, "s2")
    assert (at.sink.of("a"), at.sink.events, at.sink.ends) == ([1, 2], [], [])


async def test_a_channel_that_has_missed_something_says_so_once(at: Setting) -> None:
    await at.link.subscribe("a", since=None)
    at.sdk.channel("a").change("attaching")
    at.sdk.channel("a").change("attached", resumed=False)
    assert at.sink.events == [("gap", "a")]


async def test_a_channel_that_ably_ends_is_revoked(at: Setting) -> None:
    await at.link.subscribe("a", since=None)
    at.sdk.channel("a").change("failed", error=SdkError(40160, 401, "no"))
    at.sdk.channel("a").message("secret", "s1")
    assert at.sink.revocations == [("a", "denied", "no")]
    assert at.sink.messages == []


@pytest.mark.parametrize(
    ("client_id", "mark", "own", "user_id"),
    [
        ("ann", mark_of("another"), False, "ann"),
        ("bob", "c1", False, "bob"),
        ("ann", None, None, "ann"),
        (None, None, None, None),
        ("~", "c1", False, None),
    ],
)
async def test_whose_message_it_is(  # ABLY-8.18
    at: Setting, client_id: str | None, mark: str | None, own: bool | None, user_id: str | None
) -> None:
    await at.link.subscribe("a", since=None)
    at.sdk.channel("a").message(1, "s1", client_id=client_id, mark=mark)
    [(_, message)] = at.sink.messages
    assert (message.own, message.user_id) == (own, user_id)


async def test_nobody_who_hears_a_message_can_make_one_that_looks_like_it(at: Setting) -> None:
    """Members know each other's connections, and all who hear a message its mark; users without a name share one."""
    await at.link.subscribe("a", since=None)
    await at.link.publish("a", 0)
    [(_, _, link)] = at.application.published
    for number, told in enumerate(
        (link, at.link.connection_id, mark_of(link)), 1
    ):  # to the application, by a publisher
        at.sdk.channel("a").message(number, f"s{number}", client_id="ann", mark=mark_of(told))
    assert [message.own for _, message in at.sink.messages] == [True, False, False]


async def test_publishes_are_made_one_after_the_other(at: Setting) -> None:  # ABLY-8.19
    began = asyncio.get_running_loop().time()
    await asyncio.gather(*(at.link.publish("a", number) for number in range(5)))
    assert [data for _, data, _ in at.application.published] == list(range(5))
    assert asyncio.get_running_loop().time() - began >= 0.1


async def test_a_publish_does_not_wait_for_another_channel(at: Setting) -> None:
    began = asyncio.get_running_loop().time()
    await asyncio.gather(*(at.link.publish(f"c{number}", number) for number in range(5)))
    assert asyncio.get_running_loop().time() - began < 0.05


async def test_an_attach_waits_for_a_detach(at: Setting) -> None:
    await at.link.subscribe("a", since=None)
    await asyncio.gather(at.link.unsubscribe("a"), at.link.subscribe("a", since=None))
    assert at.sdk.log == ["attach a", "detach a", "forget a", "attach a"]


# -- presence ---------------------------------------------------------------------------------------------------------


async def test_members_are_told(at: Setting) -> None:  # ABLY-8.24
    room, channel = Room(), at.sdk.channel("a:presence")
    channel.crowd = [Member("c1", "ann", {"x": 1}, False), Member("c2", "~", {"x": 2}, False)]
    await at.link.observe_presence("a", room)
    assert room.told == [("snapshot", [("c1", "ann", {"x": 1}), ("c2", None, {"x": 2})])]
    assert channel.met is not None
    channel.met(Member("c2", "~", {"x": 3}, False))
    channel.met(Member("c3", "bob", "no state", False))
    channel.met(Member("c3", "bob", "no state", True))
    channel.met(Member("c2", "~", {}, True))
    assert room.told[1:] == [("changed", ([("c2", {"x": 3})], [])), ("changed", ([], ["c2"]))]


async def test_clients_of_one_connection_are_several_members(at: Setting) -> None:
    room, channel = Room(), at.sdk.channel("a:presence")
    channel.crowd = [Member("c2", "robot", {}, False), Member("c2", "other", {}, False)]
    await at.link.observe_presence("a", room)
    assert channel.met is not None
    channel.met(Member("c2", "robot", {}, True))
    channel.met(Member("c2", "other", {}, True))
    assert room.told == [
        ("snapshot", [("c2", "robot", {}), ("c2:other", "other", {})]),
        ("changed", ([], ["c2"])),
        ("changed", ([], ["c2:other"])),
    ]


async def test_a_member_says_its_state_and_leaves(at: Setting) -> None:
    room = Room()
    await at.link.observe_presence("a", room)
    await at.link.join_presence("a", {"x": 1}, room)
    await at.link.update_presence("a", {"x": 2}, 1)
    await at.link.leave_presence("a")
    with pytest.raises(PublishError) as caught:
        await at.link.update_presence("a", {"x": 3}, 2)
    assert caught.value.code == "not_joined"
    await at.link.unobserve_presence("a")
    name = "a:presence"
    assert at.sdk.log == [
        f"attach {name}",
        f"enter {name} {{'x': 1}}",
        f"update {name} {{'x': 2}}",
        f"leave {name} {{}}",
        f"detach {name}",
        f"forget {name}",
    ]


async def test_a_state_that_is_too_large_changes_nothing(at: Setting) -> None:
    with pytest.raises(PublishError) as caught:
        await at.link.join_presence("a", {"x": "x" * 20_000}, Room())
    assert caught.value.code == "too_large"
    assert at.sdk.channels == {}


async def test_ably_has_to_answer_a_member(at: Setting) -> None:
    await at.link.join_presence("a", {}, Room())
    at.sdk.channel("a:presence").holds = asyncio.Event()
    with pytest.raises(ConnectionLostError, match="did not answer"):
        await at.link.update_presence("a", {"x": 1}, 1)


async def test_presence_that_is_not_granted_is_denied_though_messages_are(at: Setting) -> None:
    at.application.operations = frozenset({"subscribe"})
    await at.link.subscribe("a", since=None)
    with pytest.raises(ChannelDeniedError, match="presence"):
        await at.link.join_presence("a", {}, Room())


# -- the connection ---------------------------------------------------------------------------------------------------


async def test_a_connection_that_has_frozen_ends_with_the_ping(at: Setting) -> None:  # ABLY-8.23
    at.sdk.frozen = SdkError(50003, 504, "Timeout waiting for ping response")
    with pytest.raises(ConnectionLostError):
        await at.link.ping()
    assert at.sink.ends == [CloseReason(50003, "Timeout waiting for ping response", retry=True)]


@pytest.mark.parametrize("state", ["disconnected", "suspended", "failed"])
async def test_a_lost_connection_is_told_once_and_ends_what_waits(at: Setting, state: str) -> None:  # ABLY-8.23
    room, hold = Room(), asyncio.Event()
    await at.link.join_presence("a", {}, room)
    at.sdk.channel("a:presence").holds = hold
    waiting = asyncio.ensure_future(at.link.update_presence("a", {"x": 1}, 1))
    await asyncio.sleep(0)
    at.sdk.changed(state, SdkError(80003, 400, "lost"))
    at.sdk.changed("failed", SdkError(80000, 400, "again"))
    with pytest.raises(ConnectionLostError):
        await waiting
    for request in (at.link.subscribe("b", since=None), at.link.publish("b", 1), at.link.ping()):
        with pytest.raises(ConnectionLostError):
            await request
    assert at.sdk.channel("a:presence").met is None
    await at.link.unsubscribe("b")
    await at.link.unobserve_presence("a")
    assert at.sink.ends == [CloseReason(80003, "lost", retry=True)]
    await at.link.close()
    assert at.sdk.log[-1] == "close farewell=False"


async def test_what_a_lost_connection_leaves_open_is_known(at: Setting) -> None:
    await at.link.subscribe("a", since=None)
    await at.link.observe_presence("b", Room())
    await at.link.subscribe("c", since=None)
    await at.link.unsubscribe("c")
    at.sdk.changed("disconnected", SdkError(80003, 400, "lost"))
    await at.link.close()
    assert at.link.left_open == ("a", "b")


async def test_what_a_closed_connection_had_is_not(at: Setting) -> None:
    await at.link.subscribe("a", since=None)
    await at.link.close()
    assert at.link.left_open == ()


async def test_access_that_is_revoked_is_not_tried_again(at: Setting) -> None:
    at.sdk.changed("disconnected", SdkError(40141, 401, "Token revoked"))
    assert [reason.retry for reason in at.sink.ends] == [False]


async def test_a_closed_link_says_farewell_and_is_silent(at: Setting) -> None:  # ABLY-8.25
    await at.link.subscribe("a", since=None)
    await asyncio.gather(at.link.close(), at.link.close())
    await at.link.close()
    at.sdk.changed("closed", NOTHING)
    at.sdk.channel("a").message(1, "s1")
    assert (at.sink.messages, at.sink.ends) == ([], [])
    assert at.sdk.log[1:] == ["close farewell=True"]


async def test_nothing_is_renewed_after_the_end(at: Setting) -> None:
    await at.link.close()
    with pytest.raises(ConnectionLostError):
        await at.sdk.renew()
    await asyncio.sleep(2000)
    assert at.application.asked == [()]
