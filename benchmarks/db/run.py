"""tanstack-db next to npm ``@tanstack/db``: same data, same queries, same changes, same machine, same run.

Each scenario runs in two processes, one per side, which are measured in turns: a batch of ours, a batch of the peer's,
and again. Before each measurement both collect their garbage; during it their collectors run as they like. Prints a
table and writes ``benchmarks/results/db.json``. How to read it is in ``benchmarks/README.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

HERE: Final = Path(__file__).parent
RESULTS: Final = HERE.parent / "results" / "db.json"
PEER: Final = HERE / "node_modules" / "@tanstack" / "db" / "package.json"

ROUNDS: Final = 4
BATCH_SECONDS: Final = 0.02
WARM_SECONDS: Final = 0.1
FIRST_SECONDS: Final = 0.7
"""A first run is repeated up to four times, until the slower side has spent this long."""

Sample: TypeAlias = Callable[["Worker"], float]
"""Measures once; gives the figure in the unit of the case."""


@dataclass(frozen=True)
class Scenario:
    """What one pair of processes measures.

    Attributes:
        name: of the data and query; both sides know it.
        first: whether it has a query whose first run is measured.
        changes: case name to change of the sync side, whose cost with the query running is measured.
    """

    name: str
    first: bool = True
    changes: dict[str, str] = field(default_factory=dict[str, str])


SCENARIOS: Final = (
    Scenario("filter", changes={"filter, row accepted": "accepted", "filter, row rejected": "rejected"}),
    Scenario("filter+order", changes={"filter+order": "moved"}),
    Scenario("window", changes={"order+limit 50, inside": "inside", "order+limit 50, outside": "outside"}),
    Scenario("group", changes={"group, count+sum": "value"}),
    Scenario("inner join", changes={"inner join, todo": "todo", "inner join, comment": "comment"}),
    Scenario("left join", changes={"left join, todo": "todo", "left join, comment": "comment"}),
    Scenario("join+group", changes={"join+group, todo": "todo", "join+group, comment": "comment"}),
    Scenario("100 queries", first=False, changes={"100 queries, different values": "todo"}),
)


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    Attributes:
        case: what was measured.
        n: number of todos.
        unit: of the samples.
        ours: one per part of a batch that was timed.
        peer: likewise.
    """

    case: str
    n: int
    unit: str
    ours: Sequence[float]
    peer: Sequence[float]

    @property
    def ratio(self) -> float:
        return min(self.ours) / min(self.peer)


class Worker:
    """One side's process."""

    def __init__(self, command: Sequence[str], env: dict[str, str], scenario: str, n: int) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HERE, env=env
        )
        self.name = command[0]
        self.size = self.ask("open", scenario=scenario, n=n).get("size")

    def ask(self, what: str, **arguments: object) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": what, **arguments}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended with {self._process.wait()} while it was asked to {what} {arguments}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.kill()
        self._process.wait()


class Bench:
    """Runs the scenarios.

    Args:
        seed: of the data and the changes.
        peer_index: whether the peer creates indexes on demand, which is off by default there.
    """

    def __init__(self, *, seed: int, peer_index: bool) -> None:
        self._env = os.environ | {
            "BENCH_SEED": str(seed),
            "BENCH_PEER_INDEX": str(int(peer_index)),
            "NODE_ENV": "production",
            "PYTHONHASHSEED": str(seed),
        }

    def run(self, n: int, wanted: Callable[[str], bool]) -> Iterator[Figure]:
        """Measure every wanted case at one size."""
        if wanted("load"):
            with self._sides("load", n) as sides:
                yield Figure("load", n, "µs/row", *_alternate(sides, _load(n), rounds=ROUNDS))
        for scenario in SCENARIOS:
            changes = {case: change for case, change in scenario.changes.items() if wanted(case)}
            first = f"first run, {scenario.name}"
            if not changes and not (scenario.first and wanted(first)):
                continue
            with self._sides(scenario.name, n) as sides:
                if scenario.first:
                    samples = self._first(sides)
                    if wanted(first):
                        yield Figure(first, n, "ms", *samples)
                for case, change in changes.items():
                    yield _per_change(sides, case, n, "sync", change=change)
        for pending in (0, 1000):
            cases = {f"optimistic {kind}, {pending} pending": kind for kind in ("insert", "update", "rollback")}
            if not any(map(wanted, cases)):
                continue
            with self._sides("optimistic", n) as sides:
                for case, kind in cases.items():
                    if wanted(case):
                        yield _per_change(sides, case, n, "optimistic", change=kind, pending=pending)
        for ours, case in (("memory", "memory, dict rows"), ("memory slots", "memory, slots rows")):
            if wanted(case):
                with self._sides(ours, n) as sides:
                    yield Figure(case, n, "bytes/row", *_alternate(sides, _memory(n), rounds=1))

    def _first(self, sides: Sequence[Worker]) -> Sequence[Sequence[float]]:
        samples: list[list[float]] = [[], []]
        sizes: set[int] = set()
        spent = 0.0
        for _ in range(4):
            answers = [side.ask("first") for side in sides]
            sizes |= {answer["size"] for answer in answers}
            for kept, answer in zip(samples, answers, strict=True):
                kept.append(answer["ns"] / 1e6)
            spent += max(answer["ns"] for answer in answers) / 1e9
            if spent >= FIRST_SECONDS:
                break
        if len(sizes) > 1:
            raise SystemExit(f"the sides show different numbers of rows: {sizes}")
        return samples

    @contextmanager
    def _sides(self, scenario: str, n: int) -> Generator[Sequence[Worker], None, None]:
        of_peer = "memory" if scenario.startswith("memory") else scenario
        node = ["node", "--expose-gc", "--max-old-space-size=6144", "peer.mjs"]
        ours = Worker([sys.executable, "ours.py"], self._env, scenario, n)
        try:
            peer = Worker(node, self._env, of_peer, n)
        except BaseException:
            ours.close()
            raise
        try:
            if ours.size != peer.size:
                raise SystemExit(f"the sides start {scenario} with {ours.size} and {peer.size} rows")
            yield ours, peer
        finally:
            ours.close()
            peer.close()


