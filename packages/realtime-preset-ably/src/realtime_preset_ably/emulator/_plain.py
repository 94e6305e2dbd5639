"""Plain data in JSON and MessagePack, read so that it can be written again in either.

What both have is kept: text keys, finite numbers, and nesting that no writer fails at. Bytes are MessagePack's alone;
who takes them says so.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any, Final, cast

import msgpack  # type: ignore[import-untyped]

__all__ = ["from_json", "from_msgpack", "to_msgpack"]

MAX_DEPTH: Final = 100
"""How deeply objects and arrays may be nested. Python's own readers and writers fail at about 1000."""


def from_json(text: str) -> Any:
    """Read JSON: also without halves of surrogate pairs, which no reader could be sent.

    Raises:
        ValueError: If it is other than that.
    """
    try:
        found: Any = json.loads(text)
    except RecursionError:
        raise _too_deep() from None
    _check(found)
    if "\\ud" in text.lower():
        json.dumps(found, ensure_ascii=False).encode()
    return found


def from_msgpack(raw: bytes) -> Any:
    """Read MessagePack.

    Raises:
        ValueError: If it is not exactly one value, or not plain.
    """
    try:
        found = cast("Any", msgpack.unpackb(raw, strict_map_key=False))  # pyright: ignore[reportUnknownMemberType]
    except (msgpack.UnpackException, TypeError, RecursionError) as error:  # pyright: ignore[reportUnknownMemberType]
        raise ValueError(f"no MessagePack value: {error}") from None
    _check(found)
    return found


def to_msgpack(value: object) -> bytes:
    """Write plain data, with integers of at most 64 bits."""
    return cast("bytes", msgpack.packb(value))  # pyright: ignore[reportUnknownMemberType]


def _check(value: object) -> None:
    """Look at a value level by level, so that its depth is counted and not climbed."""
    level: list[Iterable[object]] = [[value]]
    for _ in range(MAX_DEPTH + 1):
        below: list[Iterable[object]] = []
        for items in level:
            for item in items:
                if isinstance(item, dict):
                    entries = cast("dict[object, object]", item)
                    if not all(isinstance(key, str) for key in entries):
                        raise ValueError("the keys of an object are text")
                    below.append(entries.values())
                elif isinstance(item, list):
                    below.append(cast("list[object]", item))
                elif isinstance(item, float) and not math.isfinite(item):
                    raise ValueError("a number is finite")
        if not below:
            return
        level = below
    raise _too_deep()


def _too_deep() -> ValueError:
    return ValueError(f"objects and arrays are nested at most {MAX_DEPTH} deep")
