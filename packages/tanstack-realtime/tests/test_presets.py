from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tanstack_db import DbClient
from tanstack_db.testing import settle
from tanstack_realtime import (
    Capabilities,
    ClientContext,
    ConfigurationError,
    EnvVar,
    HttpResponse,
    Link,
    LinkSink,
    OpenRequest,
    PresetMismatchError,
    RealtimeTransport,
    UnknownPresetError,
    create_realtime_client,
    installed_presets,
    load_preset,
)
from tanstack_realtime._presets import PRESET_GROUP

CAPABILITIES = Capabilities(
    recovery=False,
    history=0,
    ordering=True,
    echo=True,
    publish_over_link=True,
    native_presence=False,
    max_message_bytes=1000,
    revocation_delay=0.0,
)


class FakeLink:
    connection_id = "c1"
    user_id = None

    async def close(self) -> None:
        pass


class FakeTransport:
    capabilities = CAPABILITIES

    def __init__(self, context: ClientContext) -> None:
        self.context = context
        self.opened = 0

    async def open(self, request: OpenRequest, sink: LinkSink, /) -> Link:
        self.opened += 1
        link: Any = FakeLink()
        return link  # type: ignore[no-any-return]


@dataclass
class FakePreset:
    name: str = "fake"
    api_version: int = 1
    capabilities: Capabilities = CAPABILITIES
    client_env: Sequence[EnvVar] = (EnvVar(name="FAKE_KEY", purpose="the key"),)
    server_env: Sequence[EnvVar] = ()
    made: list[FakeTransport] = field(default_factory=list[FakeTransport])

    def create_transport(self, context: ClientContext, /) -> RealtimeTransport:
        self.made.append(FakeTransport(context))
        return self.made[-1]

    def create_server(self, context: Any, /) -> Any:
        raise NotImplementedError


@pytest.fixture
def announced(monkeypatch: pytest.MonkeyPatch) -> list[EntryPoint]:
    """Entry points that are announced, by whomever."""
    entries: list[EntryPoint] = []

    def entry_points(*, group: str) -> list[EntryPoint]:
        assert group == PRESET_GROUP
        return entries

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    return entries


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("fake_preset_module")
    monkeypatch.setitem(sys.modules, "fake_preset_module", module)
    return module


def announce(entries: list[EntryPoint], name: str, value: str) -> None:
    entries.append(EntryPoint(name, value, PRESET_GROUP))


def test_a_preset_is_found_by_name(announced: list[EntryPoint], module: Any) -> None:
    module.preset = FakePreset()
    announce(announced, "fake", "fake_preset_module:preset")
    announce(announced, "broken", "no_such_module:preset")
    assert load_preset("fake") is module.preset
    assert [entry.name for entry in installed_presets()] == ["broken", "fake"]


def test_an_object_can_be_named_without_an_entry_point(announced: list[EntryPoint], module: Any) -> None:
    module.preset = FakePreset()
    assert load_preset("fake_preset_module:preset") is module.preset


def test_an_unknown_preset_lists_what_is_installed(announced: list[EntryPoint]) -> None:
    with pytest.raises(UnknownPresetError, match=r"'smoke'.*installed: none"):
        load_preset("smoke")
    announce(announced, "smoke-signals", "a:b")
    with pytest.raises(UnknownPresetError, match=r"did you mean 'smoke-signals'\? \(installed: smoke-signals\)"):
        load_preset("smoke-signal")


@pytest.mark.parametrize("name", ["node", "centrifugo", "ably"])
def test_a_known_preset_names_its_package(announced: list[EntryPoint], name: str) -> None:
    with pytest.raises(UnknownPresetError, match=f"pip install realtime-preset-{name}"):
        load_preset(name)


