"""What the generated configuration says. Whether Centrifugo takes it is asked in tests-integration/."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from realtime_preset_centrifugo._config import CONTAINER_ENV, HISTORY_SIZE, MAX_MESSAGE_BYTES, centrifugo_config
from realtime_preset_centrifugo._names import DATA_PREFIX, PRESENCE_PREFIX
from realtime_preset_centrifugo._settings import SERVER_ENV
from tanstack_realtime import Channel, ConfigurationError


def namespaces(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {namespace["name"] + ":": namespace for namespace in config["channel"]["namespaces"]}


def test_every_right_is_the_applications_to_give() -> None:
    found = namespaces(centrifugo_config("http://app:3000"))

    assert set(found) == {DATA_PREFIX, PRESENCE_PREFIX}
    assert all(namespace["subscribe_proxy_enabled"] for namespace in found.values())
    allowed = {(prefix, key) for prefix, namespace in found.items() for key in namespace if key.startswith("allow_")}
    assert allowed == {
        (PRESENCE_PREFIX, "allow_presence_for_subscriber"),
        (PRESENCE_PREFIX, "allow_publish_for_subscriber"),
    }
    assert found[DATA_PREFIX]["publish_proxy_enabled"]


@pytest.mark.parametrize(
    ("app_url", "endpoint"),
    [
        ("http://app:3000", "http://app:3000/_realtime/centrifugo/subscribe"),
        ("http://app:3000/", "http://app:3000/_realtime/centrifugo/subscribe"),
        ("https://app.example/live/", "https://app.example/live/centrifugo/subscribe"),
    ],
)
def test_the_proxies_are_below_the_mount(app_url: str, endpoint: str) -> None:
    assert centrifugo_config(app_url)["channel"]["proxy"]["subscribe"]["endpoint"] == endpoint


def test_secrets_come_from_the_environment_only() -> None:
    """Their names are not in the file, and what stands for the proxy's is a reference that Centrifugo resolves."""
    config = centrifugo_config("http://app:3000")
    text = json.dumps(config)

    assert "hmac_secret_key" not in text
    assert "http_api" not in config
    for proxy in config["channel"]["proxy"].values():
        assert list(proxy["http"]["static_headers"].values()) == ["${CENTRIFUGO_VAR_PROXY_SECRET}"]
    assert set(CONTAINER_ENV.values()) == {variable.name for variable in SERVER_ENV if variable.secret}


@pytest.mark.parametrize("params", [{}, {"id": "7"}, {"a": "ü & = : %", "b": "~._-"}, {"empty": ""}])
def test_every_channel_fits_the_pattern(params: dict[str, str]) -> None:
    pattern = namespaces(centrifugo_config("http://app:3000"))[DATA_PREFIX]["channel_regex"]

    assert re.search(pattern, Channel("chat:typing", params).raw)
    assert not re.search(pattern, "a#b")


def test_one_full_recovery_fits_into_the_queue() -> None:
    """Else the connection is closed as too slow, comes back, recovers, and is closed again."""
    client = centrifugo_config("http://app:3000")["client"]

    assert client["queue_max_size"] > HISTORY_SIZE * MAX_MESSAGE_BYTES
    assert client["recovery_max_publication_limit"] >= HISTORY_SIZE
    assert client["concurrency"] == 0


def test_metrics_and_api_move_to_the_internal_port() -> None:
    one = centrifugo_config("http://app:3000")
    two = centrifugo_config("http://app:3000", address="10.0.0.1", internal_port=9000)

    assert "internal_port" not in one["http_server"]
    assert not one["prometheus"]["enabled"]
    assert two["http_server"]["internal_port"] == "9000"
    assert two["http_server"]["internal_address"] == "10.0.0.1"
    assert two["prometheus"]["enabled"]


@pytest.mark.parametrize(
    "app_url", ["", "app:3000", "ws://app", "http://", "http://a:b@app", "http://app?x=1", "http://app:99999"]
)
def test_an_unusable_address_is_refused(app_url: str) -> None:
    with pytest.raises(ConfigurationError, match="app_url"):
        centrifugo_config(app_url)


@pytest.mark.parametrize("origin", ["", "app.example.com", "https://app.example.com/", "https://a b"])
def test_an_unusable_origin_is_refused(origin: str) -> None:
    with pytest.raises(ConfigurationError, match="origin"):
        centrifugo_config("http://app:3000", origins=[origin])


@pytest.mark.parametrize(("port", "internal_port"), [(0, None), (65_536, None), (8000, 8000), (8000, 0), (True, None)])
def test_an_unusable_port_is_refused(port: int, internal_port: int | None) -> None:
    with pytest.raises(ConfigurationError, match="port"):
        centrifugo_config("http://app:3000", port=port, internal_port=internal_port)
