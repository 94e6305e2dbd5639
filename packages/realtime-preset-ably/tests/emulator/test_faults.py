"""What tests do to clients."""

from __future__ import annotations

import pytest

from realtime_preset_ably.emulator._errors import AblyError
from realtime_preset_ably.emulator._simulated import World
from realtime_preset_ably.emulator._wire import Action, Frame

ERROR = AblyError("because", 50000)


@pytest.fixture
def world() -> World:
    return World()


def test_dropped_sockets_can_be_resumed(world: World) -> None:
    mine, yours = world.connect(clientId="me"), world.connect(clientId="you")

    assert world.realtime.faults.drop_transports("me") == 1
    assert (mine.outbox.close_code, yours.outbox.close_code) == (1011, None)
    assert [frame["action"] for frame in mine.heard] == [Action.CONNECTED]
    mine.lose()
    assert "error" not in world.resume(mine, clientId="me").heard[0]


def test_a_frozen_socket_is_open_and_silent_in_both_directions(world: World) -> None:
    publisher, reader = world.connect(), world.connect(clientId="me")
    reader.attach()
    world.realtime.faults.freeze("me")
    publisher.publish(0, "1")
    assert reader.publish(0, "2") == []
    assert (reader.data(), reader.outbox.is_open) == ([], True)

    world.realtime.faults.thaw()
    assert reader.data() == ["1"]
    assert reader.send(Action.HEARTBEAT) == [{"action": 0}]


def test_new_connections_are_refused_a_number_of_times(world: World) -> None:
    faults = world.realtime.faults
    faults.refuse_connections(count=1)
    with pytest.raises(ConnectionRefusedError):
        world.connect()
    assert world.connect().connection is not None

    faults.refuse_connections(ERROR)
    assert [world.connect().heard[0]["error"]["code"] for _ in range(3)] == [50000] * 3
    faults.accept_connections()
    assert world.connect().connection is not None


@pytest.mark.parametrize(("code", "action"), [(40101, Action.ERROR), (80003, Action.DISCONNECTED)])
def test_a_refusal_that_may_pass_is_no_failure(world: World, code: int, action: Action) -> None:
    world.realtime.faults.refuse_connections(AblyError("no", code))

    assert world.connect().heard[0]["action"] == action


def test_disconnected_and_failed_connections(world: World) -> None:
    mine, yours = world.connect(clientId="me"), world.connect(clientId="you")
    world.realtime.faults.disconnect(client_id="me")
    world.realtime.faults.fail_connections(ERROR)

    assert (mine.heard[-1]["action"], mine.heard[-1]["error"]["statusCode"]) == (Action.DISCONNECTED, 400)
    assert "error" not in world.resume(mine, clientId="me").heard[0]
    assert (yours.heard[-1]["action"], yours.heard[-1]["error"]["code"]) == (Action.ERROR, 50000)
    assert "error" in world.resume(yours, clientId="you").heard[0]


def test_lost_state_resumes_neither_connections_nor_channels(world: World) -> None:
    socket, away = world.connect(), world.connect()
    serial = socket.attach()[0]["channelSerial"]
    away.lose()
    world.realtime.faults.forget_state()

    assert world.realtime.connections() == []
    assert socket.outbox.close_code == 1011
    again = world.resume(socket)
    assert again.heard[0]["error"]["code"] == 80018
    assert world.resume(away).heard[0]["error"]["code"] == 80018
    assert again.attach(channelSerial=serial)[0]["error"]["code"] == 90005


def test_lost_connections_alone_leave_channels_to_be_resumed(world: World) -> None:
    socket = world.connect()
    serial = socket.attach()[0]["channelSerial"]
    world.connect().publish(0, "1")
    world.realtime.faults.forget_connections()
    again = world.resume(socket)
    again.attach(channelSerial=serial)

    assert again.heard[0]["error"]["code"] == 80018
    assert again.data() == ["1"]


