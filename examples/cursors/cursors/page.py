"""The page: who one is, and the providers that give each window a client of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from reactpy import component, html

from tanstack_db.react import DBProvider
from tanstack_realtime import RealtimeClient
from tanstack_realtime.react import RealtimeProvider
from tanstack_start import current_user

from .board import Board
from .people import PEOPLE
from .pointing import SCRIPT

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
    html.title("Cursors"),
    html.meta({"charset": "utf-8"}),
    html.meta({"name": "viewport", "content": "width=device-width, initial-scale=1"}),
    html.meta({"name": "color-scheme", "content": "light dark"}),
    html.link({"rel": "icon", "href": "data:,"}),
    html.link({"rel": "stylesheet", "href": "/static/style.css"}),
    html.script(_OFFLINE + SCRIPT),
)


def make_page(connect: Callable[[str], RealtimeClient]) -> Callable[[], Any]:
    """Return the page's root component. `connect` makes a client for a user."""

    @component
    def Page() -> Any:
        me = current_user()
        if me is None:
            return Welcome()
        return DBProvider(RealtimeProvider(Canvas(me), client=partial(connect, me)))

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
def Canvas(me: str) -> Any:
    return html.div(
        {"class": "app"},
        html.p({"class": "offline", "role": "alert"}, "The server is away. Trying to come back…"),
        Board("board", me),
    )
