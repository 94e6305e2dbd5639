"""What one delivery of a message to one subscriber costs a server, next to other servers.

One server works at a time, pinned to one processor; the load generator, pinned to another, is the same program for all
of them (load.c). The figure is the processor time of the server's threads and children divided by the deliveries, in
microseconds. Prints a table and writes ``benchmarks/results/fanout.json``. How to read it is in
``benchmarks/README.md``.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

HERE: Final = Path(__file__).parent
RESULTS: Final = HERE.parent / "results" / "fanout.json"

SIZES: Final = (50, 500, 2000)
WINDOWS: Final = {"one at a time": 1, "window of 8": 8, "full speed": 512}
"""How many messages may be under way. With 512 the server is never out of work, and no reader is behind by its limit.
A server that writes each message by itself gets a part of that, see `Server.slower`: it makes no difference to it."""

DELIVERIES: Final = {1: 60_000, 8: 240_000, 512: 2_000_000}
"""About how many are measured at once, by window."""

_LESS: Final = 8
"""By this at most is the number of deliveries divided for small windows, which need some messages all the same."""

UNIT: Final = "CPU us per delivery"

Figures: TypeAlias = dict[tuple[str, int, str], list[float]]
"""What each server, with so many subscribers, took in each round of a case."""


@dataclass(frozen=True)
class Server:
    """One server program, and how the load generator talks to it.

    Attributes:
        command: starts it; ``{port}`` is replaced.
        path: of the WebSocket.
        around: what a publish has before and after the payload.
        ready: is in the answer to the last of `frames`.
        frames: sent by a new connection; see load.c for their first letter.
        slower: by this are large windows and numbers of deliveries divided, so that no trial takes minutes.
    """

    command: tuple[str, ...]
    path: str
    around: tuple[str, str]
    ready: str
    frames: tuple[str, ...]
    slower: int = 1


_PYTHON: Final = sys.executable
# What relays frames as they are gets frames as long as the node preset's frame of one message.
_LIKE_OURS: Final = ('{"type":"messages","channel":"news","offset":100000,"data":[', '],"user":"load"}')
_PLAIN: Final = ("ssubscribe", "pother")
_OURS: Final = (
    'a{"type":"hello","versions":[1],"token":"load"}',
    's{"type":"subscribe","id":1,"channel":"news"}',
    'p{"type":"subscribe","id":1,"channel":"other"}',
)
_OUR_PUBLISH: Final = ('{"type":"publish","id":2,"channel":"news","data":', "}")
_FLOOR: Final = "asyncio loop (floor)"
_SERVERS: Final[Mapping[str, Server]] = {
    "node preset": Server(
        (_PYTHON, str(HERE / "servers/node_preset.py"), "{port}", "fast"),
        *("/_realtime/ws", _OUR_PUBLISH, '"subscribed"', _OURS),
    ),
    _FLOOR: Server((_PYTHON, str(HERE / "servers/floor.py"), "{port}"), "/", _LIKE_OURS, "ready", _PLAIN),
    "node preset, ASGI send": Server(
        (_PYTHON, str(HERE / "servers/node_preset.py"), "{port}", "asgi"),
        *("/_realtime/ws", _OUR_PUBLISH, '"subscribed"', _OURS),
    ),
    "Starlette loop": Server(
        (_PYTHON, str(HERE / "servers/starlette_loop.py"), "{port}"), "/ws", _LIKE_OURS, "ready", _PLAIN, slower=8
    ),
    "node ws": Server(
        ("node", str(HERE / "servers/ws_server.mjs"), "{port}"), "/", _LIKE_OURS, "ready", _PLAIN, slower=8
    ),
    "centrifugo": Server(
        ("centrifugo", "-c", "{config}", "--http_server.port={port}", "--log.level=error"),
        "/connection/websocket",
        ('{"id":3,"publish":{"channel":"news","data":', "}}"),
        '"id":2',
        (
            'a{"id":1,"connect":{}}',
            's{"id":2,"subscribe":{"channel":"news"}}',
            'p{"id":2,"subscribe":{"channel":"other"}}',
        ),
    ),
    "python-socketio": Server(
        (_PYTHON, str(HERE / "servers/socketio_server.py"), "{port}"),
        "/socket.io/?EIO=4&transport=websocket",
        ('42["publish",', "]"),
        '42["ready"',
        ("a40", 's42["subscribe",0]', 'p42["other",0]'),
        slower=32,
    ),
}
OURS: Final = ("node preset", "node preset, ASGI send")

_CENTRIFUGO: Final[dict[str, Any]] = {
    "usage_stats": {"disabled": True},
    # The load generator answers no pings.
    "client": {"insecure": True, "allowed_origins": ["*"], "ping_interval": "600s", "pong_timeout": "60s"},
    "channel": {
        "without_namespace": {
            "history_size": 256,
            "history_ttl": "300s",
            "force_positioning": True,
            "allow_subscribe_for_client": True,
            "allow_publish_for_client": True,
            "allow_subscribe_for_anonymous": True,
            "allow_publish_for_anonymous": True,
        }
    },
}


def missing(name: str) -> str | None:
    """Return why a server cannot be measured here, or None."""
    if name == "node ws" and not shutil.which("node"):
        return "node is not installed"
    if name == "centrifugo" and not shutil.which("centrifugo"):
        return "no centrifugo on the path"
    if name == "python-socketio" and importlib.util.find_spec("socketio") is None:
        return "python-socketio is not installed; `make bench-fanout` brings it"
    return None


def prepare(names: Sequence[str], folder: Path) -> Path:
    """Compile the load generator, install `ws`, write Centrifugo's configuration. Returns the generator."""
    compiler = shutil.which("cc")
    if compiler is None:
        sys.exit("the load generator needs a C compiler: apt install gcc")
    load = folder / "load"
    subprocess.run([compiler, "-O2", "-D_GNU_SOURCE", "-o", load, HERE / "load.c"], check=True)
    if "node ws" in names and not (HERE / "node_modules" / "ws").exists():
        subprocess.run(
            ["npm", "install", "--silent", "--no-audit", "--no-fund", "--no-package-lock"], cwd=HERE, check=True
        )
    (folder / "centrifugo.json").write_text(json.dumps(_CENTRIFUGO))
    return load


