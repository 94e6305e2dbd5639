"""What a collection's query_fn, channel and rows must agree on."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from tanstack_realtime._errors import ChannelError, ConfigurationError
from tanstack_realtime._keys import Channel
from tanstack_realtime._parameters import Parameters


def query(project_id: str) -> list[Any]:
    return [project_id]


def place(project_id: str) -> tuple[str, dict[str, str]]:
    return ("todos", {"project_id": project_id})


def place_as_channel(project_id: str) -> Channel:
    return Channel("t", {"p": project_id})


def place_by_room(room_id: str) -> tuple[str, dict[str, str]]:
    return ("todos", {"room_id": room_id})


def place_by_anything(**params: str) -> tuple[str, dict[str, str]]:
    return ("todos", params)


async def place_later(project_id: str) -> tuple[str, dict[str, str]]:
    return ("todos", {"project_id": project_id})


def query_anything(*args: str) -> list[Any]:
    return list(args)


def parameters(**options: Any) -> Parameters:
    defaults: dict[str, Any] = {
        "id": "todos",
        "query_fn": query,
        "channel": place,
        "columns": None,
        "row_columns": {"id", "project_id"},
    }
    return Parameters(**{**defaults, **options})


def test_the_channel_comes_from_the_parameters() -> None:
    assert parameters().channel({"project_id": "7"}) == "todos:project_id=7"
    assert parameters(channel="todos").channel({"project_id": 7}) == "todos:project_id=7"
    assert parameters(channel=place_as_channel).channel({"project_id": "x"}) == "t:p=x"


def test_a_parameter_may_have_another_column() -> None:
    found = parameters(columns={"project_id": "project"}, row_columns={"id", "project"})

    assert dict(found.columns) == {"project_id": "project"}


def test_a_parameter_with_a_default_is_not_one() -> None:
    def with_option(project_id: str, limit: int = 50) -> list[Any]:
        return [project_id, limit]

    assert list(parameters(query_fn=with_option).columns) == ["project_id"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"channel": place_by_room},
            r"query_fn takes \(project_id\) and channel takes .*Give query_fn's further parameters a default",
        ),
        ({"channel": place_by_anything}, r"\*\*params.*; its parameters are called by name"),
        ({"query_fn": query_anything}, "without"),
        ({"query_fn": 5}, "must be a function"),
        ({"channel": place_later}, "channel must be a plain function"),
        ({"channel": ""}, "channel='' names no channel: a namespace is a non-empty str"),
        ({"channel": "x" * 300}, "240 is the limit"),
        ({"row_columns": {"id"}}, r"no column 'project_id' in its rows, which have \(id\)"),
        ({"columns": {"room": "project_id"}}, r"params names \(room\), which query_fn does not take"),
    ],
)
def test_a_disagreement_is_an_error_that_names_the_fix(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        parameters(**options)


def test_a_value_that_no_channel_can_carry_is_refused() -> None:  # K4
    with pytest.raises(ChannelError):
        parameters().channel({"project_id": None})


def test_a_value_of_another_type_than_query_fn_takes_is_refused() -> None:  # K4
    """``5`` and ``"5"`` are one channel; loaded with the wrong one, its rows would be everybody's."""

    def by_number(project_id: int) -> list[Any]:
        return [project_id]

    numbered = parameters(query_fn=by_number)
    numbered.check({"project_id": 5})
    with pytest.raises(ConfigurationError, match="project_id='5' is a str, and query_fn takes int"):
        numbered.check({"project_id": "5"})


def test_the_servers_gate_learns_namespace_and_names() -> None:
    def typed(project_id: UUID) -> tuple[str, dict[str, str]]:
        return ("todos", {"project_id": project_id.hex})

    assert parameters().declared() == ("todos", frozenset({"project_id"}))
    assert parameters(channel="todos").declared() == ("todos", frozenset({"project_id"}))
    assert parameters(channel=typed).declared() == ("todos", frozenset({"project_id"}))


def test_a_channel_function_that_refuses_placeholders_declares_nothing() -> None:
    def picky(project_id: str) -> tuple[str, dict[str, str]]:
        return ("todos", {"project_id": {"1": "one"}[project_id]})

    assert parameters(channel=picky).declared() is None
