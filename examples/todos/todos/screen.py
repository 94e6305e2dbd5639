"""The demonstration in a terminal: both clients side by side, the story below."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Footer, Header, RichLog, Static

from .demo import render
from .stage import Stage
from .story import tell

__all__ = ["TodoDemo"]

_MARK = {"connected": "[green]● connected[/]", "reconnecting": "[yellow]◌ reconnecting…[/]"}


class ClientPanel(Vertical):
    """What one client process shows."""

    def __init__(self, user: str) -> None:
        super().__init__(id=user, classes="client")
        self.user = user

    def compose(self) -> ComposeResult:
        yield Static(id=f"{self.user}-status", classes="status")
        yield Static(id=f"{self.user}-list", classes="list", markup=False)

    def show(self, status: str, text: str) -> None:
        self.query_one(f"#{self.user}-status", Static).update(_MARK.get(status, f"[red]○ {status}[/]"))
        self.query_one(f"#{self.user}-list", Static).update(text)


class TodoDemo(App[int]):
    """Plays the story, then obeys the keys."""

    TITLE = "Live todos: one server, two client processes"
    CSS = """
    #clients { height: 1fr; }
    .client { border: round $primary; padding: 0 1; width: 1fr; }
    .status { height: 1; margin-bottom: 1; }
    #server { height: 1; padding: 0 2; background: $boost; }
    #story { height: 10; border: round $secondary; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "add('ada')", "Ada adds"),
        Binding("b", "add('bob')", "Bob adds"),
        Binding("c", "first('complete')", "complete first"),
        Binding("d", "first('delete')", "delete first"),
        Binding("f", "fail", "failing write"),
        Binding("k", "toggle_server", "kill / start server"),
        Binding("q", "leave", "quit"),
    ]

    def __init__(self, pause: float = 1.5) -> None:
        super().__init__()
        self.stage = Stage(self.refresh_panels)
        self.outcome = 1
        self._pause = pause
        self._added = 0
        self._playing = True
        self._play: asyncio.Task[None] | None = None

    def compose(self) -> ComposeResult:
        yield Header()
        yield Static("starting…", id="server")
        with Horizontal(id="clients"):
            for user in ("ada", "bob"):
                panel = ClientPanel(user)
                panel.border_title = user.capitalize()
                yield panel
        story = RichLog(id="story", wrap=True, markup=True)
        story.border_title = "What happened"
        yield story
        yield Footer()

    def on_mount(self) -> None:
        self._play = asyncio.create_task(self.play())

    async def play(self) -> None:
        story = self.query_one("#story", RichLog)
        try:
            async with self.stage:
                async for sentence in tell(self.stage):
                    story.write(f"[green]✔[/] {sentence}")
                    await asyncio.sleep(self._pause)
                self.outcome = 0
                story.write("[bold green]Everything happened.[/] Your turn: the keys are below.")
                self._playing = False
                self.refresh_bindings()
                await asyncio.Event().wait()
        except (AssertionError, TimeoutError, RuntimeError) as error:
            story.write(f"[bold red]FAILED[/] {error}")

    def refresh_panels(self) -> None:
        if not self.is_running:
            return
        server = self.query_one("#server", Static)
        server.update(f"server {self.stage.url} is {'running' if self.stage.server else 'DOWN'}")
        for user, client in self.stage.clients.items():
            self.query_one(f"#{user}", ClientPanel).show(client.picture.status, render(client.picture))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The story must not be disturbed."""
        return action == "leave" or not self._playing or action not in {"add", "first", "fail", "toggle_server"}

    async def action_add(self, user: str) -> None:
        self._added += 1
        await self.stage.clients[user].do("add", text=f"{user}'s todo {self._added}")

    async def action_first(self, what: str) -> None:
        client = self.stage.clients["ada"]
        if client.picture.items:
            await client.do(what, text=client.picture.items[0].text)

    async def action_fail(self) -> None:
        await self.stage.clients["ada"].do("add", text="   ")

    async def action_toggle_server(self) -> None:
        if self.stage.server is None:
            await self.stage.start_server()
        else:
            await self.stage.kill_server()

    async def action_leave(self) -> None:
        if self._play is not None:
            # Ends the processes of the stage.
            self._play.cancel()
            await asyncio.gather(self._play, return_exceptions=True)
        self.exit(self.outcome)
