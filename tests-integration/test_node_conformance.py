"""The node preset passes the conformance kit over real sockets: uvicorn, `websockets`, and a proxy that breaks them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from realtime_preset_node import NodePreset
from tanstack_realtime import Channel, ClientContext, Timing
from tanstack_realtime._http import DefaultHttp
from tanstack_realtime.server import Authorize, Permissions, Realtime, bearer_token
from tanstack_realtime.testing import Access, ConformanceProvider, Fault, TcpProxy, allow_everything

DEADLINE = 10.0
"""Seconds after which a wait counts as failed."""


@dataclass
class RealSockets:
    """A server in this process behind a proxy per user."""

    quiet: float = 0.15
    detect_within: float = 5.0
    timing: Timing = field(default_factory=lambda: Timing(first_delay=0.05, ping_after=0.5, ping_within=0.5))
    lacks: Mapping[Fault, str] = field(default_factory=dict[Fault, str])
    authorize: Authorize = allow_everything
    port: int = 0

    def __post_init__(self) -> None:
        self.preset = NodePreset()
        self.capabilities = self.preset.capabilities
        self.http = DefaultHttp()
        self.proxies: dict[str, TcpProxy] = {}
        self.stack = contextlib.AsyncExitStack()

    async def start(self) -> None:
        def authorize(user_id: str, channel: Channel) -> Permissions | Any:
            return self.authorize(user_id, channel)

        self.realtime = Realtime(
            authorize=authorize, get_user=bearer_token, preset=self.preset, on_error=lambda _: None
        )
        app = Starlette(routes=[Mount("/_realtime", self.realtime)])
        config = uvicorn.Config(app, host="127.0.0.1", port=self.port, log_level="error", timeout_graceful_shutdown=5)
        self.server = uvicorn.Server(config)
        self.serving = asyncio.get_running_loop().create_task(self.server.serve())
        while not self.server.started:
            if self.serving.done():
                await self.serving
            await asyncio.sleep(0)
        self.port = self.server.servers[0].sockets[0].getsockname()[1]

    async def stop(self) -> None:
        await self.realtime.aclose()
        self.server.should_exit = True
        await asyncio.wait_for(self.serving, DEADLINE)

    async def __aenter__(self) -> RealSockets:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()
        await self.stack.aclose()
        await self.http.aclose()

    async def prepare(self) -> None:
        """Start the proxies of the users that checks have; `access` cannot wait."""
        for name in ("ann", "bob", "nobody"):
            self.proxies[name] = await self.stack.enter_async_context(TcpProxy(self.port))

    def proxy(self, user_id: str | None) -> TcpProxy:
        return self.proxies[(user_id or "nobody").partition("-")[0]]

    def access(self, user_id: str | None, /) -> Access:
        transport = self.preset.create_transport(ClientContext(url=None, environ={}, http=self.http))
        url = f"http://127.0.0.1:{self.proxy(user_id).port}"
        return Access(transport=transport, url=f"{url}/_realtime", token=user_id, http=self.http)

    def set_authorize(self, authorize: Authorize, /) -> None:
        self.authorize = authorize

    async def publish(self, channel: Channel, data: Any, /) -> None:
        await self.realtime.publish(channel, data)

    async def revoke(self, user_id: str, channel: Channel, /) -> None:
        await self.realtime.revoke(user_id, channel)

    async def cut(self, user_id: str, /) -> None:
        self.proxy(user_id).cut()

    async def half_open(self, user_id: str, /) -> None:
        self.proxy(user_id).half_open()

    async def restart(self) -> None:
        await self.stop()
        await self.start()


@pytest.fixture
async def provider() -> AsyncIterator[RealSockets]:
    async with RealSockets() as provider:
        await provider.prepare()
        yield provider


async def test_over_real_sockets(
    conformance_check: Callable[[ConformanceProvider], Awaitable[None]], provider: RealSockets
) -> None:
    await conformance_check(provider)
