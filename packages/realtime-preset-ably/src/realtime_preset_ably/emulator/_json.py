"""JSON that can be written again as it was read."""

from __future__ import annotations

import json
import math
from typing import Any

__all__ = ["from_json"]


def from_json(text: str) -> Any:
    """Read JSON: without NaN or infinity, and without halves of surrogate pairs, which no reader could be sent.

    Raises:
        ValueError: If it is other than that.
        RecursionError: If it is nested too deeply.
    """
    found: Any = json.loads(text, parse_constant=_refuse, parse_float=_finite)
    if "\\ud" in text.lower():
        json.dumps(found, ensure_ascii=False).encode()
    return found


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text} is too large")
    return value
