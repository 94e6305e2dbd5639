"""Programs that tests start and kill: as plain processes, or as services of the compose files in docker/.

`scripts/integration.py` decides which, and tells the tests by the environment:

================== ====================================================================================
CENTRIFUGO_COMPOSE the compose command, for services; without it there are plain processes
CENTRIFUGO_IMAGE   the image of the service, and REDIS_IMAGE that of Redis
CENTRIFUGO_BIN     the program of a plain process
================== ====================================================================================
"""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

__all__ = ["Launched", "PlainProcess", "Service", "compose_command"]

_ENDS_WITHIN: Final = 15.0
_FILES: Final = Path(__file__).parent.parent / "docker"


def compose_command() -> list[str]:
    """Return the compose command that the tests are to use, empty for plain processes."""
    return shlex.split(os.environ.get("CENTRIFUGO_COMPOSE", ""))


class Launched(Protocol):
    """A program that runs beside the tests."""

    async def start(self) -> None:
        """Start it; it need not be ready then."""
        ...

    async def alive(self) -> bool:
        """Whether it runs."""
        ...

    async def end(self, how: signal.Signals) -> None:
        """Send a signal, and wait until it is gone."""
        ...

    def log(self) -> str:
        """What it wrote until it ended last, or until now."""
        ...


class PlainProcess:
    """A process of this machine.

    Args:
        command: the program and its arguments.
        environment: for it, beside this process's own without anything for Centrifugo.
        log: where it writes.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self._command = list(command)
        self._environment = environment
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start it; it need not be ready then."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("CENTRIFUGO")}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220 -- it returns at once
                self._command, stdout=log, stderr=log, env={**inherited, **self._environment}
            )

    async def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def send(self, what: signal.Signals) -> None:
        """Send a signal after which it goes on to exist."""
        assert self._process is not None
        self._process.send_signal(what)

    async def end(self, how: signal.Signals) -> None:
        """Send a signal, and wait until it is gone."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            async with asyncio.timeout(_ENDS_WITHIN):
                while process.poll() is None:
                    await asyncio.sleep(0.01)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()

    def log(self) -> str:
        """What it wrote."""
        return self._log.read_text() if self._log.exists() else ""


class Service:
    """One service of a compose file in docker/.

    Args:
        file: the compose file's name.
        name: the service's.
        project: unlike that of every other one that runs.
        environment: for the compose file.
        log: where what it wrote is kept when it has ended.
    """

    def __init__(self, file: str, name: str, project: str, environment: Mapping[str, str], log: Path) -> None:
        self._compose = [*compose_command(), "--project-name", project, "--file", str(_FILES / file)]
        self._name = name
        self._environment = {**os.environ, **environment}
        self._log = log
        self._container: str | None = None

    async def start(self) -> None:
        """Start it; it need not be ready then."""
        await self._run(*self._compose, "up", "--detach", "--no-deps", self._name)
        self._container = (await self._run(*self._compose, "ps", "--quiet", self._name)).strip()

    async def alive(self) -> bool:
        """Whether it runs."""
        if self._container is None:
            return False
        return await self._run("docker", "inspect", "--format", "{{.State.Running}}", self._container) == "true\n"

    async def end(self, how: signal.Signals) -> None:
        """Send a signal, wait until it is gone, and remove the container."""
        container, self._container = self._container, None
        if container is None:
            return
        await self._run("docker", "kill", "--signal", how.name, container)
        async with asyncio.timeout(_ENDS_WITHIN):
            await self._run("docker", "wait", container)
        with self._log.open("a") as log:
            log.write(await self._run("docker", "logs", container))
        await self._run("docker", "rm", "--force", container)

    def log(self) -> str:
        """What it wrote until it ended last."""
        return self._log.read_text() if self._log.exists() else ""

    async def _run(self, *command: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=self._environment
        )
        output, _ = await process.communicate()
        if process.returncode:
            raise RuntimeError(f"{shlex.join(command)}\n{output.decode()}")
        return output.decode()
