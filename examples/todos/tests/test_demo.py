"""The command of the demonstration, as far as nothing is started."""

from __future__ import annotations

import pytest
from todos.demo import main


@pytest.mark.parametrize("how", ["--plain", "--terminal"])
def test_the_story_is_told_only_where_the_server_holds_the_connections(
    how: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REALTIME_PRESET", "ably")
    monkeypatch.setattr("sys.argv", ["todos", how])

    assert main() == 2
    assert "needs the preset node, and not ably" in capsys.readouterr().err
