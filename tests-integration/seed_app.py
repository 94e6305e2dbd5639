"""The ten code blocks of the specification that the packages were made from, in Python, as one application.

Names, order and structure are the specification's; `test_seed.py` runs them all. Where Python asks for another form, a
comment says why.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from reactpy import component, html, use_state
from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from tanstack_db import Transaction, count, create_collection
from tanstack_db.react import DBProvider, use_live_query, use_transact
from tanstack_realtime import (
    Channel,
    LiveEvent,
    create_presence_channel,
    live_channel_options,
    realtime_collection_options,
    text_stream,
)
from tanstack_realtime.react import (
    RealtimeProvider,
    create_realtime_client,
    use_presence,
    use_publish,
    use_realtime,
    use_subscribe,
)
from tanstack_realtime.server import Permissions, Realtime, publish, publish_text
from tanstack_start import server_fn

# -- db/schema.py and schemas.py ---------------------------------------------------------------------------------------


class Base(DeclarativeBase):
    pass


class TodoRow(Base):
    __tablename__ = "todos"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str]
    text: Mapped[str]
    created_at: Mapped[datetime]
    completed_at: Mapped[str | None]


class ProjectMember(Base):
    __tablename__ = "project_members"

    user_id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(primary_key=True)


@dataclass(frozen=True)
class Todo:
    id: str
    project_id: str
    text: str
    created_at: datetime
    completed_at: str | None = None


@dataclass(frozen=True)
class Comment:
    id: str
    todo_id: str
    project_id: str
    text: str


@dataclass(frozen=True)
class ChatMessage:
    id: str
    room_id: str
    text: str
    timestamp: float


class Database:
    """``db`` of the specification; the tests open it."""

    engine: AsyncEngine

    async def run(self, statement: Any) -> list[Any]:
        async with self.engine.begin() as connection:
            result = await connection.execute(statement)
            return list(result.all()) if result.returns_rows else []


db = Database()


def todo(row: Any) -> Todo:
    return Todo(row.id, row.project_id, row.text, row.created_at, row.completed_at)


# -- Seed block 1: collections -----------------------------------------------------------------------------------------
# server/functions/todos.py: no realtime in it. Parameters are named, and validated by their types over HTTP.


@server_fn(method="GET")
async def get_todos(project_id: str) -> list[Todo]:
    return [todo(row) for row in await db.run(select(TodoRow).where(TodoRow.project_id == project_id))]


@server_fn(method="POST")
async def add_todo(project_id: str, text: str) -> Todo:
    values = {"id": uuid4().hex, "project_id": project_id, "text": text, "created_at": datetime.now(UTC)}
    [new_todo] = await db.run(insert(TodoRow).values(**values).returning(TodoRow))
    return todo(new_todo)


@server_fn(method="POST")
async def update_todo(todo_id: str, completed_at: str | None) -> Todo:
    statement = update(TodoRow).where(TodoRow.id == todo_id).values(completed_at=completed_at)
    [updated] = await db.run(statement.returning(TodoRow))
    return todo(updated)


@server_fn(method="POST")
async def delete_todo(todo_id: str) -> None:
    await db.run(delete(TodoRow).where(TodoRow.id == todo_id))


# collections/todos.py. Handlers are functions of their own: a lambda cannot await.


async def on_insert(transaction: Transaction[Todo]) -> Todo:
    item = transaction.mutations[0].modified
    return await add_todo(project_id=item.project_id, text=item.text)
    # The collection publishes { action: "insert", data: result } to the channel after success.
    # Other clients receive it and apply it to their collection.


async def on_update(transaction: Transaction[Todo]) -> Todo:
    mutation = transaction.mutations[0]
    original, changes = mutation.original, mutation.changes
    return await update_todo(**{"todo_id": original.id, **changes})


async def on_delete(transaction: Transaction[Todo]) -> None:
    item = transaction.mutations[0].original
    await delete_todo(todo_id=item.id)


todos_collection = create_collection(
    realtime_collection_options(
        id="todos",
        schema=Todo,
        get_key=lambda item: item.id,
        channel=lambda project_id: ("todos", {"project_id": project_id}),
        query_fn=get_todos,
        on_insert=on_insert,
        on_update=on_update,
        on_delete=on_delete,
    )
)

comments: list[Comment] = []


async def get_comments(project_id: str) -> list[Comment]:
    return [comment for comment in comments if comment.project_id == project_id]


comments_collection = create_collection(
    realtime_collection_options(
        id="comments",
        schema=Comment,
        get_key=lambda item: item.id,
        channel=lambda project_id: ("comments", {"project_id": project_id}),
        query_fn=get_comments,
    )
)

# collections/chat.py

history: list[ChatMessage] = []


async def get_chat_history(room_id: str) -> list[ChatMessage]:
    return [message for message in history if message.room_id == room_id]


def on_event(event: LiveEvent) -> Mapping[str, Any] | None:
    # Return the item to insert into the collection, or None to ignore
    if event["type"] == "message":
        return {name: event[name] for name in ("id", "text", "timestamp")}
    return None


chat_collection = create_collection(
    live_channel_options(
        id="chat",
        schema=ChatMessage,
        get_key=lambda item: item.id,
        channel=lambda room_id: ("chat", {"room_id": room_id}),
        # Optional: load historical messages on mount
        initial_data=get_chat_history,
        on_event=on_event,
    )
)


# collections/presence.py


@dataclass(frozen=True)
class EditorState:
    name: str
    cursor: tuple[int, int] | None = None


def editor_channel(document_id: str) -> tuple[str, dict[str, str]]:
    return ("editor", {"document_id": document_id})


editor_presence = create_presence_channel(id="editor-presence", channel=editor_channel, state=EditorState)


# -- Seed block 2: channel authorization -------------------------------------------------------------------------------
# `chat:typing` and `ai-stream` are not in the specification's function, but blocks 6 and 7 need them.

room_members = {"r1": {"ann", "bo"}}
document_editors = {"d1": {"ann", "bo"}}


async def authorize(user_id: str, channel: Channel) -> Permissions:
    match channel:
        case Channel("todos" | "comments", {"project_id": project_id}):
            wanted = (ProjectMember.user_id == user_id) & (ProjectMember.project_id == project_id)
            member = await db.run(select(ProjectMember).where(wanted))
            return Permissions(subscribe=bool(member), publish=bool(member))
        case Channel("chat", {"room_id": room_id}):
            is_member = user_id in room_members.get(room_id, ())
            return Permissions(subscribe=is_member, publish=is_member, presence=is_member)
        case Channel("chat:typing", {"room_id": room_id}):
            is_member = user_id in room_members.get(room_id, ())
            return Permissions(subscribe=is_member, publish=is_member)
        case Channel("ai-stream", {"session_id": session_id}):
            return Permissions(subscribe=session_id == user_id)
        case Channel("editor", {"document_id": document_id}):
            return Permissions(presence=user_id in document_editors.get(document_id, ()))
        case _:
            return Permissions()


# -- Seed block 3: components with live queries ------------------------------------------------------------------------


@component
def TodoList(project_id: str) -> Any:
    todos = use_live_query(
        lambda q: q.from_(todos=todos_collection).where("project_id", "=", project_id).order_by("created_at", "desc")
    )
    return html.ul(*(html.li({"key": todo.id}, todo.text) for todo in todos))


@component
def TodoWithComments(project_id: str) -> Any:
    data = use_live_query(
        lambda q: (
            q.from_(todos=todos_collection)
            .join("todos.id", "=", "comments.todo_id", comments=comments_collection)
            .where("todos.project_id", "=", project_id)
        )
    )
    return html.ol(*(html.li(f"{todo.text}: {comment.text if comment else 'no comment'}") for todo, comment in data))


@component
def TodoStats(project_id: str) -> Any:
    stats = use_live_query(
        lambda q: (
            q.from_(todos=todos_collection)
            .where("project_id", "=", project_id)
            .select(total=len, completed=lambda rows: len([row for row in rows if row.completed_at]))
        )
    )
    return html.div(f"{stats.completed} / {stats.total}")


@component
def IncrementalTodoStats(project_id: str) -> Any:
    """The same, maintained row by row and typed."""
    total, completed = use_live_query(
        lambda q: (
            q.from_(todos_collection)
            .where(lambda t: t.project_id == project_id)
            .aggregate(lambda t: (count(), count(t.completed_at)))
        )
    )
    return html.div(f"{completed} of {total}")


@component
def ChatRoom(room_id: str) -> Any:
    messages = use_live_query(
        lambda q: q.from_(messages=chat_collection).where("room_id", "=", room_id).order_by("timestamp", "asc")
    )
    return html.div(*(html.p({"key": message.id}, message.text) for message in messages))


# -- Seed block 4: optimistic mutations --------------------------------------------------------------------------------


@component
def AddTodoButton(project_id: str) -> Any:
    transact = use_transact()

    async def handle_add(_: object) -> None:
        optimistic = Todo(id=uuid4().hex, project_id=project_id, text="new todo", created_at=datetime.now(UTC))

        async def server_fn() -> None:
            await add_todo(project_id=project_id, text="new todo")

        transact(lambda tx: tx.insert(todos_collection, optimistic), server_fn)

    return html.button({"onClick": handle_add}, "Add Todo")


# -- Seed block 5: presence --------------------------------------------------------------------------------------------


@component
def CollaborativeEditor(document_id: str, user_name: str) -> Any:
    presence = use_presence(editor_presence.scope(document_id=document_id), initial=EditorState(name=user_name))
    return html.div(
        {"onMouseMove": lambda e: presence.update(cursor=(e["clientX"], e["clientY"]))},
        *(
            html.span({"key": user.connection_id}, f"{user.state.name} at {user.state.cursor}")
            for user in presence.others
        ),
    )


# -- Seed block 6: client-side publish and raw subscribe ---------------------------------------------------------------


@component
def TypingIndicator(room_id: str, current_user: str) -> Any:
    publish = use_publish(("chat:typing", {"room_id": room_id}))
    typing_users, set_typing_users = use_state(frozenset[str]())

    def heard(event: dict[str, Any]) -> None:
        if event["user_id"] != current_user:
            set_typing_users(lambda users: users | {event["user_id"]})

    use_subscribe(("chat:typing", {"room_id": room_id}), heard)

    def handle_key_down(_: object) -> None:
        publish({"user_id": current_user, "is_typing": True})

    typing = html.div(f"{', '.join(sorted(typing_users))} typing...") if typing_users else ""
    return html.div(html.input({"onKeyDown": handle_key_down}), typing)


# -- Seed block 7: server-side publish for live channels ---------------------------------------------------------------


async def model(prompt: str) -> AsyncIterator[str]:
    """An SDK's stream."""
    for chunk in ("You ", "said ", prompt):
        await asyncio.sleep(0)
        yield chunk


