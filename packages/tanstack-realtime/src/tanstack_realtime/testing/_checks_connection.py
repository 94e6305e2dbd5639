"""Checks of the connection's life: status, reconnects, recovery, half-open connections, the end."""

from __future__ import annotations

import asyncio
import itertools
from typing import Final

from tanstack_realtime._errors import AuthenticationError, ConnectionLostError, RealtimeError
from tanstack_realtime._state import RealtimeState
from tanstack_realtime._transport import OpenRequest

from ._conformance import Kit, check, must
from ._recorder import RecordingListener, RecordingSink

__all__: list[str] = []

_LEGAL: Final = {
    ("disconnected", "connecting"),
    ("connecting", "connecting"),
    ("connecting", "connected"),
    ("connecting", "disconnected"),
    ("connected", "connected"),
    ("connected", "reconnecting"),
    ("connected", "disconnected"),
    ("reconnecting", "reconnecting"),
    ("reconnecting", "connecting"),
    ("reconnecting", "connected"),
    ("reconnecting", "disconnected"),
    ("disconnected", "disconnected"),
}


@check("X1", "C13", "C3", needs=["cut"])
async def status_changes_are_legal(kit: Kit) -> None:
    """Only legal transitions occur, and "connected" comes with a connection id and the user."""
    ann = kit.new_client("ann")
    seen: list[RealtimeState] = [ann.store.state]
    ann.store.subscribe(seen.append)
    ann.connect()
    await kit.soon(ann.connected(), "the client connects")
    first = ann.store.state.connection_id
    ann.connect()
    await kit.quiet()
    must(ann.store.state.connection_id == first, "connect() while connected made another connection")
    await kit.provider.cut(kit.user("ann"))
    await kit.until(lambda: ann.store.state.connection_id not in (None, first), "it comes back", within=60.0)
    ann.disconnect()
    await kit.quiet()
    pairs = [(before.status, after.status) for before, after in itertools.pairwise(seen)]
    must(set(pairs) <= _LEGAL, f"illegal transition among {pairs}")
    must(seen[-1].status == "disconnected", f"after disconnect() the status is {seen[-1].status}")
    must({"connecting", "connected", "reconnecting"} <= {state.status for state in seen}, f"saw {pairs}")
    for state in seen:
        if state.status == "connected":
            must(state.connection_id, "connected without a connection id")
            must(state.user_id in (None, kit.user("ann")), f"connected as {state.user_id!r}")


@check("C12", needs=["stranger"])
async def a_refused_identity_is_final(kit: Kit) -> None:
    """Somebody whom the server does not know is refused with an error that is not retried."""
    access = kit.provider.access(None)
    request = OpenRequest(access.url, access.token, {}, "conformance")
    attempt = access.transport.open(request, RecordingSink())
    error = await kit.refused(attempt, "an attempt of somebody unknown", AuthenticationError)
    must(not error.retryable, "the refusal asks to be tried again")


@check("X4", "S2", "S5", "G8", "C7", needs=["cut"])
async def every_channel_comes_back_after_a_reconnect(kit: Kit) -> None:
    """After each of several reconnects every channel delivers exactly once, with no action by the user."""
    channels = [kit.channel() for _ in range(3)]
    ann = await kit.client("ann")
    heard = [(await kit.listen(ann, channel))[1] for channel in channels]
    for cycle in range(3):
        for channel in channels:
            await kit.provider.publish(channel, cycle)
        for listener in heard:
            await kit.heard(listener, cycle + 1, "a message arrives on every channel")
        await kit.provider.cut(kit.user("ann"))
        for listener in heard:
            await kit.live_again(listener, cycle + 2)
    for channel in channels:
        await kit.provider.publish(channel, "end")
    await kit.until(lambda: all("end" in listener.data for listener in heard), "messages arrive after the last")
    await kit.quiet()
    for listener in heard:
        must(listener.data == [0, 1, 2, "end"], f"heard {listener.data}")
        lives, offlines = listener.heard("live"), listener.heard("offline")
        must((len(lives), len(offlines)) == (4, 3), f"heard {listener.events}")


