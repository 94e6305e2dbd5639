"""A realtime connection in a Textual app. Needs ``tanstack-realtime[textual]``.

Widgets that only show collections need none of it: their binding is `tanstack_db.textual`.

Example:
    >>> class TodoApp(RealtimeMixin, App[None]):
    ...     def on_mount(self) -> None:
    ...         self.use_realtime(create_realtime_client("https://example.com", get_token=read_token))
    >>> class Typing(RealtimeMixin, Static):
    ...     def on_mount(self) -> None:
    ...         self.on_channel(("chat:typing", {"room": "1"}), lambda data: self.update(f"{data['name']} types"))
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from textual.app import App
from typing_extensions import TypeVar

from tanstack_db.textual import LiveMixin

from ._client import RealtimeClient
from ._errors import ConfigurationError
from ._keys import ChannelLike
from ._lifecycle import LifecycleEvent
from ._presence_channel import Presence, PresenceScope, PresenceView
from ._slot import client_slot

__all__ = ["RealtimeMixin", "TerminalFocus"]

S = TypeVar("S", default=dict[str, Any])


class TerminalFocus:
    """A `LifecycleSource`: the terminal has the focus again, where the terminal tells.

    Args:
        app: a running app.
    """

    def __init__(self, app: App[Any]) -> None:
        self._app = app

    def subscribe(self, callback: Callable[[LifecycleEvent], None], /) -> Callable[[], None]:
        """Call `callback` with ``focus``. Returns the function that stops it."""
        is_active = True

        def changed(has_focus: bool) -> None:
            if has_focus and is_active:
                callback("focus")

        def stop() -> None:
            nonlocal is_active
            is_active = False

        self._app.watch(self._app, "app_focus", changed, init=False)
        return stop


class RealtimeMixin(LiveMixin):
    """Lets an app own a connection, and any widget listen to channels and see who is there, until it is unmounted.

    Call its methods in ``on_mount`` or later. What they are given is called by the widget's own message loop.
    """

    _realtime: RealtimeClient | None = None
    _ends: tuple[Callable[[], object], ...] = ()

    def use_realtime(self, client: RealtimeClient, /, *, auto_connect: bool = True) -> RealtimeClient:
        """Connect, follow the terminal's focus, and close the client when this is unmounted. As a rule in the app.

        Args:
            client: made by `create_realtime_client`.
            auto_connect: False leaves ``client.connect()`` to the program.

        Returns:
            `client`.

        Raises:
            ConfigurationError: this has a client already.
        """
        if self._realtime is not None:
            raise ConfigurationError(f"{self!r} has a realtime client already", reason="called twice")
        self._realtime = client
        client.lifecycle.follow(TerminalFocus(cast("Any", self).app))
        if auto_connect:
            client.connect()
        return client

    @property
    def realtime(self) -> RealtimeClient:
        """The client that the collections of this widget use.

        Raises:
            ConfigurationError: there is none.
        """
        client = self._realtime or client_slot(self.live_client()).client
        if client is None:
            raise ConfigurationError(
                "there is no realtime client; call use_realtime(create_realtime_client(...)) in the app's on_mount",
                reason="no client",
            )
        return client

    def show_status(self, show: Callable[[str], object], /) -> None:
        """Call `show` with the connection's status, soon and after each change of it."""
        store, last = self.realtime.store, ""

        def changed() -> None:
            nonlocal last
            if store.state.status != last:
                last = store.state.status
                show(last)

        self._ends = (*self._ends, store.subscribe(lambda _state: self.call_later(changed)))
        self.call_later(changed)

    def on_channel(self, channel: ChannelLike, on_event: Callable[[Any], object], /) -> None:
        """Call `on_event` with the data of each event of a channel.

        Raises:
            ChannelError: not a channel.
        """
        subscription = self.realtime.subscribe(channel, lambda message: self.call_later(on_event, message.data))
        self._ends = (*self._ends, subscription.unsubscribe)

    def show_presence(
        self, scope: PresenceScope[S], show: Callable[[PresenceView[S]], object], /, *, initial: S | None = None
    ) -> Presence[S]:
        """Call `show` with who is in a room, soon and after each change; with `initial` be a member of it.

        Returns:
            The presence, for example to update the own state.
        """
        presence = self.realtime.presence(scope, initial=initial)
        presence.subscribe(lambda: self.call_later(lambda: show(presence.get())))
        self.call_later(lambda: show(presence.get()))
        self._ends = (*self._ends, presence.close)
        return presence

    # Textual calls the handlers of every class of a widget, so that a widget's own `on_unmount` does not hide this.
    async def on_unmount(self) -> None:
        """Let everything go."""
        for end in self._ends:
            end()
        self._ends = ()
        client, self._realtime = self._realtime, None
        if client is not None:
            await client.close()
