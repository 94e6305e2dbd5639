"""Rows of every supported class: columns, copies, checks, JSON."""

from __future__ import annotations

import datetime as dt
import enum
import json
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, NewType, NotRequired

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import TypedDict

from tanstack_db import SchemaError
from tanstack_db import rows as _rows


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


UserId = NewType("UserId", str)


@dataclass(frozen=True)
class Point:
    x: int
    y: int = 0


@dataclass
class DataRow:
    id: str
    count: int = 0
    ratio: float = 0.5
    done: bool = False
    at: dt.datetime | None = None
    day: dt.date | None = None
    token: uuid.UUID | None = None
    price: Decimal | None = None
    color: Color = Color.RED
    level: Level = Level.LOW
    kind: Literal["a", "b"] = "a"
    owner: UserId = UserId("u")
    tags: list[str] = field(default_factory=list[str])
    pair: tuple[int, str] = (1, "x")
    point: Point | None = None
    points: Sequence[Point] = field(default_factory=list[Point])
    extra: dict[str, int] = field(default_factory=dict[str, int])
    either: str | int = 0
    blob: bytes = b""
    any: Any = None


@attrs.frozen
class AttrsRow:
    id: str
    count: int = attrs.field(default=0, validator=attrs.validators.ge(0))
    at: dt.datetime | None = None
    tags: list[str] = attrs.field(factory=list[str])


class StructRow(msgspec.Struct, frozen=True):
    id: str
    count: int = 0
    at: dt.datetime | None = None
    tags: list[str] = msgspec.field(default_factory=list[str])


class ModelRow(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True)

    id: str
    count: int = pydantic.Field(default=0, ge=0)
    at: dt.datetime | None = None
    tags: list[str] = []


class TypedRow(TypedDict):
    id: str
    count: NotRequired[int]
    at: NotRequired[dt.datetime | None]
    tags: NotRequired[list[str]]


NOON = dt.datetime(2026, 1, 2, 12, 0, tzinfo=dt.UTC)
CLASSES: list[type[Any]] = [AttrsRow, StructRow, ModelRow, DataRow]
ALL: list[type[Any]] = [*CLASSES, TypedRow]


@pytest.mark.parametrize("cls", ALL)
def test_columns_come_from_the_class(cls: type[Any]) -> None:
    columns = _rows.columns(cls)

    assert columns is not None
    assert {"id", "count", "at", "tags"} <= columns


