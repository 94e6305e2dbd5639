"""One application on two presets: the example, unchanged, with another line of configuration."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from centrifugo_server import CentrifugoServer
from todos.stage import Picture, Stage


def shows(*texts: str) -> Callable[[Picture], bool]:
    def condition(picture: Picture) -> bool:
        return (
            picture.status == "connected"
            and sorted(picture.texts) == sorted(texts)
            and not any(item.pending for item in picture.items)
        )

    return condition


@pytest.mark.parametrize("preset", ["node", "centrifugo"])
async def test_the_todos_run_on(preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage()
    monkeypatch.setenv("REALTIME_PRESET", preset)  # the line
    centrifugo = None
    if preset == "centrifugo":
        centrifugo = CentrifugoServer(tmp_path, stage._port)
        for name, value in centrifugo.environ().items():
            monkeypatch.setenv(name, value)
        await centrifugo.start()
    try:
        async with stage:
            ada, bob = stage.clients["ada"], stage.clients["bob"]
            for client in (ada, bob):
                await client.until(lambda picture: picture.status == "connected", "a connection")
            await ada.do("add", text="milk")
            await bob.do("add", text="bread")
            for client in (ada, bob):
                await client.until(shows("bread", "milk"), "both todos")
            if centrifugo is None:
                await stage.kill_server()
                await stage.start_server()
            else:
                await centrifugo.stop(signal.SIGKILL)
                await ada.do("complete", text="milk")
                await ada.until(lambda picture: any(item.done for item in picture.items), "a change while it is away")
                await centrifugo.start()
            await ada.do("add", text="and butter")
            for client in (ada, bob):
                await client.until(shows("bread", "milk", "and butter"), "all of them")
    finally:
        if centrifugo is not None:
            await centrifugo.stop()
