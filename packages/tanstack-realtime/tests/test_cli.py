from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from tanstack_realtime import Capabilities, EnvVar
from tanstack_realtime._cli import COMMAND_GROUP, _build, main
from tanstack_realtime._presets import PRESET_GROUP


class FakePreset:
    name = "fake"
    api_version = 1
    capabilities = Capabilities(
        recovery=True,
        history=7,
        ordering=True,
        echo=False,
        publish_over_link=False,
        native_presence=False,
        max_message_bytes=1234,
        revocation_delay=5.0,
    )
    client_env = (EnvVar(name="FAKE_URL", purpose="the address", aliases=("VITE_FAKE_URL",), required=False),)
    server_env = (EnvVar(name="FAKE_KEY", purpose="the key", secret=True),)

    def create_transport(self, context: Any, /) -> Any: ...

    def create_server(self, context: Any, /) -> Any: ...


@click.command()
def hello() -> None:
    """Say hello."""
    click.echo("hello from a preset")


@pytest.fixture
def announced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, list[EntryPoint]]:
    module: Any = ModuleType("fake_cli_module")
    module.preset, module.hello, module.nothing = FakePreset(), hello, object()
    monkeypatch.setitem(sys.modules, "fake_cli_module", module)
    groups: dict[str, list[EntryPoint]] = {
        PRESET_GROUP: [EntryPoint("fake", "fake_cli_module:preset", PRESET_GROUP)],
        COMMAND_GROUP: [
            EntryPoint("hello", "fake_cli_module:hello", COMMAND_GROUP),
            EntryPoint("gone", "no_such_module:hello", COMMAND_GROUP),
            EntryPoint("nothing", "fake_cli_module:nothing", COMMAND_GROUP),
        ],
    }

    def entry_points(*, group: str) -> list[EntryPoint]:
        return groups[group]

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    monkeypatch.delenv("REALTIME_PRESET", raising=False)
    monkeypatch.chdir(tmp_path)
    return groups


def run(*arguments: str) -> Result:
    return CliRunner().invoke(_build(), arguments)


@pytest.mark.usefixtures("announced")
def test_presets_are_listed_with_what_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALTIME_PRESET", "fake")
    result = run("presets")
    assert result.exit_code == 0
    for part in (
        "* fake",
        "the last 7 messages",
        "1234 bytes",
        "within 5 s",
        "through /_realtime/publish",
        "client reads FAKE_URL or VITE_FAKE_URL: the address (optional)",
        "server reads FAKE_KEY: the key (secret)",
    ):
        assert part in result.output


def test_a_broken_preset_does_not_hide_the_others(announced: dict[str, list[EntryPoint]]) -> None:
    announced[PRESET_GROUP].append(EntryPoint("half", "no_such_module:preset", PRESET_GROUP))
    result = run("presets")
    assert result.exit_code == 1
    assert "the last 7 messages" in result.output
    assert "broken: preset 'half'" in result.output


def test_without_presets_it_says_what_to_install(announced: dict[str, list[EntryPoint]]) -> None:
    announced[PRESET_GROUP].clear()
    assert "pip install realtime-preset-node" in run("presets").output


@pytest.mark.usefixtures("announced")
def test_presets_add_commands() -> None:
    assert run("hello").output == "hello from a preset\n"
    assert "hello" in run("--help").output
    for name, says in (("gone", "no_such_module"), ("nothing", "is no command")):
        result = run(name)
        assert result.exit_code == 1
        assert says in result.output


@pytest.mark.usefixtures("announced")
def test_bad_settings_are_a_message(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.tanstack-realtime]\npreset = 1\n", encoding="utf-8")
    result = run("presets")
    assert result.exit_code == 1
    assert "non-empty string" in result.output


def test_without_click_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_spec(name: str) -> None: ...

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    with pytest.raises(SystemExit, match=r"tanstack-realtime\[cli\]"):
        main()
