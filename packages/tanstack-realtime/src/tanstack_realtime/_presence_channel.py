"""Presence as an application sees it: who else is here, and what they say of themselves right now."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeAlias, cast

from typing_extensions import ParamSpec, TypeVar

from tanstack_db import rows as _rows

from ._errors import ClosedError, ConfigurationError, MessageError, RealtimeError
from ._keys import Channel, ChannelLike, parse_channel, serialize_key
from ._parameters import Parameters
from ._presence import PresenceStatus
from ._presence_hub import PresenceHub
from ._presence_link import PresenceEntry

if TYPE_CHECKING:
    from typing import Self

__all__ = [
    "Member",
    "MemberStatus",
    "Presence",
    "PresenceChannel",
    "PresenceScope",
    "PresenceView",
    "create_presence_channel",
]

S = TypeVar("S", default=dict[str, Any])
Q = ParamSpec("Q", default=...)

MemberStatus: TypeAlias = Literal["online", "stalled"]


@dataclass(frozen=True)
class Member(Generic[S]):
    """One connection among the members. A user with two windows is two members.

    Attributes:
        connection_id: the server's name for the connection.
        user_id: who it belongs to, as the server says; ``""`` for nobody.
        state: what the member says of itself.
        status: ``stalled`` while the server has not heard of the connection for a while, or while this client has no
            connection to the server; else ``online``.
    """

    connection_id: str
    user_id: str
    state: S
    status: MemberStatus = "online"


@dataclass(frozen=True)
class PresenceView(Generic[S]):
    """An immutable picture of a room.

    Attributes:
        others: the other members, by connection id. Never oneself.
        me: the own state, or None for no member.
        status: ``live`` once the members are known, ``pending`` before and while there is no connection, ``denied``.
        error: why it is denied, or why the last try failed.
    """

    others: tuple[Member[S], ...] = ()
    me: S | None = None
    status: PresenceStatus = "pending"
    error: RealtimeError | None = None

    def by_user(self) -> Mapping[str, tuple[Member[S], ...]]:
        """Return the other members by user id."""
        found: dict[str, tuple[Member[S], ...]] = {}
        for member in self.others:
            found[member.user_id] = (*found.get(member.user_id, ()), member)
        return MappingProxyType(found)


@dataclass(frozen=True)
class PresenceScope(Generic[S]):
    """The room of one set of parameters; `RealtimeClient.presence` opens it.

    Attributes:
        id: the presence channel's.
        channel: the channel.
        schema: the class of a member's state, or None for plain dicts.
    """

    id: str
    channel: Channel
    schema: type[S] | None


class PresenceChannel(Generic[S, Q]):
    """Made by `create_presence_channel`."""

    def __init__(self, id: str, channel: Callable[Q, ChannelLike], schema: type[S] | None) -> None:  # noqa: A002
        _rows.columns(schema)  # refuses what states cannot be of
        self.id: Final = id
        self.schema: Final = schema
        self._channel = channel
        self._parameters = Parameters(
            id=id, query_fn=channel, channel=channel, columns=None, row_columns=None, role="channel"
        )

    def __repr__(self) -> str:
        return f"<PresenceChannel {self.id!r}>"

    def scope(self, *args: Q.args, **params: Q.kwargs) -> PresenceScope[S]:
        """Return the room of these parameters.

        Raises:
            ChannelError: a value that no channel can carry.
        """
        return PresenceScope(self.id, parse_channel(serialize_key(self._channel(*args, **params))), self.schema)

    @property
    def declared_channel(self) -> tuple[str, frozenset[str]] | None:
        """Namespace and parameter names of its channels, for ``Realtime(channels=[...])``."""
        return self._parameters.declared()


def create_presence_channel(
    *,
    id: str,  # noqa: A002 -- the option's name
    channel: Callable[Q, ChannelLike],
    state: type[S] | None = None,
) -> PresenceChannel[S, Q]:
    """Declare who-is-here for a kind of channel: cursors, typing indicators, who is online.

    Args:
        id: names it in errors.
        channel: the channel of one set of parameters.
        state: what a member says of itself: a dataclass, pydantic model, attrs, msgspec or TypedDict; it travels as a
            JSON object. None for plain dicts.

    Raises:
        ConfigurationError: `channel` is not a plain function with named parameters.
        DbError: `state` is not a class that states can be of.

    Example:
        >>> editor = create_presence_channel(
        ...     id="editor", channel=lambda document_id: ("editor", {"document_id": document_id}), state=Cursor)
        >>> presence = client.presence(editor.scope(document_id="d1"), initial=Cursor(name="Ada"))
        >>> presence.update(x=3, y=4)
        >>> [member.state.name for member in presence.others]
    """
    return PresenceChannel(id, channel, state)


class Presence(Generic[S]):
    """One view of a room, and the own membership in it. Made by `RealtimeClient.presence`; `close` it.

    All views of a room on one client share one membership. It ends with the last view that joined.

    Attributes:
        scope: the room.
    """

    def __init__(self, hub: PresenceHub, scope: PresenceScope[S], initial: S | None) -> None:
        self.scope: Final = scope
        self._hub = hub
        self._closed = False
        self._members: dict[str, tuple[PresenceEntry, Member[S] | None]] = {}
        self._view: PresenceView[S] | None = None
        self._callbacks: dict[object, Callable[[], object]] = {}
        self._waiters: set[asyncio.Future[None]] = set()
        self._room = hub.open(scope.channel.raw, self, None if initial is None else self._plain(initial))

    def __repr__(self) -> str:
        return f"<Presence {self.scope.channel.raw} {self._room.machine.status}, {len(self.others)} others>"

    # -- reading -------------------------------------------------------------------------------------------------------

    def get(self) -> PresenceView[S]:
        """Return the present picture; the same object until something changes."""
        if self._view is None:
            machine = self._room.machine
            self._view = (
                PresenceView()
                if self._closed
                else PresenceView(self._others(), self._own(), machine.status, machine.error)
            )
        return self._view

    @property
    def others(self) -> tuple[Member[S], ...]:
        """The other members, by connection id."""
        return self.get().others

    def by_user(self) -> Mapping[str, tuple[Member[S], ...]]:
        """Return the other members by user id."""
        return self.get().by_user()

    @property
    def status(self) -> PresenceStatus:
        """See `PresenceView.status`."""
        return self.get().status

    def subscribe(self, callback: Callable[[], object], /) -> Callable[[], None]:
        """Call `callback` after every change, at most once per turn of the loop.

        Returns:
            The function that stops it. Idempotent.

        Raises:
            ConfigurationError: nobody would await a coroutine function.
        """
        if not callable(cast("object", callback)) or inspect.iscoroutinefunction(callback):
            raise ConfigurationError(f"subscribe({callback!r}): pass a plain function without arguments")
        token = object()
        self._callbacks[token] = callback
        return lambda: cast("None", self._callbacks.pop(token, None))

    async def live(self) -> None:
        """Wait until the members are known.

        Raises:
            ChannelDeniedError: presence is refused here.
            ClosedError: it was closed.
        """
        while not self._closed:
            view = self.get()
            if view.status == "live":
                return
            if view.status == "denied" and view.error is not None:
                raise view.error.with_traceback(None)
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)
        raise ClosedError(f"the presence on {self.scope.channel.raw!r} was closed", channel=self.scope.channel.raw)

    # -- being there ---------------------------------------------------------------------------------------------------

    def join(self, state: S, /) -> None:
        """Be a member with this state, now or as soon as there is a connection, and again after every reconnect.

        Raises:
            SchemaError: not a state of the channel's class.
            ClosedError: it was closed.
        """
        self._require_open()
        self._hub.join(self._room, self, self._plain(state))

    def update(self, change: Callable[[S], S] | None = None, /, **fields: Any) -> None:
        """Change the own state; what is not named stays. Call it as often as you like: the last value counts.

        Args:
            change: a function from the state to the new one.
            fields: or the fields with their new values.

        Raises:
            ConfigurationError: `join` was not called, or another user is connected than when it was.
            SchemaError: a field that there is not, or a value that does not fit.
            ClosedError: it was closed.
        """
        self._require_open()
        state = self._own()
        if state is None:
            raise ConfigurationError(
                f"update on {self.scope.channel.raw!r} without being a member; call join(state) first, or open it with "
                "initial=state",
                channel=self.scope.channel.raw,
                code="not_joined",
            )
        _rows.check_fields(fields, state, self.scope.schema)
        changed = _rows.replace(state if change is None else change(state), fields)
        self._hub.update(self._room, self._plain(changed))

    def leave(self) -> None:
        """Be a member no longer, and go on seeing the others. Without a join it does nothing."""
        if not self._closed:
            self._hub.leave(self._room, self)

    def retry(self) -> None:
        """Ask the server again, if it refused."""
        if not self._closed:
            self._hub.retry(self._room)

    def close(self) -> None:
        """Leave, and see nothing more. Idempotent."""
        if not self._closed:
            self._hub.close(self._room, self)
            self._closed = True
            self._callbacks.clear()
            self.outdate()
            self.room_changed()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # -- called by the hub ---------------------------------------------------------------------------------------------

    def outdate(self) -> None:
        """The picture is not true any more."""
        self._view = None

    def room_changed(self) -> None:
        """Tell everybody who looks at it."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        for token, callback in list(self._callbacks.items()):
            if token in self._callbacks:
                try:
                    callback()
                except Exception as error:  # noqa: BLE001 -- one listener's failure is not another's
                    self._hub.report(error)

    # -- helpers -------------------------------------------------------------------------------------------------------

    def _require_open(self) -> None:
        if self._closed:
            raise ClosedError(f"the presence on {self.scope.channel.raw!r} was closed", channel=self.scope.channel.raw)

    def _plain(self, state: S) -> Mapping[str, Any]:
        _rows.check(state, self.scope.schema)
        return _rows.to_plain(state)

    def _own(self) -> S | None:
        state = self._room.machine.state
        return None if state is None else cast("S", _rows.from_plain(state, self.scope.schema))

    def _others(self) -> tuple[Member[S], ...]:
        known, self._members = self._members, {}
        for entry in self._room.machine.others:
            former = known.get(entry.connection_id)
            if former is None or former[0] != entry:
                former = (entry, self._member(entry, former))
            self._members[entry.connection_id] = former
        return tuple(member for _, member in self._members.values() if member is not None)

    def _member(self, entry: PresenceEntry, former: tuple[PresenceEntry, Member[S] | None] | None) -> Member[S] | None:
        try:
            state = cast("S", _rows.from_plain(entry.state, self.scope.schema))
        except Exception as error:  # noqa: BLE001 -- another member's state, whose class may raise anything
            if former is None or former[1] is not None:
                failure = MessageError(
                    f"connection {entry.connection_id!r} of user {entry.user_id!r} has a state on "
                    f"{self.scope.channel.raw!r} that is none of presence channel {self.scope.id!r}: {error}",
                    channel=self.scope.channel.raw,
                )
                failure.__cause__ = error
                self._hub.report(failure)
            return None
        return Member(entry.connection_id, entry.user_id or "", state, "stalled" if entry.stalled else "online")
