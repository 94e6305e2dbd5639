"""Who there is, and who may draw on which canvas. A real application asks its database."""

from __future__ import annotations

from typing import Final

__all__ = ["PEOPLE", "may_see"]

PEOPLE: Final = {"ann": "Ann", "bo": "Bo", "cleo": "Cleo", "dev": "Dev"}

_CANVASES: Final = {"board": frozenset(PEOPLE)}


def may_see(user_id: str | None, canvas_id: str | None) -> bool:
    return user_id in _CANVASES.get(canvas_id or "", ())
