"""The token bucket against a plain statement of what it promises."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from tanstack_realtime._rate import TokenBucket


def test_a_burst_then_the_rate() -> None:
    bucket = TokenBucket(rate=2, burst=3, now=10)
    assert [bucket.take(10) for _ in range(5)] == [0, 0, 0, 0.5, 1.0]
    assert bucket.debt == 2
    assert bucket.take(11.5) == 0
    assert bucket.debt == 0


def test_debt_is_bounded() -> None:
    bucket = TokenBucket(rate=1, burst=3, now=0)
    assert max(bucket.take(0) for _ in range(100)) == 4
    assert bucket.debt == 4
    assert bucket.take(5) == 0


def test_no_rate_is_no_limit() -> None:
    bucket = TokenBucket(rate=math.inf, burst=1, now=0)
    assert [bucket.take(0) for _ in range(1000)] == [0] * 1000
    assert bucket.debt == 0


@given(
    st.integers(1, 20),
    st.integers(1, 20),
    st.lists(st.floats(0, 5, allow_nan=False), min_size=1, max_size=60),
)
def test_no_window_has_more_than_a_burst_and_what_the_rate_allows(rate: int, burst: int, pauses: list[float]) -> None:
    """Kills: a bucket that grows above its burst, and one that forgets its debt."""
    bucket, now = TokenBucket(rate=rate, burst=burst, now=0), 0.0
    granted: list[float] = []
    for pause in pauses:
        now += pause
        if bucket.take(now) == 0.0:
            granted.append(now)
    for i, start in enumerate(granted):
        for count, end in enumerate(granted[i:], start=1):
            assert count <= burst + rate * (end - start) + 1e-6