def test_a_preset_that_cannot_be_imported_says_what_is_missing(
    announced: list[EntryPoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half_installed.py").write_text("import no_such_dependency\n", encoding="utf-8")
    (tmp_path / "wrong.py").write_text("1 / 0\n", encoding="utf-8")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    announce(announced, "half", "half_installed:preset")
    announce(announced, "wrong", "wrong:preset")
    announce(announced, "absent", "sys:preset")
    with pytest.raises(ConfigurationError, match=r"'half' of half_installed:preset .*no_such_dependency") as caught:
        load_preset("half")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)
    with pytest.raises(ConfigurationError, match="ZeroDivisionError"):
        load_preset("wrong")
    with pytest.raises(ConfigurationError, match="AttributeError"):
        load_preset("absent")


def test_two_packages_with_one_name_are_refused(announced: list[EntryPoint], module: Any) -> None:
    module.preset = FakePreset()
    announce(announced, "fake", "fake_preset_module:preset")
    announce(announced, "fake", "fake_preset_module:preset")
    assert load_preset("fake") is module.preset  # the same one, found twice
    announce(announced, "fake", "other:preset")
    with pytest.raises(ConfigurationError, match=r"fake_preset_module:preset and by .*other:preset"):
        load_preset("fake")


def test_what_is_no_preset_is_refused(announced: list[EntryPoint], module: Any) -> None:
    module.preset = object()
    with pytest.raises(ConfigurationError, match="lacks name, api_version"):
        load_preset("fake_preset_module:preset")
    for version, advice in ((0, "upgrade the preset"), (2, "upgrade tanstack-realtime")):
        module.preset = FakePreset(api_version=version)
        with pytest.raises(ConfigurationError, match=advice):
            load_preset("fake_preset_module:preset")


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings from outside."""
    for name in ("REALTIME_PRESET", "REALTIME_URL", "VITE_REALTIME_URL", "FAKE_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


class Server:
    """Answers HTTP requests for a client."""

    def __init__(self, preset: str, *, status: int = 200) -> None:
        self.answer = HttpResponse(status, f'{{"preset": "{preset}"}}'.encode())
        self.asked: list[str] = []

    async def __call__(self, method: str, url: str, /, **_: object) -> HttpResponse:
        self.asked.append(f"{method} {url}")
        return self.answer


@pytest.mark.usefixtures("quiet")
async def test_a_client_is_made_of_its_presets_transport(
    announced: list[EntryPoint], module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    module.preset = FakePreset()
    announce(announced, "fake", "fake_preset_module:preset")
    monkeypatch.setenv("REALTIME_PRESET", "fake")
    with pytest.raises(ConfigurationError, match="FAKE_KEY"):
        create_realtime_client("http://host", db=DbClient())
    monkeypatch.setenv("FAKE_KEY", "k")
    server = Server("fake")
    client = create_realtime_client("http://host", db=DbClient(), http=server)
    (transport,) = module.preset.made
    assert (transport.context.url, transport.context.environ) == ("http://host/_realtime", {"FAKE_KEY": "k"})
    async with client:
        client.disconnect()
        client.connect()
        await client.connected()
    assert server.asked == ["GET http://host/_realtime/config"]  # once


@pytest.mark.usefixtures("quiet")
async def test_a_server_with_another_preset_is_a_final_error() -> None:
    preset = FakePreset(client_env=())
    client = create_realtime_client("http://host", preset=preset, db=DbClient(), http=Server("node"))
    client.connect()
    with pytest.raises(PresetMismatchError, match=r"'node'.*'fake'"):
        await client.connected()
    assert preset.made[0].opened == 0
    await client.close()


@pytest.mark.usefixtures("quiet")
async def test_a_server_that_does_not_say_is_asked_again() -> None:
    server = Server("fake", status=404)
    client = create_realtime_client("http://host", preset=FakePreset(client_env=()), db=DbClient(), http=server)
    states: list[str | None] = []
    client.store.subscribe(lambda state: states.append(state.reason))
    client.connect()
    await settle()
    assert client.store.state.attempt == 2
    server.answer = HttpResponse(200, b'{"preset": "fake"}')
    await client.connected()
    assert "http://host/_realtime/config answered 404" in states
    await client.close()


@pytest.mark.usefixtures("quiet")
async def test_a_preset_that_nobody_named_is_not_checked(announced: list[EntryPoint], module: Any) -> None:
    module.preset = FakePreset(name="node", client_env=())
    announce(announced, "node", "fake_preset_module:preset")
    server = Server("other")
    async with create_realtime_client("http://host", db=DbClient(), http=server):
        assert server.asked == []