@server_fn(method="POST")
async def start_ai_stream(session_id: str, prompt: str) -> None:
    async for chunk in model(prompt):
        await publish(("ai-stream", {"session_id": session_id}), {"type": "token", "content": chunk})


@server_fn(method="POST")
async def start_numbered_ai_stream(session_id: str, prompt: str) -> None:
    """The same with numbers and an end, so that a lost or doubled token is known."""
    await publish_text(("ai-stream", {"session_id": session_id}), model(prompt), id="answer")


@dataclass(frozen=True)
class Answer:
    id: str
    session_id: str
    text: str
    status: str


def ai_channel(session_id: str) -> tuple[str, dict[str, str]]:
    return ("ai-stream", {"session_id": session_id})


answers_collection = create_collection(
    live_channel_options(
        id="answers",
        schema=Answer,
        get_key=lambda answer: answer.id,
        channel=ai_channel,
        on_event=text_stream(lambda text: {"id": text.id, "text": text.text, "status": text.status}),
    )
)


@component
def Answers(session_id: str) -> Any:
    answers = use_live_query(lambda q: q.from_(answers=answers_collection).where("session_id", "=", session_id))
    return html.div(*(html.p({"key": answer.id}, f"{answer.text} ({answer.status})") for answer in answers))


# -- Seed block 8: connection lifecycle --------------------------------------------------------------------------------


@component
def AuthProvider(*children: Any) -> Any:
    realtime = use_realtime()

    async def handle_login(_: object) -> None:
        realtime.connect()

    async def handle_logout(_: object) -> None:
        realtime.disconnect()

    return html.div(
        html.p(realtime.store.state.status),
        html.button({"onClick": handle_login}, "log in"),
        html.button({"onClick": handle_logout}, "log out"),
        *children,
    )


# -- Seed block 9: app setup -------------------------------------------------------------------------------------------
# There is no QueryClientProvider: collections are the cache. The pages of all users render in one process, so each
# session makes a client, instead of sharing one.


def make_app(realtime: Realtime, user_id: str, router: Callable[[], Any]) -> Any:
    @component
    def App() -> Any:
        return DBProvider(
            RealtimeProvider(
                AuthProvider(router()),
                client=lambda: create_realtime_client(transport=realtime.local_transport(user_id=user_id)),
                auto_connect=False,
            )
        )

    return App()


# -- Seed block 10: build configuration --------------------------------------------------------------------------------
# The only place that names a provider: pyproject.toml of the application.

CONFIGURATION = """
[tool.tanstack-realtime]
preset = "node"
"""
