"""Values of a shape log: PostgreSQL's text forms, which the log's schema says how to read.

A value that is no text is taken as it is, so a server that sends typed JSON needs no schema. Types that are not listed
here stay text; a row class makes of it what it declares.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

__all__ = ["ColumnType", "Parser", "column_types", "parse_row"]

Parser: TypeAlias = Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class ColumnType:
    """A column of the log's schema.

    Attributes:
        name: the database's name of the type.
        dimensions: how many levels of arrays there are around it.
    """

    name: str
    dimensions: int = 0


def _bool(text: str) -> bool:
    return text in ("t", "true")


_PARSERS: Final[Mapping[str, Parser]] = {
    "int2": int,
    "int4": int,
    "int8": int,
    "float4": float,
    "float8": float,
    "bool": _bool,
    "json": json.loads,
    "jsonb": json.loads,
}


def column_types(header: str) -> Mapping[str, ColumnType]:
    """Read the schema that comes with a log.

    Raises:
        ValueError: it is none.
    """
    data = json.loads(header)
    if not isinstance(data, dict):
        raise ValueError(f"not a schema: {header!r}")
    columns = cast("dict[str, dict[str, Any]]", data)
    return {name: ColumnType(str(column["type"]), int(column.get("dims", 0))) for name, column in columns.items()}


def parse_row(row: Mapping[str, Any], types: Mapping[str, ColumnType], parsers: Mapping[str, Parser]) -> dict[str, Any]:
    """Return a row with values in place of their texts.

    Args:
        row: columns and texts.
        types: the log's schema; columns that it does not have stay as they are.
        parsers: the application's own, by the name of the type.

    Raises:
        ValueError: a text that its type does not allow.
    """
    return {name: _parsed(value, types.get(name), parsers) for name, value in row.items()}


def _parsed(value: Any, kind: ColumnType | None, parsers: Mapping[str, Parser]) -> Any:
    if not isinstance(value, str) or kind is None:
        return value
    parser = parsers.get(kind.name) or _PARSERS.get(kind.name, str)
    return _array(value, parser) if kind.dimensions else parser(value)


def _array(text: str, parser: Parser) -> list[Any]:
    """Read ``{1,2,NULL,"a b"}``; https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO."""
    stack: list[list[Any]] = [[]]
    at = 0
    while at < len(text):
        sign = text[at]
        if sign == "{":
            stack.append([])
            at += 1
        elif sign == "}":
            if len(stack) < 2:
                break
            done = stack.pop()
            stack[-1].append(done)
            at += 1
        elif sign == ",":
            at += 1
        elif sign == '"':
            item, at = _quoted(text, at + 1)
            stack[-1].append(parser(item))
        else:
            end = min((place for place in (text.find(",", at), text.find("}", at)) if place >= 0), default=len(text))
            item = text[at:end]
            stack[-1].append(None if item == "NULL" else parser(item))
            at = end
    if at < len(text) or len(stack) != 1 or len(stack[0]) != 1 or not isinstance(stack[0][0], list):
        raise ValueError(f"not an array: {text!r}")
    (whole,) = stack[0]
    return cast("list[Any]", whole)


def _quoted(text: str, at: int) -> tuple[str, int]:
    item: list[str] = []
    while at < len(text):
        if text[at] == '"':
            return "".join(item), at + 1
        if text[at] == "\\":
            at += 1
        item.append(text[at : at + 1])
        at += 1
    raise ValueError(f"a quote without its end: {text!r}")
