"""The hub against a model that forgets nothing."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from realtime_preset_node import HistoryLimits, LatestPerKey, SlowReader
from realtime_preset_node._frames import Messages
from realtime_preset_node._hub import Hub, HubStatistics
from realtime_preset_node._message import Numbered
from realtime_preset_node._packet import BATCH_BYTES, Packet
from realtime_preset_node._protocol import messages_frame, parse_server_frame
from realtime_preset_node._slow import SlowReaders
from realtime_preset_node._stream import Lane
from tanstack_realtime.server import ServerObserver


def one_by_one(frame: str) -> list[Messages]:
    """The messages of a frame, each as if it had come alone."""
    run = parse_server_frame(frame)
    assert isinstance(run, Messages)
    return [replace(run, offset=offset, data=[data]) for offset, data in enumerate(run.data, run.offset)]


class Reader:
    """A subscriber that remembers what it got."""

    def __init__(self) -> None:
        self.got: list[Messages] = []
        self.packets: list[Packet] = []
        self.offered: list[tuple[str, int, Any]] = []

    def deliver(self, packet: Packet, /) -> None:
        assert packet.size == len(packet.text.encode())
        self.packets.append(packet)
        for frame in packet.text.split("\n"):
            self.got += one_by_one(frame)

    def offer(self, lane: Lane, messages: Sequence[Numbered], joined: Sequence[Packet], /) -> None:
        assert messages, "there is nothing to offer"
        runs = [message for packet in joined for frame in packet.text.split("\n") for message in one_by_one(frame)]
        assert [(message.offset, json.dumps(message.data[0])) for message in runs] == [
            (message.offset, message.text) for message in messages
        ]
        self.offered += [(lane.channel, message.offset, message.key) for message in messages]
        for packet in joined:
            self.deliver(packet)


class Watcher(ServerObserver):
    def __init__(self) -> None:
        self.events: list[str] = []

    def channel_opened(self, channel: str) -> None:
        self.events.append(f"opened {channel}")

    def channel_emptied(self, channel: str) -> None:
        self.events.append(f"emptied {channel}")


def at_once(flush: Callable[[], None]) -> None:
    flush()


def make_hub(
    watcher: ServerObserver | None = None,
    limits: HistoryLimits | None = None,
    defer: Callable[[Callable[[], None]], object] = at_once,
    policies: Mapping[str, SlowReader] | None = None,
    readers_in_a_row: int = 1000,
) -> Hub:
    numbers = itertools.count(1)
    return Hub(
        limits=limits or HistoryLimits(),
        new_epoch=lambda: f"e{next(numbers)}",
        defer=defer,
        slow_readers=SlowReaders(policies or {}, lambda error: None),
        observer=watcher or ServerObserver(),
        readers_in_a_row=readers_in_a_row,
    )


def offsets(reader: Reader) -> list[int]:
    return [message.offset for message in reader.got]


# -- one by one ------------------------------------------------------------------------------------------------------


def test_a_message_reaches_the_exact_channel_only() -> None:  # S19
    hub, one, two = make_hub(), Reader(), Reader()
    hub.subscribe(one, "a:x=1", None, 0)
    hub.subscribe(two, "a:x=2", None, 0)
    hub.publish("a:x=1", '{"é":1}', "u1", 0)
    assert one.got == [Messages("a:x=1", 1, [{"é": 1}], "u1")]
    assert two.got == []


def test_the_publisher_gets_its_own_message_once_and_marked() -> None:  # P5
    hub, me, other = make_hub(), Reader(), Reader()
    hub.subscribe(me, "a", None, 0)
    hub.subscribe(other, "a", None, 0)
    hub.publish("a", '"é"', "u1", 0, publisher=me)
    assert [message.own for message in me.got] == [True]
    assert [message.own for message in other.got] == [False]


def test_a_publisher_needs_no_subscription() -> None:  # P6
    hub, me, other = make_hub(), Reader(), Reader()
    hub.subscribe(other, "a", None, 0)
    hub.publish("a", "1", "u1", 0, publisher=me)
    assert (me.got, offsets(other)) == ([], [1])


def test_subscribing_twice_is_one_subscription() -> None:  # S5
    hub, reader = make_hub(), Reader()
    hub.subscribe(reader, "a", None, 0)
    hub.publish("a", "1", None, 0)
    again = hub.subscribe(reader, "a", None, 0)
    assert (again.epoch, again.offset, again.recovered) == ("e1", 1, None)
    hub.publish("a", "2", None, 0)
    assert offsets(reader) == [1, 2]
    hub.unsubscribe(reader, "a", 0)
    hub.publish("a", "3", None, 0)
    assert offsets(reader) == [1, 2]


def test_first_and_last_subscriber_are_told_exactly_once() -> None:  # V8
    watcher = Watcher()
    hub, one, two = make_hub(watcher), Reader(), Reader()
    hub.unsubscribe(one, "a", 0)
    hub.remove(one, 0)
    assert watcher.events == []
    hub.subscribe(one, "a", None, 0)
    hub.subscribe(two, "a", None, 0)
    hub.subscribe(one, "a", None, 0)
    assert watcher.events == ["opened a"]
    hub.unsubscribe(two, "a", 0)
    hub.unsubscribe(two, "a", 0)
    assert watcher.events == ["opened a"]
    hub.remove(one, 0)
    hub.remove(one, 0)
    assert watcher.events == ["opened a", "emptied a"]


def test_messages_of_a_channel_with_a_policy_are_offered_one_by_one() -> None:  # A17
    flushes: list[Callable[[], None]] = []
    hub, me, other = make_hub(defer=flushes.append, policies={"cursors": LatestPerKey()}), Reader(), Reader()
    for reader in (me, other):
        for channel in ("cursors:page=1", "todos"):
            hub.subscribe(reader, channel, None, 0)
    hub.publish("cursors:page=1", "1", "u1", 0, data={"key": "k1"})
    hub.publish("cursors:page=1", "2", "u1", 0, data={"key": "k2"}, publisher=me)
    hub.publish("todos", "3", "u1", 0, data={"key": "k3"})
    flushes[0]()
    expected = [("cursors:page=1", 1, "k1"), ("cursors:page=1", 2, "k2")]
    assert (me.offered, other.offered) == (expected, expected)
    assert [message.own for message in me.got] == [False, True, False]
    assert [packet.text.count("data") for packet in other.packets] == [1, 1]


def test_a_reader_that_leaves_during_delivery_disturbs_nobody() -> None:  # V4
    hub, last = make_hub(), Reader()

    class Leaver(Reader):
        def deliver(self, packet: Packet, /) -> None:
            super().deliver(packet)
            hub.remove(self, 0)

    leavers = [Leaver() for _ in range(5)]
    for leaver in leavers:
        for channel in ("a", "b", "c"):
            hub.subscribe(leaver, channel, None, 0)
    hub.subscribe(last, "a", None, 0)
    hub.publish("a", "1", None, 0)
    assert [offsets(leaver) for leaver in leavers] == [[1]] * 5
    assert offsets(last) == [1]
    assert hub.statistics().subscriptions == 1


def test_what_nobody_can_resume_is_not_kept() -> None:
    hub, reader = make_hub(limits=HistoryLimits(age=10)), Reader()
    for number in range(100):
        hub.publish(f"a:n={number}", "1", None, 0)
    assert hub.statistics() == HubStatistics(0, 0, 0, 0, 0)
    hub.subscribe(reader, "a", None, 0)
    hub.unsubscribe(reader, "a", 0)
    hub.publish("a", "1", None, 9)
    assert (hub.statistics().idle_channels, hub.statistics().history_messages) == (1, 1)
    hub.publish("b", "1", None, 10)
    assert hub.statistics() == HubStatistics(0, 0, 0, 0, 0)


def test_idle_channels_are_bounded() -> None:
    hub, reader = make_hub(limits=HistoryLimits(idle_channels=3)), Reader()
    positions: dict[str, tuple[str, int]] = {}
    for number in range(5):
        channel = f"a:n={number}"
        answer = hub.subscribe(reader, channel, None, 0)
        positions[channel] = (answer.epoch, answer.offset)
        hub.unsubscribe(reader, channel, 0)
    assert hub.statistics().idle_channels == 3
    recovered = [hub.subscribe(reader, channel, since, 0).recovered for channel, since in positions.items()]
    assert recovered == [False, False, True, True, True]


def test_history_is_bounded_in_age_while_the_channel_lives() -> None:
    hub, reader = make_hub(limits=HistoryLimits(age=10)), Reader()
    hub.subscribe(reader, "a", None, 0)
    hub.publish("a", "1", None, 0)
    hub.publish("a", "2", None, 5)
    hub.publish("a", "3", None, 12)
    assert hub.statistics().history_messages == 2
    assert hub.subscribe(Reader(), "a", ("e1", 0), 14).recovered is False
    assert hub.subscribe(Reader(), "a", ("e1", 1), 14).missed == ['"offset":2,"data":[2,3]']
    assert hub.subscribe(Reader(), "a", ("e1", 1), 15).recovered is False


def test_all_histories_together_are_bounded() -> None:  # A17
    hub, reader = make_hub(limits=HistoryLimits(total_size=1400)), Reader()
    positions: dict[str, str] = {}
    for channel in ("a", "b", "c"):
        positions[channel] = hub.subscribe(reader, channel, None, 0).epoch
        hub.publish(channel, f'"{"x" * 300}"', None, 0)
        if channel != "c":
            hub.unsubscribe(reader, channel, 0)
    for _ in range(2):
        hub.publish("c", f'"{"x" * 300}"', None, 0)
        assert hub.statistics().history_size <= 1400
    answers = [hub.subscribe(Reader(), channel, (positions[channel], 0), 0).recovered for channel in "abc"]
    assert answers == [False, False, False], "the channels without a reader went first, then the oldest of the third"
    assert hub.statistics().history_messages == 2
    hub.publish("c", f'"{"x" * 2000}"', None, 0)
    assert (hub.statistics().history_messages, hub.statistics().history_size) == (0, 0)


def test_history_is_bounded_in_bytes() -> None:
    hub, reader = make_hub(limits=HistoryLimits(size=1000)), Reader()
    answer = hub.subscribe(reader, "a", None, 0)
    for _ in range(50):
        hub.publish("a", f'"{"é" * 100}"', None, 0)
    assert 900 < hub.statistics().history_size <= 1000
    assert hub.subscribe(Reader(), "a", (answer.epoch, 0), 0).recovered is False
    assert hub.subscribe(Reader(), "a", (answer.epoch, 48), 0).recovered is True


def test_history_is_bounded_where_payloads_are_tiny() -> None:
    hub, reader = make_hub(limits=HistoryLimits(messages=100_000, size=10_000)), Reader()
    hub.subscribe(reader, "a", None, 0)
    for _ in range(1000):
        hub.publish("a", "1", None, 0)
    assert 30 < hub.statistics().history_messages < 50


# -- in one turn of the loop ------------------------------------------------------------------------------------------


class Turn:
    """Keeps what was deferred until it is told to end."""

    def __init__(self) -> None:
        self.deferred: list[Callable[[], None]] = []

    def defer(self, flush: Callable[[], None]) -> None:
        self.deferred.append(flush)

    def end(self) -> None:
        deferred, self.deferred = self.deferred, []
        for flush in deferred:
            flush()


def test_what_is_published_in_one_turn_is_one_packet_for_everybody() -> None:
    turn = Turn()
    hub, one, two = make_hub(defer=turn.defer), Reader(), Reader()
    hub.subscribe(one, "a", None, 0)
    hub.subscribe(two, "a", None, 0)
    for text in ("1", "2", "3"):
        hub.publish("a", text, None, 0)
    assert (one.got, len(turn.deferred)) == ([], 1)
    turn.end()
    assert (offsets(one), offsets(two)) == ([1, 2, 3], [1, 2, 3])
    assert len(one.packets) == 1
    assert one.packets[0] is two.packets[0]  # encoded once
    hub.publish("a", "4", None, 0)
    turn.end()
    assert offsets(one) == [1, 2, 3, 4]


def test_who_subscribes_within_a_turn_gets_nothing_older_than_the_answer() -> None:
    turn = Turn()
    hub, old, new = make_hub(defer=turn.defer), Reader(), Reader()
    hub.subscribe(old, "a", None, 0)
    hub.publish("a", "1", None, 0)
    assert hub.subscribe(new, "a", None, 0).offset == 1
    hub.publish("a", "2", None, 0)
    turn.end()
    assert (offsets(old), offsets(new)) == ([1, 2], [2])


def test_the_publisher_has_its_message_before_the_turn_ends() -> None:  # P5
    turn = Turn()
    hub, me, other = make_hub(defer=turn.defer), Reader(), Reader()
    hub.subscribe(me, "a", None, 0)
    hub.subscribe(other, "a", None, 0)
    hub.publish("a", "1", None, 0)
    hub.publish("a", "2", "u1", 0, publisher=me)
    assert [(message.offset, message.own) for message in me.got] == [(1, False), (2, True)]
    hub.publish("a", "3", None, 0)
    turn.end()
    assert (offsets(me), offsets(other)) == ([1, 2, 3], [1, 2, 3])


def test_an_own_message_does_not_overtake_another_channel_s() -> None:  # P5
    turn = Turn()
    hub, me = make_hub(defer=turn.defer), Reader()
    hub.subscribe(me, "a", None, 0)
    hub.subscribe(me, "b", None, 0)
    hub.publish("b", "1", None, 0)
    hub.publish("a", "2", "u1", 0, publisher=me)
    assert [(message.channel, message.own) for message in me.got] == [("b", False), ("a", True)]
    turn.end()
    assert len(me.got) == 2


def test_a_channel_that_is_forgotten_within_a_turn_leaves_nothing_to_its_successor() -> None:
    turn = Turn()
    hub = make_hub(limits=HistoryLimits(idle_channels=0), defer=turn.defer)
    first, second = Reader(), Reader()
    hub.subscribe(first, "a", None, 0)
    hub.publish("a", "1", None, 0)
    hub.remove(first, 0)
    assert hub.subscribe(second, "a", None, 0).epoch == "e2"
    hub.catch_up(second)
    turn.end()
    assert (offsets(first), offsets(second)) == ([1], [])


def test_the_successor_of_a_channel_that_is_forgotten_within_a_turn_has_its_messages_in_that_turn() -> None:
    turn = Turn()
    hub = make_hub(limits=HistoryLimits(idle_channels=0), defer=turn.defer)
    first, second = Reader(), Reader()
    hub.subscribe(first, "a", None, 0)
    hub.publish("a", "1", None, 0)
    hub.remove(first, 0)
    hub.subscribe(second, "a", None, 0)
    hub.publish("a", "2", None, 0)
    turn.end()
    assert (offsets(first), offsets(second)) == ([1], [1])


def test_a_turn_that_never_ends_is_cut() -> None:
    turn = Turn()
    hub, reader = make_hub(defer=turn.defer), Reader()
    hub.subscribe(reader, "a", None, 0)
    text = f'"{"x" * (BATCH_BYTES // 64)}"'
    for _ in range(200):
        hub.publish("a", text, None, 0)
    assert len(reader.got) > 100  # what waits is bounded
    turn.end()
    assert offsets(reader) == list(range(1, 201))
    assert 2 < len(reader.packets) < 10
    assert max(packet.size for packet in reader.packets) <= BATCH_BYTES


def test_a_turn_of_tiny_messages_is_cut() -> None:
    turn = Turn()
    hub, reader = make_hub(defer=turn.defer), Reader()
    hub.subscribe(reader, "a", None, 0)
    for number in range(5000):
        hub.publish("a", "1", f"u{number % 2}", 0)
    assert len(reader.got) > 3000
    turn.end()
    assert offsets(reader) == list(range(1, 5001))


class Counted(str):
    """A channel's name that counts how often it is looked up."""

    lookups = 0

    def __hash__(self) -> int:
        Counted.lookups += 1
        return super().__hash__()


