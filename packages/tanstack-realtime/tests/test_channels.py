"""The channel machine, without I/O and without a clock."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tanstack_realtime import _channels
from tanstack_realtime._channels import (
    CancelRetry,
    ChannelAction,
    ChannelMachine,
    Deliver,
    Greet,
    NotifyDenied,
    NotifyGap,
    NotifyLive,
    NotifyOffline,
    Retry,
    Subscribe,
    Unsubscribe,
)
from tanstack_realtime._errors import ChannelDeniedError, ChannelError, RealtimeError
from tanstack_realtime._transport import Inbound, Position, SubscribeAck

A = TypeVar("A")

DENIED = ChannelDeniedError("no", channel="a", reason="not a member")
BUSY = ChannelDeniedError("later", channel="a", code="unavailable", retryable=True)


def pick(actions: Iterable[ChannelAction], kind: type[A]) -> list[A]:
    return [action for action in actions if isinstance(action, kind)]


def at(offset: int, epoch: str = "e") -> Position:
    return Position(epoch, offset)


def numbered(*offsets: int, epoch: str = "e") -> list[Inbound]:
    return [Inbound(offset, at(offset, epoch)) for offset in offsets]


def delivered(actions: Iterable[ChannelAction]) -> list[object]:
    """What listeners see of the stream: data, and "gap" where they were told of one."""
    seen: list[object] = []
    for action in actions:
        if isinstance(action, Deliver):
            seen.append(action.message.data)
        elif isinstance(action, NotifyGap):
            seen.append("gap")
    return seen


def new() -> ChannelMachine:
    return ChannelMachine("a", random=lambda: 0.5)


def live(position: Position | None = None) -> ChannelMachine:
    machine = new()
    machine.link_up(retry_denied=True)
    machine.added()
    machine.acked(1, SubscribeAck(position))
    return machine


def relink(machine: ChannelMachine, ack: SubscribeAck) -> list[ChannelAction]:
    machine.link_down()
    (subscribe,) = pick(machine.link_up(retry_denied=False), Subscribe)
    return machine.acked(subscribe.number, ack)


def test_a_subscription_made_before_the_link_is_there() -> None:  # S1
    machine = new()
    assert machine.added() == []
    assert machine.link_up(retry_denied=False) == [Subscribe(1, None)]
    assert machine.settling
    assert machine.acked(1, SubscribeAck()) == [NotifyLive(None)]
    assert not machine.settling


def test_many_listeners_are_one_subscription() -> None:  # S4, S7
    machine = live()
    assert machine.added() == [Greet()]
    assert machine.added() == [Greet()]
    assert machine.removed() == []
    assert machine.removed() == []
    assert machine.link_down() == [NotifyOffline()]
    assert machine.link_up(retry_denied=False) == [Subscribe(2, None)]
    machine.acked(2, SubscribeAck())
    assert machine.removed() == [Unsubscribe(3)]
    assert not machine.disposable
    assert machine.unsubscribed(3) == []
    assert machine.disposable


def test_every_link_is_subscribed_again_from_where_it_stopped() -> None:  # S2, C8
    machine = live(at(4))
    machine.message(numbered(5)[0])
    machine.link_down()
    assert machine.link_up(retry_denied=False) == [Subscribe(2, at(5))]


@pytest.mark.parametrize("back", [True, False])
def test_changing_ones_mind_in_one_tick_asks_once(back: bool) -> None:  # S9
    machine = new()
    machine.link_up(retry_denied=False)
    assert machine.added() == [Subscribe(1, None)]
    assert machine.removed() == []
    if back:
        assert machine.added() == []
        assert machine.acked(1, SubscribeAck()) == [NotifyLive(None)]
    else:
        assert machine.acked(1, SubscribeAck()) == [Unsubscribe(2)]


def test_coming_back_during_an_unsubscribe_waits_for_it() -> None:  # S9
    machine = live(at(7))
    assert machine.removed() == [Unsubscribe(2)]
    assert machine.added() == []
    assert machine.message(numbered(8)[0]) == []
    assert machine.unsubscribed(2) == [Subscribe(3, None)]


def test_an_answer_of_an_older_request_counts_for_nothing() -> None:  # S9
    machine = new()
    machine.link_up(retry_denied=False)
    machine.added()
    machine.link_down()
    machine.link_up(retry_denied=False)
    assert machine.acked(1, SubscribeAck()) == []
    assert machine.failed(1, DENIED) == []
    assert machine.state == "pending"


def test_messages_wait_for_the_acknowledgement() -> None:  # S3
    machine = new()
    machine.link_up(retry_denied=False)
    machine.added()
    assert machine.message(numbered(3)[0]) == []
    assert machine.message(numbered(4)[0]) == []
    actions = machine.acked(1, SubscribeAck(at(3)))
    assert actions[0] == NotifyLive(None)
    assert delivered(actions) == [4]


def test_what_was_held_back_for_an_answer_goes_with_it() -> None:
    machine = new()
    machine.link_up(retry_denied=False)
    machine.added()
    machine.message(Inbound("before the failure"))
    machine.failed(1, BUSY)
    machine.retry_due()
    assert machine.acked(2, SubscribeAck()) == [NotifyLive(None)]
    machine.link_down()
    machine.link_up(retry_denied=False)
    machine.message(Inbound("before the change of mind"))
    machine.removed()
    assert machine.acked(3, SubscribeAck()) == [Unsubscribe(4)]
    machine.added()
    assert machine.unsubscribed(4) == [Subscribe(5, None)]
    assert machine.acked(5, SubscribeAck()) == [NotifyLive(None)]


def test_too_many_waiting_messages_become_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:  # L4
    monkeypatch.setattr(_channels, "_HELD_LIMIT", 3)
    machine = new()
    machine.link_up(retry_denied=False)
    machine.added()
    for message in numbered(1, 2, 3, 4):
        machine.message(message)
    assert delivered(machine.acked(1, SubscribeAck(at(0)))) == ["gap", 4]


def test_a_message_seen_before_is_dropped() -> None:  # S5
    machine = live(at(2))
    actions = [action for message in numbered(3, 3, 2, 4) for action in machine.message(message)]
    assert delivered(actions) == [3, 4]


def test_reconnecting_many_times_delivers_once() -> None:  # S5, G8
    machine = live(at(0))
    actions = machine.message(numbered(1)[0])
    for _ in range(5):
        actions += relink(machine, SubscribeAck(at(1), recovered=True))
    assert delivered(actions) == [1]
    assert pick(actions, NotifyLive) == [NotifyLive(True)] * 5


def test_a_skipped_number_is_a_gap() -> None:
    machine = live(at(2))
    assert delivered(machine.message(numbered(5)[0])) == ["gap", 5]


def test_a_new_epoch_is_a_gap() -> None:
    machine = live(at(2))
    assert delivered(machine.message(numbered(1, epoch="f")[0])) == ["gap", 1]


def test_missed_messages_follow_in_order() -> None:  # X5
    machine = live(at(2))
    machine.link_down()
    machine.link_up(retry_denied=False)
    machine.message(numbered(6)[0])
    actions = machine.acked(2, SubscribeAck(at(5), True, numbered(3, 4, 5)))
    assert actions[0] == NotifyLive(True)
    assert delivered(actions) == [3, 4, 5, 6]


@pytest.mark.parametrize(
    "ack",
    [
        SubscribeAck(at(5), False),
        SubscribeAck(at(5), None),
        SubscribeAck(at(5), True, numbered(4, 5)),
        SubscribeAck(at(5), True, numbered(3, 5)),
        SubscribeAck(at(5), True, numbered(3, 4)),
        SubscribeAck(at(5), True),
        SubscribeAck(at(2, "f"), True),
        SubscribeAck(at(3), True, [Inbound(3)]),
    ],
    ids=["no", "silent", "starts late", "hole", "ends early", "empty", "epoch", "unnumbered"],
)
def test_recovery_that_is_not_complete_is_a_gap(ack: SubscribeAck) -> None:  # X5
    machine = live(at(2))
    actions = relink(machine, ack)
    assert actions == [NotifyLive(False)]
    assert machine.position == ack.position


def test_without_positions_a_reconnect_is_a_gap() -> None:
    machine = live()
    assert delivered(machine.message(Inbound("x"))) == ["x"]
    assert relink(machine, SubscribeAck()) == [NotifyLive(False)]


def test_the_transports_own_gap_makes_the_next_number_good() -> None:  # G12
    machine = live(at(2))
    assert delivered([*machine.gap("slow reader"), *machine.message(numbered(9)[0])]) == ["gap", 9]
    machine.gap("again")
    machine.link_down()
    assert machine.link_up(retry_denied=False) == [Subscribe(2, None)]
    assert machine.acked(2, SubscribeAck(at(9))) == [NotifyLive(False)]


def test_a_denial_is_told_once_and_stays() -> None:  # S15, S18
    machine = new()
    machine.link_up(retry_denied=False)
    machine.added()
    assert machine.failed(1, DENIED) == [NotifyDenied(DENIED)]
    assert machine.error is DENIED
    assert machine.link_down() == []
    assert machine.link_up(retry_denied=False) == []
    assert machine.retry() == [Subscribe(2, None)]
    assert machine.failed(2, DENIED) == [NotifyDenied(DENIED)]
    machine.link_down()
    assert machine.link_up(retry_denied=True) == [Subscribe(3, None)]
    assert machine.acked(3, SubscribeAck()) == [NotifyLive(None)]
    assert machine.error is None


def test_a_denial_is_not_told_after_unsubscribe() -> None:  # S15
    machine = new()
    machine.link_up(retry_denied=False)
    machine.added()
    machine.removed()
    assert machine.failed(1, DENIED) == []
    assert machine.disposable


def test_a_new_listener_asks_again_for_a_refused_channel() -> None:  # S18
    machine = new()
    machine.link_up(retry_denied=False)
    machine.added()
    machine.failed(1, DENIED)
    assert machine.added() == [Subscribe(2, None)]


def test_any_final_failure_reaches_listeners_as_a_denial() -> None:  # S15
    machine = new()
    machine.link_up(retry_denied=False)
    machine.added()
    cause = ChannelError("bad", channel="a", reason="too long")
    (denied,) = pick(machine.failed(1, cause), NotifyDenied)
    assert (denied.error.code, denied.error.reason, denied.error.channel) == ("bad_channel", "too long", "a")
    assert denied.error.__cause__ is cause


def test_what_was_superseded_is_no_gap() -> None:  # A17
    machine = ChannelMachine("a", random=lambda: 0.5)
    machine.link_up(retry_denied=False)
    machine.added()
    machine.acked(1, SubscribeAck(Position("e", 5)))
    complete = Inbound("x", Position("e", 9), superseded=3)
    assert machine.message(complete) == [Deliver(complete)]
    short = Inbound("y", Position("e", 12), superseded=1)
    assert machine.message(short) == [NotifyGap("1 message(s) after number 9 did not arrive"), Deliver(short)]


def test_a_server_that_names_a_time_is_not_asked_earlier() -> None:  # A17
    machine = ChannelMachine("a", random=lambda: 0.5)
    machine.link_up(retry_denied=False)
    machine.added()
    busy = RealtimeError("too fast", code="rate_limited", retryable=True, retry_after=9.0)
    assert machine.failed(1, busy) == [Retry(9.0)]


def test_a_temporary_failure_is_tried_again() -> None:  # S17
    machine = new()
    machine.link_up(retry_denied=False)
    machine.added()
    assert machine.failed(1, BUSY) == [Retry(1.0)]
    assert not machine.settling
    assert (machine.state, machine.error) == ("pending", BUSY)
    assert machine.retry_due() == [Subscribe(2, None)]
    assert machine.failed(2, BUSY) == [Retry(2.0)]
    assert machine.retry() == [CancelRetry(), Subscribe(3, None)]
    machine.failed(3, BUSY)
    assert machine.link_down() == [CancelRetry(), NotifyOffline()]
    assert machine.link_up(retry_denied=False) == [Subscribe(4, None)]
    machine.failed(4, BUSY)
    machine.retry_due()
    machine.acked(5, SubscribeAck())
    machine.link_down()
    machine.link_up(retry_denied=False)
    assert machine.failed(6, BUSY) == [Retry(1.0)]  # it was live in between
    assert machine.removed() == [CancelRetry()]


def test_a_revoked_channel_is_denied_until_it_is_asked_for() -> None:  # S20, S23
    machine = live(at(3))
    (denied,) = pick(machine.revoked("denied", "left the project"), NotifyDenied)
    assert (denied.error.code, denied.error.reason) == ("denied", "left the project")
    assert machine.message(numbered(4)[0]) == []
    assert machine.retry() == [Subscribe(2, None)]
    assert machine.acked(2, SubscribeAck(at(9))) == [NotifyLive(None)]


def test_a_revocation_that_overtakes_the_acknowledgement() -> None:  # S20
    machine = new()
    machine.link_up(retry_denied=False)
    machine.added()
    machine.message(numbered(1)[0])
    machine.revoked("denied", "left")
    machine.message(numbered(2)[0])
    actions = machine.acked(1, SubscribeAck(at(0)))
    assert [type(action) for action in actions] == [NotifyLive, Deliver, NotifyDenied]
    assert machine.state == "denied"


def test_another_user_starts_anew() -> None:  # C18
    machine = live(at(3))
    machine.link_down()
    machine.forget()
    assert machine.link_up(retry_denied=True) == [Subscribe(2, None)]
    assert machine.acked(2, SubscribeAck(at(8))) == [NotifyLive(None)]


def test_acknowledgements_of_a_provider_that_resumed_by_itself() -> None:
    machine = live(at(3))
    machine.link_down()
    actions = machine.link_up(retry_denied=False, ack=SubscribeAck(at(4), True, numbered(4)))
    assert actions[0] == NotifyLive(True)
    assert delivered(actions) == [4]
    machine.removed()
    machine.unsubscribed(2)
    machine.link_down()
    assert machine.link_up(retry_denied=False, ack=SubscribeAck(at(9))) == [Unsubscribe(3)]


class ChannelHistory(RuleBasedStateMachine):
    """A channel on a provider that loses links and messages, answers late, replays what it can, and repeats itself.

    Kills: dropping the comparison of offsets in `_deliver`, `_is_complete` believing every claim, `_advance` without
    the check for a running request, `_go_live` not taking the acknowledged position.
    """

    def __init__(self) -> None:
        super().__init__()
        self.machine = ChannelMachine("a", random=random.Random(1).random)
        self.listeners = 0
        self.link = False
        self.stream = 0
        self.at_server = False
        self.request: Subscribe | Unsubscribe | None = None
        self.retrying = False
        self.last_told = 0
        self.expected: int | None = None
        """Number of the next message that must be told; None after a gap or at first, when any newer one is good."""
        self.lossy = False
        """Whether a message of the present subscription was lost, which is the only good reason for a gap."""
        self.add()
        self.up(retry_denied=False, forget=False)

    def feed(self, actions: Iterable[ChannelAction]) -> None:
        for action in actions:
            match action:
                case Subscribe() | Unsubscribe():
                    assert self.link
                    assert self.request is None, "one request at a time"
                    assert not self.retrying
                    self.request = action
                case Retry(delay):
                    assert 0.0 < delay <= 30.0
                    self.retrying = True
                case CancelRetry():
                    assert self.retrying
                    self.retrying = False
                case NotifyLive(recovered):
                    assert self.listeners
                    self.lossy = False
                    if recovered is not True:
                        self.expected = None
                case NotifyGap():
                    assert self.lossy, "a gap has a reason"
                    self.lossy = False
                    self.expected = None
                case Deliver(message):
                    assert self.listeners
                    assert message.data > self.last_told, "in order and once"
                    assert self.expected in (None, message.data), "nothing is missing without a word"
                    self.last_told = message.data
                    self.expected = message.data + 1
                case NotifyDenied() | NotifyOffline():
                    assert self.listeners
                case Greet():
                    assert self.machine.state == "live"

    @rule()
    def add(self) -> None:
        self.listeners += 1
        self.feed(self.machine.added())

    @precondition(lambda self: self.listeners)
    @rule()
    def remove(self) -> None:
        self.listeners -= 1
        self.feed(self.machine.removed())
        if not self.listeners:
            self.expected = None

    @precondition(lambda self: not self.link)
    @rule(retry_denied=st.booleans(), forget=st.booleans())
    def up(self, retry_denied: bool, forget: bool) -> None:
        self.link = True
        if forget:
            self.machine.forget()
        self.feed(self.machine.link_up(retry_denied=retry_denied))

    @precondition(lambda self: self.link)
    @rule(meanwhile=st.integers(0, 3), claim=st.booleans(), replay=st.integers(0, 3), late=st.integers(0, 2))
    def reconnect(self, meanwhile: int, claim: bool, replay: int, late: int) -> None:
        self.down()
        self.stream += meanwhile
        self.up(retry_denied=False, forget=False)
        if isinstance(self.request, Subscribe):
            self.acknowledge(claim, replay, late)

    @precondition(lambda self: self.link)
    @rule()
    def down(self) -> None:
        self.link = self.at_server = False
        self.request = None
        self.feed(self.machine.link_down())

    @rule(count=st.integers(1, 3), repeat=st.booleans(), lost=st.integers(0, 3))
    def publish(self, count: int, repeat: bool, lost: int) -> None:
        for number in range(count):
            self.stream += 1
            if number + 1 == lost:
                self.lossy |= self.at_server
            elif self.at_server:
                for _ in range(1 + repeat):
                    self.feed(self.machine.message(numbered(self.stream)[0]))

    @precondition(lambda self: isinstance(self.request, Subscribe))
    @rule(claim=st.booleans(), replay=st.integers(0, 3), late=st.integers(0, 2))
    def acknowledge(self, claim: bool, replay: int, late: int) -> None:
        request = self.request
        assert isinstance(request, Subscribe)
        position = at(self.stream)
        missed: list[Inbound] = []
        if request.since is not None and claim:
            first = max(request.since.offset, self.stream - replay) + 1
            missed = numbered(*range(first, self.stream + 1))
        for _ in range(late):  # the stream goes on before the client's task sees the answer
            self.stream += 1
            self.feed(self.machine.message(numbered(self.stream)[0]))
        recovered = claim if request.since is not None else None
        self.request = None
        self.at_server = True
        self.feed(self.machine.acked(request.number, SubscribeAck(position, recovered, missed)))

    @precondition(lambda self: isinstance(self.request, Subscribe))
    @rule(error=st.sampled_from([DENIED, BUSY]))
    def refuse(self, error: ChannelDeniedError) -> None:
        request = self.request
        assert isinstance(request, Subscribe)
        self.request = None
        self.feed(self.machine.failed(request.number, error))

    @precondition(lambda self: isinstance(self.request, Unsubscribe))
    @rule()
    def unsubscribed(self) -> None:
        request = self.request
        assert isinstance(request, Unsubscribe)
        self.request = None
        self.at_server = False
        self.feed(self.machine.unsubscribed(request.number))

    @precondition(lambda self: self.at_server)
    @rule()
    def revoke(self) -> None:
        self.at_server = False
        self.feed(self.machine.revoked("denied", "left"))

    @precondition(lambda self: self.retrying)
    @rule()
    def due(self) -> None:
        self.retrying = False
        self.feed(self.machine.retry_due())

    @precondition(lambda self: self.listeners)
    @rule()
    def retry(self) -> None:
        self.feed(self.machine.retry())

    @rule(number=st.integers(0, 3))
    def stale(self, number: int) -> None:
        assert self.machine.acked(-number, SubscribeAck(at(0))) == []
        assert self.machine.unsubscribed(-number) == []

    @invariant()
    def quiet_means_what_is_wanted(self) -> None:
        state = self.machine.state
        assert (state == "idle") == (not self.listeners)
        if self.link and self.request is None and not self.retrying:
            assert state != "pending", "somebody waits and nothing goes on"
        if state == "live":
            assert self.link


TestChannelHistory = ChannelHistory.TestCase
TestChannelHistory.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
