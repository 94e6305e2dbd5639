"""JSON at the trust boundary."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tanstack_realtime._json import MAX_DEPTH, Encoded, decode_json, decode_object, encode_json, scan_json

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def _nested(depth: int, *, obj: bool = False) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = {"a": value} if obj else [value]
    return value


@given(_json)
def test_what_is_written_is_read_equal(value: Any) -> None:
    """Kills: `ensure_ascii=True` left out of the surrogate check, `allow_nan` left on, a depth limit off by one."""
    try:
        text = encode_json(value)
    except ValueError:
        assert "\\ud" in json.dumps(value)  # only lone surrogates are refused
        return
    assert decode_json(text) == value
    assert decode_json(text.encode()) == value
    assert "\n" not in text


@given(_json.map(json.dumps), st.text(" \t\n\r\v\u00a0\ufeff,1", max_size=3), st.text(" \t\n\r\f\u2028]1", max_size=3))
def test_text_around_a_value_is_read_as_the_library_reads_it(value: str, before: str, after: str) -> None:
    """Kills: space that JSON has not is skipped; what follows the value is ignored; an empty text is a value."""
    for text in (before + value + after, before):
        try:
            expected = json.loads(text)
        except ValueError:
            with pytest.raises(ValueError, match="line"):
                decode_json(text)
        else:
            assert decode_json(text) == expected


@pytest.mark.parametrize("obj", [False, True])
def test_depth_is_bounded_both_ways(obj: bool) -> None:
    assert decode_json(encode_json(_nested(MAX_DEPTH, obj=obj))) == _nested(MAX_DEPTH, obj=obj)
    too_deep = _nested(MAX_DEPTH + 1, obj=obj)
    with pytest.raises(ValueError, match="levels deep"):
        encode_json(too_deep)
    with pytest.raises(ValueError, match="levels deep"):
        decode_json(json.dumps(too_deep))


def test_a_bracket_bomb_is_a_value_error() -> None:
    for text in ("[" * 100_000, '{"a":' * 100_000, "[" * 100_000 + "]" * 100_000):
        with pytest.raises(ValueError, match=r".+"):
            decode_json(text)


def test_many_brackets_that_do_not_nest_are_fine() -> None:
    flat: list[Any] = [[] for _ in range(1000)]
    assert decode_json(encode_json(flat)) == flat
    assert decode_json('["' + "[" * 1000 + '"]') == ["[" * 1000]


@pytest.mark.parametrize("text", ["NaN", "-Infinity", '{"a":Infinity}', "", "{", "1 2", b"\xff", "9" * 5000])
def test_what_is_not_json_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decode_json(text)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1, 2}, "\ud800", {"\udfff": 1}, b"x"])
def test_what_cannot_be_sent_is_a_value_error(value: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        encode_json(value)


@given(_json, st.sampled_from(["", "}", ",é", "]]"]), st.sampled_from([None, 1]), st.booleans())
def test_what_is_passed_on_as_it_is_could_have_been_written(
    value: Any, around: str, indent: int | None, escaped: bool
) -> None:
    """Kills: no look for surrogates, for infinite numbers or for line breaks, an end that is off by one."""
    text = json.dumps(value, indent=indent, ensure_ascii=escaped)
    scanned = scan_json(around + text + around, len(around), len(around + text))
    if scanned is None:
        return
    found, raw = scanned
    assert encode_json(found) == encode_json(value)
    assert raw == text
    assert "\n" not in text


@pytest.mark.parametrize("text", ["1", '"é\\n"', "[1.5,-2e9]", '{"a":{"b":[null,true]}}', "{}"])
def test_usual_json_is_passed_on_as_it_is(text: str) -> None:
    assert scan_json(f"ab{text}}}", 2, -1) == (json.loads(text), text)
    assert scan_json(f"ab{text} ", 2, len(text) + 3) is None
    assert scan_json(f"ab{text},", 2, len(text) + 3) is None


_deep = ["[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), '{"a":' * (MAX_DEPTH + 1) + "1" + "}" * (MAX_DEPTH + 1)]

_refused = [
    "NaN",
    "-Infinity",
    "1e999",
    "9" * 400 + ".0",
    '"\\ud800"',
    '"\\u00e9"',
    '"\ud800"',
    "[1,\n2]",
    " 1",
    "{",
    "",
    "'a'",
]


@pytest.mark.parametrize("text", [*_refused, *_deep, "[" * 100_000, "9" * 5000])
def test_what_is_not_passed_on_as_it_is(text: str) -> None:
    assert scan_json(text, 0, len(text)) is None


@pytest.mark.parametrize("text", ["", "[]", "7", "null", "{", '{"a": NaN}', b"\xff", "[" * 100_000])
def test_what_is_no_object_has_no_members(text: str | bytes) -> None:
    assert decode_object(text) == {}


def test_an_object_has_its_members() -> None:
    assert decode_object(b'{"a": [1]}') == {"a": [1]}


def test_an_encoded_object_is_its_value_and_is_not_encoded_again() -> None:
    encoded = Encoded({"a": [1, "é"]})
    assert encoded == {"a": [1, "é"]}
    assert encoded.text == '{"a":[1,"é"]}'
    assert encode_json(encoded) is encoded.text
    assert encode_json([encoded]) == '[{"a":[1,"é"]}]'
    with pytest.raises(ValueError, match="levels deep"):
        Encoded({"a": _nested(MAX_DEPTH)})
