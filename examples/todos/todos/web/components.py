"""The list as a web page shows it. Nothing here knows that the rows come over a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import uuid4

from reactpy import component, event, html, use_state

from tanstack_db import Rows
from tanstack_db.react import use_collection, use_live_query

from ..collections import todos
from ..components import Filter, todo_list, todo_progress
from ..schemas import Todo

__all__ = ["TodoBoard"]

START: Filter = "all"
_FILTERS: dict[Filter, str] = {"all": "All", "open": "Open", "done": "Done"}
_EMPTY: dict[Filter, tuple[str, str]] = {
    "all": ("Nothing to do", "Add the first todo above. Every other window shows it at once."),
    "open": ("All done", "There is nothing open on this list."),
    "done": ("Nothing done yet", "Tick a todo, and it shows up here."),
}


@component
def TodoBoard(project_id: str) -> Any:
    """A form to add todos, and the list."""
    only, show = use_state(START)
    return html.main(
        NewTodo(project_id),
        html.div(
            {"class": "toolbar"},
            html.div(
                {"class": "filters", "role": "group", "aria-label": "Which todos"},
                *(
                    html.button(
                        {
                            "key": name,
                            "type": "button",
                            "aria-pressed": "true" if name == only else "false",
                            "onClick": partial(_ignoring_event, partial(show, name)),
                        },
                        label,
                    )
                    for name, label in _FILTERS.items()
                ),
            ),
            Progress(project_id),
        ),
        TodoList(project_id, only),
    )


@component
def NewTodo(project_id: str) -> Any:
    collection = use_collection(todos)

    @event(prevent_default=True)
    def add(submitted: Any) -> None:
        collection.insert(Todo(f"temp-{uuid4().hex}", project_id, _text_in(submitted), datetime.now(UTC)))

    return html.form(
        {"class": "new", "onSubmit": add},
        html.input(
            {
                "name": "todo",
                "placeholder": "What is to be done?",
                "aria-label": "New todo",
                "autoComplete": "off",
                "enterKeyHint": "done",
                "data-focus": "",
            }
        ),
        html.button({"type": "submit"}, "Add"),
    )


@component
def Progress(project_id: str) -> Any:
    progress = use_live_query(todo_progress(project_id))
    return html.p({"class": "progress"}, f"{progress.done} of {progress.total} done" if progress.total else "")


@component
def TodoList(project_id: str, only: Filter) -> Any:
    rows = use_live_query(todo_list(project_id, only))
    if rows.error is not None and not rows:
        return Message("The list cannot be shown", str(rows.error), kind="failed")
    if not rows.is_ready and not rows:
        return Loading()
    if not rows:
        return Message(*_EMPTY[only])
    return html.div(
        Outdated(rows),
        html.ul({"class": "todos", "aria-label": "Todos"}, *(TodoItem(todo, key=todo.id) for todo in rows)),
    )


@dataclass(frozen=True)
class Change:
    """What the buttons of a row do."""

    toggle: Callable[[], object]
    rename: Callable[[str], object]
    delete: Callable[[], object]


@component
def TodoItem(todo: Todo) -> Any:
    collection = use_collection(todos)
    is_editing, edit = use_state(False)
    was_edited, remember = use_state(False)

    def rename(text: str) -> None:
        leave()
        if text != todo.text:
            collection.update(todo.id, text=text)

    def leave() -> None:
        remember(True)
        edit(False)

    change = Change(
        toggle=lambda: collection.update(todo.id, completed_at=None if todo.completed_at else datetime.now(UTC)),
        rename=rename,
        delete=lambda: collection.delete(todo.id),
    )
    is_saving = collection.has_pending_writes(todo.id)
    classes = ["todo", *(["done"] if todo.completed_at else []), *(["saving"] if is_saving else [])]
    return html.li(
        {"class": " ".join(classes), "aria-busy": "true" if is_saving else "false"},
        Editor(todo, change, leave) if is_editing else Row(todo, change, lambda: edit(True), is_saving, was_edited),
    )


@component
def Row(todo: Todo, change: Change, edit: Callable[[], object], is_saving: bool, take_focus: bool) -> Any:
    # What the server does not know yet cannot be changed there.
    is_new = {"disabled": True} if todo.version == 0 else {}
    return html.div(
        {"class": "row"},
        html.button(
            {
                **is_new,
                "type": "button",
                "class": "check",
                "role": "checkbox",
                "aria-checked": "true" if todo.completed_at else "false",
                "aria-label": f"Done: {todo.text}",
                "onClick": partial(_ignoring_event, change.toggle),
            }
        ),
        html.button(
            {
                **is_new,
                **({"data-focus": ""} if take_focus else {}),
                "type": "button",
                "class": "text",
                "title": "Edit",
                "aria-label": f"Edit: {todo.text}",
                "onClick": partial(_ignoring_event, edit),
            },
            todo.text,
        ),
        html.span({"class": "state"}, "saving…" if is_saving else ""),
        html.button(
            {
                **is_new,
                "type": "button",
                "class": "delete",
                "title": "Delete",
                "aria-label": f"Delete: {todo.text}",
                "onClick": partial(_ignoring_event, change.delete),
            },
            "×",
        ),
    )


@component
def Editor(todo: Todo, change: Change, leave: Callable[[], object]) -> Any:
    @event(prevent_default=True)
    def save(submitted: Any) -> None:
        change.rename(_text_in(submitted))

    def press(key: Any) -> None:
        if key["key"] == "Escape":
            leave()

    return html.form(
        {"class": "row editor", "onSubmit": save},
        html.input(
            {
                "name": "todo",
                "defaultValue": todo.text,
                "aria-label": "Text of the todo",
                "autoComplete": "off",
                "data-focus": "",
                "onKeyDown": press,
            }
        ),
        html.button({"type": "submit"}, "Save"),
        html.button({"type": "button", "class": "plain", "onClick": partial(_ignoring_event, leave)}, "Cancel"),
    )


@component
def Outdated(rows: Rows[Todo]) -> Any:
    """The rows are shown, but they could not be fetched again."""
    if rows.error is None:
        return html.fragment()
    return html.p({"class": "outdated", "role": "status"}, f"Perhaps not up to date: {rows.error}")


@component
def Loading() -> Any:
    return html.div(
        {"class": "loading", "role": "status", "aria-label": "Loading"},
        *(html.div({"class": "bone", "key": number}) for number in range(3)),
    )


@component
def Message(title: str, text: str, kind: str = "empty") -> Any:
    return html.div({"class": f"message {kind}", "role": "status"}, html.h2(title), html.p(text))


def _ignoring_event(do: Callable[[], object], _event: Any) -> None:
    do()


def _text_in(submitted: Any) -> str:
    """What was written into the form; ReactPy sends its fields as a list."""
    text: str = next(field["value"] for field in submitted["target"] if field.get("name") == "todo")
    return text
