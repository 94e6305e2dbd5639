from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tanstack_realtime import ConfigurationError, EnvVar, Settings, read_environment, resolve_settings


def resolve(
    folder: Path, environ: Mapping[str, str] | None = None, *, preset: str | None = None, url: str | None = None
) -> Settings:
    return resolve_settings(preset=preset, url=url, environ=environ or {}, directory=folder)


def write(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "pyproject.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_default_is_node(tmp_path: Path) -> None:
    assert resolve(tmp_path) == Settings(preset="node", preset_source=None, url=None)


def test_argument_then_environment_then_pyproject(tmp_path: Path) -> None:
    path = write(tmp_path, '[tool.tanstack-realtime]\npreset = "filed"\nurl = "http://filed:1/rt"\n')
    environ = {"REALTIME_PRESET": "environ", "REALTIME_URL": "https://environ", "VITE_REALTIME_URL": "https://vite"}
    assert resolve(tmp_path, environ, preset="argument", url="wss://argument/") == Settings(
        preset="argument", preset_source="argument", url="https://argument/_realtime"
    )
    assert resolve(tmp_path, environ) == Settings(
        preset="environ", preset_source="REALTIME_PRESET", url="https://environ/_realtime"
    )
    assert resolve(tmp_path) == Settings(preset="filed", preset_source=str(path), url="http://filed:1/rt")


def test_the_second_name_of_the_url(tmp_path: Path) -> None:
    assert resolve(tmp_path, {"VITE_REALTIME_URL": "ws://vite:8000"}).url == "http://vite:8000/_realtime"
    assert resolve(tmp_path, {"REALTIME_URL": "", "VITE_REALTIME_URL": "ws://vite"}).url == "http://vite/_realtime"


def test_the_nearest_file_with_the_table_counts(tmp_path: Path) -> None:
    write(tmp_path, '[tool.tanstack-realtime]\npreset = "outer"\n')
    write(tmp_path / "a", "[tool.other]\n")
    (tmp_path / "a" / "b").mkdir()
    assert resolve(tmp_path / "a" / "b").preset == "outer"
    write(tmp_path / "a", '[tool.tanstack-realtime]\npreset = "inner"\n')
    assert resolve(tmp_path / "a" / "b").preset == "inner"


@pytest.mark.parametrize("name", ["api_key", "ABLY_API_KEY", "token_secret", "password"])
def test_a_secret_in_the_file_is_an_error(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, f'[tool.tanstack-realtime]\n{name} = "hush-hush"\n')
    with pytest.raises(ConfigurationError) as caught:
        resolve(tmp_path)
    assert str(path) in str(caught.value)
    assert "environment variable" in str(caught.value)
    assert "hush-hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[tool.tanstack-realtime]\nprest = "node"\n', "no setting 'prest'"),
        ("[tool.tanstack-realtime]\npreset = 5\n", "non-empty string"),
        ('[tool.tanstack-realtime]\npreset = ""\n', "non-empty string"),
        ('[tool]\ntanstack-realtime = "node"\n', "must be a table"),
        ("[tool.tanstack-realtime\n", "not valid TOML"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, text: str, says: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigurationError, match="pyproject") as caught:
        resolve(tmp_path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["host", "host:8000", "ftp://host", "http://", "http://host:port", "/_realtime", ""],
)
def test_what_is_no_address_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigurationError, match="url"):
        resolve(tmp_path, url=url)


@pytest.mark.parametrize("url", ["http://ann:pw@host", "http://host?token=x", "http://host#x"])
def test_secrets_do_not_belong_into_the_address(tmp_path: Path, url: str) -> None:  # A15
    with pytest.raises(ConfigurationError, match="get_token") as caught:
        resolve(tmp_path, {"REALTIME_URL": url})
    assert "REALTIME_URL" in str(caught.value)
    assert "pw" not in str(caught.value)


def test_environment_of_a_preset() -> None:
    variables = [
        EnvVar(name="A_URL", purpose="the address", aliases=("VITE_A_URL",)),
        EnvVar(name="A_KEY", purpose="the key", secret=True),
        EnvVar(name="A_REGION", purpose="the region", required=False),
    ]
    assert read_environment("a", variables, {"VITE_A_URL": "u", "A_KEY": "k", "B": "b"}) == {"A_URL": "u", "A_KEY": "k"}
    with pytest.raises(ConfigurationError) as caught:
        read_environment("a", variables, {"A_URL": ""})
    for part in ("'a'", "A_URL=…", "the address", "A_KEY=…", "the key"):
        assert part in str(caught.value)
    assert "A_REGION" not in str(caught.value)
