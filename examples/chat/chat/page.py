"""The page: who one is, the rooms, and the providers that give each window a client of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import parse_qs

from reactpy import component, html, use_location, use_state

from tanstack_db.react import DBProvider
from tanstack_realtime import RealtimeClient
from tanstack_realtime.react import RealtimeProvider
from tanstack_start import current_user

from .company import Connection, Members, TypingLine, use_typing
from .components import Composer, MessageList
from .rooms import PEOPLE, ROOMS, rooms_of

__all__ = ["HEAD", "make_page"]

# ReactPy comes back by itself when the server does. Until then only the browser can say that it is away, and keep
# clicks and keys from the session that follows, where they would hit whatever is in the same place.
_OFFLINE = """
let focused = null;
const setOffline = (isOffline) => {
  const root = document.documentElement;
  if (isOffline === root.hasAttribute("data-offline")) return;
  if (isOffline) focused = document.activeElement;
  root.toggleAttribute("data-offline", isOffline);
  document.querySelectorAll("header, main").forEach((part) => (part.inert = isOffline));
  if (!isOffline && focused?.isConnected) focused.focus();
};
window.WebSocket = class extends WebSocket {
  constructor(...args) {
    super(...args);
    this.addEventListener("message", () => setOffline(false));
    this.addEventListener("close", () => setOffline(true));
  }
};
"""

HEAD = html.head(
    html.title("Chat"),
    html.meta({"charset": "utf-8"}),
    html.meta({"name": "viewport", "content": "width=device-width, initial-scale=1"}),
    html.meta({"name": "color-scheme", "content": "light dark"}),
    html.link({"rel": "icon", "href": "data:,"}),
    html.link({"rel": "stylesheet", "href": "/static/style.css"}),
    html.script(_OFFLINE),
)


def make_page(connect: Callable[[str], RealtimeClient]) -> Callable[[], Any]:
    """Return the page's root component. `connect` makes a client for a user."""

    @component
    def Page() -> Any:
        me = current_user()
        if me is None:
            return Welcome()
        return DBProvider(RealtimeProvider(Chat(me), client=partial(connect, me)))

    return Page


@component
def Welcome() -> Any:
    """A login takes this place in a real application."""
    return html.main(
        {"class": "welcome"},
        html.h1("Who are you?"),
        html.p("Open a second window as somebody else, and put the two side by side."),
        html.nav(*(html.a({"href": f"/?as={user_id}", "key": user_id}, name) for user_id, name in PEOPLE.items())),
    )


@component
def Chat(me: str) -> Any:
    asked = parse_qs(use_location().query_string.removeprefix("?")).get("room", ["lobby"])[0]
    room_id, enter = use_state(asked if asked in ROOMS else "lobby")
    return html.div(
        {"class": "app"},
        html.header(
            html.h1("Chat"),
            html.nav(
                {"aria-label": "Rooms"},
                *(
                    html.button(
                        {
                            "key": name,
                            "type": "button",
                            "aria-current": "page" if name == room_id else "false",
                            "onClick": _enter(enter, name),
                        },
                        f"# {name}",
                    )
                    for name in rooms_of(me)
                ),
            ),
            Connection(),
        ),
        html.p({"class": "offline", "role": "alert"}, "The server is away. Trying to come back…"),
        Room(room_id, me, key=room_id),
    )


def _enter(enter: Callable[[str], None], room_id: str) -> Callable[[object], None]:
    return lambda _: enter(room_id)


@component
def Room(room_id: str, me: str) -> Any:
    typing, tell = use_typing(room_id, me)
    return html.main(
        html.aside(html.h2("Here now"), Members(room_id, me)),
        html.section(
            MessageList(room_id, me),
            TypingLine(typing),
            Composer(room_id, me, tell),
        ),
    )
