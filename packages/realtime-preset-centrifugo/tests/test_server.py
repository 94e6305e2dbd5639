"""The server half and Centrifugo's API, without Centrifugo: what is sent, and what becomes of its answers."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from typing import Any

import pytest
from cent import (
    AsyncClient,
    CentApiResponseError,
    CentNetworkError,
    CentTransportError,
    CentUnauthorizedError,
)
from cent.exceptions import CentTimeoutError

from realtime_preset_centrifugo import _server
from tanstack_db.testing import settle
from tanstack_realtime import Channel, ChannelError, ConfigurationError, PublishError
from tanstack_realtime.server import Permissions

CHANNEL = ("todos", {"project_id": "1"})


def granting(**flags: bool) -> Callable[[str, Channel], Permissions]:
    def decide(_user: str, _channel: Channel) -> Permissions:
        return Permissions(subscribe=flags.get("subscribe", False), publish=flags.get("publish", False))

    return decide


class Api:
    """Stands in for Centrifugo's API: notes what is sent, and answers with `failure`."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.failure: Exception | None = None

    async def send(self, _client: AsyncClient, request: Any, timeout: float | None = None) -> None:  # noqa: ASYNC109
        self.sent.append({"method": request.api_method, **request.model_dump(exclude_none=True)})
        if self.failure is not None:
            raise self.failure


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Api:
    api = Api()

    async def send(client: AsyncClient, request: Any, timeout: float | None = None) -> None:  # noqa: ASYNC109
        await api.send(client, request, timeout)

    monkeypatch.setattr(AsyncClient, "_send", send)
    return api


async def test_a_message_of_the_server_is_sent_as_it_was_encoded(application: Any, api: Api) -> None:
    await application.realtime.publish(CHANNEL, {"text": "ü"})
    await application.realtime.publish(CHANNEL, None)

    assert [base64.b64decode(sent["b64data"]) for sent in api.sent] == ['{"text":"ü"}'.encode(), b"null"]
    assert {(sent["method"], sent["channel"]) for sent in api.sent} == {("publish", "rt:todos:project_id=1")}
    assert not any("tags" in sent or "idempotency_key" in sent for sent in api.sent)


async def test_a_message_of_a_user_is_told_as_theirs(application: Any, api: Api) -> None:  # CF-8.13
    body = {"channel": "todos:project_id=1", "data": 1}
    headers = {"authorization": "Bearer ann", "content-type": "application/json"}
    refused = await application.http.post("/_realtime/publish", json=body, headers=headers)
    application.decide = granting(publish=True)
    accepted = await application.http.post("/_realtime/publish", json=body, headers=headers)
    nobody = await application.http.post("/_realtime/publish", json=body)

    assert (refused.status_code, accepted.status_code, nobody.status_code) == (403, 200, 401)
    assert [sent["tags"] for sent in api.sent] == [{"user": "ann"}]


@pytest.mark.parametrize(
    ("failure", "code", "retryable"),
    [
        (CentApiResponseError(102, "unknown channel"), "102", False),  # CF-8.14
        (CentApiResponseError(107, "bad request"), "107", False),
        (CentApiResponseError(100, "internal server error"), "100", True),
        (CentUnauthorizedError(), "api_key", False),
        (CentTransportError(404), "404", False),
        (CentTransportError(502), "502", True),
        (CentNetworkError("refused"), "unavailable", True),
        (CentTimeoutError("late"), "unavailable", True),
    ],
)
async def test_a_failure_of_the_api_is_an_error(
    application: Any, api: Api, failure: Exception, code: str, retryable: bool
) -> None:
    api.failure = failure
    with pytest.raises(PublishError) as caught:
        await application.realtime.publish(CHANNEL, 1)

    assert (caught.value.code, caught.value.retryable) == (code, retryable)
    assert "the-key-of-the-api" not in str(caught.value)


async def test_a_revoked_channel_ends_in_both_namespaces(application: Any, api: Api) -> None:
    await application.realtime.revoke("~ann", CHANNEL)

    assert api.sent == [
        {"method": "unsubscribe", "user": "~~ann", "channel": "rt:todos:project_id=1"},
        {"method": "unsubscribe", "user": "~~ann", "channel": "rtp:todos:project_id=1"},
    ]


async def test_a_revoked_user_is_sent_away_for_good(application: Any, api: Api) -> None:
    await application.realtime.revoke("ann")

    [sent] = api.sent
    assert (sent["method"], sent["user"]) == ("disconnect", "ann")
    assert 4500 <= sent["disconnect"]["code"] < 5000
    assert len(sent["disconnect"]["reason"]) <= 32


async def test_no_channel_is_ever_empty(application: Any, api: Api) -> None:
    with pytest.raises(ChannelError):
        await application.realtime.revoke("ann", "")

    assert api.sent == []


async def test_who_came_back_without_a_grant_is_thrown_out(
    application: Any, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_server, "_SECOND_SWEEP", 0.0)
    application.decide = granting(subscribe=True)
    await application.realtime.revoke("ann", CHANNEL)
    await asyncio.wait(application.realtime._server._sweeps)
    await settle()

    assert [sent["channel"].partition(":")[0] for sent in api.sent] == ["rt", "rtp", "rtp"]


async def test_a_local_client_is_somebody(application: Any) -> None:
    with pytest.raises(ConfigurationError, match="non-empty"):
        application.realtime.local_transport(user_id="")

    assert application.realtime.local_transport(user_id="ann").capabilities.publish_over_link


async def test_the_address_is_centrifugos(application: Any) -> None:
    config = (await application.http.get("/_realtime/config")).json()

    assert config["preset"] == "centrifugo"
    assert config["url"] == "ws://centrifugo.example/connection/websocket"