def test_an_answer_costs_the_same_however_many_other_channels_have_messages() -> None:
    turn = Turn()
    hub, readers = make_hub(defer=turn.defer), [Reader() for _ in range(200)]
    for number, reader in enumerate(readers):
        hub.subscribe(reader, Counted(f"a:x={number}"), None, 0)
        hub.publish(Counted(f"a:x={number}"), "1", None, 0)
    Counted.lookups = 0
    for reader in readers:
        hub.catch_up(reader)
    assert Counted.lookups < 10 * len(readers)
    assert [offsets(reader) for reader in readers] == [[1]] * 200
    turn.end()
    assert [offsets(reader) for reader in readers] == [[1]] * 200


def test_very_many_readers_are_served_over_several_turns() -> None:
    # Mutants that let an answer overtake, serve somebody twice, or forget who joined meanwhile fail here.
    turn = Turn()
    hub, readers = make_hub(defer=turn.defer, readers_in_a_row=4), [Reader() for _ in range(11)]
    for reader in readers:
        hub.subscribe(reader, "a", None, 0)
    first, late, leaving, last = readers[0], readers[-3], readers[-2], readers[-1]
    hub.publish("a", "1", None, 0)
    hub.publish("a", "2", None, 0)
    turn.end()
    assert [len(reader.got) for reader in readers].count(2) == 4
    hub.publish("a", "3", None, 0)
    hub.catch_up(late)
    hub.catch_up(first)
    assert offsets(late) == offsets(first) == [1, 2, 3]
    hub.unsubscribe(leaving, "a", 0)
    assert offsets(leaving) == [1, 2, 3]
    new = Reader()
    assert hub.subscribe(new, "a", None, 0).offset == 3
    assert hub.subscribe(last, "b", None, 0).offset == 0
    turn.end()
    turn.end()
    assert {tuple(offsets(reader)) for reader in readers} == {(1, 2), (1, 2, 3)}
    hub.publish("a", "4", None, 0)
    for _ in range(6):
        turn.end()
    assert turn.deferred == []
    staying = [reader for reader in readers if reader is not leaving]
    assert {tuple(offsets(reader)) for reader in staying} == {(1, 2, 3, 4)}
    assert (offsets(new), offsets(leaving)) == ([4], [1, 2, 3])


