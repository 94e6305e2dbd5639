"""The life of a connection: greeting, resuming, tokens, silence, the end."""

from __future__ import annotations

import pytest

from realtime_preset_ably.emulator._connection import TRANSITIONS, Event, Phase
from realtime_preset_ably.emulator._simulated import World
from realtime_preset_ably.emulator._wire import Action


@pytest.fixture
def world() -> World:
    return World()


def test_a_key_connects_as_nobody_in_particular(world: World) -> None:
    socket = world.connect()
    (greeting,) = socket.heard

    assert greeting["action"] == Action.CONNECTED
    assert greeting["connectionId"]
    assert greeting["connectionKey"] == socket.details["connectionKey"]
    assert "error" not in greeting
    assert "clientId" not in socket.details
    assert (socket.details["connectionStateTtl"], socket.details["maxIdleInterval"]) == (120_000, 15_000)


def test_a_token_says_who_the_client_is(world: World) -> None:
    assert world.connect(accessToken=world.token(client_id="u")).details["clientId"] == "u"
    assert world.connect(accessToken=world.token(client_id="*")).details["clientId"] == "*"
    assert "clientId" not in world.connect(accessToken=world.token()).details
    assert world.connect(clientId="me").details["clientId"] == "me"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"key": "app.key:wrong"}, 40101),
        ({"key": "nonsense"}, 40101),
        ({"key": ""}, 40101),
        ({"accessToken": "x"}, 40101),
        ({"clientId": "*"}, 40012),
        ({"remainPresentFor": "soon"}, 40003),
    ],
)
def test_who_cannot_enter_is_told_and_closed(world: World, query: dict[str, str], code: int) -> None:
    socket = world.connect(**query)

    assert socket.connection is None
    assert [(frame["action"], frame["error"]["code"]) for frame in socket.heard] == [(Action.ERROR, code)]
    assert socket.outbox.close_code == 1000


def test_a_token_of_another_client_does_not_connect(world: World) -> None:
    token = world.token(client_id="u")

    assert world.connect(accessToken=token, clientId="v").heard[0]["error"]["code"] == 40102


def test_an_expired_token_does_not_connect(world: World) -> None:
    token = world.token(ttl=1000)
    world.advance(1)

    assert world.connect(accessToken=token).heard[0]["error"]["code"] == 40142


def test_a_lost_connection_is_resumed_under_its_id_with_another_key(world: World) -> None:
    first = world.connect()
    first.lose()
    world.advance(119.999)
    second = world.resume(first)

    assert "error" not in second.heard[0]
    assert second.heard[0]["connectionId"] == first.heard[0]["connectionId"]
    assert second.details["connectionKey"] != first.details["connectionKey"]


def test_the_key_before_the_last_still_resumes(world: World) -> None:
    """A client that lost its socket before it saw CONNECTED has only that one."""
    first = world.connect()
    world.resume(first).lose()

    assert world.resume(first).heard[0]["connectionId"] == first.heard[0]["connectionId"]


def test_a_connection_that_was_away_for_too_long_is_another_one(world: World) -> None:
    first = world.connect()
    first.lose()
    world.advance(120)
    second = world.resume(first)

    assert second.heard[0]["error"]["code"] == 80018
    assert second.heard[0]["connectionId"] != first.heard[0]["connectionId"]
    assert len(world.realtime.connections()) == 1


@pytest.mark.parametrize("key", ["", "x", "x!y", "!"])
def test_keys_that_name_no_connection(world: World, key: str) -> None:
    assert ("error" in world.connect(recover=key).heard[0]) is bool(key)


def test_an_id_without_the_right_key_does_not_resume(world: World) -> None:
    first = world.connect()

    assert world.connect(resume=f"{first.heard[0]['connectionId']}!x").heard[0]["error"]["code"] == 80018


