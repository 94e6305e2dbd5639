"""The log of a channel: serials, the window, what can be replayed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_preset_ably.emulator._errors import AblyError
from realtime_preset_ably.emulator._log import Budget, Entry, Log
from realtime_preset_ably.emulator._wire import Action, Frame


def new_log(epoch: str, window: int, max_bytes: int) -> Log:
    return Log(epoch, window=window, max_bytes=max_bytes, budget=Budget(1_000_000))


def add(log: Log, now: int, *names: str, size: int = 1) -> str:
    serial = log.next_serial(now)
    frame = Frame(Action.MESSAGE, messages=[{"name": name} for name in names or ("x",)])
    log.append(Entry(serial, now, size, frame))
    return serial


def test_serials_grow_as_text() -> None:
    log = new_log("e", 1000, 1000)
    moments = [5, 5, 6, 6, 6, *[7] * 10_005, 7, 8, 1_800_000_000_000]
    serials = [log.head, *(log.next_serial(now) for now in moments)]

    assert serials == sorted(set(serials))


def test_what_was_missed_is_replayed_once() -> None:
    log = new_log("e", 1000, 1000)
    first, second, third = (add(log, now) for now in (1, 2, 3))

    assert [entry.serial for entry in log.after(first, 0)] == [second, third]
    assert log.after(third, 0) == []
    assert log.after(log.head, 0) == []


def test_an_empty_log_has_a_head_that_stays_valid() -> None:
    log = new_log("e", 1000, 1000)
    head = log.head
    first = add(log, 5)

    assert [entry.serial for entry in log.after(head, 0)] == [first]


def lost(log: Log, serial: str, since: int = 0) -> int:
    with pytest.raises(AblyError) as caught:
        log.after(serial, since)
    return caught.value.code


def test_other_logs_serials_and_garbage_prove_nothing() -> None:
    log = new_log("e", 1000, 1000)
    add(log, 5)

    assert lost(log, new_log("f", 1000, 1000).head) == 90005
    assert lost(log, "") == 90005
    assert lost(log, "99999999999999-0000@e") == 90005


def test_a_serial_before_the_window_is_lost_and_one_at_its_edge_is_not() -> None:
    log = new_log("e", 100, 1000)
    first, second, third = (add(log, now) for now in (0, 50, 100))

    assert [entry.serial for entry in log] == [second, third]
    assert [entry.serial for entry in log.after(first, 0)] == [second, third]  # only ``first`` itself went
    log.trim(150)
    assert lost(log, first) == 90003
    assert [entry.serial for entry in log.after(second, 0)] == [third]


def test_history_may_reach_further_back_than_a_resume() -> None:
    log = new_log("e", 10_000, 1000)
    first, second = add(log, 0), add(log, 50)

    assert lost(log, first, since=50) == 90003
    assert [entry.serial for entry in log.after(first, 49)] == [second]
    assert log.after(second, 10_000) == []


def test_too_many_bytes_drop_the_oldest() -> None:
    log = new_log("e", 1000, 10)
    first = add(log, 1, size=6)
    second = add(log, 2, size=6)

    assert [entry.serial for entry in log] == [second]
    add(log, 3, size=11)
    assert log.is_empty
    assert lost(log, first) == 90003


def test_the_log_that_grows_beyond_the_common_budget_pays() -> None:
    budget = Budget(10)
    full = Log("a", window=1000, max_bytes=1000, budget=budget)
    other = Log("b", window=1000, max_bytes=1000, budget=budget)
    kept = [add(full, 1, size=6), add(full, 2, size=4)]
    seen = add(other, 3)

    assert [entry.serial for entry in full] == kept
    assert other.is_empty
    assert other.after(seen, 0) == []
    full.clear()
    assert (budget.used, full.is_empty) == (0, True)
    assert lost(full, kept[0]) == 90003
    add(other, 4, size=10)
    assert not other.is_empty


def test_rewind_by_number_counts_messages_not_frames() -> None:
    log = new_log("e", 1000, 1000)
    add(log, 1, "a")
    add(log, 2, "b", "c", "d")
    log.append(Entry(log.next_serial(3), 3, 1, Frame(Action.PRESENCE, presence=[])))
    add(log, 4, "e")

    assert [(entry.timestamp, skip) for entry, skip in log.latest(3)] == [(2, 1), (4, 0)]
    assert [(entry.timestamp, skip) for entry, skip in log.latest(100)] == [(1, 0), (2, 0), (4, 0)]
    assert log.latest(0) == []


def test_rewind_by_time_takes_messages_only() -> None:
    log = new_log("e", 1000, 1000)
    for now in (1, 2, 3):
        add(log, now)
    log.append(Entry(log.next_serial(4), 4, 1, Frame(Action.PRESENCE, presence=[])))

    assert [entry.timestamp for entry in log.since(1)] == [2, 3]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 5)), max_size=40), st.data())
def test_a_replay_is_exactly_the_rest_or_refused(steps: list[tuple[int, int]], data: st.DataObject) -> None:
    """Kills: a floor that is not moved when an entry goes, and one off at either end of the window."""
    log, now, sent = new_log("e", 100, 20), 0, [new_log("e", 1, 1).head]
    for wait, size in steps:
        now += wait
        sent.append(add(log, now, size=size))
    seen = data.draw(st.integers(0, len(sent) - 1))
    kept = [entry.serial for entry in log]

    take: Callable[[], list[Entry]] = lambda: log.after(sent[seen], now - 100)  # noqa: E731
    if sent[seen + 1 :] == kept[len(kept) - len(sent) + seen + 1 :]:
        assert [entry.serial for entry in take()] == sent[seen + 1 :]
    else:
        with pytest.raises(AblyError):
            take()
