"""A browser's own WebSocket speaks docs/protocol.md: pages in a real Chromium, without any client library.

Needs Debian's package ``chromium``; ``make browser`` installs it. With REQUIRE_BROWSER set, as in CI, a missing browser
is a failure.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from chromium import DEADLINE, FLAGS, program
from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route

from realtime_preset_node.uvicorn import FastProtocol
from tanstack_realtime import Channel
from tanstack_realtime.server import Permissions, Realtime, bearer_token

PROTOCOL = Path(__file__).parent.parent / "docs" / "protocol.md"
REPORT = """
const report = (value) => fetch("/report", { method: "POST", body: JSON.stringify(value) });
window.addEventListener("error", (event) => report({ failure: event.message }));
window.addEventListener("unhandledrejection", (event) => report({ failure: String(event.reason) }));
"""

TALK = """
const open = (url) => {
  const socket = new WebSocket(url), frames = [], waiting = [];
  socket.onmessage = ({ data }) => data.split("\\n").map((line) => JSON.parse(line)).forEach((frame) => {
    waiting.length ? waiting.shift()(frame) : frames.push(frame);
  });
  return {
    opened: new Promise((resolve) => (socket.onopen = resolve)),
    closed: new Promise((resolve) => (socket.onclose = ({ code }) => resolve(code))),
    send: (frame) => socket.send(JSON.stringify(frame)),
    next: () => (frames.length ? Promise.resolve(frames.shift()) : new Promise((resolve) => waiting.push(resolve))),
    extensions: () => socket.extensions,
    close: () => socket.close(),
  };
};
const here = `ws://${location.host}/_realtime/ws`;
"""


def get_user(connection: HTTPConnection) -> str | None:
    return bearer_token(connection) or connection.cookies.get("user")


def authorize(user_id: str, channel: Channel) -> Permissions:
    granted = channel.namespace in ("todos", "chat")
    return Permissions(subscribe=granted, publish=channel.namespace == "chat")


class Site:
    """A page with a script, the realtime server, and what the script reports."""

    def __init__(self, script: str) -> None:
        self.reports: asyncio.Queue[Any] = asyncio.Queue()
        self.realtime = Realtime(authorize=authorize, get_user=get_user, preset="node")
        self._page = f"<!doctype html><title>test</title><script type=module>{REPORT}{script}</script>"
        self.app = Starlette(
            routes=[
                Mount("/_realtime", self.realtime),
                Route("/page", self._show),
                Route("/report", self._take, methods=["POST"]),
            ]
        )

    async def _show(self, _: Request) -> Response:
        response = HTMLResponse(self._page)
        response.set_cookie("user", "carol", samesite="strict", httponly=True)
        return response

    async def _take(self, request: Request) -> Response:
        self.reports.put_nowait(await request.json())
        return Response()

    async def report(self) -> Any:
        report = await asyncio.wait_for(self.reports.get(), DEADLINE)
        assert "failure" not in report, report
        return report

    @contextlib.asynccontextmanager
    async def visited(self, folder: Path, **options: Any) -> AsyncGenerator[None]:
        """Serve, and show the page in a browser."""
        executable = program()
        config = uvicorn.Config(
            self.app, host="127.0.0.1", port=0, log_level="error", timeout_graceful_shutdown=5, **options
        )
        server = uvicorn.Server(config)
        serving = asyncio.get_running_loop().create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0)
        port = server.servers[0].sockets[0].getsockname()[1]
        process = await asyncio.create_subprocess_exec(
            *(executable, "--headless=new", *FLAGS, f"--user-data-dir={folder}", "--remote-debugging-port=0"),
            f"http://127.0.0.1:{port}/page",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            yield
        finally:
            process.kill()
            await process.wait()
            server.should_exit = True
            await asyncio.wait_for(serving, DEADLINE)


async def test_the_snippet_of_the_page(tmp_path: Path) -> None:  # A15
    """The console snippet of docs/protocol.md, as it stands there; its `console.log` reports."""
    (snippet,) = re.findall(r"^```javascript\n(.*?)^```$", PROTOCOL.read_text(), flags=re.MULTILINE | re.DOTALL)
    site = Site(f"console.log = report;\n{snippet.replace('wss:', 'ws:')}")  # there is no certificate here
    async with site.visited(tmp_path):
        welcome = await site.report()
        assert (welcome["type"], welcome["user"]) == ("welcome", "carol")  # who the cookie says
        assert (await site.report())["type"] == "subscribed"
        await site.realtime.publish(("todos", {"project_id": "7"}), {"action": "refetch"})
        message = await site.report()
        assert (message["type"], message["offset"], message["data"]) == ("messages", 1, [{"action": "refetch"}])


@pytest.mark.parametrize("options", [{}, {"ws": FastProtocol}, {"ws": FastProtocol, "ws_per_message_deflate": False}])
async def test_two_sockets_of_a_page_chat_and_recover(tmp_path: Path, options: dict[str, Any]) -> None:  # P5, X5
    site = Site(
        TALK
        + """
const one = open(here), two = open(here);
await Promise.all([one.opened, two.opened]);
for (const [socket, token] of [[one, "ann"], [two, "bo"]]) {
  socket.send({ type: "hello", versions: [1], token });
  await socket.next();
  socket.send({ type: "subscribe", id: 1, channel: "chat:room=1" });
  await socket.next();
}
const text = "Grüße 𝄞 ".repeat(3000);
one.send({ type: "publish", id: 2, channel: "chat:room=1", data: { text } });
const mine = await one.next(), done = await one.next(), theirs = await two.next();
two.close();
await two.closed;
one.send({ type: "publish", id: 3, channel: "chat:room=1", data: "missed" });
await one.next(); await one.next();
const back = open(here);
await back.opened;
back.send({ type: "hello", versions: [1], token: "bo" });
await back.next();
back.send({ type: "subscribe", id: 1, channel: "chat:room=1", since: { epoch: "", offset: theirs.offset } });
const unknown = await back.next();
back.send({ type: "subscribe", id: 2, channel: "chat:room=1", since: { epoch: unknown.epoch, offset: theirs.offset } });
const again = await back.next();
back.send({ type: "subscribe", id: 3, channel: "secret" });
const denied = await back.next();
report({
  same: mine.data[0].text === text && theirs.data[0].text === text,
  mine: [mine.own, mine.user], theirs: [theirs.own ?? false, theirs.user], done: done.type,
  unknown: unknown.recovered, again: [again.recovered, again.missed.flatMap((run) => run.data)],
  denied: denied.code, deflate: one.extensions() !== "",
});
"""
    )
    async with site.visited(tmp_path, **options):
        assert await site.report() == {
            "same": True,
            "mine": [True, "ann"],
            "theirs": [False, "ann"],
            "done": "ok",
            "unknown": False,
            "again": [True, ["missed"]],
            "denied": "denied",
            "deflate": options.get("ws_per_message_deflate", True),
        }


async def test_the_browser_sees_why_it_is_refused(tmp_path: Path) -> None:  # A15, C12
    site = Site(
        TALK
        + """
const refused = async (url, hello) => {
  const socket = open(url);
  await socket.opened;
  socket.send(hello);
  return socket.closed;
};
report([
  await refused(here, { type: "hello", versions: [7] }),
  await refused(here, { type: "subscribe", id: 1, channel: "chat" }),
  // The page of one host, the server under the name of another one; and cookies do not cross over.
  await refused(here.replace("127.0.0.1", "localhost"), { type: "hello", versions: [1], token: "ann" }),
]);
"""
    )
    async with site.visited(tmp_path):
        assert await site.report() == [4406, 4400, 4403]
