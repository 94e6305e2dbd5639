"""One pydantic adapter for a set of named values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NotRequired

from pydantic import ConfigDict, TypeAdapter
from typing_extensions import TypedDict

__all__ = ["dict_adapter"]


def dict_adapter(name: str, fields: Mapping[str, tuple[Any, bool]]) -> TypeAdapter[dict[str, Any]]:
    """Build an adapter for a dict with exactly these keys.

    Args:
        name: shown in pydantic's messages.
        fields: for each key its type, and whether it must be there.
    """
    make: Any = TypedDict  # the type checkers know only its literal form
    hints = {key: hint if required else NotRequired[hint] for key, (hint, required) in fields.items()}
    made = make(name, hints)
    made.__pydantic_config__ = ConfigDict(extra="forbid")
    adapter: TypeAdapter[dict[str, Any]] = TypeAdapter(made)
    return adapter