@pytest.mark.parametrize(("fault", "code"), [("expire_tokens", 40142), ("revoke_tokens", 40141)])
def test_tokens_end_early(world: World, fault: str, code: int) -> None:
    token = world.token(client_id="u")
    socket, by_key = world.connect(accessToken=token), world.connect(clientId="u")
    getattr(world.realtime.faults, fault)("u")

    assert (socket.heard[-1]["action"], socket.heard[-1]["error"]["code"]) == (Action.DISCONNECTED, code)
    assert by_key.outbox.is_open
    assert world.resume(socket, accessToken=token).heard[0]["error"]["code"] == code
    assert "error" not in world.resume(socket, accessToken=world.token(client_id="u")).heard[0]


def test_tokens_are_asked_for(world: World) -> None:
    socket = world.connect()
    world.realtime.faults.prompt_for_tokens()

    assert socket.heard[-1] == {"action": Action.AUTH}


def test_channels_are_detached_and_failed_under_the_clients_name(world: World) -> None:
    plain, qualified, other = world.connect(), world.connect(), world.connect()
    plain.attach()
    qualified.attach("[?rewind=1]c")
    other.attach("d")
    assert world.realtime.faults.detach("c") == 2

    assert plain.heard[-1] == {"action": Action.DETACHED, "channel": "c"}
    assert qualified.heard[-1] == {"action": Action.DETACHED, "channel": "[?rewind=1]c"}
    world.realtime.faults.fail_channel("d", ERROR)
    assert (other.heard[-1]["action"], other.heard[-1]["error"]["code"]) == (Action.ERROR, 50000)
    world.connect().publish(0, "1")
    assert plain.data() == []


def test_answers_are_held_and_released_to_the_socket_that_asked(world: World) -> None:
    faults, reader, publisher = world.realtime.faults, world.connect(), world.connect()
    reader.attach()
    faults.hold_acks()
    assert publisher.publish(0, "1") == []
    assert reader.data() == ["1"]
    publisher.outbox.close()
    publisher.lose()
    again = world.resume(publisher)
    assert again.publish(0, "1") == []
    faults.release_acks()

    assert publisher.of(Action.ACK) == []
    assert [ack["msgSerial"] for ack in again.of(Action.ACK)] == [0]
    assert reader.data() == ["1"]
    assert again.publish(1, "2")[0]["action"] == Action.ACK


def test_publishes_are_refused_a_number_of_times(world: World) -> None:
    faults, reader, publisher = world.realtime.faults, world.connect(), world.connect()
    reader.attach()
    faults.nack(ERROR, count=2)
    answers = [publisher.publish(number, str(number))[0] for number in range(3)]

    assert [answer["action"] for answer in answers] == [Action.NACK, Action.NACK, Action.ACK]
    assert answers[0]["error"]["code"] == 50000
    assert reader.data() == ["2"]
    faults.nack()
    assert [publisher.publish(number, "x")[0]["action"] for number in (4, 5, 6)] == [Action.NACK] * 3
    faults.stop_nack()
    assert publisher.publish(7, "x")[0]["action"] == Action.ACK


def test_a_server_that_hangs_sends_no_heartbeats_and_answers_no_pings(world: World) -> None:
    socket = world.connect()
    world.realtime.faults.heartbeats = False
    world.advance(60)
    assert socket.send(Action.HEARTBEAT, id="x") == []
    assert socket.of(Action.HEARTBEAT) == []

    world.realtime.faults.heartbeats = True
    world.advance(10)
    assert len(socket.of(Action.HEARTBEAT)) == 1


def test_time_passes_at_once(world: World) -> None:
    socket = world.connect(accessToken=world.token(ttl=60_000))
    world.realtime.faults.advance(31)

    assert len(socket.of(Action.AUTH)) == 1


def test_any_protocol_message_is_sent_and_changes_nothing(world: World) -> None:
    mine, yours = world.connect(clientId="me"), world.connect(clientId="you")

    assert world.realtime.faults.send(Frame(Action.DISCONNECTED), client_id="me") == 1
    assert mine.heard[-1] == {"action": Action.DISCONNECTED}
    assert mine.outbox.is_open
    assert len(yours.heard) == 1
