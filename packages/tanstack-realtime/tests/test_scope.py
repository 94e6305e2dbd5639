"""When a scope subscribes, fetches and lets go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tanstack_realtime._errors import ChannelDeniedError
from tanstack_realtime._scope import (
    ACK_DEADLINE,
    Cancel,
    DropRows,
    Fetch,
    ScopeAction,
    ScopeMachine,
    StatusChanged,
    Stop,
    Subscribe,
    Wait,
)


def machine(*, always: bool = False, random: Callable[[], float] = lambda: 0.5) -> ScopeMachine:
    return ScopeMachine(linger=5.0, spread=2.0, always_refetch=always, random=random)


def live(**options: Any) -> ScopeMachine:
    """A scope that is loaded and live."""
    scope = machine(**options)
    scope.retained(acknowledgement_expected=True)
    scope.acknowledged(None)
    assert scope.fetched(1)
    scope.applied()
    return scope


def fetches(actions: list[ScopeAction]) -> list[int]:
    return [action.number for action in actions if isinstance(action, Fetch)]


def waits(actions: list[ScopeAction]) -> dict[str, float]:
    return {action.kind: action.delay for action in actions if isinstance(action, Wait)}


def test_the_snapshot_is_taken_after_the_acknowledgement() -> None:  # Q2
    scope = machine()

    started = scope.retained(acknowledgement_expected=True)
    acknowledged = scope.acknowledged(None)

    assert started == [Subscribe(), Wait("ack", ACK_DEADLINE)]
    assert acknowledged == [Cancel("ack"), StatusChanged(), Fetch(1)]


def test_without_a_connection_it_loads_at_once_and_once_more_when_live() -> None:  # S22
    scope = machine()

    assert scope.retained(acknowledgement_expected=False) == [Subscribe(), Fetch(1)]
    scope.fetched(1)
    scope.applied()
    assert scope.loaded
    assert not scope.live

    assert fetches(scope.acknowledged(None)) == [2]


def test_a_late_acknowledgement_is_not_waited_for() -> None:  # S22
    scope = machine()
    scope.retained(acknowledgement_expected=True)

    assert fetches(scope.timer_fired("ack")) == [1]
    assert fetches(scope.acknowledged(None)) == []
    scope.fetched(1)
    assert fetches(scope.applied()) == [2]


def test_the_connection_lost_while_waiting_for_the_acknowledgement_loads_at_once() -> None:  # S22
    scope = machine()
    scope.retained(acknowledgement_expected=True)

    assert fetches(scope.offline()) == [1]


def test_a_recovered_reconnect_costs_no_fetch() -> None:  # G1
    scope = live()
    scope.offline()

    assert scope.acknowledged(True) == [StatusChanged()]


def test_always_refetches_after_every_reconnect() -> None:  # G2
    scope = live(always=True)
    scope.offline()

    assert waits(scope.acknowledged(True)) == {"refetch": 1.0}


def test_a_reconnect_with_a_gap_fetches_once_spread_in_time() -> None:  # G1, G2, G7, G10
    scope = live()
    offline = scope.offline()
    reconnected = scope.acknowledged(False)

    assert fetches(offline) == []
    assert waits(reconnected) == {"refetch": 1.0}
    assert waits(scope.gap()) == {}
    assert fetches(scope.timer_fired("refetch")) == [2]


def test_a_snapshot_asked_for_while_offline_covers_nothing() -> None:  # G1
    scope = live()
    scope.offline()
    scope.refetch()
    scope.fetched(2)
    scope.applied()

    assert waits(scope.acknowledged(True)) == {"refetch": 1.0}


def test_a_gap_during_a_fetch_asks_for_one_more_spread_in_time() -> None:  # G8, G10
    scope = live()
    scope.refetch()
    scope.gap()
    scope.hinted()
    scope.fetched(2)
    applied = scope.applied()

    assert (fetches(applied), waits(applied)) == ([], {"refetch": 1.0})
    assert fetches(scope.timer_fired("refetch")) == [3]
    scope.fetched(3)
    assert (fetches(scope.applied()), waits(scope.applied())) == ([], {})


def test_the_first_of_many_hints_during_a_fetch_says_when_the_next_one_is() -> None:  # G10
    randoms = iter([0.75, 0.25])
    scope = live(random=lambda: next(randoms))
    scope.refetch()
    scope.hinted()
    scope.hinted()
    scope.fetched(2)

    assert waits(scope.applied()) == {"refetch": 1.5}


def test_a_wish_during_a_fetch_is_granted_right_after_it() -> None:  # G11
    scope = live()
    scope.hinted()
    scope.refetch()
    scope.hinted()
    scope.refetch()
    scope.fetched(2)

    assert fetches(scope.applied()) == [3]


def test_a_failing_fetch_is_state_and_is_retried_ever_slower_never_above_30_s() -> None:  # Q15, G6
    scope = machine(random=lambda: 1.0)
    scope.retained(acknowledgement_expected=False)
    failure = OSError("database is down")
    delays: list[float] = []
    for number in range(1, 9):
        actions = scope.fetch_failed(number, failure)
        assert scope.error is failure
        delays.append(waits(actions)["retry"])
        assert fetches(scope.timer_fired("retry")) == [number + 1]

    assert delays == sorted(delays)
    assert delays[0] == pytest.approx(1.25)
    assert delays[-1] == 30.0

    assert scope.fetched(9)
    scope.applied()
    assert scope.error is None

    scope.refetch()
    assert waits(scope.fetch_failed(10, failure))["retry"] == pytest.approx(1.25)


def test_denied_at_the_first_subscribe_leaves_the_decision_to_query_fn() -> None:  # S23
    scope = machine()
    scope.retained(acknowledgement_expected=True)
    denial = ChannelDeniedError("no", channel="todos")

    actions = scope.refused(denial)

    assert scope.denied is denial
    assert not any(isinstance(action, DropRows) for action in actions)
    assert fetches(actions) == [1]


def test_revoked_while_shown_drops_the_rows_and_a_later_grant_brings_them_back() -> None:  # S23, S20
    scope = live()

    revoked = scope.refused(ChannelDeniedError("no longer", channel="todos"))
    assert revoked.index(DropRows()) < revoked.index(Fetch(2))
    assert not scope.loaded

    scope.fetch_failed(2, PermissionError("403"))
    assert fetches(scope.acknowledged(None)) == [3]
    assert scope.denied is None


def test_it_lingers_and_is_kept_by_a_new_user() -> None:  # S9
    scope = live()

    assert scope.released() == [Wait("linger", 5.0)]
    assert scope.retained(acknowledgement_expected=True) == [Cancel("linger")]
    scope.released()
    assert scope.timer_fired("linger") == [Stop()]


def test_nothing_happens_after_the_end() -> None:  # Q14, G1
    scope = live()
    scope.refetch()
    scope.stop()

    assert not scope.fetched(2)
    assert scope.fetch_failed(2, OSError()) == []
    for late in (
        scope.acknowledged(False),
        scope.gap(),
        scope.hinted(),
        scope.refetch(),
        scope.offline(),
        scope.released(),
    ):
        assert late == []


class ScopeLife(RuleBasedStateMachine):
    """Any order of events keeps the machine's promises.

    Kills: forgetting to mark a second reason during a fetch; cancelling the wrong timer; fetching after the end.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scope = machine()
        self.timers: set[str] = set()
        self.running: int | None = None
        self.stopped = False
        self.owed = False
        """Whether something happened that only a fetch asked for later can settle."""
        self.take(self.scope.retained(acknowledgement_expected=True))

    def take(self, actions: list[ScopeAction]) -> None:
        for action in actions:
            assert not self.stopped, "an action after the end"
            match action:
                case Wait(kind, delay):
                    assert 0 < delay <= 30
                    self.timers.add(kind)
                case Cancel(kind):
                    assert kind in self.timers
                    self.timers.discard(kind)
                case Fetch(number):
                    assert self.running is None, "two fetches at once"
                    self.running = number
                    self.owed = False
                case Stop():
                    self.stopped = True
                    self.timers.clear()
                    self.running = None
                case _:
                    pass

    @rule(recovered=st.sampled_from([None, True, False]))
    def acknowledge(self, recovered: bool | None) -> None:
        self.owed = self.owed or recovered is not True
        self.take(self.scope.acknowledged(recovered))

    @rule()
    def gap(self) -> None:
        self.owed = True
        self.take(self.scope.gap())

    @rule()
    def go_offline(self) -> None:
        self.take(self.scope.offline())

    @rule()
    def refuse(self) -> None:
        self.take(self.scope.refused(ChannelDeniedError("no")))

    @precondition(lambda self: self.running is not None)
    @rule()
    def rows_arrive(self) -> None:
        assert self.running is not None
        assert self.scope.fetched(self.running)
        self.running = None
        self.take(self.scope.applied())

    @precondition(lambda self: self.running is not None)
    @rule()
    def fetch_fails(self) -> None:
        number, self.running = self.running, None
        assert number is not None
        self.owed = True
        self.take(self.scope.fetch_failed(number, OSError()))

    @precondition(lambda self: self.timers)
    @rule(data=st.data())
    def time_passes(self, data: st.DataObject) -> None:
        kind: Any = data.draw(st.sampled_from(sorted(self.timers)))
        self.timers.discard(kind)
        self.take(self.scope.timer_fired(kind))

    @rule()
    def release_and_retain(self) -> None:
        if not self.stopped:
            self.take(self.scope.released())
            self.take(self.scope.retained(acknowledgement_expected=True))

    @rule()
    def stop(self) -> None:
        self.take(self.scope.stop())

    @invariant()
    def what_is_owed_is_on_its_way(self) -> None:
        if self.owed and not self.stopped:
            assert self.running is not None or self.timers & {"refetch", "retry", "ack"}


TestScopeLife = ScopeLife.TestCase
TestScopeLife.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
