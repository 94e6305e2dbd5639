"""How long a mutation takes to the other client's live query, on each preset, next to a bare `websockets` echo.

Three processes each: the server, the client that writes, and the other one. Prints a table and writes
``benchmarks/results/presets.json``. How to read it is in ``benchmarks/README.md``.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import secrets
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
RESULTS: Final = HERE.parent / "results" / "presets.json"
LITE: Final = HERE.parent.parent / "tests-integration" / "centrifugo-lite"

WINDOW: Final = 64
"""How many mutations are under way while deliveries are counted."""

PAUSE: Final = 0.002
"""Seconds between two mutations of which one may be under way: everybody is done with the last one by then."""

ECHO: Final = "bare echo"


@dataclass
class Figures:
    """What the rounds gave for one server."""

    p50: list[float] = field(default_factory=list[float])
    p99: list[float] = field(default_factory=list[float])
    deliveries: list[float] = field(default_factory=list[float])


class Client:
    """A client process. It answers commands by lines of JSON."""

    def __init__(self, preset: str, port: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "client.py"), preset, str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.answer()

    def tell(self, command: str) -> None:
        """Send a command, of which `answer` gives the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        """Wait for the next answer."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            sys.exit("a client ended, see above")
        return json.loads(line)

    def end(self) -> None:
        with self._process:
            self._process.kill()


class Setting:
    """A server with its two clients.

    Args:
        preset: as server.py and client.py call it.
        stack: ends the processes.
        environment: of the server.
        port: where it listens.
    """

    def __init__(self, preset: str, stack: contextlib.ExitStack, environment: Mapping[str, str], port: int) -> None:
        command = [sys.executable, str(HERE / "server.py"), preset, str(port)]
        stack.enter_context(running(command, environment, port))
        self._clients: list[Client] = []
        for _ in range(2):
            self._clients.append(Client(preset, port))
            stack.callback(self._clients[-1].end)
        self._written = 0
        self.figures: Final = Figures()

    def latencies(self, count: int) -> list[float]:
        """Return the seconds that each of `count` mutations took to the other client, one after the other."""
        times: list[float] = []
        for _ in range(count):
            began, heard = self._write(1, 1)
            times.append(heard[0] - began[0])
            time.sleep(PAUSE)
        return times

    def deliveries(self, count: int) -> float:
        """Return how many mutations per second arrived there with `WINDOW` under way."""
        began, heard = self._write(count, WINDOW)
        return count / (max(heard) - min(began))

    def round(self, count: int) -> None:
        """Measure once."""
        parts = statistics.quantiles(self.latencies(count), n=100)
        self.figures.p50.append(parts[49] * 1000)
        self.figures.p99.append(parts[98] * 1000)
        self.figures.deliveries.append(self.deliveries(count))

    def _write(self, count: int, at: int) -> tuple[list[float], list[float]]:
        writer, reader = self._clients
        reader.tell(f"hear {self._written} {count}")
        writer.tell(f"write {self._written} {count} {at}")
        self._written += count
        # In this order: while a single mutation is on its way, this process must not wake up.
        heard = reader.answer()
        return writer.answer(), heard


@contextlib.contextmanager
def running(command: Sequence[str], environment: Mapping[str, str], port: int) -> Generator[None]:
    """Run a program that listens on a port."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("CENTRIFUGO", "REALTIME"))}
    process = subprocess.Popen(command, env={**inherited, **environment})
    try:
        limit = time.monotonic() + 30
        while not listens(port):
            if process.poll() is not None or time.monotonic() > limit:
                sys.exit(f"{command} does not listen")
            time.sleep(0.05)
        yield
    finally:
        process.kill()
        process.wait()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def find_centrifugo(folder: Path) -> tuple[str, str] | None:
    """Return a program and what to call it: Centrifugo where there is one, else what stands in for it."""
    found = os.environ.get("CENTRIFUGO_BIN") or shutil.which("centrifugo")
    if found is not None:
        said = subprocess.run([found, "version"], capture_output=True, text=True, check=True).stdout
        return found, said.strip().partition(" (")[0]
    if shutil.which("go") is None:
        return None
    program = folder / "centrifugo-lite"
    subprocess.run(["go", "build", "-o", program, "."], cwd=LITE, env={**os.environ, "CGO_ENABLED": "0"}, check=True)
    return str(program), "centrifugo-lite"


