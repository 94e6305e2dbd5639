"""Strangers' channels and JSON: damaged, hostile, or of the wrong type. `make fuzz` runs this for longer."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable
from typing import Any, cast

from hypothesis import example, given
from hypothesis import strategies as st

from tanstack_realtime import Channel, ChannelError, parse_channel, serialize_key
from tanstack_realtime._json import MAX_DEPTH, decode_json, encode_json

WIRES = (
    "todos",
    "todos:project_id=7",
    "chat:a=1&b=2&room=%C3%A9",
    "a.b-c_d~e:x=&y=%25",
    "%F0%9D%84%9E:%3A=%26%3D",
)

edits = st.lists(
    st.tuples(
        st.sampled_from(("drop", "double", "put", "swap")),
        st.integers(0, 40),
        st.one_of(st.sampled_from(":=&%~ \n\x00éA9a"), st.characters()),
    ),
    max_size=4,
)

values = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4), st.binary(max_size=4)),
    *(st.lists(st.integers(), max_size=2), st.builds(object)),
)


def damage(text: str, changes: list[tuple[str, int, str]]) -> str:
    """Return a text with some characters dropped, doubled, put in or swapped."""
    characters = list(text)
    for kind, at, character in changes:
        at = min(at, max(0, len(characters) - 1))
        if kind == "put":
            characters.insert(at, character)
        elif kind == "drop":
            del characters[at : at + 1]
        elif kind == "double":
            characters[at:at] = characters[at : at + 3]
        else:
            characters[at : at + 2] = reversed(characters[at : at + 2])
    return "".join(characters)


@given(st.sampled_from(WIRES), edits)
@example("todos:project_id=7", [("put", 5, ":")])
def test_a_damaged_channel_is_another_channel_or_none(wire: str, changes: list[tuple[str, int, str]]) -> None:  # A9, K5
    """Kills: `fullmatch` weakened to `match`; no comparison with the canonical form; lower-case escapes read."""
    damaged = damage(wire, changes)
    try:
        channel = parse_channel(damaged)
    except ChannelError:
        return
    assert channel.raw == damaged
    assert serialize_key((channel.namespace, dict(channel.params))) == damaged
    assert damaged.isascii()


@given(values, st.dictionaries(values.filter(lambda value: not isinstance(value, list)), values, max_size=2) | values)
def test_nothing_but_a_channel_error_comes_out_of_a_wrong_pair(namespace: Any, params: Any) -> None:  # K4
    """Kills: a value formatted with `str()` instead of refused."""
    calls: tuple[Callable[[], str], ...] = (
        lambda: serialize_key((namespace, params)),
        lambda: Channel(namespace, params).raw,
    )
    for call in calls:
        with contextlib.suppress(ChannelError):
            wire = call()
            assert parse_channel(wire).raw == wire
    with contextlib.suppress(ChannelError):
        serialize_key(params)
    with contextlib.suppress(ChannelError):
        parse_channel(namespace)


@given(
    st.one_of(
        st.binary(max_size=40),
        st.text(max_size=40),
        st.integers(0, 200).map(lambda depth: "[" * depth + "]" * depth),
        st.integers(1, 6000).map(lambda digits: "9" * digits),
        st.sampled_from(('"\\ud800"', "1e999", "-Infinity", "NaN", '{"a":1,"a":2}', "[" * 100_000)),
    )
)
def test_json_is_read_and_can_be_written_again_or_it_is_a_value_error(document: str | bytes) -> None:
    """Kills: no limit of depth (RecursionError); NaN and lone surrogates let in."""
    with contextlib.suppress(ValueError):
        data = decode_json(document)
        assert decode_json(encode_json(data)) == data
        assert _depth(data) <= MAX_DEPTH


def _depth(data: object) -> int:
    if isinstance(data, dict):
        return 1 + max(map(_depth, cast("dict[str, object]", data).values()), default=0)
    if isinstance(data, list):
        return 1 + max(map(_depth, cast("list[object]", data)), default=0)
    return 0


def test_channels_that_are_seen_once_leave_nothing_behind() -> None:  # A17
    def see(start: int) -> int:
        for number in range(start, start + 3000):
            parse_channel(f"todos:project_id={number}")
            with contextlib.suppress(ChannelError):
                parse_channel(f"todos:project id={number}")
        gc.collect()
        return len(gc.get_objects())

    see(0)
    before = see(3000)
    assert see(6000) - before < 500
