"""The command, called as `tanstack-realtime` calls it. Whether it serves is asked in tests-integration/."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import click
import pytest
from click.testing import CliRunner, Result


def run(*arguments: str) -> Result:
    (entry,) = [entry for entry in entry_points(group="tanstack_realtime.commands") if entry.name == "ably"]
    command: object = entry.load()
    assert isinstance(command, click.Command)
    return CliRunner().invoke(command, arguments)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--key", "secret"], "--key: a key has the form appId.keyId:secret"),
        (["--port", "65536"], "65535"),
        (["--tls-cert", __file__], "--tls-cert and --tls-key go together"),
        (["--tls-cert", "nowhere.pem", "--tls-key", __file__], "does not exist"),
        (["--tls-cert", __file__, "--tls-key", __file__], "cannot serve on"),
    ],
)
def test_what_cannot_be_used_is_said(arguments: list[str], says: str) -> None:
    result = run("serve", *arguments)

    assert result.exit_code in (1, 2)
    assert says in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)


@pytest.mark.parametrize("package", ["uvicorn", "msgpack", "wsproto"])  # the last one uvicorn imports, when it serves
def test_a_missing_extra_is_named(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("realtime_preset_ably.emulator", "uvicorn."))]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.startswith(package)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delattr("realtime_preset_ably.emulator", raising=False)
    result = run("serve", "--port", "0")

    assert result.exit_code == 1
    assert f"{package} is missing: pip install 'realtime-preset-ably[emulator]'" in result.output


def test_the_preset_needs_no_extra() -> None:
    code = "import sys, realtime_preset_ably; print(sorted({'click', 'uvicorn', 'wsproto'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout == "[]\n"
