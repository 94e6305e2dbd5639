"""The canvas: everybody's cursor by presence, waves by events that nobody keeps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Any, Final

from reactpy import component, html, use_effect, use_ref, use_state

from tanstack_realtime import Member
from tanstack_realtime.react import use_presence, use_publish, use_realtime, use_subscribe

from .people import PEOPLE
from .pointing import Point, moved_by_key, pointed_at
from .presence import Cursor, canvas_presence, waves_channel

__all__ = ["Board"]

WAVE: Final = 1.2
"""Seconds that a wave is seen."""


@component
def Board(canvas_id: str, me: str) -> Any:
    presence = use_presence(canvas_presence.scope(canvas_id=canvas_id), initial=Cursor(PEOPLE.get(me, me)))
    publish = use_publish(waves_channel(canvas_id))
    by_key, set_by_key = use_state(False)
    mine = presence.me
    at = None if mine is None or mine.x is None or mine.y is None else (mine.x, mine.y)

    def point(to: Point | None) -> None:
        # As often as one likes: presence sends at most 20 updates per second, and always the last one.
        x, y = to or (None, None)
        presence.update(x=x, y=y)

    def pointer(event: dict[str, Any]) -> None:
        set_by_key(False)
        point(to := pointed_at(event))
        if to is not None and event.get("down"):
            publish({"x": to[0], "y": to[1]})

    def press(pressed: dict[str, Any]) -> None:
        key = pressed["key"]
        if key == "Escape":
            set_by_key(False)
            point(None)
        elif key == "Enter" and at is not None:
            publish({"x": at[0], "y": at[1]})
        elif (to := moved_by_key(key, at)) is not None:
            set_by_key(True)
            point(to)

    if presence.status == "denied":
        return html.main(html.p({"class": "problem", "role": "alert"}, "This canvas is not for you."))
    return html.main(
        Company(presence.others, me),
        html.div(
            {
                "class": f"canvas {presence.status}",
                "tabIndex": 0,
                "role": "application",
                "aria-label": "Shared canvas. Arrow keys move your cursor, Enter makes a wave, Escape hides you.",
                "onPoint": pointer,
                "onKeyDown": press,
            },
            html.p({"class": "hint"}, "Move, click, or use the arrow keys and Enter"),
            Waves(canvas_id),
            *(_cursor(member) for member in presence.others),
            _own(me, at) if by_key and at is not None else "",
        ),
    )


def _cursor(member: Member[Cursor]) -> Any:
    x, y = member.state.x, member.state.y
    kinds = {"cursor": True, member.user_id: True, "elsewhere": x is None, "stalled": member.status == "stalled"}
    attributes: dict[str, Any] = {
        "key": member.connection_id,
        "class": " ".join(name for name, applies in kinds.items() if applies),
        "data-user": member.user_id,
    }
    if x is not None and y is not None:
        attributes["style"] = _at(x, y)
    return html.div(attributes, _arrow(), html.span({"class": "label"}, member.state.name))


def _own(me: str, at: Point) -> Any:
    label = html.span({"class": "label"}, "You")
    return html.div({"key": "own", "class": f"cursor {me} own", "style": _at(*at)}, _arrow(), label)


def _at(x: float, y: float) -> dict[str, str]:
    # Lengths of the canvas, so that the browser moves a cursor without laying out anything.
    return {"transform": f"translate({x * 100:.2f}cqw, {y * 100:.2f}cqh)"}


def _arrow() -> Any:
    path = html.svg.path({"d": "M2 2 L2 18 L6.5 14 L9.5 20.5 L12.3 19.2 L9.3 12.8 L15.5 12.5 Z"})
    return html.svg({"viewBox": "0 0 20 22", "width": 20, "height": 22, "aria-hidden": "true"}, path)


@component
def Company(others: tuple[Member[Cursor], ...], me: str) -> Any:
    """Who is here."""
    status = use_realtime().store.state.status
    return html.header(
        html.h1("Canvas"),
        html.ul(
            {"class": "members", "aria-label": "Who is here"},
            html.li({"key": "me"}, html.span({"class": f"face {me}"}), "You"),
            *(
                html.li(
                    {"key": member.connection_id, "class": member.status},
                    html.span({"class": f"face {member.user_id}"}),
                    member.state.name,
                )
                for member in others
            ),
        ),
        html.span({"class": f"connection {status}", "role": "status"}, status),
    )


@component
def Waves(canvas_id: str) -> Any:
    """A ring that grows where somebody clicked."""
    waves, set_waves = use_state(dict[int, dict[str, Any]]())
    numbers = use_ref(count()).current
    timers: dict[int, asyncio.TimerHandle] = use_ref(dict[int, asyncio.TimerHandle]()).current

    def gone(number: int) -> None:
        del timers[number]
        set_waves(lambda shown: {key: wave for key, wave in shown.items() if key != number})

    def heard(wave: dict[str, Any]) -> None:
        number = next(numbers)
        timers[number] = asyncio.get_running_loop().call_later(WAVE, gone, number)
        set_waves(lambda shown: {**shown, number: wave})

    def mount() -> Callable[[], None]:
        def stop() -> None:
            for timer in timers.values():
                timer.cancel()

        return stop

    use_subscribe(waves_channel(canvas_id), heard)
    use_effect(mount, dependencies=[])
    return html.div(
        {"class": "waves", "aria-hidden": "true"},
        *(
            html.i({"key": number, "class": f"wave {wave['user']}", "style": _at(wave["x"], wave["y"])}, html.b())
            for number, wave in waves.items()
        ),
    )