def test_nobody_resumes_anothers_connection(world: World) -> None:
    first = world.connect(accessToken=world.token(client_id="u"))

    stolen = world.resume(first, accessToken=world.token(client_id="v"))
    assert stolen.heard[0]["error"]["code"] == 40102
    abroad = world.resume(first, key="other.key:secret")
    assert abroad.heard[0]["error"]["code"] == 80018
    assert world.resume(first, accessToken=world.token(client_id="u")).heard[0]["action"] == Action.CONNECTED


def test_resuming_takes_the_connection_from_a_socket_that_seems_alive(world: World) -> None:
    first = world.connect()
    second = world.resume(first)
    assert first.outbox.close_code is not None

    first.lose()
    world.advance(121)
    assert second.send(Action.HEARTBEAT, id="x") == [{"action": 0, "id": "x"}]
    assert first.send(Action.HEARTBEAT) == []


def test_the_server_is_never_silent_for_longer_than_it_said(world: World) -> None:
    socket, eager = world.connect(), world.connect(heartbeatInterval="3000")
    assert eager.details["maxIdleInterval"] == 3000
    world.advance(61)

    assert len(socket.of(Action.HEARTBEAT)) == 6
    assert len(eager.of(Action.HEARTBEAT)) == 30


def test_the_interval_that_a_client_asks_for_has_bounds(world: World) -> None:
    assert world.connect(heartbeatInterval="1").details["maxIdleInterval"] == 1000
    assert world.connect(heartbeatInterval="9" * 50).details["maxIdleInterval"] == 60_000


def test_a_lost_socket_gets_no_heartbeats(world: World) -> None:
    socket = world.connect()
    socket.lose()
    world.advance(60)

    assert socket.of(Action.HEARTBEAT) == []


def test_close_ends_the_connection(world: World) -> None:
    socket = world.connect()

    assert socket.send(Action.CLOSE) == [{"action": Action.CLOSED}]
    assert socket.outbox.close_code == 1000
    assert world.resume(socket).heard[0]["error"]["code"] == 80018
    assert socket.send(Action.HEARTBEAT) == []


@pytest.mark.parametrize("action", [Action.CONNECTED, Action.ACK, Action.ATTACHED, Action.ACTIVATE, Action.DISCONNECT])
def test_what_clients_do_not_send_disconnects_them(world: World, action: Action) -> None:
    (frame,) = world.connect().send(action)

    assert (frame["action"], frame["error"]["code"], frame["error"]["statusCode"]) == (Action.DISCONNECTED, 40000, 400)


def test_noise_disconnects_and_the_connection_can_be_resumed(world: World) -> None:
    socket = world.connect()
    assert socket.connection is not None
    world.realtime.receive(socket.connection, socket.outbox, "{")

    assert socket.heard[-1]["action"] == Action.DISCONNECTED
    assert socket.outbox.close_code is not None
    assert "error" not in world.resume(socket).heard[0]


def test_a_client_is_asked_for_a_new_token_and_may_swap_it(world: World) -> None:
    socket = world.connect(accessToken=world.token(ttl=60_000))
    world.advance(29.999)
    assert socket.of(Action.AUTH) == []
    world.advance(0.001)
    assert len(socket.of(Action.AUTH)) == 1

    (greeting,) = socket.send(Action.AUTH, auth={"accessToken": world.token(ttl=60_000)})
    assert greeting["action"] == Action.CONNECTED
    assert greeting["connectionId"] == socket.heard[0]["connectionId"]
    world.advance(59)
    assert len(socket.of(Action.AUTH)) == 2
    assert socket.of(Action.DISCONNECTED) == []


def test_an_expired_token_disconnects_and_another_resumes(world: World) -> None:
    socket = world.connect(accessToken=world.token(ttl=60_000))
    world.advance(60)
    (frame,) = socket.of(Action.DISCONNECTED)

    assert (frame["error"]["code"], frame["error"]["statusCode"]) == (40142, 401)
    assert socket.outbox.close_code is not None
    assert "error" not in world.resume(socket, accessToken=world.token()).heard[0]


def test_a_token_shorter_than_the_margin_just_ends(world: World) -> None:
    socket = world.connect(accessToken=world.token(ttl=30_000))
    world.advance(30)

    assert socket.of(Action.AUTH) == []
    assert len(socket.of(Action.DISCONNECTED)) == 1


