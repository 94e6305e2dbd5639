"""Strangers on the WebSocket endpoint: whatever they send is answered, or they are closed. Longer: `make fuzz`."""

from __future__ import annotations

import asyncio
import gc
import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from starlette.types import Message

from realtime_preset_node import HistoryLimits, NodePreset
from realtime_preset_node._frames import UnknownFrame
from realtime_preset_node._protocol import parse_server_frame
from realtime_preset_node._server import NodeServer
from tanstack_db.testing import VirtualClockLoop
from tanstack_realtime import Channel, RealtimeError
from tanstack_realtime.server import Permissions, Realtime, bearer_token

HELLO = '{"type":"hello","versions":[1],"token":"ann"}'
IDLE_CHANNELS = 4

_types = st.sampled_from(
    (
        *("hello", "auth", "subscribe", "unsubscribe", "publish", "ping", "pong", "from.the.future"),
        *("presence.join", "presence.update", "presence.leave", "presence.observe", "presence.unobserve"),
    )
)
_channels = st.sampled_from(("open", "open:x=1", "shut", "broken", "$rt", "open:x=%", "", "x" * 600, "open:x=1&x=1"))
_values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        *(st.none(), st.booleans(), st.integers(-2, 2), st.just(2**53), st.just(10**400), st.floats(allow_nan=True)),
        *(_channels, st.text(max_size=5)),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(("epoch", "offset", "a")), inner),
    max_leaves=4,
)
_members = st.fixed_dictionaries(
    {"type": st.one_of(_types, _types, _types, _values)},
    optional={
        "id": st.integers(0, 3) | _values,
        "channel": _channels | _values,
        "data": _values,
        "state": st.dictionaries(st.text(max_size=3), _values, max_size=2) | _values,
        "since": st.fixed_dictionaries({"epoch": st.text(max_size=3), "offset": st.integers(0, 3)}) | _values,
        "versions": st.just([1]) | _values,
        "token": st.just("bo") | _values,
        "client": _values,
    },
)
_frames = st.one_of(
    *(_members.map(json.dumps), _members.map(json.dumps), st.text(max_size=20), _values.map(json.dumps)),
    st.tuples(_members.map(json.dumps), st.integers(0, 60), st.integers(0, 9)).map(
        lambda cut: cut[0][: cut[1]] + cut[0][cut[1] + cut[2] :]
    ),
    st.integers(1, 3000).map(lambda depth: '{"type":"publish","id":1,"channel":"open","data":' + "[" * depth),
    st.sampled_from(("\n\n\n", "\ud800", "", "x" * 70_000, "9" * 5000)),
)
_valid = st.sampled_from(
    (
        '{"type":"subscribe","id":1,"channel":"open"}',
        '{"type":"unsubscribe","id":1,"channel":"open"}',
        '{"type":"publish","id":1,"channel":"open","data":1}',
        '{"type":"presence.join","id":1,"channel":"open","state":{}}',
    )
)
_messages = st.one_of(
    st.lists(_frames, min_size=1, max_size=3).map("\n".join), _frames, st.binary(max_size=20), st.just(HELLO), _valid
)


def authorize(user_id: str, channel: Channel) -> Permissions:
    if channel.namespace == "broken":
        raise RuntimeError("the application's bug")
    return Permissions(
        subscribe=channel.namespace == "open", publish=channel.namespace == "open", presence=channel.namespace == "open"
    )


class Site:
    """One server for many strangers, without sockets."""

    def __init__(self) -> None:
        self.errors: list[RealtimeError] = []
        preset = NodePreset(history=HistoryLimits(idle_channels=IDLE_CHANNELS))
        self.realtime = Realtime(authorize=authorize, get_user=bearer_token, preset=preset, on_error=self.errors.append)

    @property
    def server(self) -> NodeServer:
        server = self.realtime._server
        assert isinstance(server, NodeServer)
        return server

    async def visit(self, messages: list[str | bytes]) -> list[str]:
        """Connect, send, leave after a while. Returns the frames that came back."""
        incoming: asyncio.Queue[Message] = asyncio.Queue()
        answers: list[str] = []

        async def send(message: Message) -> None:
            if message["type"] == "websocket.send":
                answers.extend(message["text"].split("\n"))

        scope = {
            "type": "websocket",
            "asgi": {"version": "3.0"},
            "scheme": "ws",
            "path": "/ws",
            "raw_path": b"/ws",
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"app.example")],
            "subprotocols": [],
        }
        incoming.put_nowait({"type": "websocket.connect"})
        for message in messages:
            kind = "text" if isinstance(message, str) else "bytes"
            incoming.put_nowait({"type": "websocket.receive", kind: message})
        served = asyncio.ensure_future(self.realtime(scope, incoming.get, send))
        await asyncio.wait([served], timeout=20.0)
        incoming.put_nowait({"type": "websocket.disconnect", "code": 1006})
        await served
        return answers

    async def is_clean(self) -> None:
        numbers = self.server.statistics()
        assert self.server.connections == 0
        assert (numbers.channels, numbers.subscriptions) == (0, 0)
        assert numbers.idle_channels <= IDLE_CHANNELS
        assert asyncio.all_tasks() == {asyncio.current_task()}
        # The application's own failure is reported; nothing of ours is.
        assert {error.code for error in self.errors} <= {"unavailable"}, self.errors


@given(st.lists(_messages, max_size=12), st.booleans())
@example(["\ud800"], True)
@example(["[" * 3000], True)
def test_a_stranger_is_answered_or_closed(messages: list[str | bytes], greets: bool) -> None:  # S14, A17
    """Kills: an unchecked member in a parser; a subscription that outlives its client."""

    async def scenario() -> None:
        site = Site()
        answers = await site.visit([HELLO, *messages] if greets else messages)
        for answer in answers:
            assert not isinstance(parse_server_frame(answer), UnknownFrame)
        await site.is_clean()

    loop = VirtualClockLoop()
    try:
        loop.run_until_complete(scenario())
    finally:
        loop.close()


def test_strangers_leave_nothing_behind() -> None:  # A17
    async def scenario() -> None:
        site = Site()

        async def visits(start: int) -> int:
            for number in range(start, start + 40):
                await site.visit(
                    [
                        HELLO,
                        f'{{"type":"subscribe","id":1,"channel":"open:x={number}"}}',
                        f'{{"type":"subscribe","id":1,"channel":"shut:x={number}"}}',
                        f'{{"type":"publish","id":2,"channel":"open:x={number}","data":{{"n":{number}}}}}',
                        f'{{"type":"unheard.of.{number}","id":2}}',
                        f"nonsense {number}",
                    ]
                )
            await site.is_clean()
            gc.collect()
            return len(gc.get_objects())

        await visits(0)
        before = await visits(40)
        assert await visits(80) - before < 200

    loop = VirtualClockLoop()
    try:
        loop.run_until_complete(scenario())
    finally:
        loop.close()