def test_columns_of_what_declares_none() -> None:
    class Open(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(extra="allow")

    assert _rows.columns(None) is None
    assert _rows.columns(dict) is None
    assert _rows.columns(Open) is None


@pytest.mark.parametrize("cls", ALL)
def test_json_round_trip(cls: type[Any]) -> None:
    row = cls(id="1", count=3, at=NOON, tags=["a", "b"])

    plain = json.loads(json.dumps(_rows.to_plain(row)))

    assert _rows.from_plain(plain, cls) == row


def test_json_round_trip_of_every_kind_of_value() -> None:
    row = DataRow(
        id="1",
        at=NOON,
        day=dt.date(2026, 1, 2),
        token=uuid.UUID(int=5),
        price=Decimal("1.10"),
        color=Color.BLUE,
        level=Level.HIGH,
        kind="b",
        tags=["x"],
        pair=(2, "y"),
        point=Point(1, 2),
        points=[Point(3), Point(4)],
        extra={"a": 1},
        either="text",
        blob=b"\x00\xff",
        any={"nested": [1, None]},
    )

    plain = json.loads(json.dumps(_rows.to_plain(row)))

    assert plain["at"] == NOON.isoformat()
    assert (plain["price"], plain["color"], plain["level"]) == ("1.10", "blue", 2)
    assert _rows.from_plain(plain, DataRow) == row


@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize(
    "change",
    [
        {"id": 5},
        {"count": "5"},
        {"count": True},
        {"count": 1.5},
        {"at": 5},
        {"at": "noon"},
        {"tags": "ab"},
        {"tags": [1]},
    ],
    ids=str,
)
def test_nothing_is_coerced(cls: type[Any], change: dict[str, Any]) -> None:
    with pytest.raises(SchemaError, match=f"not a valid {cls.__name__}"):
        _rows.from_plain({"id": "1", **change}, cls)


@pytest.mark.parametrize(
    "change",
    [
        {"done": "no"},
        {"done": 1},
        {"ratio": "0.5"},
        {"day": "2026-01-02T00:00:00"},
        {"token": "5"},
        {"price": 1.5},
        {"color": "green"},
        {"level": True},
        {"kind": "c"},
        {"pair": [1]},
        {"pair": ["x", 1]},
        {"points": {"x": 1}},
        {"point": {"y": 1}},
        {"either": None},
        {"blob": "***"},
    ],
    ids=str,
)
def test_nothing_is_coerced_in_a_dataclass(change: dict[str, Any]) -> None:
    with pytest.raises(SchemaError):
        _rows.from_plain({"id": "1", **change}, DataRow)


def test_an_int_is_a_float_in_json() -> None:
    row = _rows.from_plain({"id": "1", "ratio": 1}, DataRow)

    assert (row.ratio, type(row.ratio)) == (1.0, float)


@pytest.mark.parametrize("cls", ALL)
def test_a_missing_column_is_named(cls: type[Any]) -> None:
    with pytest.raises(SchemaError, match="id"):
        _rows.from_plain({"count": 1}, cls)


@pytest.mark.parametrize("cls", ALL)
def test_columns_that_are_not_known_yet_are_dropped(cls: type[Any]) -> None:
    row = _rows.from_plain({"id": "1", "tomorrow": 1}, cls)

    assert row == cls(id="1") or row == {"id": "1"}


@pytest.mark.parametrize("cls", ALL)
def test_replace_makes_a_copy(cls: type[Any]) -> None:
    row = cls(id="1", count=1, tags=[])

    changed = _rows.replace(row, {"count": 2})

    assert _rows.get(changed, "count") == 2
    assert _rows.get(row, "count") == 1
    assert _rows.changes(row, changed) == {"count": 2}
    assert _rows.replace(row, {}) is row


@pytest.mark.parametrize("cls", CLASSES)
def test_replace_refuses_what_the_class_refuses(cls: type[Any]) -> None:
    with pytest.raises(SchemaError):
        _rows.replace(cls(id="1"), {"unknown": 1})


@pytest.mark.parametrize("cls", [AttrsRow, ModelRow])
def test_replace_runs_validators(cls: type[Any]) -> None:
    with pytest.raises(SchemaError, match=cls.__name__):
        _rows.replace(cls(id="1"), {"count": -1})


def test_replace_in_a_model_is_strict_and_knows_aliases() -> None:
    class Aliased(pydantic.BaseModel):
        text: str = pydantic.Field(alias="Text")

    row = Aliased(Text="a")

    assert _rows.replace(row, {"text": "b"}).text == "b"
    assert _rows.from_plain(_rows.to_plain(row), Aliased) == row
    with pytest.raises(SchemaError):
        _rows.replace(ModelRow(id="1"), {"count": "2"})


@pytest.mark.parametrize("cls", ALL)
def test_check_fields_names_the_column(cls: type[Any]) -> None:
    row = cls(id="1")

    with pytest.raises(SchemaError, match="did you mean 'count'"):
        _rows.check_fields({"coutn": 1}, row, cls)


@pytest.mark.parametrize("cls", [AttrsRow, StructRow, DataRow, TypedRow])
@pytest.mark.parametrize("values", [{"count": "1"}, {"count": True}, {"at": "noon"}, {"tags": "ab"}], ids=str)
def test_check_fields_looks_at_types(cls: type[Any], values: dict[str, Any]) -> None:
    with pytest.raises(SchemaError, match=next(iter(values))):
        _rows.check_fields(values, cls(id="1"), cls)


def test_check_fields_lets_pass_what_fits() -> None:
    fine: dict[str, Any] = {
        "count": 1,
        "ratio": 1,
        "at": NOON,
        "token": None,
        "color": Color.BLUE,
        "kind": "b",
        "owner": UserId("x"),
        "tags": [],
        "points": (),
        "extra": {},
        "either": "x",
        "any": object(),
    }

    _rows.check_fields(fine, DataRow(id="1"), DataRow)


def test_check_fields_of_a_model_leaves_types_to_the_model() -> None:
    class Site(pydantic.BaseModel):
        url: pydantic.SecretStr

    _rows.check_fields({"url": "anything"}, Site(url=pydantic.SecretStr("x")), Site)


def test_check_a_whole_row() -> None:
    _rows.check({"id": "1"}, None)
    _rows.check({"id": "1", "count": 2}, TypedRow)
    bad: list[tuple[Any, Any, str]] = [
        (None, None, "None"),
        ({"count": 2}, TypedRow, "needs 'id'"),
        ({"id": "1", "coutn": 2}, TypedRow, "did you mean 'count'"),
        ([], TypedRow, "Pass a dict"),
        ({"id": "1"}, DataRow, r"Build it with DataRow"),
        (_rows.replace(DataRow(id="1"), {"count": None}), DataRow, "count"),
    ]
    for row, schema, says in bad:
        with pytest.raises(SchemaError, match=says):
            _rows.check(row, schema)


def test_get_names_a_missing_column() -> None:
    with pytest.raises(SchemaError, match="did you mean 'count'"):
        _rows.get(DataRow(id="1"), "coutn")
    with pytest.raises(SchemaError, match="known are id"):
        _rows.get({"id": 1}, "x")


def test_changes_of_a_dict_tell_what_is_gone() -> None:
    assert _rows.changes({"a": 1, "b": 2}, {"a": 1, "c": 3}) == {"c": 3, "b": None}


def test_plain_dicts_travel_as_json_too() -> None:
    row = {"at": NOON, "color": Color.RED, "tags": {"x"}, "point": Point(1), Color.BLUE: 1}

    assert _rows.to_plain(row) == {
        "at": NOON.isoformat(),
        "color": "red",
        "tags": ["x"],
        "point": {"x": 1, "y": 0},
        "blue": 1,
    }
    with pytest.raises(SchemaError, match="object"):
        _rows.to_plain({"x": object()})


def test_what_is_no_row_class_is_named() -> None:
    class Plain:
        pass

    with pytest.raises(SchemaError, match="dataclass"):
        _rows.columns(Plain)


def test_a_server_answer_completes_the_row() -> None:
    assert _rows.completed(DataRow(id="1", count=1), {"at": NOON.isoformat()}, DataRow) == DataRow("1", 1, at=NOON)
    assert _rows.completed({"id": "1", "a": 1}, {"b": 2}, None) == {"id": "1", "a": 1, "b": 2}
    assert _rows.completed(DataRow(id="1"), DataRow(id="2"), DataRow) == DataRow(id="2")
    with pytest.raises(SchemaError):
        _rows.completed(DataRow(id="1"), 5, DataRow)


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["id", "count", "at", "tags"]), json_values))
def test_any_json_is_either_a_valid_row_or_refused(data: Mapping[str, Any]) -> None:
    """Whatever comes from the network gives a row that JSON carries back unchanged, or a `SchemaError`.

    Kills: an exception of the parsing library that leaks; a value that is stored with another type than declared.
    """
    for cls in ALL:
        try:
            row = _rows.from_plain(data, cls)
        except SchemaError:
            continue
        assert isinstance(_rows.get(row, "id"), str)
        plain = json.loads(json.dumps(_rows.to_plain(row)))
        assert _rows.from_plain(plain, cls) == row


def test_libraries_that_the_application_does_not_use_are_not_imported() -> None:
    program = """
import sys, dataclasses, tanstack_db
from tanstack_db import rows as _rows
@dataclasses.dataclass
class Row:
    id: str
row = _rows.replace(Row("1"), {"id": "2"})
_rows.to_plain(row), _rows.columns(Row), _rows.check(row, Row)
print([name for name in ("attr", "cattrs", "pydantic", "msgspec") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
