"""A token bucket without a clock: how often somebody may do something."""

from __future__ import annotations

from math import inf

__all__ = ["TokenBucket"]


class TokenBucket:
    """Fills at `rate` tokens per second up to `burst`. Who takes more than there is goes into debt, by one token more
    than a burst at most.

    Args:
        rate: tokens per second; ``math.inf`` for no limit.
        burst: tokens that a full bucket holds.
        now: seconds on the caller's clock.
    """

    def __init__(self, *, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at = now

    def take(self, now: float) -> float:
        """Take a token, and return the seconds after which there would have been one: 0.0 if it was there."""
        if self._rate == inf:
            return 0.0
        burst = self._burst
        left = self._tokens + (now - self._at) * self._rate - 1.0
        self._at = now
        if left > burst - 1.0:
            left = burst - 1.0
        elif left < -burst - 1.0:
            left = -burst - 1.0
        self._tokens = left
        return 0.0 if left >= 0.0 else -left / self._rate

    @property
    def debt(self) -> float:
        """How many tokens were taken that were not there."""
        return max(0.0, -self._tokens)