def test_who_has_a_part_of_a_round_gets_the_rest_of_it_once() -> None:
    turn = Turn()
    hub, publisher, other = make_hub(defer=turn.defer, readers_in_a_row=1), Reader(), Reader()
    hub.subscribe(publisher, "a", None, 0)
    hub.subscribe(other, "a", None, 0)
    hub.publish("a", "1", "u1", 0, publisher=publisher)
    hub.publish("a", "2", None, 0)
    turn.end()
    assert (offsets(publisher), offsets(other)) == ([1, 2], [])
    hub.publish("a", "3", "u1", 0, publisher=publisher)
    assert offsets(publisher) == [1, 2, 3]
    turn.end()
    turn.end()
    turn.end()
    assert (offsets(publisher), offsets(other)) == ([1, 2, 3], [1, 2, 3])


# -- against the model -----------------------------------------------------------------------------------------------

_LIMITS = HistoryLimits(messages=4, age=20.0, idle_channels=2)
_CHANNELS = ("a", "b", "c")


@dataclass
class _Client:
    """What one reader is owed, and where it stands."""

    reader: Reader = field(default_factory=Reader)
    owed: list[tuple[str, int, str, bool]] = field(default_factory=list[tuple[str, int, str, bool]])
    positions: dict[str, tuple[str, int]] = field(default_factory=dict[str, tuple[str, int]])
    subscribed: set[str] = field(default_factory=set[str])