def start_centrifugo(program: str, folder: Path, stack: contextlib.ExitStack) -> Setting:
    """Start it with the preset's own configuration, and the application and clients on it."""
    app, port = free_port(), free_port()
    key, token, proxy = (secrets.token_urlsafe(32) for _ in range(3))
    config = folder / "centrifugo.json"
    command = [str(Path(sys.executable).parent / "tanstack-realtime"), "centrifugo", "config", "-o", str(config)]
    options = {"app-url": f"http://127.0.0.1:{app}/_realtime", "address": "127.0.0.1", "port": str(port)}
    subprocess.run([*command, *(f"--{name}={value}" for name, value in options.items())], check=True)
    environment = {
        "CENTRIFUGO_HTTP_API_KEY": key,
        "CENTRIFUGO_CLIENT_TOKEN_HMAC_SECRET_KEY": token,
        "CENTRIFUGO_VAR_PROXY_SECRET": proxy,
        "CENTRIFUGO_LOG_LEVEL": "error",
    }
    stack.enter_context(running([program, "-c", str(config)], environment, port))
    environment = {
        "REALTIME_API_URL": f"http://127.0.0.1:{port}/api",
        "REALTIME_URL": f"ws://127.0.0.1:{port}/connection/websocket",
        "REALTIME_API_KEY": key,
        "REALTIME_TOKEN_SECRET": token,
        "REALTIME_PROXY_SECRET": proxy,
    }
    return Setting("centrifugo", stack, environment, app)


def report(settings: Mapping[str, Setting]) -> None:
    """Print the best round of each server, and the median round."""
    print(f"best round (median round); deliveries with {WINDOW} mutations under way\n")
    print("| | p50, ms | p99, ms | deliveries/s |")
    print("|---|---|---|---|")
    for name, setting in settings.items():
        figures = setting.figures
        times = [f"{min(values):.3f} ({statistics.median(values):.3f})" for values in (figures.p50, figures.p99)]
        count = f"{max(figures.deliveries):,.0f} ({statistics.median(figures.deliveries):,.0f})"
        print(f"| {name} | {' | '.join(times)} | {count} |")


def rows(settings: Mapping[str, Setting], count: int) -> list[dict[str, Any]]:
    """Return the results: each preset by the bare echo, and node by Centrifugo."""
    result: list[dict[str, Any]] = []
    for us, peer in itertools.combinations(settings, 2):
        ours, theirs = settings[us].figures, settings[peer].figures
        for case, mine, other, unit in (
            ("mutation to the other client, p50", min(ours.p50), min(theirs.p50), "ms"),
            ("mutation to the other client, p99", min(ours.p99), min(theirs.p99), "ms"),
            (f"deliveries, {WINDOW} under way", max(ours.deliveries), max(theirs.deliveries), "per second"),
        ):
            figures = {"ours": round(mine, 3), "peer": round(other, 3), "ratio": round(mine / other, 3)}
            result.append({"case": f"{us} / {peer}, {case}", "n": count, **figures, "unit": unit})
    return result


def _terminated(_signal: int, _frame: object) -> None:
    """End as a program does, so that the servers end with it."""
    sys.exit(143)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=1000, help="mutations of one round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", help="presets, comma-separated: node, centrifugo; writes no file")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _terminated)
    wanted = options.only.split(",") if options.only else ["node", "centrifugo"]
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        settings: dict[str, Setting] = {}
        if "node" in wanted:
            settings["node"] = Setting("node", stack, {}, free_port())
        if "centrifugo" in wanted:
            found = find_centrifugo(Path(name))
            if found is None:
                print("left out: centrifugo: there is none, and no Go to build centrifugo-lite")
            else:
                settings[found[1]] = start_centrifugo(found[0], Path(name), stack)
        settings[ECHO] = Setting("echo", stack, {}, free_port())
        for setting in settings.values():  # warm
            setting.latencies(options.n // 4)
            setting.deliveries(options.n // 4)
        # In turns, so that a busy moment of the machine meets all of them.
        for _ in range(options.rounds):
            for setting in settings.values():
                setting.round(options.n)
                print(".", end="", flush=True, file=sys.stderr)
    print(file=sys.stderr)
    report(settings)
    if not options.only:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(rows(settings, options.n), indent=1) + "\n")


if __name__ == "__main__":
    main()
