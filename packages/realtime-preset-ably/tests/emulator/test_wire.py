"""Protocol messages in two formats, and payloads between readers of either."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_preset_ably.emulator._errors import AblyError
from realtime_preset_ably.emulator._plain import from_msgpack, to_msgpack
from realtime_preset_ably.emulator._wire import Action, Frame, canonical, decode, for_reader


def test_a_clients_message_keeps_what_is_known_and_drops_nulls() -> None:
    fields = decode('{"action":10,"channel":"a","params":null,"flags":32,"colour":"red"}')

    assert fields == {"action": Action.ATTACH, "channel": "a", "flags": 32}


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "[]",
        "{}",
        '{"action":"0"}',
        '{"action":99}',
        '{"action":true}',
        '{"action":15,"messages":{}}',
        '{"action":15,"msgSerial":true}',
        '{"action":10,"channel":5}',
        '{"action":15,"messages":[{"data":NaN}]}',
        '{"action":10,"channel":"\\ud800"}',
        "[" * 100_000,
        '{"action":' + "[" * 900 + "]" * 900 + "}",
        '{"action":10,"x":' + "[" * 100 + "]" * 100 + "}",
        b"\x81\xa6action" + b"\x91" * 500 + b"\x01",
        '{"action":15,"msgSerial":-1}',
        '{"action":15,"msgSerial":9007199254740992}',
        '{"action":15,"msgSerial":1e400}',
        to_msgpack({"action": 15, "messages": [{"data": float("nan")}]}),
        to_msgpack({"action": 15, "messages": [{"data": {b"a": 1}}]}),
        to_msgpack({"action": 15, "messages": [{"data": {1: 1}}]}),
        b"",
        b"\xc1",
        b"\x00\x00",
        to_msgpack({"action": 10, "channel": b"a"}),
    ],
)
def test_what_is_no_protocol_message_is_refused(raw: str | bytes) -> None:
    with pytest.raises(AblyError) as caught:
        decode(raw)

    assert (caught.value.code, caught.value.status) == (40000, 400)


def test_the_deepest_and_the_largest_are_read() -> None:
    deep = "[" * 98 + "1" + "]" * 98
    fields = decode(f'{{"action":15,"msgSerial":9007199254740991,"params":{{"a":{deep}}}}}')

    assert fields["msgSerial"] == 2**53 - 1
    assert json.dumps(fields["params"]["a"]) == deep


def test_surrogate_pairs_are_text() -> None:
    assert decode('{"action":10,"channel":"\\ud83d\\ude00"}')["channel"] == "😀"


@given(st.binary(), st.sampled_from([None, "utf-8", "utf-8/cipher+aes-128-cbc"]))
def test_bytes_are_base64_for_json_and_come_back(data: bytes, encoding: str | None) -> None:
    """Kills: forgetting ``/base64`` in the encoding, or appending it twice."""
    stored = {"data": data, "encoding": encoding}
    seen = for_reader(stored, "json")

    assert b64decode(seen["data"]) == data
    assert seen["encoding"].split("/")[-1] == "base64"
    assert canonical(seen) == (data, encoding)
    assert for_reader(stored, "msgpack") == stored


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ({"data": "x"}, ("x", None)),
        ({"data": "x", "encoding": ""}, ("x", None)),
        ({"data": None}, (None, None)),
        ({}, (None, None)),
        ({"data": {"a": [1, "ä"]}}, ('{"a":[1,"ä"]}', "json")),
        ({"data": [1]}, ("[1]", "json")),
        ({"data": '{"a":1}', "encoding": "json"}, ('{"a":1}', "json")),
        ({"data": b64encode(b"\x00").decode(), "encoding": "base64"}, (b"\x00", None)),
    ],
)
def test_payloads_are_kept_in_one_form(sent: dict[str, Any], stored: tuple[str | bytes | None, str | None]) -> None:
    assert canonical(sent) == stored


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ({"data": 1}, 40013),
        ({"data": True}, 40013),
        ({"data": {"a": b"x"}}, 40013),
        ({"data": "x", "encoding": "base64"}, 40000),
        ({"data": "x", "encoding": 5}, 40000),
    ],
)
def test_payloads_that_no_reader_could_read_are_refused(sent: dict[str, Any], code: int) -> None:
    with pytest.raises(AblyError) as caught:
        canonical(sent)

    assert caught.value.code == code


def test_a_frame_reads_the_same_in_both_formats() -> None:
    frame = Frame(
        Action.MESSAGE, channel="ä", error=None, messages=[{"data": b"\xff", "encoding": None}, {"data": "x"}]
    )
    text, raw = frame.encoded("json"), frame.encoded("msgpack")

    assert isinstance(raw, bytes)
    assert json.loads(text) == {
        "action": 15,
        "channel": "ä",
        "messages": [{"data": "/w==", "encoding": "base64"}, {"data": "x"}],
    }
    assert from_msgpack(raw) == {
        "action": 15,
        "channel": "ä",
        "messages": [{"data": b"\xff", "encoding": None}, {"data": "x"}],
    }


def test_a_frame_is_encoded_once_for_many_readers() -> None:
    frame = Frame(Action.HEARTBEAT)

    assert frame.encoded("json") is frame.encoded("json")
