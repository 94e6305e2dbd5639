"""Say which version of a library is in use, and fail where it is not the one that a lane is for.

Usage: python scripts/check_version.py "websockets>=16"
"""

from __future__ import annotations

import importlib.metadata
import sys

from _workspace import Failure, main
from packaging.requirements import Requirement


def check() -> None:
    """Print the version."""
    wanted = Requirement(sys.argv[1])
    version = importlib.metadata.version(wanted.name)
    if not wanted.specifier.contains(version, prereleases=True):
        raise Failure(f"{wanted.name} {version} is in use, so the overlay of {wanted} has no effect")
    print(f"{wanted.name} {version}")


if __name__ == "__main__":
    main(check)
