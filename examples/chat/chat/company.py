"""Who is here and who is typing: presence, and raw events that no collection keeps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from reactpy import component, html, use_effect, use_ref, use_state

from tanstack_realtime import serialize_key
from tanstack_realtime.react import use_presence, use_publish, use_realtime, use_subscribe

from .collections import room_presence
from .rooms import PEOPLE
from .schemas import Here

__all__ = ["Connection", "Members", "TypingLine", "use_typing"]

EVERY: Final = 2.0
"""Seconds after which somebody who still types says so again."""

PATIENCE: Final = 5.0
"""Seconds after which somebody who says nothing more has stopped: the window may be gone."""


@component
def Connection() -> Any:
    """The state of the connection."""
    status = use_realtime().store.state.status
    return html.span({"class": f"connection {status}", "role": "status"}, status)


@component
def Members(room_id: str, me: str) -> Any:
    """Who is in the room right now: a user with two windows is one line."""
    presence = use_presence(room_presence.scope(room_id=room_id), initial=Here(PEOPLE.get(me, me)))
    if presence.status == "denied":
        return html.p({"class": "quiet"}, "Not for you.")
    everybody = {me: ("You", False, 1 + len(presence.by_user().get(me, ())))}
    for user_id, windows in presence.by_user().items():
        if user_id != me:
            is_away = all(window.status == "stalled" for window in windows)
            everybody[user_id] = (windows[0].state.name, is_away, len(windows))
    return html.ul(
        {"class": "members", "aria-label": "Members who are here"},
        *(
            html.li(
                {"key": user_id, "class": "away" if is_away else "here"},
                html.span({"class": f"face {user_id}", "aria-hidden": "true"}, PEOPLE.get(user_id, user_id)[:1]),
                html.span({"class": "name"}, name),
                html.small(f"{windows} windows") if windows > 1 else "",
            )
            for user_id, (name, is_away, windows) in everybody.items()
        ),
    )


def use_typing(room_id: str, me: str) -> tuple[list[str], Callable[[bool], None]]:
    """Return who else types in a room, and a function to say whether oneself does, to be called at each change."""
    channel = ("chat:typing", {"room_id": room_id})
    publish = use_publish(channel)
    typing, set_typing = use_state(frozenset[str]())
    timers: dict[str, asyncio.TimerHandle] = use_ref(dict[str, asyncio.TimerHandle]()).current
    said = use_ref(float("-inf"))

    def stopped(user: str) -> None:
        if (timer := timers.pop(user, None)) is not None:
            timer.cancel()
        set_typing(lambda users: users - {user})

    def heard(data: dict[str, Any]) -> None:
        user = data["user"]
        if user == me:
            return
        stopped(user)
        if data["typing"]:
            timers[user] = asyncio.get_running_loop().call_later(PATIENCE, stopped, user)
            set_typing(lambda users: users | {user})

    def forget() -> Callable[[], None]:
        def stop() -> None:
            for timer in timers.values():
                timer.cancel()
            timers.clear()

        set_typing(frozenset[str]())
        return stop

    def tell(is_typing: bool) -> None:
        now = asyncio.get_running_loop().time()
        was_typing = now - said.current < PATIENCE
        if is_typing and now - said.current >= EVERY:
            said.current = now
            publish({"typing": True})
        elif not is_typing and was_typing:
            said.current = float("-inf")
            publish({"typing": False})

    use_subscribe(channel, heard)
    use_effect(forget, dependencies=[serialize_key(channel)])
    return sorted(PEOPLE.get(user, user) for user in typing), tell


@component
def TypingLine(names: list[str]) -> Any:
    """Who types; the line keeps its height when nobody does."""
    who = " and ".join(names) if len(names) < 3 else "Several people"
    dots = html.span({"class": "dots", "aria-hidden": "true"}, html.i(), html.i(), html.i())
    says = (dots, f"{who} {'is' if len(names) == 1 else 'are'} typing") if names else ("",)
    return html.p({"class": "typing", "aria-live": "polite"}, *says)