@check("X5", needs=["cut"], proves=("recovery",))
async def a_gap_is_replayed_or_reported(kit: Kit) -> None:
    """What was missed while away is replayed in order, once, where recovery is claimed; else the gap is reported."""
    channel = kit.channel()
    ann = await kit.client("ann")
    _, listener = await kit.listen(ann, channel)
    await kit.provider.publish(channel, "before")
    await kit.heard(listener, 1, "a message arrives")
    ann.disconnect()
    await kit.quiet()
    missed = [f"missed {number}" for number in range(3)]
    for text in missed:
        await kit.provider.publish(channel, text)
    await kit.quiet()
    must(listener.data == ["before"], "something was delivered while disconnected")
    ann.connect()
    await kit.live_again(listener)
    await kit.quiet()
    await kit.provider.publish(channel, "after")
    await kit.until(lambda: "after" in listener.data, "the next message arrives")
    recovered = listener.heard("live")[-1]
    if kit.capabilities.recovery:
        must(recovered is True, f"recovery is claimed, but a short gap was reported as recovered={recovered}")
        must(listener.data == ["before", *missed, "after"], f"heard {listener.data}")
        must(not listener.heard("gap"), f"a gap was reported: {listener.heard('gap')}")
    else:
        must(recovered is False, f"recovery is not claimed, but the gap was reported as recovered={recovered}")
        must(listener.data == ["before", "after"], f"heard {listener.data}")


@check("X5", needs=["cut"], proves=("recovery", "history"))
async def a_gap_beyond_the_history_is_reported(kit: Kit) -> None:
    """Where the history does not reach back, the gap is reported and nothing is replayed in part."""
    kit.claims(kit.capabilities.recovery, "recovery is not claimed")
    kit.claims(kit.capabilities.history <= 2000, "the claimed history is too long to overrun in a test")
    channel = kit.channel()
    ann = await kit.client("ann")
    _, listener = await kit.listen(ann, channel)
    await kit.provider.publish(channel, "before")
    await kit.heard(listener, 1, "a message arrives")
    ann.disconnect()
    await kit.quiet()
    for number in range(kit.capabilities.history + 1):
        await kit.provider.publish(channel, number)
    ann.connect()
    await kit.live_again(listener)
    await kit.quiet()
    recovered = listener.heard("live")[-1]
    if recovered:  # more history than claimed is no lie
        must(listener.data[1:] == list(range(kit.capabilities.history + 1)), "recovered, but something is missing")
    else:
        must(listener.data == ["before"], f"a gap was reported, and {len(listener.data) - 1} messages replayed")


@check("X5", needs=["cut"], proves=("recovery",))
async def the_position_is_honest(kit: Kit) -> None:
    """What the link says about recovery is what it replays: exactly what came after the position."""
    kit.claims(kit.capabilities.recovery, "recovery is not claimed")
    channel = kit.channel()
    link, _ = await kit.link("ann")
    first = await kit.soon(link.subscribe(channel.raw, since=None), "a subscribe is answered")
    must(first.position is not None, "recovery is claimed, but the acknowledgement has no position")
    must(first.recovered is None, "a first subscribe says that it recovered something")
    await kit.soon(link.close(), "the link closes")
    for number in range(3):
        await kit.provider.publish(channel, number)
    link, sink = await kit.link("ann")
    again = await kit.soon(link.subscribe(channel.raw, since=first.position), "a subscribe is answered")
    await kit.quiet()
    must(again.recovered is True, f"a gap of three messages gave recovered={again.recovered}")
    replayed = [message.data for message in again.missed]
    must(replayed == [0, 1, 2], f"replayed {replayed}")
    must(sink.data == [], f"what was replayed was delivered as well: {sink.data}")
    offsets = [message.position.offset for message in again.missed if message.position is not None]
    must(offsets == [first.position.offset + 1 + number for number in range(3)], f"numbered {offsets}")
    must(again.position is not None, "again.position is not None")
    must(again.position.offset == offsets[-1], f"the position is {again.position}, the last message {offsets[-1]}")


