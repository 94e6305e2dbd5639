"""Run tests-integration/ against servers that are really there, and say in the last lines which ones those were.

For the centrifugo preset there must be a Centrifugo. It takes the first of these that can be had, or the one that
``REALTIME_INTEGRATION`` names:

docker   the image of docker/compose.yml, where an engine can pull it
binary   a program ``centrifugo``, by ``CENTRIFUGO_BIN`` or on the PATH; in the same compose file where an engine is
         there or can be started, else as plain processes
lite     tests-integration/centrifugo-lite, built with Go: Centrifugo's engine, our shell; likewise

Without any, and where a named one is missing, it fails. For the ably preset the tests start its emulator by themselves.
All traffic stays on loopback, unless ``ABLY_API_KEY`` is set: then a part of the tests runs against Ably itself too.

    python scripts/integration.py [-n] [arguments for pytest]

``-n`` only says which one it would take.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
LITE: Final = ROOT / "tests-integration" / "centrifugo-lite"
IMAGE: Final = "centrifugo/centrifugo:v6.9.1"
REDIS_IMAGE: Final = "redis:7-alpine"
KINDS: Final = ("docker", "binary", "lite")

_ENGINE_STARTS_WITHIN: Final = 30.0
_PULL_WITHIN: Final = 300.0


@dataclass
class Found:
    """A server for the tests.

    Attributes:
        kind: one of `KINDS`.
        label: what the last line calls it.
        environment: what the tests are told.
    """

    kind: str
    label: str
    environment: dict[str, str] = field(default_factory=dict[str, str])


class Missing(Exception):
    """A server cannot be had here; the message says why."""


def output_of(*command: str, **environment: str) -> str | None:
    """Return what a command prints, or None where it is not there or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, check=False)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


@contextlib.contextmanager
def engine(folder: Path) -> Generator[str | None]:
    """Find Docker's engine, or start one for as long as this runs; gives the compose command, or None without both."""
    compose = next(
        (name for name in ("docker compose", "docker-compose") if output_of(*name.split(), "version") is not None), None
    )
    if compose is None or shutil.which("docker") is None:
        yield None
        return
    if output_of("docker", "info") is not None:
        yield compose
        return
    daemon = shutil.which("dockerd")
    if daemon is None or os.geteuid() != 0:
        yield None
        return
    socket = f"unix://{folder}/docker.sock"
    with (folder / "dockerd.log").open("wb") as log:
        # Services share the host's network, so that the engine need not make one.
        process = subprocess.Popen(
            [
                *(daemon, "--bridge=none", "--iptables=false", "--ip6tables=false", "--host", socket),
                *(f"--data-root={folder}/data", f"--exec-root={folder}/exec", f"--pidfile={folder}/docker.pid"),
            ],
            stdout=log,
            stderr=log,
        )
    try:
        until = time.monotonic() + _ENGINE_STARTS_WITHIN
        while process.poll() is None and time.monotonic() < until:
            if output_of("docker", "--host", socket, "info") is not None:
                os.environ["DOCKER_HOST"] = socket
                yield compose
                return
            time.sleep(0.2)
        yield None
    finally:
        os.environ.pop("DOCKER_HOST", None)
        process.terminate()
        process.wait()
        # It leaves the network namespace that its containers had in common mounted.
        for line in Path("/proc/mounts").read_text().splitlines():
            if (mounted := line.split()[1]).startswith(f"{folder}/"):
                output_of("umount", mounted)


def pulled(compose: str | None) -> Found:
    """Return the published image."""
    if compose is None:
        raise Missing("no Docker engine, or no docker compose")
    for image in (IMAGE, REDIS_IMAGE):
        if output_of("docker", "image", "inspect", image) is not None:
            continue
        try:
            done = subprocess.run(
                ["docker", "pull", "--quiet", image], capture_output=True, text=True, timeout=_PULL_WITHIN, check=False
            )
        except subprocess.TimeoutExpired:
            raise Missing(f"{image} did not arrive within {_PULL_WITHIN:g} s") from None
        if done.returncode:
            raise Missing(f"{image} cannot be pulled: {done.stderr.strip()}")
    return Found("docker", f"Centrifugo, image {IMAGE}, by {compose}", {"CENTRIFUGO_COMPOSE": compose})


def given(compose: str | None, folder: Path) -> Found:
    """Return the program that is installed here."""
    program = os.environ.get("CENTRIFUGO_BIN") or shutil.which("centrifugo")
    if program is None:
        raise Missing("no centrifugo: neither CENTRIFUGO_BIN nor the PATH has one")
    said = output_of(program, "version")
    if said is None:
        raise Missing(f"{program} version fails")
    if "Centrifugo v6" not in said:
        raise Missing(f"{program} is not Centrifugo v6, it says {said.strip()!r}")
    return run_as("binary", said.strip(), Path(program), compose, folder)


