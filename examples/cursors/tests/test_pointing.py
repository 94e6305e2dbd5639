"""What a pointer event or a key means."""

from __future__ import annotations

from typing import Any

import pytest
from cursors.pointing import Point, moved_by_key, pointed_at


@pytest.mark.parametrize(
    ("event", "point"),
    [
        ({"x": 0.123456, "y": 1}, (0.1235, 1.0)),
        ({"x": -0.2, "y": 1.7}, (0.0, 1.0)),
        ({}, None),
        ({"x": None, "y": None}, None),
    ],
)
def test_a_pointer_stays_on_the_canvas(event: dict[str, Any], point: Point | None) -> None:
    assert pointed_at(event) == point


@pytest.mark.parametrize(
    ("key", "at", "point"),
    [
        ("ArrowLeft", (0.5, 0.5), (0.48, 0.5)),
        ("ArrowDown", (0.5, 0.5), (0.5, 0.52)),
        ("ArrowUp", None, (0.5, 0.48)),
        ("ArrowRight", (0.995, 0.5), (1.0, 0.5)),
        ("a", (0.5, 0.5), None),
    ],
)
def test_arrow_keys_move(key: str, at: Point | None, point: Point | None) -> None:
    assert moved_by_key(key, at) == point
