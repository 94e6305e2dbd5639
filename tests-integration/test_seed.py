"""The ten code blocks of the specification (`seed_app.py`) run on every preset: two users' pages, without a browser."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, cast

import httpx
import pytest
import seed_app
import uvicorn
from carriers import CARRIERS
from centrifugo_server import free_port
from reactpy import html
from reactpy.core.layout import Layout
from seed_app import ChatMessage, Comment, ProjectMember, Todo, db
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import create_async_engine
from starlette.applications import Starlette
from starlette.routing import Mount

from tanstack_db import DbClient, live_query
from tanstack_realtime import Channel, ConfigurationError, create_realtime_client
from tanstack_realtime.server import Permissions, Realtime, publish_text

DEADLINE = 8.0

Open: TypeAlias = Callable[..., Any]


class Page:
    """What a user's browser would show."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._model: dict[str, Any] = {}

    async def follow(self) -> None:
        """Do what the browser does with the server's updates: put each model in its place, a JSON pointer."""
        while True:
            update = await self._layout.render()
            place: Any = {"": self._model}
            step: Any = ""
            for step_below in update["path"].split("/")[1:]:
                place, step = place[step], int(step_below) if step_below.isdigit() else step_below
            place[step] = update["model"]
            if not update["path"]:
                self._model = cast("dict[str, Any]", update["model"])

    @property
    def text(self) -> str:
        return " | ".join(self._texts(self._model))

    def _texts(self, node: Any) -> list[str]:
        if isinstance(node, str):
            return [node] if node else []
        if node.get("tagName") == "script":
            return []
        return [text for child in node.get("children", ()) for text in self._texts(child)]

    async def shows(self, *texts: str) -> None:
        """Wait until it shows all of these."""
        await self.until(lambda: all(text in self.text for text in texts), f"{texts}")

    async def hides(self, text: str) -> None:
        await self.until(lambda: text not in self.text, f"not {text!r}")

    async def until(self, is_so: Callable[[], bool], what: str) -> None:
        try:
            async with asyncio.timeout(DEADLINE):
                while not is_so():
                    await asyncio.sleep(0.01)
        except TimeoutError:
            pytest.fail(f"it should show {what}, and shows: {self.text}")

    async def do(self, event: str, label: str = "", **data: Any) -> None:
        """Let an event happen on the element with this text."""
        target = next(target for target, text in self._handlers(self._model, event) if label in text)
        await self._layout.deliver({"type": "layout-event", "target": target, "data": [data]})

    def _handlers(self, node: Any, event: str) -> list[tuple[str, str]]:
        if isinstance(node, str):
            return []
        own = node.get("eventHandlers", {}).get(event)
        found = [] if own is None else [(own["target"], " ".join(self._texts(node)))]
        return found + [handler for child in node.get("children", ()) for handler in self._handlers(child, event)]


@asynccontextmanager
async def serving(realtime: Realtime, port: int) -> AsyncGenerator[None]:
    """Serve it, for a provider that asks the application."""
    app = Starlette(routes=[Mount("/_realtime", realtime)])
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", lifespan="off"))
    running = asyncio.get_running_loop().create_task(server.serve())
    try:
        while not server.started:
            assert not running.done()
            await asyncio.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        await running


