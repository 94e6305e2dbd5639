"""Channel names and the parameters of an ATTACH."""

from __future__ import annotations

import pytest

from realtime_preset_ably.emulator._errors import AblyError
from realtime_preset_ably.emulator._names import Rewind, parse_name, parse_rewind, requested_modes
from realtime_preset_ably.emulator._wire import Flag


@pytest.mark.parametrize("name", ["a", "todos:projectId=1", "a/b&c%2F", "ä😀", "a[b", "x" * 2048])
def test_plain_names_are_kept(name: str) -> None:
    found = parse_name(name)

    assert (found.wire, found.name, found.params) == (name, name, {})


@pytest.mark.parametrize("name", ["", ":a", "[a", "a\nb", "[meta]x", "[?rewind=1]", "[?rewind=1]:a", "x" * 2049])
def test_what_no_channel_is_called_is_refused(name: str) -> None:
    with pytest.raises(AblyError) as caught:
        parse_name(name)

    assert caught.value.code == 40010


def test_a_qualifier_is_a_parameter_and_stays_in_the_name() -> None:
    found = parse_name("[?rewind=3&colour=red]a:b", {"echo": "false", "size": "1"})

    assert (found.wire, found.name) == ("[?rewind=3&colour=red]a:b", "a:b")
    assert found.params == {"rewind": "3", "echo": "false"}


def test_parameters_of_the_attach_win() -> None:
    assert parse_name("[?rewind=3]a", {"rewind": 5}).params == {"rewind": "5"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("5", Rewind(count=5)),
        ("5000", Rewind(count=100)),
        ("15s", Rewind(duration=15_000)),
        ("2m", Rewind(duration=120_000)),
        ("1000s", Rewind(duration=120_000)),
    ],
)
def test_rewind(value: str | None, expected: Rewind | None) -> None:
    assert parse_rewind(value) == expected


@pytest.mark.parametrize("value", ["", "x", "-1", "1h", "٣", "1 s"])
def test_a_rewind_that_says_nothing_is_refused(value: str) -> None:
    with pytest.raises(AblyError) as caught:
        parse_rewind(value)

    assert caught.value.code == 40003


def test_modes_come_by_flags_or_by_name_or_are_all() -> None:
    every = Flag.PRESENCE | Flag.PUBLISH | Flag.SUBSCRIBE | Flag.PRESENCE_SUBSCRIBE

    assert requested_modes(Flag.ATTACH_RESUME, {}) == every
    assert requested_modes(Flag.SUBSCRIBE | 1 << 25, {}) == Flag.SUBSCRIBE
    assert (
        requested_modes(0, {"modes": "PUBLISH, presence_subscribe,nothing"}) == Flag.PUBLISH | Flag.PRESENCE_SUBSCRIBE
    )
