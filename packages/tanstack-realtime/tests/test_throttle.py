"""T1: leading call, trailing last value, flush, cancel."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tanstack_realtime._throttle import Throttle, Waiting


def test_the_first_value_goes_at_once_and_the_last_of_an_interval_at_its_end() -> None:  # T1
    throttle = Throttle[str](1.0)
    assert throttle.push("a", 10.0)
    assert not throttle.push("b", 10.2)
    assert not throttle.push("c", 10.9)
    assert throttle.due == 11.0
    assert throttle.take(10.99) is None
    assert throttle.take(11.0) == Waiting("c")
    assert throttle.take(11.0) is None


def test_a_trailing_send_begins_an_interval_of_its_own() -> None:  # T1
    throttle = Throttle[str](1.0)
    throttle.push("a", 0.0)
    throttle.push("b", 0.5)
    throttle.take(1.0)
    assert not throttle.push("c", 1.5)
    assert throttle.due == 2.0


def test_what_waits_is_not_overtaken() -> None:  # T1
    throttle = Throttle[str](1.0)
    throttle.push("a", 0.0)
    throttle.push("b", 0.5)
    assert not throttle.push("c", 5.0)
    assert throttle.take(5.0) == Waiting("c")


def test_flush_gives_what_waits_and_cancel_forgets_it() -> None:  # T1
    throttle = Throttle[str | None](1.0)
    throttle.push("a", 0.0)
    assert throttle.flush(0.1) is None
    throttle.push(None, 0.2)
    assert throttle.flush(0.3) == Waiting(None)
    throttle.push("c", 0.4)
    throttle.cancel()
    assert throttle.flush(9.0) is None


def test_a_value_can_be_held_back_for_longer() -> None:
    throttle = Throttle[str](1.0)
    throttle.push("a", 0.0)
    throttle.hold("a", not_before=5.0)
    assert throttle.take(4.9) is None
    assert throttle.take(5.0) == Waiting("a")


@given(pauses=st.lists(st.floats(0.01, 3.0), min_size=1, max_size=30))
def test_sends_keep_their_distance_and_the_last_value_is_sent(pauses: list[float]) -> None:
    """Kills: a `take` that does not begin a new interval; a `push` that drops instead of waiting."""
    throttle, now, sent = Throttle[int](1.0), 0.0, list[tuple[float, int]]()
    for value, pause in enumerate(pauses):
        if throttle.waiting is not None and throttle.due <= now + pause:
            due = throttle.due
            waiting = throttle.take(due)
            assert waiting is not None
            sent.append((due, waiting.value))
        now += pause
        if throttle.push(value, now):
            sent.append((now, value))
    if throttle.waiting is not None:
        sent.append((throttle.due, throttle.waiting.value))
    assert sent[-1][1] == len(pauses) - 1
    times = [time for time, _ in sent]
    assert all(later - earlier >= 1.0 - 1e-9 for earlier, later in pairwise(times))
