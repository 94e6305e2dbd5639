"""MessagePack with types. The library ships none."""

from __future__ import annotations

from typing import Any, cast

import msgpack  # type: ignore[import-untyped]

__all__ = ["packb", "unpackb"]


def packb(value: object) -> bytes:
    """Encode plain data."""
    return cast("bytes", msgpack.packb(value))  # pyright: ignore[reportUnknownMemberType]


def unpackb(raw: bytes) -> Any:
    """Decode plain data.

    Raises:
        ValueError: If it is not exactly one MessagePack value.
    """
    try:
        return cast("Any", msgpack.unpackb(raw, strict_map_key=False))  # pyright: ignore[reportUnknownMemberType]
    except (msgpack.UnpackException, TypeError, RecursionError) as error:  # pyright: ignore[reportUnknownMemberType]
        raise ValueError(f"no MessagePack value: {error}") from None
