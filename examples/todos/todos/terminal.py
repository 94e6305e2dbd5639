"""One client in a terminal, on the collections that the web page uses, over a WebSocket to the running server.

``python -m todos.terminal --user bob``
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import ClassVar
from uuid import uuid4

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Footer, Header, Input, Static

from tanstack_db import Rows, default_client
from tanstack_db.textual import LiveTable
from tanstack_realtime import RealtimeError, create_realtime_client
from tanstack_realtime.textual import RealtimeMixin
from tanstack_start import connect_functions

from .collections import todos
from .components import Progress, todo_list, todo_progress
from .schemas import Todo
from .server.functions import todos as functions
from .server.users import TOKENS

__all__ = ["TodoTerminal"]

PROJECT = "demo"

_STATUS = {
    "connected": "[$success]●[/] live",
    "connecting": "[$warning]◌[/] connecting…",
    "reconnecting": "[$warning]◌[/] reconnecting…",
    "disconnected": "[$error]○[/] offline",
}


def mark(todo: Todo) -> Text:
    """The first cell of a row."""
    if todo.version == 0:
        return Text("…", "dim")
    return Text("✔", "green") if todo.completed_at else Text("○")


def words(todo: Todo) -> Text:
    """The second cell of a row."""
    # A span: the table leaves a cell alone that is equal to what it shows, and a text's own style does not count there.
    return Text.assemble((todo.text, "dim strike" if todo.completed_at else "dim" if todo.version == 0 else ""))


class TodoTable(LiveTable[Todo]):
    """The list. Its keys change the row under the cursor."""

    class Edit(Message):
        """The user wants to write another text."""

        def __init__(self, todo: Todo) -> None:
            super().__init__()
            self.todo = todo

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space,enter", "tick", "done"),
        Binding("e", "edit", "edit"),
        Binding("d,delete", "delete", "delete"),
    ]

    def action_tick(self) -> None:
        if (todo := self.selected) is not None:
            todos.update(todo.id, completed_at=None if todo.completed_at else datetime.now(UTC))

    def action_edit(self) -> None:
        if (todo := self.selected) is not None:
            self.post_message(self.Edit(todo))

    def action_delete(self) -> None:
        if (todo := self.selected) is not None:
            todos.delete(todo.id)


class TodoTerminal(RealtimeMixin, App[None]):
    """Shows a project's todos. `connect_functions` comes first: the list is fetched as soon as it is on the screen.

    Args:
        user: whose client it is.
        url: the server's address.
    """

    TITLE = "Todos"
    CSS = """
    #status { height: 1; padding: 0 1; background: $boost; }
    #table { height: 1fr; margin: 1 1 0 1; }
    #empty { height: 1fr; margin: 1 1 0 1; content-align: center middle; color: $text-muted; }
    #new { margin: 0 1; }
    ToastRack { dock: top; align: right top; margin-top: 2; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "new", "new"),
        Binding("escape", "leave", "to the list"),
        Binding("q", "quit", "quit"),
    ]

    def __init__(self, user: str, url: str) -> None:
        super().__init__()
        self.sub_title = user.capitalize()
        self._user = user
        self._url = url
        self._editing: str | None = None

    def compose(self) -> ComposeResult:
        yield Header()
        yield Static(id="status")
        yield Static(id="empty")
        yield TodoTable(
            todo_list(PROJECT), {" ": mark, "Todo": words}, id="table", cursor_type="row", show_header=False
        )
        yield Input(placeholder="What is to be done?", id="new")
        yield Footer()

    def on_mount(self) -> None:
        default_client().on_error = self.fail
        self.use_realtime(create_realtime_client(self._url, get_token=lambda: TOKENS[self._user]))
        self._status = ""
        self._progress = Progress(0, 0)
        self.show_status(self.show_connection)
        self.show_live(todo_progress(PROJECT), self.show_progress)
        self.show_live(todo_list(PROJECT), self.show_whether_empty)
        self.query_one("#new").focus()

    def show_connection(self, status: str) -> None:
        self._status = status
        self.show_bar()

    def show_progress(self, progress: Progress) -> None:
        self._progress = progress
        self.show_bar()

    def show_bar(self) -> None:
        total = f" · {self._progress.done} of {self._progress.total} done" if self._progress.total else ""
        self.query_one("#status", Static).update(f" {_STATUS.get(self._status, self._status)}{total}")

    def show_whether_empty(self, rows: Rows[Todo]) -> None:
        empty = self.query_one("#empty", Static)
        empty.update(
            f"The list cannot be shown: {rows.error}"
            if rows.error is not None
            else "Nothing to do. Write the first todo below."
            if rows.is_ready
            else "Loading…"
        )
        empty.display = not rows
        self.query_one("#table").display = bool(rows)

    def fail(self, error: Exception) -> None:
        """Say why something did not work; how the connection is, is shown anyway."""
        if not isinstance(error, RealtimeError):
            self.notify(str(error), title="That did not work", severity="error")

    # -- writing -------------------------------------------------------------------------------------------------------

    def on_input_submitted(self, event: Input.Submitted) -> None:
        text, key = event.value, self._editing
        self.action_leave()
        if key is None:
            todos.insert(Todo(f"temp-{uuid4().hex}", PROJECT, text, datetime.now(UTC)))
            event.input.focus()
        elif todos.get(key) is not None:
            todos.update(key, text=text)

    def on_todo_table_edit(self, event: TodoTable.Edit) -> None:
        self._editing = event.todo.id
        field = self.query_one("#new", Input)
        field.value, field.border_title = event.todo.text, "Edit"
        field.focus()

    def action_new(self) -> None:
        self.query_one("#new").focus()

    def action_leave(self) -> None:
        self._editing = None
        field = self.query_one("#new", Input)
        field.value, field.border_title = "", None
        self.query_one("#table").focus()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m todos.terminal", description="A client of the live todo list.")
    parser.add_argument("--user", default="ada", choices=sorted(TOKENS))
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    arguments = parser.parse_args()
    connect_functions(f"{arguments.url}/functions", functions, get_token=lambda: TOKENS[arguments.user])
    TodoTerminal(arguments.user, arguments.url).run()


if __name__ == "__main__":
    main()
