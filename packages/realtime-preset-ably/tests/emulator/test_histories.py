"""Random histories of clients that come and go, against what each of them must have heard."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from realtime_preset_ably.emulator._simulated import Socket, World
from realtime_preset_ably.emulator._wire import Action, Flag


@dataclass
class Reader:
    """A client of the channel ``c`` that follows the rules of Ably's SDKs.

    Attributes:
        socket: Its present socket.
        serial: The last serial that it saw.
        heard: What it heard since the last gap.
        expected: What was published since then.
        read: How many frames of the socket it has taken.
    """

    world: World
    socket: Socket
    serial: str | None = None
    heard: list[str] = field(default_factory=list[str])
    expected: list[str] = field(default_factory=list[str])
    read: int = 0
    is_away: bool = False

    def take(self, count: int | None = None) -> None:
        """Read frames, in order; those that are not read when the socket is lost are lost with it."""
        frames = self.socket.heard[self.read :][:count]
        self.read += len(frames)
        for frame in frames:
            if frame["action"] == Action.ATTACHED and not Flag(frame["flags"]) & Flag.RESUMED:
                self.heard.clear()
                self.expected.clear()
            if frame["action"] == Action.MESSAGE:
                self.heard += [message["data"] for message in frame["messages"]]
            if frame["action"] in (Action.ATTACHED, Action.MESSAGE, Action.PRESENCE):
                self.serial = frame["channelSerial"]

    def leave(self, unread: int) -> None:
        frames = len(self.socket.heard) - self.read
        self.take(max(0, frames - unread))
        self.socket.lose()
        self.is_away = True

    def come_back(self, between: Callable[[], None]) -> None:
        self.socket, self.read, self.is_away = self.world.resume(self.socket), 0, False
        between()
        self.socket.attach(channelSerial=self.serial)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.integers(1, 3)),
        st.tuples(st.just("leave"), st.integers(0, 4)),
        st.tuples(st.just("back"), st.integers(0, 1)),
        st.tuples(st.just("again"), st.just(0)),
        st.tuples(st.just("wait"), st.sampled_from([30, 119, 121])),
        st.tuples(st.just("forget"), st.just(0)),
    ),
    min_size=5,
    max_size=25,
)


@given(STEPS)
def test_a_reader_hears_everything_once_in_order_or_is_told_of_a_gap(steps: list[tuple[str, int]]) -> None:
    """Kills: delivering on a resumed socket before its ATTACH, replaying from the client's serial on a live socket."""
    world = World()
    publisher = world.connect()
    publisher.attach()
    reader = Reader(world, world.connect())
    reader.socket.attach()
    reader.take()
    published = 0

    def publish(count: int) -> None:
        nonlocal published
        for _ in range(count):
            publisher.publish(published, str(published))
            reader.expected.append(str(published))
            published += 1

    for step, number in steps:
        if step == "publish":
            publish(number)
        elif step == "leave" and not reader.is_away:
            reader.leave(number)
        elif step == "back" and reader.is_away:
            reader.come_back(partial(publish, number))
            reader.take()
        elif step == "again" and not reader.is_away:
            # What is on its way to it is not in its serial yet.
            reader.socket.attach(channelSerial=reader.serial)
            reader.take()
        elif step == "wait":
            world.advance(number)
        elif step == "forget":
            world.realtime.faults.forget_messages()
    if reader.is_away:
        reader.come_back(partial(publish, 0))
    reader.take()

    assert reader.heard == reader.expected[len(reader.expected) - len(reader.heard) :]
    if Flag(reader.socket.of(Action.ATTACHED)[-1]["flags"]) & Flag.RESUMED:
        assert reader.heard == reader.expected


NOISE: st.SearchStrategy[object] = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 1 << 70), st.text(max_size=3), st.just([1]), st.just({"a": 1})
)
ITEM = st.fixed_dictionaries(
    {"action": st.sampled_from([0, 2, 3, 4])},
    optional={
        "data": NOISE,
        "name": NOISE,
        "id": NOISE,
        "clientId": st.one_of(st.just("me"), NOISE),
        "encoding": st.sampled_from(["json", "base64", "utf-8/base64", None, 5]),
        "extras": NOISE,
    },
)
ITEMS = st.one_of(st.lists(st.one_of(ITEM, NOISE), min_size=1, max_size=3), NOISE)
FRAME = st.fixed_dictionaries(
    {
        "action": st.sampled_from([0, 10, 10, 12, 14, 14, 15, 15, 16, 17, 21, 4, None]),
        "channel": st.one_of(st.sampled_from(["c", "c", "[?rewind=1]c", ":"]), NOISE),
        "msgSerial": st.one_of(st.integers(0, 5), NOISE),
    },
    optional={
        "messages": ITEMS,
        "presence": ITEMS,
        "flags": NOISE,
        "channelSerial": NOISE,
        "params": st.one_of(st.dictionaries(st.sampled_from(["rewind", "modes", "echo"]), NOISE, max_size=2), NOISE),
        "auth": NOISE,
        "id": NOISE,
    },
)


@given(st.lists(FRAME, min_size=3, max_size=20))
def test_nothing_that_a_client_sends_breaks_the_server(frames: list[dict[str, object]]) -> None:
    """Kills: trusting the type of any field of a protocol message."""
    world = World()
    reader = world.connect()
    reader.attach()
    socket = world.connect(clientId="me")
    for frame in frames:
        if not socket.outbox.is_open:
            socket = world.connect(clientId="me")
        socket.raw(json.dumps(frame))
    for entry in world.realtime.app("app").channel("c").log:
        assert entry.frame.encoded("msgpack")
        assert entry.frame.encoded("json")
    world.advance(200)

    assert reader.publish(0, "still here")[-1]["action"] == Action.ACK
    assert len(world.realtime.connections()) == 1 + socket.outbox.is_open
