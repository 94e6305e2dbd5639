"""The application's side without Ably: what its routes answer, and what they would have sent there."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from realtime_preset_ably import _api
from realtime_preset_ably._preset import AblyPreset
from tanstack_db.testing import VirtualClockLoop
from tanstack_realtime import Channel, RealtimeError
from tanstack_realtime.server import Identity, Permissions, Realtime, bearer_token

SECRET = "the-secret-of-the-key"


def pytest_asyncio_loop_factories(config: Any, item: Any) -> dict[str, type[VirtualClockLoop]]:
    """Tests run in virtual time."""
    return {"virtual": VirtualClockLoop}


@dataclass
class Ably:
    """Stands in for Ably's REST API: notes requests, and answers with the next of `answers`, or well.

    Attributes:
        answers: responses, or exceptions to raise.
        requests: what came.
    """

    answers: list[httpx.Response | Exception] = field(default_factory=list[httpx.Response | Exception])
    requests: list[httpx.Request] = field(default_factory=list[httpx.Request])

    def handle(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        self.requests.append(request)
        answer = self.answers.pop(0) if self.answers else httpx.Response(201, json={})
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def bodies(self) -> list[Any]:
        """What was sent, decoded."""
        return [json.loads(request.content) for request in self.requests]


@dataclass
class Application:
    """An application with the preset, and what its `authorize` was asked.

    Attributes:
        ably: where it publishes.
        decide: `authorize`.
        identity: what `get_user` returns for a token.
        validate: the hook for payloads.
    """

    ably: Ably
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
        """Return another server of the same application: a worker."""
        return Realtime(
            authorize=self._authorize,
            get_user=lambda connection: self._user(bearer_token(connection)),
            validate=self._validate,
            preset=AblyPreset(),
            channels={"todos": {"project_id"}},
            on_error=self.errors.append,
            **arguments,
        )

    async def token(self, channels: Sequence[Any], bearer: str | None = "ann", **headers: str) -> httpx.Response:
        """Ask for a token as a client does."""
        given = {"content-type": "application/json"}
        if bearer is not None:
            given["authorization"] = f"Bearer {bearer}"
        body = json.dumps({"channels": channels})
        return await self.http.post("/_realtime/ably/token", content=body, headers={**given, **headers})

    def _authorize(self, user_id: str, channel: Channel) -> Any:
        self.asked.append((user_id, channel.raw))
        return self.decide(user_id, channel)

    def _validate(self, user_id: str, channel: Channel, data: Any) -> Any:
        return self.validate(user_id, channel, data)

    def _user(self, token: str | None) -> str | Identity | None:
        return None if token is None else self.identity(token)


@pytest.fixture
def ably(monkeypatch: pytest.MonkeyPatch) -> Ably:
    """Take the place of Ably."""
    ably = Ably()
    monkeypatch.setattr(_api, "new_http", lambda: httpx.AsyncClient(transport=httpx.MockTransport(ably.handle)))
    return ably


@pytest.fixture
async def application(ably: Ably, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Application]:
    """An application that grants nothing, until a test says otherwise."""
    monkeypatch.setenv("ABLY_API_KEY", f"app.key:{SECRET}")
    monkeypatch.delenv("ABLY_ENDPOINT", raising=False)
    monkeypatch.delenv("ABLY_TOKEN_TTL", raising=False)
    application = Application(ably)
    yield application
    await application.http.aclose()
    await application.realtime.aclose()
