"""What the preset makes of a real server, one behaviour after the other: CF-8.1 to CF-8.25.

Those that hold on every preset are checks of the conformance kit, which `test_centrifugo_conformance` runs.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jwt
import pytest
from centrifugo_app import RealCentrifugo, Through
from centrifugo_server import SECRETS
from screens import PROJECT, TODOS, Screen, Screens, enter, inserted, row, shows
from starlette.requests import HTTPConnection

from realtime_preset_centrifugo._api import CentrifugoApi
from realtime_preset_centrifugo._client import Pass, open_link
from realtime_preset_centrifugo._settings import ServerSettings
from tanstack_db import DbClient, LoadSubset
from tanstack_realtime import (
    AuthenticationError,
    Channel,
    ClientContext,
    HttpResponse,
    Link,
    OpenRequest,
    PublishError,
    create_realtime_client,
)
from tanstack_realtime.server import Identity, Permissions, Publication, Realtime, bearer_token
from tanstack_realtime.testing import CHECKS, Kit, RecordingSink

HELD_BY_THE_KIT: Mapping[str, str] = {
    "CF-8.5": "a_denied_subscribe_is_reported_once",
    "CF-8.7": "a_failing_authorize_is_a_temporary_error",
    "CF-8.9": "names_that_are_not_channels_are_refused",
    "CF-8.10": "every_canonical_channel_works",
    "CF-8.11": "every_canonical_channel_works",
    "CF-8.12": "a_denied_publish_raises publishing_needs_no_subscription",
    "CF-8.13": "the_publish_route_works_and_asks_authorize",
    "CF-8.17": "a_burst_keeps_its_order",
    "CF-8.18": "the_position_is_honest a_gap_is_replayed_or_reported",
    "CF-8.21": "members_see_each_other denied_presence_is_refused",
    "CF-8.22": "the_last_of_many_updates_arrives",
    "CF-8.23": "a_member_that_dies_is_gone",
    "CF-8.24": "clients_survive_a_restart any_order_of_connect_and_disconnect_ends_well",
    "CF-8.25": "listeners_may_fail_and_change_subscriptions",
}


@pytest.mark.parametrize("behaviour", sorted(HELD_BY_THE_KIT))
def test_the_kit_holds(behaviour: str) -> None:
    assert set(HELD_BY_THE_KIT[behaviour].split()) <= {check.name for check in CHECKS}


@pytest.fixture
async def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RealCentrifugo]:
    async with RealCentrifugo(tmp_path, monkeypatch) as app:
        yield app


async def connect(app: RealCentrifugo, token: str, renewed: list[str] | None = None) -> tuple[Link, RecordingSink]:
    """Open a link with a token that the test has made."""
    sink = RecordingSink()

    async def renew() -> str:
        assert renewed is not None, "nobody asks for another token here"
        renewed.append(signed("ann"))
        return renewed[-1]

    admission = Pass(url=app.centrifugo.environ()["REALTIME_URL"], user_id="ann", token=token)
    request = OpenRequest(None, client_id="test")
    return await open_link(admission, renew, request, sink, app.capabilities), sink


def signed(user: str | None, *, secret: str = SECRETS["REALTIME_TOKEN_SECRET"], **claims: Any) -> str:
    who = {} if user is None else {"sub": user}
    return jwt.encode({**who, **claims}, secret, algorithm="HS256")


# -- who connects ------------------------------------------------------------------------------------------------------


async def test_without_a_token_nobody_gets_in(app: RealCentrifugo) -> None:  # CF-8.1
    async def none() -> str:
        return ""

    admission = Pass(url=app.centrifugo.environ()["REALTIME_URL"], user_id="", token="")
    with pytest.raises(AuthenticationError) as caught:
        await open_link(admission, none, OpenRequest(None), RecordingSink(), app.capabilities)

    assert not caught.value.retryable


async def test_a_tokens_user_is_the_publisher(app: RealCentrifugo, kit: Kit) -> None:  # CF-8.1
    channel = kit.channel()
    link, sink = await connect(app, signed("ann"))
    await link.subscribe(channel.raw, since=None)
    await link.publish(channel.raw, "me")
    await kit.until(lambda: sink.data, "the echo")
    await link.close()

    assert [message.user_id for _, message in sink.messages] == ["ann"]


async def test_a_token_without_a_user_is_refused(app: RealCentrifugo) -> None:  # CF-8.2
    with pytest.raises(AuthenticationError, match="4403"):
        await connect(app, signed(None))


async def test_a_forged_token_ends_it_for_good(app: RealCentrifugo, kit: Kit) -> None:  # CF-8.4
    class Forging(Through):
        async def __call__(
            self, method: str, url: str, /, *, headers: Mapping[str, str], body: bytes | None
        ) -> HttpResponse:
            response = await super().__call__(method, url, headers=headers, body=body)
            return HttpResponse(response.status, response.body.replace(b'"token":"', b'"token":"x'))

    http = Forging(app.http, 0, 0)
    client = kit.new_client("ann")
    client._driver._transport = app.preset.create_transport(ClientContext(url=None, environ={}, http=http))
    client.connect()
    with pytest.raises(AuthenticationError):
        await kit.soon(client.connected(), "the refusal")

    assert client.store.state.status == "disconnected"
    assert client.store.state.reason == "invalid token"


async def test_an_expired_token_is_replaced_once(app: RealCentrifugo, kit: Kit) -> None:  # CF-8.3
    class Late(Through):
        asked = 0

        async def __call__(
            self, method: str, url: str, /, *, headers: Mapping[str, str], body: bytes | None
        ) -> HttpResponse:
            response = await super().__call__(method, url, headers=headers, body=body)
            self.asked += url.endswith("/token")
            if self.asked > 1:
                return response
            old = signed("ann", exp=1_700_000_000).encode()
            return HttpResponse(200, b'{"user":"ann","url":"%s","token":"%s"}' % (address, old))

    address = app.centrifugo.environ()["REALTIME_URL"].encode()
    http = Late(app.http, 0, 0)
    client = kit.new_client("ann")
    client._driver._transport = app.preset.create_transport(ClientContext(url=None, environ={}, http=http))
    client.connect()
    await kit.soon(client.connected(), "the second token")

    assert http.asked == 2


async def test_a_token_is_renewed_while_the_connection_lives(app: RealCentrifugo, kit: Kit) -> None:  # CF-8.3
    renewed: list[str] = []

    def expiring(_: HTTPConnection) -> Identity:
        return Identity("ann", expires_in=2)

    app.realtime._gate._get_user = expiring
    access = app.access("ann")
    sink = RecordingSink()

    async def token() -> str:
        renewed.append("asked")
        return "ann"

    link = await access.transport.open(OpenRequest(access.url, "ann", {}, "test", token), sink)
    await asyncio.sleep(4.5)
    await link.ping()
    await link.close()

    assert sink.ends == []
    assert 1 <= len(renewed) <= 3


# -- publishing --------------------------------------------------------------------------------------------------------


def settings(app: RealCentrifugo, **changes: str) -> ServerSettings:
    return ServerSettings.read({**app.centrifugo.environ(), **changes})


def publication(channel: Channel, data: Any, text: str) -> Publication:
    return Publication(channel, data, text, "ann")


async def test_a_wrong_key_is_an_error(app: RealCentrifugo, kit: Kit) -> None:  # CF-8.14
    api = CentrifugoApi(settings(app, REALTIME_API_KEY="another"))
    with pytest.raises(PublishError) as caught:
        await api.publish(publication(kit.channel(), 1, "1"))
    await api.aclose()

    assert (caught.value.code, caught.value.retryable) == ("api_key", False)
    assert "another" not in str(caught.value)


async def test_an_error_with_status_200_is_an_error(
    app: RealCentrifugo, kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:  # CF-8.14
    monkeypatch.setattr("realtime_preset_centrifugo._api.DATA_PREFIX", "unknown:")
    with pytest.raises(PublishError) as caught:
        await app.realtime.publish(kit.channel(), 1)

    assert (caught.value.code, caught.value.retryable) == ("102", False)


async def test_a_server_that_is_away_is_worth_another_try(app: RealCentrifugo, kit: Kit) -> None:  # CF-8.14
    await app.centrifugo.stop()
    with pytest.raises(PublishError) as caught:
        await app.realtime.publish(kit.channel(), 1)

    assert caught.value.retryable


async def test_a_retry_is_delivered_once(app: RealCentrifugo, kit: Kit) -> None:  # CF-8.16
    channel = kit.channel()
    _, listener = await kit.listen(await kit.client("ann"), channel)
    message = {"action": "insert", "data": {"id": "t1"}, "id": "m1", "origin": "o1"}
    for _ in range(2):
        await app.realtime.publish(channel, message)
    for _ in range(2):
        await app.realtime.publish(channel, {"text": "twice"})
    await kit.heard(listener, 3, "the messages")
    await kit.quiet()

    assert listener.data == [message, {"text": "twice"}, {"text": "twice"}]


async def test_pipelined_publishes_keep_their_order(kit: Kit) -> None:  # CF-8.17
    channel = kit.channel()
    _, listener = await kit.listen(await kit.client("bob"), channel)
    link, _ = await kit.link("ann")
    await asyncio.gather(*(link.publish(channel.raw, number) for number in range(50)))
    await kit.heard(listener, 50, "all of them")

    assert listener.data == list(range(50))


# -- collections -------------------------------------------------------------------------------------------------------


async def test_an_own_echo_is_known_and_another_tab_applies_it(kit: Kit, screens: Screens) -> None:  # CF-8.15
    ann, tab = await screens.open(), await screens.open()
    await ann.todos.insert(row("t1")).persisted()
    await kit.until(lambda: tab.ids == ["t1"], "the other tab has the row")
    await kit.until(lambda: ann.todos.statistics().messages, "the echo")
    await kit.quiet()

    own, other = ann.todos.statistics(), tab.todos.statistics()
    assert (own.messages, own.echoes, own.applied) == (1, 1, 0)
    assert (other.messages, other.echoes, other.applied) == (1, 0, 1)
    assert ann.ids == ["t1"]


async def test_a_short_interruption_costs_no_query(app: RealCentrifugo, kit: Kit, screens: Screens) -> None:  # CF-8.18
    ann = await screens.open()
    reads = screens.table.reads
    ann.client.disconnect()
    await kit.quiet()
    for number in range(3):
        await app.realtime.publish(TODOS, inserted(f"t{number}"))
    ann.client.connect()
    await kit.until(lambda: ann.ids == ["t0", "t1", "t2"], "what was missed")
    await kit.quiet()

    assert screens.table.reads == reads
    assert ann.is_live


@pytest.mark.parametrize("how", ["overrun", "restart"])
async def test_a_long_interruption_costs_one_query(
    app: RealCentrifugo, kit: Kit, screens: Screens, how: str
) -> None:  # CF-8.19
    ann = await screens.open()
    reads = screens.table.reads
    ann.client.disconnect()
    await kit.quiet()
    screens.table.rows = {key: row(key) for key in ("t0", "t1")}
    if how == "restart":
        await app.restart()
    else:
        for number in range(app.capabilities.history + 1):
            await app.realtime.publish(TODOS, {"action": "delete", "key": f"no-{number}", "data": None})
    ann.client.connect()
    await kit.until(lambda: ann.ids == ["t0", "t1"], "what the database has")
    await kit.until(lambda: ann.is_live, "it is live again")
    await kit.quiet()

    assert screens.table.reads == reads + 1


async def test_what_happens_during_the_query_is_not_lost(
    app: RealCentrifugo, kit: Kit, screens: Screens
) -> None:  # CF-8.20
    screens.table.gate.clear()
    ann = Screen(await kit.client("ann"), screens.table)
    screens.made.append(ann)
    await kit.until(lambda: screens.table.reads, "the query has read the database")
    await app.realtime.publish(TODOS, inserted("late"))
    await kit.quiet()
    screens.table.gate.set()
    await kit.until(lambda: ann.ids == ["late"], "the row that came meanwhile")


# -- presence ----------------------------------------------------------------------------------------------------------


async def test_a_late_joiner_knows_the_last_state_soon(kit: Kit) -> None:  # CF-8.22
    channel = kit.channel()
    hers = enter(await kit.client("ann"), channel, {"x": 0})
    await kit.soon(hers.live(), "ann is there")
    for x in range(1, 30):
        hers.update(x=x)
        await asyncio.sleep(0.01)
    for state in ({"x": "bob"}, None):
        late = enter(await kit.client("bob"), channel, state)
        await kit.soon(late.live(), "bob is there")
        await kit.until(partial(shows, late, {"x": 29}), "her last state", within=1.0)


async def test_who_closes_the_socket_is_gone_at_once(app: RealCentrifugo, kit: Kit) -> None:  # CF-8.23
    channel = kit.channel()
    ann = await kit.client("ann")
    hers = enter(ann, channel, {"name": "Ann"})
    his = enter(await kit.client("bob"), channel, None)
    await kit.soon(hers.live(), "ann is there")
    await kit.until(lambda: his.others, "bob sees ann")
    ann.disconnect()
    await kit.until(lambda: not his.others, "ann is gone", within=1.0)


async def test_a_watcher_cannot_be_a_member_by_talking(kit: Kit) -> None:  # CF-8.21
    channel = kit.channel()
    hers = enter(await kit.client("ann"), channel, {"name": "Ann"})
    await kit.soon(hers.live(), "ann is there")
    bob = await kit.client("bob")
    watching = enter(bob, channel, None)
    await kit.soon(watching.live(), "bob watches")
    link: Any = bob._driver.link
    await link._client.publish(f"rtp:{channel.raw}", {"k": "s", "n": 9, "s": {"name": "Ghost"}})
    await kit.quiet()

    assert list(hers.others) == []


# -- the end, and after it ---------------------------------------------------------------------------------------------


async def test_clients_converge_after_a_kill(app: RealCentrifugo, kit: Kit, screens: Screens) -> None:  # CF-8.24
    ann, bob = await screens.open(), await screens.open("bob")
    await ann.todos.insert(row("before")).persisted()
    await kit.until(lambda: bob.ids == ["before"], "a row")
    await app.centrifugo.stop(signal.SIGKILL)
    await kit.until(lambda: not ann.client.is_connected and not bob.client.is_connected, "both notice")
    pending = ann.todos.insert(row("meanwhile"))
    await asyncio.sleep(0.5)
    await app.centrifugo.start()
    await pending.persisted()
    await kit.until(lambda: ann.client.is_connected and bob.client.is_connected, "both are back", within=30.0)
    await kit.until(lambda: ann.ids == bob.ids == ["before", "meanwhile"], "both show the same", within=30.0)
    await bob.todos.insert(row("after")).persisted()
    await kit.until(lambda: ann.ids == bob.ids == ["after", "before", "meanwhile"], "it goes on", within=30.0)


async def test_a_disconnected_client_does_not_come_back(app: RealCentrifugo, kit: Kit) -> None:  # CF-8.24
    ann = await kit.client("ann")
    ann.disconnect()
    await app.restart()
    await kit.quiet()

    assert ann.store.state.status == "disconnected"


async def test_a_listener_that_publishes_holds_up_nobody(kit: Kit) -> None:  # CF-8.25
    channel = kit.channel()
    ann = await kit.client("ann")
    heard: list[Any] = []

    def answer(message: Any) -> None:
        heard.append(message.data)
        if message.data == 1:
            ann.publish_soon(channel, "an answer from within")
            raise ValueError("and then it fails")

    await kit.soon(ann.subscribe(channel, answer).live(), "it is live")
    _, other = await kit.listen(await kit.client("bob"), channel)
    await kit.provider.publish(channel, 1)
    await kit.provider.publish(channel, 2)
    await kit.until(lambda: len(other.data) == len(heard) == 3, "everything arrives", within=2.0)

    assert ann.is_connected
    assert [str(error) for error in kit.errors] == ["and then it fails"]


async def test_everything_can_be_taken_from_a_user(app: RealCentrifugo, kit: Kit) -> None:
    ann, bob = await kit.client("ann"), await kit.client("bob")
    await app.realtime.revoke(kit.user("ann"))
    await kit.until(lambda: ann.store.state.status == "disconnected", "ann is out")
    await kit.quiet()

    assert ann.store.state.reason == "access revoked"
    assert bob.is_connected


async def test_clients_of_the_servers_own_process_need_no_http(app: RealCentrifugo, kit: Kit, screens: Screens) -> None:
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


async def test_another_worker_reaches_the_same_clients(app: RealCentrifugo, kit: Kit) -> None:
    def authorize(user_id: str, channel: Channel) -> Permissions:
        return app.authorize(user_id, channel)  # type: ignore[return-value]

    other = Realtime(authorize=authorize, get_user=bearer_token, preset=app.preset)  # no lifespan, no server
    channel = kit.channel()
    _, listener = await kit.listen(await kit.client("ann"), channel)
    await other.publish(channel, "from another worker")
    await kit.heard(listener, 1, "its message")
    kit.refuse("ann", channel, "subscribe")
    await other.revoke(kit.user("ann"), channel)
    await kit.until(lambda: listener.heard("denied"), "its revocation")
    await other.aclose()

    assert listener.data == ["from another worker"]


async def test_who_slips_in_during_a_revocation_by_another_worker_is_thrown_out(app: RealCentrifugo, kit: Kit) -> None:
    def authorize(user_id: str, channel: Channel) -> Permissions:
        return app.authorize(user_id, channel)  # type: ignore[return-value]

    other = Realtime(authorize=authorize, get_user=bearer_token, preset=app.preset)
    channel = kit.channel()
    ann = await kit.client("ann")
    await other.revoke(kit.user("ann"), channel)
    _, listener = await kit.listen(ann, channel)  # decided before the revocation, as it were
    kit.refuse("ann", channel, "subscribe")
    await kit.until(lambda: listener.heard("denied"), "the second look", within=8.0)
    await other.aclose()
