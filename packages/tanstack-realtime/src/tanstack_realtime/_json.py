"""JSON that crosses a trust boundary: strict both ways, and bounded in depth.

`json.loads` alone accepts ``NaN``, raises `RecursionError` on deep nesting, and lets lone surrogates through that no
UTF-8 encoder takes. Each of them would be one client's message breaking another client.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from json.scanner import make_scanner
from math import isfinite
from typing import Any, Final, NoReturn, cast

__all__ = ["MAX_DEPTH", "Encoded", "as_object", "decode_json", "decode_object", "encode_json", "scan_json"]

MAX_DEPTH: Final = 64
"""Arrays and objects inside each other, at most. A reader with a deep stack still parses it."""


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(number: str) -> float:
    value = float(number)
    if not isfinite(value):
        raise ValueError(f"{number} is not finite")
    return value


# Kept: making them takes longer than a small message does.
_scan: Final = make_scanner(cast("Any", json.JSONDecoder(parse_constant=_refuse_constant)))
_scan_finite: Final = make_scanner(cast("Any", json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)))
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _check_depth(value: object, max_depth: int) -> None:
    level = [value]
    for _ in range(max_depth):
        deeper: list[object] = []
        for item in level:
            if isinstance(item, dict):
                deeper.extend(cast("dict[str, object]", item).values())
            elif isinstance(item, list):
                deeper.extend(cast("list[object]", item))
        if not deeper:
            return
        level = deeper
    if any(isinstance(item, (dict, list)) for item in level):
        raise ValueError(f"nested more than {max_depth} levels deep")


def decode_json(text: str | bytes, *, max_depth: int = MAX_DEPTH) -> Any:
    """Parse JSON.

    Raises:
        ValueError: not JSON, ``NaN`` or ``Infinity``, or nested more than `max_depth` levels deep.
    """
    try:
        value = _decode(text) if isinstance(text, str) else json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError(f"nested more than {max_depth} levels deep") from None
    # Text cannot nest deeper than it has opening brackets, so that most messages skip the walk.
    brackets = text.count("[") + text.count("{") if isinstance(text, str) else text.count(b"[") + text.count(b"{")
    if brackets > max_depth:
        _check_depth(value, max_depth)
    return value


def _decode(text: str) -> Any:
    """Do what a `json.JSONDecoder` does; the two patterns that it looks for spaces with take longer than a message."""
    text = text.strip(" \t\n\r")
    try:
        value, end = _scan(text, 0)
    except StopIteration as stop:
        raise json.JSONDecodeError("Expecting value", text, stop.value) from None
    if end != len(text):
        raise json.JSONDecodeError("Extra data", text, end)
    return value


def as_object(value: object, /) -> Mapping[str, Any]:
    """Return a JSON value that is an object, and an empty one for every other."""
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}


def decode_object(text: str | bytes, /) -> Mapping[str, Any]:
    """Parse what should be a JSON object; what is none counts as an empty one."""
    try:
        return as_object(decode_json(text))
    except ValueError:
        return {}


def scan_json(text: str, start: int, stop: int) -> tuple[Any, str] | None:
    """Read one JSON value out of a text, if those characters can be passed on as they are.

    They cannot where `encode_json` would refuse the value, which is numbers that are not finite, lone surrogates and
    too many levels, or where they hold a line break, which it never writes. To tell that quickly, some texts are left
    out that could be passed on too, such as any with ``\\u``.

    Args:
        text: holds the value.
        start: where it begins.
        stop: where it must end.

    Returns:
        The value and its text; None where `decode_json` and `encode_json` must decide.
    """
    raw = text[start:stop]
    try:
        value, end = _scan_finite(raw, 0)
        if not raw.isascii():
            raw.encode()
    except (ValueError, RecursionError, StopIteration):
        return None
    if end != len(raw) or "\n" in raw or ("\\" in raw and "\\u" in raw):
        return None
    # Texts that are short, or open nothing inside of what they are, cannot nest too deep.
    if end > 2 * MAX_DEPTH and ("[" in raw or raw.rfind("{")) and raw.count("[") + raw.count("{") > MAX_DEPTH:
        return None
    return value, raw


def encode_json(value: object, *, max_depth: int = MAX_DEPTH) -> str:
    """Write compact JSON that every UTF-8 encoder and JSON parser takes.

    Raises:
        ValueError: not representable: other types, ``NaN``, lone surrogates, nested more than `max_depth` levels deep.
    """
    if isinstance(value, Encoded):
        return value.text
    try:
        text = _ENCODER.encode(value)
        text.encode()
    except (TypeError, RecursionError, UnicodeEncodeError) as error:
        raise ValueError(str(error)) from error
    if text.count("[") + text.count("{") > max_depth:
        _check_depth(json.loads(text), max_depth)
    return text


class Encoded(dict[str, Any]):
    """A JSON object that keeps its text: what is measured now is sent later. Nobody changes it.

    Attributes:
        text: what `encode_json` gives for it.

    Raises:
        ValueError: as `encode_json` does.
    """

    __slots__ = ("text",)

    def __init__(self, value: Mapping[str, Any]) -> None:
        super().__init__(value)
        self.text: Final = encode_json(value)
