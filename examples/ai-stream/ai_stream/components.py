"""The conversation, and the box to ask. Live queries only: nothing here knows that the text comes over a network."""

from __future__ import annotations

from typing import Any

from reactpy import component, event, html, use_ref, use_state

from tanstack_db import Rows
from tanstack_db.react import use_live_query

from .collections import turns
from .schemas import Turn
from .server.functions.ai import ask, stop_answer

__all__ = ["Conversation"]


@component
def Conversation(session_id: str) -> Any:
    rows = use_live_query(lambda q: q.from_(turns).where(lambda t: t.session_id == session_id).order_by(lambda t: t.id))
    is_thinking = bool(rows) and rows[-1].is_question
    is_busy = is_thinking or any(turn.status == "streaming" for turn in rows)
    return html.main(_shown(rows, session_id, is_thinking=is_thinking), QuestionBox(session_id, is_busy))


def _shown(rows: Rows[Turn], session_id: str, *, is_thinking: bool) -> Any:
    if rows.error is not None and not rows:
        return html.div(
            {"class": "turns empty"}, html.p({"class": "problem", "role": "alert"}, f"Not available: {rows.error}")
        )
    if not rows.is_ready:
        return html.div({"class": "turns empty"}, html.p({"class": "quiet", "aria-label": "loading"}, _dots()))
    if not rows:
        return html.div(
            {"class": "turns empty"}, html.p({"class": "quiet"}, "Ask anything. “Please fail” breaks off halfway.")
        )
    thinking = html.li({"key": "thinking", "class": "turn answer streaming"}, html.p(_dots())) if is_thinking else ""
    return html.div({"class": "turns"}, html.ol(*(_turn(turn, rows, session_id) for turn in rows), thinking))


def _turn(turn: Turn, rows: Rows[Turn], session_id: str) -> Any:
    if turn.is_question:
        return html.li({"key": turn.id, "class": "turn question"}, html.p(turn.text))
    note: Any = ""
    if turn.status == "failed":
        question = next((other.text for other in rows if other.number == turn.number - 1), "")
        note = html.p(
            {"class": "note problem", "role": "alert"},
            "The answer broke off. ",
            html.button({"type": "button", "class": "again", "onClick": _ask_again(session_id, question)}, "Ask again")
            if turn is rows[-1]
            else "",
        )
    elif turn.status == "done":
        note = html.p({"class": "note quiet"}, f"✓ {len(turn.text.split())} words")
    return html.li({"key": turn.id, "class": f"turn answer {turn.status}"}, html.p({"class": "text"}, turn.text), note)


def _ask_again(session_id: str, question: str) -> Any:
    async def again(_: object) -> None:
        await ask(session_id=session_id, question=question)

    return again


def _dots() -> Any:
    return html.span({"class": "dots"}, html.i(), html.i(), html.i())


@component
def QuestionBox(session_id: str, is_busy: bool) -> Any:
    """Enter asks, Escape clears."""
    draft, set_draft = use_state("")
    problem, set_problem = use_state("")
    # What was typed last: a handler may run before the render that its state is from.
    typed = use_ref("")

    def write(text: str) -> None:
        typed.current = text
        set_draft(text)
        set_problem("")

    def change(changed: dict[str, Any]) -> None:
        write(changed["target"]["value"])

    def key_down(pressed: dict[str, Any]) -> None:
        if pressed["key"] == "Escape":
            write("")

    async def send(_: object) -> None:
        question = typed.current.strip()
        if not question:
            return
        write("")
        try:
            await ask(session_id=session_id, question=question)
        except Exception as error:  # noqa: BLE001 -- whatever it is, the user is told and keeps the words
            if not typed.current:
                write(question)
            set_problem(f"Not asked: {error}")

    async def stop(_: object) -> None:
        await stop_answer(session_id=session_id)

    return html.form(
        {"class": "composer", "onSubmit": event(send, prevent_default=True)},
        html.p({"class": "problem", "role": "alert"}, problem) if problem else "",
        html.input(
            {
                "class": "box",
                "type": "text",
                "value": draft,
                "placeholder": "Ask a question",
                "aria-label": "Question",
                "autoComplete": "off",
                "autoFocus": True,
                "maxLength": 500,
                "onInput": change,
                "onKeyDown": key_down,
            }
        ),
        html.button({"key": "stop", "type": "button", "class": "send stop", "onClick": stop}, "Stop")
        if is_busy
        else html.button({"key": "ask", "type": "submit", "class": "send"}, "Ask"),
    )
