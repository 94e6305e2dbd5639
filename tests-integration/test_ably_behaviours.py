"""What the preset makes of a server of Ably's: ABLY-8.9 to ABLY-8.12 and ABLY-8.20 to ABLY-8.25, beside ably-js.

The others are in `test_ably_tokens` and `test_ably_publishing`; the conformance kit runs in `test_ably_conformance`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from urllib.parse import quote

import pytest
from ably_app import AblyApp
from ably_js import AblyJs
from ably_sdk import SdkError
from ably_server import KEY, Rest
from screens import PROJECT, TODOS, Screens, enter, inserted, row, shows
from starlette.requests import HTTPConnection

from realtime_preset_ably.emulator import Action, Frame
from tanstack_db import DbClient, LoadSubset
from tanstack_realtime import AuthenticationError, ChannelDeniedError, create_realtime_client
from tanstack_realtime.server import bearer_token
from tanstack_realtime.testing import Kit, RecordingListener

pytestmark = pytest.mark.usefixtures("ably_js_installed")


@pytest.fixture
async def app(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AblyApp]:
    async with AblyApp(monkeypatch) as app:
        yield app


# -- tokens that grow, and shrink --------------------------------------------------------------------------------------


async def test_ten_new_channels_cost_one_token(app: AblyApp, kit: Kit, js: AblyJs) -> None:  # ABLY-8.9
    ann = await kit.client("ann")
    await kit.listen(ann, kit.channel())
    asked = app.ways[kit.user("ann")].asked
    before, connection = len(asked), ann.store.state.connection_id
    channels = [kit.channel() for _ in range(10)]
    listeners = [RecordingListener() for _ in channels]
    subscriptions = [ann.subscribe(*pair) for pair in zip(channels, listeners, strict=True)]
    for subscription in subscriptions:
        await kit.soon(subscription.live(), "a channel becomes live")
    bob = await app.front(js, kit.user("bob"), *(channel.raw for channel in channels))
    for channel in channels:
        await bob.do("subscribe", channel=channel.raw)
        await app.publish(channel, channel.raw)
        await bob.hears("message", channel=channel.raw)
    await kit.until(lambda: all(listener.data for listener in listeners), "a message on each")

    assert len(asked) == before + 1
    assert ann.store.state.connection_id == connection
    assert [listener.data for listener in listeners] == [[channel.raw] for channel in channels]
    assert len(bob.events("token")) == 1


async def test_nothing_is_lost_while_tokens_are_replaced(app: AblyApp, kit: Kit, js: AblyJs) -> None:  # ABLY-8.10
    channel = kit.channel()
    ann = await kit.client("ann")
    _, listener = await kit.listen(ann, channel)
    bob = await app.front(js, kit.user("bob"), channel.raw)
    await bob.do("subscribe", channel=channel.raw)
    asked, seen = app.ways[kit.user("ann")].asked, [ann.store.state.status]
    stop = ann.store.subscribe(lambda state: seen.append(state.status))
    before = len(asked)

    async def publish() -> None:
        for number in range(200):
            await app.publish(channel, number)

    publishing = asyncio.create_task(publish())
    for _ in range(5):
        await kit.listen(ann, kit.channel())
        await bob.do("authorize")
    assert not publishing.done()
    await publishing
    await kit.heard(listener, 200, "all of them")
    await bob.hears("message", times=200)
    stop()

    assert len(asked) == before + 5
    assert len(bob.events("token")) == 6
    assert listener.data == bob.data(channel.raw) == list(range(200))
    assert [kind for kind, _ in listener.events if kind != "message"] == ["live"]
    assert set(seen) == {"connected"}
    assert bob.states().count("connected") == 1


async def test_a_denied_channel_leaves_nothing_behind(app: AblyApp, kit: Kit, js: AblyJs) -> None:  # ABLY-8.11
    closed, open_ = kit.channel(), kit.channel()
    kit.refuse("ann", closed, "subscribe")
    ann = await kit.client("ann")
    _, on_open = await kit.listen(ann, open_)
    first = RecordingListener()
    for _ in range(2):
        subscription = ann.subscribe(closed, first)
        await kit.refused(subscription.live(), "a subscribe", ChannelDeniedError)
        subscription.unsubscribe()
    front = await app.front(js, kit.user("ann"), closed.raw, open_.raw)
    with pytest.raises(SdkError) as caught:
        await front.do("attach", channel=closed.raw)
    kit.denied.clear()
    _, second = await kit.listen(ann, closed)
    await app.publish(closed, 1)
    await app.publish(open_, 2)
    await kit.heard(second, 1, "a message")
    await kit.heard(on_open, 1, "a message of the other")
    await kit.quiet()

    assert caught.value.code == 40160
    assert (await front.do("state"))["state"] == "connected"
    assert (first.data, second.data, on_open.data) == ([], [1], [2])
    assert ann.is_connected
    assert [kind for kind, _ in on_open.events] == ["live", "message"]


async def test_the_next_token_takes_a_channel_away(app: AblyApp, kit: Kit, js: AblyJs) -> None:  # ABLY-8.12, A5
    taken, kept = kit.channel(), kit.channel()
    ann = await kit.client("ann")
    (_, on_taken), (_, on_kept) = [await kit.listen(ann, channel) for channel in (taken, kept)]
    bob = await app.front(js, kit.user("bob"), taken.raw, kept.raw)
    for channel in (taken, kept):
        await bob.do("subscribe", channel=channel.raw)
    for name in ("ann", "bob"):
        kit.refuse(name, taken, "subscribe")
    await kit.listen(ann, kit.channel())
    await bob.do("authorize")
    await kit.until(lambda: on_taken.heard("denied"), "ann is told")
    failed = await bob.hears("channel", channel=taken.raw, state="failed")
    await app.publish(taken, "secret")
    await app.publish(kept, "open")
    await kit.heard(on_kept, 1, "ann hears the other")
    await bob.hears("message", data="open")

    assert failed["reason"]["code"] == 40160
    assert (on_taken.data, on_kept.data) == ([], ["open"])
    assert bob.data(taken.raw) == []
    assert ann.is_connected


# -- connections that break --------------------------------------------------------------------------------------------


async def test_a_short_drop_costs_no_query(app: AblyApp, kit: Kit, js: AblyJs, screens: Screens) -> None:  # ABLY-8.20
    ann = await screens.open()
    bob = await app.front(js, kit.user("bob"), TODOS.raw, proxied=True)
    await bob.do("subscribe", channel=TODOS.raw)
    reads = screens.table.reads
    for name in ("ann", "bob"):
        await app.cut(kit.user(name))
    for number in range(3):
        await app.publish(TODOS, inserted(f"t{number}"))
    await kit.until(lambda: ann.ids == ["t0", "t1", "t2"], "what was missed")
    await kit.until(lambda: ann.is_live, "it is live again")
    await bob.hears("message", channel=TODOS.raw, times=3)
    await kit.quiet()

    assert screens.table.reads == reads
    assert ann.todos.statistics().messages == 3
    assert [message["key"] for message in bob.data(TODOS.raw)] == ["t0", "t1", "t2"]


async def test_lost_state_costs_one_query(app: AblyApp, kit: Kit, js: AblyJs, screens: Screens) -> None:  # ABLY-8.20
    ann = await screens.open()
    bob = await app.front(js, kit.user("bob"), TODOS.raw, proxied=True)
    await bob.do("subscribe", channel=TODOS.raw)
    reads = screens.table.reads
    screens.table.rows = {key: row(key) for key in ("t0", "t1")}
    app.emulator.faults.forget_state()
    for name in ("ann", "bob"):
        await app.cut(kit.user(name))
    await kit.until(lambda: ann.ids == ["t0", "t1"], "what the database has")
    await kit.until(lambda: ann.is_live, "it is live again")
    await bob.hears("channel", channel=TODOS.raw, state="attached", resumed=False, times=2)
    await kit.quiet()

    assert screens.table.reads == reads + 1


async def test_the_server_prompts_for_a_token(app: AblyApp, kit: Kit, js: AblyJs) -> None:  # ABLY-8.21
    channel = kit.channel()
    ann = await kit.client("ann")
    _, listener = await kit.listen(ann, channel)
    bob = await app.front(js, kit.user("bob"), channel.raw)
    await bob.do("subscribe", channel=channel.raw)
    asked = app.ways[kit.user("ann")].asked
    for round_ in range(3):
        before = len(asked)
        app.emulator.faults.prompt_for_tokens()
        await kit.until(lambda before=before: len(asked) > before, "ann asks for a token")  # type: ignore[misc]
        await bob.hears("token", times=round_ + 2)
    await app.publish(channel, "still there")
    await kit.heard(listener, 1, "a message")
    await bob.hears("message")

    assert [kind for kind, _ in listener.events] == ["live", "message"]
    assert bob.states().count("connected") == 1


async def test_an_expired_token_is_replaced_again_and_again(
    app: AblyApp, kit: Kit, js: AblyJs
) -> None:  # ABLY-8.21, A16
    channel = kit.channel()
    ann = await kit.client("ann")
    _, listener = await kit.listen(ann, channel)
    bob = await app.front(js, kit.user("bob"), channel.raw)
    await bob.do("subscribe", channel=channel.raw)
    for round_ in range(1, 4):
        app.emulator.faults.expire_tokens()
        await kit.live_again(listener, round_ + 1)
        await bob.hears("connection", state="connected", times=round_ + 1)
        await app.publish(channel, round_)
        await kit.heard(listener, round_, "a message")
        await bob.hears("message", data=round_)

    assert listener.data == bob.data(channel.raw) == [1, 2, 3]


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refusal_of_the_application_is_final(app: AblyApp, kit: Kit, status: int) -> None:  # ABLY-8.22, C12
    ann = await kit.client("ann")
    await kit.listen(ann, kit.channel())
    way = app.ways[kit.user("ann")]
    way.plan.extend([status] * 20)
    app.emulator.faults.expire_tokens()
    await kit.until(lambda: ann.store.state.status == "disconnected", "it gives up")
    asked = len(way.asked)
    await kit.quiet()
    with pytest.raises(AuthenticationError):
        await kit.soon(ann.connected(), "the refusal")

    assert len(way.asked) == asked
    assert ann.store.state.reason


async def test_a_failure_of_the_application_is_not(app: AblyApp, kit: Kit) -> None:  # ABLY-8.22
    channel = kit.channel()
    ann = await kit.client("ann")
    _, listener = await kit.listen(ann, channel)
    app.ways[kit.user("ann")].plan.extend([503, 500, 502])
    app.emulator.faults.expire_tokens()
    await kit.live_again(listener)
    await app.publish(channel, 1)
    await kit.heard(listener, 1, "a message")

    assert app.ways[kit.user("ann")].plan == []


async def test_a_front_end_goes_on_without_an_application(app: AblyApp, kit: Kit, js: AblyJs) -> None:  # ABLY-8.22
    """ably-js asks again and again, and gets no token from an application that fails or does not know the user."""
    channel = kit.channel()
    failing = {"bob"}

    def get_user(connection: HTTPConnection) -> str | None:
        user = bearer_token(connection)
        if user in failing:
            raise OSError("the database is away")
        return user

    app.get_user = get_user
    auth = {"url": app.url, "bearer": "bob"}
    bob = await js.open("bob", port=app.ably_port, auth=auth, autoConnect=False)
    stranger = await js.open("stranger", port=app.ably_port, auth={**auth, "bearer": ""}, autoConnect=False)
    for front in (bob, stranger):
        await front.do("want", channels=[channel.raw])
        await front.do("connect")
        await front.hears("token", times=3)
    assert "connected" not in bob.states()
    failing.clear()
    await bob.do("connected")
    await bob.do("subscribe", channel=channel.raw)
    await app.publish(channel, "back")
    await bob.hears("message", data="back")

    assert "connected" not in stranger.states()


async def test_everything_can_be_taken_from_a_user(app: AblyApp, kit: Kit, js: AblyJs) -> None:
    """Ours is told that it is over; a front end of its own asks again, and it is the application that says no."""
    ann, bob = await kit.client("ann"), await kit.client("bob")
    channel = kit.channel()
    front = await app.front(js, kit.user("ann"), channel.raw)
    await front.do("subscribe", channel=channel.raw)
    kit.refuse("ann", channel, "subscribe")
    await app.realtime.revoke(kit.user("ann"))
    await kit.until(lambda: ann.store.state.status == "disconnected", "ann is out")
    dropped = await front.hears("connection", state="disconnected")
    failed = await front.hears("channel", channel=channel.raw, state="failed")
    await kit.quiet()

    assert ann.store.state.reason == "access was revoked"
    assert bob.is_connected
    assert (dropped["reason"]["code"], failed["reason"]["code"]) == (40141, 40160)
    assert len(front.events("token")) == 2


async def test_clients_of_the_servers_own_process_need_no_http(app: AblyApp, kit: Kit, screens: Screens) -> None:
    remote = await screens.open()
    local = create_realtime_client(transport=app.realtime.local_transport(user_id="local"), db=DbClient())
    async with local:
        await kit.soon(local.connected(), "the local client connects")
        todos = local.collection(screens.table.collection)
        lease = todos.acquire(LoadSubset({"project_id": (PROJECT,)}), lambda: None)
        await todos.insert(row("t1")).persisted()
        await kit.until(lambda: remote.ids == ["t1"], "the remote client has its row")
        lease.release()
    await local.db.close()


FREEZES: dict[str, Frame | None] = {
    "silence": None,
    "a goodbye without a reason": Frame(Action.DISCONNECTED),
    "a goodbye for a failure of the server": Frame(
        Action.DISCONNECTED, error={"code": 50003, "statusCode": 503, "message": "x"}
    ),
    "a goodbye with half a reason": Frame(Action.DISCONNECTED, error={"message": "x"}),
    "an error of the connection": Frame(Action.ERROR, error={"code": 80000, "statusCode": 400, "message": "x"}),
}


@pytest.mark.parametrize("how", FREEZES)
async def test_a_frozen_connection_is_replaced(app: AblyApp, kit: Kit, how: str) -> None:  # ABLY-8.23, C14
    """The SDK believes for ever in a connection that ended in one of these ways."""
    channel = kit.channel()
    ann = await kit.client("ann")
    _, listener = await kit.listen(ann, channel)
    seen = [ann.store.state.status]
    stop = ann.store.subscribe(lambda state: seen.append(state.status))
    frame = FREEZES[how]
    if frame is None:
        await app.half_open(kit.user("ann"))
    else:
        app.emulator.faults.send(frame)
    await kit.until(lambda: len(listener.heard("live")) == 2, "it is live again", within=app.detect_within)
    await app.publish(channel, 1)
    await kit.heard(listener, 1, "a message")
    stop()

    assert listener.data == [1]
    assert set(seen) == {"connected", "reconnecting"}
    assert ann.is_connected


async def test_a_front_end_comes_back_from_a_dead_server(app: AblyApp, kit: Kit, js: AblyJs) -> None:  # ABLY-8.23
    """A page of its own and ours, beside each other while the service is away."""
    channel = kit.channel()
    ann = await kit.client("ann")
    _, listener = await kit.listen(ann, channel)
    bob = await app.front(js, kit.user("bob"), channel.raw)
    await bob.do("subscribe", channel=channel.raw)
    await app.stop_ably()
    await kit.until(lambda: ann.store.state.status == "reconnecting", "ours notices")
    await bob.hears("connection", state="disconnected")
    await app.start_ably()
    await kit.soon(ann.connected(), "ours connects again")
    await bob.hears("connection", state="connected", times=2)
    await kit.live_again(listener)
    await bob.hears("channel", channel=channel.raw, state="attached", times=2)
    await app.publish(channel, 1)
    await kit.heard(listener, 1, "a message")
    await bob.hears("message", data=1)

    assert listener.data == bob.data(channel.raw) == [1]


async def test_the_status_is_one_of_four(app: AblyApp, kit: Kit) -> None:  # ABLY-8.23
    ann = kit.new_client("ann")
    seen = [ann.store.state.status]
    ann.store.subscribe(lambda state: seen.append(state.status))
    await app.stop_ably()
    ann.connect()
    await kit.until(lambda: ann.store.state.attempt > 1, "another attempt")
    await app.start_ably()
    await kit.soon(ann.connected(), "it connects")
    await app.stop_ably()
    await kit.until(lambda: ann.store.state.status == "reconnecting", "it notices")
    await app.start_ably()
    await kit.soon(ann.connected(), "it connects again")
    ann.disconnect()
    await kit.quiet()

    assert [status for status, before in zip(seen, [None, *seen], strict=False) if status != before] == [
        *("disconnected", "connecting", "connected", "reconnecting", "connected", "disconnected")
    ]


# -- presence ----------------------------------------------------------------------------------------------------------


async def test_members_of_both_kinds_see_each_other(app: AblyApp, kit: Kit, js: AblyJs) -> None:  # ABLY-8.24
    channel = kit.channel()
    room = f"{channel.raw}:presence"
    bob = await app.front(js, kit.user("bob"), channel.raw)
    await bob.do("watch", channel=room)
    hers = enter(await kit.client("ann"), channel, {"x": 1})
    await kit.soon(hers.live(), "ann is there")
    await bob.hears("presence", action="enter", clientId=kit.user("ann"))
    hers.update(x=2)
    updated = await bob.hears("presence", action="update", clientId=kit.user("ann"))
    await bob.do("enter", channel=room, data=updated["data"])
    await kit.until(lambda: shows(hers, {"x": 2}), "ann sees bob")
    hers.leave()
    await bob.hears("presence", action="leave", clientId=kit.user("ann"))

    assert [member["clientId"] for member in await bob.do("members", channel=room)] == [kit.user("bob")]


async def test_nobody_is_a_member_in_anothers_name(app: AblyApp, kit: Kit, js: AblyJs) -> None:  # A12
    channel = kit.channel()
    room = f"{channel.raw}:presence"
    hers = enter(await kit.client("ann"), channel, {"x": 1})
    await kit.soon(hers.live(), "ann is there")
    bob = await app.front(js, kit.user("bob"), channel.raw)
    await bob.do("enter", channel=room, data={"x": 2})
    await kit.until(lambda: shows(hers, {"x": 2}), "ann sees bob")
    for name in (kit.user("ann"), "eve", "*"):
        with pytest.raises(SdkError) as caught:
            await bob.do("crowd", channel=room, names=[name], data={"x": 3})
        assert caught.value.code == 40012
    await kit.quiet()

    assert shows(hers, {"x": 2})
    assert [member.user_id for member in hers.others] == [kit.user("bob")]


async def test_a_late_joiner_sees_a_full_room(app: AblyApp, kit: Kit, js: AblyJs) -> None:  # ABLY-8.24
    """More members than one page of the synchronisation has."""
    channel = kit.channel()
    room = f"{channel.raw}:presence"
    hers = enter(await kit.client("ann"), channel, {"x": 1})
    await kit.soon(hers.live(), "ann is there")
    host = await js.open("host", port=app.ably_port, key=KEY)
    [member] = await host.do("members", channel=room)
    names = [f"member-{number:03}" for number in range(120)]
    await host.do("crowd", channel=room, names=names, data=member["data"])
    late = enter(await kit.client("bob"), channel, None)
    await kit.soon(late.live(), "bob watches")
    await kit.until(lambda: len(late.others) == 121, "everybody")
    js_late = await app.front(js, kit.user("eve"), channel.raw)

    assert {other.user_id for other in late.others} == {*names, kit.user("ann")}
    assert len(await js_late.do("members", channel=room)) == 121


async def test_who_vanishes_is_gone_after_a_while(app: AblyApp, kit: Kit, js: AblyJs) -> None:  # ABLY-8.24, R4
    channel = kit.channel()
    his = enter(await kit.client("bob"), channel, None)
    await kit.soon(his.live(), "bob watches")
    watching = await app.front(js, kit.user("eve"), channel.raw)
    await watching.do("watch", channel=f"{channel.raw}:presence")
    front = await app.front(js, kit.user("nobody"), channel.raw, proxied=True, transport={"remainPresentFor": "300"})
    hers = enter(await kit.client("ann"), channel, {"x": 1})
    await kit.soon(hers.live(), "ann is there")
    entered = await watching.hears("presence", action="enter", clientId=kit.user("ann"))
    await front.do("enter", channel=f"{channel.raw}:presence", data=entered["data"])
    await kit.until(lambda: len(his.others) == 2, "bob sees both")
    await app.vanish(kit.user("nobody"))
    await watching.hears("presence", action="leave", clientId=kit.user("nobody"))
    await kit.until(lambda: len(his.others) == 1, "the front is gone")
    await app.vanish(kit.user("ann"))
    await watching.hears("presence", action="leave", clientId=kit.user("ann"))
    await kit.until(lambda: not his.others, "ann is gone")


async def test_a_member_comes_back_without_a_ghost(app: AblyApp, kit: Kit, js: AblyJs) -> None:  # ABLY-8.24, R4
    channel = kit.channel()
    room = f"{channel.raw}:presence"
    his = enter(await kit.client("bob"), channel, None)
    hers = enter(await kit.client("ann"), channel, {"x": 1})
    await kit.soon(his.live(), "bob watches")
    await kit.soon(hers.live(), "ann is there")
    hers.update(x=2)
    await kit.until(lambda: shows(his, {"x": 2}), "bob sees her")
    app.emulator.faults.forget_state()
    for name in ("ann", "bob"):
        await app.cut(kit.user(name))
    await kit.quiet()
    await kit.until(lambda: his.others and shows(his, {"x": 2}), "bob sees her again")
    watching = await app.front(js, kit.user("eve"), channel.raw)

    assert [member["clientId"] for member in await watching.do("members", channel=room)] == [kit.user("ann")]
    await kit.until(lambda: len(his.others) == 1, "and no ghost of her")


# -- the end, and after it ---------------------------------------------------------------------------------------------


async def test_disconnecting_ends_everything_at_once(app: AblyApp, kit: Kit, js: AblyJs) -> None:  # ABLY-8.25
    channel = kit.channel()
    user = "ann-first"
    access = app.access(user)
    db = DbClient()
    client = create_realtime_client(
        access.url, transport=access.transport, get_token=lambda: user, http=access.http, timing=app.timing, db=db
    )
    bob = await app.front(js, kit.user("bob"), channel.raw)
    await bob.do("watch", channel=f"{channel.raw}:presence")
    client.connect()
    hers = enter(client, channel, {"x": 1})
    await kit.soon(hers.live(), "she is there")
    await bob.hears("presence", action="enter", clientId="ann-first")
    client.disconnect()
    await bob.hears("presence", action="leave", clientId="ann-first", within=1.0)
    user = "ann-second"
    client.connect()
    await kit.soon(client.connected(), "she connects")
    hers = enter(client, channel, {"x": 2})
    await bob.hears("presence", action="enter", clientId="ann-second")
    members = await bob.do("members", channel=f"{channel.raw}:presence")
    await client.close()
    await db.close()

    assert client.user_id in (None, "ann-second")
    assert [member["clientId"] for member in members] == ["ann-second"]


async def test_a_channel_without_listeners_is_given_up(app: AblyApp, kit: Kit, js: AblyJs) -> None:  # ABLY-8.25
    first, second, third = kit.channel(), kit.channel(), kit.channel()
    ann = await kit.client("ann")
    subscription, listener = await kit.listen(ann, first)
    await kit.listen(ann, second)
    bob = await app.front(js, kit.user("bob"), first.raw, second.raw)
    for channel in (first, second):
        await bob.do("subscribe", channel=channel.raw)
    subscription.unsubscribe()
    await bob.do("detach", channel=first.raw)
    async with Rest(app.ably_port) as rest:

        async def subscribers() -> int:
            _, status = await rest("GET", f"/channels/{quote(first.raw, safe='')}")
            return int(status["status"]["occupancy"]["metrics"]["subscribers"])

        async with asyncio.timeout(10):
            while await subscribers():
                await asyncio.sleep(0.02)
    await bob.do("want", channels=[second.raw])
    capability = json.loads((await bob.do("authorize"))["capability"])
    await kit.listen(ann, third)
    await app.publish(first, "nobody hears this")
    await kit.quiet()

    assert app.ways[kit.user("ann")].asked[-1] == sorted([second.raw, third.raw])
    assert first.raw not in capability
    assert second.raw in capability
    assert listener.data == bob.data(first.raw) == []
