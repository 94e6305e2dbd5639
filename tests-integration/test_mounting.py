"""docs/mounting.md over real sockets: its code under each framework, served by uvicorn with both ways of writing."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import re
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
import uvicorn
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from realtime_preset_node.uvicorn import FastProtocol
from tanstack_realtime import ChannelDeniedError, PublishError, create_realtime_client

PAGE = Path(__file__).parent.parent / "docs" / "mounting.md"
DEADLINE = 10.0


@pytest.fixture(autouse=True)
async def nothing_is_left() -> AsyncIterator[None]:  # X9
    yield
    assert asyncio.all_tasks() == {asyncio.current_task()}


def blocks() -> dict[str, str]:
    """Return the page's code by heading."""
    parts = re.split(r"^#+ (.+)$", PAGE.read_text(), flags=re.MULTILINE)
    return {
        heading: "\n".join(re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL))
        for heading, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def run(*headings: str) -> dict[str, Any]:
    """Run the first block of the page and the named ones in one namespace."""
    module = sys.modules["mounting_page"] = ModuleType("mounting_page")  # Litestar looks for annotations there
    page = blocks()
    for heading in ("Mounting the server", *headings):
        exec(compile(page[heading], f"{PAGE}: {heading}", "exec"), module.__dict__)
    return vars(module)


def django_project() -> None:
    """Make this process a Django project with one page, and one that publishes from a synchronous view."""
    settings: Any = importlib.import_module("django.conf").settings

    if settings.configured:
        return
    settings.configure(ROOT_URLCONF="mounting_urls", ALLOWED_HOSTS=["*"], SECRET_KEY="of a test", DEBUG=False)
    source = """
from asgiref.sync import async_to_sync
from django.http import HttpResponse
from django.urls import path

def hello(request):
    return HttpResponse("hello")

def shout(request):
    async_to_sync(site.realtime.publish)(("news", {}), "from a view")
    return HttpResponse("done")

urlpatterns = [path("hello", hello), path("shout", shout)]
"""
    urls = ModuleType("mounting_urls")
    vars(urls)["site"] = SITE
    sys.modules["mounting_urls"] = urls
    exec(source, vars(urls))


class Current:
    """What Django's views find."""

    realtime: Any = None


SITE = Current()


@contextlib.asynccontextmanager
async def serving(app: Any, **options: Any) -> AsyncGenerator[str]:
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", timeout_graceful_shutdown=5, **options)
    server = uvicorn.Server(config)
    task = asyncio.get_running_loop().create_task(server.serve())
    while not server.started:
        if task.done():
            await task
        await asyncio.sleep(0)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await asyncio.wait_for(task, DEADLINE)


async def clients_meet(realtime: Any, base: str) -> None:
    """A client finds the server, hears it, and is refused what it may not see."""
    heard: asyncio.Queue[Any] = asyncio.Queue()

    async def get_token() -> str:
        return "ann"

    async with create_realtime_client(base, get_token=get_token, preset="node") as client:
        subscription = client.subscribe(("news", {}), lambda message: heard.put_nowait(message.data))
        await asyncio.wait_for(subscription.live(), DEADLINE)
        await realtime.publish(("news", {}), {"n": 1})
        assert await asyncio.wait_for(heard.get(), DEADLINE) == {"n": 1}
        with pytest.raises(ChannelDeniedError):
            await client.publish(("news", {}), "not granted")
    async with httpx.AsyncClient() as http:
        config = (await http.get(f"{base}/_realtime/config")).json()
        assert config["url"] == f"{base.replace('http', 'ws')}/_realtime/ws"
        posted = await http.post(f"{base}/_realtime/publish", json={"channel": "news", "data": 1})
        assert posted.status_code == 401
        assert (await http.get(f"{base}/_realtime/nothing")).status_code == 404


WAYS = pytest.mark.parametrize("ws", ["auto", FastProtocol])


@WAYS
@pytest.mark.parametrize("framework", ["Starlette", "FastAPI", "Litestar, and every other ASGI framework"])
async def test_the_page_works_without_a_lifespan(framework: str, ws: Any) -> None:
    page = run(framework)
    async with serving(page["app"], ws=ws, lifespan="off") as base:
        await clients_meet(page["realtime"], base)
        if framework.startswith("Litestar"):
            async with httpx.AsyncClient() as http:
                assert (await http.get(f"{base}/hello")).text == "hello"


@WAYS
async def test_under_django(ws: Any) -> None:
    django_project()
    page = run("Django")
    SITE.realtime = page["realtime"]
    async with serving(page["app"], ws=ws) as base:
        await clients_meet(page["realtime"], base)
        heard: asyncio.Queue[Any] = asyncio.Queue()

        async def get_token() -> str:
            return "ann"

        async with (
            create_realtime_client(base, get_token=get_token, preset="node") as client,
            httpx.AsyncClient() as http,
        ):
            await asyncio.wait_for(
                client.subscribe(("news", {}), lambda message: heard.put_nowait(message.data)).live(), DEADLINE
            )
            assert (await http.get(f"{base}/hello")).text == "hello"
            assert (await http.get(f"{base}/shout")).text == "done"
            assert await asyncio.wait_for(heard.get(), DEADLINE) == "from a view"


async def test_a_prefix_that_a_proxy_strips() -> None:
    page = run("Litestar, and every other ASGI framework")
    async with serving(page["app"], root_path="/prefix") as base, httpx.AsyncClient() as http:
        config = (await http.get(f"{base}/_realtime/config")).json()
        assert config["url"] == f"{base.replace('http', 'ws')}/prefix/_realtime/ws"


@pytest.mark.parametrize("framework", ["Starlette", "FastAPI", "Litestar"])
async def test_a_lifespan_opens_and_closes_the_server(framework: str) -> None:  # G1
    page = run("Starlette", "FastAPI", "Litestar, and every other ASGI framework")
    lifespan, assignments = blocks()["Lifespan"].split("\n\napp = ")
    (line,) = re.findall(rf"^\w+ = {framework}\(.*$", f"app = {assignments}", flags=re.MULTILINE)
    exec(f"{lifespan}\n{line}", page)
    if framework == "FastAPI":
        page["app"].mount("/_realtime", page["realtime"])
    async with serving(page["app"]) as base:
        await page["realtime"].publish(("news", {}), "before the first request")
        client = await connect(f"{base.replace('http', 'ws')}/_realtime/ws", proxy=None)
        await client.send('{"type":"hello","versions":[1],"token":"ann"}')
        assert '"welcome"' in str(await asyncio.wait_for(client.recv(), DEADLINE))
    with pytest.raises(ConnectionClosed) as caught:
        await asyncio.wait_for(client.recv(), DEADLINE)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1012
    with pytest.raises(PublishError):  # the lifespan has closed it
        await page["realtime"].publish(("news", {}), "too late")
