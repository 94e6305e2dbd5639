"""What the application sees of a live channel: events, gaps, and what it may answer to an event."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, cast

from typing_extensions import TypeVar

from ._keys import Channel

__all__ = ["EventFold", "EventHandler", "Fold", "LiveEvent", "LiveGap", "Remove", "open_fold"]

T = TypeVar("T", default=dict[str, Any])


class LiveEvent(Mapping[str, Any]):
    """One event of a live channel: the JSON object that was published, and who published it.

    What the object says about its author is the author's claim; `user_id` is what the server authenticated.

    Attributes:
        data: the object.
        channel: the channel that it came on.
        user_id: the authenticated publisher, or None where the provider does not say (a server publish, for one).
        own: whether this client published it; None where the provider cannot tell.
    """

    __slots__ = ("channel", "data", "own", "user_id")

    def __init__(
        self, data: Mapping[str, Any], *, channel: Channel, user_id: str | None = None, own: bool | None = None
    ) -> None:
        self.data = data
        self.channel = channel
        self.user_id = user_id
        self.own = own

    def __getitem__(self, name: str, /) -> Any:
        return self.data[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        return f"<LiveEvent {self.channel.raw} {dict(self.data)!r} by {self.user_id!r}>"


@dataclass(frozen=True, slots=True)
class Remove:
    """What ``on_event`` returns to remove a row.

    Attributes:
        key: the row's key. One that there is not is no error.
    """

    key: Any


@dataclass(frozen=True, slots=True)
class LiveGap:
    """Events of a live channel that will not come: nothing could be replayed, or too much came at once.

    Attributes:
        channel: where.
        reason: for people.
        reloads: whether ``initial_data`` is loaded again and fills the gap as far as it goes.
    """

    channel: Channel
    reason: str
    reloads: bool


class Fold(ABC, Generic[T]):
    """Events that build on each other, folded into rows. One per scope; made by `EventFold.open`."""

    @abstractmethod
    def event(self, event: LiveEvent, /) -> T | Mapping[str, Any] | Remove | None:
        """Take an event and return the row as it is now, or None to ignore the event."""

    @abstractmethod
    def adopt(self, row: T, /) -> T | Mapping[str, Any]:
        """Take a row of ``initial_data`` or of a page, and return what is known of it: the newer of both."""

    @abstractmethod
    def gap(self) -> Iterable[T | Mapping[str, Any]]:
        """Events were lost. Return the rows that this changes."""

    @abstractmethod
    def forget(self, key: Any, /) -> None:
        """The row is no longer kept."""


class EventFold(ABC, Generic[T]):
    """Declares a `Fold`. An ``on_event`` that remembers; `text_stream` makes one."""

    @abstractmethod
    def open(self) -> Fold[T]:
        """Return a fold that has seen nothing."""


class _EachAlone(Fold[T]):
    """A plain ``on_event``: no event depends on another."""

    def __init__(self, on_event: EventHandler[T]) -> None:
        self._on_event = on_event

    def event(self, event: LiveEvent, /) -> T | Mapping[str, Any] | Remove | None:
        return self._on_event(event)

    def adopt(self, row: T, /) -> T | Mapping[str, Any]:
        return row

    def gap(self) -> Iterable[T | Mapping[str, Any]]:
        return ()

    def forget(self, key: Any, /) -> None:
        pass


def open_fold(on_event: EventHandler[T] | EventFold[T]) -> Fold[T]:
    """Return what takes the events of one scope."""
    given = cast("object", on_event)
    if isinstance(given, EventFold):
        return cast("EventFold[T]", given).open()
    return _EachAlone(cast("EventHandler[T]", given))


EventHandler: TypeAlias = Callable[[LiveEvent], T | Mapping[str, Any] | Remove | None]
