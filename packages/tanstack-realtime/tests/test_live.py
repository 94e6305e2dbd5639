"""Live channels from the outside: clients, a provider that loses what nobody hears, a database; virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tanstack_db import DbClient, create_collection, live_query
from tanstack_db.testing import settle
from tanstack_realtime import (
    JSON,
    Capabilities,
    ChannelDeniedError,
    CloseReason,
    ConfigurationError,
    Inbound,
    LinkSink,
    LiveEvent,
    LiveGap,
    MessageError,
    NotConnectedError,
    OpenRequest,
    Position,
    Remove,
    SubscribeAck,
    create_realtime_client,
    live_channel_options,
)


@dataclass(frozen=True)
class Message:
    id: str
    room_id: str
    text: str
    author: str | None = None


ROOM = "chat:room_id=1"


class Provider:
    """Carries messages; what is published while a link is away is lost, and it says so."""

    capabilities = Capabilities(
        recovery=False,
        history=0,
        ordering=True,
        echo=True,
        publish_over_link=True,
        native_presence=False,
        max_message_bytes=65536,
        revocation_delay=0.0,
    )

    def __init__(self) -> None:
        self.links: list[Link] = []
        self.denied: set[str] = set()
        self.refusal: Exception | None = None
        self.subscribes_take = 0.01
        self.mute = False
        """Whether what is published is accepted and not delivered."""

    def transport(self, user_id: str) -> Transport:
        return Transport(self, user_id)

    def to(self, data: Any, channel: str = ROOM, *, sender: Link | None = None) -> None:
        for link in self.links:
            if channel in link.channels:
                user_id = None if sender is None else sender.user_id
                link.sink.message(channel, Inbound(data, own=link is sender, user_id=user_id))

    def drop(self) -> None:
        links, self.links = self.links, []
        for link in links:
            link.sink.closed(CloseReason(1006, "gone"))


class Transport:
    def __init__(self, provider: Provider, user_id: str) -> None:
        self.provider = provider
        self.user_id = user_id
        self.capabilities = provider.capabilities

    async def open(self, request: OpenRequest, sink: LinkSink, /) -> Link:
        await asyncio.sleep(0.01)
        link = Link(self.provider, sink, self.user_id)
        self.provider.links.append(link)
        return link


class Link:
    connection_id = "c"

    def __init__(self, provider: Provider, sink: LinkSink, user_id: str) -> None:
        self.provider = provider
        self.sink = sink
        self.user_id = user_id
        self.channels: set[str] = set()

    async def subscribe(self, channel: str, /, *, since: Position | None) -> SubscribeAck:
        await asyncio.sleep(self.provider.subscribes_take)
        if channel in self.provider.denied:
            raise ChannelDeniedError("not a member", channel=channel)
        self.channels.add(channel)
        return SubscribeAck(recovered=None if since is None else False)

    async def unsubscribe(self, channel: str, /) -> None:
        self.channels.discard(channel)

    async def publish(self, channel: str, data: JSON, /) -> None:
        await asyncio.sleep(0.01)
        if self.provider.refusal is not None:
            raise self.provider.refusal
        if not self.provider.mute:
            self.provider.to(data, channel, sender=self)

    async def ping(self) -> None:
        await asyncio.sleep(0.01)

    async def close(self) -> None:
        if self in self.provider.links:
            self.provider.links.remove(self)


class World:
    """The server, and one chat as it is declared once."""

    def __init__(self, *, history: bool = True, max_items: int = 1000, to_event: bool = False) -> None:
        self.provider = Provider()
        self.table: list[Message] = []
        self.reads = 0
        self.read_takes = 0.1
        self.failure: Exception | None = None
        self.pages: list[str] = []
        self.gaps: list[LiveGap] = []
        self.chat = create_collection(
            live_channel_options(
                id="chat",
                schema=Message,
                get_key=key_of,
                channel=channel_of,
                initial_data=self.newest if history else None,
                older=self.before if history else None,
                on_event=on_event,
                on_gap=self.gaps.append,
                to_event=event_of if to_event else None,
                max_items=max_items,
            )
        )

    async def newest(self, room_id: str) -> list[Message]:
        self.reads += 1
        found = [message for message in self.table if message.room_id == room_id][-3:]
        await asyncio.sleep(self.read_takes)
        if self.failure is not None:
            raise self.failure
        return found

    async def before(self, oldest: Message, room_id: str) -> list[Message]:
        self.pages.append(oldest.id)
        found = [message for message in self.table if message.room_id == room_id and message.id <= oldest.id][-3:]
        await asyncio.sleep(self.read_takes)
        return found

    def saved(self, *ids: str) -> None:
        self.table += [Message(key, "1", f"text of {key}") for key in ids]


def on_event(event: LiveEvent) -> Message | Mapping[str, Any] | Remove | None:
    match event["type"]:
        case "message":
            return {**event, "author": event.user_id}
        case "removed":
            return Remove(event["id"])
        case "broken":
            raise ValueError("cannot read this")
        case _:
            return None


def event_of(message: Message) -> Mapping[str, Any]:
    return {"type": "message", "id": message.id, "text": message.text}


def say(key: str, text: str = "") -> dict[str, str]:
    return {"type": "message", "id": key, "text": text or f"text of {key}"}


class Screen:
    """One user, who looks at room 1."""

    def __init__(self, world: World, user_id: str) -> None:
        self.errors: list[Exception] = []
        self.db = DbClient(on_error=self.errors.append)
        self.client = create_realtime_client(
            transport=world.provider.transport(user_id), db=self.db, on_error=self.errors.append
        )
        self.chat = self.db.collection(world.chat)
        self.pictures: list[list[str]] = []
        self.query = live_query(
            lambda q: q.from_(self.chat).where(lambda m: m.room_id == "1").order_by(lambda m: m.id), client=self.db
        )
        self.stop: Callable[[], None] = self.query.subscribe(self._changed)

    def _changed(self) -> None:
        self.pictures.append(self.ids)

    @property
    def ids(self) -> list[str]:
        return [row.id for row in self.query.get()]

    @property
    def gap(self) -> str | None:
        status = self.chat.scope_status(room_id="1")
        assert status is not None
        return status.gap


@asynccontextmanager
async def screens(world: World, *users: str, connect: bool = True) -> AsyncGenerator[list[Screen], None]:
    made = [Screen(world, user) for user in users]
    try:
        for screen in made:
            if connect:
                screen.client.connect()
                await screen.client.connected()
        yield made
    finally:
        for screen in made:
            screen.stop()
            await screen.db.close()


async def test_events_wait_for_the_history_and_follow_it() -> None:  # L1
    world = World()
    world.saved("a", "b")
    async with screens(world, "ada") as [ada]:
        await asyncio.sleep(0.05)
        assert world.reads == 1
        world.provider.to(say("c"))
        world.provider.to({"type": "typing"})
        world.provider.to(say("b", "edited meanwhile"))
        await settle()
        assert ada.ids == []

        await asyncio.sleep(0.1)
        assert ada.ids == ["a", "b", "c"]
        assert ada.pictures[-1:] == [["a", "b", "c"]]
        assert [picture for picture in ada.pictures if picture and picture != ["a", "b", "c"]] == []
        assert ada.chat.get("b") == Message("b", "1", "edited meanwhile")
        assert ada.chat.statistics().ignored == 1

        world.provider.to(say("d"))
        await settle()
        assert ada.ids == ["a", "b", "c", "d"]
        assert not ada.errors


async def test_events_are_shown_though_the_history_fails() -> None:  # L2
    world = World()
    world.saved("a")
    world.failure = OSError("no database")
    async with screens(world, "ada") as [ada]:
        await asyncio.sleep(0.05)
        world.provider.to(say("b"))
        await asyncio.sleep(0.1)
        assert ada.chat.get("b") is not None
        assert ada.query.get().error is world.failure
        world.provider.to(say("c"))
        await settle()
        assert ada.chat.get("c") is not None

        world.failure = None
        world.saved("b", "c")
        await asyncio.sleep(5)
        assert ada.ids == ["a", "b", "c"]
        assert ada.query.get().error is None


async def test_nothing_is_written_after_the_end() -> None:  # L2, Q14
    world = World()
    world.saved("a")
    async with screens(world, "ada") as [ada]:
        await asyncio.sleep(0.05)
        world.provider.to(say("b"))
        ada.stop()
        ada.query.close()
        await ada.chat.cleanup()
        await asyncio.sleep(1)
        assert ada.chat.size == 0
        assert not ada.errors


async def test_too_many_events_before_the_history_are_a_gap() -> None:  # L4
    world = World()
    world.read_takes = 1.0
    async with screens(world, "ada") as [ada]:
        await asyncio.sleep(0.5)
        for number in range(1003):
            world.provider.to(say(f"{number:04}"))
        await asyncio.sleep(0.6)
        assert ada.ids[0] == "0003"
        assert len(ada.ids) == 1000
        assert [gap.channel.raw for gap in world.gaps] == [ROOM]
        assert ada.gap is not None
        assert ada.chat.statistics().gaps == 1


async def test_an_event_that_fails_costs_only_itself() -> None:  # L5, Q13
    world = World()
    async with screens(world, "ada") as [ada]:
        await asyncio.sleep(0.05)
        for data in (say("a"), {"type": "broken"}, "no object", {**say("x"), "room_id": "2"}, {"type": "message"}):
            world.provider.to(data)
        world.provider.to(say("b"))
        await asyncio.sleep(0.2)
        assert ada.ids == ["a", "b"]
        assert ada.chat.statistics().refused == 4
        assert [type(error) for error in ada.errors][:3] == [ValueError, MessageError, MessageError]


async def test_history_is_merged_after_a_gap_and_the_application_hears_of_it() -> None:  # L6, G12, G1
    world = World()
    world.saved("a", "b")
    async with screens(world, "ada") as [ada]:
        await asyncio.sleep(0.5)
        assert not world.gaps
        reads = world.reads
        world.provider.drop()
        world.saved("c")
        await asyncio.sleep(4)
        assert ada.ids == ["a", "b", "c"]
        assert [(gap.channel.raw, gap.reloads) for gap in world.gaps] == [(ROOM, True)]
        assert ada.gap is None, "the history filled it"
        assert world.reads == reads + 1


async def test_a_gap_longer_than_the_history_begins_anew() -> None:  # L6
    world = World()
    world.saved("a", "b")
    async with screens(world, "ada") as [ada]:
        await asyncio.sleep(0.5)
        world.provider.drop()
        world.saved("c", "d", "e", "f", "g")
        await asyncio.sleep(4)
        assert ada.ids == ["e", "f", "g"]
        assert await ada.chat.load_older(room_id="1") == 2
        assert ada.ids == ["c", "d", "e", "f", "g"], "no hole between"


async def test_without_history_a_gap_stays_visible() -> None:  # G12
    world = World(history=False)
    async with screens(world, "ada") as [ada]:
        await asyncio.sleep(0.5)
        world.provider.to(say("a"))
        await settle()
        assert ada.query.get().is_ready
        world.provider.drop()
        await asyncio.sleep(4)
        assert ada.ids == ["a"]
        assert [gap.reloads for gap in world.gaps] == [False]
        assert ada.gap is not None


async def test_history_pages_backwards_without_duplicates() -> None:  # L6
    world = World()
    world.saved(*"abcdefgh")
    async with screens(world, "ada") as [ada]:
        await asyncio.sleep(0.5)
        assert ada.ids == ["f", "g", "h"]
        status = ada.chat.scope_status(room_id="1")
        assert status is not None
        assert status.has_older

        assert await asyncio.gather(*(ada.chat.load_older(room_id="1") for _ in range(3))) == [2, 2, 2]
        assert world.pages == ["f"]
        assert ada.ids == ["d", "e", "f", "g", "h"]
        while await ada.chat.load_older(room_id="1"):
            pass
        assert ada.ids == list("abcdefgh")
        status = ada.chat.scope_status(room_id="1")
        assert status is not None
        assert not status.has_older
        reads = len(world.pages)
        assert await ada.chat.load_older(room_id="1") == 0
        assert len(world.pages) == reads


async def test_rows_that_had_to_go_can_be_paged_back() -> None:  # L6
    world = World(max_items=2)
    world.saved("a")
    async with screens(world, "ada") as [ada]:
        await asyncio.sleep(0.5)
        assert await ada.chat.load_older(room_id="1") == 0
        world.saved("b", "c")
        world.provider.to(say("b"))
        world.provider.to(say("c"))
        await settle()
        assert ada.ids == ["b", "c"]
        assert await ada.chat.load_older(room_id="1") == 1
        assert ada.ids == ["a", "b", "c"]


async def test_a_page_that_arrives_after_access_was_revoked_is_not_shown() -> None:  # S23, Q14
    world = World()
    world.saved(*"abcdef")
    async with screens(world, "ada") as [ada]:
        await asyncio.sleep(0.5)
        page = asyncio.ensure_future(ada.chat.load_older(room_id="1"))
        await asyncio.sleep(0.01)
        world.table.clear()
        world.provider.links[0].sink.revoked(ROOM, "denied", "no longer a member")
        assert await page == 0
        await asyncio.sleep(1)
        assert ada.ids == []


async def test_the_oldest_rows_go() -> None:
    world = World(max_items=2)
    async with screens(world, "ada") as [ada]:
        await asyncio.sleep(0.5)
        for key in "abcd":
            world.provider.to(say(key))
        await settle()
        assert ada.ids == ["c", "d"]


async def test_an_event_removes_a_row() -> None:
    world = World()
    world.saved("a")
    async with screens(world, "ada") as [ada]:
        await asyncio.sleep(0.5)
        world.provider.to({"type": "removed", "id": "a"})
        world.provider.to({"type": "removed", "id": "unknown"})
        await settle()
        assert ada.ids == []
        assert not ada.errors


async def test_a_sent_event_comes_back_once_with_its_authenticated_author() -> None:  # P5, P4
    world = World()
    async with screens(world, "ada", "bob") as [ada, bob]:
        await asyncio.sleep(0.5)
        await ada.chat.send({**say("a"), "author": "bob, she says"}, room_id="1")
        await settle()
        assert ada.chat.get("a") == bob.chat.get("a") == Message("a", "1", "text of a", "ada")
        assert ada.chat.statistics().events == 1


async def test_sending_without_a_connection_is_an_error() -> None:  # P1
    world = World()
    async with screens(world, "ada", connect=False) as [ada]:
        with pytest.raises(NotConnectedError):
            await ada.chat.send(say("a"), room_id="1")
        await ada.client.close()
        with pytest.raises(NotConnectedError, match="no realtime client"):
            await ada.chat.send(say("a"), room_id="1")


async def test_an_inserted_row_is_shown_at_once_and_published() -> None:  # Q18
    world = World(to_event=True)
    async with screens(world, "ada", "bob") as [ada, bob]:
        await asyncio.sleep(0.5)
        ada.pictures.clear()
        transaction = ada.chat.insert(Message("a", "1", "hello"))
        assert ada.ids == ["a"]
        await transaction.persisted()
        await asyncio.sleep(1)
        assert bob.ids == ada.ids == ["a"]
        assert ada.chat.get("a") == Message("a", "1", "hello", "ada"), "its own event told the author"
        assert [] not in ada.pictures, "never away between"


async def test_an_inserted_row_that_was_accepted_stays_though_its_event_is_late() -> None:  # Q22
    world = World(to_event=True)
    world.provider.mute = True
    async with screens(world, "ada") as [ada]:
        await asyncio.sleep(0.5)
        await ada.chat.insert(Message("a", "1", "hello")).persisted()
        assert ada.ids == ["a"]
        status = ada.chat.scope_status(room_id="1")
        assert status is not None
        assert status.rows == 1, "it goes with its scope"
        world.provider.to(say("a", "hello, edited"))
        await settle()
        assert ada.chat.get("a") == Message("a", "1", "hello, edited")


async def test_an_inserted_row_that_is_refused_is_taken_back() -> None:  # P3, Q5
    world = World(to_event=True)
    world.provider.refusal = ChannelDeniedError("read only", channel=ROOM)
    async with screens(world, "ada") as [ada]:
        await asyncio.sleep(0.5)
        transaction = ada.chat.insert(Message("a", "1", "hello"))
        with pytest.raises(ChannelDeniedError):
            await transaction.persisted()
        assert ada.ids == []


async def test_before_connect_the_history_is_shown_and_after_it_events() -> None:  # S22
    world = World()
    world.saved("a")
    async with screens(world, "ada", connect=False) as [ada]:
        await asyncio.sleep(0.5)
        assert ada.ids == ["a"]
        world.saved("b")
        ada.client.connect()
        await ada.client.connected()
        world.provider.to(say("c"))
        await asyncio.sleep(0.5)
        assert ada.ids == ["a", "b", "c"]


def of_project(project: str) -> list[Message]:
    return []


def key_of(message: Message) -> str:
    return message.id


def channel_of(room_id: str) -> tuple[str, dict[str, str]]:
    return ("chat", {"room_id": room_id})


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"max_items": 0}, "max_items"),
    ({"linger": -1}, "linger"),
    ({"on_insert": on_event, "to_event": event_of}, "one of them"),
    ({"initial_data": of_project}, "initial_data takes"),
    ({"on_event": 7}, "plain function"),
]


@pytest.mark.parametrize(("options", "match"), WRONG)
def test_what_does_not_fit_is_refused_where_it_is_declared(options: dict[str, Any], match: str) -> None:
    arguments: dict[str, Any] = {
        "id": "chat",
        "schema": Message,
        "get_key": key_of,
        "channel": channel_of,
        "on_event": on_event,
        **options,
    }
    with pytest.raises(ConfigurationError, match=match):
        live_channel_options(**arguments)


async def test_a_coroutine_function_as_on_event_is_refused() -> None:
    async def later(event: LiveEvent) -> None: ...

    wrong: Any = later
    with pytest.raises(ConfigurationError, match="nothing to await"):
        live_channel_options(id="chat", get_key=str, channel="chat", on_event=wrong)


async def test_a_channel_without_parameters_needs_neither_history_nor_schema() -> None:
    world = World()
    news = create_collection(
        live_channel_options(
            id="news", get_key=lambda row: str(row["id"]), channel="news", on_event=lambda event: event
        )
    )
    async with screens(world, "ada") as [ada]:
        mine = ada.db.collection(news)
        query = live_query(lambda q: q.from_(mine), client=ada.db)
        stop = query.subscribe(lambda: None)
        await asyncio.sleep(0.1)
        world.provider.to({"id": "1", "headline": "x"}, "news")
        await settle()
        assert list(query.get()) == [{"id": "1", "headline": "x"}]
        stop()
