from __future__ import annotations

import copy
import pickle
from enum import Enum, IntEnum
from typing import Any, cast
from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tanstack_realtime._errors import ChannelError
from tanstack_realtime._keys import MAX_CHANNEL_LENGTH, Channel, parse_channel, serialize_key

text = st.text(max_size=12)
names = st.text(min_size=1, max_size=6)


def test_the_seeds_example() -> None:
    assert serialize_key(("todos", {"project_id": "123"})) == "todos:project_id=123"
    parsed = parse_channel("todos:project_id=123")
    assert (parsed.namespace, dict(parsed.params), parsed.raw) == (
        "todos",
        {"project_id": "123"},
        "todos:project_id=123",
    )


@given(names, st.dictionaries(names, text, max_size=3))
def test_round_trip(namespace: str, params: dict[str, str]) -> None:
    """K1, K2. Kills: quote(..., safe=":") in `_encode`."""
    try:
        wire = serialize_key((namespace, params))
    except ChannelError:
        assume(False)
        raise
    parsed = parse_channel(wire)
    assert (parsed.namespace, dict(parsed.params)) == (namespace, params)
    assert parsed.raw == wire == serialize_key(parsed) == str(parsed)
    assert set(wire) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.~-%:=&")


@given(st.one_of(st.text(alphabet="ab%20:=&~C3A9é", max_size=12), st.text(max_size=12)))
def test_only_what_serialize_key_writes_is_read(wire: str) -> None:
    """A9. Kills: dropping the comparison with the canonical form."""
    try:
        channel = parse_channel(wire)
    except ChannelError:
        return
    assert serialize_key((channel.namespace, dict(channel.params))) == wire


@pytest.mark.parametrize(
    ("namespace", "params", "wire"),
    [
        ("chat:typing", {"room_id": "a b"}, "chat%3Atyping:room_id=a%20b"),  # K2
        ("n", {"a": "= & , : % ~ é"}, "n:a=%3D%20%26%20%2C%20%3A%20%25%20~%20%C3%A9"),  # K1
        ("n", {"b": "1", "a": "2", "B": "3"}, "n:B=3&a=2&b=1"),  # K3: code points, not a locale
        ("n", {"é": "1", "~": "2"}, "n:~=2&%C3%A9=1"),  # K3: of the names, not of their encoding
        ("n", {"a": ""}, "n:a="),
        ("n", {}, "n"),  # K1
        ("n", {"a=b": "c"}, "n:a%3Db=c"),  # K2
    ],
)
def test_wire_strings(namespace: str, params: dict[str, str], wire: str) -> None:
    assert serialize_key((namespace, params)) == wire
    assert parse_channel(wire) == Channel(namespace, params)


def test_numbers_uuids_and_their_text_are_one_channel() -> None:  # K4
    uuid = UUID("12345678-1234-5678-1234-567812345678")

    class Number(IntEnum):
        ONE = 1

    class Word(str, Enum):  # noqa: UP042 -- str() of it is not its value
        ONE = "1"

    wires = {serialize_key(("n", {"id": value})) for value in (1, "1", Number.ONE, Word.ONE)}
    assert wires == {"n:id=1"}
    assert serialize_key(("n", {"id": -5})) == "n:id=-5"
    assert serialize_key(("n", {"id": uuid})) == f"n:id={uuid}" == serialize_key(("n", {"id": str(uuid)}))


@pytest.mark.parametrize(
    "value", [True, False, None, 1.0, ["a"], {"a": "b"}, b"a", 10**5000], ids=lambda value: type(value).__name__
)
def test_values_without_a_wire_form_are_refused(value: Any) -> None:  # K4
    with pytest.raises(ChannelError, match="project_id"):
        serialize_key(("todos", {"project_id": value}))


@pytest.mark.parametrize(
    "channel",
    [
        "todos",
        "todos:project_id=1",
        ("todos",),
        ("todos", {}, {}),
        ("", {}),
        (1, {}),
        ("todos", None),
        ("todos", {"": "1"}),
        ("todos", {1: "1"}),
        ("todos", {"a": "\ud800"}),
        ("\ud800", {}),
        None,
        {"todos": 1},
    ],
    ids=repr,
)
def test_what_is_no_channel_is_refused(channel: Any) -> None:  # K4
    with pytest.raises(ChannelError):
        serialize_key(channel)


@pytest.mark.parametrize(
    "wire",
    [
        "",
        ":",
        ":a=1",
        "n:",
        "n:a",
        "n:=1",
        "n:a=1&",
        "n:a=1&&b=2",
        "n:a=1=2",
        "n:a=1:b",
        "n:a=1&a=2",  # duplicate
        "n:b=1&a=2",  # order
        "n:a=%",
        "n:a=%4",
        "n:a=%zz",
        "n:a=%c3%a9",  # lower-case hex
        "n:a=%61",  # encoded without need
        "n:a=%FF",  # not UTF-8
        "n:a=%ED%A0%80",  # a surrogate
        "n:a=é",
        "n:a=1\n",
        "n a",
        "n:a=+",
        "a" * (MAX_CHANNEL_LENGTH + 1),
    ],
)
def test_wire_strings_that_are_not_canonical_are_refused(wire: str) -> None:  # A9
    with pytest.raises(ChannelError) as caught:
        parse_channel(wire)
    assert caught.value.channel is not None


def test_a_wire_string_is_a_string() -> None:
    with pytest.raises(ChannelError):
        parse_channel(cast("str", b"todos"))


def test_the_limit_counts_encoded_characters() -> None:  # K5
    assert len(serialize_key(("n" * MAX_CHANNEL_LENGTH, {}))) == MAX_CHANNEL_LENGTH
    for namespace in ("n" * (MAX_CHANNEL_LENGTH + 1), "é" * 41):
        with pytest.raises(ChannelError, match="240"):
            Channel(namespace)


def test_a_channel_is_a_value() -> None:
    one = Channel("todos", {"project_id": "1", "b": "2"})
    two = Channel("todos", {"b": "2", "project_id": "1"})
    assert one == two
    assert {one: "x"}[two] == "x"
    assert one != Channel("todos", {"project_id": "1"})
    assert one != one.raw
    assert pickle.loads(pickle.dumps(one)) == copy.deepcopy(one) == one
    with pytest.raises(TypeError):
        one.params["project_id"] = "3"  # type: ignore[index]  # pyright: ignore[reportIndexIssue]


def test_a_channel_does_not_follow_the_mapping_it_was_made_of() -> None:
    params = {"project_id": "1"}
    channel = Channel("todos", params)
    params["project_id"] = "2"
    assert channel.params == {"project_id": "1"}


def test_channels_match() -> None:
    def decide(channel: Channel) -> str:
        match channel:
            case Channel(namespace="chat:typing", params={"room": room}):
                return f"room {room}"
            case Channel("todos", {"project_id": project_id}):
                return f"project {project_id}"
            case _:
                return "nothing"

    assert decide(parse_channel("todos:project_id=7")) == "project 7"
    assert decide(parse_channel("chat%3Atyping:room=7")) == "room 7"
    assert decide(parse_channel("todos")) == "nothing"
