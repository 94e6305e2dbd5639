"""What the commands write, held against the programs that read it, and two nodes that share a Redis."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cent import AsyncClient, CentError, HistoryRequest, PublishRequest
from centrifugo_server import SECRETS, CentrifugoServer, RedisServer, quick

from realtime_preset_centrifugo._compose import centrifugo_compose
from realtime_preset_centrifugo._config import centrifugo_config

DOCKER = Path(__file__).parent.parent / "docker"


def as_it_is(_: dict[str, Any]) -> None:
    """Leave a configuration as the command writes it."""


def test_what_is_in_docker_is_what_the_commands_write() -> None:
    config = centrifugo_config("http://127.0.0.1:3000/_realtime", address="127.0.0.1")

    assert json.loads((DOCKER / "centrifugo.json").read_text()) == config
    assert (DOCKER / "compose.yml").read_text() == centrifugo_compose(host_network=True)
    assert (DOCKER / "compose.scale.yml").read_text() == centrifugo_compose(host_network=True, scale=True)


@pytest.mark.parametrize("host_network", [False, True])
@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("command", ["docker compose", "docker-compose"])
def test_compose_takes_the_file(command: str, scale: bool, host_network: bool, tmp_path: Path) -> None:
    path = tmp_path / "compose.yml"
    path.write_text(centrifugo_compose(scale=scale, host_network=host_network))
    program, *rest = command.split()
    inherited = {name: value for name, value in os.environ.items() if name not in SECRETS}

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program, *rest, *arguments],
            env={**inherited, **environment},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    if shutil.which(program) is None or run("version").returncode:
        pytest.skip(f"no {command} here")
    checked = run("-f", str(path), "config", "-q", **SECRETS)
    refused = run("-f", str(path), "config", "-q")

    assert (checked.returncode, checked.stderr) == (0, "")
    assert refused.returncode != 0
    assert "set REALTIME_" in refused.stderr


@pytest.mark.parametrize("change", [as_it_is, quick])
async def test_centrifugo_takes_the_configuration_without_a_warning(change: Any, tmp_path: Path) -> None:
    server = CentrifugoServer(tmp_path, 3000, change)
    await server.start()
    await server.stop()

    lines = [json.loads(line[line.index("{") :]) for line in server.log.splitlines() if "{" in line]
    assert lines
    assert [line for line in lines if line["level"] not in ("info", "debug")] == []


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[tuple[CentrifugoServer, CentrifugoServer, RedisServer]]:
    redis = RedisServer(tmp_path)
    one, two = (CentrifugoServer(tmp_path, 3000, redis=redis) for _ in range(2))
    try:
        await redis.start()
        await asyncio.gather(one.start(), two.start())
        yield one, two, redis
    finally:
        for server in (one, two, redis):
            await server.stop()


def api(server: CentrifugoServer) -> AsyncClient:
    return AsyncClient(server.environ()["REALTIME_API_URL"], SECRETS["REALTIME_API_KEY"])


async def test_two_nodes_share_a_channels_history(
    nodes: tuple[CentrifugoServer, CentrifugoServer, RedisServer],
) -> None:
    """Also after one of them was killed, and has come back."""
    one, two, _ = nodes
    async with api(one) as first, api(two) as second:
        await first.publish(PublishRequest(channel="rt:news", data={"n": 1}))
        seen = await second.history(HistoryRequest(channel="rt:news", limit=-1))
        assert [publication.data for publication in seen.publications] == [{"n": 1}]

        await one.stop(signal.SIGKILL)
        await second.publish(PublishRequest(channel="rt:news", data={"n": 2}))
        await one.start()
        again = await first.history(HistoryRequest(channel="rt:news", limit=-1))

    assert [publication.data for publication in again.publications] == [{"n": 1}, {"n": 2}]
    assert again.epoch == seen.epoch


async def test_a_redis_that_forgot_everything_starts_a_new_epoch(
    nodes: tuple[CentrifugoServer, CentrifugoServer, RedisServer],
) -> None:
    """A position of before then cannot be recovered, which a client must be told."""
    one, _, redis = nodes
    async with api(one) as client:
        before = await client.publish(PublishRequest(channel="rt:news", data={"n": 1}))
        await redis.stop(signal.SIGKILL)
        await redis.start()
        async with asyncio.timeout(20):
            while True:
                try:
                    after = await client.publish(PublishRequest(channel="rt:news", data={"n": 2}))
                    break
                except CentError:  # while it connects anew
                    await asyncio.sleep(0.05)

    assert after.offset == 1
    assert after.epoch != before.epoch
