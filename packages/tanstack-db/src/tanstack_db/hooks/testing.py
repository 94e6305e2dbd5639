"""Components without a browser: mounted in ReactPy, Solara or Flet, for tests of hooks and of providers.

Example:
    >>> ui = React()
    >>> async with ui.show(lambda: list(use_live_query(todos)), partial(DBProvider, client=DbClient)) as screen:
    ...     assert screen.frames[-1] == [todo]
"""

from __future__ import annotations

import asyncio
import importlib
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from ..testing import settle

if TYPE_CHECKING:
    from ._runtime import Runtime

__all__ = ["Body", "Flet", "Framework", "Provider", "React", "Screen", "Solara"]

Body: TypeAlias = Callable[[], object]
"""What a component does when it renders; what it returns is what it shows."""

Provider: TypeAlias = Callable[..., Any]
"""A provider component of the framework, its options bound by `functools.partial`."""


@dataclass
class Screen:
    """A mounted component.

    Attributes:
        frames: what it showed at each render.
        error: what it raised last.
        again: renders it again from outside.
        native: what the framework renders into: ReactPy's ``Layout``, Solara's root widget, Flet's ``Session``.
    """

    frames: list[object] = field(default_factory=list[object])
    error: Exception | None = None
    again: Callable[[], None] = lambda: None
    native: Any = None
    _is_mounted: bool = True
    _render_parent: Callable[[], None] = lambda: None

    async def unmount(self) -> None:
        """Let the parent render without it."""
        self._is_mounted = False
        self._render_parent()
        await settle()

    def render(self, runtime: Runtime, body: Body) -> None:
        """Be the component."""
        self.again = runtime.use_rerender()
        try:
            self.frames.append(body())
        except Exception as error:  # noqa: BLE001 -- the frameworks would only log it
            self.error = error

    def render_parent(self, runtime: Runtime) -> bool:
        """Be its parent, and tell whether it is mounted."""
        self._render_parent = runtime.use_rerender()
        return self._is_mounted


class Framework(ABC):
    """A framework that binds the hooks."""

    name: str

    def __init__(self) -> None:
        module = importlib.import_module(f"tanstack_db.{self.name}")
        self.runtime: Runtime = module.runtime
        self.DBProvider: Provider = module.DBProvider

    @abstractmethod
    def show(self, body: Body, *providers: Provider) -> AbstractAsyncContextManager[Screen]:
        """Mount a component inside providers, the outermost first. Leaving ends the session."""


class React(Framework):
    """ReactPy."""

    name = "react"

    @asynccontextmanager
    async def show(self, body: Body, *providers: Provider) -> AsyncGenerator[Screen]:
        import reactpy
        from reactpy.core.layout import Layout

        screen = Screen()

        @reactpy.component
        def shown() -> Any:
            screen.render(self.runtime, body)
            return reactpy.html.p("shown")

        @reactpy.component
        def parent() -> Any:
            return shown() if screen.render_parent(self.runtime) else reactpy.html.p("gone")

        @reactpy.component
        def root() -> Any:
            element: Any = parent()
            for provider in reversed(providers):
                element = provider(element)
            return element

        async with Layout(root()) as layout:
            screen.native = layout
            renders = asyncio.create_task(_forever(layout.render))
            await settle()
            try:
                yield screen
            finally:
                renders.cancel()
                await asyncio.wait([renders])
        await settle()


class Solara(Framework):
    """Solara."""

    name = "solara"

    @asynccontextmanager
    async def show(self, body: Body, *providers: Provider) -> AsyncGenerator[Screen]:
        component: Any = cast("Any", importlib.import_module("reacton")).component
        solara: Any = importlib.import_module("solara")
        screen = Screen()

        def shown() -> Any:
            screen.render(self.runtime, body)
            return solara.Text("shown")

        def parent() -> Any:
            return child() if screen.render_parent(self.runtime) else solara.Text("gone")

        def root() -> Any:
            element = children()
            for provider in reversed(providers):
                element = provider([element])
            return element

        child, children = component(shown), component(parent)
        screen.native, rendering = solara.render(component(root)(), handle_error=False)
        await settle()
        try:
            yield screen
        finally:
            rendering.close()
            await settle()


class Flet(Framework):
    """Flet."""

    name = "flet"

    @asynccontextmanager
    async def show(self, body: Body, *providers: Provider) -> AsyncGenerator[Screen]:
        import flet as ft
        from flet.controls.base_control import BaseControl
        from flet.messaging import protocol
        from flet.messaging.connection import Connection
        from flet.messaging.session import Session
        from flet.pubsub.pubsub_hub import PubSubHub

        screen, pack = Screen(), cast("Any", importlib.import_module("msgpack")).packb
        encode = cast("Any", protocol).configure_encode_object_for_msgpack(BaseControl)

        class Nowhere(Connection):
            """The browser's end, which only takes what it is sent."""

            def send_message(self, message: Any) -> None:
                pack(message.body, default=encode)

        @ft.component
        def shown() -> Any:
            screen.render(self.runtime, body)
            return ft.Text("shown")

        @ft.component
        def parent() -> Any:
            return shown() if screen.render_parent(self.runtime) else ft.Text("gone")

        def root() -> Any:
            content: Callable[[], Any] = parent
            for provider in reversed(providers):
                content = _bound(provider, content)
            return content()

        connection = cast("Any", Nowhere)()
        connection.loop = asyncio.get_running_loop()
        connection.pubsubhub = PubSubHub(connection.loop)
        session: Any = Session(connection)
        screen.native = session
        await session.connect(connection)
        pack(session.get_page_patch(), default=encode)
        session.page.render(root)
        await settle()
        try:
            yield screen
        finally:
            session.close()
            await settle()


def _bound(provider: Provider, content: Callable[[], Any]) -> Callable[[], Any]:
    return lambda: provider(content)


async def _forever(render: Callable[[], Any]) -> None:
    while True:
        await render()
