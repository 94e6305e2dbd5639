"""The real SDK below a link of the ably preset: how a connection ends, and what is left of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from ably_app import AblyApp

from realtime_preset_ably.emulator import Emulator
from realtime_preset_ably.emulator._wire import Action, Frame
from tanstack_realtime import CloseReason, Link, OpenRequest
from tanstack_realtime.testing import RecordingSink

CHANNEL = "todos:project_id=1"


def say(frame: Frame) -> Callable[[Emulator], object]:
    """Send a frame to every client, and leave its socket as it is."""
    return lambda emulator: emulator.faults.send(frame)


ENDS: dict[str, tuple[Callable[[Emulator], object], int, bool]] = {
    "the socket breaks": (lambda emulator: emulator.faults.drop_transports(), 80003, True),
    "the token expires": (lambda emulator: emulator.faults.expire_tokens(), 40142, True),
    "the user's tokens are revoked": (lambda emulator: emulator.faults.revoke_tokens(), 4403, False),
    "the server moves": (lambda emulator: emulator.faults.disconnect(), 80003, True),
    "an error of the connection": (
        say(Frame(Action.ERROR, error={"code": 80000, "statusCode": 400, "message": "x"})),
        80000,
        True,
    ),
    "a goodbye without a reason": (say(Frame(Action.DISCONNECTED)), 80003, True),
    "a goodbye for a failure of the server": (
        say(Frame(Action.DISCONNECTED, error={"code": 50003, "statusCode": 503, "message": "x"})),
        80003,
        True,
    ),
}


@pytest.fixture
async def app(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AblyApp]:
    async with AblyApp(monkeypatch) as app:
        yield app


async def open_link(app: AblyApp, sink: RecordingSink) -> Link:
    """Connect, and subscribe to a channel."""
    access = app.access("ann-1")
    link = await access.transport.open(OpenRequest(access.url, access.token, {}, "test"), sink)
    await link.subscribe(CHANNEL, since=None)
    return link


async def ended(sink: RecordingSink, within: float) -> CloseReason:
    """Wait for the end of a link."""
    async with asyncio.timeout(within):
        while not sink.ends:
            await asyncio.sleep(0.01)
    [reason] = sink.ends
    return reason


@pytest.mark.parametrize("how", ENDS)
async def test_every_end_is_told_at_once_and_leaves_nothing(app: AblyApp, how: str) -> None:  # ABLY-8.23
    """Nobody pings here: the SDK takes some of these for a connection that goes on."""
    act, code, retry = ENDS[how]
    before, sink = asyncio.all_tasks(), RecordingSink()
    link = await open_link(app, sink)
    asked = len(app.ways["ann-1"].asked)
    act(app.emulator)
    reason = await ended(sink, within=3.0)
    await link.close()
    async with asyncio.timeout(3.0):
        while asyncio.all_tasks() - before:
            await asyncio.sleep(0.01)

    assert (reason.code, reason.retry) == (code, retry)
    assert len(app.ways["ann-1"].asked) == asked, "the next connection asks for a token, not this one"


async def test_a_lost_connection_comes_back_with_one_token(app: AblyApp) -> None:
    """The channels that it had are named at once; after a goodbye of our own they are not."""
    access, sink = app.access("ann-1"), RecordingSink()
    request = OpenRequest(access.url, access.token, {}, "test")
    link = await access.transport.open(request, sink)
    first = await link.subscribe(CHANNEL, since=None)
    app.emulator.faults.drop_transports()
    await ended(sink, within=3.0)
    await link.close()
    link = await access.transport.open(request, sink)
    again = await link.subscribe(CHANNEL, since=first.position)
    await link.close()
    link = await access.transport.open(request, sink)
    await link.close()

    assert again.recovered is True
    assert app.ways["ann-1"].asked == [[], [CHANNEL], [CHANNEL], []]
