"""What waits for a socket, the deadlines of a server, and what it remembers: all bounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from realtime_preset_ably.emulator._limits import Limits
from realtime_preset_ably.emulator._outbox import ABRUPT, Outbox
from realtime_preset_ably.emulator._recent import Recent
from realtime_preset_ably.emulator._timers import Timers
from realtime_preset_ably.emulator._wire import Action, Frame

BEAT = Frame(Action.HEARTBEAT)


def nothing() -> None:
    pass


def drain(outbox: Outbox) -> int:
    count = 0
    while outbox.take() is not None:
        count += 1
    return count


def test_what_is_sent_is_taken_in_the_sockets_format() -> None:
    changes: list[int] = []
    text, raw = Outbox("json", Limits(), lambda: changes.append(1)), Outbox("msgpack", Limits(), nothing)
    text.send(BEAT)
    raw.send(BEAT)

    assert (text.take(), raw.take()) == ('{"action":0}', b"\x81\xa6action\x00")
    assert (text.take(), len(changes)) == (None, 1)


def test_a_slow_reader_loses_its_socket_not_the_server_its_memory() -> None:
    by_count, by_bytes = (
        Outbox("json", Limits(queue_frames=3), nothing),
        Outbox("json", Limits(queue_bytes=30), nothing),
    )
    for outbox, fits in ((by_count, 3), (by_bytes, 2)):
        for _ in range(fits):
            outbox.send(BEAT)
        assert outbox.is_open
        outbox.send(BEAT, BEAT)
        assert (outbox.close_code, outbox.take()) == (ABRUPT, None)


def test_a_reader_that_keeps_up_is_never_too_slow() -> None:
    outbox = Outbox("json", Limits(queue_frames=3, queue_bytes=40), nothing)
    for _ in range(50):
        outbox.send(BEAT, BEAT)
        assert drain(outbox) == 2
    assert outbox.is_open


def test_what_waits_is_written_before_the_end_and_nothing_after_it() -> None:
    outbox = Outbox("json", Limits(), nothing)
    outbox.send(BEAT)
    outbox.close(1000)
    outbox.send(BEAT)
    outbox.close(1001)

    assert (drain(outbox), outbox.close_code) == (1, 1000)


def test_a_full_outbox_says_so_until_it_is_written() -> None:
    outbox = Outbox("json", Limits(), nothing)
    outbox.send(Frame(Action.MESSAGE, messages=[{"data": "x" * 300_000}]))
    assert outbox.is_full
    drain(outbox)
    assert not outbox.is_full


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.one_of(st.none(), st.integers(0, 50)))), st.integers(0, 60))
def test_deadlines_come_in_order_each_once_at_its_last_setting(steps: list[tuple[str, int | None]], now: int) -> None:
    """Kills: leaving an old deadline in force when it is set again or cancelled."""
    timers: Timers[str] = Timers()
    expected: dict[str, int] = {}
    for key, at in steps:
        if at is None:
            timers.cancel(key)
            expected.pop(key, None)
        else:
            timers.set(key, at)
            expected[key] = at
    assert timers.next == min(expected.values(), default=None)
    came: list[str] = []
    while (due := timers.pop(now)) is not None:
        came.append(due)

    assert sorted(came) == sorted(key for key, at in expected.items() if at <= now)
    assert [expected[key] for key in came] == sorted(expected[key] for key in came)
    assert len(timers) == len(expected) - len(came)


def test_moving_a_deadline_for_ever_takes_no_memory() -> None:
    timers: Timers[str] = Timers()
    for at in range(10_000):
        timers.set("a", at)
        timers.set("b", 5)

    assert timers.size < 100


def test_only_an_earlier_deadline_is_told() -> None:
    timers: Timers[str] = Timers()
    told: list[int | None] = []
    timers.on_earlier = lambda: told.append(timers.next)
    for at in (5, 7, 3, 4):
        timers.set(str(at), at)

    assert told == [5, 3]


def test_answers_are_forgotten_by_age_and_by_number() -> None:
    recent: Recent[str, int] = Recent(count=2, window=10)
    for key in "abc":
        recent.put(key, ord(key), 0)

    assert [recent.get(key, 9) for key in "abc"] == [None, 98, 99]
    assert recent.get("c", 10) is None