@check("X5", "G1", needs=["restart"], proves=("recovery",))
async def a_restart_loses_nothing_silently(kit: Kit) -> None:
    """After a restart of the server what was missed is replayed, or the gap is reported."""
    channel = kit.channel()
    ann = await kit.client("ann")
    _, listener = await kit.listen(ann, channel)
    await kit.provider.publish(channel, "before")
    await kit.heard(listener, 1, "a message arrives")
    ann.disconnect()
    await kit.quiet()
    await kit.provider.publish(channel, "missed")
    await kit.provider.restart()
    ann.connect()
    await kit.live_again(listener)
    await kit.provider.publish(channel, "after")
    await kit.until(lambda: "after" in listener.data, "the next message arrives")
    await kit.quiet()
    told = listener.heard("live")[-1] is False or bool(listener.heard("gap"))
    must(told or "missed" in listener.data, "a message was lost in a restart, and nobody was told")
    must(listener.data.count("after") == 1, f"heard {listener.data}")


@check("V7", "C4", needs=["restart"])
async def clients_survive_a_restart(kit: Kit) -> None:
    """Clients that were connected while the server restarted come back by themselves."""
    channel = kit.channel()
    ann, bob = await kit.client("ann"), await kit.client("bob")
    heard = [(await kit.listen(client, channel))[1] for client in (ann, bob)]
    await kit.provider.restart()
    for listener in heard:
        await kit.live_again(listener)
    await kit.until(lambda: ann.is_connected and bob.is_connected, "both are connected", within=60.0)
    await ann.publish(channel, 1)
    await kit.until(lambda: all(listener.data for listener in heard), "a message arrives")
    await kit.quiet()
    must([listener.data for listener in heard] == [[1], [1]], f"heard {[listener.data for listener in heard]}")


@check("C14", needs=["half_open"])
async def a_half_open_connection_is_replaced(kit: Kit) -> None:
    """A connection that has gone silent is noticed within the declared time, and replaced."""
    channel = kit.channel()
    ann = await kit.client("ann")
    _, listener = await kit.listen(ann, channel)
    await kit.provider.half_open(kit.user("ann"))
    await kit.until(
        lambda: len(listener.heard("live")) == 2, "a silent connection is replaced", within=kit.provider.detect_within
    )
    await kit.provider.publish(channel, 1)
    await kit.heard(listener, 1, "a message arrives")


@check("P2", needs=["half_open"])
async def a_publish_without_an_answer_fails(kit: Kit) -> None:
    """A publish in flight when the connection goes silent fails; it neither hangs nor pretends."""
    channel = kit.channel()
    ann = await kit.client("ann")
    await kit.listen(ann, channel)
    await kit.provider.half_open(kit.user("ann"))
    within = kit.provider.detect_within + 35.0
    await kit.refused(ann.publish(channel, 1), "a publish into a dead connection", RealtimeError, within=within)


@check("X4", "P2", needs=["cut"], proves=("retry",))
async def a_link_says_once_that_it_has_ended(kit: Kit) -> None:
    """A link that breaks tells its sink once; its requests fail, and closing it is still allowed."""
    channel = kit.channel()
    link, sink = await kit.link("ann")
    await kit.soon(link.subscribe(channel.raw, since=None), "a subscribe is answered")
    await kit.provider.cut(kit.user("ann"))
    await kit.until(lambda: sink.ends, "the sink is told")
    must(sink.ends[0].retry, "a broken connection must be worth another try")
    await kit.refused(link.publish(channel.raw, 1), "a publish on a dead link", ConnectionLostError)
    await kit.refused(link.ping(), "a ping on a dead link", ConnectionLostError)
    await kit.soon(link.unsubscribe(channel.raw), "an unsubscribe on a dead link is answered")
    await kit.soon(link.close(), "the link closes")
    await kit.soon(link.close(), "the link closes again")
    await kit.quiet()
    must(len(sink.ends) == 1, f"the sink was told {len(sink.ends)} times")


