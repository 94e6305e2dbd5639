"""What a component sees of a room."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic

from typing_extensions import TypeVar

from .._presence_channel import Member, Presence, PresenceScope, PresenceView

if TYPE_CHECKING:
    from tanstack_db.hooks import Cleanup

    from .._client import RealtimeClient
    from .._errors import RealtimeError
    from .._presence import PresenceStatus

__all__ = ["PresenceHandle", "Room"]

S = TypeVar("S", default=dict[str, Any])


@dataclass(frozen=True, slots=True)
class PresenceHandle(Generic[S]):
    """The picture that a component was rendered with, and the way to change one's own part of it.

    Attributes:
        view: the whole picture.
    """

    view: PresenceView[S]
    _room: Room[S]

    @property
    def others(self) -> tuple[Member[S], ...]:
        """The other members, by connection id. Never oneself."""
        return self.view.others

    @property
    def me(self) -> S | None:
        """The own state, or None for no member."""
        return self.view.me

    @property
    def status(self) -> PresenceStatus:
        """``live`` once the members are known, ``pending`` before and while there is no connection, ``denied``."""
        return self.view.status

    @property
    def error(self) -> RealtimeError | None:
        """Why it is denied, or why the last try failed."""
        return self.view.error

    def by_user(self) -> Mapping[str, tuple[Member[S], ...]]:
        """Return the other members by user id."""
        return self.view.by_user()

    def update(self, change: Callable[[S], S] | None = None, /, **fields: Any) -> None:
        """Change the own state; see `Presence.update`. Does nothing once the component is gone."""
        self._room.update(change, **fields)


class Room(Generic[S]):
    """A room as long as a component shows it: the store that it reads, and the key of the effect that joins it."""

    def __init__(self, client: RealtimeClient, scope: PresenceScope[S], initial: S | None) -> None:
        self.client = client
        self.scope = scope
        self._initial = initial
        self._presence: Presence[S] | None = None
        self._handle = PresenceHandle(PresenceView[S](), self)

    def get(self) -> PresenceHandle[S]:
        view = self._handle.view if self._presence is None else self._presence.get()
        if view is not self._handle.view:
            self._handle = PresenceHandle(view, self)
        return self._handle

    def subscribe(self, callback: Callable[[], object], /) -> Cleanup:
        """Join, and leave with the function that this returns."""
        presence = self._presence = self.client.presence(self.scope, initial=self._initial)
        stop = presence.subscribe(lambda: self.client.is_closed or callback())

        def leave() -> None:
            stop()
            self._presence = None
            self._handle = PresenceHandle(PresenceView[S](), self)
            presence.close()

        return leave

    def update(self, change: Callable[[S], S] | None, /, **fields: Any) -> None:
        if self._presence is not None:
            self._presence.update(change, **fields)
