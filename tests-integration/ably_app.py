"""An application with the ably preset, the emulator beside it, and a proxy per user in between."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import uvicorn
from ably_js import AblyJs, JsClient
from ably_sdk import DEADLINE
from ably_server import KEY, Relay
from centrifugo_server import free_port
from starlette.applications import Starlette
from starlette.requests import HTTPConnection
from starlette.routing import Mount

from realtime_preset_ably import AblyPreset
from realtime_preset_ably.emulator import Emulator, serve
from tanstack_realtime import Channel, ClientContext, ConnectionLostError, HttpResponse, Timing
from tanstack_realtime._http import DefaultHttp
from tanstack_realtime.server import Authorize, Permissions, Realtime, bearer_token
from tanstack_realtime.testing import Access, Fault, TcpProxy, allow_everything

__all__ = ["AblyApp", "Way"]


class Way:
    """HTTP of one user, whose connection to Ably runs through a proxy.

    Args:
        ably: port where the application says that Ably is.
        proxy: port through which the user reaches it.
        answer_within: seconds that a request may take.

    Attributes:
        asked: the channels of each token that it has asked the application for.
        plan: statuses with which the application answers the next of these requests instead.
        is_silent: whether the connection that is kept open has died: the next request finds out and ends it.
    """

    def __init__(self, ably: int, proxy: int, answer_within: float) -> None:
        self._client = httpx.AsyncClient(timeout=answer_within)
        self._answer_within = answer_within
        self._known, self._proxied = f"127.0.0.1:{ably}", f"127.0.0.1:{proxy}"
        self.asked: list[list[str]] = []
        self.plan: list[int] = []
        self.is_silent = False

    async def __call__(
        self, method: str, url: str, /, *, headers: Mapping[str, str], body: bytes | None
    ) -> HttpResponse:
        if self.is_silent:
            await asyncio.sleep(self._answer_within)
            self.is_silent = False
            raise ConnectionLostError(f"{method} {url}: no answer", reason="no answer")
        asks = url.endswith("/ably/token")
        if asks:
            self.asked.append(json.loads(body or b"{}")["channels"])
            if self.plan:
                return HttpResponse(self.plan.pop(0), b"{}")
        try:
            response = await self._client.request(
                method, url.replace(self._proxied, self._known), headers=dict(headers), content=body
            )
        except httpx.TransportError as error:
            raise ConnectionLostError(f"{method} {url} failed: {error!r}", reason=repr(error)) from error
        content = response.content
        return HttpResponse(
            response.status_code,
            content.replace(self._known.encode(), self._proxied.encode()) if asks else content,
        )

    async def aclose(self) -> None:
        """Close kept connections."""
        await self._client.aclose()


@dataclass
class AblyApp:
    """An application and the emulator, both in this process.

    Attributes:
        relayed: whether `relay` stands between the application and the emulator's REST interface.
        ways: HTTP of each user that has got in.
        port: of the application.
        ably_port: of the emulator, in all its lives.
    """

    monkeypatch: pytest.MonkeyPatch
    relayed: bool = False
    quiet: float = 0.15
    detect_within: float = 8.0
    answer_within: float = 1.5
    timing: Timing | None = field(
        default_factory=lambda: Timing(first_delay=0.05, max_delay=0.5, ping_after=0.5, ping_within=0.5)
    )
    lacks: Mapping[Fault, str] = field(default_factory=dict[Fault, str])
    authorize: Authorize = allow_everything
    get_user: Callable[[HTTPConnection], str | None] = bearer_token

    def __post_init__(self) -> None:
        self.preset = AblyPreset()
        self.capabilities = self.preset.capabilities
        self.http = DefaultHttp()
        self.proxies: dict[str, TcpProxy] = {}
        self.ways: dict[str, Way] = {}
        self.stack = contextlib.AsyncExitStack()
        self.life = contextlib.AsyncExitStack()
        self.emulator: Emulator
        self.port = free_port()
        self.ably_port = free_port()
        self.relay = Relay(self.ably_port)
        self.known_port = self.relay.port if self.relayed else self.ably_port
        for name in ("PING_INTERVAL", "PING_TIMEOUT"):  # in place of the 25 s that Ably takes to notice a dead socket
            self.monkeypatch.setattr(f"realtime_preset_ably.emulator._server.{name}", 2.0)
        self.monkeypatch.setenv("ABLY_API_KEY", KEY)
        self.monkeypatch.setenv("ABLY_ENDPOINT", f"http://127.0.0.1:{self.known_port}")

    async def __aenter__(self) -> AblyApp:
        def authorize(user_id: str, channel: Channel) -> Permissions | Any:
            return self.authorize(user_id, channel)

        def get_user(connection: HTTPConnection) -> str | None:
            return self.get_user(connection)

        self.realtime = Realtime(authorize=authorize, get_user=get_user, preset=self.preset, on_error=lambda _: None)
        app = Starlette(routes=[Mount("/_realtime", self.realtime)])
        config = uvicorn.Config(app, host="127.0.0.1", port=self.port, log_level="error", lifespan="off")
        self.server = uvicorn.Server(config)
        self.serving = asyncio.get_running_loop().create_task(self.server.serve())
        while not self.server.started:
            if self.serving.done():
                await self.serving
            await asyncio.sleep(0)
        try:
            await self.start_ably()
            if self.relayed:
                await self.stack.enter_async_context(self.relay)
            for name in ("ann", "bob", "nobody"):
                self.proxies[name] = await self.stack.enter_async_context(TcpProxy(self.ably_port))
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stack.aclose()
        await self.http.aclose()
        await self.realtime.aclose()
        await self.stop_ably()
        self.server.should_exit = True
        await asyncio.wait_for(self.serving, DEADLINE)

    @property
    def url(self) -> str:
        """Where the realtime routes are."""
        return f"http://127.0.0.1:{self.port}/_realtime"

    async def start_ably(self) -> None:
        """Start the emulator; it knows nothing of an earlier life."""
        self.emulator = await self.life.enter_async_context(serve(port=self.ably_port, key=KEY))

    async def stop_ably(self) -> None:
        """Stop it."""
        await self.life.aclose()

    def access(self, user_id: str | None, /) -> Access:
        name = _first_name(user_id)
        way = self.ways[user_id or "nobody"] = Way(self.known_port, self.proxies[name].port, self.answer_within)
        self.stack.push_async_callback(way.aclose)
        transport = self.preset.create_transport(ClientContext(url=self.url, environ={}, http=way))
        return Access(transport=transport, url=self.url, token=user_id, http=way)

    async def front(self, js: AblyJs, user_id: str, *channels: str, proxied: bool = False, **options: Any) -> JsClient:
        """Connect ably-js as a front end of its own does, with a token for these channels.

        Args:
            js: the program.
            user_id: who logs in there.
            channels: that it asks for, by their names at Ably.
            proxied: whether it runs through the user's proxy.
            options: see `ably_js.AblyJs.open`.
        """
        port = self.proxies[_first_name(user_id)].port if proxied else self.ably_port
        auth = {"url": self.url, "bearer": user_id}
        client = await js.open(user_id, port=port, auth=auth, autoConnect=False, **options)
        await client.do("want", channels=list(channels))
        await client.do("connect")
        await client.do("connected")
        return client

    def set_authorize(self, authorize: Authorize, /) -> None:
        self.authorize = authorize

    async def publish(self, channel: Channel, data: Any, /) -> None:
        await self.realtime.publish(channel, data)

    async def revoke(self, user_id: str, channel: Channel, /) -> None:
        await self.realtime.revoke(user_id, channel)

    async def cut(self, user_id: str, /) -> None:
        self.proxies[_first_name(user_id)].cut()

    async def half_open(self, user_id: str, /) -> None:
        self.proxies[_first_name(user_id)].half_open()
        self.ways[user_id].is_silent = True

    async def vanish(self, user_id: str) -> None:
        """Break the user's connections to Ably, and let none be made again."""
        await self.proxies[_first_name(user_id)].__aexit__()

    async def restart(self) -> None:
        await self.stop_ably()
        await self.start_ably()


def _first_name(user_id: str | None) -> str:
    return (user_id or "nobody").partition("-")[0]
