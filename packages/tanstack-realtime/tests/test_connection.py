"""The connection machine, without I/O and without a clock."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tanstack_realtime._connection import ConnectionMachine, Phase, Timing
from tanstack_realtime._connection_events import (
    Action,
    Alive,
    CancelTimer,
    Close,
    CloseLink,
    Connect,
    Disconnect,
    Emit,
    Event,
    FailWaiters,
    Focused,
    Forget,
    LinkClosed,
    LinkDown,
    Open,
    Opened,
    OpenFailed,
    Probe,
    ResolveWaiters,
    Resubscribe,
    Resumed,
    Settled,
    StartTimer,
    StatusName,
    Suspended,
    TimerFired,
    TimerKind,
    Wake,
)
from tanstack_realtime._errors import (
    AuthenticationError,
    ClosedError,
    ConnectionLostError,
    NotConnectedError,
    RealtimeError,
)
from tanstack_realtime._transport import CloseReason

A = TypeVar("A")

TIMING = Timing()
LOST = ConnectionLostError("no route to host")
REFUSED = AuthenticationError("bad token")


def pick(actions: Iterable[Action], kind: type[A]) -> list[A]:
    return [action for action in actions if isinstance(action, kind)]


class Scripted:
    """A machine with its timers, so that a test can say "the retry timer fires"."""

    def __init__(self, *, random: float = 0.5, timing: Timing = TIMING) -> None:
        self.machine = ConnectionMachine(random=lambda: random, timing=timing)
        self.timers: dict[TimerKind, StartTimer] = {}
        self.statuses: list[Emit] = []

    def __call__(self, *events: Event) -> list[Action]:
        actions: list[Action] = []
        for event in events:
            actions += self.machine.handle(event)
        for action in actions:
            if isinstance(action, StartTimer):
                self.timers[action.kind] = action
            elif isinstance(action, CancelTimer):
                del self.timers[action.kind]
            elif isinstance(action, Emit):
                self.statuses.append(action)
        return actions

    def fire(self, kind: TimerKind, silence: float = 1e9) -> list[Action]:
        return self(TimerFired(kind, self.timers.pop(kind).number, silence))

    @property
    def generation(self) -> int:
        return self.machine.generation

    @property
    def status(self) -> StatusName:
        return self.statuses[-1].status if self.statuses else "disconnected"

    def open(self, user_id: str | None = "ann") -> list[Action]:
        return self(Opened(self.generation, user_id))

    def connect(self, user_id: str | None = "ann") -> list[Action]:
        actions = self(Connect())
        actions += self.open(user_id)
        return [*actions, *self(Settled(self.generation))]

    def lose(self, **reason: object) -> list[Action]:
        return self(LinkClosed(self.generation, CloseReason(**reason)))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    def fail(self, error: RealtimeError = LOST) -> list[Action]:
        return self(OpenFailed(self.generation, error))

    def delay(self) -> float:
        return self.timers["retry"].delay


def test_many_connects_open_once() -> None:  # C1
    run = Scripted()
    assert len(pick(run(Connect(), Connect(), Connect()), Open)) == 1
    run.open()
    run(Settled(1))
    assert run(Connect()) == []  # C3


def test_connect_while_waiting_tries_now_on_the_same_cycle() -> None:  # C2
    run = Scripted()
    run.connect()
    run.lose()
    assert run.status == "reconnecting"
    actions = run(Connect(), Connect())
    assert pick(actions, Open) == [Open(2)]
    assert "retry" not in run.timers
    run.open()
    assert pick(run(Settled(2)), ResolveWaiters)


def test_one_loss_schedules_one_retry() -> None:  # C4
    run = Scripted()
    run.connect()
    generation = run.generation
    first = run.lose()
    again = [*run(LinkClosed(generation, CloseReason())), *run(LinkClosed(generation, CloseReason(retry=False)))]
    assert len(pick(first, StartTimer)) == 1
    assert again == []


def test_disconnect_while_waiting_cancels_the_retry() -> None:  # C5
    run = Scripted()
    run.connect()
    run.lose()
    timer = run.timers["retry"]
    run(Disconnect())
    assert run.timers == {}
    assert run(TimerFired("retry", timer.number)) == []
    assert run.status == "disconnected"


@pytest.mark.parametrize("random", [0.0, 0.5, 0.999999])
def test_delays_double_and_stay_below_the_limit(random: float) -> None:  # C7
    run = Scripted(random=random)
    run(Connect())
    delays: list[float] = []
    for _ in range(2000):
        run.fail()
        delays.append(run.delay())
        run.fire("retry")
    assert max(delays) <= 30.0
    spread = 1 + 0.25 * (2 * random - 1)
    assert delays[:4] == pytest.approx([1 * spread, 2 * spread, 4 * spread, 8 * spread])


def test_success_resets_the_delay_after_a_stable_time_only() -> None:  # C7, C17
    run = Scripted()
    run(Connect())
    for _ in range(3):
        run.fail()
        run.fire("retry")
    run.open()
    run(Settled(run.generation))
    run.lose()  # a flap
    assert run.delay() == 8.0
    run.fire("retry")
    run.open()
    run(Settled(run.generation))
    run.fire("stable")
    run.lose()
    assert run.delay() == 1.0
    assert run.statuses[-1] == Emit("reconnecting", "the connection was lost", 1, 1.0)


def test_a_server_may_ask_for_a_longer_delay() -> None:
    run = Scripted(random=0.0)
    run.connect()
    run.lose(retry_after=120.0)
    assert run.delay() == 120.0
    assert pick(run(Wake(refetch=False)), Open) == []  # it meant it
    assert pick(run(Connect()), Open)  # the application knows better
    run.fail(ConnectionLostError("busy", retry_after=60.0))
    assert run.delay() == 60.0
    late = Scripted(random=0.9)
    late.connect()
    late.lose(retry_after=120.0)
    assert 120.0 < late.delay() <= 150.0


def test_disconnect_during_the_attempt_opens_nothing_afterwards() -> None:  # C10
    run = Scripted()
    run(Connect())
    actions = run(Disconnect())
    assert pick(actions, CloseLink) == [CloseLink(1)]
    assert run.open() == []
    assert run.fail() == []
    assert run.status == "disconnected"
    actions = run(Connect())
    assert pick(actions, Open) == [Open(2)]
    assert run(Opened(1, "ann")) == []


@pytest.mark.parametrize("when", ["opening", "later"])
def test_a_refusal_is_final_until_connect(when: str) -> None:  # C12
    run = Scripted()
    if when == "opening":
        run(Connect())
        actions = run.fail(REFUSED)
    else:
        run.connect()
        actions = run.lose(code=4401, reason="signed out", retry=False)
    (failed,) = pick(actions, FailWaiters)
    assert isinstance(failed.error, AuthenticationError)
    assert failed.refused
    assert run.timers == {}
    assert run.status == "disconnected"
    assert run.statuses[-1].reason
    assert pick(run(Wake(refetch=True)), Open) == []
    assert run.machine.refusal is failed.error
    assert pick(run(Connect()), Open)
    assert run.machine.refusal is None


def test_another_final_close_is_no_question_of_identity() -> None:
    run = Scripted()
    run.connect()
    (failed,) = pick(run.lose(code=4406, reason="version", retry=False), FailWaiters)
    assert isinstance(failed.error, ConnectionLostError)
    assert not failed.error.retryable
    assert failed.error.code == "4406"


def test_connected_means_authenticated_and_resubscribed() -> None:  # C13, S3
    run = Scripted()
    run(Connect())
    actions = run.open()
    assert pick(actions, Resubscribe)
    assert pick(actions, Emit) == []
    assert [emit.status for emit in pick(run(Settled(1)), Emit)] == ["connected"]


def test_one_slow_channel_does_not_hold_up_connected() -> None:
    run = Scripted()
    run(Connect())
    run.open()
    assert run.timers["settle"].delay == TIMING.settle_within
    run.fire("settle")
    assert run.status == "connected"


def test_silence_is_probed_and_then_a_loss() -> None:  # C14
    run = Scripted()
    run.connect()
    assert run.fire("idle", silence=15.0) == [StartTimer("idle", run.timers["idle"].number, 5.0)]
    assert pick(run.fire("idle", silence=20.0), Probe)
    assert run.timers["probe"].delay == TIMING.ping_within
    actions = run.fire("probe", silence=30.0)
    assert pick(actions, CloseLink) == [CloseLink(1)]
    assert run.status == "reconnecting"
    assert run.statuses[-1].reason == "nothing arrived for 30 s"


def test_an_answer_or_any_frame_proves_life() -> None:  # C14
    run = Scripted()
    run.connect()
    run.fire("idle")
    run(Alive(1))
    assert "probe" not in run.timers
    run.fire("idle")
    run.fire("probe", silence=3.0)
    assert run.status == "connected"
    assert set(run.timers) == {"idle", "stable"}


def test_a_rest_too_short_for_the_clock_is_none() -> None:
    run = Scripted()
    run.connect()
    assert pick(run.fire("idle", silence=20.0 - 1e-12), Probe)


def test_an_attempt_has_a_deadline() -> None:
    run = Scripted()
    run(Connect())
    actions = run.fire("open")
    assert pick(actions, CloseLink) == [CloseLink(1)]
    assert run.status == "connecting"
    assert run.statuses[-1] == Emit("connecting", "no connection within 20 s", 2, 1.0)
    assert run.open() == []


def test_close_ends_everything_for_good() -> None:  # C15
    run = Scripted()
    run.connect()
    actions = run(Close())
    assert pick(actions, CloseLink)
    assert isinstance(pick(actions, FailWaiters)[0].error, ClosedError)
    assert run.timers == {}
    assert run(Close(), Connect(), Disconnect(), Wake(refetch=True)) == []
    assert pick(Scripted()(Close()), Emit) == []  # it was disconnected before


def test_a_failed_waiter_after_disconnect_is_no_background_failure() -> None:  # C16
    run = Scripted()
    run(Connect())
    (failed,) = pick(run(Disconnect()), FailWaiters)
    assert isinstance(failed.error, NotConnectedError)
    assert not failed.refused


def test_another_user_is_forgotten_before_resubscribing() -> None:  # C18
    run = Scripted()
    run.connect("ann")
    run(Disconnect())
    run(Connect())
    actions = run.open("bob")
    kinds = [type(action) for action in actions]
    assert Forget("ann", "bob") in actions
    assert kinds.index(Forget) < kinds.index(Resubscribe)
    assert pick(actions, Resubscribe)[0].retry_denied
    run(Settled(run.generation))
    run.lose()
    run.fire("retry")
    actions = run.open("bob")
    assert pick(actions, Forget) == []
    assert not pick(actions, Resubscribe)[0].retry_denied
    run.lose()
    run.fire("retry")
    assert pick(run.open("eve"), Resubscribe)[0].retry_denied  # without a new connect()


def test_the_first_user_is_not_another_one() -> None:  # C18
    run = Scripted()
    assert pick(run.connect("ann"), Forget) == []
    run.lose()
    run.fire("retry")
    assert pick(run.open(None), Forget) == [Forget("ann", None)]


def test_refused_channels_are_asked_for_again_by_a_new_connect_only() -> None:  # S18
    run = Scripted()
    assert pick(run.connect(), Resubscribe)[0].retry_denied
    run.lose()
    run(Connect())  # hurries the retry, asks for nothing new
    assert not pick(run.open(), Resubscribe)[0].retry_denied
    run(Disconnect())
    assert pick(run.connect(), Resubscribe)[0].retry_denied


def test_connecting_until_the_first_success_then_reconnecting() -> None:  # X1
    run = Scripted()
    run(Connect())
    run.fail()
    run.fire("retry")
    run.open()
    run(Settled(2))
    run.lose(reason="gone")
    run.fire("retry")
    run(Disconnect())
    assert [(emit.status, emit.reason, emit.attempt, emit.retry_in) for emit in run.statuses] == [
        ("connecting", None, 1, None),
        ("connecting", "no route to host", 2, 1.0),
        ("connecting", "no route to host", 2, None),
        ("connected", None, 0, None),
        ("reconnecting", "gone", 3, 2.0),
        ("reconnecting", "gone", 3, None),
        ("disconnected", None, 0, None),
    ]


def test_focus_refetches_once_the_connection_has_proved_alive() -> None:
    run = Scripted()
    run.connect()
    actions = run(Wake(refetch=True))
    assert pick(actions, Probe)
    assert pick(actions, Focused) == []
    assert run.timers["probe"].delay == TIMING.wake_ping_within
    assert pick(run(Alive(1)), Focused)
    assert pick(run(Wake(refetch=False), Alive(1)), Focused) == []  # only the network came back


def test_focus_while_resubscribing_waits_for_the_answer_too() -> None:
    run = Scripted()
    run(Connect())
    run.open()
    assert pick(run(Wake(refetch=True)), Probe)
    assert pick(run(Settled(1)), Focused) == []
    assert pick(run(Alive(1)), Focused)


def test_focus_on_a_dead_connection_reconnects_and_then_refetches() -> None:
    run = Scripted()
    run.connect()
    run(Wake(refetch=True))
    run.fire("probe")
    assert run.status == "reconnecting"
    run.fire("retry")
    run.open()
    assert pick(run(Settled(run.generation)), Focused)


def test_focus_while_waiting_tries_at_once() -> None:
    run = Scripted()
    run.connect()
    run.lose()
    actions = run(Wake(refetch=True))
    assert pick(actions, Open)
    run.open()
    assert pick(run(Settled(run.generation)), Focused)


def test_focus_without_a_connection_still_refetches() -> None:
    assert Scripted()(Wake(refetch=True)) == [Focused()]
    assert Scripted()(Wake(refetch=False)) == []


def test_a_provider_that_retries_by_itself_keeps_its_link() -> None:
    run = Scripted()
    run.connect()
    actions = run(Suspended(1, CloseReason(reason="lost")))
    assert pick(actions, LinkDown)
    assert pick(actions, CloseLink) == []
    assert run.status == "reconnecting"
    assert run.timers == {}
    assert pick(run(Resumed(1)), Resubscribe)
    assert [emit.status for emit in pick(run(Settled(1)), Emit)] == ["connected"]
    run(Suspended(1, CloseReason()))
    actions = run.lose()
    assert pick(actions, LinkDown) == []  # told already
    assert pick(actions, CloseLink)


STATUS_AFTER: dict[str, set[str]] = {
    "disconnected": {"connecting", "disconnected"},
    "connecting": {"connecting", "connected", "disconnected"},
    "connected": {"reconnecting", "disconnected"},
    "reconnecting": {"reconnecting", "connected", "disconnected"},
}


class ConnectionHistory(RuleBasedStateMachine):
    """Any interleaving of events, those of older generations included.

    Kills: a `handle` that ignores generations, an `_open` that does not count one up, a `_leave_link` that keeps timers
    running or forgets `CloseLink`.
    """

    def __init__(self) -> None:
        super().__init__()
        source = random.Random(7)
        self.machine = ConnectionMachine(random=source.random)
        self.live: set[int] = set()
        self.seen: set[int] = set()
        self.timers: dict[TimerKind, int] = {}
        self.status: str = "disconnected"
        self.up = False
        self.closed = False

    def feed(self, event: Event) -> Sequence[Action]:
        actions = self.machine.handle(event)
        assert not (self.closed and actions), "no action after close"
        for action in actions:
            match action:
                case Open(generation):
                    assert generation not in self.seen, "a generation is opened once"
                    assert not self.live, "one at a time"
                    self.seen.add(generation)
                    self.live.add(generation)
                case CloseLink(generation):
                    self.live.remove(generation)
                case StartTimer(kind, number, delay):
                    self.timers[kind] = number
                    assert delay > 0.0
                    assert delay <= (30.0 if kind == "retry" else 60.0)
                case CancelTimer(kind):
                    del self.timers[kind]
                case Emit(status, _, attempt, retry_in):
                    assert status in STATUS_AFTER[self.status], (self.status, status)
                    assert (attempt > 0) == (status in ("connecting", "reconnecting"))
                    assert retry_in is None or "retry" in self.timers
                    self.status = status
                case Resubscribe(generation):
                    assert generation in self.live
                    self.up = True
                case LinkDown():
                    assert self.up, "down is told once per up"
                    self.up = False
                case Probe(generation):
                    assert generation in self.live
                case _:
                    pass
        return actions

    @rule()
    def connect(self) -> None:
        self.feed(Connect())

    @rule()
    def disconnect(self) -> None:
        self.feed(Disconnect())
        assert self.closed or (self.status == "disconnected" and not self.live and not self.timers)

    @rule(chance=st.integers(0, 9))
    def close(self, chance: int) -> None:
        if chance == 0:
            self.feed(Close())
            self.closed = True
            assert not self.live
            assert not self.timers

    @rule(refetch=st.booleans())
    def wake(self, refetch: bool) -> None:
        self.feed(Wake(refetch))

    @rule(back=st.integers(0, 2), user=st.sampled_from(["ann", "bob", None]))
    def opened(self, back: int, user: str | None) -> None:
        self.feed(Opened(self.machine.generation - back, user))

    @rule(back=st.integers(0, 2), error=st.sampled_from([LOST, REFUSED]))
    def open_failed(self, back: int, error: RealtimeError) -> None:
        generation = self.machine.generation - back
        if back == 0 and self.machine.phase is Phase.OPENING:
            self.live.remove(generation)  # it ended by itself
        self.feed(OpenFailed(generation, error))

    @rule(back=st.integers(0, 2))
    def settled(self, back: int) -> None:
        self.feed(Settled(self.machine.generation - back))

    @rule(back=st.integers(0, 2), retry=st.booleans())
    def link_closed(self, back: int, retry: bool) -> None:
        self.feed(LinkClosed(self.machine.generation - back, CloseReason(1006, "gone", retry)))

    @rule(back=st.integers(0, 2))
    def suspended(self, back: int) -> None:
        self.feed(Suspended(self.machine.generation - back, CloseReason()))

    @rule(back=st.integers(0, 2))
    def resumed(self, back: int) -> None:
        self.feed(Resumed(self.machine.generation - back))

    @rule(back=st.integers(0, 2))
    def alive(self, back: int) -> None:
        self.feed(Alive(self.machine.generation - back))

    @precondition(lambda self: self.timers)
    @rule(data=st.data(), silence=st.floats(0, 100))
    def timer(self, data: st.DataObject, silence: float) -> None:
        kind = data.draw(st.sampled_from(sorted(self.timers)))
        self.feed(TimerFired(kind, self.timers.pop(kind), silence))

    @rule(kind=st.sampled_from(["open", "settle", "retry", "stable", "idle", "probe"]))
    def stale_timer(self, kind: TimerKind) -> None:
        assert self.feed(TimerFired(kind, 0)) == []

    @invariant()
    def status_and_link_agree(self) -> None:
        assert len(self.live) <= 1
        if self.status == "connected":
            assert self.up
            assert self.live == {self.machine.generation}
        if self.status == "disconnected":
            assert not self.live
            assert not self.timers
        if self.status in ("connecting", "reconnecting"):
            assert self.live or "retry" in self.timers, "something must go on"


TestConnectionHistory = ConnectionHistory.TestCase
TestConnectionHistory.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
