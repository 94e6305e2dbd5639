"""The commands, called as `tanstack-realtime` calls them. Whether Centrifugo and compose take what they write is asked
in tests-integration/."""

from __future__ import annotations

import json
import re
from importlib.metadata import entry_points
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from realtime_preset_centrifugo._compose import centrifugo_compose
from tanstack_realtime import ConfigurationError


def run(*arguments: str) -> Result:
    (entry,) = [entry for entry in entry_points(group="tanstack_realtime.commands") if entry.name == "centrifugo"]
    command: object = entry.load()
    assert isinstance(command, click.Command)
    return CliRunner().invoke(command, arguments)


def services(text: str) -> set[str]:
    return set(re.findall(r"^  ([a-z0-9-]+):$", text, re.MULTILINE))


def test_config_is_printed_or_written(tmp_path: Path) -> None:
    path = tmp_path / "centrifugo.json"
    arguments = [
        "config",
        "--app-url",
        "http://app:3000",
        "--origin",
        "https://a.example",
        "--origin",
        "https://*.b.example",
    ]

    printed = run(*arguments)
    written = run(*arguments, "--output", str(path))

    assert (printed.exit_code, written.exit_code) == (0, 0)
    assert json.loads(printed.output)["client"]["allowed_origins"] == ["https://a.example", "https://*.b.example"]
    assert path.read_text(encoding="utf-8") == printed.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["config", "--app-url", "app"], "http://127.0.0.1:3000/_realtime"),
        (["config", "--origin", "app.example"], "https://app.example.com"),
        (["config", "--port", "0"], "from 1 to 65535"),
        (["compose", "--scale", "--port", "65535"], "from 1 to 65534"),
        (["compose", "--output", "/nowhere/compose.yml"], "cannot be written"),
    ],
)
def test_what_cannot_be_used_is_said(arguments: list[str], says: str) -> None:
    result = run(*arguments)

    assert result.exit_code != 0
    assert says in re.sub(r"\s+", " ", result.output)


@pytest.mark.parametrize("host_network", [False, True])
def test_compose_starts_one_node_or_two_with_redis(host_network: bool) -> None:
    one = centrifugo_compose(host_network=host_network)
    two = centrifugo_compose(host_network=host_network, scale=True)

    assert services(one) == {"centrifugo"}
    assert "depends_on" not in one
    assert services(two) == {"redis", "centrifugo", "centrifugo-2"}
    assert two.count("condition: service_healthy") == 2
    assert two.count("healthcheck:") == 3


def test_compose_names_what_it_provides() -> None:
    assert "provides: [REALTIME_API_URL, REALTIME_API_KEY, VITE_REALTIME_URL]" in centrifugo_compose()


@pytest.mark.parametrize("scale", [False, True])
def test_nothing_is_published_beyond_the_machine(scale: bool) -> None:
    own = centrifugo_compose(scale=scale)
    host = centrifugo_compose(scale=scale, host_network=True)

    published = re.findall(r'^      - "(\S+):\$\{CENTRIFUGO_\w*PORT:-\d+\}:\d+"$', own, re.MULTILINE)
    assert published == ["127.0.0.1"] * (2 if scale else 1)
    assert own.count("ports:") == len(published)
    assert "ports:" not in host
    assert host.count("network_mode: host") == len(services(host))
    assert host.count('CENTRIFUGO_HTTP_SERVER_ADDRESS: "127.0.0.1"') == len(published)


def test_a_missing_secret_stops_compose() -> None:
    text = centrifugo_compose(scale=True)

    for name in ("REALTIME_API_KEY", "REALTIME_TOKEN_SECRET", "REALTIME_PROXY_SECRET"):
        assert text.count(f"${{{name}:?set {name}}}") == 2


def test_a_port_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="port"):
        centrifugo_compose(port=70_000)