def _alternate(sides: Sequence[Worker], sample: Sample, *, rounds: int) -> Sequence[Sequence[float]]:
    samples: list[list[float]] = [[] for _ in sides]
    for _ in range(rounds):
        for kept, side in zip(samples, sides, strict=True):
            kept.append(sample(side))
    return samples


def _load(n: int) -> Sample:
    return lambda side: side.ask("load")["ns"] / n / 1000


def _memory(n: int) -> Sample:
    return lambda side: side.ask("memory")["bytes"] / n


def _per_change(sides: Sequence[Worker], case: str, n: int, what: str, **how: object) -> Figure:
    counts = {side: _warmed(side, what, how) for side in sides}
    told: dict[Worker, float] = {}

    samples: list[list[float]] = [[] for _ in sides]
    for _ in range(ROUNDS):
        for kept, side in zip(samples, sides, strict=True):
            answer = side.ask(what, count=counts[side], **how)
            told[side] = answer["delivered"] / counts[side]
            kept += [each / 1000 for each in answer["ns"]]
    ours, peer = (told[side] for side in sides)
    if abs(ours - peer) > 0.1 * max(ours, peer) + 0.5:
        print(f"  {case}: {ours:.2f} changes are told per change here, {peer:.2f} there", file=sys.stderr)
    return Figure(case, n, "µs", *samples)


def _warmed(side: Worker, what: str, how: Mapping[str, object]) -> int:
    """Run until the compilers have had time; return how many changes make a batch."""
    count, spent = 1, 0.0
    while True:
        times: list[float] = side.ask(what, count=count, **how)["ns"]
        took = statistics.mean(times) * count / 1e9
        spent += took
        wanted = max(1, min(count * 10, round(count * BATCH_SECONDS / max(took, 1e-6))))
        if spent >= WARM_SECONDS:
            return wanted
        count = wanted


def _install_peer() -> None:
    if PEER.exists():
        return
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise SystemExit("the benchmark needs node 20 or newer with npm")
    command = [npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--silent"]
    subprocess.run(command, cwd=HERE, check=True)


def _print(figures: Sequence[Figure], growth: dict[str, float]) -> None:
    print(
        f"\n{'case':34} {'n':>7} {'unit':>9} {'ours':>9} {'median':>9} {'peer':>10} {'median':>10} {'ratio':>8} growth"
    )
    order = list(dict.fromkeys(figure.case for figure in figures))
    for figure in sorted(figures, key=lambda figure: (order.index(figure.case), figure.n)):
        ours, peer = figure.ours, figure.peer
        columns = f"{min(ours):9.2f} {statistics.median(ours):9.2f} {min(peer):10.2f} {statistics.median(peer):10.2f}"
        last = f"{growth[figure.case]:6.2f}" if figure.case in growth else ""
        print(f"{figure.case:34} {figure.n:7} {figure.unit:>9} {columns} {figure.ratio:8.5f} {last}")


def _growth(figures: Sequence[Figure]) -> dict[str, float]:
    """How much more a change costs us at the largest size than at the smallest. First runs grow with n by nature."""
    growth: dict[str, float] = {}
    for case in {figure.case for figure in figures if figure.unit != "ms"}:
        sizes = sorted((figure for figure in figures if figure.case == case), key=lambda figure: figure.n)
        if len(sizes) > 1:
            growth[case] = min(sizes[-1].ours) / min(sizes[0].ours)
    return growth


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, nargs="+", default=[1_000, 10_000, 100_000], help="sizes (default: all three)")
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--peer-without-indexes", action="store_true", help="the peer's default; much slower windows")
    options = parser.parse_args()
    _install_peer()
    bench = Bench(seed=options.seed, peer_index=not options.peer_without_indexes)
    figures: list[Figure] = []
    began = time.monotonic()
    for n in options.n:
        for figure in bench.run(n, lambda case: options.only in case):
            figures.append(figure)
            print(f"  {n:7} {figure.case:34} {min(figure.ours):10.2f} {min(figure.peer):10.2f} {figure.unit}")
    growth = _growth(figures)
    _print(figures, growth)
    print(f"\n{time.monotonic() - began:.0f} s")
    if options.only:
        return
    lines = [
        {
            "case": figure.case,
            "n": figure.n,
            "ours": round(min(figure.ours), 3),
            "peer": round(min(figure.peer), 3),
            "ratio": round(figure.ratio, 6),
            "growth": round(growth[figure.case], 3) if figure.case in growth else None,
            "unit": figure.unit,
        }
        for figure in figures
    ]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(lines, indent=1) + "\n")


if __name__ == "__main__":
    main()
