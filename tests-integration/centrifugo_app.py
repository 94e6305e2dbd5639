"""An application with the centrifugo preset, the server beside it, and a proxy per user in between."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest
import uvicorn
from centrifugo_server import CentrifugoServer, free_port
from starlette.applications import Starlette
from starlette.routing import Mount

from realtime_preset_centrifugo import CentrifugoPreset
from tanstack_realtime import Channel, ClientContext, Http, HttpResponse, Timing
from tanstack_realtime._http import DefaultHttp
from tanstack_realtime.server import Authorize, Permissions, Realtime, bearer_token
from tanstack_realtime.testing import Access, Fault, TcpProxy, allow_everything

DEADLINE = 10.0
"""Seconds after which a wait counts as failed."""


class Centrifugo(Protocol):
    """What the application is put beside: one node, or more behind one port."""

    @property
    def port(self) -> int:
        """Where clients connect."""
        ...

    def environ(self, socket_port: int | None = None) -> Mapping[str, str]:
        """Return the variables of the preset's server half."""
        ...

    async def start(self) -> None:
        """Start it and wait until it is healthy."""
        ...

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop it, and wait until it is gone."""
        ...


class Through:
    """HTTP of one user, who reaches Centrifugo through a proxy of its own."""

    def __init__(self, http: Http, centrifugo: int, proxy: int) -> None:
        self._http = http
        self._ports = str(centrifugo).encode(), str(proxy).encode()

    async def __call__(
        self, method: str, url: str, /, *, headers: Mapping[str, str], body: bytes | None
    ) -> HttpResponse:
        response = await self._http(method, url, headers=headers, body=body)
        if not url.endswith("/token"):
            return response
        return HttpResponse(response.status, response.body.replace(*self._ports, 1))


@dataclass
class RealCentrifugo:
    """An application in this process, and a server beside it."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch
    quiet: float = 0.15
    detect_within: float = 8.0
    timing: Timing = field(
        default_factory=lambda: Timing(first_delay=0.05, max_delay=0.5, ping_after=0.5, ping_within=0.5)
    )
    lacks: Mapping[Fault, str] = field(default_factory=dict[Fault, str])
    authorize: Authorize = allow_everything
    beside: Callable[[Path, int], Centrifugo] = CentrifugoServer

    def __post_init__(self) -> None:
        self.preset = CentrifugoPreset()
        self.capabilities = self.preset.capabilities
        self.http = DefaultHttp()
        self.proxies: dict[str, TcpProxy] = {}
        self.stack = contextlib.AsyncExitStack()
        self.port = free_port()
        self.centrifugo = self.beside(self.folder, self.port)
        for name, value in self.centrifugo.environ().items():
            self.monkeypatch.setenv(name, value)

    async def __aenter__(self) -> RealCentrifugo:
        def authorize(user_id: str, channel: Channel) -> Permissions | Any:
            return self.authorize(user_id, channel)

        self.realtime = Realtime(
            authorize=authorize, get_user=bearer_token, preset=self.preset, on_error=lambda _: None
        )
        app = Starlette(routes=[Mount("/_realtime", self.realtime)])
        config = uvicorn.Config(app, host="127.0.0.1", port=self.port, log_level="error", lifespan="off")
        self.server = uvicorn.Server(config)
        self.serving = asyncio.get_running_loop().create_task(self.server.serve())
        while not self.server.started:
            if self.serving.done():
                await self.serving
            await asyncio.sleep(0)
        try:
            await self.centrifugo.start()
            for name in ("ann", "bob", "nobody"):
                self.proxies[name] = await self.stack.enter_async_context(TcpProxy(self.centrifugo.port))
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stack.aclose()
        await self.http.aclose()
        await self.realtime.aclose()
        await self.centrifugo.stop()
        self.server.should_exit = True
        await asyncio.wait_for(self.serving, DEADLINE)

    def proxy(self, user_id: str | None) -> TcpProxy:
        return self.proxies[(user_id or "nobody").partition("-")[0]]

    def access(self, user_id: str | None, /) -> Access:
        through = Through(self.http, self.centrifugo.port, self.proxy(user_id).port)
        url = f"http://127.0.0.1:{self.port}/_realtime"
        transport = self.preset.create_transport(ClientContext(url=url, environ={}, http=through))
        return Access(transport=transport, url=url, token=user_id, http=self.http)

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
        await self.centrifugo.stop()
        await self.centrifugo.start()
