"""Frames from and to JSON: both ends agree, and nothing that a stranger sends does more than raise `BadFrameError`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from realtime_preset_node._frames import (
    BadFrameError,
    ClientFrame,
    CloseCode,
    ErrorFrame,
    Hello,
    Messages,
    Ok,
    Ping,
    Pong,
    PresenceChange,
    PresenceJoin,
    PresenceLeave,
    PresenceMember,
    PresenceObserve,
    PresenceRevoked,
    PresenceSnapshot,
    PresenceUnobserve,
    PresenceUpdate,
    Publish,
    Revoked,
    ServerFrame,
    Subscribe,
    Subscription,
    UnknownFrame,
    Unsubscribe,
    Welcome,
)
from realtime_preset_node._protocol import (
    client_frame,
    error_frame,
    messages_body,
    messages_frame,
    ok_frame,
    parse_client_frame,
    parse_server_frame,
    ping_frame,
    pong_frame,
    presence_change_frame,
    presence_frame,
    presence_member,
    presence_revoked_frame,
    revoked_frame,
    subscription_frame,
    welcome_frame,
)
from tanstack_realtime import Channel, RealtimeError
from tanstack_realtime._json import MAX_DEPTH, encode_json

_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_ids = st.integers(0, 2**53 - 1)
_json: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=10,
)


def _wire(namespace: str, params: dict[str, str]) -> str:
    return Channel(namespace, params).raw


_characters = st.characters(exclude_categories=["Cs"])
_channels = st.builds(
    _wire,
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5),
    st.dictionaries(
        st.sampled_from(["a", "ü", '"', "\\"]), st.text(st.characters(exclude_categories=["Cs"]), max_size=3)
    ),
)
_states = st.dictionaries(_text, _json, max_size=3)
_client_frames: st.SearchStrategy[ClientFrame] = st.one_of(
    st.builds(Hello, st.lists(st.integers(-5, 5), min_size=1).map(tuple), st.none() | _text, _text),
    st.builds(Subscribe, _ids, _channels, st.none() | st.tuples(_text, _ids)),
    st.builds(Unsubscribe, _ids, _channels),
    st.builds(Publish, _ids, _channels, _json),
    st.builds(PresenceJoin, _ids, _channels, _states),
    st.builds(PresenceUpdate, _ids, _channels, _states),
    st.builds(PresenceLeave, _ids, _channels),
    st.builds(PresenceObserve, _ids, _channels),
    st.builds(PresenceUnobserve, _ids, _channels),
    st.builds(Ping, st.none() | _ids),
    st.builds(Pong, st.none() | _ids),
)


@given(_client_frames)
@example(Publish(1, "a", None))
@example(Publish(1, "a", 0))
def test_the_server_reads_what_the_client_writes(frame: ClientFrame) -> None:
    """Kills: `has` used where `null` is a value, so that a publish of null lost its data; a forgotten member."""
    text = client_frame(frame)
    assert parse_client_frame(text) == frame
    assert "\n" not in text  # the separator of frames


@given(_ids, _channels, _json, st.none() | st.integers(0, 2))
def test_a_publish_means_the_same_however_it_is_written(
    number: int, channel: str, data: Any, indent: int | None
) -> None:
    """Kills: an end of the payload that is off by one; text that another parser reads as another payload."""
    quick = parse_client_frame(client_frame(Publish(number, channel, data)))
    members = {"channel": channel, "data": data, "id": number, "type": "publish"}
    assert quick == parse_client_frame(json.dumps(members, indent=indent)) == Publish(number, channel, data)
    assert isinstance(quick, Publish)
    assert quick.text in (None, encode_json(data))


_QUICK = '{"type":"publish","id":1,"channel":"a","data":'


@pytest.mark.parametrize(
    ("tail", "text"),
    [
        ("1}", "1"),
        ('{"a":"}"}}', '{"a":"}"}'),
        ("1 }", None),
        ('1,"new":2}', None),
        ('1,"data":2}', None),
        ('"\\u00e9"}', None),
    ],
)
def test_a_payload_is_passed_on_as_it_came_where_that_is_plain(tail: str, text: str | None) -> None:
    frame = parse_client_frame(_QUICK + tail)
    assert isinstance(frame, Publish)
    assert (frame.text, frame.data) == (text, json.loads(_QUICK + tail)["data"])


@pytest.mark.parametrize("tail", ["1", "1}}", "NaN}", "}", "1]", "", '"\ud800"'])
def test_what_only_begins_like_a_publish_is_refused(tail: str) -> None:
    with pytest.raises(BadFrameError):
        parse_client_frame(_QUICK + tail)


@given(
    _channels,
    st.integers(1, 2**53 - 1),
    st.lists(_json, min_size=1, max_size=3),
    st.none() | st.text(max_size=5),
    st.booleans(),
    st.integers(0, 3),
)
def test_the_client_reads_messages(
    channel: str, offset: int, data: list[Any], user: str | None, own: bool, superseded: int
) -> None:
    """Kills: an unescaped user id; `own` written as False; a newline inside a frame."""
    body = messages_body(offset, map(encode_json, data), user)
    frame = messages_frame(channel, body, own=own, superseded=superseded)
    assert parse_server_frame(frame) == Messages(channel, offset, data, user, own, superseded)
    assert "\n" not in frame


@given(_channels, _ids, _text, st.none() | st.booleans(), st.lists(st.tuples(_json, st.none() | _text), max_size=3))
def test_the_client_reads_an_acknowledgement(
    channel: str, number: int, epoch: str, recovered: bool | None, missed: list[tuple[Any, str | None]]
) -> None:
    """Kills: replayed bodies joined without braces; `recovered` false left out."""
    bodies = [messages_body(at, [encode_json(data)], user) for at, (data, user) in enumerate(missed, 1)]
    frame = subscription_frame(number, channel, epoch, len(missed), recovered, bodies)
    runs = tuple(Messages(channel, at, [data], user) for at, (data, user) in enumerate(missed, 1))
    assert parse_server_frame(frame) == Subscription(number, channel, epoch, len(missed), recovered, runs)


_WELCOME = Welcome(1, "c1", "u1", "node", 25.0, 10.0, 65536)


@pytest.mark.parametrize(
    ("text", "frame"),
    [
        (welcome_frame(_WELCOME), _WELCOME),
        (ok_frame(7), Ok(7)),
        (ping_frame(), Ping()),
        (pong_frame(3), Pong(3)),
        (revoked_frame("a:b=1", "denied", 'no "more"'), Revoked("a:b=1", "denied", 'no "more"')),
        (error_frame(4, RealtimeError("x", code="denied")), ErrorFrame(4, "denied", "x", retryable=False)),
        (error_frame(None, RealtimeError("x", retryable=True)), ErrorFrame(None, "error", "x", retryable=True)),
        ('{"type":"from.the.future","id":9,"x":[]}', UnknownFrame("from.the.future", 9)),
    ],
)
def test_the_client_reads_the_other_frames(text: str, frame: ServerFrame) -> None:
    assert parse_server_frame(text) == frame


@pytest.mark.parametrize("parse", [parse_client_frame, parse_server_frame])
def test_unknown_members_are_ignored(parse: Callable[[str], ClientFrame | ServerFrame]) -> None:
    assert parse('{"type":"ping","id":1,"new":{"deep":[1]}}') == Ping(1)
    assert parse('{"type":"goodbye","channel":7}') == UnknownFrame("goodbye")


def test_a_payload_may_be_as_deep_as_the_gate_allows() -> None:
    data: Any = 0
    for _ in range(MAX_DEPTH):
        data = [data]
    assert parse_client_frame(client_frame(Publish(1, "a", data))) == Publish(1, "a", data)
    body = messages_body(1, [encode_json(data)], None)
    assert parse_server_frame(subscription_frame(1, "a", "e", 1, True, [body])).__class__ is Subscription


@pytest.mark.parametrize(
    ("text", "reason", "number"),
    [
        ("", "not JSON", None),
        ("nonsense", "not JSON", None),
        ('{"type":"ping","id":NaN}', "not JSON", None),
        ("[" * 100_000, "levels deep", None),
        ("[]", "a JSON object", None),
        ("null", "a JSON object", None),
        ("{}", "'type' is missing", None),
        ('{"type":7,"id":1}', "'type' must be a string", 1),
        ('{"type":"subscribe","channel":"a"}', "'id' is missing", None),
        ('{"type":"subscribe","id":true,"channel":"a"}', "'id' must be an integer", None),
        ('{"type":"subscribe","id":-1,"channel":"a"}', "'id' must be an integer", None),
        ('{"type":"subscribe","id":1e3,"channel":"a"}', "'id' must be an integer", None),
        ('{"type":"subscribe","id":9007199254740992,"channel":"a"}', "'id' must be an integer", None),
        ('{"type":"subscribe","id":5}', "'channel' is missing", 5),
        ('{"type":"subscribe","id":5,"channel":["a"]}', "'channel' must be a string", 5),
        ('{"type":"subscribe","id":5,"channel":"a","since":3}', "'since' must be an object", 5),
        ('{"type":"subscribe","id":5,"channel":"a","since":{"epoch":"e"}}', "'offset' is missing", 5),
        ('{"type":"subscribe","id":5,"channel":"a","since":{"epoch":"e","offset":"1"}}', "'offset' must be", 5),
        ('{"type":"publish","id":5,"channel":"a"}', "'data' is missing", 5),
        ('{"type":"hello","versions":1}', "'versions' must be an array", None),
        ('{"type":"hello","versions":[]}', "'versions' must be a non-empty", None),
        ('{"type":"hello","versions":[true]}', "'versions' must be a non-empty", None),
        ('{"type":"hello","versions":[1],"token":7}', "'token' must be a string", None),
    ],
)
def test_a_broken_frame_says_what_is_wrong_and_keeps_its_id(  # S14
    text: str, reason: str, number: int | None
) -> None:
    with pytest.raises(BadFrameError, match=reason) as caught:
        parse_client_frame(text)
    assert caught.value.id == number


_members = st.dictionaries(
    st.sampled_from(
        ["type", "id", "channel", "data", "since", "versions", "token", "epoch", "offset", "missed", "own"]
    ),
    _json | st.sampled_from(["hello", "subscribe", "publish", "messages", "subscribed", "welcome", "error", "ok"]),
)


@given(st.text() | _members.map(json.dumps) | _json.map(json.dumps))
def test_nothing_but_bad_frame_comes_out_of_a_strangers_text(text: str) -> None:  # S14
    """Kills: any unchecked member access in the parsers (KeyError, TypeError, AttributeError)."""
    for parse in (parse_client_frame, parse_server_frame):
        with contextlib.suppress(BadFrameError):
            parse(text)


def test_only_4400_to_4499_are_final() -> None:  # C12
    final = {code for code in range(1000, 5000) if CloseCode.is_final(code)}
    assert final == set(range(4400, 4500))
    assert {code.name for code in CloseCode if CloseCode.is_final(code)} == {
        "PROTOCOL_ERROR",
        "UNAUTHENTICATED",
        "BAD_ORIGIN",
        "UNSUPPORTED_VERSION",
    }


@given(_ids, _channels, _text, _states, st.booleans(), st.lists(_text, max_size=3))
def test_what_the_server_says_about_members_is_read_back(
    identifier: int, channel: str, name: str, state: dict[str, Any], stalled: bool, left: list[str]
) -> None:
    """Kills: a member written without its mark; names that are not escaped."""
    member = PresenceMember(name, name, state, stalled)
    wire = presence_member(name, name, encode_json(state), stalled=stalled)
    assert parse_server_frame(presence_frame(identifier, channel, [wire, wire])) == PresenceSnapshot(
        identifier, channel, (member, member)
    )
    assert parse_server_frame(presence_change_frame(channel, [wire], left)) == PresenceChange(
        channel, (member,), tuple(left)
    )
    assert parse_server_frame(presence_revoked_frame(channel, name, name)) == PresenceRevoked(channel, name, name)
