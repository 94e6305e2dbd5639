"""Messages, and the box to write them. Live queries only: nothing here knows that the rows come over a network."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from uuid import uuid4

from reactpy import component, event, html, use_ref, use_state

from tanstack_db.react import use_collection, use_live_query

from .collections import messages
from .rooms import PEOPLE
from .schemas import Message
from .server.functions.messages import PAGE

__all__ = ["Composer", "MessageList"]


@component
def MessageList(room_id: str, me: str) -> Any:
    """The messages of a room, newest at the bottom."""
    rows = use_live_query(
        lambda q: q.from_(messages).where(lambda m: m.room_id == room_id).order_by(lambda m: m.sent_at)
    )
    here = use_collection(messages)
    is_loading, set_loading = use_state(False)

    async def show_older(_: object) -> None:
        set_loading(True)
        try:
            await here.load_older(room_id=room_id)
        finally:
            set_loading(False)

    if not rows:
        return html.div(
            {"class": "messages empty"},
            html.p({"class": "quiet"}, "No messages yet. Say hello!")
            if rows.is_ready
            else html.p({"class": "problem", "role": "alert"}, f"Not available: {rows.error}")
            if rows.error is not None
            else html.ul({"class": "loading", "aria-label": "loading"}, html.li(), html.li(), html.li()),
        )
    status = here.scope_status(room_id=room_id)
    may_have_older = len(rows) >= PAGE and status is not None and status.has_older
    follows = [False, *(_belong_together(first, second) for first, second in pairwise(rows))]
    return html.div(
        {"class": "messages"},
        html.ol(
            {"aria-live": "polite"},
            html.li(
                {"key": "older", "class": "top"},
                html.button(
                    {"type": "button", "class": "older", "disabled": is_loading, "onClick": show_older},
                    "Show earlier messages",
                )
                if may_have_older
                else "",
            ),
            *(
                _bubble(message, me, follows=follow, is_pending=here.has_pending_writes(message.id))
                for message, follow in zip(rows, follows, strict=True)
            ),
        ),
    )


def _belong_together(first: Message, second: Message) -> bool:
    return first.author == second.author and (second.sent_at - first.sent_at).total_seconds() < 300


def _bubble(message: Message, me: str, *, follows: bool, is_pending: bool) -> Any:
    kinds = {"message": True, "mine": message.author == me, "follows": follows, "pending": is_pending}
    at = message.sent_at.astimezone()
    return html.li(
        {"key": message.id, "class": " ".join(name for name, applies in kinds.items() if applies)},
        ""
        if follows or message.author == me
        else html.span({"class": "author"}, PEOPLE.get(message.author, message.author)),
        html.p(message.text),
        html.time({"dateTime": at.isoformat()}, "sending…" if is_pending else f"{at:%H:%M}"),
    )


@component
def Composer(room_id: str, me: str, on_draft: Callable[[bool], None]) -> Any:
    """Enter sends, Escape clears. `on_draft` hears at each change whether something is written."""
    here = use_collection(messages)
    draft, set_draft = use_state("")
    problem, set_problem = use_state("")
    # What was typed last: a handler may run before the render that its state is from.
    typed = use_ref("")

    def write(text: str) -> None:
        typed.current = text
        set_draft(text)
        on_draft(bool(text.strip()))

    def change(changed: dict[str, Any]) -> None:
        set_problem("")
        write(changed["target"]["value"])

    def key_down(pressed: dict[str, Any]) -> None:
        if pressed["key"] == "Escape":
            set_problem("")
            write("")

    async def send(_: object) -> None:
        text = typed.current.strip()
        if not text:
            return
        write("")
        set_problem("")
        sending = here.insert(Message(uuid4().hex, room_id, me, text, datetime.now(UTC)))
        try:
            await sending.persisted()
        except Exception as error:  # noqa: BLE001 -- whatever it is, the user is told and keeps the words
            set_problem(f"Not sent: {error}")
            if not typed.current:
                write(text)

    return html.form(
        {"class": "composer", "onSubmit": event(send, prevent_default=True)},
        html.p({"class": "problem", "role": "alert"}, problem) if problem else "",
        html.input(
            {
                "class": "box",
                "type": "text",
                "value": draft,
                "placeholder": f"Message #{room_id}",
                "aria-label": f"Message to {room_id}",
                "autoComplete": "off",
                "autoFocus": True,
                "maxLength": 2000,
                "onInput": change,
                "onKeyDown": key_down,
            }
        ),
        html.button({"type": "submit", "class": "send"}, "Send"),
    )
