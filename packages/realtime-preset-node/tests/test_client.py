"""The client half without sockets: addresses, settings, and what the preset declares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from realtime_preset_node import NodePreset, preset
from realtime_preset_node._client import NodeTransport, request_headers, socket_url
from tanstack_realtime import (
    ClientContext,
    ConfigurationError,
    ConnectionLostError,
    HttpResponse,
    OpenRequest,
    Preset,
    load_preset,
)


class NoHttp:
    async def __call__(
        self, method: str, url: str, /, *, headers: Mapping[str, str], body: bytes | None
    ) -> HttpResponse:
        raise ConnectionLostError(f"{method} {url}")


def transport() -> Any:
    return preset.create_transport(ClientContext(url=None, environ={}, http=NoHttp()))


@pytest.mark.parametrize(
    ("base", "socket"),
    [
        ("http://localhost:8000/_realtime", "ws://localhost:8000/_realtime/ws"),
        ("https://app.example/_realtime/", "wss://app.example/_realtime/ws"),
        ("wss://app.example", "wss://app.example/ws"),
        ("HTTPS://[::1]:8443/a/b", "wss://[::1]:8443/a/b/ws"),
    ],
)
def test_the_socket_is_below_the_mount(base: str, socket: str) -> None:
    assert socket_url(base) == socket


@pytest.mark.parametrize("base", ["", "app.example", "ftp://app.example", "https://", "/_realtime"])
def test_what_is_no_address_is_refused(base: str) -> None:
    with pytest.raises(ConfigurationError, match="is not the address"):
        socket_url(base)


@pytest.mark.parametrize(("length", "is_sent"), [(8000, True), (8001, False)])
def test_a_token_that_is_longer_than_servers_take_stays_out_of_the_handshake(length: int, is_sent: bool) -> None:
    headers = request_headers(OpenRequest(url=None, token="t" * length, headers={"x-app": "1"}))
    assert headers.pop("Authorization", None) == ("Bearer " + "t" * length if is_sent else None)
    assert headers == {"x-app": "1"}


async def test_a_remote_client_needs_an_address() -> None:
    with pytest.raises(ConfigurationError, match=r"local_transport\(user_id"):
        await transport().open(OpenRequest(url=None), object())


def test_the_entry_point_names_the_preset() -> None:
    assert load_preset("node") is preset
    assert isinstance(preset, Preset)
    assert isinstance(transport(), NodeTransport)


def test_what_it_declares_follows_its_settings() -> None:
    from realtime_preset_node import HistoryLimits

    declared = NodePreset(history=HistoryLimits(messages=7)).capabilities
    assert (declared.recovery, declared.history, declared.native_presence) == (True, 7, True)
    assert declared.publish_over_link
    assert declared.retry == "client"
