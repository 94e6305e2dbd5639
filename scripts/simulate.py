"""Run simulated histories: many users on a bad network against a real database, from a number each.

python scripts/simulate.py 10000               # the histories 0 to 9999
python scripts/simulate.py 1 --first 1234      # the one that failed
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from realtime_preset_node.testing import SimulatedNode
from tanstack_realtime.testing import HistoryError, MemoryPreset, NetworkPreset, simulate

PRESETS: dict[str, Callable[[], NetworkPreset]] = {"node": SimulatedNode, "memory": MemoryPreset}


def main() -> int:
    """Run them, print what fails, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, help="how many")
    parser.add_argument("--first", type=int, default=0, help="number of the first one")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="node")
    parser.add_argument("--steps", type=int, default=16, help="how many things happen in each")
    options = parser.parse_args()
    failed: list[int] = []
    writes = 0
    for seed in range(options.first, options.first + options.count):
        try:
            writes += simulate(seed, preset=PRESETS[options.preset], steps=options.steps).writes
        except HistoryError as error:
            failed.append(seed)
            print(error, file=sys.stderr)
            again = f"python scripts/simulate.py 1 --first {seed} --preset {options.preset} --steps {options.steps}"
            print(f"replay: {again}", file=sys.stderr)
    print(f"{options.count} histories, {writes} writes, {len(failed)} failed: {failed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
