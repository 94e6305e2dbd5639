"""What is read from the environment, and how it is refused."""

from __future__ import annotations

import pytest

from realtime_preset_ably._settings import SERVER_ENV, ServerSettings
from tanstack_realtime import ConfigurationError


def read(**changes: str) -> ServerSettings:
    return ServerSettings.read({"ABLY_API_KEY": "app.key-1:the-secret", **changes})


def test_a_key_is_enough() -> None:
    settings = read()

    assert (settings.key_name, settings.key_secret, settings.token_ttl) == ("app.key-1", "the-secret", 900.0)
    assert (settings.endpoint, settings.tls) == (None, True)
    assert settings.socket_url == "wss://main.realtime.ably.net"
    assert settings.rest_urls == (
        "https://main.realtime.ably.net",
        *(f"https://main.{letter}.fallback.ably-realtime.com" for letter in "abcde"),
    )


def test_the_secret_is_not_in_the_repr() -> None:  # A15
    assert "app.key-1" in repr(read())
    assert "the-secret" not in repr(read())


@pytest.mark.parametrize(
    ("given", "endpoint", "tls", "rest"),
    [
        ("http://127.0.0.1:8790", "127.0.0.1:8790", False, "http://127.0.0.1:8790"),
        ("http://ably:8790/", "ably:8790", False, "http://ably:8790"),
        ("https://ably.example.com", "ably.example.com", True, "https://ably.example.com"),
        ("ably.example.com:8443", "ably.example.com:8443", True, "https://ably.example.com:8443"),
        ("localhost", "localhost", True, "https://localhost"),
        ("http://ably", "ably:80", False, "http://ably:80"),
        ("https://ably", "ably:443", True, "https://ably:443"),
        ("http://[::1]:8790", "[::1]:8790", False, "http://[::1]:8790"),
    ],
)
def test_another_server(given: str, endpoint: str, tls: bool, rest: str) -> None:
    settings = read(ABLY_ENDPOINT=given)

    assert (settings.endpoint, settings.tls, settings.rest_urls) == (endpoint, tls, (rest,))


def test_a_routing_policy_has_fallbacks_of_its_own() -> None:
    settings = read(ABLY_ENDPOINT="acme")

    assert settings.endpoint == "acme"
    assert read(ABLY_ENDPOINT="nonprod:acme").rest_urls[0] == "https://acme.realtime.ably-nonprod.net"
    assert settings.rest_urls[:2] == ("https://acme.realtime.ably.net", "https://acme.a.fallback.ably-realtime.com")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ABLY_API_KEY", "app.key-1"),
        ("ABLY_API_KEY", "hidden"),
        ("ABLY_API_KEY", "app.key-1:hidden\n"),
        ("ABLY_API_KEY", "app.key-1:hid:den"),
        ("ABLY_ENDPOINT", "ws://localhost:8790"),
        ("ABLY_ENDPOINT", "http://"),
        ("ABLY_ENDPOINT", "http://localhost:port"),
        ("ABLY_ENDPOINT", "http://user@localhost"),
        ("ABLY_ENDPOINT", "http://localhost/path"),
        ("ABLY_TOKEN_TTL", "0"),
        ("ABLY_TOKEN_TTL", "59"),
        ("ABLY_TOKEN_TTL", "901"),
        ("ABLY_TOKEN_TTL", "nan"),
        ("ABLY_TOKEN_TTL", "soon"),
    ],
)
def test_what_cannot_be_used_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=name) as caught:
        read(**{name: value})

    assert "hid" not in str(caught.value) + caught.value.reason


def test_only_the_key_is_needed_and_secret() -> None:
    assert {variable.name for variable in SERVER_ENV if variable.required} == {"ABLY_API_KEY"}
    assert {variable.name for variable in SERVER_ENV if variable.secret} == {"ABLY_API_KEY"}
