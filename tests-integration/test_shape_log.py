"""A shape log over real HTTP, in one live query with a realtime collection over a real socket."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from realtime_preset_node import NodePreset
from tanstack_db import DbClient, LiveQuery, create_collection, live_query
from tanstack_db.shapes import ShapeCollection, httpx_fetch, shape_collection_options
from tanstack_db.testing import ShapeServer
from tanstack_realtime import Channel, RealtimeCollection, create_realtime_client, realtime_collection_options
from tanstack_realtime.server import Permissions, Realtime, bearer_token

DEADLINE = 10.0
"""Seconds after which a wait counts as failed. Nothing here waits for a time, only for events."""


@dataclass(frozen=True)
class Todo:
    id: str
    project_id: str
    text: str


@dataclass(frozen=True)
class Comment:
    id: int
    todo_id: str
    text: str


def authorize(user_id: str, channel: Channel) -> Permissions:
    return Permissions(subscribe=True, publish=True)


class Application:
    """Todos over channels, comments as a log."""

    def __init__(self) -> None:
        schema = {"id": {"type": "int4"}, "todo_id": {"type": "text"}, "text": {"type": "text"}}
        self.comments = ShapeServer(schema=schema, chunk=2, hold=1)
        self.failures = 0
        realtime = Realtime(authorize=authorize, get_user=bearer_token, preset=NodePreset())
        self.asgi = Starlette(
            routes=[Mount("/_realtime", realtime), Route("/shapes/comments", self.shape)],
        )

    async def shape(self, request: Request) -> Response:
        if request.headers.get("authorization") != "Bearer ada":
            return Response(status_code=401)
        if self.failures:
            self.failures -= 1
            return Response(status_code=502)
        answer = await self.comments.answer(dict(request.query_params), request.headers)
        return Response(answer.body, answer.status, dict(answer.headers), "application/json")


@contextlib.asynccontextmanager
async def serving(app: Any) -> AsyncGenerator[int]:
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    task = asyncio.get_running_loop().create_task(server.serve())
    while not server.started:
        if task.done():
            await task
        await asyncio.sleep(0)
    try:
        yield int(server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        await asyncio.wait_for(task, DEADLINE)


async def until(query: LiveQuery[Any], condition: Callable[[], bool]) -> None:
    """Wait for a result for which the condition holds."""
    async with asyncio.timeout(DEADLINE):
        async for _ in query:
            if condition():
                return


async def test_a_log_and_a_channel_meet_in_one_query() -> None:
    application = Application()
    application.comments.write(
        {"id": "1", "todo_id": "a", "text": "why?"}, {"id": "2", "todo_id": "b", "text": "when?"}
    )

    async def get_todos(project_id: str) -> list[Todo]:
        return [Todo("a", project_id, "write"), Todo("c", project_id, "rest")]

    async def save(transaction: Any) -> Any:
        return transaction.mutations[0].modified

    async with serving(application.asgi) as port, httpx.AsyncClient() as http:
        db = DbClient()
        client = create_realtime_client(f"http://127.0.0.1:{port}", get_token=lambda: "ada", db=db)
        with db.activate():
            todos: RealtimeCollection[Todo, str, [str]] = create_collection(
                realtime_collection_options(
                    id="todos",
                    schema=Todo,
                    get_key=lambda todo: todo.id,
                    channel=lambda project_id: ("todos", {"project_id": project_id}),
                    query_fn=get_todos,
                    on_insert=save,
                )
            )
            comments: ShapeCollection[Comment, int] = create_collection(
                shape_collection_options(
                    id="comments",
                    schema=Comment,
                    get_key=lambda comment: comment.id,
                    url=f"http://127.0.0.1:{port}/shapes/comments",
                    headers={"authorization": "Bearer ada"},
                    fetch=httpx_fetch(http),
                    retry_delay=lambda _: 0.05,
                )
            )
            pairs = live_query(
                lambda q: (
                    q.from_(todos)
                    .where(lambda t: t.project_id == "p")
                    .join(comments, on=lambda t, c: t.id == c.todo_id)
                    .select(lambda t, c: (t.text, c.text if c else None))
                )
            )

            def shown() -> list[tuple[str, str | None]]:
                return sorted(pairs.get(), key=repr)

            async with client, pairs:
                await asyncio.wait_for(pairs.preload(), DEADLINE)
                assert shown() == [("rest", None), ("write", "why?")]

                todos.insert(Todo("b", "p", "ship"))
                assert ("ship", "when?") in shown()
                application.comments.write({"id": "3", "todo_id": "c", "text": "now"})
                await until(pairs, lambda: ("rest", "now") in shown())

                application.failures = 2
                application.comments.write({"id": "1", "todo_id": "a", "text": "because"}, deletes=["2"])
                application.comments.compact()
                expected = [("rest", "now"), ("ship", None), ("write", "because")]
                await until(pairs, lambda: shown() == expected)
                assert application.failures == 0
        await db.close()
