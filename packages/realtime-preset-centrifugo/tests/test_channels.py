"""One channel and one room of a link, with a stand-in for the SDK: what it says in which order, and what is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import centrifuge  # type: ignore[import-untyped]
import pytest

from realtime_preset_centrifugo._presence import Room
from realtime_preset_centrifugo._subscription import DataSubscription
from tanstack_db.testing import settle
from tanstack_realtime import ChannelDeniedError, Position, PresenceEntry, PublishError
from tanstack_realtime.testing import RecordingSink


@dataclass
class Sdk:
    """Stands in for the SDK's client. It does what it is told, and the test plays the server."""

    events: Any = None
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    log: list[str] = field(default_factory=list[str])
    said: list[Any] = field(default_factory=list[Any])
    members: dict[str, Any] = field(default_factory=dict[str, Any])
    asking: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.asking.set()

    def new_subscription(self, channel: str, events: object, **options: Any) -> Sdk:
        self.events, self.options = events, options
        self.log.append(f"new {channel}")
        return self

    def remove_subscription(self, _: Any) -> None:
        self.log.append("removed")

    async def subscribe(self) -> None:
        self.log.append("subscribe")

    async def unsubscribe(self) -> None:
        self.log.append("unsubscribe")
        await self.events.on_unsubscribed(SimpleNamespace(code=0, reason="unsubscribe called"))

    async def publish(self, _channel: str, data: Any) -> None:
        self.said.append(data)

    async def presence(self, _channel: str) -> Any:
        found = dict(self.members)
        await self.asking.wait()
        return SimpleNamespace(clients=found)

    async def connect(self) -> None: ...

    async def disconnect(self) -> None: ...

    async def rpc(self, _method: str, _data: Any) -> None: ...

    async def live(self, *, offset: int = 0, epoch: str = "e", was_recovering: bool = False, **flags: bool) -> None:
        """Say yes."""
        position = SimpleNamespace(offset=offset, epoch=epoch)
        await self.events.on_subscribed(
            SimpleNamespace(
                stream_position=position, was_recovering=was_recovering, recovered=flags.get("recovered", False)
            )
        )


def info(client: str, state: Any = None, user: str = "ann") -> Any:
    return SimpleNamespace(client=client, user=user, chan_info=None if state is None else {"s": state})


def message(data: Any, offset: int = 0, by: Any = None, **tags: str) -> Any:
    return SimpleNamespace(pub=SimpleNamespace(data=data, offset=offset, info=by, tags=tags))