class HubMachine(RuleBasedStateMachine):
    """The hub does what a model with unlimited memory says: exact deliveries, and replay that is complete or refused.

    Kills: replay off by one at either end, a partial replay when the ring has overflowed, an epoch reused after a
    channel was forgotten, a channel forgotten although it has subscribers, a stale snapshot of the subscribers; a
    message delivered twice to who caught up before the turn ended, or delivered to who subscribed after it; `catch_up`
    doing nothing; an unsubscribe that loses what was published before; a reader of a later part that is served twice.
    """

    @initialize()
    def start(self) -> None:
        self.now = 0.0
        self.turn: list[Callable[[], None]] = []
        self.hub = make_hub(limits=_LIMITS, defer=self.turn.append, readers_in_a_row=2)
        self.clients = [_Client() for _ in range(3)]
        self.published: dict[str, list[tuple[int, str, float]]] = {}
        self.serial = 0

    @rule(seconds=st.floats(0, 15))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(client=st.integers(0, 2), channel=st.sampled_from(_CHANNELS), resume=st.booleans())
    def subscribe(self, client: int, channel: str, resume: bool) -> None:
        who = self.clients[client]
        if channel in who.subscribed:
            return
        since = who.positions.get(channel) if resume else None
        answer = self.hub.subscribe(who.reader, channel, since, self.now)
        who.subscribed.add(channel)
        life = self.published.setdefault(answer.epoch, [])
        assert answer.offset == len(life)
        if since is None:
            assert (answer.recovered, list(answer.missed)) == (None, [])
        elif answer.recovered:
            assert since[0] == answer.epoch
            frames = [messages_frame(channel, body) for body in answer.missed]
            missed = [message for frame in frames for message in one_by_one(frame)]
            truth = [Messages(channel, offset, [text]) for offset, text, _ in life[since[1] :]]
            assert missed == truth
        else:
            assert list(answer.missed) == []
            if since[0] == answer.epoch:
                gone = life[since[1] :]
                assert len(gone) > _LIMITS.messages or gone[0][2] + _LIMITS.age <= self.now
        who.positions[channel] = (answer.epoch, answer.offset)

    @rule(client=st.integers(0, 2), channel=st.sampled_from(_CHANNELS))
    def unsubscribe(self, client: int, channel: str) -> None:
        who = self.clients[client]
        who.subscribed.discard(channel)
        self.hub.unsubscribe(who.reader, channel, self.now)

    @rule(client=st.integers(0, 2))
    def disconnect(self, client: int) -> None:
        who = self.clients[client]
        who.subscribed.clear()
        self.hub.remove(who.reader, self.now)

    @rule()
    def part_of_a_turn(self) -> None:
        assert len(self.turn) <= 1
        deferred, self.turn[:] = self.turn[:], []
        for flush in deferred:
            flush()

    @rule()
    def end_of_turn(self) -> None:
        for _ in range(5):  # everybody's turn comes, in parts
            self.part_of_a_turn()
        assert not self.turn
        for who in self.clients:
            self._check(who, complete=True)

    @rule(client=st.integers(0, 2))
    def answer(self, client: int) -> None:
        who = self.clients[client]
        self.hub.catch_up(who.reader)
        self._check(who, complete=True)

    @rule(channel=st.sampled_from(_CHANNELS), times=st.integers(1, 6), publisher=st.integers(0, 3))
    def publish(self, channel: str, times: int, publisher: int) -> None:
        publishing = self.clients[publisher].reader if publisher < len(self.clients) else None
        for _ in range(times):
            self.serial += 1
            epochs = {who.positions[channel][0] for who in self.clients if channel in who.subscribed}
            assert len(epochs) <= 1  # everybody on a channel is in the same life of it
            self.hub.publish(channel, f'"{self.serial}"', None, self.now, publisher=publishing)
            for epoch in epochs:
                life = self.published[epoch]
                life.append((len(life) + 1, str(self.serial), self.now))
                for who in self.clients:
                    if channel in who.subscribed:
                        who.positions[channel] = (epoch, len(life))
                        who.owed.append((channel, len(life), str(self.serial), who.reader is publishing))
            if not epochs:
                self._publish_idle(channel)

    def _publish_idle(self, channel: str) -> None:
        """Nobody listens; whether the stream still lives shows in the epoch that the next subscriber gets."""
        probe = Reader()
        answer = self.hub.subscribe(probe, channel, None, self.now)
        self.hub.remove(probe, self.now)
        life = self.published.setdefault(answer.epoch, [])
        if answer.offset == len(life) + 1:
            life.append((answer.offset, str(self.serial), self.now))
        assert answer.offset == len(life)

    def _check(self, who: _Client, *, complete: bool) -> None:
        for channel in _CHANNELS:
            owed = [owed for owed in who.owed if owed[0] == channel]
            got = [(m.channel, m.offset, m.data[0], m.own) for m in who.reader.got if m.channel == channel]
            assert got == (owed if complete else owed[: len(got)])

    @invariant()
    def nobody_got_anything_else_than_owed(self) -> None:
        for who in getattr(self, "clients", []):
            self._check(who, complete=False)

    @invariant()
    def memory_is_bounded(self) -> None:
        if not hasattr(self, "hub"):
            return
        numbers = self.hub.statistics()
        assert numbers.idle_channels <= _LIMITS.idle_channels
        assert numbers.history_messages <= len(_CHANNELS) * _LIMITS.messages
        assert numbers.subscriptions == sum(len(who.subscribed) for who in self.clients)


TestHubMachine = HubMachine.TestCase
TestHubMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
