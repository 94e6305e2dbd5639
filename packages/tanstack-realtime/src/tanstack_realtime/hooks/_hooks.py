"""`RealtimeHooks`: the hooks of tanstack-realtime over any `tanstack_db.hooks.Runtime`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, TypeAlias

from typing_extensions import TypeVar

from tanstack_db.hooks import use_store

from .._errors import ConfigurationError
from .._keys import ChannelLike, serialize_key
from .._presence_channel import PresenceScope
from .._slot import client_slot
from .._transport import JSON
from ._presence import PresenceHandle, Room

if TYPE_CHECKING:
    from tanstack_db.hooks import Cleanup, Runtime

    from .._client import RealtimeClient
    from .._state import RealtimeState
    from .._transport import Inbound

__all__ = ["OnEvent", "Publish", "RealtimeHooks"]

S = TypeVar("S")

OnEvent: TypeAlias = Callable[[Any], object]
"""Takes the data of one event of a channel."""

Publish: TypeAlias = Callable[[Mapping[str, JSON]], None]
"""Publishes an event. Returns at once; a failure reaches the client's ``on_error``."""


class RealtimeHooks:
    """Hooks for components below a ``RealtimeProvider``.

    Args:
        runtime: the framework's own hooks.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def use_realtime(self) -> RealtimeClient:
        """Return the session's realtime client. The component renders again when the connection's status changes.

        Example:
            >>> realtime = use_realtime()
            >>> html.span(realtime.store.state.status)
            >>> html.button({"onClick": lambda event: realtime.connect()}, "log in")

        Raises:
            ConfigurationError: there is no provider above.
        """
        client = self._client("use_realtime")
        place = self._runtime.use_ref()
        status: _Status | None = place.current
        if status is None or status.client is not client:
            status = place.current = _Status(client)
        use_store(self._runtime, status)
        return client

    def use_presence(self, scope: PresenceScope[S], /, *, initial: S | None = None) -> PresenceHandle[S]:
        """Be in a room, and show who else is, while the component is mounted.

        Args:
            scope: ``editor.scope(document_id="d1")``. Another one leaves the room of before.
            initial: the own state with which to join; None watches without being seen.

        Raises:
            ConfigurationError: there is no provider above.
        """
        client = self._client("use_presence")
        place = self._runtime.use_ref()
        room: Room[S] | None = place.current
        if room is None or room.client is not client or room.scope != scope:
            room = place.current = Room(client, scope, initial)
        return use_store(self._runtime, room)

    def use_publish(self, channel: ChannelLike, /) -> Publish:
        """Return a function that publishes to a channel over the connection; the same one until the channel changes.

        Raises:
            ChannelError: not a channel.
            ConfigurationError: there is no provider above.
        """
        client, wire = self._client("use_publish"), serialize_key(channel)
        place = self._runtime.use_ref()
        publisher: _Publisher | None = place.current
        if publisher is None or publisher.client is not client or publisher.wire != wire:
            publisher = place.current = _Publisher(client, channel, wire)
        return publisher.publish

    def use_subscribe(self, channel: ChannelLike, on_event: OnEvent, /) -> None:
        """Call `on_event` with the data of each event of a channel, while the component is mounted.

        It is the function of the latest render that is called, so it sees what that render saw.

        Args:
            channel: ``("chat", {"room": "1"})`` or a `Channel`.
            on_event: a function, or a coroutine function. What it still does when the session ends is cancelled; what
                it raises reaches ``on_error``.

        Raises:
            ChannelError: not a channel.
            ConfigurationError: there is no provider above.
        """
        client, wire = self._client("use_subscribe"), serialize_key(channel)
        place = self._runtime.use_ref()
        heard: _Heard | None = place.current
        if heard is None or heard.client is not client or heard.wire != wire:
            heard = place.current = _Heard(client, channel, wire)
        heard.on_event = on_event
        self._runtime.use_effect(heard.mount, heard)

    def _client(self, hook: str) -> RealtimeClient:
        db = self._runtime.use_client()
        client = None if db is None else client_slot(db).client
        if client is None:
            raise ConfigurationError(
                f"{hook} needs a RealtimeProvider(...) above the component", reason="no RealtimeProvider"
            )
        return client


class _Status:
    """The connection's status as a store: other changes of the client's state render nothing."""

    def __init__(self, client: RealtimeClient) -> None:
        self.client = client
        self._shown = _status_of(client.store.state)

    def get(self) -> object:
        now = _status_of(self.client.store.state)
        if now != self._shown:
            self._shown = now
        return self._shown

    def subscribe(self, callback: Callable[[], object], /) -> Cleanup:
        last = self.get()

        def changed(state: RealtimeState) -> None:
            nonlocal last
            # A client that closes may do so before its components are gone: they have nothing more to show.
            if _status_of(state) != last and not self.client.is_closed:
                last = _status_of(state)
                callback()

        return self.client.store.subscribe(changed)


def _status_of(state: RealtimeState) -> tuple[object, ...]:
    return state.status, state.reason, state.attempt, state.retry_at


class _Publisher:
    """What `RealtimeHooks.use_publish` returned."""

    def __init__(self, client: RealtimeClient, channel: ChannelLike, wire: str) -> None:
        self.client = client
        self.wire = wire
        self._channel = channel

    def publish(self, data: Mapping[str, JSON]) -> None:
        self.client.publish_soon(self._channel, dict(data))


class _Heard:
    """A channel as long as a component listens; the key of the effect that subscribes."""

    def __init__(self, client: RealtimeClient, channel: ChannelLike, wire: str) -> None:
        self.client = client
        self.wire = wire
        self._channel = channel
        self.on_event: OnEvent = _ignore

    def mount(self) -> Cleanup:
        return self.client.subscribe(self._channel, self._message).unsubscribe

    def _message(self, message: Inbound) -> None:
        result = self.on_event(message.data)
        if isawaitable(result):
            self.client.db.start(_finish(result), "do what a handler of an event began")


async def _finish(work: Awaitable[object]) -> None:
    await work


def _ignore(_: object) -> None:
    """Before the first render is over."""