def spawn(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    return asyncio.get_running_loop().create_task(work)


def ended(_: object) -> None:
    return None


# -- a channel ---------------------------------------------------------------------------------------------------------


async def subscribe(since: Position | None = None) -> tuple[DataSubscription, Sdk, RecordingSink]:
    sdk, sink = Sdk(), RecordingSink()
    client: Any = sdk
    subscription = DataSubscription(client, "a", sink, "me", spawn=spawn, ended=ended)
    await subscription.start(since)
    return subscription, sdk, sink


async def test_what_is_replayed_is_part_of_the_acknowledgement() -> None:
    subscription, sdk, sink = await subscribe(Position("e", 3))
    assert await sdk.options["get_state"]("rt:a") == centrifuge.StreamPosition(offset=3, epoch="e")
    await sdk.live(offset=3, was_recovering=True, recovered=True)
    await sdk.events.on_publication(message("missed", 4))
    await sdk.events.on_publication(message("missed too", 5))
    ack = await subscription.ack
    await sdk.events.on_publication(message("new", 6))

    assert (ack.recovered, ack.position, [each.data for each in ack.missed]) == (
        True,
        Position("e", 5),
        ["missed", "missed too"],
    )
    assert sink.data == ["new"]


async def test_whose_a_message_is() -> None:
    subscription, sdk, sink = await subscribe()
    await sdk.live()
    await subscription.ack
    for by, user in ((info("me"), None), (info("another", user="~"), None), (None, "bob"), (None, None)):
        await sdk.events.on_publication(message(1, 1, by, **({} if user is None else {"user": user})))

    found = [(each.own, each.user_id) for _, each in sink.messages]
    assert found == [(True, "ann"), (False, None), (None, "bob"), (None, None)]


async def test_a_resubscribe_of_the_sdk_that_recovers_is_no_news() -> None:
    subscription, sdk, sink = await subscribe()
    await sdk.live()
    await subscription.ack
    await sdk.live(was_recovering=True, recovered=True)
    assert sink.events == []
    await sdk.live(epoch="f", was_recovering=True)
    await sdk.events.on_publication(message(1, 1))

    assert sink.events == [("gap", "a")]
    assert [each.position for _, each in sink.messages] == [Position("f", 1)]


async def test_a_temporary_refusal_can_be_tried_again() -> None:
    subscription, sdk, _ = await subscribe()
    await sdk.events.on_error(SimpleNamespace(code=14, error=centrifuge.ReplyError(503, "not now", True)))
    with pytest.raises(ChannelDeniedError) as caught:
        await subscription.ack

    assert (caught.value.code, caught.value.reason, caught.value.retryable) == ("unavailable", "not now", True)


@pytest.mark.parametrize(("number", "code"), [(403, "denied"), (400, "bad_channel"), (107, "bad_channel")])
async def test_a_refusal_is_final(number: int, code: str) -> None:
    subscription, sdk, sink = await subscribe()
    await sdk.events.on_unsubscribed(SimpleNamespace(code=number, reason="no"))
    with pytest.raises(ChannelDeniedError) as caught:
        await subscription.ack

    assert (caught.value.code, caught.value.reason, caught.value.retryable) == (code, "no", False)
    assert sink.events == []


async def test_the_end_of_a_live_channel_is_told_once() -> None:
    subscription, sdk, sink = await subscribe()
    await sdk.live()
    await subscription.ack
    await sdk.events.on_unsubscribed(SimpleNamespace(code=2000, reason="server unsubscribe"))
    await sdk.events.on_unsubscribed(SimpleNamespace(code=2000, reason="server unsubscribe"))
    await sdk.events.on_publication(message("late"))

    assert (sink.events, sink.data) == ([("revoked", "a")], [])


# -- a room ------------------------------------------------------------------------------------------------------------


class Seen:
    """Hears of a room."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def snapshot(self, entries: Sequence[PresenceEntry], /) -> None:
        self.told.append(("all", {entry.connection_id: (dict(entry.state), entry.clock) for entry in entries}))

    def changed(self, entries: Sequence[PresenceEntry], left: Sequence[str], /) -> None:
        changed = {entry.connection_id: (dict(entry.state), entry.clock) for entry in entries}
        self.told.append(("changed", changed, list(left)))

    def revoked(self, code: str, _reason: str, /) -> None:
        self.told.append(("revoked", code))


@dataclass
class InRoom:
    """A room, and who plays its server."""

    sdk: Sdk = field(default_factory=Sdk)
    seen: Seen = field(default_factory=Seen)
    tasks: list[asyncio.Task[None]] = field(default_factory=list[asyncio.Task[None]])

    def __post_init__(self) -> None:
        client: Any = self.sdk

        async def request(_what: str, _channel: str, command: Coroutine[Any, Any, Any]) -> Any:
            return await command

        self.room = Room(client, "a", self.seen, request=request, spawn=self.spawn, ended=ended)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        self.tasks.append(spawn(work))
        return self.tasks[-1]

    async def enter(self, state: Mapping[str, Any] | None = None, during: Callable[[], Any] | None = None) -> None:
        """Enter, with the list of members under way while `during` happens."""
        entering = asyncio.get_running_loop().create_task(self.room.enter(state))
        await settle()
        self.sdk.asking.clear()
        await self.sdk.live()
        await settle()
        if during is not None:
            await during()
        self.sdk.asking.set()
        await entering
        await settle()

    async def leave(self) -> None:
        await self.room.stop()
        await asyncio.wait(self.tasks)


async def test_what_happens_while_the_members_are_asked_for_counts() -> None:
    room = InRoom()
    room.sdk.members = {"stays": info("stays", {"x": 1}), "goes": info("goes", {"x": 2}), "watcher": info("watcher")}

    async def during() -> None:
        await room.sdk.events.on_leave(SimpleNamespace(info=info("goes")))
        await room.sdk.events.on_join(SimpleNamespace(info=info("comes", {"x": 3})))
        await room.sdk.events.on_publication(message({"k": "s", "n": 7, "s": {"x": 30}}, by=info("comes")))

    await room.enter({"me": 1}, during)
    await room.leave()

    assert room.seen.told == [
        ("all", {"stays": ({"x": 1}, 0), "comes": ({"x": 3}, 0)}),
        ("changed", {"comes": ({"x": 30}, 7)}, []),
    ]


@pytest.mark.parametrize(
    "data",
    [
        None,
        1,
        [],
        {},
        {"k": "s"},
        {"k": "s", "n": 0, "s": {}},
        {"k": "s", "n": "1", "s": {}},
        {"k": "s", "n": 1, "s": 5},
    ],
)
async def test_nonsense_in_a_room_is_not_told(data: Any) -> None:
    room = InRoom()
    room.sdk.members = {"ann": info("ann", {"x": 1})}
    await room.enter()
    told = list(room.seen.told)
    await room.sdk.events.on_publication(message(data, by=info("ann")))
    await room.sdk.events.on_publication(message({"k": "s", "n": 1, "s": {"x": 1}}))  # from a server: nobody's
    await room.leave()

    assert room.seen.told == told


async def test_a_state_is_said_again_after_the_sdk_has_subscribed_again() -> None:
    room = InRoom()
    await room.enter({"x": 0})
    await room.room.update({"x": 1}, 1)
    await room.sdk.live()
    await settle()
    await room.leave()

    assert room.sdk.said == [{"k": "s", "n": 1, "s": {"x": 1}}] * 2


async def test_many_questions_get_few_answers() -> None:
    room = InRoom()
    await room.enter({"x": 0})
    await room.sdk.events.on_publication(message({"k": "?"}))
    await asyncio.sleep(0.5)
    assert room.sdk.said == []  # what it said when it joined, everybody knows
    await room.room.update({"x": 1}, 1)
    for _ in range(20):
        await room.sdk.events.on_publication(message({"k": "?"}))
        await asyncio.sleep(0.05)
    await asyncio.sleep(5)
    await room.leave()

    assert 2 <= len(room.sdk.said) <= 4


async def test_a_watcher_asks_and_says_nothing() -> None:
    room = InRoom()
    await room.enter(None)
    with pytest.raises(PublishError) as caught:
        await room.room.update({"x": 1}, 1)
    await room.leave()

    assert caught.value.code == "not_joined"
    assert room.sdk.options["data"] is None
    assert room.sdk.said == [{"k": "?"}]


async def test_the_members_are_asked_for_now_and_then() -> None:
    room = InRoom()
    await room.enter({"x": 0})
    room.sdk.members = {"ghost": info("ghost", {"x": 9})}
    await asyncio.sleep(37)
    await room.leave()

    assert room.seen.told[-1] == ("all", {"ghost": ({"x": 9}, 0)})


async def test_a_room_that_the_server_ends_is_told_once() -> None:
    room = InRoom()
    await room.enter({"x": 0})
    for _ in range(2):
        await room.sdk.events.on_unsubscribed(SimpleNamespace(code=2000, reason="server unsubscribe"))
    await asyncio.wait(room.tasks)

    assert room.seen.told[1:] == [("revoked", "denied")]


async def test_a_state_that_is_too_large_is_not_sent() -> None:
    room = InRoom()
    with pytest.raises(PublishError, match="2048"):
        await room.room.enter({"x": "y" * 2048})

    assert room.sdk.log == []