@check("X9")
async def a_closed_link_is_silent(kit: Kit) -> None:
    """After `close` the sink hears nothing, not even that it is closed, and no task is left."""
    before = asyncio.all_tasks()
    channel = kit.channel()
    link, sink = await kit.link("ann")
    await kit.soon(link.subscribe(channel.raw, since=None), "a subscribe is answered")
    await kit.soon(link.close(), "the link closes")
    await kit.provider.publish(channel, 1)
    await kit.quiet()
    must((sink.data, sink.ends) == ([], []), f"after close() the sink heard {sink.data} and {sink.ends}")
    await _nothing_is_left(kit, before)


@check("X9", "C15")
async def a_closed_client_leaves_nothing(kit: Kit) -> None:
    """After `close` no task is left, and closing again is allowed."""
    before = asyncio.all_tasks()
    ann = await kit.client("ann")
    await kit.listen(ann, kit.channel())
    await kit.soon(ann.close(), "the client closes")
    await kit.soon(ann.close(), "the client closes again")
    await _nothing_is_left(kit, before)


@check("C10")
async def an_attempt_that_is_given_up_leaves_nothing(kit: Kit) -> None:
    """Cancelling `open` at any moment closes what was half open."""
    before = asyncio.all_tasks()
    access = kit.provider.access(kit.user("ann"))
    for turns in range(12):
        sink = RecordingSink()
        request = OpenRequest(access.url, access.token, {}, "conformance")
        task = asyncio.ensure_future(access.transport.open(request, sink))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        for result in await asyncio.gather(task, return_exceptions=True):
            if not isinstance(result, BaseException):
                await result.close()
        await kit.quiet()
        must(not sink.ends, "an attempt that was given up told its sink something")
    await _nothing_is_left(kit, before)


@check("C1", "C2", "C5", "C10")
async def any_order_of_connect_and_disconnect_ends_well(kit: Kit) -> None:
    """However fast `connect` and `disconnect` follow each other, one connection is left, or none."""
    channel = kit.channel()
    ann = kit.new_client("ann")
    listener = RecordingListener()
    ann.subscribe(channel, listener)
    for turns in range(10):
        ann.connect()
        for _ in range(turns):
            await asyncio.sleep(0)
        ann.disconnect()
    ann.connect()
    await kit.soon(asyncio.gather(*(ann.connected() for _ in range(3))), "everybody who waits is told")
    await kit.quiet()
    await kit.provider.publish(channel, 1)
    await kit.heard(listener, 1, "a message arrives")
    await kit.quiet()
    must(listener.data == [1], f"heard {listener.data}")
    ann.disconnect()
    await kit.quiet()
    await kit.provider.publish(channel, 2)
    await kit.quiet()
    must(listener.data == [1], "something arrived after disconnect()")
    must(ann.store.state.status == "disconnected", f"the status is {ann.store.state.status}")


@check("C10", "C13")
async def an_old_connection_does_not_touch_a_new_one(kit: Kit) -> None:
    """The end of an earlier link of the same transport says nothing to the later one."""
    channel = kit.channel()
    access = kit.provider.access(kit.user("ann"))
    old, to_old = await kit.link("ann", access)
    new, to_new = await kit.link("ann", access)
    must(old.connection_id != new.connection_id, "two links have one connection id")
    for link in (old, new):
        await kit.soon(link.subscribe(channel.raw, since=None), "a subscribe is answered")
    await kit.soon(old.close(), "the old link closes")
    await kit.quiet()
    must(to_new.ends == [], f"the end of the old link ended the new one: {to_new.ends}")
    await kit.soon(new.ping(), "the new link answers a ping")
    await kit.provider.publish(channel, 1)
    await kit.until(lambda: to_new.data, "the new link hears")
    await kit.quiet()
    must((to_old.data, to_new.data) == ([], [1]), f"heard {to_old.data} and {to_new.data}")


async def _nothing_is_left(kit: Kit, before: set[asyncio.Task[object]]) -> None:
    def left() -> set[asyncio.Task[object]]:
        return {task for task in asyncio.all_tasks() - before if task is not asyncio.current_task()}

    try:
        await kit.until(lambda: not left(), "tasks end", within=max(1.0, 2 * kit.provider.quiet))
    except AssertionError:
        names = sorted(task.get_name() for task in left())
        raise AssertionError(f"tasks are left after the end: {names}") from None
