"""Who there is, and who takes part in which session. A real application asks its database."""

from __future__ import annotations

from typing import Final

__all__ = ["PEOPLE", "may_read"]

PEOPLE: Final = {"ann": "Ann", "bo": "Bo"}

_SESSIONS: Final = {"shared": frozenset(PEOPLE), "ann": frozenset({"ann"}), "bo": frozenset({"bo"})}


def may_read(user_id: str | None, session_id: str | None) -> bool:
    return user_id in _SESSIONS.get(session_id or "", ())
