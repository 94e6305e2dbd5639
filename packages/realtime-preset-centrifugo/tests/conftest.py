"""The application's side without Centrifugo: what its routes answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from realtime_preset_centrifugo import CentrifugoPreset
from tanstack_db.testing import VirtualClockLoop
from tanstack_realtime import Channel, RealtimeError
from tanstack_realtime.server import Identity, Permissions, Realtime, bearer_token

ENVIRON = {
    "REALTIME_API_URL": "http://127.0.0.1:9/api",
    "REALTIME_API_KEY": "the-key-of-the-api",
    "REALTIME_URL": "ws://centrifugo.example/connection/websocket",
    "REALTIME_TOKEN_SECRET": "the-secret-that-signs-tokens-0123456789",
    "REALTIME_PROXY_SECRET": "the-secret-of-the-proxies-0123456789ab",
}


def pytest_asyncio_loop_factories(config: Any, item: Any) -> dict[str, type[VirtualClockLoop]]:
    """Tests run in virtual time."""
    return {"virtual": VirtualClockLoop}


@dataclass
class Application:
    """An application with the preset, and what its `authorize` was asked.

    Attributes:
        decide: `authorize`.
        identity: what `get_user` returns for a token.
        validate: the hook for payloads.
    """

    decide: Callable[[str, Channel], Any] = lambda _user, _channel: Permissions()
    identity: Callable[[str], str | Identity | None] = lambda token: token
    validate: Callable[[str, Channel, Any], Any] = lambda _user, _channel, data: data
    asked: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    errors: list[RealtimeError] = field(default_factory=list[RealtimeError])
    realtime: Realtime = field(init=False)
    http: httpx.AsyncClient = field(init=False)

    def __post_init__(self) -> None:
        self.realtime = self.build()
        app = Starlette(routes=[Mount("/_realtime", self.realtime)])
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://app.example")

    def build(self, **arguments: Any) -> Realtime:
        return Realtime(
            authorize=self._authorize,
            get_user=lambda connection: self._user(bearer_token(connection)),
            validate=self._validate,
            preset=CentrifugoPreset(),
            channels={"todos": {"project_id"}},
            on_error=self.errors.append,
            **arguments,
        )

    async def ask(
        self, what: str, body: Mapping[str, Any], *, secret: str | None = ENVIRON["REALTIME_PROXY_SECRET"]
    ) -> httpx.Response:
        """Ask as Centrifugo does."""
        headers = {} if secret is None else {"X-Realtime-Proxy-Secret": secret}
        return await self.http.post(f"/_realtime/centrifugo/{what}", json=dict(body), headers=headers)

    def _authorize(self, user_id: str, channel: Channel) -> Any:
        self.asked.append((user_id, channel.raw))
        return self.decide(user_id, channel)

    def _validate(self, user_id: str, channel: Channel, data: Any) -> Any:
        return self.validate(user_id, channel, data)

    def _user(self, token: str | None) -> str | Identity | None:
        return None if token is None else self.identity(token)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set what the preset reads."""
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
async def application() -> AsyncIterator[Application]:
    """An application that grants nothing, until a test says otherwise."""
    application = Application()
    yield application
    await application.http.aclose()
    await application.realtime.aclose()