@pytest.mark.parametrize(
    ("auth", "code"), [({}, 40000), ({"accessToken": 5}, 40000), ({"accessToken": "x"}, 40101), (None, 40000)]
)
def test_a_token_that_cannot_be_ends_the_connection(world: World, auth: object, code: int) -> None:
    socket = world.connect()
    (frame,) = socket.send(Action.AUTH, auth=auth)

    assert (frame["action"], frame["error"]["code"]) == (Action.ERROR, code)
    assert world.resume(socket).heard[0]["error"]["code"] == 80018


def test_an_expired_token_in_auth_is_no_token_error(world: World) -> None:
    """A token error would make clients ask for a token for ever."""
    socket, token = world.connect(), world.token(ttl=1000)
    world.advance(1)

    assert socket.send(Action.AUTH, auth={"accessToken": token})[0]["error"]["code"] == 40101


@pytest.mark.parametrize(("before", "after"), [("u", "v"), ("u", None), (None, "u")])
def test_a_connection_stays_the_clients(world: World, before: str | None, after: str | None) -> None:
    socket = world.connect(accessToken=world.token(client_id=before))
    (frame,) = socket.send(Action.AUTH, auth={"accessToken": world.token(client_id=after)})

    assert (frame["action"], frame["error"]["code"]) == (Action.ERROR, 40102)


def test_a_revoked_token_disconnects_at_once_or_after_a_prompt(world: World) -> None:
    now, later, other = (world.connect(accessToken=world.token(client_id=name)) for name in ("u", "v", "w"))
    world.advance(1)
    world.authority.revoke("app.key", ["clientId:u"])
    world.authority.revoke("app.key", ["clientId:v"], allow_reauth_margin=True)

    assert [frame["error"]["code"] for frame in now.of(Action.DISCONNECTED)] == [40141]
    assert (len(later.of(Action.AUTH)), later.of(Action.DISCONNECTED)) == (1, [])
    world.advance(30)
    assert [frame["error"]["code"] for frame in later.of(Action.DISCONNECTED)] == [40141]
    assert other.of(Action.DISCONNECTED) == []


def test_who_renews_within_the_margin_stays(world: World) -> None:
    socket = world.connect(accessToken=world.token(client_id="u"))
    world.advance(1)
    world.authority.revoke("app.key", ["clientId:u"], allow_reauth_margin=True)
    socket.send(Action.AUTH, auth={"accessToken": world.token(client_id="u")})
    world.advance(60)

    assert socket.of(Action.DISCONNECTED) == []


def test_connections_are_bounded_and_lost_ones_make_room() -> None:
    world = World(connections=2)
    first, second = world.connect(), world.connect()
    assert world.connect().heard[0]["error"]["code"] == 40114

    second.lose()
    third = world.connect()
    assert third.heard[0]["action"] == Action.CONNECTED
    assert world.resume(second).heard[0]["error"]["code"] == 40114
    assert first.outbox.is_open


def test_a_deleted_app_ends_its_connections(world: World) -> None:
    here, there = world.connect(), world.connect(key="other.key:secret")
    here.attach()
    world.realtime.forget_app("app")

    assert here.heard[-1]["error"]["code"] == 40101
    assert there.outbox.is_open
    assert len(world.realtime.connections()) == 1


def test_every_phase_can_be_reached_and_nothing_leads_back_from_the_end() -> None:
    assert {phase for phase, _ in TRANSITIONS} == {Phase.LINKED, Phase.ADRIFT}
    assert set(TRANSITIONS.values()) == set(Phase)
    assert {event for _, event in TRANSITIONS} == set(Event)


def test_the_clients_key_finds_its_connection(world: World) -> None:
    socket = world.connect(clientId="me")

    assert world.realtime.connection(socket.details["connectionKey"]) == (socket.heard[0]["connectionId"], "me")
    assert world.realtime.connection("x!y") is None