def processor_time(process: int) -> int:
    """Return what a process, its threads and its children have used, in nanoseconds."""
    total = 0
    for task in Path(f"/proc/{process}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
        for child in (task / "children").read_text().split():
            total += processor_time(int(child))
    return total


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class LoadError(Exception):
    """A server broke a connection, or the order of messages."""


class Trial:
    """One server process and one load generator, with a number of subscribers."""

    def __init__(self, name: str, size: int, load: Path) -> None:
        server, port = _SERVERS[name], free_port()
        config = str(load.parent / "centrifugo.json")
        command = [part.format(port=port, config=config) for part in server.command]
        mine, theirs = _processors()
        self._name, self._size, self._slower = name, size, server.slower
        self._server = subprocess.Popen(["taskset", "-c", str(mine), *command], env={**os.environ, "GOMAXPROCS": "1"})
        try:
            self._await_port(port)
            self._load = subprocess.Popen(
                [
                    *("taskset", "-c", str(theirs), load, "127.0.0.1", str(port), server.path, str(size)),
                    *(*server.around, server.ready, *server.frames),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        except BaseException:
            self._server.kill()
            raise
        self._answer("ready")

    def measure(self, window: int, deliveries: int) -> float:
        """Return microseconds of processor time per delivery."""
        if window > 8:
            window, deliveries = window // self._slower, deliveries // self._slower
        else:
            deliveries //= min(self._slower, _LESS)
        messages = max(window * 4, deliveries // self._size)
        before = processor_time(self._server.pid)
        assert self._load.stdin is not None
        self._load.stdin.write(f"run {window} {messages}\n")
        self._load.stdin.flush()
        self._answer("done")
        return (processor_time(self._server.pid) - before) / 1000 / (messages * self._size)

    def end(self) -> None:
        """Stop both."""
        for process in (self._load, self._server):
            process.kill()
            process.wait()

    def _answer(self, word: str) -> None:
        assert self._load.stdout is not None
        line = self._load.stdout.readline()
        if not line.startswith(word):
            self.end()
            raise LoadError(f"{self._name}: the load generator ended: {line!r}")

    def _await_port(self, port: int) -> None:
        limit = time.monotonic() + 30
        while time.monotonic() < limit and self._server.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.05)
        raise SystemExit(f"{self._server.args!r} does not listen")


def _processors() -> tuple[int, int]:
    mine = sorted(os.sched_getaffinity(0))
    return mine[0], mine[-1]


def measure(names: Sequence[str], sizes: Sequence[int], rounds: int, load: Path) -> Figures:
    """Measure every server `rounds` times.

    All servers of a size run at the same time and are measured in turns, one idle while another works, so that two
    figures of a round are seconds apart: what else the machine does meets both.
    """
    figures: Figures = {}
    for size in sizes:
        with contextlib.ExitStack() as stack:
            trials: dict[str, Trial] = {}
            for name in names:
                trials[name] = trial = Trial(name, size, load)
                stack.callback(trial.end)
                trial.measure(8, 20_000)  # warm
            for _ in range(rounds):
                for case, window in WINDOWS.items():
                    for name, trial in list(trials.items()):
                        try:
                            figure = trial.measure(window, DELIVERIES[window])
                        except LoadError as error:
                            if name in OURS:
                                raise
                            print(f"left out from {size} subscribers on: {error}", file=sys.stderr)
                            del trials[name]
                        else:
                            figures.setdefault((name, size, case), []).append(figure)
                print(".", end="", flush=True, file=sys.stderr)
    print(file=sys.stderr)
    return figures


def report(figures: Figures, names: Sequence[str], sizes: Sequence[int]) -> None:
    """Print minimum and median for every server, and how the preset compares with the floor."""
    print(f"{UNIT}: minimum (median)\n")
    print("| server | " + " | ".join(f"{n}, {case}" for n in sizes for case in WINDOWS) + " |")
    print("|---|" + "---|" * (len(sizes) * len(WINDOWS)))
    for name in names:
        samples = [figures.get((name, size, case)) for size in sizes for case in WINDOWS]
        cells = [f"{min(s):.2f} ({statistics.median(s):.2f})" if s else "" for s in samples]
        print(f"| {name} | " + " | ".join(cells) + " |")
    if OURS[0] in names and _FLOOR in names:
        ratios = [ratio(figures, OURS[0], _FLOOR, size, case) for size in sizes for case in WINDOWS]
        print("| preset by floor | " + " | ".join(f"{each:.2f}" for each in ratios) + " |")


def ratio(figures: Figures, ours: str, peer: str, size: int, case: str) -> float:
    """Return the median of the rounds' ratios."""
    pairs = zip(figures[ours, size, case], figures[peer, size, case], strict=False)
    return statistics.median([mine / theirs for mine, theirs in pairs])


def rows(figures: Figures, names: Sequence[str], sizes: Sequence[int]) -> list[dict[str, Any]]:
    """Return the results: each of our two ways of writing by each other server. Figures and ratio are medians."""
    result: list[dict[str, Any]] = []
    for us in (name for name in names if name in OURS):
        for peer in (name for name in names if name not in OURS):
            for size in sizes:
                for case in [case for case in WINDOWS if (peer, size, case) in figures]:
                    ours, theirs = (statistics.median(figures[name, size, case]) for name in (us, peer))
                    result.append(
                        {
                            "case": f"{us} / {peer}, {case}",
                            "n": size,
                            "ours": round(ours, 3),
                            "peer": round(theirs, 3),
                            "ratio": round(ratio(figures, us, peer, size, case), 3),
                            "unit": UNIT,
                        }
                    )
    return result


def _terminated(_signal: int, _frame: object) -> None:
    """End as a program does, so that the servers end with it."""
    sys.exit(143)


def main() -> None:
    """Measure what is here, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, nargs="+", default=list(SIZES), help="numbers of subscribers")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", help="servers whose name contains one of these, comma-separated; writes no file")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _terminated)
    wanted = [name for name in _SERVERS if not options.only or any(part in name for part in options.only.split(","))]
    names = [name for name in wanted if missing(name) is None]
    for name in wanted:
        reason = missing(name)
        if reason is not None:
            print(f"left out: {name}: {reason}")
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(names, options.n, options.rounds, prepare(names, Path(folder)))
    report(figures, names, options.n)
    if not options.only:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(rows(figures, names, options.n), indent=1) + "\n")


if __name__ == "__main__":
    main()
