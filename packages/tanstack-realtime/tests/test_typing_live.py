"""The seed's blocks on live channels, presence and server publishes, as type checkers see them.

Both checkers read this file in `make types`; `assert_type` fails there. Here it is run, so that it also works.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, assert_type

from pydantic import BaseModel
from typing_extensions import TypedDict

from tanstack_db import create_collection, live_query
from tanstack_realtime import (
    ChannelLike,
    CollectionScope,
    LiveChannelCollection,
    LiveEvent,
    LiveStatus,
    Member,
    Presence,
    PresenceScope,
    RealtimeClient,
    create_presence_channel,
    live_channel_options,
    text_stream,
)
from tanstack_realtime.server import publish_text


@dataclass(frozen=True)
class DataMessage:
    id: str
    room_id: str
    text: str


class ModelMessage(BaseModel):
    id: str
    room_id: str
    text: str


class DictMessage(TypedDict):
    id: str
    room_id: str
    text: str


# Block 1, collections: the live channel, for each kind of row.


async def get_history(room_id: str) -> list[DataMessage]:
    return [DataMessage("1", room_id, "hello")]


async def get_older(oldest: DataMessage, room_id: str) -> list[DataMessage]:
    return []


def on_event(event: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return event if event["type"] == "message" else None


chat = create_collection(
    live_channel_options(
        id="chat",
        schema=DataMessage,
        get_key=lambda message: message.id,
        channel=lambda room_id: ("chat", {"room_id": room_id}),
        initial_data=get_history,
        older=get_older,
        on_event=on_event,
    )
)


def get_models(room_id: str) -> list[ModelMessage]:
    return [ModelMessage(id="1", room_id=room_id, text="hello")]


def on_model(event: LiveEvent) -> ModelMessage | None:
    assert_type(event.user_id, str | None)
    return ModelMessage.model_validate(dict(event))


models = create_collection(
    live_channel_options(
        id="models",
        schema=ModelMessage,
        get_key=lambda message: message.id,
        channel="models",
        initial_data=get_models,
        on_event=on_model,
    )
)


def room_channel(room_id: str) -> ChannelLike:
    return ("dicts", {"room_id": room_id})


dicts = create_collection(
    live_channel_options(
        id="dicts",
        schema=DictMessage,
        get_key=lambda message: message["id"],
        channel=room_channel,
        on_event=lambda event: event if event["type"] == "message" else None,
    )
)


async def send_is_typed_as_the_channels_parameters(collection: LiveChannelCollection[DataMessage, str, [str]]) -> None:
    await collection.send({"type": "message"}, "r")


async def test_live_channels_know_their_rows_keys_and_parameters() -> None:
    assert_type(chat.get("1"), DataMessage | None)
    assert_type(models.get("1"), ModelMessage | None)
    assert_type(dicts.get("1"), DictMessage | None)
    assert_type(chat.scope("r"), CollectionScope[DataMessage])
    assert_type(dicts.scope(room_id="r"), CollectionScope[DictMessage])
    assert_type(chat.scope_status(room_id="r"), LiveStatus | None)

    messages = live_query(
        lambda q: q.from_(messages=chat).where("room_id", "=", "r").order_by("text", "asc")
    )  # block 3, the seed's form
    typed = live_query(lambda q: q.from_(chat).where(lambda m: m.room_id == "r"))
    await messages.preload()
    await typed.preload()
    assert_type(typed.get()[0], DataMessage)
    assert [message.text for message in typed.get()] == ["hello"] == [message.text for message in messages.get()]
    assert await chat.load_older(room_id="r") == 0
    messages.close()
    typed.close()
    for collection in (chat, models, dicts):
        await collection.cleanup()


# Block 1, presence, and block 5.


@dataclass(frozen=True)
class Cursor:
    name: str
    x: float | None = None
    y: float | None = None


def document_channel(document_id: str) -> ChannelLike:
    return ("editor", {"document_id": document_id})


editor_presence = create_presence_channel(id="editor-presence", channel=document_channel, state=Cursor)
plain_presence = create_presence_channel(id="plain", channel=document_channel)


def collaborative_editor(client: RealtimeClient) -> list[str]:
    presence = client.presence(editor_presence.scope(document_id="d1"), initial=Cursor("Ada"))
    assert_type(presence, Presence[Cursor])
    assert_type(presence.others, tuple[Member[Cursor], ...])
    presence.update(x=1.0, y=2.0)
    presence.update(lambda cursor: Cursor(cursor.name))
    return [member.state.name for member in presence.others]


def test_presence_knows_its_state_and_parameters() -> None:
    assert_type(editor_presence.scope(document_id="d1"), PresenceScope[Cursor])
    assert_type(plain_presence.scope("d1"), PresenceScope[dict[str, Any]])
    assert editor_presence.scope(document_id="d1") == editor_presence.scope("d1")
    assert editor_presence.scope(document_id="d1").channel.raw == "editor:document_id=d1"


# Block 7, an AI stream.


@dataclass(frozen=True)
class Answer:
    id: str
    session_id: str
    text: str


def stream_channel(session_id: str) -> ChannelLike:
    return ("ai-stream", {"session_id": session_id})


answers = create_collection(
    live_channel_options(
        id="answers",
        schema=Answer,
        get_key=lambda answer: answer.id,
        channel=stream_channel,
        on_event=text_stream(lambda text: {"id": text.id, "text": text.text}),
    )
)


async def chunks() -> AsyncIterator[str]:
    for part in ("Hel", "lo"):
        yield part


async def test_an_answer_is_published_as_it_comes() -> None:
    assert_type(answers.get("1"), Answer | None)
    published: list[Any] = []

    async def publish(channel: ChannelLike, data: Any) -> None:
        published.append(data["type"])

    assert await publish_text(("ai-stream", {"session_id": "s"}), chunks(), id="a", publish=publish) == "Hello"
    assert published == ["token", "token", "end"]
