"""A window: who it belongs to, its session, its connection, and what went wrong in it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from reactpy import component, html, use_state

from tanstack_db import DbClient
from tanstack_db.react import DBProvider
from tanstack_realtime import RealtimeClient, RealtimeError
from tanstack_realtime.react import RealtimeProvider, use_realtime
from tanstack_start import ServerFnError, current_user

from .components import TodoBoard

__all__ = ["HEAD", "make_page"]

PROJECT = "demo"
USERS = {"ada": "Ada", "bob": "Bob"}

_STATUS = {
    "connected": ("live", "Live"),
    "connecting": ("waiting", "Connecting…"),
    "reconnecting": ("waiting", "Reconnecting…"),
    "disconnected": ("off", "Offline"),
}

HEAD = html.head(
    html.title("Todos"),
    html.meta({"charset": "utf-8"}),
    html.meta({"name": "viewport", "content": "width=device-width, initial-scale=1"}),
    html.meta({"name": "color-scheme", "content": "light dark"}),
    html.link({"rel": "icon", "href": "/static/icon.svg"}),
    html.link({"rel": "stylesheet", "href": "/static/todos.css"}),
    html.script({"src": "/static/window.js"}),
)

_logger = logging.getLogger("todos")


def make_page(connect: Callable[[str], RealtimeClient]) -> Callable[[], Any]:
    """Return the page's root component. `connect` makes the realtime client of a window, for its user."""

    @component
    def Page() -> Any:
        user_id = current_user()
        return Welcome() if user_id is None else Window(user_id, connect)

    return Page


@component
def Window(user_id: str, connect: Callable[[str], RealtimeClient]) -> Any:
    notice, notify = use_state("")

    def fail(error: Exception) -> None:
        # How the connection is, and whether the list could be fetched, is shown where they are.
        if not isinstance(error, RealtimeError):
            notify(reason(error))

    return html.div(
        {"class": "app"},
        DBProvider(
            RealtimeProvider(Header(user_id), TodoBoard(PROJECT), client=partial(connect, user_id)),
            client=lambda: DbClient(on_error=fail),
        ),
        Notice(notice, lambda: notify("")),
    )


def reason(error: Exception) -> str:
    """Say to the user why something failed; what he was not meant to see goes to the log."""
    if isinstance(error, ServerFnError):
        return str(error)
    _logger.error("a window met an error", exc_info=error)
    return "something went wrong on the server"


@component
def Welcome() -> Any:
    return html.main(
        {"class": "app welcome"},
        html.h1("Who are you?"),
        html.p("Open one window as each of them and put the two side by side."),
        html.nav(*(html.a({"key": user_id, "href": f"/?user={user_id}"}, name) for user_id, name in USERS.items())),
    )


@component
def Header(me: str) -> Any:
    return html.header(
        html.h1("Todos"),
        Connection(),
        html.nav(
            {"aria-label": "User"},
            *(
                html.a(
                    {
                        "key": user_id,
                        "href": f"/?user={user_id}",
                        **({"aria-current": "page"} if user_id == me else {}),
                    },
                    name,
                )
                for user_id, name in USERS.items()
            ),
        ),
    )


@component
def Connection() -> Any:
    """How the connection is; a click ends it, or begins it again."""
    realtime = use_realtime()
    status = realtime.store.state.status
    kind, label = _STATUS[status]
    is_off = status == "disconnected"

    def toggle(_event: Any) -> None:
        if is_off:
            realtime.connect()
        else:
            realtime.disconnect()

    return html.button(
        {
            "type": "button",
            "class": f"connection {kind}",
            "title": "Go online" if is_off else "Go offline",
            "aria-label": f"{label}. {'Go online' if is_off else 'Go offline'}",
            "onClick": toggle,
        },
        label,
    )


@component
def Notice(text: str, dismiss: Callable[[], object]) -> Any:
    def close(_event: Any) -> None:
        dismiss()

    return html.div(
        {"class": "notices", "role": "alert"},
        html.div(
            {"class": "notice"},
            html.p(html.strong("That did not work: "), text),
            html.button(
                {"type": "button", "aria-label": "Dismiss", "onClick": close},
                "×",
            ),
        )
        if text
        else "",
    )
