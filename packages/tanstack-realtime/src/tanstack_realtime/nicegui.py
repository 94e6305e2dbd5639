"""A realtime connection for each NiceGUI page. Needs ``tanstack-realtime[nicegui]``.

Example:
    >>> @ui.page("/rooms/{room_id}")
    ... def room(room_id: str) -> None:
    ...     live = RealtimePage(lambda: create_realtime_client(transport=realtime.local_transport(user_id=user())))
    ...
    ...     @live.list(lambda q: q.from_(messages).where(lambda m: m.room_id == room_id))
    ...     def message(row: Message) -> None:
    ...         ui.label(row.text)
    ...
    ...     typing = ui.label()
    ...     live.on_channel(("chat:typing", {"room_id": room_id}), lambda data: typing.set_text(data["name"]))
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nicegui import ui
from typing_extensions import TypeVar

from tanstack_db import DbClient
from tanstack_db.nicegui import LivePage

from ._client import RealtimeClient
from ._create import create_realtime_client
from ._keys import ChannelLike
from ._presence_channel import Presence, PresenceScope, PresenceView
from ._sessions import session_realtime
from ._transport import Inbound

__all__ = ["RealtimePage"]

S = TypeVar("S", default=dict[str, Any])

_EVENTS = ("focus", "visible", "online")

_SCRIPT = """<script>
window.addEventListener("focus", () => emitEvent("tanstack_focus"));
window.addEventListener("online", () => emitEvent("tanstack_online"));
document.addEventListener("visibilitychange", () =>
  document.visibilityState === "visible" && emitEvent("tanstack_visible"));
</script>"""


class RealtimePage(LivePage):
    """The session of the page that is being built, with a connection: make one in the page's function.

    Args:
        realtime: makes the realtime client of this session; `create_realtime_client` in it takes the session's
            collections.
        client: makes the client of the session's collections.
        auto_connect: False leaves ``page.realtime.connect()`` to the page.

    Raises:
        ConfigurationError: `realtime` is a client itself, or returned one that is not this session's.
        UsageError: see `LivePage`.

    Attributes:
        realtime: the session's realtime client.
    """

    def __init__(
        self,
        realtime: Callable[[], RealtimeClient] = create_realtime_client,
        client: Callable[[], DbClient] = DbClient,
        *,
        auto_connect: bool = True,
    ) -> None:
        super().__init__(client)
        self.realtime = session_realtime(realtime, self.client, "RealtimePage")
        ui.add_body_html(_SCRIPT)
        for event in _EVENTS:
            ui.on(f"tanstack_{event}", getattr(self.realtime.lifecycle, event))
        if auto_connect:
            self.realtime.connect()

    def show_status(self, show: Callable[[str], object], /) -> None:
        """Call `show` with the connection's status, now and after each change, inside the element being built now."""
        store, place, last = self.realtime.store, self.here(), ""

        def changed(_: object = None) -> None:
            nonlocal last
            if place.is_gone:
                stop()
            elif store.state.status != last:
                last = store.state.status
                place.call(show, last)

        stop = store.subscribe(changed)
        changed()

    def on_channel(self, channel: ChannelLike, on_event: Callable[[Any], object], /) -> None:
        """Call `on_event` with the data of each event of a channel, inside the element that is being built now.

        Args:
            channel: ``("chat", {"room": "1"})`` or a `Channel`.
            on_event: a function, or a coroutine function: what it still does when the page is closed is cancelled.

        Raises:
            ChannelError: not a channel.
        """
        place = self.here()

        def heard(message: Inbound) -> None:
            if place.is_gone:
                subscription.unsubscribe()
            else:
                place.call(on_event, message.data)

        subscription = self.realtime.subscribe(channel, heard)

    def show_presence(
        self, scope: PresenceScope[S], show: Callable[[PresenceView[S]], object], /, *, initial: S | None = None
    ) -> Presence[S]:
        """Call `show` with who is in a room, now and after each change; with `initial` be a member of it.

        Returns:
            The presence, for example to update the own state.
        """
        presence, place = self.realtime.presence(scope, initial=initial), self.here()

        def changed() -> None:
            if place.is_gone:
                presence.close()
            else:
                place.call(show, presence.get())

        presence.subscribe(changed)
        changed()
        return presence