def built(compose: str | None, folder: Path) -> Found:
    """Return what stands in for it, built now."""
    if shutil.which("go") is None:
        raise Missing("no Go, which builds tests-integration/centrifugo-lite")
    program = folder / "centrifugo-lite"
    done = subprocess.run(
        ["go", "build", "-o", str(program), "."],
        cwd=LITE,
        env={**os.environ, "CGO_ENABLED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Missing(f"go build fails: {done.stderr.strip()}")
    return run_as("lite", "centrifugo-lite (Centrifugo's engine, our shell; not Centrifugo)", program, compose, folder)


def run_as(kind: str, name: str, program: Path, compose: str | None, folder: Path) -> Found:
    """Choose between containers and plain processes for a program."""
    redis, shell = shutil.which("redis-server"), shutil.which("busybox")
    if compose and redis and shell:
        images = {
            "CENTRIFUGO_IMAGE": image(folder, "centrifugo", {"centrifugo": program, "wget": Path(shell)}),
            "REDIS_IMAGE": image(
                folder, "redis", {name: Path(redis).parent / name for name in ("redis-server", "redis-cli")}
            ),
        }
        if None not in images.values():
            environment = {name: value for name, value in images.items() if value} | {"CENTRIFUGO_COMPOSE": compose}
            return Found(kind, f"{name}, in a container by {compose}", environment)
    return Found(kind, f"{name}, as plain processes", {"CENTRIFUGO_BIN": str(program)})


def image(folder: Path, name: str, programs: dict[str, Path]) -> str | None:
    """Make an image of nothing but programs and the libraries that they load; None where the engine does not."""
    context = folder / f"image-{name}"
    for target, program in programs.items():
        place(context / "bin" / target, program)
        # A static one has none, and then ldd fails.
        for library in re.findall(r"(/\S+) \(0x", output_of("ldd", str(program)) or ""):
            place(context / library.lstrip("/"), Path(library))
    (context / "tmp").mkdir()
    (context / "Dockerfile").write_text("FROM scratch\nCOPY . /\nENV PATH=/bin\nWORKDIR /tmp\n")
    tag = f"tanstack-realtime-{name}:test"
    done = output_of("docker", "build", "--quiet", "--network=none", "--tag", tag, str(context), DOCKER_BUILDKIT="0")
    return tag if done is not None else None


def place(target: Path, source: Path) -> None:
    """Copy a file, and make the folders above it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def choose(compose: str | None, folder: Path) -> Found:
    """Take the first server that can be had, or the one that is asked for.

    Raises:
        Missing: none, or not that one.
    """
    wanted = os.environ.get("REALTIME_INTEGRATION", "")
    if wanted and wanted not in KINDS:
        raise Missing(f"REALTIME_INTEGRATION={wanted!r}: there are {', '.join(KINDS)}")
    reasons: list[str] = []
    for kind in KINDS:
        if wanted not in ("", kind):
            continue
        try:
            match kind:
                case "docker":
                    return pulled(compose)
                case "binary":
                    return given(compose, folder)
                case _:
                    return built(compose, folder)
        except Missing as error:
            reasons.append(f"{kind}: {error}")
    raise Missing("\n  ".join(["there is no server to test against:", *reasons]))


def ably() -> list[str]:
    """Return lines that say against what the ably preset is tested."""
    npm = json.loads((ROOT / "tests-integration" / "ably-js" / "package.json").read_text())
    sdks = f"ably-js {npm['dependencies']['ably']} and ably-python {importlib.metadata.version('ably')}"
    live = "with the key in ABLY_API_KEY" if os.environ.get("ABLY_API_KEY") else "NOT tested, ABLY_API_KEY is not set"
    return [f"Ably: the preset's emulator, with {sdks}", f"Ably itself: {live}"]


def main(arguments: list[str]) -> int:
    """Choose, run the tests, and say what they ran against."""
    with tempfile.TemporaryDirectory(prefix="integration-") as name, engine(Path(name)) as compose:
        try:
            found = choose(compose, Path(name))
        except Missing as error:
            print(f"integration: {error}")
            return 1
        if arguments[:1] == ["-n"]:
            print(f"integration: {found.label}", *ably(), sep="\nintegration: ")
            return 0
        print(f"integration: against {found.label}", flush=True)
        record = ROOT / "tests-integration" / "conformance.json"
        environment = {**os.environ, **found.environment, "REALTIME_INTEGRATION": found.kind}
        environment["CONFORMANCE_RECORD"] = str(record)
        command = [sys.executable, "-m", "pytest", str(ROOT / "tests-integration"), *arguments]
        code = subprocess.run(command, env=environment, cwd=ROOT, check=False).returncode
        if code == 0:
            table = [sys.executable, str(ROOT / "scripts" / "capabilities.py"), "--run", str(record)]
            code = subprocess.run(table, cwd=ROOT, check=False).returncode
        said = f"integration: {'passed' if code == 0 else 'FAILED'} against {found.label}"
        print(said, *ably(), sep="\nintegration: ")
        return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
