"""Capabilities: what a pattern matches, what two have in common, what is refused."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_preset_ably.emulator._capability import OPERATIONS, Capability
from realtime_preset_ably.emulator._errors import AblyError


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("todos:1", ["todos:1"], ["todos", "todos:2", "todos:1:2", "[meta]todos:1"]),
        ("*", ["a", "a:b", "a:b:c"], ["[meta]a", "[queue]a"]),
        ("todos:*", ["todos:1", "todos:1:2", "todos:", "todos:*"], ["todos", "todo:1", "xtodos:1"]),
        ("*:1", ["a:1", "*:1"], ["1", "a:b:1", "a:1:b"]),
        ("a:*:c", ["a:b:c", "a::c"], ["a:c", "a:b:b:c", "a:b:c:d"]),
        ("foo*", ["foo*"], ["foo", "foobar", "foo:bar"]),
        ("[meta]*", ["[meta]a", "[meta]a:b"], ["a", "[queue]a"]),
        ("[*]*", ["a", "a:b", "[meta]a", "[queue]a:b"], []),
        ("[meta]log", ["[meta]log"], ["log", "[meta]logs"]),
        ("todos:1", ["[?rewind=1]todos:1"], ["[?rewind=1]todos:2"]),
    ],
)
def test_what_a_pattern_matches(pattern: str, matching: list[str], others: list[str]) -> None:
    capability = Capability.parse({pattern: ["publish"]})

    assert [name for name in matching + others if capability.allows(name, "publish")] == matching


def test_a_value_in_a_name_is_no_wildcard() -> None:
    """Only the capability's stars count: asking for the channel ``todos:*`` is not asking for all todos."""
    assert not Capability.parse({"todos:1": ["publish"]}).allows("todos:*", "publish")


def test_operations_are_the_union_over_what_matches() -> None:
    capability = Capability.parse({"a:*": ["subscribe"], "a:b": ["publish"], "*:b": ["history"], "c": ["presence"]})

    assert capability.operations("a:b") == {"subscribe", "publish", "history"}
    assert capability.operations("d") == frozenset()
    assert Capability.parse({"a": ["*"]}).operations("a") == OPERATIONS


@pytest.mark.parametrize(
    ("left", "right", "both"),
    [
        ({"*": ["*"]}, {"a": ["publish"]}, '{"a":["publish"]}'),
        ({"a": ["*"]}, {"a": ["*"]}, '{"a":["*"]}'),
        ({"a": ["publish", "subscribe"]}, {"a": ["subscribe", "presence"]}, '{"a":["subscribe"]}'),
        ({"a": ["publish"]}, {"a": ["subscribe"]}, "{}"),
        ({"a": ["publish"]}, {"b": ["publish"]}, "{}"),
        ({"a:*": ["publish"]}, {"a": ["publish"]}, "{}"),
        ({"a:*": ["publish"]}, {"*:b": ["publish"]}, '{"a:b":["publish"]}'),
        ({"a:*": ["publish"]}, {"*:b:*": ["publish"]}, '{"a:b:*":["publish"]}'),
        ({"*": ["publish"]}, {"[meta]a": ["publish"]}, "{}"),
        ({"[*]*": ["publish"]}, {"[meta]a": ["publish"]}, '{"[meta]a":["publish"]}'),
        ({"a:b": ["publish"]}, {"a:*": ["publish"], "*:b": ["subscribe", "publish"]}, '{"a:b":["publish"]}'),
        ({"a:b": ["*"]}, {"a:*": ["publish"], "*:b": ["subscribe"]}, '{"a:b":["publish","subscribe"]}'),
    ],
)
def test_what_two_have_in_common(left: dict[str, list[str]], right: dict[str, list[str]], both: str) -> None:
    one, other = Capability.parse(left), Capability.parse(right)

    assert one.intersect(other).to_json() == both
    assert other.intersect(one).to_json() == both


SEGMENTS = ["a", "b", "*"]


def pattern_of(kind: str, segments: list[str]) -> str:
    return kind + ":".join(segments)


PATTERNS = st.builds(
    pattern_of, st.sampled_from(["", "[meta]", "[*]"]), st.lists(st.sampled_from(SEGMENTS), min_size=1, max_size=3)
)
NAMES = [
    kind + ":".join(segments)
    for kind in ("", "[meta]")
    for length in (1, 2, 3, 4)
    for segments in product("ab", repeat=length)
]


@given(PATTERNS, PATTERNS)
def test_an_intersection_matches_what_both_match(left: str, right: str) -> None:
    """Kills: the narrower pattern taken by its length, an open pattern that matches zero segments."""
    one, other = Capability.parse({left: ["publish"]}), Capability.parse({right: ["publish"]})
    both = one.intersect(other)

    for name in NAMES:
        assert both.allows(name, "publish") == (one.allows(name, "publish") and other.allows(name, "publish")), name


def test_the_canonical_text_is_sorted_and_without_spaces() -> None:
    assert Capability.parse('{ "b": ["subscribe", "publish"], "ä": ["*"] }').to_json() == (
        '{"b":["publish","subscribe"],"ä":["*"]}'
    )


@pytest.mark.parametrize(
    "value",
    [
        "no json",
        "[]",
        "[" * 100_000,
        None,
        {"a": []},
        {"a": "publish"},
        {"a": ["publish_"]},
        {"a": ["*", "publish"]},
        {"a": [1]},
        {"a": [["publish"]]},
        {"": ["publish"]},
        {1: ["publish"]},
        {str(number): ["publish"] for number in range(1001)},
    ],
)
def test_what_is_refused(value: object) -> None:
    with pytest.raises(AblyError) as caught:
        Capability.parse(value)

    assert (caught.value.code, caught.value.status) == (40000, 400)


def test_an_empty_one_grants_nothing() -> None:
    empty = Capability.parse("{}")

    assert not empty
    assert empty.operations("a") == frozenset()
    assert not empty.intersect(Capability.parse({"[*]*": ["*"]}))
