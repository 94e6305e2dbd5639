"""How long to wait before trying again."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["backoff"]


def backoff(
    failures: int, random: Callable[[], float], *, first: float = 1.0, longest: float = 30.0, jitter: float = 0.25
) -> float:
    """Return a delay in seconds.

    Args:
        failures: how many tries have failed before this one.
        random: a float in [0, 1).
        first: delay after the first failure; doubles from try to try.
        longest: never more than this, jitter included.
        jitter: the delay is spread by this fraction, up and down.
    """
    # The exponent is bounded because a float is: 2.0 ** 1024 overflows after some hours offline.
    delay = min(first * 2.0 ** min(failures, 32), longest)
    return min(delay * (1.0 + jitter * (2.0 * random() - 1.0)), longest)