@pytest.fixture(params=sorted(CARRIERS))
async def realtime(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[Realtime]:
    preset, port = request.param, free_port()
    carrier = CARRIERS[preset](tmp_path, port)
    for name, value in {**carrier.environ, "REALTIME_PRESET": preset}.items():
        monkeypatch.setenv(name, value)
    db.engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/seed.db")
    async with db.engine.begin() as connection:
        await connection.run_sync(seed_app.Base.metadata.create_all)
    for user_id in ("ann", "bo"):
        await db.run(insert(ProjectMember).values(user_id=user_id, project_id="p1"))
    seed_app.comments.clear()
    seed_app.history.clear()
    await carrier.start()
    async with (
        Realtime(authorize=seed_app.authorize, get_user=lambda connection: None) as realtime,
        serving(realtime, port),
    ):
        # Applications that other tests in this process have imported have a Realtime, too.
        monkeypatch.setattr(seed_app, "publish", realtime.publish)
        monkeypatch.setattr(seed_app, "publish_text", partial(publish_text, publish=realtime.publish))
        yield realtime
    await carrier.stop()
    await db.engine.dispose()


@pytest.fixture
async def open_page(realtime: Realtime) -> AsyncGenerator[Open]:
    """``await open_page("ann", lambda: TodoList("p1"))`` opens a page and logs its user in."""
    stack: list[Any] = []

    @asynccontextmanager
    async def opened(user_id: str, router: Callable[[], Any]) -> AsyncGenerator[Page]:
        async with Layout(seed_app.make_app(realtime, user_id, router)) as layout:
            page = Page(layout)
            following = asyncio.get_running_loop().create_task(page.follow())
            try:
                yield page
            finally:
                following.cancel()
                await asyncio.wait([following])

    async def open_page(user_id: str, router: Callable[[], Any], *, log_in: bool = True) -> Page:
        context = opened(user_id, router)
        page = await context.__aenter__()
        stack.append(context)
        await page.shows("disconnected")
        if log_in:
            await page.do("onClick", "log in")
            await page.until(lambda: page.text.startswith("connected"), "connected")
        return page

    yield open_page
    for context in reversed(stack):
        await context.__aexit__(None, None, None)
    await asyncio.sleep(0.05)  # sessions close their clients


@asynccontextmanager
async def todos_of(realtime: Realtime, user_id: str) -> AsyncGenerator[Any]:
    """A user's collections without a page, and a live query that needs them."""
    transport = realtime.local_transport(user_id=user_id)
    async with create_realtime_client(transport=transport, db=DbClient()) as client:
        todos = client.collection(seed_app.todos_collection)
        query = live_query(lambda q: q.from_(todos).where(lambda t: t.project_id == "p1"), client=client.db)
        await query.preload()
        yield todos
        query.close()


async def test_seed_block_1_collections(realtime: Realtime, open_page: Open) -> None:
    bo = await open_page("bo", lambda: html.div(seed_app.TodoList("p1"), seed_app.IncrementalTodoStats("p1")))
    async with todos_of(realtime, "ann") as todos:
        inserted = todos.insert(Todo("temporary", "p1", "buy milk", datetime.now(UTC)))
        await inserted.persisted()
        [row] = await db.run(select(seed_app.TodoRow))
        assert [item.id for item in todos.values()] == [row.id]  # the server's row, under the server's key
        await bo.shows("buy milk", "0 of 1")

        await todos.update(row.id, completed_at="today").persisted()
        await bo.shows("1 of 1")
        await todos.delete(row.id).persisted()
        await bo.shows("0 of 0")
        assert await db.run(select(seed_app.TodoRow)) == []


async def test_seed_block_1_live_channel(realtime: Realtime, open_page: Open) -> None:
    seed_app.history.append(ChatMessage("m1", "r1", "welcome", 1.0))
    bo = await open_page("bo", lambda: seed_app.ChatRoom("r1"))
    await bo.shows("welcome")
    transport = realtime.local_transport(user_id="ann")
    async with create_realtime_client(transport=transport, db=DbClient()) as client:
        chat = client.collection(seed_app.chat_collection)
        await client.connected()
        await chat.send({"type": "wave"}, room_id="r1")  # ignored
        await chat.send({"type": "message", "id": "m2", "text": "hello", "timestamp": 2.0}, room_id="r1")
    await bo.shows("welcome | hello")


async def test_seed_block_2_authorization(realtime: Realtime) -> None:
    async def granted(user_id: str, namespace: str, **params: str) -> Permissions:
        return await seed_app.authorize(user_id, Channel(namespace, params))

    assert await granted("ann", "todos", project_id="p1") == Permissions(subscribe=True, publish=True)
    assert await granted("ann", "comments", project_id="p1") == Permissions(subscribe=True, publish=True)
    assert await granted("ann", "chat", room_id="r1") == Permissions(subscribe=True, publish=True, presence=True)
    assert await granted("ann", "chat:typing", room_id="r1") == Permissions(subscribe=True, publish=True)
    assert await granted("ann", "editor", document_id="d1") == Permissions(presence=True)
    assert await granted("ann", "ai-stream", session_id="ann") == Permissions(subscribe=True)
    denied = [("todos", {"project_id": "p1"}), ("chat", {"room_id": "r1"}), ("chat:typing", {"room_id": "r1"})]
    denied += [("editor", {"document_id": "d1"}), ("ai-stream", {"session_id": "ann"}), ("other", {"project_id": "p1"})]
    for namespace, params in denied:
        assert await granted("eve", namespace, **params) == Permissions()


async def test_seed_block_3_components_with_live_queries(realtime: Realtime, open_page: Open) -> None:
    first = await seed_app.add_todo(project_id="p1", text="first")
    second = await seed_app.add_todo(project_id="p1", text="second")
    seed_app.comments.append(Comment("c1", first.id, "p1", "why?"))
    bo = await open_page(
        "bo",
        lambda: html.div(seed_app.TodoList("p1"), seed_app.TodoWithComments("p1"), seed_app.TodoStats("p1")),
    )
    await bo.shows("second | first", "first: why?", "second: no comment", "0 / 2")

    async with todos_of(realtime, "ann") as todos:
        await todos.update(second.id, completed_at="today").persisted()
    await bo.shows("1 / 2")
    await realtime.publish(
        ("comments", {"project_id": "p1"}),
        {"action": "insert", "data": {"id": "c2", "todo_id": second.id, "project_id": "p1", "text": "done!"}},
    )
    await bo.shows("first: why?", "second: done!")


async def test_seed_block_4_optimistic_mutations(
    realtime: Realtime, open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_todo, may_write = seed_app.add_todo, asyncio.Event()

    async def slow(project_id: str, text: str) -> Todo:
        await may_write.wait()
        if await db.run(select(seed_app.TodoRow)):
            raise RuntimeError("the database is full")
        return await add_todo(project_id=project_id, text=text)

    monkeypatch.setattr(seed_app, "add_todo", slow)
    page = lambda: html.div(seed_app.TodoList("p1"), seed_app.AddTodoButton("p1"))  # noqa: E731
    ann, bo = await open_page("ann", page), await open_page("bo", page)

    await ann.do("onClick", "Add Todo")
    await ann.shows("new todo")  # at once
    assert "new todo" not in bo.text
    may_write.set()
    await bo.shows("new todo")
    assert ann.text.count("new todo") == 1

    may_write.clear()
    await ann.do("onClick", "Add Todo")
    await ann.shows("new todo | new todo")
    may_write.set()  # and the server fails: rolled back, nothing published
    await ann.hides("new todo | new todo")
    assert bo.text.count("new todo") == 1


async def test_seed_block_5_presence(open_page: Open) -> None:
    ann = await open_page("ann", lambda: seed_app.CollaborativeEditor("d1", "Ann"))
    bo = await open_page("bo", lambda: seed_app.CollaborativeEditor("d1", "Bo"))
    await ann.shows("Bo at None")
    for x in range(30):
        await bo.do("onMouseMove", clientX=x, clientY=7)
    await ann.shows("Bo at (29, 7)")
    assert "Bo at" not in bo.text
    await bo.do("onClick", "log out")
    await ann.hides("Bo at")


async def test_seed_block_6_client_publish_and_raw_subscribe(open_page: Open) -> None:
    ann = await open_page("ann", lambda: seed_app.TypingIndicator("r1", "ann"))
    bo = await open_page("bo", lambda: seed_app.TypingIndicator("r1", "bo"))
    async with asyncio.timeout(DEADLINE):
        while "ann typing..." not in bo.text:  # typing of before it was subscribed is nobody's business
            await ann.do("onKeyDown", key="a")
            await asyncio.sleep(0.1)
    assert "typing" not in ann.text


async def test_seed_block_7_server_publish(realtime: Realtime, open_page: Open) -> None:
    page = await open_page("ann", lambda: seed_app.Answers("ann"))
    transport = realtime.local_transport(user_id="ann")
    async with create_realtime_client(transport=transport, db=DbClient()) as client:
        heard: list[Any] = []
        subscription = client.subscribe(
            ("ai-stream", {"session_id": "ann"}), lambda message: heard.append(message.data)
        )
        await subscription.live()
        await seed_app.start_numbered_ai_stream(session_id="ann", prompt="hello")
        await page.shows("You said hello (done)")
        heard.clear()

        await seed_app.start_ai_stream(session_id="other", prompt="hello")
        await seed_app.start_ai_stream(session_id="ann", prompt="hello")
        async with asyncio.timeout(DEADLINE):
            while len(heard) < 3:
                await asyncio.sleep(0.01)
        assert heard == [{"type": "token", "content": content} for content in ("You ", "said ", "hello")]


async def test_seed_block_8_connection_lifecycle(realtime: Realtime, open_page: Open) -> None:
    await seed_app.add_todo(project_id="p1", text="before")
    bo = await open_page("bo", lambda: seed_app.TodoList("p1"), log_in=False)
    await bo.shows("before")  # the app works, just not live
    assert bo.text.startswith("disconnected")
    async with todos_of(realtime, "ann") as todos:
        await todos.insert(Todo("t", "p1", "while away", datetime.now(UTC))).persisted()
        assert "while away" not in bo.text

        await bo.do("onClick", "log in")
        await bo.shows("connected | log in", "while away")
        await todos.insert(Todo("t", "p1", "live", datetime.now(UTC))).persisted()
        await bo.shows("live")
        await bo.do("onClick", "log out")
        await bo.shows("disconnected", "live")


async def test_seed_block_9_app_setup(open_page: Open) -> None:
    """Each session has a client of its own: optimistic rows and connections never cross."""
    router = lambda: html.div(seed_app.TodoList("p1"), seed_app.AddTodoButton("p1"))  # noqa: E731
    ann = await open_page("ann", router)
    bo = await open_page("bo", router, log_in=False)
    await ann.do("onClick", "Add Todo")
    await ann.shows("new todo")
    assert bo.text.startswith("disconnected")
    assert "new todo" not in bo.text


async def test_seed_block_10_build_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start() -> Realtime:
        return Realtime(authorize=seed_app.authorize, get_user=lambda connection: None)

    (tmp_path / "pyproject.toml").write_text(seed_app.CONFIGURATION)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REALTIME_PRESET", raising=False)
    async with start() as realtime:
        transport = httpx.ASGITransport(app=cast("Any", realtime))
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as http:
            assert (await http.get("/config")).json()["preset"] == "node"  # what remote clients are told

    (tmp_path / "pyproject.toml").write_text(seed_app.CONFIGURATION.replace("node", "no-such-provider"))  # one string
    with pytest.raises(ConfigurationError, match="no-such-provider"):
        start()
