"""Which connections there are, whose they are, and whether there may be one more."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._peer import Peer
    from ._settings import ConnectionLimits

__all__ = ["Registry"]


class Registry:
    """The connections of one server.

    Args:
        limits: how many there may be.
    """

    def __init__(self, limits: ConnectionLimits) -> None:
        self._limits = limits
        self._users: dict[Peer, str | None] = {}
        self._of_user: dict[str, set[Peer]] = {}
        self._unknown: set[Peer] = set()

    def __len__(self) -> int:
        return len(self._users)

    @property
    def peers(self) -> Sequence[Peer]:
        """Every connection, as it is now."""
        return tuple(self._users)

    def add(self, peer: Peer) -> bool:
        """Take a connection into account, and tell whether there is room for it."""
        self._users[peer] = None
        self._unknown.add(peer)
        return len(self._users) <= self._limits.connections

    def identify(self, peer: Peer, user_id: str) -> bool:
        """Take into account whose it is, and tell whether the user may have it. Nobody's are not counted per user."""
        if peer not in self._users:
            return False
        self._users[peer] = user_id
        self._unknown.discard(peer)
        mine = self._of_user.setdefault(user_id, set())
        mine.add(peer)
        return not user_id or len(mine) <= self._limits.connections_per_user

    def discard(self, peer: Peer) -> None:
        """Forget a connection."""
        user_id = self._users.pop(peer, None)
        self._unknown.discard(peer)
        if user_id is not None:
            mine = self._of_user[user_id]
            mine.discard(peer)
            if not mine:
                del self._of_user[user_id]

    def perhaps_of(self, user_id: str) -> Sequence[Peer]:
        """Return a user's connections, and those of which it is not known yet whose they are."""
        return (*self._of_user.get(user_id, ()), *self._unknown)
