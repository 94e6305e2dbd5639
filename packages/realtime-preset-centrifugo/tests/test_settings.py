"""What is read from the environment, and how it is refused."""

from __future__ import annotations

import pytest

from realtime_preset_centrifugo import CentrifugoPreset
from realtime_preset_centrifugo._settings import SERVER_ENV, ServerSettings
from tanstack_realtime import ClientContext, ConfigurationError, Http, HttpResponse, read_environment
from tanstack_realtime.server import Permissions, Realtime


def read(**changes: str) -> ServerSettings:
    values = {
        "REALTIME_API_URL": "http://127.0.0.1:8000/api/",
        "REALTIME_API_KEY": "very-secret-key",
        "REALTIME_URL": "ws://localhost:8000/connection/websocket",
        "REALTIME_TOKEN_SECRET": "t" * 32,
        "REALTIME_PROXY_SECRET": "p" * 32,
    }
    return ServerSettings.read({**values, **changes})


def test_no_secret_is_in_the_repr() -> None:
    shown = repr(read())

    assert "http://127.0.0.1:8000/api" in shown
    for secret in ("very-secret-key", "t" * 32, "p" * 32):
        assert secret not in shown


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("ws://localhost:8000/connection/websocket", "ws://localhost:8000/connection/websocket"),
        ("https://rt.example.com", "wss://rt.example.com/connection/websocket"),
        ("http://localhost:8000/", "ws://localhost:8000/connection/websocket"),
        ("wss://example.com/rt/ws/", "wss://example.com/rt/ws"),
    ],
)
def test_the_clients_address(given: str, expected: str) -> None:
    assert read(REALTIME_URL=given).socket_url == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REALTIME_API_URL", "localhost:8000"),
        ("REALTIME_API_URL", "ws://localhost:8000/api"),
        ("REALTIME_URL", "localhost:8000"),
        ("REALTIME_URL", "ftp://localhost"),
        ("REALTIME_TOKEN_SECRET", "short"),
        ("REALTIME_PROXY_SECRET", "short"),
        ("REALTIME_PROXY_SECRET", "t" * 32),
    ],
)
def test_what_cannot_be_used_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=name) as caught:
        read(**{name: value})

    assert "short" not in str(caught.value)


def test_the_seeds_name_is_read_too() -> None:
    names = {variable.name for variable in SERVER_ENV}
    environ = {name: "x" for name in names - {"REALTIME_URL"}}

    found = read_environment("centrifugo", SERVER_ENV, {**environ, "VITE_REALTIME_URL": "ws://localhost:8000"})

    assert found["REALTIME_URL"] == "ws://localhost:8000"
    assert {variable.name for variable in SERVER_ENV if variable.secret} == {
        "REALTIME_API_KEY",
        "REALTIME_TOKEN_SECRET",
        "REALTIME_PROXY_SECRET",
    }


def test_all_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in SERVER_ENV:
        monkeypatch.delenv(variable.name)

    with pytest.raises(ConfigurationError) as caught:
        Realtime(authorize=lambda _u, _c: Permissions(), get_user=lambda _: None, preset=CentrifugoPreset())

    assert all(variable.name in str(caught.value) for variable in SERVER_ENV)


def test_a_client_is_not_pointed_at_centrifugo() -> None:
    async def http(*_: object, **__: object) -> HttpResponse:
        raise AssertionError("nothing is sent")

    sender: Http = http
    with pytest.raises(ConfigurationError, match="the application's"):
        CentrifugoPreset().create_transport(
            ClientContext(url="http://localhost:8000/connection/websocket", environ={}, http=sender)
        )
