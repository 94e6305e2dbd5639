"""Say which websockets is in use, and fail where it is the locked one: then the lane would test nothing new."""

from __future__ import annotations

import importlib.metadata

from _workspace import Failure, main

_HELD_BACK = 16


def check() -> None:
    """Print the version."""
    version = importlib.metadata.version("websockets")
    if int(version.partition(".")[0]) < _HELD_BACK:
        raise Failure(f"websockets {version} is in use, so the overlay has no effect")
    print(f"websockets {version}")


if __name__ == "__main__":
    main(check)
